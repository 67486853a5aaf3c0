"""The presets, the timing and the figures."""

import math
from collections import defaultdict

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from study_parts import crossed, results_of

from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.plan_kind import PlanKind
from gradlaw.planning.plan import make_plan
from gradlaw.random import streams_of
from gradlaw.tasks.digits import DigitsMLP
from gradlaw.trial import State
from gradlaw_analysis.figures.render import draw
from gradlaw_studies.critical_batch.claims import BUDGET, CLAIMS, LARGE, SMALL
from gradlaw_studies.critical_batch.figures import FIGURES
from gradlaw_studies.critical_batch.study import NUM_TRAIN, STUDY, TARGET, TUNINGS
from gradlaw_studies.critical_batch.timing import StepTime, sizes, time_steps

mpl.use("agg")

DECIDING = [name for name, preset in STUDY.presets.items() if preset.decides]


def trained(preset, sampling):
    """The arms of a preset that draw batches in this way: hyperparameters and the trial."""
    plan = make_plan(STUDY, preset, seeds=1)
    trials = [item for item in plan.members if item.hyperparameters.get("sampling") == sampling]
    return [(item.hyperparameters, item.trial) for item in trials]


def test_the_smoke_preset_runs():
    plan = make_plan(STUDY, "smoke", seeds=1)
    assert plan.kind == PlanKind.SMOKE
    recorder = MemoryRecorder()
    states = [result.state for pack in plan.packs for result in results_of(pack, recorder)]
    assert set(states) == {State.DONE}
    assert {"train_loss", "noise_trace", "noise_grad_squared"} <= set(recorder.rows("metrics"))
    rows = recorder.rows("step_time")
    assert list(rows["batch_size"]) == [16, 15, 17, 32, 31, 33, 24, 40]
    assert all(value > 0 for value in rows["seconds_a_sample"])


@pytest.mark.parametrize("preset", DECIDING)
def test_every_rule_and_batch_size_has_a_grid_of_lrs_and_the_sizes_of_the_claims(preset):
    found = defaultdict(set)
    for values, trial in trained(preset, "iid"):
        assert trial.target
        found[trial.rule, values["batch_size"]].add(values["lr"])
    assert {rule for rule, _ in found} == {f"{tuning.rule.name}@1" for tuning in TUNINGS}
    for lrs in found.values():
        ratios = np.diff(np.log(sorted(lrs)))
        assert len(lrs) >= 5
        assert ratios == pytest.approx(np.full(len(ratios), ratios.mean()), abs=0.03)
        assert ratios.max() < math.log(1.6)
    known = {size for _, size in found}
    assert {SMALL["low"], SMALL["high"], LARGE["low"], LARGE["high"]} <= known


@pytest.mark.parametrize("tuning", TUNINGS, ids=lambda tuning: tuning.rule.name)
def test_the_loss_is_looked_at_fifty_times_within_the_expected_steps(tuning):
    for size in (1, 2, 32, 4096):
        assert tuning.log_every(size) == 1 or tuning.log_every(size) <= 0.02 * tuning.expected(size)
        assert tuning.horizon(size) >= 1.99 * tuning.expected(size)
    assert tuning.expected(2) * 2 == pytest.approx(
        tuning.expected(1), rel=0.05
    )  # one over B where noise rules
    middle = tuning.lrs(64, num=3, ratio=2.0)
    assert middle == pytest.approx([middle[1] / 2, middle[1], middle[1] * 2], rel=1e-2)


@pytest.mark.parametrize("preset", DECIDING)
def test_descents_reach_the_budgets_of_the_claims_and_log_their_ends(preset):
    every = {values["batch_size"]: set() for values, _ in trained(preset, "epoch")}
    for values, trial in trained(preset, "epoch"):
        every[values["batch_size"]].add(trial.steps)
    epochs = [grid for grid in STUDY.presets[preset].grids if "sampling" in grid.values]
    grids = {grid.values["batch_size"]: grid for grid in epochs}
    assert set(every) == {0, 1, 32}
    for size, steps in every.items():
        (num,) = steps
        by_examples = BUDGET["examples"] // (size or NUM_TRAIN)
        for step in (BUDGET["steps"], by_examples):
            assert step <= num
            assert step == num or step % grids[size].log_every == 0


