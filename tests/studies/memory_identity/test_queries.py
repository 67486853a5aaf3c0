"""Each query on a tiny Parquet whose answer is known by hand."""

import math
from pathlib import Path

import duckdb
import pandas as pd
import pytest

import gradlaw_studies.memory_identity
from gradlaw_analysis.sample_sql import bind
from gradlaw_studies.memory_identity.claims import CLAIMS
from gradlaw_studies.memory_identity.figures import FIGURES

FOLDER = Path(gradlaw_studies.memory_identity.__file__).parent
ADAPTIVE = {"momentum": 0.9, "beta1": 0.5, "beta2": 0.8, "eps": 1e-3}


def twin(trial, seed, optimizer, lr, steps, gaps, task="a", state="done", **settings):
    """A trial of the twins, and its two rows."""
    own = {**ADAPTIVE, **settings}
    row = {"trial_id": trial, "seed": seed, "task": task, "optimizer": optimizer, "lr": lr, "steps": steps}
    rows = [
        {"trial_id": trial, "optimizer": optimizer, "corrected": corrected, "lr": lr, "gap_max": gap}
        for corrected, gap in zip((False, True), gaps, strict=True)
    ]
    return {**row, **own, "state": state}, rows


TWINS = [
    twin("h1", 0, "heavy_ball", 0.01, 50, (0.1, 0.02), momentum=0.5),
    twin("h2", 0, "heavy_ball", 0.02, 25, (0.2, 0.08), momentum=0.5),
    twin("h3", 0, "heavy_ball", 0.02, 25, (0.3, None), momentum=0.5, task="b"),  # a gap that is not finite
    twin("h4", 0, "heavy_ball", 0.02, 25, (0.3, 0.1), momentum=0.5, task="b", state="diverged"),
    twin("h5", 0, "heavy_ball", 0.02, 25, (0.3, 0.1), momentum=0.9, task="b"),  # memory longer than a tenth
    twin(
        "h6", 1, "heavy_ball", 0.2, 200, (0.3, 0.1), momentum=0.8, task="b"
    ),  # 0.2 * 4 / 0.2 steps of gradient
    twin("a1", 0, "adamw", 0.001, 40, (0.01, 0.001)),
    twin("a2", 0, "adamw", 0.001, 40, (0.02, 0.004), eps=1e-9),
    twin("a3", 0, "adamw", 0.001, 4000, (0.02, 0.004), beta2=0.99),  # 0.001 (99 - 1) = 0.098; c2 = 99 of 4000
    twin("a4", 0, "adamw", 0.004, 4000, (0.03, 0.005), beta2=0.99),  # 0.004 (99 - 1) = 0.392
    twin("a5", 0, "adamw", 0.1, 500, (0.03, 0.005), beta1=0.9, beta2=0.9),  # the difference is 0
    twin("l1", 0, "lion", 0.01, 500, (0.01, 0.001), beta1=0.9, beta2=0.95),  # 0.01 * 18
    twin("l2", 0, "lion", 0.02, 500, (0.01, 0.001), beta1=0.9, beta2=0.95),  # 0.02 * 18
]
PASSED = {"h1", "h2", "a1", "a3", "a5", "l1"}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A connection that sees the tables as views on Parquet files."""
    trials = [row for row, _ in TWINS]
    trials += [
        {"trial_id": name, "seed": 0, "state": "done", "task": "m", **own}
        for name, own in {
            "k1": {"lr": 0.1},
            "k2": {"lr": 0.2},
            "n1": {"lr": 0.1, "momentum": 0.5},
            "n2": {"lr": 0.2, "momentum": 0.5},
            "n3": {"lr": 0.05, "momentum": 0.8},
            "c1": {"beta1": 0.5, "beta2": 0.5},
            "c2": {"beta1": 0.5, "beta2": 0.6},
        }.items()
    ]
    frames = {
        "trials": pd.DataFrame(trials),
        "trajectory_gap": pd.DataFrame([row for _, rows in TWINS for row in rows]),
        "kernel_order": pd.DataFrame(
            [
                ("k1", "uniform", False, 0.1, 2.0, 4.0),
                ("k1", "uniform", True, 0.1, 1.0, 0.5),
                ("k2", "uniform", False, 0.2, 8.0, 8.0),
            ],
            columns=["trial_id", "kernel", "corrected", "lr", "gap_max", "left_out"],
        ),
        "noise_share": pd.DataFrame(
            [
                (trial, compared, share, 1.0)
                for trial, past, full in (("n1", 0.9, 0.1), ("n2", 0.8, 0.2), ("n3", 0.7, 0.3))
                for compared, share in (("past_batches", past), ("full_batch", full))
            ],
            columns=["trial_id", "compared", "share", "moved"],
        ),
        "correction_limit": pd.DataFrame(
            [("c1", 1, 2.0, 1.0, 1.0), ("c1", 8, 4.0, 4.0, 1e-12), ("c2", 8, 4.0, 2.0, 2.0)],
            columns=["trial_id", "n", "adamw_max", "lion_max", "difference"],
        ),
    }
    folder, connection = tmp_path_factory.mktemp("tables"), duckdb.connect()
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet")
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM '{folder / name}.parquet'")
    yield connection
    connection.close()


def ask(tables, file, **parameters):
    return tables.execute(bind((FOLDER / file).read_text(), parameters, file)).df()


def test_the_gate_keeps_what_is_inside_by_every_limit(tables):
    rows = ask(tables, "order_gate.sql", eps=1e-4, reach=0.3, lag=0.1)
    passed = dict(zip(rows["trial_id"], rows["passed"], strict=True))
    assert len(passed) == len(TWINS) + 7
    assert {trial for trial, inside in passed.items() if inside and trial[0] in "hal"} == {*PASSED}
    assert all(inside for trial, inside in passed.items() if trial[0] in "knc")


def test_ages_in_the_gate_are_those_of_finite_weights(tables):
    """h1: weights 0.5^k over 50 steps have mean age 1; lag 1/50, reach 0.01 * 1 / 0.5."""
    weights = [0.5**k for k in range(50)]
    age = sum(k * weight for k, weight in enumerate(weights)) / sum(weights)
    for lag, reach, inside in (
        (age / 50 * 1.001, 0.02 * age * 1.001, True),
        (age / 50 * 0.999, 0.02 * age * 1.001, False),
        (age / 50 * 1.001, 0.02 * age * 0.999, False),
    ):
        rows = ask(tables, "order_gate.sql", eps=1e-4, reach=reach, lag=lag).set_index("trial_id")
        assert rows.loc["h1", "passed"] == inside


def test_logs_of_gaps_come_by_part_and_series(tables):
    rows = ask(tables, "order.sql", corrected=True, power=0.0)
    first = rows[(rows["part"] == "a heavy_ball")].sort_values("x")
    assert list(first["y"]) == pytest.approx([math.log(0.02), math.log(0.08)])
    assert list(first["x"]) == pytest.approx([math.log(0.01), math.log(0.02)])
    assert first["series"].nunique() == 1  # one horizon, one momentum
    assert len(rows) == len(TWINS) - 1  # the missing gap
    assert rows[rows["part"] == "a adamw"]["series"].nunique() == 5
    exact = ask(tables, "order.sql", corrected=False, power=2.0)
    assert list(exact["y"]) == pytest.approx(list(2 * exact["x"]))


def test_what_is_outside_is_the_smallest_eps_or_the_longest_horizon(tables):
    assert list(ask(tables, "outside.sql", why="eps")["y"]) == pytest.approx([math.log(0.004)])
    far = ask(tables, "outside.sql", why="reach")
    assert list(far["x"]) == pytest.approx([math.log(0.1)])


def test_the_limit_is_read_after_the_most_steps(tables):
    assert list(ask(tables, "limit.sql", equal=True)["value"]) == pytest.approx([2.5e-13])
    assert list(ask(tables, "limit.sql", equal=False)["value"]) == pytest.approx([0.5])


def test_noise_shares_are_read_at_an_end_and_in_the_unit_asked_for(tables):
    def values(**asked):
        rows = ask(tables, "noise.sql", **asked)
        return dict(zip(rows["part"], rows["value"], strict=True))

    end = {"end": "smallest", "factor": "noise"}
    assert values(compared="past_batches", **end) == pytest.approx({"momentum 0.5": 0.9, "momentum 0.8": 0.7})
    assert values(compared="twin", **end) == pytest.approx({"momentum 0.5": -0.8, "momentum 0.8": -0.4})
    other = values(end="largest", compared="full_batch", factor="gradient")
    assert other == pytest.approx({"momentum 0.5": 0.2 / 3, "momentum 0.8": 0.3 / 9})


def test_kernels_are_compared_with_what_is_left_out(tables):
    rows = ask(tables, "kernels.sql", relative=True, kernel="%", corrected_only=False)
    found = {(row.part, round(math.exp(row.x), 9)): math.exp(row.y) for row in rows.itertuples()}
    assert found == pytest.approx(
        {("uniform", 0.1): 0.5, ("uniform", 0.2): 1.0, ("uniform corrected", 0.1): 2.0}
    )
    alone = ask(tables, "kernels.sql", relative=False, kernel="uni%", corrected_only=True)
    assert list(alone["y"]) == pytest.approx([0.0])
    assert ask(tables, "kernels.sql", relative=True, kernel="power_2", corrected_only=False).empty


def test_the_figure_of_orders_holds_local_slopes(tables):
    rows = ask(tables, "figure_order.sql", eps=1e-4, horizon=1.0)
    rows = rows[(rows["task"] == "a") & (rows["optimizer"] == "heavy_ball")].set_index(["corrected", "lr"])
    assert rows.loc[(False, 0.01), "slope"] == pytest.approx(1.0)
    assert rows.loc[(True, 0.01), "slope"] == pytest.approx(2.0)
    assert rows["slope"].isna().sum() == 2


def test_the_figure_of_what_breaks_holds_the_betas_that_go_outside(tables):
    rows = ask(tables, "figure_outside.sql", eps=1e-4, horizon=1.0)
    assert set(rows["eps"]) == {1e-3, 1e-9}
    assert set(zip(rows["beta1"], rows["beta2"], strict=True)) == {(0.5, 0.8), (0.5, 0.99), (0.9, 0.9)}


def test_every_declared_query_runs_with_its_parameters(tables):
    for item in [*CLAIMS, *(control for claim in CLAIMS for control in claim.controls), *FIGURES]:
        ask(tables, item.sql, **item.parameters)
