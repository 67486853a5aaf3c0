"""A search declared in a file: the one a study would declare, refused with its lines, run in rounds."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import gradlaw
from gradlaw.errors import ConfigurationError
from gradlaw.plan_kind import PlanKind
from gradlaw.probes import FullLoss
from gradlaw.rules import RULES
from gradlaw.rules.sgd import SGD
from gradlaw.schedules import SCHEDULES
from gradlaw.space import Choices, Range
from gradlaw.study import Arm, Grid, Search
from gradlaw.sweep.plan import plan_sweep
from gradlaw.sweep.read import read_sweep
from gradlaw.tasks import TASKS
from gradlaw_analysis import open_store

Write = Callable[[str], Path]
DOCS = Path(__file__).parents[2] / "docs" / "sweeps.md"
TEXT = """\
task: digits_softmax
steps: 8
seeds: 2
log_every: 4
values: {batch_size: 16, eps: 1e-6}
probes: [full_loss]
search:
  budget: 3
  metric: train_loss
  sampler: random
  arms:
    plain: {space: {lr: {from: 1e-3, to: 1, scale: log}}}
    tuned:
      rule: adam
      schedule: linear_warmup
      values: {beta1: 0.8}
      space:
        lr: {from: 0.1, to: 0.2}
        warmup_steps: {from: 0, to: 4}
        beta2: [0.9, 0.99]
