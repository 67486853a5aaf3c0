"""Each query on tiny tables whose answer is known exactly."""

import math
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import least_squares, nnls

import gradlaw_studies.critical_batch
from gradlaw_analysis.sample_sql import bind
from gradlaw_studies.critical_batch.claims import BUDGET, RESIDUAL, SCALE

FOLDER = Path(gradlaw_studies.critical_batch.__file__).parent
SIZES = (2, 8, 32, 128, 512)
S_MIN = {("sgd@1", 0): 100.0, ("sgd@1", 1): 120.0, ("adam@1", 0): 40.0, ("adam@1", 1): 50.0}
CRITICAL = {"sgd@1": 64.0, "adam@1": 200.0}
NUM_TRAIN = 1617


def exact(rule, seed, size):
    return S_MIN[rule, seed] * (1 + CRITICAL[rule] / size)


def tuned_trials():
    """At the middle lr of three the exact hyperbola; others take longer, or one seed does not get there."""
    for (rule, seed), size in ((key, size) for key in S_MIN for size in SIZES):
        best = exact(rule, seed, size)
        for lr, steps, state in (
            (0.1, best * 1.5, "reached_target"),
            (0.2, best, "reached_target"),
            (0.4, best / 2, "reached_target" if seed == 0 else "done"),
        ):
            yield {
                "trial_id": f"{rule}/{seed}/{size}/{lr}", "rule": rule, "seed": seed, "batch_size": size,
                "lr": lr, "steps_done": steps, "state": state, "sampling": "iid",
            }  # fmt: skip


def metrics_of(trial):
    """tr Sigma of 300 and 100, |G|^2 of 3 and 1, so 400 / 4 = 100; ten times that off the best lr."""
    factor = 1 if trial["lr"] == 0.2 else 10
    for step, (trace, square) in enumerate(((300.0, 3.0), (100.0, 1.0))):
        yield {
            "trial_id": trial["trial_id"], "step": step, "train_loss": 1.0,
            "noise_trace": trace * factor, "noise_grad_squared": square,
        }  # fmt: skip


# Loss of the descents by seed, batch size and lr, after 98 steps and after two epochs of examples.
LOSSES = {
    (0, 1, 0.1): (1.5, 0.30), (0, 1, 0.2): (1.0, 0.20), (0, 1, 0.4): (0.8, 0.40), (0, 1, 0.8): (1.1, 0.50),
    (1, 1, 0.1): (1.5, 0.30), (1, 1, 0.2): (1.0, 0.10), (1, 1, 0.4): (0.8, 0.40), (1, 1, 0.8): (1.1, 0.50),
    (0, 32, 0.5): (0.7, 0.60), (0, 32, 1.0): (0.4, 0.30), (0, 32, 2.0): (0.9, 0.80),
    (1, 32, 0.5): (0.7, 0.60), (1, 32, 1.0): (0.4, 0.30), (1, 32, 2.0): (0.9, 0.80),
    (0, 0, 1.0): (0.3, 1.80), (0, 0, 2.0): (0.2, 1.60), (0, 0, 4.0): (0.5, 1.50),
    (1, 0, 1.0): (0.3, 1.80), (1, 0, 2.0): (0.2, 1.60), (1, 0, 4.0): (0.5, 1.50),
}  # fmt: skip
ENDS = {1: (98, 3234), 32: (98, 101), 0: (98, 2)}


def descent_rows():
    for (seed, size, lr), losses in LOSSES.items():
        trial = f"d{seed}/{size}/{lr}"
        yield (
            {
                "trial_id": trial, "rule": "sgd@1", "seed": seed, "batch_size": size, "lr": lr,
                "steps_done": max(ENDS[size]), "state": "done", "sampling": "epoch",
            },
            [
                {"trial_id": trial, "step": step, "train_loss": loss}
                for step, loss in zip(ENDS[size], losses, strict=True)
            ],
        )  # fmt: skip


def timings():
    """Powers take 1 us a sample at 16 and 2 us at 32; their neighbours half and thrice that."""
    rows = [(16, "power", 16, 1.0), (15, "by_one", 16, 1.0), (17, "by_one", 16, 0.25)]
    rows += [(32, "power", 32, 2.0), (31, "by_one", 32, 2.0), (33, "by_one", 32, 18.0)]
    rows += [(24, "by_eight", 32, 2.0), (40, "by_eight", 32, 2.0)]
    frame = pd.DataFrame(rows, columns=["batch_size", "kind", "base", "seconds_a_sample"])
    frame["seconds_a_sample"] *= 1e-6
    quiet = frame.assign(trial_id="t0", spread=[0.1] * 5 + [9.0] * 3)
    return pd.concat([quiet, frame.assign(trial_id="t1", spread=0.3)])


