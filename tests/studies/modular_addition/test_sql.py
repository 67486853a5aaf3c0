"""Each query on a tiny Parquet whose answer is known by hand."""

import math
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

import gradlaw_studies.modular_addition
from gradlaw_analysis.sample_sql import bind
from gradlaw_studies.modular_addition.algebra.norms import norm2_formula

FOLDER = Path(gradlaw_studies.modular_addition.__file__).parent
ADDITION, CONSTRUCTED = "modular_addition@2", "modular_addition_constructed@1"


def trial(name, seed, *, modulus=5, width=32, weight_decay=5e-5, **other):
    fixed = {"task": ADDITION, "labels": "sum", "state": "done", "steps": 10}
    return {
        "trial_id": name, "seed": seed, "modulus": modulus, "width": width, "weight_decay": weight_decay,
        **fixed, **other,
    }  # fmt: skip


TRIALS = [
    trial("a", 1),
    trial("b", 2),
    trial("wide", 1, width=128),
    trial("decayed", 1, weight_decay=1e-4),
    trial("crushed", 1, weight_decay=5e-4),
    trial("shuffled", 1, labels="shuffled", width=24),
    trial("built", 1, task=CONSTRUCTED, labels=None, construction="order_6", block="nu*syn"),
    trial("broken", 3, state="diverged"),
    trial("narrow", 7, width=16),
    trial("small", 1, modulus=23, width=512),
    trial("large", 1, modulus=71, width=512),
    trial("largest", 1, modulus=127, width=512),
    trial("other_prime", 1, modulus=11, width=512),
]

