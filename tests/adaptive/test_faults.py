"""Searches and edges that cannot be meant: refused before anything runs, all faults at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gradlaw.adaptive.rounds import next_round
from gradlaw.ending import Halving, Target
from gradlaw.errors import ConfigurationError
from gradlaw.planning.plan import Plan, make_plan
from gradlaw.rules.adam import Adam
from gradlaw.schedules import LinearWarmup
from gradlaw.space import Choices, Edge, Range
from gradlaw.study import Arm, Grid, Preset, Search, Study
from gradlaw.tasks.digits import DigitsMLP

GRID = Grid(task=DigitsMLP, rule=Adam, schedule=LinearWarmup, steps=5)
LR = Range(low=1e-3, high=1.0, log=True)


def arm(**how: Any) -> Arm:
    return Arm(**{"name": "adam", "grid": GRID, "space": {"lr": LR}} | how)


def search(**how: Any) -> Search:
    return Search(**{"name": "contest", "arms": (arm(),), "budget": 4, "metric": "loss"} | how)


def plan_of(*searches: Search, grids: tuple[Grid, ...] = (), **how: Any) -> Plan:
    preset = Preset(doc="", grids=grids, searches=searches, seeds=2)
    study = Study(name="toy", question="?", source="a test", presets={"demo": preset})
    return make_plan(study, **how)


def faults_of(*searches: Search, grids: tuple[Grid, ...] = (), **how: Any) -> str:
    with pytest.raises(ConfigurationError) as raised:
        plan_of(*searches, grids=grids, **how)
    return str(raised.value)


def edged(**how: Any) -> Grid:
    return replace(GRID, values={"lr": Edge(**{"low": 0.1, "high": 10.0, "halvings": 3} | how)})


@pytest.mark.parametrize(
    ("of", "fault"),
    [
        (
            search(metric=""),
            "search contest: metric: got none, allowed a column of metrics or steps_to_target",
        ),
        (search(metric="accuracy"), "metric: got 'accuracy', allowed one of 'loss', 'steps_to_target'"),
        (search(metric="steps_to_target"), "target: got none, allowed a Target"),
        (search(budgets={"adam": 9}), "budgets: got 9 for arm adam, allowed 4, the budget of every arm"),
        (search(budgets={"lion": 4}), "budgets: got arm 'lion', allowed adam"),
        (search(budget=0), "budget: got 0, allowed >= 1"),
        (search(per_round=0), "per_round: got 0, allowed >= 1"),
        (search(tuning_seeds=0), "tuning_seeds: got 0, allowed >= 1"),
        (search(sampler="grid"), "sampler: got 'grid', allowed one of 'tpe', 'sobol', 'random'"),
        (search(direction="up"), "direction: got 'up', allowed one of"),
        (search(arms=()), "arms: got none"),
        (search(name="Con test"), "searches: got the name 'Con test'"),
        (search(arms=(arm(), arm())), "arms: got 'adam' twice, allowed once"),
        (search(arms=(arm(space={}),)), "arm adam: space: got none"),
        (search(arms=(arm(space={"rate": LR}),)), "space: rate: unknown hyperparameter; known: batch_size,"),
        (search(arms=(arm(space={"steps": LR}),)), "space: got steps"),
        (
            search(arms=(arm(space={"beta1": Range(low=0.5, high=1.5)}),)),
            "beta1: got 1.5, allowed [0, 1)",
        ),
        (
            search(arms=(arm(space={"lr": Range(low=1.0, high=0.1)}),)),
            "lr: got a range from 1 to 0.1, allowed low < high",
        ),
        (
            search(arms=(arm(space={"lr": Range(low=0.0, high=0.1, log=True)}),)),
            "logarithmic range from 0, allowed low > 0",
        ),
        (
            search(arms=(arm(space={"warmup_steps": Range(low=0, high=4)}),)),
            "warmup_steps: got a range of any numbers",
        ),
        (
            search(arms=(arm(space={"warmup_steps": Range(low=0.5, high=4, whole=True)}),)),
            "warmup_steps: got the ends 0.5 and 4, allowed whole numbers",
        ),
        (
            search(arms=(arm(space={"batch_size": Range(low=1, high=4, whole=True)}),)),
            "batch_size: got a range of what is structural",
        ),
        (
            search(arms=(arm(space={"sampling": Range(low=1, high=4)}),)),
            "sampling: got a range of what is structural",
        ),
        (search(arms=(arm(space={"lr": Choices(values=())}),)), "lr: got no choice"),
        (search(arms=(arm(space={"lr": Choices(values=(0.1, -1.0))}),)), "lr: got -1, allowed"),
        (search(arms=(arm(space={"lr": Choices(values=(0.1, 0.1))}),)), "lr: got 0.1 twice"),
        (
            search(arms=(arm(grid=replace(GRID, values={"lr": 0.1})),)),
            "lr: got a value in the grid and a space",
        ),
        (
            search(arms=(arm(grid=replace(GRID, values={"beta1": (0.1, 0.2)})),)),
            "beta1: got (0.1, 0.2), allowed a single value",
        ),
        (search(arms=(arm(grid=replace(GRID, steps=(5, 6))),)), "steps: got (5, 6), allowed a single value"),
        (
            search(arms=(arm(grid=replace(GRID, points=({"beta1": 0.1},))),)),
            "points: got 1, allowed none in an arm",
        ),
        (search(arms=(arm(grid=edged(), space={"beta1": LR}),)), "lr: got Edge("),
        (
            search(arms=(arm(grid=replace(GRID, halving=Halving(metric="loss", first=1))),)),
            "halving: got one, allowed none in an arm",
        ),
        (search(arms=(arm(grid=replace(GRID, log_every=0)),)), "log_every: got 0"),
    ],
)
def test_a_search_that_cannot_be_meant(of: Search, fault: str) -> None:
    assert fault in faults_of(of)


@pytest.mark.parametrize(
    ("grid", "fault"),
    [
        (edged(low=10.0, high=0.1), "lr: got an edge from 10 to 0.1, allowed 0 < low < high"),
        (edged(low=0.0), "lr: got an edge from 0 to 10, allowed 0 < low < high"),
        (edged(halvings=0), "lr.halvings: got 0, allowed"),
        (
            edged(fails=Target(metric="accuracy", value=1.0)),
            "lr.fails.metric: got 'accuracy', allowed one of 'loss'",
        ),
        (edged(fails=Target(metric="loss", value=1.0, direction="up")), "lr.fails.direction: got 'up'"),
        (
            replace(GRID, values={"warmup_steps": Edge(low=1, high=4, halvings=2)}),
            "warmup_steps: got an edge of what is int",
        ),
        (replace(GRID, values={"beta1": Edge(low=0.1, high=4, halvings=2)}), "beta1: got 4, allowed [0, 1)"),
        (
            replace(GRID, values={name: Edge(low=0.1, high=0.5, halvings=2) for name in ("lr", "beta1")}),
            "values: got edges lr, beta1, allowed one in a grid",
        ),
        (replace(edged(), halving=Halving(metric="loss", first=1)), "lr: got an edge with halving"),
    ],
)
def test_an_edge_that_cannot_be_meant(grid: Grid, fault: str) -> None:
    assert fault in faults_of(grids=(grid,))


def test_all_faults_come_together() -> None:
    wrong = arm(name="other", space={"lr": Range(low=1.0, high=0.1), "rate": LR})
    text = faults_of(
        search(name="misspelt", metric="los", arms=(arm(), wrong)),
        search(metric="", budgets={"other": 3}, arms=(arm(), wrong)),
        grids=(edged(halvings=0), replace(GRID, values={"lr": -1.0})),
        seeds=0,
        overrides={"nope": 1},
    )
    for part in (
        "metric: got none",
        "search misspelt: arm adam: metric: got 'los', allowed one of 'loss', 'steps_to_target'",
        "budgets: got 3 for arm other",
        "arm other: lr: got a range from 1 to 0.1",
        "arm other: space: rate: unknown hyperparameter",
        "edge 0 (digits_mlp): lr.halvings: got 0",
        "grid 0 (digits_mlp): lr: got -1",
        "seeds: got 0, allowed >= 1",
        "nope: unknown hyperparameter",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("space", "fault"),
    [
        ({"lr": (0.1, 0.2)}, "lr: got (0.1, 0.2), allowed a Range or Choices"),
        ({"lr": Range(low="0.1", high=1.0)}, "lr: got a range from '0.1' to 1.0, allowed numbers"),  # type: ignore[arg-type]
        ({"lr": Choices(values=(1, 1.0))}, "lr: got 1.0 twice, allowed once"),
    ],
)
def test_a_space_of_what_is_none(space: Any, fault: str) -> None:
    assert fault in faults_of(search(arms=(arm(space=space),)))


def test_an_edge_stands_in_one_grid() -> None:
    fault = "grids: 1 edges stand in more than one grid"
    assert fault in faults_of(grids=(edged(), edged()))
    assert plan_of(grids=(edged(), edged(halvings=4))).adaptive


def test_two_searches_of_one_name() -> None:
    assert "searches: got 'contest' twice, allowed once" in faults_of(search(), search())


def test_what_is_sound_is_planned_and_its_id_hangs_on_what_is_declared() -> None:
    base = plan_of(search(), grids=(edged(),))
    assert plan_of(search(budgets={"adam": 4}), grids=(edged(),)).plan_id == base.plan_id
    for other in (
        plan_of(search(budget=5), grids=(edged(),)),
        plan_of(search(sampler="random"), grids=(edged(),)),
        plan_of(search(arms=(arm(space={"lr": replace(LR, high=2.0)}),)), grids=(edged(),)),
        plan_of(search(arms=(arm(grid=replace(GRID, steps=6)),)), grids=(edged(),)),
        plan_of(search(), grids=(edged(halvings=4),)),
        plan_of(search(), grids=(replace(edged(), steps=6),)),
        plan_of(search(), grids=(edged(),), seeds=3),
        plan_of(search(), grids=(edged(),), explore=True),
    ):
        assert other.plan_id != base.plan_id


def test_values_given_instead() -> None:
    both = arm(space={"lr": LR, "beta1": Range(low=0.1, high=0.9)})
    plan = plan_of(search(arms=(both,)), grids=(edged(),), overrides={"lr": 0.5})
    assert plan.kind == "variant"
    assert plan.adaptive is not None
    assert plan.adaptive.edges == [], "a value takes the place of an edge"
    assert [member.hyperparameters["lr"] for member in plan.members] == [0.5, 0.5]
    assert list(plan.adaptive.searches[0].arms[0].space) == ["beta1"]
    assert "lr: got a value, allowed none: nothing else is searched in arm adam" in faults_of(
        search(), overrides={"lr": 0.5}
    )
    assert "beta2: got [0.9, 0.99], allowed a single value: arm adam has no axes" in faults_of(
        search(), overrides={"beta2": [0.9, 0.99]}
    )


def test_another_length_is_one_length_in_an_arm() -> None:
    plan = plan_of(search(), grids=(edged(),), overrides={"steps": 3})
    assert plan.adaptive is not None
    packs = plan.adaptive.build(next_round(plan.adaptive, ())).packs
    assert {member.trial.steps for pack in packs for member in pack.members} == {3}
    assert "steps: got [2, 3], allowed a single value" in faults_of(search(), overrides={"steps": [2, 3]})