@pytest.fixture(scope="module")
def tables():
    trials = list(tuned_trials())
    metrics = [row for trial in trials for row in metrics_of(trial)]
    for trial, rows in descent_rows():
        trials.append(trial)
        metrics += rows
    trials += [
        {"trial_id": f"t{seed}", "rule": "", "seed": seed, "state": "done", "hidden_units": 64}
        for seed in (0, 1)
    ]
    connection = duckdb.connect()
    frames = {"trials": pd.DataFrame(trials), "metrics": pd.DataFrame(metrics), "step_time": timings()}
    for name, frame in frames.items():
        connection.register(
            name,
            frame.astype({"batch_size": "Int64", "hidden_units": "Int64"}) if name == "trials" else frame,
        )
    yield connection
    connection.close()


def ask(tables, file, parameters):
    return tables.execute(bind((FOLDER / file).read_text(), parameters, file)).df()


def test_the_fit_finds_an_exact_hyperbola_and_leaves_nothing(tables):
    rows = ask(tables, "hyperbola.sql", RESIDUAL)
    assert len(rows) == len(S_MIN)
    for row in rows.itertuples():
        assert row.s_min == pytest.approx(S_MIN[row.part, row.seed])
        assert row.e_min / row.s_min == pytest.approx(CRITICAL[row.part])
        assert row.value == pytest.approx(0, abs=1e-6)


def test_the_noise_scale_averages_numerator_and_denominator_apart_at_the_best_lr_alone(tables):
    rows = ask(tables, "hyperbola.sql", SCALE)
    assert rows["b_simple"].tolist() == pytest.approx([100.0] * 4)
    found = dict(zip(rows["part"], rows["value"], strict=True))
    assert found == pytest.approx({"sgd@1": math.log10(0.64), "adam@1": math.log10(2.0)})


def fitted(tables, steps_of, parameters=RESIDUAL):
    """The query's fit of given steps, one seed and rule."""
    trials = pd.DataFrame(
        [
            {
                "trial_id": str(size), "rule": "sgd@1", "seed": 7, "batch_size": size, "lr": 1.0,
                "steps_done": steps, "state": "reached_target", "sampling": "iid",
            }
            for size, steps in steps_of.items()
        ]
    )  # fmt: skip
    metrics = pd.DataFrame({"trial_id": trials["trial_id"], "noise_trace": 1.0, "noise_grad_squared": 1.0})
    with duckdb.connect() as connection:
        connection.register("trials", trials)
        connection.register("metrics", metrics)
        return ask(connection, "hyperbola.sql", parameters)


def test_the_fit_is_that_of_least_squares_on_relative_residuals_and_near_that_on_logs(tables):
    noise = np.exp(0.03 * np.array([1, -1, 1, 1, -1]))
    steps = {size: 100 * (1 + 64 / size) * factor for size, factor in zip(SIZES, noise, strict=True)}
    sizes, measured = np.array(list(steps)), np.array(list(steps.values()))
    (row,) = fitted(tables, steps).itertuples()

    def fit(residual):
        return least_squares(lambda x: residual(x[0] + x[1] / sizes), (80.0, 5000.0), x_scale=(1, 100)).x

    relative = fit(lambda model: 1 - model / measured)
    assert (row.s_min, row.e_min) == pytest.approx(tuple(relative), rel=1e-5)
    left = 1 - (row.s_min + row.e_min / sizes) / measured
    assert row.value == pytest.approx(math.sqrt((left**2).sum() / (len(sizes) - 2)))
    logs = fit(lambda model: np.log(measured / model))
    assert (row.s_min, row.e_min) == pytest.approx(tuple(logs), rel=0.01)


@pytest.mark.parametrize("num", [2, 3])
def test_two_batch_sizes_are_no_fit(tables, num):
    rows = fitted(tables, {size: 10 + 100 / size for size in SIZES[:num]})
    assert len(rows) == (num >= 3)


def test_steps_that_rise_with_the_batch_size_give_no_critical_one(tables):
    assert fitted(tables, {2: 10, 8: 20, 32: 40, 128: 80}, SCALE).empty


@pytest.mark.parametrize("power", [0.5, -1.3])
def test_steps_that_no_hyperbola_meets_count_with_the_nearest_ones_residual(tables, power):
    """They rise with the batch size, or fall faster than 1 / B: an unknown would be below 0."""
    steps = {size: 1000 * size**power for size in SIZES}
    (row,) = fitted(tables, steps).itertuples()
    sizes, measured = np.array(list(steps)), np.array(list(steps.values()))
    design = np.column_stack([1 / measured, 1 / (measured * sizes)])
    (s_min, e_min), left = nnls(design, np.ones(len(sizes)))
    assert min(s_min, e_min) == 0
    assert (row.s_min, row.e_min) == pytest.approx((s_min, e_min))
    assert row.value == pytest.approx(left / math.sqrt(len(sizes) - 2))
    assert row.value > 0.3


