"""Each query about memory on a tiny Parquet whose answer is known by hand."""

from __future__ import annotations

import math
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas

import gradlaw_studies.lion_adamw
from gradlaw.studies import StudyFolder
from gradlaw_analysis.sample_sql import bind
from gradlaw_studies.lion_adamw.claims_memory import MEMORY_CLAIMS
from gradlaw_studies.lion_adamw.draw_memory import MEMORY_FIGURES, half_widths
from gradlaw_studies.lion_adamw.law import mean_age

FOLDER = StudyFolder(Path(gradlaw_studies.lion_adamw.__file__).parent, "gradlaw_studies.lion_adamw")
LR, LEVEL = 1e-3, 0.5
SAMPLE = {"task": "digits_mlp", "threshold": LEVEL, "rule": "adamw", "batch_size": 0}
LIMITS = {"largest": 0.3, "memories": 3.0, "rising": 0.2, "side": "above"}
CROSSED = 400

# AdamW at full batch: trial, seed, beta1, beta2, step of the crossing (None: never), one-norm there
FULL = [
    ("a0", 1, 0.9, 0.9, CROSSED, 2.0), ("a1", 1, 0.9, 0.99, CROSSED, 2.5),
    ("a2", 1, 0.9, 0.9999, CROSSED, 3.0), ("a3", 1, 0.9, 0.5, CROSSED, 6.0),
    ("a4", 1, 0.9, 0.999, None, None), ("a5", 1, 0.9, 0.98, 20, 2.2),
    ("b0", 2, 0.9, 0.9, CROSSED, 4.0), ("b1", 2, 0.9, 0.99, CROSSED, 5.0),
]  # fmt: skip


def trial(trial_id, seed, **changed):
    base = {"task": "digits_mlp@1", "rule": "adamw@1", "batch_size": 0, "lr": LR, "beta1": 0.9, "beta2": 0.9}
    base |= {"memory": math.nan, "correction": math.nan, "penalty": math.nan, "state": "done", "steps": 500}
    return {**base, "trial_id": trial_id, "seed": seed, **changed}


def crossing(trial_id, step, norm, accuracy=0.9, threshold=LEVEL):
    scores = {"sharpness": 1.0, "test_loss": 0.6, "test_accuracy": accuracy}
    norms = {"grad_l1": norm, "grad_l1_perturbed": norm + 0.1}
    return {"trial_id": trial_id, "step": step, "threshold": threshold, **norms, **scores}


