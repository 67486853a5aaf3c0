"""Programs that compute different numbers have different keys; those that do not share one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from gradlaw.engine.identity import program_key, program_kinds
from gradlaw.engine.members import stack
from gradlaw.engine.run import program_of
from gradlaw.engine.step import TrialProgram
from gradlaw.pack import Member, Training
from gradlaw.probe import Probe
from gradlaw.probes import ParameterNorm
from gradlaw.rule import Rule
from gradlaw.rules import SGD, Muon
from gradlaw.schedules import Constant, Schedule
from gradlaw.trial import Trial

HP = {item.name: item.default for item in (*SGD.hyperparameters, *Muon.hyperparameters)}


@pytest.fixture
def program(least_squares: Any) -> Callable[..., TrialProgram]:
    def build(
        rule: Rule, schedule: Schedule | None = None, probes: tuple[Probe, ...] = (), steps: int = 10
    ) -> TrialProgram:
        training = Training(
            task=least_squares(), rule=rule, schedule=schedule or Constant(), probes=probes, steps=steps
        )
        return program_of(training, [_member(steps)], "cpu")

    return build


def _member(steps: int) -> Member:
    trial = Trial(task="t", hyperparameters={}, seed=0, steps=steps, dtype="float32")
    return Member(trial=trial, hyperparameters=HP)


def _key(program: TrialProgram) -> tuple[Any, ...] | None:
    key = program_key(program, stack(program, [_member(10)], torch.device("cpu")), "cpu")
    return None if key is None else (program_kinds(program), key)


class Weighted(SGD):
    """Holds weights by name."""

    share = 1.0

    def __init__(self, weights: Any = None) -> None:
        self.weights = weights


class Slotted(SGD):
    """Holds a number where no one looks."""

    __slots__ = ("share",)

    def __init__(self, share: float) -> None:
        self.share = share


def _schedule(share: float) -> Schedule:
    class Closed(Constant):
        """What it multiplies by stands in a closure."""

        def lr(self, t: Any, hp: Any) -> Any:
            return share * hp["lr"]

    return Closed()


@dataclass(frozen=True, kw_only=True)
class Scaled(ParameterNorm):
    """A setting of its own."""

    scale: float = 1.0


def test_equal_programs_share_a_key(program: Any) -> None:
    assert _key(program(SGD())) == _key(program(SGD()))
    assert _key(program(SGD())) == _key(program(SGD(), steps=99))
    assert _key(program(Muon(adamw_tensors="w"))) == _key(program(Muon(adamw_tensors="w"))) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1.0, "b": 2.0}, {"b": 1.0, "a": 2.0}),
        ([1.0, [2.0]], [[1.0], 2.0]),
        (1, 1.0),
        (torch.tensor([1.0]), torch.tensor([2.0])),
        (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64)),
        (torch.float32, torch.float64),
    ],
)
def test_what_a_rule_holds_tells_it_from_another(program: Any, one: Any, other: Any) -> None:
    assert None is not _key(program(Weighted(one))) != _key(program(Weighted(other)))


def test_classes_tell_programs_apart(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _key(program(SGD(), _schedule(1.0))) != _key(program(SGD(), _schedule(2.0)))
    assert _key(program(SGD(), probes=(Scaled(),))) != _key(program(SGD(), probes=(Scaled(scale=2.0),)))
    before = _key(program(Weighted()))
    monkeypatch.setattr(Weighted, "share", 2.0)
    assert _key(program(Weighted())) != before


def test_what_cannot_be_told_has_no_key(program: Any) -> None:
    for rule in (Slotted(1.0), Weighted(lambda x: x), Weighted(object())):
        assert _key(program(rule)) is None