def test_planted_laws_have_the_residuals_that_the_margin_rests_on():
    sizes = (2, 8, 32, 128, 512, 2048)
    for source, low, high in (("hyperbola", 0, 1e-6), ("knee", 0.19, 0.21), ("root", 0.21, 0.23)):
        steps = {
            "hyperbola": lambda b: 100 * (1 + 64 / b),
            "knee": lambda b: 100 * max(1, 64 / b),
            "root": lambda b: 100 * (1 + math.sqrt(64 / b)),
        }[source]
        design = np.array([(1 / steps(b), 1 / steps(b) / b) for b in sizes])
        left = 1 - design @ np.linalg.lstsq(design, np.ones(len(sizes)))[0]
        expected = math.sqrt((left**2).sum() / (len(sizes) - 2))
        rows = planted(source, sizes)
        assert rows["value"].tolist() == pytest.approx([expected], abs=1e-6)
        assert low <= expected <= high


def planted(source, sizes):
    trials = pd.DataFrame(
        [
            {
                "trial_id": str(size), "rule": "sgd@1", "seed": 0, "batch_size": size, "lr": 1.0,
                "steps_done": 0, "state": "done", "sampling": "iid",
            }
            for size in sizes
        ]
    )  # fmt: skip
    metrics = pd.DataFrame({"trial_id": ["2"], "noise_trace": 1.0, "noise_grad_squared": 1.0})
    with duckdb.connect() as connection:
        connection.register("trials", trials)
        connection.register("metrics", metrics)
        return ask(connection, "hyperbola.sql", {**RESIDUAL, "source": source})


def test_slopes_read_the_best_lr_between_the_two_sizes(tables):
    rows = ask(tables, "steps_slope.sql", {"low": 8, "high": 128})
    assert len(rows) == len(S_MIN) * 3
    for row in rows.itertuples():
        assert row.y == pytest.approx(math.log(exact(row.part, row.seed, math.exp(row.x))))


def test_a_batch_size_is_tuned_if_its_best_lr_is_inside_and_all_seeds_get_there(tables):
    passed = ask(tables, "tuned_gate.sql", {})
    assert len(passed) == len(list(tuned_trials()))
    assert passed["passed"].all()
    cases = {
        "edge": [(0.1, 30), (0.2, 20), (0.4, 10)],
        "inside": [(0.1, 30), (0.2, 20), (0.4, 25)],
        "censored": [(0.1, None), (0.2, None), (0.4, None)],
    }
    trials = pd.DataFrame(
        [
            {
                "trial_id": f"{rule}/{lr}", "rule": rule, "batch_size": 8, "lr": lr,
                "steps_done": steps or 99, "state": "reached_target" if steps else "done", "sampling": "iid",
            }
            for rule, cells in cases.items()
            for lr, steps in cells
        ]
    )  # fmt: skip
    with duckdb.connect() as connection:
        connection.register("trials", trials)
        rows = ask(connection, "tuned_gate.sql", {})
    found = rows.groupby(rows["trial_id"].str.split("/").str[0])["passed"].agg(["all", "any"])
    assert found.to_dict("index") == {
        "edge": {"all": False, "any": False},
        "inside": {"all": True, "any": True},
        "censored": {"all": False, "any": False},
    }


@pytest.mark.parametrize(
    ("budget", "losses"),
    [
        ("steps", {1: (0.8, 0.8), 32: (0.4, 0.4), 0: (0.2, 0.2)}),
        ("examples", {1: (0.2, 0.1), 32: (0.3, 0.3), 0: (1.5, 1.5)}),
    ],
)
def test_descents_are_compared_at_the_end_of_the_budget_each_at_its_best_lr(tables, budget, losses):
    rows = ask(tables, "descent.sql", {**BUDGET, "budget": budget})
    found = {(row.seed, row.part, row.arm): math.exp(row.value) for row in rows.itertuples()}
    pairs = {"single, mini": (1, 32), "mini, batch": (32, 0)}
    assert found == pytest.approx(
        {
            (seed, part, arm): losses[size][seed]
            for seed in (0, 1)
            for part, both in pairs.items()
            for arm, size in zip(("smaller", "larger"), both, strict=True)
        }
    )


@pytest.mark.parametrize(("budget", "inside"), [("steps", {0, 1, 32}), ("examples", {1, 32})])
def test_a_descent_whose_best_lr_is_on_the_edge_is_outside(tables, budget, inside):
    rows = ask(tables, "descent_gate.sql", {**BUDGET, "budget": budget})
    assert len(rows) == len(LOSSES)
    passed = {int(trial.split("/")[1]) for trial in rows.loc[rows["passed"], "trial_id"]}
    assert passed == inside


