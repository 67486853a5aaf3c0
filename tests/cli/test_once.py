"""An option given twice is refused by every command, with all that was given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from gradlaw.cli import app
from gradlaw.errors import ConfigurationError


def commands(group: Any, *before: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *before, name)
        else:
            yield (*before, name), command


COMMANDS = dict(commands(get_command(app)))


def given(option: Any, value: str) -> list[str]:
    return option.opts[:1] if option.is_flag else [option.opts[0], value]


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_every_command_takes_each_option_once(name: tuple[str, ...]) -> None:
    options = [item for item in COMMANDS[name].params if item.param_type_name == "option"]
    for option in options:
        words = given(option, "1") + given(option, "2")
        if option.multiple:  # it gathers what it is given, and nothing is lost
            continue
        both = f"{option.opts[0]} and {option.opts[0]}" if option.is_flag else "1 and 2"
        with pytest.raises(ConfigurationError) as caught:
            COMMANDS[name].make_context("gradlaw", words)
        assert caught.value.faults == (f"{option.opts[0]}: got {both}, allowed once; leave all but one out",)


def test_all_are_told_at_once_however_they_are_written() -> None:
    words = ["sqrt_b", "--seeds", "2", "--store=a", "--explore", "--seeds=3", "--no-explore", "--store", "b"]
    words += ["--set", "steps=1", "--set", "width=2"]
    with pytest.raises(ConfigurationError) as caught:
        COMMANDS["run",].make_context("gradlaw run", words)
    assert {fault.partition(", allowed")[0] for fault in caught.value.faults} == {
        "--seeds: got 2 and 3",
        "--store: got a and b",
        "--explore: got --explore and --no-explore",
    }


def test_what_is_given_once_counts(tmp_path: Path) -> None:
    """A value that looks like an option, what stands after ``--``, and what a command gathers."""
    words = ["--out", "--out", "--store", str(tmp_path), "--", "--store"]
    assert COMMANDS["sql",].make_context("gradlaw sql", words).params["out"] == Path("--out")
    words = ["sqrt_b", "--set", "steps=1", "--set", "width=2"]
    assert COMMANDS["run",].make_context("gradlaw run", words).params["set_"] == ["steps=1", "width=2"]
