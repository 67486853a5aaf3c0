"""Each query on a tiny Parquet whose answer is known by hand."""

import math
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gradlaw_studies.schedules
from gradlaw.studies import StudyFolder
from gradlaw_analysis.sample_sql import bind
from gradlaw_studies.schedules.claims import CLAIMS
from gradlaw_studies.schedules.figures import FIGURES

FOLDER = StudyFolder(Path(gradlaw_studies.schedules.__file__).parent, "gradlaw_studies.schedules")
CHANCE = math.log(10.0)

# Searches: task, rule, schedule, warm-up; then lr, state and last loss of each trial of seed 0.
SEARCHES = {
    ("digits_mlp@1", "sgd@1", "linear_warmup@1", 0): [
        (0.25, "done", 0.1), (16.0, "diverged", None), (2.0, "done", 2.0), (4.0, "done", 2.4),
        (3.0, "failed", None),
    ],
    ("digits_mlp@1", "sgd@1", "linear_warmup@1", 8): [
        (0.25, "done", 0.1), (16.0, "done", 5.0), (2.0, "done", 0.1), (8.0, "done", math.nan),
    ],
    ("digits_mlp@1", "sgd@1", "moment_warmup@1", None): [(0.25, "done", 0.1), (4.0, "diverged", 0.1)],
    ("digits_mlp@1", "adam@1", "linear_warmup@1", 0): [(0.25, "done", 0.1), (16.0, "done", 0.2)],
    ("digits_squares@1", "sgd@1", "linear_warmup@1", 0): [(0.1, "done", 0.4), (0.4, "done", 0.6)],
    ("digits_squares@1", "sgd@1", "linear_warmup@1", 8): [(0.1, "done", 0.4), (0.4, "diverged", None)],
    ("digits_mlp@1", "adam@1", "linear_warmup@1", 8): [(0.25, "done", 3.0), (16.0, "done", 0.2)],
}  # fmt: skip

# Paths: rule, lr, warm-up; then (step, sharpness), of which Adam's is in its own metric; then state and seed,
# where they are not 'done' and 0.
PATHS = [
    ("sgd@1", 3.0, 8, [(0, 1.0), (4, 0.8), (8, 0.5)]),
    ("sgd@1", 3.0, 0, [(0, 1.0), (4, 5.0), (8, 6.0)]),
    ("sgd@1", 0.25, 0, [(0, 1.0), (4, 1.1), (8, 1.2)]),
    ("adam@1", 2.0, 8, [(0, math.nan), (4, 57.0), (8, 9.5)]),
    ("adam@1", 2.0, 8, [(0, math.nan), (4, 76.0)], "diverged", 1),
    ("adam@1", 2.0, 8, [(0, math.nan), (4, 57.0)], "failed", 2),
]

# Decays: log held-out loss at the end by shape, lr and seed; None: diverged.
DECAYS = {
    "constant@1": {0.5: (3.0, 3.0, 3.0), 1.0: (1.0, 1.1, 2.0), 2.0: (1.2, 1.2, 0.5), 4.0: (None, None, None)},
    "cosine_decay@1": {0.5: (2.0, 2.0, 2.0), 1.0: (0.5, 0.6, 0.7), 2.0: (0.6, 0.7, 0.8), 4.0: (1.0,) * 3},
    "linear_warmup@1": {0.5: (1.0,) * 3, 1.0: (2.0,) * 3, 2.0: (3.0,) * 3, 4.0: (4.0,) * 3},
}  # fmt: skip

# Scaling, base batch 4, lr 0.1, Adam's beta2 0.9: rule, batch, sampling, lr, beta2, offset of the log loss;
# None: it diverged after two of its five rows, a unit above the base in the second.
SCALINGS = [
    ("sgd@1", 4, "iid", 0.1, None, 0.0),
    ("sgd@1", 4, "epoch", 0.1, None, 0.01),
    ("sgd@1", 8, "iid", 0.1, None, 0.5),
    ("sgd@1", 8, "iid", 0.1 * 2**0.5, None, -0.3),
    ("sgd@1", 8, "iid", 0.2, None, 0.02),
    ("sgd@1", 16, "iid", 0.1, None, 1.0),
    ("sgd@1", 16, "iid", 0.2, None, 0.6),
    ("sgd@1", 16, "iid", 0.4, None, -0.04),
    ("sgd@1", 16, "iid", 1.6, None, 0.9),
    ("adam@1", 4, "iid", 0.1, 0.9, 0.0),
    ("adam@1", 8, "iid", 0.1, 0.9, 0.7),
    ("adam@1", 8, "iid", 0.1, 0.8, 0.8),
    ("adam@1", 8, "iid", 0.1 * 2**0.5, 0.9, 0.2),
    ("adam@1", 8, "iid", 0.1 * 2**0.5, 0.8, 0.1),
    ("adam@1", 8, "iid", 0.2, 0.8, -0.4),
    ("sgd@1", 8, "iid", 0.4, None, None),
]
EXAMPLES = 64
NONE = {"warmup_steps": None, "beta1": None, "beta2": None, "sampling": "iid", "batch_size": 0, "steps": 8}