def test_neighbours_are_averaged_on_a_log_scale(tables):
    rows = ask(tables, "step_pairs.sql", {"kind": "by_one", "source": "measured"})
    found = {(row.seed, row.series, row.arm): math.exp(row.value) * 1e6 for row in rows.itertuples()}
    once = {
        ("64/16", "power"): 1.0, ("64/16", "neighbours"): 0.5,
        ("64/32", "power"): 2.0, ("64/32", "neighbours"): 6.0,
    }  # fmt: skip
    assert found == pytest.approx({(seed, *key): value for seed in (0, 1) for key, value in once.items()})


def test_a_power_without_neighbours_of_a_kind_is_left_out(tables):
    rows = ask(tables, "step_pairs.sql", {"kind": "by_eight", "source": "measured"})
    assert set(rows["series"]) == {"64/32"}
    assert rows["value"].tolist() == pytest.approx([math.log(2e-6)] * 4)


@pytest.mark.parametrize(("source", "difference"), [("planted", math.log(0.9)), ("level", 0.0)])
def test_planted_times_differ_by_what_is_planted(tables, source, difference):
    rows = ask(tables, "step_pairs.sql", {"kind": "by_one", "source": source})
    wide = rows.pivot_table(index=["seed", "series"], columns="arm", values="value")
    assert (wide["power"] - wide["neighbours"]).tolist() == pytest.approx([difference] * 4)


def test_a_timing_is_quiet_by_the_median_over_sizes(tables):
    rows = ask(tables, "quiet_gate.sql", {"spread": 0.2})
    assert dict(zip(rows["trial_id"], rows["passed"], strict=True)) == {"t0": True, "t1": False}


def test_figure_of_the_trade_off_holds_best_lrs_and_the_fit(tables):
    rows = ask(tables, "figure_steps.sql", {})
    assert set(rows["lr"]) == {0.2}
    for row in rows.itertuples():
        middle = math.sqrt(S_MIN[row.rule, 0] * S_MIN[row.rule, 1])
        assert row.steps == pytest.approx(middle * (1 + CRITICAL[row.rule] / row.batch_size))
        assert row.examples == pytest.approx(row.steps * row.batch_size)
        assert (row.s_min, row.e_min) == pytest.approx((middle, middle * CRITICAL[row.rule]))
        ratio = S_MIN[row.rule, 1] / S_MIN[row.rule, 0]
        assert row.spread == pytest.approx(math.log(ratio) / math.sqrt(2))


def test_figure_of_the_tuning_counts_who_got_there(tables):
    rows = ask(tables, "figure_lrs.sql", {}).set_index(["rule", "batch_size", "lr"])
    assert rows.loc[("sgd@1", 8, 0.4), "reached"] == 0.5
    assert rows.loc[("sgd@1", 8, 0.4), "steps"] == pytest.approx(exact("sgd@1", 0, 8) / 2)
    assert rows.loc[("sgd@1", 8, 0.2), "reached"] == 1


def test_figure_of_the_noise_needs_eight_rows_a_level():
    trial = {"trial_id": "a", "rule": "sgd@1", "batch_size": 8, "lr": 1.0, "steps_done": 9,
             "state": "reached_target", "sampling": "iid"}  # fmt: skip
    losses = [1.0] * 8 + [0.1] * 7
    metrics = pd.DataFrame({"trial_id": "a", "train_loss": losses, "noise_grad_squared": 2.0})
    metrics["noise_trace"] = [10.0, 30.0] * 7 + [1.0]
    with duckdb.connect() as connection:
        connection.register("trials", pd.DataFrame([trial]))
        connection.register("metrics", metrics)
        (row,) = ask(connection, "figure_noise.sql", {}).itertuples()
    assert (row.loss, row.b_simple) == pytest.approx((1.0, 10.0))


def test_figure_of_descents_takes_the_lowest_loss_at_each_step(tables):
    rows = ask(tables, "figure_descent.sql", {"num_train": NUM_TRAIN}).set_index(["batch_size", "step"])
    assert rows.loc[(1, 3234), ["loss", "lr", "examples"]].tolist() == pytest.approx([0.15, 0.2, 3234])
    assert rows.loc[(0, 2), ["loss", "lr", "examples"]].tolist() == pytest.approx([1.5, 4.0, 3234])


def test_figure_of_the_time_takes_ratios_about_a_power(tables):
    rows = ask(tables, "figure_time.sql", {}).set_index("batch_size")
    assert rows.loc[16, "microseconds"] == pytest.approx(1.0)
    assert rows.loc[17, "ratio"] == pytest.approx(0.25 / (1 * 1 * 0.25) ** (1 / 3))
