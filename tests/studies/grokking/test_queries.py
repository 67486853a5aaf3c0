"""Each query on a tiny Parquet whose answer is known by hand."""

import math
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

import gradlaw_studies.grokking
from gradlaw.studies import StudyFolder
from gradlaw_analysis.sample_sql import bind
from gradlaw_analysis.stats.survival import rmst
from gradlaw_studies.grokking.claims import CLAIMS
from gradlaw_studies.grokking.figures import FIGURES

FOLDER = StudyFolder(Path(gradlaw_studies.grokking.__file__).parent, "gradlaw_studies.grokking")
STEPS = 100
BASE = {"modulus": 11, "width": 44, "labels": "sum", "steps": STEPS, "state": "done"}

# The setting with an arm without weight decay: share 0.5 of modulus 11. Seed, decay, labels, then the first
# logged steps at which training and held-out rows reach the accuracy (None: never).
ARMS = {
    "a1": (1, 0.0, "sum", 10, None),
    "b1": (1, 1e-4, "sum", 20, 80),
    "c1": (1, 2e-4, "sum", 20, 40),
    "s1": (1, 2e-4, "shuffled", 30, None),
    "a2": (2, 0.0, "sum", 10, 90),
    "b2": (2, 1e-4, "sum", 20, None),
    "c2": (2, 2e-4, "sum", None, 40),  # held-out rows first: the trial ended before the training rows came
    "s2": (2, 2e-4, "shuffled", None, None),
}
# A ladder of shares at weight decay 2e-4: step of the held-out rows by seed, modulus and share. At 0.5 of 11
# the arms' own trials stand in: steps 40 and 40.
LADDER = {
    (1, 11, 0.2): None, (1, 11, 0.3): 60, (1, 11, 0.4): None,
    (2, 11, 0.2): None, (2, 11, 0.3): None, (2, 11, 0.4): 30,
    (1, 13, 0.2): None, (1, 13, 0.3): 20, (1, 13, 0.4): 10,
    (2, 13, 0.2): None, (2, 13, 0.3): 20, (2, 13, 0.4): 20,
    (3, 13, 0.2): None, (3, 13, 0.3): None,
    (1, 17, 0.5): None,  # a single share: none of the law's
}  # fmt: skip


