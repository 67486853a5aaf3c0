"""The application that commands join, and the options that several of them share."""

from __future__ import annotations

import logging
from importlib import metadata
from typing import Annotated

import typer
from rich.console import Console

from gradlaw.cli.once import Application
from gradlaw.text import shown

app = Application(
    add_completion=False,
    no_args_is_help=True,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)
notes = Console(stderr=True, highlight=False)

DEFAULT_STORE = "results"
StoreOption = Annotated[
    str,
    typer.Option(
        "--store", envvar="GRADLAW_STORE", help="Folder of the store, or s3:// or gs://bucket/prefix."
    ),
]

StudyArgument = Annotated[
    str, typer.Argument(help="Name of a study, or the path of its folder, or of a sweep's file.yaml.")
]
PresetOption = Annotated[str | None, typer.Option(help="Which of its presets; demo, if none.")]
SeedsOption = Annotated[int | None, typer.Option(help="Number of seeds instead of the preset's.")]
ExploreOption = Annotated[bool, typer.Option(help="Seeds of a range apart; decides nothing.")]


def say(line: str) -> None:
    """Text to stderr, as it is but for secrets and what a terminal obeys."""
    notes.print(shown(line), markup=False, soft_wrap=True)


class _Said(logging.Handler):
    """Says what the packages warn of."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))


@app.callback()
def gradlaw(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """From a claim about how networks learn to a verdict with an honest interval."""
    logger = logging.getLogger("gradlaw")
    if not logger.handlers:
        logger.addHandler(_Said())
    if version:
        typer.echo(metadata.version("gradlaw"))
        raise typer.Exit
