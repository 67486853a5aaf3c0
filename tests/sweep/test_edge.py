"""An edge declared in a file: the one a study would declare, refused with its lines, found by bisection."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import gradlaw
from gradlaw.ending import Target
from gradlaw.errors import ConfigurationError
from gradlaw.probes import FullLoss
from gradlaw.rules import RULES
from gradlaw.schedules import SCHEDULES
from gradlaw.space import Edge
from gradlaw.study import Grid
from gradlaw.sweep.plan import plan_sweep
from gradlaw.sweep.read import read_sweep
from gradlaw.tasks import TASKS
from gradlaw_analysis import open_store

Write = Callable[[str], Path]
DOCS = Path(__file__).parents[2] / "docs" / "sweeps.md"
TEXT = """\
task: digits_softmax
rule: adam
schedule: linear_warmup
steps: 8
seeds: 2
log_every: 4
grid: {warmup_steps: [0, 4]}
probes: [full_loss]
edge:
  lr:
    from: 1
    to: 1e4
    halvings: 3
    fails: {metric: train_loss, value: 20, direction: above}
"""


def faults(path: Path, **given: object) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        plan_sweep(path, **given)
    return [fault.removeprefix(f"{path}:") for fault in caught.value.faults]


def test_it_is_the_edge_that_a_study_would_declare(sweep_file: Write) -> None:
    preset = read_sweep(sweep_file(TEXT)).study.presets["sweep"]
    fails = Target(metric="train_loss", value=20.0, direction="above")
    edge = Edge(low=1.0, high=1e4, halvings=3, fails=fails)
    assert preset.grids == (
        Grid(
            task=TASKS["digits_softmax"],
            rule=RULES["adam"],
            schedule=SCHEDULES["linear_warmup"],
            steps=8,
            log_every=4,
            probes=(FullLoss(),),
            values={"lr": edge, "warmup_steps": (0, 4)},
        ),
    )
    assert (preset.searches, preset.seeds) == ((), 2)


def test_the_edge_is_found_for_each_combination_and_seed(sweep_file: Write, tmp_path: Path) -> None:
    """The bracket's logarithm is an eighth of what it was, and each edge lies in a bracket of its own."""
    path, store = sweep_file(TEXT), tmp_path / "store"
    summary = gradlaw.run(path, store=store, compile="never")
    assert summary.complete
    trials = open_store(store).sql(
        "SELECT warmup_steps, seed, lr, state = 'diverged' OR isnan(train_loss) OR train_loss >= 20 AS fails "
        "FROM trials JOIN plans USING (trial_id, seed) LEFT JOIN metrics "
        "ON metrics.trial_id = trials.trial_id AND step = steps_done WHERE role = 'edge' ORDER BY lr"
    )
    found = list(trials.groupby(["warmup_steps", "seed"]))
    assert [place for place, _ in found] == [(w, s) for w in (0, 4) for s in (1_000_000, 1_000_001)]
    for _, tried in found:
        assert (tried.lr.min(), tried.lr.max(), len(tried)) == (1.0, 1e4, 5)
        holds, fails = tried[~tried.fails.astype(bool)].lr.max(), tried[tried.fails.astype(bool)].lr.min()
        assert fails / holds == pytest.approx(10 ** (4 / 2**3)), "the bracket after three halvings"
    assert gradlaw.run(path, store=store, compile="never").trials_run == 0


def test_it_goes_with_what_else_varies(sweep_file: Write) -> None:
    """Points, several lengths and a condition on them: one edge for each combination that is left."""
    text = TEXT.replace("steps: 8", "steps: [8, 12]", 1) + (
        "zip: {batch_size: [8, 16], eps: [1e-6, 1e-7]}\nwhere: warmup_steps == 0 or steps == 8\n"
    )
    plan, notes = plan_sweep(sweep_file(text))
    assert plan.adaptive is not None
    assert len(plan.adaptive.edges) == 2 * (2 + 1)
    assert notes == ("2 of 8 combinations left out by where",)


