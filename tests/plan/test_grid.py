"""Points, axes of steps, targets and shared budgets: what they mean for a plan, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_helpers import Flat, Nothing, plan_of, study_of

from gradlaw.ending import Halving, Target
from gradlaw.errors import ConfigurationError
from gradlaw.fingerprint import digest, encode
from gradlaw.hyperparameter import Hyperparameter
from gradlaw.pack import HALF_REASON, Training
from gradlaw.planning.plan import Plan, make_plan
from gradlaw.probes import ParameterMax
from gradlaw.rules.sgd import SGD
from gradlaw.schedules import LinearWarmup
from gradlaw.study import Grid, Preset
from gradlaw.tasks.modular_addition import ModularAddition


class _Same(ParameterMax):
    name = "same"


HALVING = Halving(metric="loss", first=4, factor=2)


def grid(**how: Any) -> Grid:
    return Grid(**{"task": Flat, "rule": SGD, "schedule": LinearWarmup, "steps": 10, "log_every": 2} | how)


def combinations(plan: Plan, *names: str) -> list[tuple[Any, ...]]:
    return [
        (*(member.hyperparameters[name] for name in names), member.trial.steps) for member in plan.members
    ]


POINTS = ({"lr": 1, "weight_decay": 0.5}, {"lr": 2.0, "weight_decay": 0.25})


def test_points_vary_together_and_multiply_with_axes() -> None:
    plan = plan_of(grid(points=POINTS, values={"warmup_steps": (0, 3)}))
    expected = [(lr, decay, warmup, 10) for lr, decay in ((1.0, 0.5), (2.0, 0.25)) for warmup in (0, 3)]
    assert combinations(plan, "lr", "weight_decay", "warmup_steps") == expected
    assert {type(member.hyperparameters["lr"]) for member in plan.members} == {float}


HORIZONS = ({"lr": 0.5, "steps": 20}, {"lr": 0.25, "steps": 40})


def test_points_may_say_how_long_to_train() -> None:
    plan = plan_of(grid(points=HORIZONS, steps=0, values={"warmup_steps": (0, 3)}))
    expected = [(lr, warmup, steps) for lr, steps in ((0.5, 20), (0.25, 40)) for warmup in (0, 3)]
    assert combinations(plan, "lr", "warmup_steps") == expected
    (program,) = {id(pack.program): pack.program for pack in plan.packs}.values()
    assert isinstance(program, Training)
    assert program.steps == 40


def test_a_horizon_of_a_point_makes_the_trial_that_the_field_would() -> None:
    of_points = [member.trial.trial_id for member in plan_of(grid(points=HORIZONS, steps=0)).members]
    of_fields = [
        member.trial.trial_id
        for point in HORIZONS
        for member in plan_of(grid(values={"lr": point["lr"]}, steps=point["steps"])).members
    ]
    assert of_points == of_fields


def test_new_steps_stand_in_place_of_those_of_points() -> None:
    plan = plan_of(grid(points=HORIZONS, steps=0), overrides={"steps": [6, 8]})
    assert combinations(plan, "lr") == [(0.5, 6), (0.25, 6), (0.5, 8), (0.25, 8)]


def test_steps_that_skip_reads_are_those_of_the_point() -> None:
    plan = plan_of(
        grid(points=HORIZONS, steps=0, skip=lambda values: "long" if values["steps"] == 40 else None)
    )
    assert [reason for _, reason in plan.skipped] == ["long"]
    assert [pack.members[0].trial.steps for pack in plan.packs] == [20]


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        ({"points": HORIZONS}, "steps: got 10, and steps in points"),
        ({"points": ({"lr": 0.1, "steps": 2.5},), "steps": 0}, "steps: got 2.5 (float), allowed int >= 0"),
        ({"points": ({"lr": 0.1, "steps": -1},), "steps": 0}, "steps: got -1, allowed >= 0"),
        ({"points": ({"lr": 0.1, "steps": 5}, {"lr": 0.2}), "steps": 0}, "points: got lr in point 1"),
        ({"points": HORIZONS, "steps": 0, "halving": HALVING}, "with halving, allowed one"),
    ],
)
def test_horizons_that_cannot_be_meant(how: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        plan_of(grid(**how))
    assert fault in str(raised.value)


def test_a_point_is_the_trial_that_values_would_make() -> None:
    of_points = plan_of(grid(points=POINTS))
    of_values = [plan_of(grid(values=point)) for point in POINTS]
    ids = [member.trial.trial_id for plan in of_values for member in plan.members]
    assert [member.trial.trial_id for member in of_points.members] == ids


@pytest.mark.parametrize(
    ("points", "values", "faults"),
    [
        (
            ({"lr": 0.1}, {"weight_decay": 0.1}),
            {},
            ["points: got weight_decay in point 1, allowed the names"],
        ),
        (({"lr": 0.1}, {}), {}, ["points: got no name in point 1"]),
        (({},), {}, ["points: got a point that names nothing"]),
        (({"size": 1},), {}, ["size: unknown hyperparameter; known: "]),
        (({"lr": 0.1},), {"lr": 0.2}, ["lr: got values in points and in values, allowed in one of them"]),
        (({"lr": 1}, {"lr": 1.0}), {}, ["points: got {'lr': 1} twice, allowed once"]),
        (({"lr": -1.0}, {"lr": (0.1, 0.2)}), {}, ["lr: got -1, allowed", "lr: got (0.1, 0.2) (tuple)"]),
        ((), {"lr": ()}, ["lr: got no value, allowed one or more"]),
    ],
)
def test_points_that_are_refused(points: Any, values: Any, faults: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan_of(grid(points=points, values=values))
    assert len(caught.value.faults) == len(faults)
    for found, fault in zip(caught.value.faults, faults, strict=True):
        assert fault in found


def test_a_new_value_takes_a_name_out_of_the_points() -> None:
    points = tuple({"lr": lr, "weight_decay": decay} for lr in (0.1, 0.2) for decay in (0.0, 0.5))
    plan = plan_of(grid(points=points), overrides={"lr": [1.0, 2.0]})
    expected = [(lr, decay, 10) for decay in (0.0, 0.5) for lr in (1.0, 2.0)]
    assert combinations(plan, "lr", "weight_decay") == expected
    alone = plan_of(grid(points=({"lr": 0.1}, {"lr": 0.2})), overrides={"lr": 1.0})
    assert combinations(alone, "lr") == [(1.0, 10)]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=4, unique=True), st.integers(1, 7))
def test_trials_that_differ_in_steps_share_a_program_and_packs(steps: list[int], width: int) -> None:
    plan = plan_of(grid(steps=tuple(steps), values={"lr": (0.1, 0.2)}, pack_width=width), seeds=3)
    expected = {(lr, s, seed) for lr in (0.1, 0.2) for s in steps for seed in range(3)}
    found = {(m.hyperparameters["lr"], m.trial.steps, m.trial.seed) for m in plan.members}
    assert found == expected
    assert len(plan.packs) == -(-len(expected) // width), "one program: no pack but the last is cut short"
    programs = [pack.program for pack in plan.packs]
    assert all(isinstance(program, Training) and program.steps == max(steps) for program in programs)


def test_the_longest_program_is_of_the_trials_that_run() -> None:
    def skip(values: Any) -> str | None:
        return "too long" if values["steps"] > 20 else None

    plan = plan_of(grid(steps=(5, 20, 80), skip=skip))
    assert [member.trial.steps for member in plan.packs[0].members] == [5, 20]
    assert isinstance(plan.packs[0].program, Training)
    assert plan.packs[0].program.steps == 20
    assert [(member.trial.steps, reason) for member, reason in plan.skipped] == [(80, "too long")]


def test_each_trial_is_checked_with_its_own_steps() -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan_of(grid(steps=(2, 6, 9), values={"warmup_steps": 6}))
    assert [fault.partition("steps = ")[2][:1] for fault in caught.value.faults] == ["2"]


def test_steps_are_set_as_an_axis() -> None:
    plan = plan_of(grid(), overrides={"steps": [3, 7]})
    assert [member.trial.steps for member in plan.members] == [3, 7]
    assert plan.overrides == {"steps": (3, 7)}


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        (
            {"probes": (ParameterMax(), ParameterMax())},
            "probes: got parameter_max twice with the same settings, allowed once",
        ),
        (
            {"probes": (ParameterMax(), _Same())},
            "metrics: got column parameter_max twice; allowed: once",
        ),
        ({"steps": (5, -1)}, "steps: got -1, allowed >= 0"),
        ({"steps": (5, 5)}, "steps: got 5 twice, allowed once"),
        ({"steps": ()}, "steps: got no value"),
        ({"steps": 1.5}, "steps: got 1.5 (float), allowed int"),
        ({"log_every": 0}, "log_every: got 0, allowed >= 1"),
        ({"pack_width": 0}, "pack_width: got 0, allowed >= 1"),
        ({"target": Target(metric="los", value=0.1)}, "target.metric: got 'los', allowed one of 'loss'"),
        ({"target": Target(metric="step", value=0.1)}, "target.metric: got 'step', allowed one of 'loss'"),
        ({"target": Target(metric="loss", value=float("nan"))}, "target.value: got nan, allowed any finite"),
        ({"target": Target(metric="loss", value=1.0, direction="up")}, "target.direction: got 'up', allowed"),
        ({"halving": Halving(metric="x", first=2)}, "halving.metric: got 'x', allowed one of 'loss'"),
        ({"halving": Halving(metric="loss", first=0)}, "halving.first: got 0, allowed >= 1"),
        (
            {"halving": Halving(metric="loss", first=3)},
            "halving.first: got 3, allowed a multiple of log_every",
        ),
        ({"halving": Halving(metric="loss", first=2, factor=1)}, "halving.factor: got 1, allowed >= 2"),
        ({"task": Nothing, "steps": 0, "halving": HALVING}, "allowed None: a measurement trains nothing"),
        ({"task": Nothing, "steps": 4}, "steps: got 4, allowed 0: a measurement trains nothing"),
    ],
)
def test_amounts_and_ends_that_are_refused(how: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan_of(grid(**how))
    assert len(caught.value.faults) == 1
    assert fault in caught.value.faults[0]


def test_a_target_is_part_of_the_identity() -> None:
    target = Target(metric="loss", value=1)
    plain, aimed = plan_of(grid()), plan_of(grid(target=target))
    whole = plan_of(grid(target=Target(metric="loss", value=1.0)))
    assert aimed.plan_id == whole.plan_id != plain.plan_id
    assert [m.trial.target for m in aimed.members] == [encode(Target(metric="loss", value=1.0))]
    assert isinstance(aimed.packs[0].program, Training)
    assert aimed.packs[0].program.target == target
    assert [m.trial.target for m in plain.members] == [""]


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 4))
def test_a_shared_budget_names_all_who_share_it(width: int, seeds: int) -> None:
    rates = (0.1, 0.2, 0.3)
    alone = plan_of(grid(values={"lr": rates}, pack_width=width), seeds=seeds)
    shared = plan_of(grid(values={"lr": rates}, pack_width=width, halving=HALVING), seeds=seeds)
    assert len(alone.packs) == len(shared.packs)
    for before, after in zip(alone.packs, shared.packs, strict=True):
        cohort = digest([HALVING, sorted(member.trial.trial_id for member in before.members)])
        assert {member.trial.cohort for member in after.members} == {cohort}
        assert [m.hyperparameters for m in after.members] == [m.hyperparameters for m in before.members]
    ids = {member.trial.trial_id for member in shared.members}
    assert len(ids) == 3 * seeds
    assert ids.isdisjoint(member.trial.trial_id for member in alone.members)


def test_who_shares_a_budget_and_how_are_part_of_the_identity() -> None:
    def ids(**how: Any) -> Iterator[str]:
        plan = plan_of(grid(**{"values": {"lr": (0.1, 0.2)}, "halving": HALVING} | how))
        return (member.trial.trial_id for member in plan.members if member.hyperparameters["lr"] == 0.1)

    changes: list[Callable[[], Iterator[str]]] = [
        ids,
        lambda: ids(values={"lr": (0.1, 0.3)}),
        lambda: ids(pack_width=1),
        lambda: ids(halving=Halving(metric="loss", first=4, factor=3)),
    ]
    found = [next(change()) for change in changes]
    assert len(set(found)) == len(changes)
    assert next(ids(values={"lr": (0.2, 0.1)})) == found[0], "the order does not matter"


def test_what_changes_a_trials_rows_is_part_of_its_identity() -> None:
    """And what changes neither rows nor states is not: the same trials, cut or taken in parts otherwise."""
    changes: list[dict[str, Any]] = [
        {},
        {"loss_bound": 9.0},
        {"log_every": 5},
        {"dtype": "float64"},
        {"target": Target(metric="loss", value=0.5)},
        {"target": Target(metric="loss", value=0.5, direction="above")},
        {"values": {"batch_size": 4}},
        {"values": {"batch_size": 4, "sampling": "epoch"}},
    ]
    found = [plan_of(grid(**change)).packs[0] for change in changes]
    assert len({pack.members[0].trial.trial_id for pack in found}) == len(changes)
    assert len({pack.pack_id for pack in found}) == len(changes)
    same: list[dict[str, Any]] = [{"pack_width": 1}, {"accumulate": 2}, {"loss_bound": 10**6}]
    for change in same:
        assert plan_of(grid(**change)).packs[0].members[0].trial == found[0].members[0].trial


def test_a_task_made_with_values_that_no_trial_would_name_is_refused() -> None:
    made = grid(task=ModularAddition(modulus=5, width=4))
    with pytest.raises(
        ConfigurationError, match=r"got a ModularAddition made with .*modulus, width.*in values"
    ):
        plan_of(made)


@pytest.mark.parametrize(
    ("probes", "fault"),
    [
        (ParameterMax(), "probes: got a ParameterMax, allowed a tuple of probes; one alone is (probe,)"),
        (
            (ParameterMax,),
            "probes: got <class 'gradlaw.probes.parameter_max.ParameterMax'>, allowed an instance",
        ),
    ],
)
def test_what_is_no_tuple_of_probes_is_told(probes: Any, fault: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan_of(grid(probes=probes))
    assert caught.value.faults[0].startswith(fault)


def test_a_grid_is_no_tuple_of_grids() -> None:
    alone: Any = grid()
    study = replace(study_of(), presets={"demo": Preset(doc="", grids=alone, seeds=1)})
    with pytest.raises(ConfigurationError, match=r"grids: got a Grid, allowed a tuple of Grid; one alone is"):
        make_plan(study, "demo")


@pytest.mark.parametrize(
    ("structural", "fault"),
    [
        (False, r"gain: _Scaled.__init__ takes it, but it is not declared structural=True"),
        (True, r"depth: structural, but _Scaled.__init__ does not take it"),
    ],
)
def test_a_task_is_made_with_what_it_declares_structural(structural: bool, fault: str) -> None:
    gain = Hyperparameter(name="gain", default=1.0, structural=structural)
    depth = Hyperparameter(name="depth", default=1, structural=structural)

    class _Scaled(Flat):
        hyperparameters = (gain, depth)

        def __init__(self, gain: float = 1.0) -> None:
            self.gain = gain

    with pytest.raises(ConfigurationError, match=fault) as caught:
        plan_of(grid(task=_Scaled, values={"gain": 2.0}))
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ({"dtype": "float16"}, f"dtype: got 'float16', allowed one of 'float32', 'float64': {HALF_REASON}"),
        ({"dtype": "double"}, "dtype: got 'double', allowed one of 'float32', 'float64'"),
        ({"loss_bound": 0.0}, "loss_bound: got 0, allowed > 0"),
    ],
)
def test_dtype_and_bound_are_checked(setting: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan_of(grid(**setting))
    assert caught.value.faults == (f"grid 0 (flat): {fault}",)