def test_a_batch_of_all_rows_holds_what_the_claims_say():
    assert len(DigitsMLP().split(streams_of(0)).train) == NUM_TRAIN == BUDGET["num_train"]


def test_the_target_is_a_loss_over_all_training_rows():
    assert (TARGET.metric, TARGET.direction) == ("train_loss", "below")


def test_sizes_are_powers_and_their_neighbours():
    found = sizes(16, 1024)
    powers = [size.batch_size for size in found if size.kind == "power"]
    assert powers == [2**k for k in range(4, 11)]
    for size in found:
        by = {"power": 0, "by_one": 1, "by_eight": 8}[size.kind]
        assert abs(size.batch_size - size.base) == by
        assert size.kind != "by_eight" or size.batch_size % 8 == 0
    assert len({size.batch_size for size in found}) == len(found)


def test_twice_the_work_takes_longer_and_threads_are_left_as_they_were():
    before = torch.get_num_threads()
    small = StepTime().measure({"hidden_units": 8, "smallest": 256, "largest": 256, "num_rounds": 5}, seed=0)
    large = StepTime().measure(
        {"hidden_units": 512, "smallest": 256, "largest": 256, "num_rounds": 5}, seed=0
    )
    assert torch.get_num_threads() == before
    assert np.median(large["step_time"]["seconds_a_sample"]) > 3 * np.median(
        small["step_time"]["seconds_a_sample"]
    )


def test_a_round_times_every_size_once_a_sample():
    readings = time_steps([8, 512], hidden_units=16, num_rounds=4, seed=1)
    assert readings.shape == (4, 2)
    assert np.median(readings[:, 0]) > 5 * np.median(readings[:, 1])  # a step costs more than eight samples


def test_figures_show_every_claim():
    assert {name for figure in FIGURES for name in figure.claims} == {claim.name for claim in CLAIMS}


RULES = ["sgd@1", "adam@1"]
ROWS = {
    "figure_steps.sql": crossed(rule=RULES, batch_size=[2, 32, 512]).assign(
        lr=0.1, steps=100.0, examples=200.0, spread=0.1, s_min=90.0, e_min=4000.0
    ),
    "figure_lrs.sql": crossed(rule=RULES, batch_size=[2, 32], lr=[0.1, 0.2]).assign(reached=1.0, steps=50.0),
    "hyperbola.sql": crossed(seed=[0, 1], part=RULES).assign(
        value=0.1, s_min=90.0, e_min=4000.0, residual=0.1, b_simple=30.0
    ),
    "figure_noise.sql": crossed(rule=RULES, batch_size=[2, 32], loss=[1.0, 0.1]).assign(b_simple=30.0),
    "figure_descent.sql": crossed(batch_size=[0, 1, 32], step=[1, 98]).assign(
        loss=0.5, lr=0.1, examples=lambda rows: rows["step"] * 32
    ),
    "figure_time.sql": pd.DataFrame(
        [{"hidden_units": 64, "batch_size": size.batch_size, "kind": size.kind, "base": size.base,
          "microseconds": 1.0, "ratio": 1.0} for size in sizes(16, 32)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_figures_draw_their_rows(figure):
    assert len(draw(figure.draw, ROWS[figure.sql]).uri) > 1000


def test_the_trade_off_is_drawn_with_the_fitted_hyperbola():
    figure = next(item for item in FIGURES if item.name == "trade_off")
    left = figure.draw(ROWS[figure.sql]).axes[0]
    (curve, _) = [line for line in left.lines if len(line.get_xdata()) == 100]
    sizes_drawn = np.asarray(curve.get_xdata(), dtype=float)
    assert np.asarray(curve.get_ydata(), dtype=float) == pytest.approx(90.0 + 4000.0 / sizes_drawn)