def curve(trial, train_step, test_step):
    """A row every ten steps, until the held-out rows are added."""
    steps = range(0, (STEPS if test_step is None else test_step) + 1, 10)
    return [
        {
            "trial_id": trial,
            "step": step,
            "train_accuracy": 1.0 if train_step is not None and step >= train_step else 0.5,
            "test_accuracy": 1.0 if test_step is not None and step >= test_step else 0.25,
        }
        for step in steps
    ]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A connection that sees the tables as views on Parquet files."""
    trials, metrics = [], []
    for trial, (seed, decay, labels, train_step, test_step) in ARMS.items():
        own = {"trial_id": trial, "seed": seed, "weight_decay": decay, "labels": labels, "train_share": 0.5}
        trials.append({**BASE, **own})
        metrics += curve(trial, train_step, test_step)
    for (seed, modulus, share), test_step in LADDER.items():
        trial = f"l{seed}/{modulus}/{share}"
        own = {
            "trial_id": trial,
            "seed": seed,
            "modulus": modulus,
            "weight_decay": 2e-4,
            "train_share": share,
        }
        trials.append({**BASE, **own})
        metrics += curve(trial, 10, test_step)
    trials.append({**BASE, "trial_id": "x", "seed": 4, "modulus": 5, "weight_decay": 5e-4, "train_share": 0.9,
                   "state": "diverged"})  # fmt: skip
    folder, connection = tmp_path_factory.mktemp("tables"), duckdb.connect()
    frames = {
        "trials": pd.DataFrame(trials),
        "metrics": pd.DataFrame(metrics).astype({"train_accuracy": "float32", "test_accuracy": "float32"}),
    }
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet")
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM '{folder / name}.parquet'")
    yield connection
    connection.close()


def ask(tables, file, **parameters):
    return tables.execute(bind(FOLDER.sql(file), parameters, file)).df()


def test_times_are_first_logged_steps_or_censored_at_the_last(tables):
    rows = ask(tables, "times.sql", accuracy=0.99)
    found = {(row.seed, row.arm): (row.time, row.observed) for row in rows.itertuples()}
    assert found == {
        (1, "decay 0"): (100, False),
        (1, "decay 0.0001"): (80, True),
        (1, "decay 0.0002"): (40, True),
        (1, "shuffled"): (100, False),
        (2, "decay 0"): (90, True),
        (2, "decay 0.0001"): (100, False),
        (2, "decay 0.0002"): (40, True),
        (2, "shuffled"): (100, False),
    }


def test_the_accuracy_asked_for_decides(tables):
    rows = ask(tables, "times.sql", accuracy=0.25)
    assert set(rows["time"]) == {0}


def test_the_gate_passes_sound_trials_that_fitted(tables):
    rows = ask(tables, "fitted_gate.sql", accuracy=0.99).set_index("trial_id")["passed"]
    assert rows["a1"]
    assert rows["c2"]
    assert not rows["s2"]
    assert not rows["x"]


def test_shuffled_trials_alone_give_their_highest_accuracy(tables):
    rows = ask(tables, "shuffled.sql")
    assert sorted(rows["seed"]) == [1, 2]
    assert list(rows["value"]) == [0.25, 0.25]


def test_a_delay_counts_from_the_training_rows_and_a_censored_one_as_the_budget(tables):
    rows = ask(tables, "delays.sql", accuracy=0.99, source="measured")
    found = {(row.seed, row.level): row.value for row in rows.itertuples()}
    assert found == {(1, 1e-4): 60, (1, 2e-4): 20, (2, 1e-4): 100, (2, 2e-4): 0}


def test_checks_of_the_delay_know_the_weight_decay_alone(tables):
    for source, power in (("inverse", -1), ("proportional", 1)):
        rows = ask(tables, "delays.sql", accuracy=0.99, source=source)
        assert len(rows) == 4
        assert list(rows["value"]) == pytest.approx(list(rows["level"] ** power))


def rows_of(share, modulus):
    return share * modulus**2


def middle(low, high, modulus):
    return math.sqrt(rows_of(low, modulus) * rows_of(high, modulus))


# Seed 1 at 11 succeeds at 0.3, fails at 0.4 and succeeds at 0.5: up, down, up.
SEED_1 = middle(0.2, 0.3, 11) * middle(0.4, 0.5, 11) / middle(0.3, 0.4, 11)
CRITICAL = {
    (1, 11): SEED_1,
    (1, 13): middle(0.2, 0.3, 13),
    (2, 11): middle(0.3, 0.4, 11),
    (2, 13): middle(0.2, 0.3, 13),
}


def critical(tables, **changed):
    asked = {"accuracy": 0.99, "weight_decay": 2e-4, "source": "measured", "multiple": 1.0, **changed}
    rows = ask(tables, "critical.sql", **asked)
    return rows, {(row.seed, row.modulus): row for row in rows.itertuples()}


def test_critical_rows_lie_between_failure_and_success_and_open_seeds_are_left_out(tables):
    rows, found = critical(tables)
    assert set(found) == set(CRITICAL)  # seed 3 never succeeds at modulus 13, and is not there at 11
    for (seed, modulus), expected in CRITICAL.items():
        row, scale = found[seed, modulus], modulus * math.log(modulus)
        assert row.x == pytest.approx(math.log(scale))
        assert row.y == pytest.approx(math.log(expected))
        assert row.value == pytest.approx(expected / scale)
    assert len(rows) == 4


def test_an_exact_threshold_is_found_to_a_rung_of_the_ladder(tables):
    # at 13 the same multiple asks for a share of 0.296 ('d') or 0.317 ('d log d'): below or above 0.3
    below, above = middle(0.2, 0.3, 13), middle(0.3, 0.4, 13)
    for source, multiple, expected in (("d", 0.35 * 11, below), ("d log d", 0.35 * 11 / math.log(11), above)):
        _, found = critical(tables, source=source, multiple=multiple)
        assert {seed for seed, _ in found} == {1, 2}  # seed 3 has no rung above
        for seed in (1, 2):
            assert found[seed, 11].y == pytest.approx(math.log(middle(0.3, 0.4, 11)))
            assert found[seed, 13].y == pytest.approx(math.log(expected))


def settled(tables, early):
    rows = ask(tables, "settled.sql", accuracy=0.99, weight_decay=2e-4, early=early)
    return dict(zip(rows["seed"], rows["value"], strict=True))


def test_a_smaller_budget_can_only_raise_the_threshold(tables):
    assert settled(tables, 0.5) == {1: 0.0, 2: 0.0}  # at 13, the largest with several shares, all came by 20
    raised = settled(tables, 0.15)  # by step 15 only seed 1 is there, and at 0.4 alone
    beyond = math.log(0.4) + math.log(0.4 / 0.2) / 4  # half a rung above the largest share
    assert raised == {
        1: pytest.approx(math.log(middle(0.3, 0.4, 13) / middle(0.2, 0.3, 13))),
        2: pytest.approx(beyond - math.log(math.sqrt(0.2 * 0.3))),
    }


def test_the_survival_curves_enclose_the_restricted_mean(tables):
    rows = ask(tables, "figure_survival.sql", accuracy=0.99)
    for (labels, decay), part in rows.groupby(["labels", "weight_decay"]):
        own = [arm for arm in ARMS.values() if arm[1] == decay and arm[2] == labels]
        time = np.array([STEPS if arm[4] is None else arm[4] for arm in own], dtype=float)
        observed = np.array([arm[4] is not None for arm in own])
        edges = np.append(part["time"].to_numpy(dtype=float), STEPS)
        assert (part["survival"] * np.diff(edges)).sum() == pytest.approx(rmst(time, observed, STEPS))
        assert part["survival"].iloc[0] == 1.0
        assert part["time"].iloc[0] == 0
    assert len(set(rows["weight_decay"])) == 3


def test_phases_count_the_seeds_that_add(tables):
    rows = ask(tables, "figure_phase.sql", accuracy=0.99, weight_decay=2e-4)
    found = {(row.modulus, row.train_share): (row.num_seeds, row.added) for row in rows.itertuples()}
    assert found[11, 0.3] == (2, 0.5)
    assert found[11, 0.5] == (2, 1.0)
    assert found[13, 0.3] == (3, pytest.approx(2 / 3))
    assert found[17, 0.5] == (1, 0.0)
    assert found[13, 0.4] == (2, 1.0)
    assert len(found) == 8


def test_critical_rows_are_drawn_for_each_budget_that_closes_them(tables):
    rows = ask(tables, "figure_critical.sql", accuracy=0.99, weight_decay=2e-4)
    found = {(row.seed, row.modulus, row.budget): row.critical_rows for row in rows.itertuples()}
    for key, expected in CRITICAL.items():
        assert found[*key, 100.0] == pytest.approx(expected)
    assert found[1, 13, 25.0] == pytest.approx(CRITICAL[1, 13])
    assert (1, 11, 25.0) not in found


def test_curves_average_over_seeds_and_carry_on_what_has_ended(tables):
    rows = ask(tables, "figure_curves.sql").set_index(["weight_decay", "step"])
    assert rows.loc[(0.0, 50), "test_accuracy"] == pytest.approx(0.25)
    assert rows.loc[(0.0, 100), "test_accuracy"] == pytest.approx((0.25 + 1.0) / 2)
    assert rows.loc[(2e-4, 90), "test_accuracy"] == pytest.approx(1.0)
    assert rows.loc[(2e-4, 90), "train_accuracy"] == pytest.approx((1.0 + 0.5) / 2)
    assert len(rows) == 3 * 11


def test_every_declared_query_runs_with_its_parameters(tables):
    for item in [*CLAIMS, *(control for claim in CLAIMS for control in claim.controls), *FIGURES]:
        ask(tables, item.sql, **item.parameters)
