"""Each query on a tiny Parquet whose answer is known by hand."""

import math
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

import gradlaw_studies.sqrt_b
from gradlaw_analysis.sample_sql import bind

FOLDER = Path(gradlaw_studies.sqrt_b.__file__).parent
STEP = {"step": 4, "phase": "end"}

TRIALS = [
    {"trial_id": "a", "seed": 1, "state": "done", "task": "digits_mlp@1", "sampling": "iid", "lr": 0.5},
    {
        "trial_id": "b",
        "seed": 2,
        "state": "done",
        "task": "modular_addition@1",
        "sampling": "iid",
        "lr": 0.01,
    },
    {"trial_id": "c", "seed": 1, "state": "done", "task": "digits_softmax@1", "sampling": "iid", "lr": 0.1},
    {"trial_id": "d", "seed": 1, "state": "done", "task": "digits_softmax@1", "sampling": "epoch", "lr": 0.1},
    {"trial_id": "e", "seed": 3, "state": "diverged", "task": "digits_mlp@1", "sampling": "iid", "lr": 9.0},
]
NOISE = [
    {"trial_id": trial, "batch_size": size, "replacement": replacement, "quantity": "loss", "num_draws": 9,
     "std": std, "std_corrected": std / factor, "std_exact": 6.0 / size**0.5, "excess_kurtosis": 0.0}
    for trial, replacement, size, std, factor in (
        ("a", True, 1, 6.0, 1.0),
        ("a", True, 4, 3.3, 1.0),
        ("a", False, 4, 2.4, 0.8),
        ("b", True, 4, 3.0, 1.0),
    )
]  # fmt: skip
KURTOSIS = [
    {"trial_id": "a", "batch_size": size, "quantity": "loss", "direction": 0, "num_draws": 9,
     "measurable": seen, "excess_kurtosis": found, "kurtosis_exact": 8.0 / size, "standard_error": 0.1}
    for size, found, seen in ((1, 8.0, True), (4, 2.2, True), (64, None, False))
]  # fmt: skip
SCALE = [
    {"trial_id": "a", "small_batch_size": 8, "big_batch_size": 64, "num_draws": 9, "trace": 40.0,
     "norm2": 2.0, "b_simple": 20.0, "trace_two_batch": 44.0, "norm2_two_batch": 2.2,
     "b_simple_two_batch": 20.0}
]  # fmt: skip
PARTITION = [
    {"trial_id": "a", "batch_size": 5, "quantity": "loss", "num_partitions": 3, "num_batches": 2,
     "num_rows": 11, "std": 2.2, "std_exact": 2.0}
]  # fmt: skip
CONTROL = [
    {"trial_id": trial, "control": control, "batch_size": 4, "quantity": "loss", "num_draws": 9, "std": 2.0,
     "std_exact": 1.0, "phase": phase}
    for trial, control, phase in (
        ("a", "sign", "end"), ("a", "clipped", "end"), ("a", "sign", "start"), ("b", "sign", "end"),
    )
]  # fmt: skip
MINIMUM = [
    {"trial_id": trial, "step": 8, "minimum": 1.0, "gradient_norm": 0.0, "iterations": 3} for trial in "cd"
]
# Excess over the minimum of 1: before step 5 not counted, then 0.2 and 0.4 (c), 0.1 and 0.3 (d).
LOSSES = {"c": [9.0, 9.0, 9.0, 1.2, 1.4], "d": [9.0, 9.0, 9.0, 1.1, 1.3]}
METRICS = [
    {"trial_id": trial, "step": step, "train_loss": loss}
    for trial, losses in LOSSES.items()
    for step, loss in zip((0, 2, 4, 6, 8), losses, strict=True)
]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A connection that sees the tables as views on Parquet files."""
    folder = tmp_path_factory.mktemp("tables")
    connection = duckdb.connect()
    frames = {
        "trials": pd.DataFrame(TRIALS).assign(batch_size=[32, 64, 16, 16, 32]),
        "gradient_noise": pd.DataFrame(NOISE).assign(**STEP),
        "noise_kurtosis": pd.DataFrame(KURTOSIS).assign(**STEP),
        "noise_scale": pd.DataFrame(SCALE).assign(**STEP),
        "noise_partition": pd.DataFrame(PARTITION).assign(**STEP),
        "noise_control": pd.DataFrame(CONTROL).assign(step=4),
        "loss_minimum": pd.DataFrame(MINIMUM),
        "metrics": pd.DataFrame(METRICS).astype({"train_loss": "float32"}),
    }
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet")
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM '{folder / name}.parquet'")
    yield connection
    connection.close()


def ask(tables, file, **parameters):
    return tables.execute(bind((FOLDER / file).read_text(), parameters, file)).df()


def test_the_slope_query_takes_the_named_std_on_the_asked_trials(tables):
    rows = ask(tables, "noise_slope.sql", source="std", replacement=True, task="digits%").sort_values("x")
    assert list(rows["seed"]) == [1, 1]
    assert list(rows["series"]) == ["a/end/loss"] * 2
    assert list(rows["part"]) == ["loss"] * 2
    assert list(rows["x"]) == pytest.approx([0.0, math.log(4)])
    assert list(rows["y"]) == pytest.approx([math.log(6), math.log(3.3)])
    everything = ask(tables, "noise_slope.sql", source="std", replacement=True, task="%")
    assert sorted(everything["seed"]) == [1, 1, 2]
    corrected = ask(tables, "noise_slope.sql", source="std_corrected", replacement=False, task="%")
    assert list(corrected["y"]) == pytest.approx([math.log(3.0)])
    exact = ask(tables, "noise_slope.sql", source="std_exact", replacement=False, task="%")
    assert list(exact["y"]) == pytest.approx([math.log(3.0)])


def test_the_curvature_query_is_a_quadratic_fit():
    sizes, stds = np.array([1, 2, 4, 8, 16]), np.array([5.0, 3.0, 2.9, 1.1, 0.2])
    trials = pd.DataFrame([{"trial_id": "a", "seed": 7}])
    noise = pd.DataFrame({"batch_size": sizes, "std": stds, "std_corrected": 2 * stds})
    noise = noise.assign(trial_id="a", phase="end", quantity="loss", replacement=True)
    with duckdb.connect() as connection:
        connection.register("trials", trials)
        connection.register("gradient_noise", noise)
        (row,) = ask(connection, "noise_curvature.sql", source="std", replacement=True).to_dict("records")
    expected = np.polyfit(np.log(sizes), np.log(stds), 2)[0]
    assert row == {"seed": 7, "part": "loss", "value": pytest.approx(expected, rel=1e-9)}


def test_the_control_query_takes_one_control_at_one_phase(tables):
    (row,) = ask(tables, "control_slope.sql", control="sign", phase="end", task="digits%").to_dict("records")
    assert row == {"seed": 1, "series": "a/end/loss", "x": math.log(4), "y": math.log(2)}


def test_the_variance_query_squares_the_ratio(tables):
    rows = ask(tables, "noise_variance.sql", corrected=True, with_replacement=True)
    assert sorted(rows["value"]) == pytest.approx([1.0, 1.0, 1.0, 1.21])
    rows = ask(tables, "noise_variance.sql", corrected=False, with_replacement=False)
    assert list(rows["value"]) == pytest.approx([0.64])


def test_the_kurtosis_query_leaves_out_what_cannot_be_measured(tables):
    assert sorted(ask(tables, "noise_kurtosis.sql", scaled=True)["value"]) == pytest.approx([1.1])
    assert sorted(ask(tables, "noise_kurtosis.sql", scaled=False)["value"]) == pytest.approx([0.275])


def test_the_noise_scale_query_divides_the_estimates(tables):
    assert list(ask(tables, "noise_scale.sql", naive=False)["value"]) == pytest.approx([1.0])
    assert list(ask(tables, "noise_scale.sql", naive=True)["value"]) == pytest.approx([44 / (2.2 + 5.5) / 20])


def test_the_partition_query_can_take_out_a_factor(tables):
    assert list(ask(tables, "noise_partition.sql", factor=False)["value"]) == pytest.approx([1.21])
    assert list(ask(tables, "noise_partition.sql", factor=True)["value"]) == pytest.approx([1.21 / 0.6])


def test_the_noise_gate_fails_what_did_not_finish(tables):
    passed = ask(tables, "noise_gate.sql").set_index("trial_id")["passed"]
    assert passed.to_dict() == {"a": True, "b": True, "c": True, "d": True, "e": False}


def test_the_floor_gate_compares_the_last_two_quarters(tables):
    for drift, expected in ((2.5, {"c": True, "d": False}), (3.5, {"c": True, "d": True})):
        passed = ask(tables, "floor_gate.sql", drift=drift).set_index("trial_id")["passed"].to_dict()
        assert passed == {"a": True, "b": True, "e": False, **expected}


def test_the_floor_is_the_mean_excess_over_the_last_half(tables):
    (row,) = ask(tables, "floor_slope.sql", axis="batch_size", sampling="iid").to_dict("records")
    assert row["seed"] == 1
    assert row["series"] == pytest.approx(0.1)
    assert row["x"] == pytest.approx(math.log(16))
    assert row["y"] == pytest.approx(math.log(0.3), rel=1e-6)
    (row,) = ask(tables, "floor_slope.sql", axis="lr", sampling="epoch").to_dict("records")
    assert (row["series"], row["x"]) == (16, pytest.approx(math.log(0.1)))
    assert row["y"] == pytest.approx(math.log(0.2), rel=1e-6)
    pairs = ask(tables, "floor_pairs.sql").set_index("arm")["value"]
    assert pairs["iid"] - pairs["epoch"] == pytest.approx(math.log(1.5), rel=1e-6)


def test_the_noise_figure_averages_logarithms(tables):
    rows = ask(tables, "figure_noise.sql")
    (row,) = rows.query("task == 'digits_mlp' and batch_size == 4 and replacement").to_dict("records")
    assert (row["std"], row["std_exact"]) == (pytest.approx(3.3), pytest.approx(3.0))
    assert (row["residual"], row["residual_error"]) == (pytest.approx(math.log(1.1)), 0.0)


def test_the_other_figures_rows(tables):
    kurtosis = ask(tables, "figure_kurtosis.sql")
    assert list(kurtosis["ratio"]) == pytest.approx([1.0, 1.1])
    control = ask(tables, "figure_control.sql")
    assert list(control["control"]) == ["clipped", "sign", "sign"]
    assert (control["ratio"] == 2.0).all()
    (scale,) = ask(tables, "figure_scale.sql").to_dict("records")
    assert (scale["task"], scale["b_simple"], scale["b_simple_two_batch"]) == ("digits_mlp", 20.0, 20.0)
    floor = ask(tables, "figure_floor.sql").set_index("sampling")["floor"]
    assert floor.to_dict() == pytest.approx({"epoch": 0.2, "iid": 0.3}, rel=1e-6)
