"""Each query of the contest on a tiny Parquet whose answer is known by hand."""

import math
from pathlib import Path

import duckdb
import pandas as pd
import pytest
import torch

import gradlaw_studies.lion_adamw
from gradlaw.schedules import SCHEDULES
from gradlaw_analysis.sample_sql import bind
from gradlaw_studies.lion_adamw.claims_contest import CONTEST_CLAIMS
from gradlaw_studies.lion_adamw.draw_contest import CONTEST_FIGURES

FOLDER = Path(gradlaw_studies.lion_adamw.__file__).parent
GUESS, UNTUNED = math.log(10), 1e-4

# trial: task, rule, schedule, seed, lr, weight decay, warm-up, steps, steps done, state, then per logged step
# (step, held-out loss, held-out accuracy, largest parameter)
TRIALS = {
    # fresh and tuning runs of two searches on digits
    "l1": ("digits_mlp", "lion", "cosine_decay", 1, 1e-2, 0.5, 20, 400, 400, "done",
           [(0, 2.3, 0.1, 0.2), (400, 0.2, 0.95, 0.9)]),
    "l2": ("digits_mlp", "lion", "cosine_decay", 2, 1e-2, 0.5, 20, 400, 30, "diverged",
           [(0, 2.3, 0.1, 0.2), (20, 0.4, 0.9, 0.7)]),
    "a1": ("digits_mlp", "adamw", "cosine_decay", 1, 1e-2, 0.1, 0, 400, 400, "done",
           [(0, 2.3, 0.1, 0.2), (400, 0.1, 0.97, 1.4)]),
    "a2": ("digits_mlp", "adamw", "cosine_decay", 2, 1e-2, 0.1, 0, 400, 400, "done",
           [(0, 2.3, 0.1, 0.2), (400, 5.0, 0.3, 1.4)]),
    "r1": ("digits_mlp", "adamw", "cosine_decay", 1, 2e-2, 0.1, 0, 400, 400, "done",
           [(0, 2.3, 0.1, 0.2), (400, 0.3, 0.9, 1.4)]),
    "u1": ("digits_mlp", "lion", "cosine_decay", 1, UNTUNED, 0.0, 0, 400, 400, "done",
           [(0, 2.3, 0.1, 0.2), (400, 2.0, 0.5, 0.22)]),
    "t1": ("digits_mlp", "lion", "cosine_decay", 9, 1e-2, 0.5, 20, 400, 400, "done",
           [(0, 2.3, 0.1, 0.2), (400, 0.2, 0.95, 0.9)]),
    "t2": ("digits_mlp", "lion", "cosine_decay", 9, 3e-2, 0.5, 20, 400, 3, "diverged",
           [(0, 2.3, 0.1, 0.2)]),
    # the convolutional network, a fresh run
    "v1": ("digits_conv", "adamw", "cosine_decay", 1, 1e-2, 0.5, 20, 400, 400, "done",
           [(0, 2.3, 0.1, 0.2), (400, 0.4, 0.93, 0.9)]),
    # modular addition: added at a logged step, or never
    "m1": ("modular_addition", "lion", "linear_warmup", 1, 1e-2, 2.0, 10, 1000, 120, "reached_target",
           [(0, 1.0, 0.1, 0.3), (120, 0.1, 1.0, 0.49)]),
    "m2": ("modular_addition", "adamw", "linear_warmup", 1, 1e-2, 2.0, 0, 1000, 1000, "done",
           [(0, 1.0, 0.1, 0.3), (1000, 0.9, 0.4, 0.49)]),
    "n1": ("modular_addition", "lion", "linear_warmup", 9, 1e-2, 2.0, 10, 1000, 120, "reached_target",
           [(0, 1.0, 0.1, 0.3), (120, 0.1, 1.0, 0.49)]),
    "n2": ("modular_addition", "lion", "linear_warmup", 9, 1e-2, 1.0, 10, 1000, 1000, "done",
           [(0, 1.0, 0.1, 0.3), (1000, 0.9, 0.4, 0.6)]),
    "n3": ("modular_addition", "lion", "linear_warmup", 9, 1e-2, 1.0, 11, 1000, 0, "out_of_memory", []),
    # boxes, constant lr: half-width 1 / weight decay
    "b1": ("digits_mlp", "lion", "constant", 1, 1e-2, 10.0, None, 20, 20, "done",
           [(0, 2.3, 0.1, 0.2), (10, 2.0, 0.2, 0.18), (20, 2.0, 0.2, 0.12)]),
    "b2": ("digits_mlp", "lion", "constant", 1, 1e-2, 4.0, None, 20, 20, "done",
           [(0, 2.3, 0.1, 0.2), (20, 2.0, 0.2, 0.24)]),
    "b3": ("digits_mlp", "lion", "constant", 1, 1e-2, 0.0, None, 20, 20, "done",
           [(0, 2.3, 0.1, 0.2), (20, 2.0, 0.2, 0.3)]),
    "b4": ("digits_mlp", "adamw", "constant", 1, 1e-2, 10.0, None, 20, 20, "done",
           [(0, 2.3, 0.1, 0.2), (20, 2.0, 0.2, 0.15)]),
}  # fmt: skip