def curve(trial_id, losses, **more):
    return [
        {"trial_id": trial_id, "step": 100 * place, "train_loss": loss, **more}
        for place, loss in enumerate(losses)
    ]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A connection that sees the tables as views on Parquet files."""
    trials = [trial(name, seed, beta1=one, beta2=two) for name, seed, one, two, _, _ in FULL]
    matched = [crossing(name, step, norm) for name, _, _, _, step, norm in FULL if step]
    metrics = [row for name, *_ in FULL for row in curve(name, [2.0, 1.5, 1.0, 0.7, 0.4])]
    # rises at 2 of 4 moves before the crossing; diverged; at the first step; another task, rule
    for name, changed in {
        "r": {"beta2": 0.97}, "d": {"beta2": 0.97, "state": "diverged"}, "z": {"beta2": 0.97},
        "o": {"task": "digits_mlp_batchnorm@1"}, "l": {"rule": "lion@1", "beta2": 0.99},
        "k": {"rule": "lion@1"},
    }.items():  # fmt: skip
        trials.append(trial(name, 9, **changed))
        matched.append(crossing(name, 0 if name == "z" else CROSSED, 7.0))
        metrics += curve(name, [2.0, 2.1, 1.0, 1.2, 0.4] if name == "r" else [2.0, 1.5, 1.0, 0.7, 0.4])
    # seeds 1 and 2 at threshold 1: the slope of the log one-norm in x is 2 at batches of 16, -2 at all rows
    for seed in (1, 2):
        for size, slope in ((16, 2.0), (0, -2.0)):
            for beta2 in (0.9, 0.99):
                name = f"m{seed}/{size}/{beta2}"
                x = LR * (mean_age(0.9, 300) - mean_age(beta2, 300))
                trials.append(trial(name, seed, beta2=beta2, batch_size=size))
                matched.append(crossing(name, 300, math.exp(slope * x), threshold=1.0))
                noise = {"noise_trace": 64.0, "noise_grad_squared": 2.0 if seed == 1 else -1.0}
                far = {"noise_trace": 1e9, "noise_grad_squared": 1.0}
                metrics += curve(name, [2.0], **far)
                metrics += [{**row, "step": row["step"] + 200} for row in curve(name, [1.2, 1.0], **noise)]
                metrics += [{**row, "step": 460} for row in curve(name, [0.5], **far)]
    arms = {"memory": (1.0, 0.0, 1.1), "corrected": (0.0, 1.0, 1.2), "memoryless": (0.0, 0.0, 1.0)}
    for name, (memory, correction, norm) in arms.items():
        trials.append(trial(name, 1, rule="adamw_twin@1", beta2=0.95, memory=memory, correction=correction))
        matched.append(crossing(name, 200, norm, threshold=1.0))
    for name, penalty in (("rewarded", -0.1), ("plain", 0.0), ("penalized", 0.1)):
        trials.append(trial(name, 1, rule="lion_penalized@1", penalty=penalty))
        matched.append(crossing(name, 200, 1.0 - penalty, 0.9 + penalty, threshold=1.0))
    folder, connection = tmp_path_factory.mktemp("tables"), duckdb.connect()
    frames = {
        "trials": pd.DataFrame(trials),
        "matched_loss": pd.DataFrame(matched),
        "metrics": pd.DataFrame(metrics),
    }
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet")
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM '{folder / name}.parquet'")
    yield connection
    connection.close()


def ask(tables, file, **parameters):
    return tables.execute(bind(FOLDER.sql(file), parameters, file)).df()


def slopes(tables, **changed):
    return ask(
        tables, "memory_slope.sql", **{**SAMPLE, "quantity": "grad_l1", "source": "measured", **changed}
    )


def test_x_is_the_coefficient_at_the_crossing_and_y_the_log_of_the_norm(tables):
    rows = slopes(tables)
    expected = {
        (seed, round(LR * (mean_age(one, step) - mean_age(two, step)), 12)): math.log(norm)
        for _, seed, one, two, step, norm in FULL
        if step
    }
    found = {(row.seed, round(row.x, 12)): row.y for row in rows.itertuples() if row.seed != 9}
    assert found == pytest.approx(expected)
    assert set(rows["series"]) == {"0.001"}
    assert len(rows[rows["seed"] == 9]) == 2, "of other tasks and rules, and of step 0, there are none"


def test_other_quantities_and_planted_slopes(tables):
    assert set(slopes(tables, quantity="test_accuracy")["y"]) == {0.9}
    assert set(slopes(tables, quantity="test_loss")["y"]) == {0.6}
    for source, sign in (("formula", -1.0), ("reversed", 1.0), ("none", 0.0)):
        rows = slopes(tables, source=source)
        assert list(rows["y"]) == pytest.approx(list(sign * rows["x"]))
    assert list(slopes(tables, rule="lion")["seed"]) == [9, 9]


def gate(tables, **changed):
    rows = ask(tables, "memory_gate.sql", **{**SAMPLE, **LIMITS, **changed})
    assert rows["trial_id"].is_unique
    return dict(zip(rows["trial_id"], rows["passed"], strict=True))


def test_the_gate_names_each_way_to_be_outside(tables):
    passed = gate(tables)
    assert sorted(name for name in passed if passed[name]) == ["a0", "a1", "a2", "b0", "b1"]
    inside = {"a0", "a1", "a2", "a4", "a5", "b0", "b1", "r", "d", "z"}
    never = {name for name in passed if name.startswith("m") and "/0/" in name}
    assert set(passed) == inside | never, "of another task, rule, side or batch size there is no row"
    assert len(never) == 4


@pytest.mark.parametrize(
    ("changed", "moved"),
    [
        ({"side": "below"}, {"a1": None, "a2": None, "b1": None, "a3": True}),
        ({"side": "either"}, {"a3": True}),
        ({"largest": 0.1}, {"a2": False}),
        ({"memories": 1.9}, {"a5": True}),
        ({"rising": 0.5}, {"r": True}),
    ],
)
def test_each_limit_of_the_gate_moves_its_own_trials(tables, changed, moved):
    before, after = gate(tables), gate(tables, **changed)
    assert {
        name: after.get(name) for name in before | after if bool(after.get(name)) != bool(before.get(name))
    } == moved


def test_the_trend_reads_one_beta1_from_there_on(tables):
    asked = {"task": "digits_mlp", "threshold": LEVEL, "beta1": 0.9}
    rows = ask(tables, "memory_trend.sql", **asked, source="measured")
    found = {(row.seed, row.level): row.value for row in rows.itertuples() if row.seed != 9}
    assert found == {
        (1, 0.9): math.log(2.0), (1, 0.98): math.log(2.2), (1, 0.99): math.log(2.5),
        (1, 0.9999): math.log(3.0), (2, 0.9): math.log(4.0), (2, 0.99): math.log(5.0),
    }  # fmt: skip
    rising, falling = (
        ask(tables, "memory_trend.sql", **asked, source=name) for name in ("rising", "falling")
    )
    assert (rising["value"] == rising["level"]).all()
    assert (falling["value"] == -falling["level"]).all()


def test_arms_are_named_by_what_they_were_run_with(tables):
    def arms(first, second, quantity="grad_l1", source="measured"):
        asked = {"task": "digits_mlp", "threshold": 1.0, "quantity": quantity, "source": source, "shift": 0.3}
        rows = ask(tables, "memory_arms.sql", **asked, first=first, second=second)
        assert set(rows["seed"]) == {1}
        assert rows["series"].nunique() == 1
        return dict(zip(rows["arm"], rows["value"], strict=True))

    assert arms("memory", "corrected") == pytest.approx({"memory": math.log(1.1), "corrected": math.log(1.2)})
    assert arms("memory", "memoryless") == pytest.approx({"memory": math.log(1.1), "memoryless": 0.0})
    assert arms("rewarded", "penalized", "test_accuracy") == pytest.approx(
        {"rewarded": 0.8, "penalized": 1.0}
    )
    assert arms("rewarded", "penalized", source="planted") == {"rewarded": 0.3, "penalized": 0.0}


CROSSOVER = {"task": "digits_mlp", "threshold": 1.0, "beta1": 0.9, "lr": LR, "num_train": 1024, "factor": 4.0}


def crossover(tables, **changed):
    rows = ask(tables, "memory_crossover.sql", **{**CROSSOVER, "source": "measured", **changed})
    assert set(rows["total"]) <= {1}
    return dict(zip(rows["seed"], rows["successes"], strict=True))


def test_the_crossover_is_where_the_slope_is_zero_in_the_log_of_the_batch_size(tables):
    """Slopes 2 at 16 and -2 at 1024: zero half-way, at 128. B_simple is 32 of seed 1; seed 2 has none."""
    assert crossover(tables, factor=4.001) == {1: 1}
    assert crossover(tables, factor=3.999) == {1: 0}


def test_planted_crossovers_are_near_or_far_by_their_making(tables):
    assert crossover(tables, source="near", factor=1.001) == {1: 1}
    assert crossover(tables, source="far", factor=7.999) == {1: 0}
    assert crossover(tables, source="far", factor=8.001) == {1: 1}


@pytest.mark.parametrize(
    ("slopes", "simple", "expected"),
    [
        ((2.0, 1.0, -1.0), 200.0, 1),  # zero at the root of 64 * 256 = 128
        ((2.0, 1.0, -1.0), 1000.0, 0),
        ((2.0, -1.0, 1.0), 40.0, 1),  # the first change counts: at 40.3
        ((-1.0, -2.0, -3.0), 65.0, 0),  # below 16, which is more than a factor 4 away
        ((-1.0, -2.0, -3.0), 63.0, None),  # below 16: within a factor 4 or not
        ((3.0, 2.0, 1.0), 63.0, 0),  # above 256
        ((3.0, 2.0, 1.0), 65.0, None),
        ((-1.0, 1.0, 2.0), 63.0, 0),  # it changes the other way, and may change back above 256
        ((-1.0, 1.0, -1.0), 128.0, 1),
        ((2.0, None, -1.0), 65.0, 1),  # at 2/3 of the way from ln 16 to ln 256: 102
    ],
)
def test_seeds_without_a_change_of_sign_are_censored(slopes, simple, expected):
    """Batches of 16, 64 and 256; ``None``: one beta2 alone crossed there, so that there is no slope."""
    trials, matched, metrics = [], [], []
    for size, slope in zip((16, 64, 256), slopes, strict=True):
        for beta2 in (0.9, 0.99)[: 1 if slope is None else 2]:
            name, x = f"{size}/{beta2}", LR * (mean_age(0.9, 300) - mean_age(beta2, 300))
            trials.append(trial(name, 5, beta2=beta2, batch_size=size))
            matched.append(crossing(name, 300, math.exp((slope or 0.0) * x), threshold=1.0))
            metrics.append({"trial_id": name, "step": 300, "noise_trace": simple, "noise_grad_squared": 1.0})
    connection = duckdb.connect()
    for name, rows in (("trials", trials), ("matched_loss", matched), ("metrics", metrics)):
        connection.register(name, pd.DataFrame(rows))
    assert crossover(connection) == ({} if expected is None else {5: expected})


def test_the_crossover_s_gate_has_every_batch_size_and_lets_batches_rise(tables):
    asked = {name: CROSSOVER[name] for name in ("task", "threshold", "beta1", "lr")}
    limits = {name: LIMITS[name] for name in ("largest", "memories", "rising")}
    rows = ask(tables, "memory_crossover_gate.sql", **asked, **limits).set_index("trial_id")["passed"]
    batched = [name for name in rows.index if name.startswith("m")]
    assert len(batched) == 8
    assert rows[batched].all()
    assert not rows.drop(index=batched).any(), "the others cross another threshold"
    assert "a3" not in rows.index
    assert "l" not in rows.index
    one = ask(tables, "memory_crossover_gate.sql", **asked, **{**limits, "rising": -1.0})
    assert set(one.loc[one["passed"], "trial_id"]) == {name for name in batched if "/16/" in name}


FIGURES = {figure.name: figure for figure in MEMORY_FIGURES}


def figure_rows(tables, name):
    return ask(tables, FIGURES[name].sql, **FIGURES[name].parameters)


def test_norms_are_over_the_same_seed_at_equal_betas(tables):
    rows = figure_rows(tables, "memory_norms")
    rows = rows[rows["task"] == "digits_mlp"].set_index(["threshold", "beta2"])
    row = rows.loc[(LEVEL, 0.99)]
    assert row["num_seeds"] == 2
    assert row["above"] == pytest.approx(math.log(1.25))
    assert row["above_error"] == pytest.approx(0.0, abs=1e-9)
    assert row["x"] == pytest.approx(LR * (mean_age(0.9, CROSSED) - mean_age(0.99, CROSSED)))
    assert rows.loc[(LEVEL, 0.9), "above"] == 0.0
    assert row["accuracy"] == 0.0


def test_slopes_by_batch_size_and_the_noise_scale_beside_them(tables):
    rows = figure_rows(tables, "memory_batches")
    rows = rows[rows["threshold"] == 1.0].set_index("batch_size")
    assert rows["slope"].to_dict() == pytest.approx({0: -2.0, 16: 2.0})
    assert rows.loc[16, "simple"] == pytest.approx(64.0 * 2 / (2.0 - 1.0))
    assert np.isnan(rows.loc[0, "simple"])
    assert rows.loc[16, "num_seeds"] == 2


def test_arms_are_over_their_own_reference(tables):
    rows = figure_rows(tables, "memory_arms").set_index("arm")["value"].to_dict()
    assert rows == pytest.approx({
        "memory": math.log(1.1), "corrected": math.log(1.2),
        "rewarded": math.log(1.1), "penalized": math.log(0.9),
    })  # fmt: skip


def test_half_widths_are_student_s():
    """Two seeds: 12.706 standard errors; sixteen: 2.131; of one seed there is none."""
    found = half_widths(pd.Series([1.0, 2.0, math.nan]), pd.Series([2, 16, 1]))
    assert list(found) == pytest.approx([12.706, 2 * 2.131, 0.0], abs=1e-3)


def test_a_threshold_that_no_run_reaches_is_counted(tables):
    rows = figure_rows(tables, "memory_reached").set_index(["rule", "batch_size", "threshold"])
    assert rows.loc[("adamw", 0, LEVEL), ["num_trials", "num_crossed"]].tolist() == [14, 9]
    assert rows.loc[("adamw", 0, 0.05), ["num_trials", "num_crossed"]].tolist() == [14, 0]
    assert set(rows["task"]) == {"digits_mlp"}


@pytest.mark.parametrize("name", list(FIGURES))
def test_every_figure_draws_its_rows_and_none_at_all(tables, name):
    rows = figure_rows(tables, name)
    assert len(rows)
    assert isinstance(FIGURES[name].draw(rows), Canvas)
    assert isinstance(FIGURES[name].draw(rows.iloc[:0]), Canvas)


def test_every_declared_query_runs_with_its_parameters(tables):
    for claim in MEMORY_CLAIMS:
        for item in (claim, *claim.controls, *([claim.gate] if claim.gate else [])):
            ask(tables, item.sql, **item.parameters)