"""


def faults(path: Path, **given: object) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        plan_sweep(path, **given)
    return [fault.removeprefix(f"{path}:") for fault in caught.value.faults]


def test_it_is_the_search_that_a_study_would_declare(sweep_file: Write) -> None:
    preset = read_sweep(sweep_file(TEXT)).study.presets["sweep"]
    common = {"task": TASKS["digits_softmax"], "steps": 8, "log_every": 4, "probes": (FullLoss(),)}
    plain = Grid(**common, rule=SGD, values={"batch_size": 16})
    tuned = Grid(
        **common,
        rule=RULES["adam"],
        schedule=SCHEDULES["linear_warmup"],
        values={"batch_size": 16, "eps": 1e-6, "beta1": 0.8},
    )
    space = {
        "lr": Range(low=0.1, high=0.2),
        "warmup_steps": Range(low=0, high=4, whole=True),
        "beta2": Choices(values=(0.9, 0.99)),
    }
    assert preset.searches == (
        Search(
            name="sweep",
            arms=(
                Arm(name="plain", grid=plain, space={"lr": Range(low=1e-3, high=1.0, log=True)}),
                Arm(name="tuned", grid=tuned, space=space),
            ),
            budget=3,
            metric="train_loss",
            sampler="random",
        ),
    )
    assert (preset.grids, preset.seeds) == ((), 2)


def test_it_runs_in_rounds_and_runs_no_more(sweep_file: Write, tmp_path: Path) -> None:
    path, store = sweep_file(TEXT), tmp_path / "store"
    summary = gradlaw.run(path, store=store, compile="never")
    assert summary.complete
    assert summary.trials_run == 2 * 3 + 2 * 2
    asked = open_store(store).sql(
        "SELECT role, arm, seed, count(*) AS n FROM plans GROUP BY ALL ORDER BY ALL"
    )
    assert [tuple(row) for row in asked.itertuples(index=False)] == [
        *(("fresh", arm, 1_000_000 + seed, 1) for arm in ("plain", "tuned") for seed in (0, 1)),
        *(("tuning", arm, 3_000_000, 3) for arm in ("plain", "tuned")),
    ]
    assert gradlaw.run(path, store=store, compile="never").trials_run == 0


def test_the_command_line_fixes_what_is_searched(sweep_file: Write) -> None:
    path = sweep_file(TEXT)
    fixed = read_sweep(path, {"beta2": 0.95, "steps": 4}).study.presets["sweep"].searches[0].arms
    assert [sorted(arm.space) for arm in fixed] == [["lr"], ["lr", "warmup_steps"]]
    assert ["beta2" in arm.grid.values for arm in fixed] == [False, True], "the arms that have it"
    assert {arm.grid.steps for arm in fixed} == {4}
    plan, _ = plan_sweep(path, overrides={"beta2": 0.95})
    assert plan.kind is PlanKind.EXPLORE
    assert plan.plan_id != plan_sweep(path)[0].plan_id
    assert faults(path, overrides={"lr": 0.1}) == [
        "command line: search.arms.plain: got values for all that is searched there, allowed all but one"
    ]
    (fault,) = faults(path, overrides={"beta2": [0.9, 0.99]})
    assert fault.startswith("command line: grid: got with search")


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("budget: 3", "budget: 0", 8, "search.budget: got 0, allowed >= 1"),
        ("metric: train_loss", "metrik: loss", 9, "unknown key of search 'metrik'; did you mean 'metric'?"),
        ("  budget: 3\n", "", 7, "search.budget: missing"),
        ("steps: 8", "steps: [8, 16]", 2, "steps: got several, allowed one with search"),
        (
            "seeds: 2",
            "grid: {lr: [0.1]}",
            3,
            "grid: got with search, in which the space of an arm alone varies",
        ),
        ("batch_size: 16", "momentum: 0.5", 5, "values: unknown hyperparameter 'momentum'"),
        ("batch_size: 16", "beta1: 0.5", 16, "values.beta1: stands twice, first in line 5; allowed: once"),
        ("rule: adam", "rule: adm", 14, "unknown rule 'adm'; did you mean 'adam'?"),
        ("rule: adam", "rull: adam", 14, "unknown key of search.arms.tuned 'rull'; did you mean 'rule'?"),
        ("{from: 0.1, to: 0.2}", "{from: 0.1, to: 0.2, num: 3}", 18, "space.lr: got num, allowed from, to,"),
        ("beta2: [0.9, 0.99]", "beta2: [0.9, 1]", 20, "space.beta2: got 1, allowed [0, 1)"),
        ("space: {lr: {from: 1e-3, to: 1, scale: log}}", "rule: sgd", 12, "search.arms.plain.space: missing"),
        ("sampler: random", "sampler: grid", 10, "search.sampler: got 'grid', allowed one of 'tpe', 'sobol'"),
        # what the plan alone can tell
        ("plain:", "Plain:", 11, "search sweep: arms: got the name 'Plain', allowed lower-case words"),
        ("train_loss", "test_los", 9, "search sweep: arm tuned: metric: got 'test_los', allowed one of"),
        ("train_loss", "steps_to_target", 12, "search sweep: arm plain: target: got none, allowed a Target"),
        (
            "beta2: [0.9, 0.99]",
            "test_share: {from: 0.1, to: 0.2}",
            20,
            "search sweep: arm tuned: test_share: got a",
        ),
    ],
)
def test_a_fault_has_its_line(sweep_file: Write, old: str, new: str, line: int, said: str) -> None:
    assert TEXT.count(old) == 1
    found = [fault for fault in faults(sweep_file(TEXT.replace(old, new))) if said in fault]
    assert [int(fault.partition(":")[0]) for fault in found] == [line]


def test_faults_of_all_arms_come_at_once(sweep_file: Write) -> None:
    text = TEXT.replace("space: {lr", "spice: {lr").replace("0.8", "8").replace("to: 4", "to: 0.5")
    assert [int(fault.partition(":")[0]) for fault in faults(sweep_file(text))] == [12, 12, 16, 19]


def test_a_search_that_is_none_is_refused(sweep_file: Write) -> None:
    head = TEXT.partition("search:")[0]
    for search in ("search: 3\n", "search: {}\n", "search: {budget: 2, metric: loss, arms: [a]}\n"):
        assert all(fault.startswith("7: search") for fault in faults(sweep_file(head + search)))


def test_the_search_of_the_docs_is_one(sweep_file: Write) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    (block,) = [block for block in blocks if "search:" in block]
    plan, _ = plan_sweep(sweep_file(block))
    assert plan.adaptive is not None
    assert [arm.name for arm in plan.adaptive.searches[0].arms] == ["lion", "adamw"]