# trial, role, search, arm, number, plan; a trial may stand in several plans, and be asked for twice
PLANS = [
    ("l1", "fresh", "digits", "lion", 0, "p"), ("l2", "fresh", "digits", "lion", 0, "p"),
    ("a1", "fresh", "digits", "adamw", 3, "p"), ("a2", "fresh", "digits", "adamw", 3, "p"),
    ("l1", "fresh", "digits", "lion", 0, "q"), ("r1", "fresh", "digits_random", "adamw", 1, "p"),
    ("v1", "fresh", "conv", "adamw", 0, "p"),
    ("t1", "tuning", "digits", "lion", 0, "p"), ("t2", "tuning", "digits", "lion", 1, "p"),
    ("m1", "fresh", "addition", "lion", 0, "p"), ("m2", "fresh", "addition", "adamw", 0, "p"),
    ("n1", "tuning", "addition", "lion", 0, "p"), ("n2", "tuning", "addition", "lion", 1, "p"),
    ("n3", "tuning", "addition", "lion", 2, "p"),
    *((trial, None, None, None, None, "p") for trial in ("u1", "b1", "b2", "b3", "b4")),
]  # fmt: skip


def parquet(folder, connection, name, frame):
    frame.to_parquet(folder / f"{name}.parquet")
    connection.execute(f"CREATE VIEW {name} AS SELECT * FROM '{folder / name}.parquet'")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A connection that sees the tables as views on Parquet files."""
    names = ("seed", "lr", "weight_decay", "warmup_steps", "steps", "steps_done", "state")
    trials, metrics = [], []
    for trial, (task, rule, schedule, *rest, rows) in TRIALS.items():
        versioned = {"task": f"{task}@1", "rule": f"{rule}@1", "schedule": f"{schedule}@1"}
        trials.append({"trial_id": trial, **versioned, **dict(zip(names, rest, strict=True))})
        metrics += [(trial, *row) for row in rows]
    columns = ["trial_id", "step", "test_loss", "test_accuracy", "parameter_max"]
    folder, connection = tmp_path_factory.mktemp("tables"), duckdb.connect()
    measured = pd.DataFrame(metrics, columns=columns)
    parquet(folder, connection, "metrics", measured.astype(dict.fromkeys(columns[2:], "float32")))
    parquet(folder, connection, "trials", pd.DataFrame(trials).astype({"warmup_steps": "Int64"}))
    asked = pd.DataFrame(PLANS, columns=["trial_id", "role", "search", "arm", "number", "plan_id"])
    parquet(folder, connection, "plans", asked.astype({"number": "Int64"}))
    yield connection
    connection.close()


def ask(tables, file, **parameters):
    return tables.execute(bind((FOLDER / file).read_text(), parameters, file)).df()


def pairs(tables, task, search, quantity):
    rows = ask(
        tables, "contest_pairs.sql", task=task, search=search, quantity=quantity, guess=GUESS, untuned=UNTUNED
    )
    found = {(row.arm, row.seed): row.value for row in rows.itertuples()}
    assert len(found) == len(rows)
    return found


def test_fresh_runs_of_one_search_by_arm_and_lion_untuned(tables):
    found = pairs(tables, "digits_mlp", "digits", "loss")
    assert set(found) == {("lion", 1), ("lion", 2), ("adamw", 1), ("adamw", 2), ("lion_untuned", 1)}
    assert found["lion", 1] == pytest.approx(math.log(0.2))
    assert found["adamw", 1] == pytest.approx(math.log(0.1))
    assert found["lion_untuned", 1] == pytest.approx(math.log(2.0))


def test_what_diverged_or_ended_worse_counts_as_a_guess(tables):
    found = pairs(tables, "digits_mlp", "digits", "loss")
    assert found["lion", 2] == pytest.approx(math.log(GUESS))
    assert found["adamw", 2] == pytest.approx(math.log(GUESS))
    accuracy = pairs(tables, "digits_mlp", "digits", "accuracy")
    assert accuracy["lion", 2] == 0.0
    assert accuracy["adamw", 2] == pytest.approx(0.3)


def test_steps_to_the_target_or_all_of_them(tables):
    found = pairs(tables, "modular_addition", "addition", "steps")
    assert found == {
        ("lion", 1): pytest.approx(math.log(120)),
        ("adamw", 1): pytest.approx(math.log(1000)),
    }


def test_the_field_holds_every_search_and_no_tuning(tables):
    rows = ask(tables, "figure_contest_field.sql", guess=GUESS)
    found = {(row.search, row.arm, row.seed): row.value for row in rows.itertuples()}
    assert len(found) == len(rows) == 8
    assert found["digits_random", "adamw", 1] == pytest.approx(0.3)
    assert found["digits", "lion", 2] == pytest.approx(GUESS)
    assert found["addition", "lion", 1] == 120
    assert found["addition", "adamw", 1] == 1000


def test_tuning_lists_configurations_with_how_they_ended(tables):
    rows = ask(tables, "figure_contest_tuning.sql", guess=GUESS)
    found = {(row.search, row.number): (pytest.approx(row.value), row.ended) for row in rows.itertuples()}
    assert found == {
        ("digits", 0): (0.2, "sound"),
        ("digits", 1): (GUESS, "diverged"),
        ("addition", 0): (120, "sound"),
        ("addition", 1): (1000, "not added"),
        ("addition", 2): (1000, "failed"),
    }


def test_the_box_in_units_of_its_half_width(tables):
    decayed = ask(tables, "contest_box.sql", rule="lion", part="decayed", nominal=1.0)
    # l1, l2 at decay 0.5; m1 at 2; b1 at 10 and b2 at 4; tuning runs are on other seeds than the plan's
    expected = [0.45, 0.35, 0.98, 1.2, 0.96]
    assert sorted(decayed["value"]) == pytest.approx(sorted(expected), rel=1e-6)
    free = ask(tables, "contest_box.sql", rule="lion", part="free", nominal=10.0)
    assert sorted(free["value"]) == pytest.approx([2.2, 3.0], rel=1e-6)  # u1 and b3
    adamw = ask(tables, "contest_box.sql", rule="adamw", part="decayed", nominal=1.0)
    assert max(adamw["value"]) == pytest.approx(1.5)  # b4; m2 stands at 0.98


def gate(tables, left):
    rows = ask(tables, "contest_box_gate.sql", left=left)
    return dict(zip(rows["trial_id"], rows["passed"], strict=True))


def test_the_gate_asks_for_decay_a_sound_end_and_a_long_run(tables):
    passed = gate(tables, 1e-9)
    assert set(passed) == {"l1", "l2", "u1", "m1", "b1", "b2", "b3"}
    inside = {"l1", "m1", "b2"}  # started inside, where they stay
    assert {trial for trial, ok in passed.items() if ok} == inside
    left = math.exp(-10 * 0.01 * 20) * (2.0 - 1.0)  # b1: excess 1 at the start, 20 steps of lr 0.01
    assert gate(tables, left * 1.001)["b1"]
    assert not gate(tables, left * 0.999)["b1"]


FULL, CUT = ("done", 50), ("reached_target", 5)


@pytest.mark.parametrize(
    ("schedule", "warm", "end"),
    [
        ("constant", 0, FULL), ("constant", 0, CUT),
        ("linear_warmup", 0, FULL), ("linear_warmup", 7, FULL), ("linear_warmup", 50, FULL),
        ("linear_warmup", 7, CUT), ("linear_warmup", 3, CUT),
        ("cosine_decay", 0, FULL), ("cosine_decay", 7, FULL), ("cosine_decay", 50, FULL),
    ],
)  # fmt: skip
def test_the_gate_sums_the_lr_of_each_schedule(tmp_path, schedule, warm, end):
    """The threshold at which the gate opens, against the sum of the schedule itself over the steps."""
    state, done = end
    settings = {"lr": torch.tensor(0.01, dtype=torch.float64), "final_share": torch.tensor(0.0).double()}
    settings |= {"warmup_steps": torch.tensor(warm), "steps": torch.tensor(50)}
    sum_lr = sum(float(SCHEDULES[schedule]().lr(torch.tensor(t), settings)) for t in range(done))
    excess, decay = 0.5, 6.0
    trial = {"trial_id": "x", "rule": "lion@1", "schedule": f"{schedule}@1", "weight_decay": decay}
    trial |= {"lr": 0.01, "warmup_steps": warm, "steps": 50, "steps_done": done, "state": state}
    rows = {"trial_id": ["x", "x"], "step": [0, done], "parameter_max": [(1 + excess) / decay, 0.1]}
    with duckdb.connect() as connection:
        parquet(tmp_path, connection, "trials", pd.DataFrame([trial]))
        parquet(tmp_path, connection, "metrics", pd.DataFrame(rows))
        parquet(tmp_path, connection, "plans", pd.DataFrame({"trial_id": ["x"], "role": ["fresh"]}))
        left = excess * math.exp(-decay * sum_lr)
        for factor, opens in ((1.0001, True), (0.9999, False)):
            (row,) = ask(connection, "contest_box_gate.sql", left=factor * left).itertuples()
            assert bool(row.passed) is opens


def test_the_rate_is_that_of_the_excess_at_the_start(tables):
    rows = ask(tables, "contest_box_rate.sql", speed=1.0)
    assert len(rows) == 5  # b1 and b2, each logged step
    by_value = sorted(rows["value"])
    # b1: 1.8 where 1 + exp(-1) is allowed, then 1.2 where 1 + exp(-2) is
    assert by_value == pytest.approx([0, 0, 0, 0.2 - math.exp(-2), 0.8 - math.exp(-1)], abs=1e-6)
    slower = ask(tables, "contest_box_rate.sql", speed=0.1)
    assert max(slower["value"]) == 0.0


def test_the_picture_of_the_box_takes_constant_lr_and_the_worst_seed(tables):
    rows = ask(tables, "figure_contest_box.sql")
    found = {(row.rule, row.weight_decay, row.step): (row.time, row.reach) for row in rows.itertuples()}
    assert found["lion", 10.0, 20] == (pytest.approx(2.0), pytest.approx(1.2, rel=1e-6))
    assert found["adamw", 10.0, 20][1] == pytest.approx(1.5, rel=1e-6)
    assert {rule for rule, _, _ in found} == {"lion", "adamw"}
    assert len(found) == 3 + 2 + 2


def test_every_declared_query_runs_with_its_parameters(tables):
    for item in [*CONTEST_CLAIMS, *(control for claim in CONTEST_CLAIMS for control in claim.controls)]:
        assert not ask(tables, item.sql, **item.parameters).empty
    for figure in CONTEST_FIGURES:
        assert not ask(tables, figure.sql, **figure.parameters).empty