def test_the_command_line_takes_the_place_of_an_edge(sweep_file: Write) -> None:
    path = sweep_file(TEXT)
    for value, number in ((0.5, 4), ([0.5, 0.25, 0.1], 12)):
        plan, _ = plan_sweep(path, overrides={"lr": value})
        assert plan.adaptive is None
        assert sum(len(pack.members) for pack in plan.packs) == number


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("from: 1\n", "from: 0\n", 11, "edge.lr.from: got 0, allowed > 0"),
        ("to: 1e4", "to: 0.5", 10, "edge.lr: got from 1 to 0.5, allowed from < to"),
        ("    to: 1e4\n", "", 10, "edge.lr.to: missing"),
        ("halvings: 3", "halvings: 61", 13, "edge.lr.halvings: got 61, allowed"),
        ("halvings: 3", "halvings: 2.5", 13, "edge.lr.halvings: got 2.5"),
        ("halvings: 3", "halvings: 3\n    num: 4", 14, "unknown key of edge.lr 'num'; known: fails, from,"),
        ("metric: train_loss, ", "", 14, "edge.lr.fails.metric: missing"),
        ("direction: above", "direction: up", 14, "edge.lr.fails.direction: got 'up', allowed one of"),
        ("  lr:\n", "  lrr:\n", 10, "edge: unknown hyperparameter 'lrr'; did you mean 'lr'?"),
        (
            "{warmup_steps: [0, 4]}",
            "{lr: [0.1]}",
            7,
            "grid.lr: stands twice, first in line 10; allowed: once",
        ),
        (
            "  lr:",
            "  eps: {from: 1, to: 2, halvings: 1}\n  lr:",
            9,
            "edge: got eps, lr, allowed one in a file",
        ),
        ("probes:", "where: lr < 1\nprobes:", 8, "where: got a condition on lr, whose edge is to be found"),
        ("probes:", "search: {}\nprobes:", 10, "edge: got with search, in which the space of an arm alone"),
        ("seeds: 2", "seeds: 1000001", 1, "got 10,000,010 trials"),
        # what the plan alone can tell
        ("train_loss", "train_los", 14, "lr.fails.metric: got 'train_los', allowed one of"),
        ("  lr:", "  test_share:", 10, "test_share: got an edge of what is structural"),
        ("  lr:", "  batch_size:", 10, "batch_size: got an edge of what is"),
        ("probes:", "halving: {metric: loss, first: 4}\nprobes:", 11, "lr: got an edge with halving"),
    ],
)
def test_a_fault_has_its_line(sweep_file: Write, old: str, new: str, line: int, said: str) -> None:
    assert TEXT.count(old) == 1
    found = [fault for fault in faults(sweep_file(TEXT.replace(old, new))) if said in fault]
    assert [int(fault.partition(":")[0]) for fault in found] == [line]


def test_all_faults_come_at_once(sweep_file: Write) -> None:
    text = (
        TEXT.replace("from: 1\n", "from: -1\n").replace("halvings: 3", "halvings: 0").replace("20,", "high,")
    )
    assert [int(fault.partition(":")[0]) for fault in faults(sweep_file(text))] == [11, 13, 14]
    for edge in ("edge: 3\n", "edge: {}\n", "edge: {lr: [1, 2]}\n", "edge: {lr: {}}\n"):
        assert all(
            fault.startswith("9: edge") for fault in faults(sweep_file(TEXT.partition("edge:")[0] + edge))
        )


def test_the_edge_of_the_docs_is_one(sweep_file: Write) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    (block,) = [block for block in blocks if "edge:" in block]
    plan, _ = plan_sweep(sweep_file(block))
    assert plan.adaptive is not None
    assert {name for name, _ in plan.adaptive.edges} == {"lr"}
    assert len(plan.adaptive.edges) == 3
