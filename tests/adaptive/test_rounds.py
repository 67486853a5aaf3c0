"""What is asked next, as a pure function of how what was asked before ended: no trial runs here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from gradlaw.adaptive.ask import STEPS_TO_TARGET, Ask, Ended, Outcome, score
from gradlaw.adaptive.declared import Declared
from gradlaw.adaptive.rounds import best_of, most_rounds, next_round, outline, standings
from gradlaw.ending import Target
from gradlaw.rules.sgd import HeavyBall
from gradlaw.space import Edge, Range
from gradlaw.study import Arm, Grid, Search
from gradlaw.tasks.digits import DigitsMLP
from gradlaw.trial import State

GRID = Grid(task=DigitsMLP, steps=5, target=Target(metric="loss", value=0.1))
LR = Range(low=1e-3, high=10.0, log=True)
SEARCH = Search(
    name="contest",
    arms=(
        Arm(name="plain", grid=GRID, space={"lr": LR}),
        Arm(name="momentum", grid=replace(GRID, rule=HeavyBall, values={"momentum": 0.5}), space={"lr": LR}),
    ),
    budget=5,
    per_round=2,
    tuning_seeds=2,
    metric="loss",
)
EDGE = replace(GRID, values={"lr": Edge(low=0.1, high=10.0, halvings=3), "batch_size": (8, 16)})
Judge = Callable[[Ask], Outcome]


def declared(*searches: Search, edged: tuple[Grid, ...] = (), seeds: int = 2) -> Declared:
    found = Declared("toy", searches, edged, range(seeds), 2_000_000)
    assert found.faults == []
    return found


def rounds_of(of: Declared, judge: Judge) -> list[tuple[Ask, ...]]:
    rounds: list[tuple[Ask, ...]] = []
    while asks := next_round(of, [Ended(ask, judge(ask)) for part in rounds for ask in part]):
        rounds.append(asks)
    return rounds


def by_lr(ask: Ask) -> Outcome:
    """The loss is least at lr = 0.1; above 5 trials diverge."""
    lr = float(ask.values["lr"])
    if lr > 5.0:
        return Outcome(state=State.DIVERGED)
    return Outcome(state=State.DONE, last={"loss": abs(math.log10(lr) + 1.0)})


def test_arms_ask_alike_until_their_budget_is_spent_and_then_for_fresh_seeds() -> None:
    rounds = rounds_of(declared(SEARCH), by_lr)
    assert [len(part) for part in rounds] == [8, 8, 4, 4]
    tuning = [ask for part in rounds[:-1] for ask in part]
    for arm in ("plain", "momentum"):
        asked = [(ask.number, ask.seed) for ask in tuning if ask.arm == arm]
        assert asked == [(number, 2_000_000 + seed) for number in range(5) for seed in range(2)]
    assert {ask.role for ask in tuning} == {"tuning"}
    assert {(ask.role, ask.seed) for ask in rounds[-1]} == {("fresh", 0), ("fresh", 1)}


def test_the_best_of_each_arm_is_what_runs_afresh() -> None:
    rounds = rounds_of(declared(SEARCH), by_lr)
    for arm in ("plain", "momentum"):
        tuned = {ask.number: ask for part in rounds[:-1] for ask in part if ask.arm == arm}
        losses = {number: by_lr(ask).last.get("loss", math.inf) for number, ask in tuned.items()}
        least = min(losses, key=losses.__getitem__)
        fresh = {(ask.number, tuple(ask.values.items())) for ask in rounds[-1] if ask.arm == arm}
        assert fresh == {(least, tuple(tuned[least].values.items()))}


def test_of_above_the_largest_is_best() -> None:
    search = replace(SEARCH, direction="above")
    found = [
        Ended(Ask("tuning", "contest", "plain", n, 0, {"lr": 1.0}), done(v)) for n, v in enumerate((1, 3, 2))
    ]
    best = best_of(search, standings(search, search.arms[0], found))
    assert best is not None
    assert best.number == 1


def done(value: float) -> Outcome:
    return Outcome(state=State.DONE, last={"loss": float(value)})


def test_a_configuration_that_fails_on_any_seed_ranks_last() -> None:
    arm = SEARCH.arms[0]
    outcomes = [
        (0, done(5.0)), (0, done(7.0)), (1, done(0.1)), (1, Outcome(state=State.DIVERGED)),
        (2, done(math.nan)), (2, done(0.1)), (3, done(0.2)), (3, Outcome(state=State.FAILED)),
    ]  # fmt: skip
    found = standings(
        SEARCH, arm, [Ended(Ask("tuning", "contest", "plain", n, 0, {"lr": 1.0}), o) for n, o in outcomes]
    )
    assert [item.score for item in found] == [6.0, None, None, None]
    assert best_of(SEARCH, found) == found[0]
    assert best_of(SEARCH, found[1:]) is None


def test_of_equals_the_first_is_best() -> None:
    found = [Ended(Ask("tuning", "contest", "plain", n, 0, {"lr": 1.0}), done(1.0)) for n in (0, 1, 2)]
    best = best_of(SEARCH, standings(SEARCH, SEARCH.arms[0], found))
    assert best is not None
    assert best.number == 0


def test_an_arm_without_any_result_has_no_fresh_trials() -> None:
    def judge(ask: Ask) -> Outcome:
        return Outcome(state=State.DIVERGED) if ask.arm == "momentum" else by_lr(ask)

    rounds = rounds_of(declared(SEARCH), judge)
    assert Counter(ask.arm for ask in rounds[-1]) == {"plain": 2}
    assert Counter(ask.arm for part in rounds[:-1] for ask in part) == {"plain": 10, "momentum": 10}


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome(state=State.REACHED_TARGET, steps_done=7), 7.0),
        (Outcome(state=State.DONE, steps_done=10), None),
        (Outcome(state=State.DIVERGED, steps_done=2), None),
    ],
)
def test_steps_to_a_target(outcome: Outcome, expected: float | None) -> None:
    assert score(outcome, STEPS_TO_TARGET) == expected


def test_each_combination_and_seed_is_bisected_apart() -> None:
    thresholds = {(number, seed): 0.3 * (1 + number) + 0.1 * seed for number in range(2) for seed in range(2)}

    def judge(ask: Ask) -> Outcome:
        holds = float(ask.values["lr"]) < thresholds[ask.number, ask.seed]
        return Outcome(state=State.DONE if holds else State.DIVERGED)

    rounds = rounds_of(declared(edged=(EDGE,)), judge)
    assert [len(part) for part in rounds] == [8, 4, 4, 4]
    for key, threshold in thresholds.items():
        asked = [float(ask.values["lr"]) for part in rounds for ask in part if (ask.number, ask.seed) == key]
        low = max(value for value in asked if value < threshold)
        high = min(value for value in asked if value >= threshold)
        assert high / low == pytest.approx(100 ** (1 / 8), rel=1e-12)


def test_searches_and_edges_share_rounds() -> None:
    of = declared(SEARCH, edged=(EDGE,))

    def judge(ask: Ask) -> Outcome:
        return by_lr(ask)

    rounds = rounds_of(of, judge)
    assert {ask.role for ask in rounds[0]} == {"tuning", "edge"}
    assert len(rounds) == most_rounds(of) == 4


def test_the_outline_is_as_large_as_what_is_asked() -> None:
    of = declared(SEARCH, edged=(EDGE,))
    rounds = rounds_of(of, by_lr)
    for number in range(len(rounds) + 1):
        asked = [ask for part in rounds[:number] for ask in part]
        rest = [ask for part in rounds[number:] for ask in part]
        assert Counter((ask.role, ask.arm, ask.seed) for ask in outline(of, asked)) == Counter(
            (ask.role, ask.arm, ask.seed) for ask in rest
        )


def test_trials_of_one_program_share_packs_whichever_arm_asks() -> None:
    arms = tuple(Arm(name=name, grid=GRID, space={"lr": LR}) for name in ("one", "other"))
    of = declared(replace(SEARCH, arms=arms))
    asks = next_round(of, [])
    built = of.build(asks)
    (pack,) = built.packs
    assert [member.trial.trial_id for member in pack.members] != list(built.trial_ids), "seeds are outermost"
    assert sorted(member.trial.trial_id for member in pack.members) == sorted(built.trial_ids)
    assert [member.trial.seed for member in pack.members] == [2_000_000] * 4 + [2_000_001] * 4
    assert of.build(asks, held=dict.fromkeys(built.trial_ids, ())).packs == ()


def test_what_its_rule_refuses_is_skipped_with_the_reason() -> None:
    grid = replace(GRID, skip=lambda values: "lr is odd" if float(values["lr"]) > 1.0 else None)
    of = declared(replace(SEARCH, arms=(Arm(name="plain", grid=grid, space={"lr": LR}),), sampler="random"))
    built = of.build(next_round(of, []))
    assert {reason for _, reason in built.skipped} == {"lr is odd"}
    num_run = sum(len(pack.members) for pack in built.packs)
    assert num_run + len(built.skipped) == 10
    assert 0 < num_run < 10
