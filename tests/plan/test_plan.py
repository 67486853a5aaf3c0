"""Laws of plans: every combination once, seeds outermost, packs that stay when seeds are added."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_helpers import Flat, plan_of

from gradlaw.errors import ConfigurationError, UnknownNameError
from gradlaw.plan_kind import PlanKind
from gradlaw.planning.plan import EXPLORE_SEED, Plan, make_plan
from gradlaw.probe import Probe
from gradlaw.probes import ParameterMax, ParameterNorm
from gradlaw.rules.sgd import SGD
from gradlaw.schedules import LinearWarmup
from gradlaw.settings import parse_settings
from gradlaw.space import Edge, Range
from gradlaw.study import Arm, Grid, Preset, Search, Study


def study(width: int = 4, seeds: int = 3, **values: Any) -> Study:
    values = values or {"lr": (0.1, 0.2, 0.3), "batch_size": (2, 4)}
    grid = Grid(task=Flat, rule=SGD, schedule=LinearWarmup, values=values, steps=10, pack_width=width)
    return Study(
        name="flat",
        question="?",
        source="a test",
        presets={
            "smoke": Preset(doc="", grids=(grid,), seeds=1, decides=False),
            "demo": Preset(doc="", grids=(grid,), seeds=seeds),
        },
    )


def packs(plan: Plan) -> list[list[tuple[int, Any, Any]]]:
    return [
        [
            (item.trial.seed, item.hyperparameters["batch_size"], item.hyperparameters["lr"])
            for item in pack.members
        ]
        for pack in plan.packs
    ]


@given(st.integers(1, 9), st.integers(1, 6), st.integers(1, 3), st.integers(1, 3))
def test_every_combination_once_with_seeds_outermost(width: int, seeds: int, num_lr: int, num_b: int) -> None:
    rates, sizes = tuple(0.1 * (i + 1) for i in range(num_lr)), tuple(2**i for i in range(num_b))
    plan = make_plan(study(width, seeds, lr=rates, batch_size=sizes))
    members = [member for pack in packs(plan) for member in pack]
    assert sorted(members) == sorted((s, b, lr) for s in range(seeds) for b in sizes for lr in rates)
    assert len({member.trial.trial_id for member in plan.members}) == len(members)
    for pack in packs(plan):
        assert len(pack) <= width
        assert len({size for _, size, _ in pack}) == 1, "batch size changes shapes"
        assert [seed for seed, _, _ in pack] == sorted(seed for seed, _, _ in pack)
    first_seeds = [pack[0][0] for pack in packs(plan)]
    assert first_seeds == sorted(first_seeds), "a store partly filled holds whole blocks"


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 5))
def test_packs_keep_their_members_when_seeds_are_added(width: int, few: int, more: int) -> None:
    before, after = make_plan(study(width), seeds=few), make_plan(study(width), seeds=few + more)
    kept = {pack.pack_id for pack in before.packs} & {pack.pack_id for pack in after.packs}
    partial = {pack.pack_id for pack in before.packs if len(pack.members) < width}
    assert {pack.pack_id for pack in before.packs} - kept <= partial
    assert all(any(new[: len(old)] == old for new in packs(after)) for old in packs(before))
    ids = [member.trial.trial_id for member in before.members]
    assert set(ids) < {member.trial.trial_id for member in after.members}


@pytest.mark.parametrize("lr", [0.1, Edge(low=0.1, high=0.4, halvings=1)])
def test_the_same_trials_measured_otherwise_are_another_plan(lr: Any) -> None:
    """Else the record of the first would have its readers see the numbers of its probes."""

    class Peak(ParameterMax):
        version = 2

    def plan(*probes: Probe, pack_width: int = 64) -> Plan:
        return plan_of(Grid(task=Flat, values={"lr": lr}, steps=4, probes=probes, pack_width=pack_width))

    plans = [plan(), plan(ParameterMax()), plan(Peak()), plan(ParameterMax(), ParameterNorm())]
    assert len({found.plan_id for found in plans}) == 4
    assert len({tuple(member.trial.trial_id for member in found.members) for found in plans}) == 1
    reordered = plan(ParameterNorm(), ParameterMax(), pack_width=1)
    assert reordered.plan_id == plans[-1].plan_id


def test_the_probes_of_a_searchs_arms_are_part_of_its_plan() -> None:
    def plan(*probes: Probe) -> Plan:
        grid = Grid(task=Flat, steps=4, probes=probes)
        arms = (Arm(name="one", grid=grid, space={"lr": Range(low=0.1, high=1.0)}),)
        search = Search(name="tuned", arms=arms, budget=2, metric="loss")
        preset = Preset(doc="", grids=(), seeds=1, searches=(search,))
        return make_plan(Study(name="flat", question="?", source="", presets={"demo": preset}))

    assert plan().plan_id == plan().plan_id != plan(ParameterMax()).plan_id


def test_explore_draws_seeds_that_no_claim_is_decided_on() -> None:
    plan = make_plan(study(), explore=True)
    assert plan.seeds == (EXPLORE_SEED, EXPLORE_SEED + 1, EXPLORE_SEED + 2)
    assert plan.kind is PlanKind.EXPLORE


@pytest.mark.parametrize(
    ("preset", "how", "kind"),
    [
        ("smoke", {}, PlanKind.SMOKE),
        ("smoke", {"explore": True}, PlanKind.SMOKE),
        ("demo", {}, PlanKind.CONFIRM),
        ("demo", {"seeds": 9}, PlanKind.CONFIRM),
        ("demo", {"overrides": {"lr": 0.7}}, PlanKind.VARIANT),
    ],
)
def test_only_a_preset_as_declared_decides(preset: str, how: dict[str, Any], kind: PlanKind) -> None:
    assert make_plan(study(), preset, **how).kind is kind


def test_overrides_replace_axes_and_steps() -> None:
    plan = make_plan(study(), overrides={"lr": [1, 2], "steps": 5, "weight_decay": 0.5}, seeds=1)
    members = list(plan.members)
    assert {member.hyperparameters["lr"] for member in members} == {1.0, 2.0}
    assert {type(member.hyperparameters["lr"]) for member in members} == {float}
    assert {(member.trial.steps, member.hyperparameters["weight_decay"]) for member in members} == {(5, 0.5)}


def test_all_faults_at_once() -> None:
    wrong = {"lr": [-1.0, 0.1], "weight_decay": -1.0, "steps": [1, -2], "width": 3, "sampling": "twice"}
    with pytest.raises(ConfigurationError) as caught:
        make_plan(study(), overrides=wrong)
    text = str(caught.value)
    for fault in (
        "lr: got -1",
        "weight_decay: got -1",
        "steps: got -2",
        "width: unknown",
        "sampling: got 'twice'",
    ):
        assert fault in text


def test_a_trial_in_two_grids_is_refused() -> None:
    grid = study().presets["demo"].grids[0]
    twice = Study(
        name="flat", question="?", source="", presets={"demo": Preset(doc="", grids=(grid, grid), seeds=1)}
    )
    with pytest.raises(ConfigurationError, match="6 trials stand in more than one grid"):
        make_plan(twice)


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match="known: demo, smoke"):
        make_plan(study(), "paper")


names = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
numbers = st.integers(-1000, 1000) | st.floats(allow_nan=False, allow_infinity=False)
words = st.from_regex(r"w[a-z_]{1,6}x", fullmatch=True)
scalars = numbers | st.booleans() | words


def _typed(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value).strip("'")


@given(st.dictionaries(names, scalars | st.lists(scalars, min_size=1, max_size=3), min_size=1, max_size=4))
def test_settings_are_read_as_typed(settings: dict[str, Any]) -> None:
    parts = [
        f"{name}=[{', '.join(map(_typed, value))}]" if isinstance(value, list) else f"{name}={_typed(value)}"
        for name, value in settings.items()
    ]
    found = parse_settings([",".join(parts)])
    assert found == settings == parse_settings(parts)
    assert {name: type(value) for name, value in found.items()} == {n: type(v) for n, v in settings.items()}


@pytest.mark.parametrize(
    ("texts", "faults"),
    [
        (["lr"], ["got 'lr', allowed name=value"]),
        (["=1", "b=2"], ["got '=1'"]),
        (["a=1,a=2"], ["--set: a: got 1 and 2, allowed one of them"]),
        (["lr=[0.1,0.2]", "b=3,lr=1e-3"], ["lr: got [0.1,0.2] and 1e-3"]),
        (["a={,a=2"], ["a: got '{'", "a: got { and 2"]),
        (["a=[1,2"], ["a: got '[1,2'"]),
        (["x", "y", "a={"], ["got 'x'", "got 'y'", "a: got '{'"]),
        (["lr="], ["got 'lr=', allowed name=value"]),
    ],
)
def test_settings_that_cannot_be_read(texts: list[str], faults: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(texts)
    assert all(fault in str(caught.value) for fault in faults)
    assert len(caught.value.faults) == len(faults)