def search_rows():
    for number, (key, asked) in enumerate(SEARCHES.items()):
        task, rule, schedule, warmup = key
        for lr, state, loss in asked:
            trial = f"e{number}/{lr}"
            own = {"task": task, "rule": rule, "schedule": schedule, "warmup_steps": warmup}
            rows = [{"step": 0, "train_loss": 2.3}]
            if loss is not None:
                rows.append({"step": 8, "train_loss": loss})
            if "squares" in task:
                rows[0]["sharpness"] = 10.0
            yield {**NONE, **own, "trial_id": trial, "lr": lr, "state": state}, rows


def path_rows():
    for number, (rule, lr, warmup, along, *ended) in enumerate(PATHS):
        column = "sharpness" if rule == "sgd@1" else "preconditioned_sharpness"
        own = {"task": "digits_mlp@1", "rule": rule, "schedule": "linear_warmup@1", "warmup_steps": warmup}
        own["beta1"] = 0.9 if rule == "adam@1" else None
        rows = [{"step": step, "train_loss": 1.0, column: value} for step, value in along]
        state, seed = ended or ("done", 0)
        yield {**NONE, **own, "trial_id": f"p{number}", "seed": seed, "lr": lr, "state": state}, rows


def decay_rows():
    for schedule, peaks in DECAYS.items():
        for lr, logs in peaks.items():
            for seed, log_loss in enumerate(logs):
                own = {
                    "task": "digits_mlp@1",
                    "rule": "sgd@1",
                    "schedule": schedule,
                    "batch_size": 16,
                    "steps": 40,
                }
                own["warmup_steps"] = 40 if schedule == "linear_warmup@1" else None
                state = "diverged" if log_loss is None else "done"
                rows = [{"step": 0, "test_loss": 9.0}]
                if log_loss is not None:
                    rows.append({"step": 40, "test_loss": math.exp(log_loss)})
                trial = f"d{schedule}/{lr}/{seed}"
                yield {**NONE, **own, "trial_id": trial, "seed": seed, "lr": lr, "state": state}, rows


