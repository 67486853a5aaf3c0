"""Settings of probes from the command line: ``--set probe.setting=value``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gradlaw.errors import ConfigurationError
from gradlaw.plan_kind import PlanKind
from gradlaw.planning.plan import Plan, make_plan
from gradlaw.planning.planned import plan_study
from gradlaw.probe import Columns, Probe, Snapshot, TableProbe
from gradlaw.probes.noise_scale import NoiseScale
from gradlaw.probes.weights import Weights
from gradlaw.settings import parse_settings
from gradlaw.study import Grid, Preset, Study
from gradlaw.table import Table
from gradlaw.tasks.modular_addition import ModularAddition

if TYPE_CHECKING:
    from decimal import Decimal

PROBES = (NoiseScale(), Weights(steps=(2,)))


def plan(*texts: str, probes: tuple[Probe, ...] = PROBES) -> Plan:
    values = {"modulus": 5, "width": 4}
    with_probes = Grid(task=ModularAddition, values=values, steps=8, probes=probes)
    without = Grid(task=ModularAddition, values={**values, "lr": 0.5}, steps=8)
    preset = Preset(doc="", grids=(with_probes, without), seeds=2)
    study = Study(name="study", question="?", source="", presets={"demo": preset})
    return make_plan(study, overrides=parse_settings(texts))


def probes_of(made: Plan) -> list[tuple[Probe, ...]]:
    return [pack.program.probes for pack in made.packs]


def test_a_setting_changes_its_probe_and_nothing_else() -> None:
    plain, changed = plan(), plan("weights.steps=[3,4]", "noise_scale.small=2", "weights.at_end=false")
    expected = (NoiseScale(small=2), Weights(steps=(3, 4), at_end=False))
    assert sorted(probes_of(changed), key=len) == [(), expected]
    assert changed.overrides == {
        "noise_scale.small": 2,
        "weights.at_end": False,
        "weights.steps": (3, 4),
    }
    assert [item.trial.trial_id for item in changed.members] == [
        item.trial.trial_id for item in plain.members
    ]
    assert (plain.kind, changed.kind) == (PlanKind.CONFIRM, PlanKind.VARIANT)
    assert plain.plan_id != changed.plan_id
    assert plan("weight_decay=0.1", "noise_scale.small=2").overrides == {
        "weight_decay": 0.1,
        "noise_scale.small": 2,
    }


def test_all_faults_come_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan("weights.stps=[3]", "noise_scale.small=1.5", "weights.steps=3", "nope=1", "nothing.at_all=2")
    text = str(caught.value)
    assert text.startswith("5 faults:")
    for part in (
        "unknown setting 'weights.stps'; did you mean 'weights.steps'? known: noise_scale.num_draws, ",
        "unknown setting 'nothing.at_all'",
        "noise_scale.small: got 1.5, allowed int",
        "weights.steps: got 3, allowed a list of int",
        "nope: unknown hyperparameter",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("noise_scale.small=0", "probe noise_scale: got small 0; allowed: >= 1"),
        ("noise_scale.small=true", "noise_scale.small: got True, allowed int"),
        ("weights.steps=[1,1]", "probe weights: got steps (1, 1), allowed each once"),
        ("weights.steps=[9]", "probe weights: got step 9, allowed 0 .. 8, the steps of a trial"),
        ("weights.steps=[-1]", "probe weights: got step -1, allowed 0 .. 8"),
    ],
)
def test_values_that_a_probe_refuses(text: str, fault: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan(text)
    assert fault in str(caught.value)


def test_steps_of_a_shorter_trial_leave_a_probe_without_a_place() -> None:
    with pytest.raises(ConfigurationError, match=r"probe weights: got step 2, allowed 0 \.\. 1"):
        plan("steps=1")


@dataclass(frozen=True, kw_only=True)
class Exact(TableProbe):
    """One of its types is there for type checkers alone."""

    name = "exact"
    scale: float = 1.0
    digits: Decimal | None = None

    def tables(self) -> tuple[Table, ...]:
        return ()

    def at(self, steps: int) -> Sequence[int]:
        return ()

    def rows(self, snapshot: Snapshot) -> Mapping[str, Columns]:
        return {}


def test_types_that_are_not_there_when_it_runs_are_in_nobodys_way() -> None:
    assert sorted(probes_of(plan(probes=(Exact(),))), key=len) == [(), (Exact(),)]
    changed = plan("exact.scale=0.5", probes=(Exact(),))
    assert sorted(probes_of(changed), key=len) == [(), (Exact(scale=0.5),)]


def test_two_probes_of_one_name_cannot_be_told_apart() -> None:
    with pytest.raises(ConfigurationError, match="the grid has 2 probes weights, allowed one"):
        plan("weights.at_end=false", probes=(Weights(steps=(1,)), Weights(steps=(2,))))


def test_a_sweep_takes_them_too(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "task: modular_addition\nvalues: {modulus: 5, width: 4}\nsteps: 8\n"
        "probes: [full_loss, weights: {steps: [2]}]\n"
    )
    made = plan_study(file, overrides={"weights.steps": [3], "lr": 0.5}).plan
    assert made.packs[0].program.probes[1] == Weights(steps=(3,))
    assert made.overrides == {"weights.steps": (3,), "lr": 0.5}
    with pytest.raises(ConfigurationError, match=r"sweep\.yaml:\d+: .*got step 9, allowed 0 \.\. 8"):
        plan_study(file, overrides={"weights.steps": [9]})
