from collections import defaultdict
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas
from study_parts import crossed, results_of

from gradlaw.claim import Survival, Trend
from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.planning.plan import make_plan
from gradlaw.study import Preset
from gradlaw.trial import State
from gradlaw_analysis.figures.render import draw
from gradlaw_studies.grokking.claims import CLAIMS
from gradlaw_studies.grokking.figures import FIGURES
from gradlaw_studies.grokking.law import CONSTANT, ladder, share
from gradlaw_studies.grokking.study import LAW_DECAY, STUDY, demo_point, training

mpl.use("agg")

DECIDING = [name for name, preset in STUDY.presets.items() if preset.decides]


def trained(preset, seeds=1):
    """Hyperparameters of a preset's trials, and their steps."""
    members = make_plan(STUDY, preset, seeds=seeds).members
    return [{"steps": member.trial.steps, **member.hyperparameters} for member in members]


def test_the_smoke_preset_runs_and_logs_both_accuracies():
    plan = make_plan(STUDY, "smoke", seeds=1)
    recorder = MemoryRecorder()
    states = [result.state for pack in plan.packs for result in results_of(pack, recorder)]
    assert len(states) == len(list(plan.members))
    assert set(states) <= {State.DONE, State.REACHED_TARGET}
    rows = recorder.rows("metrics")
    assert all(0.0 <= value <= 1.0 for name in ("train_accuracy", "test_accuracy") for value in rows[name])


def test_a_small_network_adds_unseen_pairs_with_weight_decay_and_not_without():
    grid = training([demo_point(3.5, modulus=11)], steps=1200, log_every=25, pack_width=8)
    grid = replace(grid, values={**grid.values, "weight_decay": (0.0, 5e-4)})
    preset = Preset(doc="one point, two weight decays", grids=(grid,), seeds=2)
    plan = make_plan(replace(STUDY, presets={"demo": preset}), explore=True)
    (pack,) = plan.packs
    recorder = MemoryRecorder()
    ended = {result.trial_id: result for result in results_of(pack, recorder)}
    for member in pack.members:
        result, rows = ended[member.trial.trial_id], recorder.rows("metrics", member.trial.trial_id)
        assert rows["train_accuracy"][2] >= 0.99  # by step 50
        added = member.hyperparameters["weight_decay"] > 0
        assert result.state == (State.REACHED_TARGET if added else State.DONE)
        assert (rows["test_accuracy"][-1] >= 0.99) == added
        assert result.steps_done == rows["step"][-1]


@pytest.mark.parametrize("preset", ["demo", "paper"])
def test_the_arms_that_the_claims_name_are_trained_at_one_point(preset):
    runs = trained(preset)
    where = {(run["modulus"], run["train_share"]) for run in runs if run["weight_decay"] == 0}
    assert len(where) == 1
    there = [run for run in runs if (run["modulus"], run["train_share"]) in where]
    arms = {"shuffled" if run["labels"] != "sum" else f"decay {run['weight_decay']:g}" for run in there}
    tests = [claim.test for claim in CLAIMS]
    tests += [control.test for claim in CLAIMS for control in claim.controls]
    survivals = [test for test in tests if isinstance(test, Survival)]
    assert survivals
    for test in survivals:
        assert set(test.arms) <= arms
        assert test.horizon <= min(run["steps"] for run in there)
    decays = [run["weight_decay"] for run in there if run["labels"] == "sum" and run["weight_decay"] > 0]
    assert {test.num_levels for test in tests if isinstance(test, Trend)} == {len(decays)}
    assert all(test.horizon > 0 for test in survivals)


@pytest.mark.parametrize("preset", DECIDING)
def test_the_ladder_of_shares_encloses_the_published_one_and_that_of_the_controls(preset):
    shares = defaultdict(list)
    for run in trained(preset):
        if run["labels"] == "sum" and run["weight_decay"] == LAW_DECAY:
            shares[run["modulus"]].append(run["train_share"])
    shares = {modulus: found for modulus, found in shares.items() if len(found) > 1}
    assert shares
    for modulus, found in shares.items():
        for inside in (share(modulus), share(modulus, 1.2 * CONSTANT)):
            assert min(found) < inside < max(found) < 1
        assert len(found) == len(set(found)) >= 6
        if len(shares) > 1:  # where a slope is asked for
            assert min(found) < 8 / modulus < max(found)


def test_the_critical_share_is_that_of_the_public_code():
    assert share(71) == pytest.approx(2.7482 * np.log(71) / 71, abs=5e-5)
    assert share(127) == pytest.approx(0.1048, abs=5e-5)


def test_a_ladder_has_equal_steps_in_logarithms():
    assert np.diff(np.log(ladder(2.25, 1.09, 6))) == pytest.approx(np.log(1.09))


ROWS = {
    "figure_survival.sql": pd.concat(
        [
            crossed(labels=["sum"], weight_decay=[0.0, 1e-5, 2e-4], time=[0, 100, 400]),
            crossed(labels=["shuffled"], weight_decay=[2e-4], time=[0, 400]),
        ]
    ).assign(survival=lambda rows: 1 - rows["time"] / 500),
    "figure_curves.sql": crossed(weight_decay=[0.0, 1e-5, 2e-4], step=[0, 10, 100, 1000]).assign(
        train_accuracy=lambda rows: rows["step"] / 1000, test_accuracy=lambda rows: rows["step"] / 2000
    ),
    "figure_phase.sql": crossed(modulus=[11, 23], train_share=[0.3, 0.4, 0.6]).assign(
        num_seeds=10, added=lambda rows: rows["train_share"], median_step=100.0
    ),
    "figure_critical.sql": crossed(seed=[0, 1], modulus=[11, 23, 31], budget=[2500.0, 10_000.0]).assign(
        critical_rows=lambda rows: 2.5 * rows["modulus"] * np.log(rows["modulus"]) * 1.1 ** rows["seed"]
    ),
}


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_figures_draw_their_rows(figure):
    assert len(draw(figure.draw, ROWS[figure.sql]).uri) > 1000


def test_the_critical_figure_draws_the_geometric_mean_over_seeds():
    figure = next(item for item in FIGURES if item.name == "critical_rows")
    canvas = figure.draw(ROWS["figure_critical.sql"])
    assert isinstance(canvas, Canvas)
    drawn = np.concatenate([line.get_ydata() for line in canvas.axes[0].lines])
    for modulus in (11, 23, 31):
        middle = 2.5 * modulus * np.log(modulus) * 1.1**0.5
        assert np.isclose(drawn.astype(float), middle).any()