def scaling_rows():
    for number, (rule, batch, sampling, lr, beta2, offset) in enumerate(SCALINGS):
        steps = EXAMPLES // batch
        own = {"task": "digits_mlp@1", "rule": rule, "schedule": "constant@1", "batch_size": batch}
        state = "diverged" if offset is None else "done"
        own |= {"sampling": sampling, "beta2": beta2, "steps": steps, "lr": lr, "state": state}
        # the base falls from 2 to 1 by 1/4 a row; the noise scale is 12, but for Adam 0.5
        rows = [
            {
                "step": row * steps // 4,
                "train_loss": math.exp(2 - row / 4 + ((1.0 if offset is None else offset) if row else 0.0)),
                "noise_trace": 6.0 + row,
                "noise_grad_squared": 8 / 12 if rule == "sgd@1" else 16.0,
            }
            for row in range(2 if offset is None else 5)
        ]
        yield {**NONE, **own, "trial_id": f"s{number}"}, rows


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A connection that sees the tables as views on Parquet files."""
    trials, metrics = [], []
    for part in (search_rows(), path_rows(), decay_rows(), scaling_rows()):
        for trial, rows in part:
            trials.append({"seed": 0, **trial})
            metrics += [{"trial_id": trial["trial_id"], **row} for row in rows]
    ids = [trial["trial_id"] for trial in trials]
    plans = [{"trial_id": trial, "role": "edge" if trial.startswith("e") else None} for trial in ids]
    frames = {"trials": trials, "metrics": metrics, "plans": [*plans, *plans]}  # two plans ask for the same
    folder, connection = tmp_path_factory.mktemp("tables"), duckdb.connect()
    for name, rows in frames.items():
        names = list(dict.fromkeys(key for row in rows for key in row))
        # not by pandas, to which a NaN that was measured is a value that is missing
        table = pa.Table.from_pylist([{key: row.get(key) for key in names} for row in rows])
        pq.write_table(table, folder / f"{name}.parquet")
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM '{folder / name}.parquet'")
    yield connection
    connection.close()


def ask(tables, file, **parameters):
    return tables.execute(bind(FOLDER.sql(file), parameters, file)).df()


def middle(low, high):
    return (math.log(low) + math.log(high)) / 2


def test_an_edge_is_the_middle_of_what_holds_and_what_fails(tables):
    rows = ask(tables, "edge_trend.sql", rule="sgd", source="measured")
    found = dict(zip(rows["level"], rows["value"], strict=True))
    # at 4 the loss is above chance, at 3 a machine failed; with a warm-up of 8 it is no number at 8
    assert found == {0: pytest.approx(middle(2, 4)), 8: pytest.approx(middle(2, 8))}
    # nothing fails, or what fails is below what holds
    assert ask(tables, "edge_trend.sql", rule="adam", source="measured").empty


def test_planted_edges_rise_and_fall_with_the_length(tables):
    for source, sign in (("rising", 1), ("falling", -1)):
        rows = ask(tables, "edge_trend.sql", rule="sgd", source=source)
        assert dict(zip(rows["level"], rows["value"], strict=True)) == {
            0: 0.0,
            8: pytest.approx(sign * math.log(9)),
        }


def test_arms_of_the_edges(tables):
    rows = ask(tables, "edge_arms.sql", task="digits_mlp", rule="sgd")
    assert dict(zip(rows["arm"], rows["value"], strict=True)) == {
        "none": pytest.approx(middle(2, 4)),
        "longest": pytest.approx(middle(2, 8)),
        "factor": pytest.approx(middle(0.25, 4)),
    }
    rows = ask(tables, "edge_arms.sql", task="digits_squares", rule="sgd")
    assert dict(zip(rows["arm"], rows["value"], strict=True)) == {
        "none": pytest.approx(middle(0.1, 0.4)),
        "longest": pytest.approx(middle(0.1, 0.4)),
    }


def test_the_exact_edge_is_one_at_two_over_the_curvature(tables):
    rows = ask(tables, "edge_exact.sql")
    assert list(rows["value"]) == [pytest.approx(math.log(0.2 * 10 / 2), abs=1e-7)]


def test_the_edges_gate_passes_searches_that_bracket(tables):
    passed = ask(tables, "edge_gate.sql").set_index("trial_id")["passed"]
    assert len(passed) == sum(len(asked) for asked in SEARCHES.values()) - 1  # without the one that failed
    assert set(passed.index[~passed]) == {"e3/0.25", "e3/16.0", "e6/0.25", "e6/16.0"}


def test_the_figure_of_edges_has_a_row_a_search(tables):
    rows = ask(tables, "figure_edges.sql").set_index(["schedule", "warmup_steps"])["edge"]
    assert rows.to_dict() == {
        ("linear_warmup", 0): pytest.approx(8**0.5),
        ("linear_warmup", 8): pytest.approx(4.0),
        ("moment_warmup", 0): pytest.approx(1.0),
    }


def test_sharpness_is_read_over_what_is_stable(tables):
    def value(rule, when):
        rows = ask(tables, "path_end.sql", rule=rule, when=when)
        (found,) = rows.loc[rows["seed"] == 0, "value"]
        return math.exp(found)

    assert value("sgd", "end") == pytest.approx(0.5 * 3 / 2)
    assert value("sgd", "small lr") == pytest.approx(1.2 * 3 / 2)
    assert value("sgd", "start") == pytest.approx(0.8 * 3 / 2)
    assert value("adam", "end") == pytest.approx(9.5 * 2 / 38)
    assert value("adam", "start") == pytest.approx(57 * 2 / 38)


def test_a_path_that_diverged_counts_with_the_last_sharpness_before(tables):
    """Of seed 1; the curve of the other seed ends where it should."""
    rows = ask(tables, "path_end.sql", rule="adam", when="end").set_index("seed")["value"]
    assert math.exp(rows[1]) == pytest.approx(76 * 2 / 38)
    assert len(rows) == 2


def test_the_paths_gate_leaves_the_quadratic_out_and_what_a_machine_failed(tables):
    passed = ask(tables, "path_gate.sql").set_index("trial_id")["passed"]
    assert passed.to_dict() == {f"p{number}": number < 5 for number in range(len(PATHS))}


def test_the_figure_of_paths_takes_the_lr_of_the_step(tables):
    rows = ask(tables, "figure_paths.sql").set_index(["rule", "lr", "warmup_steps", "step"])["ratio"]
    assert rows["sgd", 3.0, 8, 4] == pytest.approx(0.8 * 1.5 / 2)
    assert rows["sgd", 3.0, 0, 4] == pytest.approx(5.0 * 3 / 2)
    assert rows["adam", 2.0, 8, 8] == pytest.approx(9.5 * 2 / 38)
    assert len(rows) == 8


def test_a_seed_is_read_at_the_peak_that_is_best_for_the_others(tables):
    rows = ask(tables, "decay_loss.sql", task="digits_mlp")
    found = {(row.arm, row.seed): row.value for row in rows.itertuples()}
    # constant: means of the others at 1 and 2 are 1.55, 0.85; 1.5, 0.85; 1.05, 1.2: so peaks 2, 2 and 1
    expected = {("constant", 0): 1.2, ("constant", 1): 1.2, ("constant", 2): 2.0}
    expected |= {("cosine", 0): 0.5, ("cosine", 1): 0.6, ("cosine", 2): 0.7}
    # the rising one is best at the lowest peak of the grid: left out
    assert found == {key: pytest.approx(value, abs=1e-6) for key, value in expected.items()}
    assert ask(tables, "decay_loss.sql", task="digits_softmax").empty


def test_the_figure_of_decays_counts_what_diverged_as_the_bound(tables):
    rows = ask(tables, "figure_decays.sql").set_index(["shape", "lr"])
    assert rows.loc[("constant", 4.0), "loss"] == pytest.approx(1e6)
    assert rows.loc[("cosine", 1.0), "loss"] == pytest.approx(math.exp(0.6))
    assert set(rows["num_seeds"]) == {3}


def test_the_decays_gate_leaves_other_parts_out(tables):
    passed = ask(tables, "decay_gate.sql").set_index("trial_id")["passed"]
    assert len(passed) == 36
    assert passed.all()


def distance(tables, rule, theory, others, factor=4):
    rows = ask(tables, "scaling_distance.sql", rule=rule, theory=theory, others=others, max_factor=factor)
    return {(row.part, row.series, row.arm): row.value for row in rows.itertuples()}


def test_distances_from_the_base_at_matched_examples(tables):
    found = distance(tables, "sgd", "linear", "none,root")
    assert found == {
        ("none", 2, "theory"): pytest.approx(0.02, abs=1e-6),
        ("none", 2, "other"): pytest.approx(0.5, abs=1e-6),
        ("none", 4, "theory"): pytest.approx(0.04, abs=1e-6),
        ("none", 4, "other"): pytest.approx(1.0, abs=1e-6),
        ("root", 2, "theory"): pytest.approx(0.02, abs=1e-6),
        ("root", 2, "other"): pytest.approx(0.3, abs=1e-6),
        ("root", 4, "theory"): pytest.approx(0.04, abs=1e-6),
        ("root", 4, "other"): pytest.approx(0.6, abs=1e-6),
    }
    assert {series for _, series, _ in distance(tables, "sgd", "linear", "none", factor=2)} == {2}


def test_the_base_again_stands_beside_every_factor(tables):
    found = distance(tables, "sgd", "repeat", "none")
    assert found["none", 4, "theory"] == pytest.approx(0.01, abs=1e-6)
    assert found["none", 2, "theory"] == pytest.approx(0.01, abs=1e-6)


def test_what_diverged_is_as_far_as_the_bound_from_there_on(tables):
    """One of four rows is there, a unit above the base; the base's others are 1.5, 1.25 and 1."""
    found = distance(tables, "sgd", "linear", "square", factor=2)
    rest = [math.log(1e6) - base for base in (1.5, 1.25, 1.0)]
    assert found["square", 2, "other"] == pytest.approx((1.0 + sum(rest)) / 4, abs=1e-6)
    rows = ask(tables, "figure_scaling.sql").set_index(["rule", "arm", "factor"])["distance"]
    assert rows["sgd", "square", 2] == pytest.approx((1.0 + sum(rest)) / 4, abs=1e-6)