# Trial, step, order, factorable, residual, kind: two frequencies a network.
FREQUENCIES = [
    ("a", 0, 9, False, None, "other"),
    ("a", 0, 4, False, 0.9, "other"),
    ("a", 9, 4, True, 0.2, "nu_i*xi"),
    ("a", 9, 5, False, None, "other"),
    ("a", 10, 4, True, 0.1, "nu_i*xi"),
    ("a", 10, 6, True, 0.3, "other"),
    ("b", 10, 4, False, 0.8, "other"),
    ("b", 10, 6, True, 0.05, "nu*syn"),
    ("wide", 10, 6, True, 0.1, "nu_i*syn_ab"),
    ("wide", 10, 12, False, None, "other"),
    ("decayed", 10, 4, True, 0.1, "nu_i*xi"),
    ("decayed", 10, 4, True, 0.1, "nu_i*xi"),
    ("crushed", 10, 0, False, None, "other"),
    ("crushed", 10, 0, False, None, "other"),
    ("shuffled", 10, 30, False, None, "other"),
    ("shuffled", 10, 6, False, 0.9, "other"),
    ("built", 0, 6, True, 0.0, "nu*syn"),
    ("built", 0, 6, True, 0.4, "other"),
    ("built", 10, 4, True, 0.0, "nu_i*xi"),
]
# Trial, step, converged, order 4, order 6, other orders, squared norm, top share, mean residual, accuracies.
NETWORKS = [
    ("a", 0, False, 1, 0, 1, 9.0, 0.3, 0.6, 0.1, 0.0),
    ("a", 10, True, 1, 1, 0, 50.0, 0.99, 0.01, 1.0, 1.0),
    ("b", 10, True, 1, 1, 0, 40.0, 0.97, 0.02, 1.0, 1.0),
    ("wide", 10, False, 0, 1, 1, 41.0, 0.8, 0.02, 1.0, 0.4),
    ("decayed", 10, True, 2, 0, 0, 42.0, 0.9, 0.02, 1.0, 1.0),
    ("narrow", 10, True, 1, 1, 0, 60.0, 0.6, 0.4, 1.0, 1.0),
    ("crushed", 10, False, 0, 0, 2, 0.0, 0.5, 0.02, 0.2, 0.2),
    ("shuffled", 10, False, 0, 1, 1, 90.0, 0.4, 0.1, 1.0, 0.1),
    ("built", 0, False, 0, 2, 0, 80.0, 1.0, 0.0, 1.0, 1.0),
    ("built", 10, True, 2, 0, 0, 60.0, 1.0, 0.0, 1.0, 1.0),
    ("small", 10, True, 5, 6, 0, 200.0, 0.99, 0.01, 1.0, 1.0),
    ("large", 10, True, 26, 9, 0, 300.0, 0.99, 0.01, 1.0, 1.0),
    ("largest", 10, True, 53, 10, 0, 400.0, 0.99, 0.01, 1.0, 1.0),
    ("other_prime", 10, False, 2, 3, 0, 80.0, 0.99, 0.01, 0.9, 0.9),
]
NETWORK_COLUMNS = (
    "trial_id", "step", "converged", "num_order_4", "num_order_6", "num_other_orders", "weight_norm2",
    "top_share", "mean_residual", "train_accuracy", "test_accuracy",
)  # fmt: skip
SENSITIVITY = [
    {"trial_id": name, "step": step, "threshold": 0.05, "relative": False, "num_order_4": four,
     "num_order_6": six, "num_other": 0}
    for name, step, four, six in (("a", 10, 1, 1), ("b", 10, 2, 0), ("a", 0, 0, 0), ("wide", 10, 2, 0))
]  # fmt: skip
METRICS = [
    {"trial_id": name, "step": 4, "train_accuracy": train, "test_accuracy": test}
    for name, train, test in (("a", 1.0, 0.5), ("b", 0.8, 0.1), ("shuffled", 1.0, 0.0), ("wide", 0.0, 0.0))
]
KEPT = np.arange(80, dtype="<f4").reshape(5, 16)
WEIGHTS = [
    {"trial_id": name, "step": step, "kind": "parameter", "name": "W_a", "dtype": "float32",
     "shape": "5,16", "values": KEPT.tobytes()}
    for name, step in (("a", 0), ("a", 9), ("a", 10), ("b", 10))
]  # fmt: skip
PATH = [
    {"trial_id": "broken", "path": path, "modulus": 5, "width": 9, "position": position, "loss": loss,
     "norm2": norm2}
    for path, position, loss, norm2 in (
        ("factor", 0.5, 2e-21, 3.0), ("factor", 0.0, 0.0, 4.0), ("factor", 1.0, 0.0, 3.3),
        ("straight", 0.0, 0.7, 4.0),
    )
]  # fmt: skip
BARRIER = [
    {"trial_id": name, "matching": "none", "position": place, "loss": loss, "chord": 0.25, "distance": 1.0}
    for name, place, loss in (("a", 0.5, 1.0), ("b", 0.5, 3.0), ("a", 0.75, 0.5))
]
NULLITY = [
    {"trial_id": "a", "construction": "order_6", "nullity": 9, "predicted": 7, "counted": 9},
    {"trial_id": "b", "construction": "memorising", "nullity": 9, "predicted": 7, "counted": None},
]
TABLE = {"width": 32, "weight_decay": 5e-5}
END = {"task": "modular_addition@%", "labels": "sum", "moment": "end"}
HERE = {**END, "modulus": 5, **TABLE}
ANY = {"modulus": 0, "width": 0, "weight_decay": 0.0}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A connection that sees the tables as views on Parquet files."""
    folder = tmp_path_factory.mktemp("tables")
    columns = ("trial_id", "step", "order_absolute", "factorable", "residual", "kind")
    frames = {
        "trials": pd.DataFrame(TRIALS),
        "frequencies": pd.DataFrame(FREQUENCIES, columns=columns),
        "networks": pd.DataFrame(NETWORKS, columns=NETWORK_COLUMNS).assign(train_loss=0.25),
        "order_sensitivity": pd.DataFrame(SENSITIVITY),
        "metrics": pd.DataFrame(METRICS).astype({"train_accuracy": "float32", "test_accuracy": "float32"}),
        "weights": pd.DataFrame(WEIGHTS),
        "connecting_path": pd.DataFrame(PATH),
        "barrier": pd.DataFrame(BARRIER),
        "hessian_nullity": pd.DataFrame(NULLITY),
    }
    with duckdb.connect() as connection:
        for name, frame in frames.items():
            frame.to_parquet(folder / f"{name}.parquet")
            connection.execute(f"CREATE VIEW {name} AS SELECT * FROM '{folder / name}.parquet'")
        yield connection


def ask(tables, file, **parameters):
    return tables.execute(bind((FOLDER / file).read_text(), parameters, file)).df()


def rows(tables, file, **parameters):
    """Rows as tuples of plain values, sorted."""
    frame = ask(tables, file, **parameters)
    return sorted(tuple(row) for row in frame.astype(object).itertuples(index=False))


def test_the_gate_passes_what_converged_and_whatever_is_no_ordinary_network(tables):
    passed = dict(rows(tables, "converged_gate.sql"))
    assert {name for name, flag in passed.items() if flag} == {
        "a", "b", "decayed", "narrow", "shuffled", "built", "small", "large", "largest",
    }  # fmt: skip
    assert len(passed) == len(TRIALS)


def test_the_other_gates_ask_for_an_end_and_for_orders_four_and_six(tables):
    finished = dict(rows(tables, "finished_gate.sql"))
    assert {name for name, flag in finished.items() if not flag} == {"broken"}
    formula = dict(rows(tables, "formula_gate.sql"))
    assert {name for name, flag in formula.items() if flag} == {
        "a", "b", "narrow", "shuffled", "built", "small", "large", "largest",
    }  # fmt: skip


def test_orders_four_and_six_are_counted_a_network(tables):
    assert rows(tables, "order_share.sql", **HERE) == [(1, 2, 2), (2, 2, 2)]
    assert rows(tables, "order_share.sql", **{**HERE, "moment": "start"}) == [(1, 1, 2)]
    assert rows(tables, "order_share.sql", **{**END, **ANY, "labels": "shuffled"}) == [(1, 1, 2)]
    everything = rows(tables, "order_share.sql", **END, **ANY)
    assert sorted(everything) == [(1, 0, 2), (1, 1, 2), (1, 2, 2), (1, 2, 2), (2, 2, 2)]


def test_constructions_are_counted_among_the_factorable_or_among_all(tables):
    assert rows(tables, "construction_share.sql", **HERE, all_frequencies=False) == [(1, 1, 2), (2, 1, 1)]
    assert rows(tables, "construction_share.sql", **HERE, all_frequencies=True) == [(1, 1, 2), (2, 1, 2)]
    shuffled = {**END, **ANY, "labels": "shuffled"}
    assert rows(tables, "construction_share.sql", **shuffled, all_frequencies=False) == []
    assert rows(tables, "construction_share.sql", **shuffled, all_frequencies=True) == [(1, 0, 2)]


def test_kinds_are_counted_on_the_base_of_the_published_table(tables):
    failed = "order 4, not factorable"
    assert rows(tables, "kind_counts.sql", **HERE, all_frequencies=False) == [
        (1, "nu_i*xi", 1), (1, "other", 1), (2, "nu*syn", 1), (2, failed, 1),
    ]  # fmt: skip
    start = {**HERE, "moment": "start"}
    assert rows(tables, "kind_counts.sql", **start, all_frequencies=False) == [(1, failed, 1)]
    assert rows(tables, "kind_counts.sql", **start, all_frequencies=True) == [(1, failed, 1), (1, "other", 1)]
    shuffled = {**END, **ANY, "labels": "shuffled"}
    assert rows(tables, "kind_counts.sql", **shuffled, all_frequencies=True) == [(1, "other", 2)]


def test_the_share_of_order_four_stands_at_its_modulus(tables):
    found = ask(tables, "modulus_trend.sql", width=512, weight_decay=5e-5, planted=0.0)
    assert found.set_index("level")["value"].to_dict() == pytest.approx(
        {23: 5 / 11, 71: 26 / 35, 127: 53 / 63}
    )
    planted = ask(tables, "modulus_trend.sql", width=512, weight_decay=5e-5, planted=-1.0)
    assert planted.set_index("level")["value"].to_dict() == {23: -23, 71: -71, 127: -127}


def test_the_mean_order_stands_against_the_width(tables):
    found = rows(tables, "width_slope.sql", weight_decay=5e-5, smallest=32, planted=0.0)
    assert found == [(1, 5, 5.0, 5.0), (1, 5, 7.0, 9.0), (2, 5, 5.0, 5.0)]
    planted = rows(tables, "width_slope.sql", weight_decay=5e-5, smallest=64, planted=0.3)
    assert planted == [(1, 5, 7.0, pytest.approx(2.1))]


def test_the_mean_order_stands_at_its_weight_decay(tables):
    where = {"modulus": 5, "width": 32, "largest": 2e-4}
    assert rows(tables, "decay_trend.sql", **where, planted=0.0) == [
        (1, 5e-5, 5.0), (1, 1e-4, 4.0), (2, 5e-5, 5.0),
    ]  # fmt: skip
    planted = rows(tables, "decay_trend.sql", **where, planted=-2.0)
    assert [row[1:] for row in planted] == [(5e-5, -1e-4), (1e-4, -2e-4), (5e-5, -1e-4)]


def test_a_collapsed_network_fits_less_than_half(tables):
    where = {"modulus": 5, "width": 32}
    assert rows(tables, "collapse.sql", **where, weight_decay=5e-4) == [(1, 1, 1)]
    assert rows(tables, "collapse.sql", **where, weight_decay=5e-5) == [(1, 0, 1), (2, 0, 1)]


def test_the_slope_of_order_six_is_taken_in_logarithms(tables):
    found = {row[1]: row[2] for row in rows(tables, "six_slope.sql", weight_decay=5e-5, planted=0.0)}
    expected = {math.log(2): 0.0, math.log(5): math.log(3), math.log(11): math.log(6)}
    expected |= {math.log(35): math.log(9), math.log(63): math.log(10)}
    assert found == pytest.approx(expected)
    law = np.array([row[1:] for row in rows(tables, "six_slope.sql", weight_decay=5e-5, planted=0.5)], float)
    assert np.polyfit(law[:, 0], law[:, 1], 1) == pytest.approx([0.5, math.log(1.148)])


def test_the_norm_is_compared_with_the_formula(tables):
    def formula(d, n4, n6):
        six = 6 ** (1 / 3)
        return (2 * d) ** (-2 / 3) * (6 * d * (4 ** (1 / 3) * n4 + six * n6) + six * d * n4 / n6)

    found = rows(tables, "norm_error.sql", weight_decay=5e-5, order_six_everywhere=False)
    expected = [
        (1, abs(50 / formula(5, 1, 1) - 1)),
        (2, abs(40 / formula(5, 1, 1) - 1)),
        (1, abs(200 / formula(23, 5, 6) - 1)),
        (1, abs(300 / formula(71, 26, 9) - 1)),
        (1, abs(400 / formula(127, 53, 10) - 1)),
        (1, abs(80 / formula(11, 2, 3) - 1)),
    ]
    assert np.array(found, float) == pytest.approx(np.array(sorted(expected), float))
    sixes = np.array(rows(tables, "norm_error.sql", weight_decay=5e-5, order_six_everywhere=True), float)
    assert np.abs(sixes[:, 1] - abs(400 / formula(127, 0, 63) - 1)).min() < 1e-12
    ratios = ask(tables, "figure_conjecture.sql", weight_decay=5e-5).set_index(["modulus", "seed"])
    assert ratios["norm_ratio"][23, 1] == pytest.approx(200 / formula(23, 5, 6))
    balanced = norm2_formula(5, 6, 23, balanced=True)
    assert ratios["balanced_ratio"][23, 1] == pytest.approx(200 / balanced)
    assert set(ratios.index.get_level_values("modulus")) == {5, 23, 71, 127}


def test_measures_of_a_network_are_read_at_their_moment(tables):
    where = {"labels": "sum", "weight_decay": 1e-4}
    assert rows(tables, "network_value.sql", measure="top_share", moment="end", **where) == [(1, 0.9)]
    start = {**where, "weight_decay": 0.0, "moment": "start"}
    assert rows(tables, "network_value.sql", measure="mean_residual", **start) == [(1, 0.6)]


def test_the_histogram_counts_every_network_and_says_how_many_converged(tables):
    found = ask(tables, "figure_orders.sql", width=32, weight_decay=0.0).set_index(["weight_decay", "order"])
    assert found["share"].to_dict() == {
        (5e-5, 4): 0.5, (5e-5, 6): 0.5, (1e-4, 4): 1.0, (5e-4, 0): 1.0,
    }  # fmt: skip
    assert found.loc[(5e-5, 4), ["num_networks", "num_converged"]].tolist() == [2, 2]
    assert found.loc[(5e-4, 0), ["num_networks", "num_converged"]].tolist() == [1, 0]
    wide = ask(tables, "figure_orders.sql", width=128, weight_decay=5e-5)
    assert wide["order"].tolist() == [6, 10]
    converged = ask(tables, "figure_converged.sql").set_index(["modulus", "labels", "width", "weight_decay"])
    assert converged.loc[(5, "sum", 32, 5e-5), ["num_networks", "num_converged"]].tolist() == [3, 2]
    assert converged["test_accuracy"][5, "shuffled", 24, 5e-5] == pytest.approx(0.1)


def test_the_figure_of_kinds_averages_over_networks(tables):
    found = ask(tables, "figure_kinds.sql", **TABLE).set_index("kind")
    assert found["share"].to_dict() == {
        "nu_i*xi": 0.25, "other": 0.25, "nu*syn": 0.25, "order 4, not factorable": 0.25, "nu_i*syn_ab": 0.0,
    }  # fmt: skip
    assert found["share_error"]["nu*syn"] == pytest.approx(0.25)
    assert set(found["num_networks"]) == {2}


def test_the_figures_of_curves_noise_and_thresholds(tables):
    curves = ask(tables, "figure_accuracy.sql", **TABLE).set_index("labels")
    assert curves.loc["sum", ["train", "train_low", "test_high"]].tolist() == pytest.approx([0.9, 0.8, 0.5])
    assert curves["num_networks"].to_dict() == {"sum": 2, "shuffled": 1}
    late = ask(tables, "figure_late.sql", **TABLE).set_index("step")
    assert late.loc[9, ["order_4_or_6", "factorable", "construction", "residual"]].tolist() == [
        0.5,
        1,
        1,
        0.2,
    ]
    assert late.loc[10, ["order_4_or_6", "factorable"]].tolist() == [1.0, 0.75]
    assert late["construction"][10] == pytest.approx(2 / 3)
    assert late["residual"][10] == pytest.approx(0.2)
    assert late["at_end"].to_dict() == {9: False, 10: True}
    (threshold,) = ask(tables, "figure_thresholds.sql", **TABLE).to_dict("records")
    assert (threshold["share_4"], threshold["share_6"], threshold["num_networks"]) == (0.75, 0.25, 2)


def test_the_spectrum_is_one_network_whole_before_and_after(tables):
    found = ask(tables, "figure_spectrum.sql", modulus=5, **TABLE)
    assert found[["seed", "step"]].to_numpy().tolist() == [[1, 0], [1, 10]]
    kept = np.frombuffer(bytes(found["bytes"][0]), "<f4").reshape(5, 16)
    assert np.array_equal(kept, KEPT)


def test_the_figures_of_the_landscape(tables):
    assert ask(tables, "figure_paths.sql")["position"].tolist() == [0.0, 0.5, 1.0, 0.0]
    barrier, _ = ask(tables, "figure_barrier.sql").to_dict("records")
    assert (barrier["loss"], barrier["loss_low"], barrier["loss_high"], barrier["num_pairs"]) == (2, 1, 3, 2)
    start, end = ask(tables, "figure_starts.sql").to_dict("records")
    assert (start["step"], start["norm_ratio"], start["num_order_6"]) == (0, 1.0, 2.0)
    assert (end["step"], end["norm_ratio"], end["num_order_4"], end["num_networks"]) == (10, 0.75, 2.0, 1)


def test_paths_are_judged_by_their_loss_and_by_every_rise_of_the_norm(tables):
    assert rows(tables, "path_loss.sql", path="factor") == [(3, 0.0), (3, 0.0), (3, 2e-21)]
    assert rows(tables, "path_loss.sql", path="straight") == [(3, 0.7)]
    assert rows(tables, "path_norm.sql", path="factor") == [(3, 0.0), (3, pytest.approx(0.1))]
    assert rows(tables, "path_norm.sql", path="straight") == []


def test_a_barrier_is_the_largest_loss_above_the_chord(tables):
    assert rows(tables, "barrier_height.sql", matching="none") == [(1, 0.75), (2, 2.75)]
    assert rows(tables, "barrier_height.sql", matching="all") == []


def test_null_directions_are_compared_with_a_count_and_with_the_free_ones(tables):
    assert rows(tables, "nullity.sql", less_free=False) == [(1, 0)]
    assert rows(tables, "nullity.sql", less_free=True) == [(1, 2)]


def test_constructions_are_recognised_before_training(tables):
    assert rows(tables, "recognised.sql", construction="order%") == [(1, 1, 2)]
    assert rows(tables, "recognised.sql", construction="random") == []


def test_a_descent_is_read_from_the_start_to_the_end(tables):
    start = {"construction": "order_6", "weight_decay": 5e-5}
    ((seed, fall),) = rows(tables, "norm_descent.sql", **start)
    assert (seed, fall) == (1, pytest.approx(np.log(60 / 80)))
    assert rows(tables, "norm_descent.sql", construction="order_6", weight_decay=0.0) == []
    assert rows(tables, "dissolved.sql", **start, moment="start") == [(1, 2, 2)]
    assert rows(tables, "dissolved.sql", **start, moment="end") == [(1, 1, 1)]
    assert rows(tables, "dissolved.sql", construction="random", weight_decay=5e-5, moment="end") == []