def test_rules_with_betas_are_told_from_those_without(tables):
    found = distance(tables, "adam", "root with betas", "root,none with betas,linear with betas")
    assert found["root", 2, "theory"] == pytest.approx(0.1, abs=1e-6)
    others = {part: value for (part, _, arm), value in found.items() if arm == "other"}
    assert others == {
        "root": pytest.approx(0.2, abs=1e-6),
        "none with betas": pytest.approx(0.8, abs=1e-6),
        "linear with betas": pytest.approx(0.4, abs=1e-6),
    }


def test_the_scaling_gate_asks_for_noise(tables):
    passed = ask(tables, "scaling_gate.sql").set_index("trial_id")["passed"]
    batches = {f"s{number}": item[:2] for number, item in enumerate(SCALINGS)}
    # 8 / (8 / 12) = 12 for gradient descent, 8 / 16 = 0.5 for Adam
    assert passed.to_dict() == {
        trial: rule == "sgd@1" and size < 12 for trial, (rule, size) in batches.items()
    }


def test_the_figure_of_scaling_names_every_arm(tables):
    rows = ask(tables, "figure_scaling.sql")
    assert set(rows.loc[rows["rule"] == "sgd", "arm"]) == {"repeat", "none", "root", "linear", "square"}
    assert len(rows) == len(SCALINGS) - 2


def test_every_declared_query_runs_with_its_parameters(tables):
    for item in [*CLAIMS, *(control for claim in CLAIMS for control in claim.controls), *FIGURES]:
        ask(tables, item.sql, **item.parameters)
