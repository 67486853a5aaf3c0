"""The presets: what they stand for, that they can decide, and that one of them runs."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from study_parts import results_of

from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.errors import ConfigurationError
from gradlaw.plan_kind import PlanKind
from gradlaw.planning.plan import make_plan
from gradlaw.probe import TableProbe
from gradlaw.probes.weights import Weights
from gradlaw.schedules import WarmupStableDecay
from gradlaw.trial import State
from gradlaw_studies.modular_addition.probes import before_decay
from gradlaw_studies.modular_addition.study import DECAYS, MODULI, STUDY, WIDTHS

TASK = "modular_addition@1"


def trained_on_sums(preset, **settings):
    """Trials of a preset that are the paper's, controls left out."""
    members = make_plan(STUDY, preset, **settings).members
    return [item for item in members if item.trial.task == TASK and item.hyperparameters["labels"] == "sum"]


def finished(plan):
    recorder, results = MemoryRecorder(), []
    for pack in plan.packs:
        results += results_of(pack, recorder)
    return recorder, results


def test_paper_holds_the_authors_300_runs():
    runs = [item for item in trained_on_sums("paper") if item.hyperparameters["width"] in WIDTHS]
    cells = Counter(
        (values["modulus"], values["width"], values["weight_decay"])
        for values in (item.hyperparameters for item in runs)
    )
    assert len(runs) == 300
    assert cells == dict.fromkeys(product((23, 71, 127), (256, 512, 1024, 2048), DECAYS), 5)
    assert DECAYS == (1e-5, 5e-5, 1e-4, 2e-4, 5e-4)
    for item in runs:
        assert (item.trial.steps, item.hyperparameters["lr"]) == (10_000, 0.01)
        assert (item.trial.rule, item.hyperparameters["train_share"]) == ("adam@1", 0.9)
    # three products of matrices a step: forward, and backward to the weights and to the hidden nodes
    flops = sum(6 * round(0.9 * d * d) * q * d * 10_000 * num for (d, q, _), num in cells.items())
    assert f"{flops / 1e15:.1f} PFLOP" in STUDY.presets["paper"].doc


def test_the_table_is_the_papers_at_one_width_and_decay():
    runs = trained_on_sums("table")
    values = {
        (item.hyperparameters["modulus"], item.hyperparameters["width"], item.hyperparameters["weight_decay"])
        for item in runs
    }
    assert values == {(modulus, 512, 5e-5) for modulus in MODULI}
    assert STUDY.presets["table"].seeds >= 5
    # one trial for whoever asks for it: the table, the paper, the demo
    ids = {name: {item.trial.trial_id for item in trained_on_sums(name, seeds=2)} for name in STUDY.presets}
    assert ids["table"] < ids["paper"]
    assert len(ids["demo"] & ids["paper"]) == 2 * (len(DECAYS) + 4)  # and 256, 1024, two narrow ones
    assert len(ids["scaling"] & ids["table"]) == 2 * 2  # d = 71 and 127


def test_scaling_goes_over_primes_that_their_widths_fit():
    pairs = {
        (item.hyperparameters["modulus"], item.hyperparameters["width"])
        for item in trained_on_sums("scaling")
    }
    moduli = sorted(modulus for modulus, _ in pairs)
    assert (moduli[0], moduli[-1], len(moduli)) == (11, 127, 8)
    assert all(modulus % divisor for modulus in moduli for divisor in range(2, modulus))
    assert all(width >= 4 * modulus for modulus, width in pairs)
    # evenly spread in the logarithm, so that no end has the slope to itself
    steps = np.diff(np.log(moduli))
    assert steps.max() < 1.7 * steps.min()


def test_demo_has_the_decays_the_widths_and_the_controls():
    runs = trained_on_sums("demo")
    assert {item.hyperparameters["modulus"] for item in runs} == {23}
    assert {
        item.hyperparameters["weight_decay"] for item in runs if item.hyperparameters["width"] == 512
    } == {*DECAYS}
    widths = {item.hyperparameters["width"] for item in runs if item.hyperparameters["weight_decay"] == 5e-5}
    assert widths == {48, 64, 256, 512, 1024}
    for name in ("demo", "table", "scaling", "paper"):
        labels = [item.hyperparameters.get("labels") for item in make_plan(STUDY, name).members]
        assert labels.count("shuffled") == STUDY.presets[name].seeds


def test_the_lr_falls_from_where_the_probe_looks():
    (grid,) = STUDY.presets["paper"].grids
    hp = {"lr": 0.01, "warmup_steps": 0, "final_share": 0.0, "decay_share": 0.1, "steps": grid.steps}
    given = {name: torch.tensor(value, dtype=torch.float64) for name, value in hp.items()}
    lrs = [
        float(WarmupStableDecay().lr(torch.tensor(before_decay(grid.steps) + shift), given))
        for shift in (-1, 0, 1, 500, 999)
    ]
    np.testing.assert_allclose(lrs, [0.01, 0.01, 0.01 * 0.999, 0.005, 1e-5], rtol=1e-9)
    assert grid.schedule is WarmupStableDecay


@pytest.mark.parametrize("steps", [0, 1, 7, 20, 333, 10_000])
def test_weights_are_kept_wherever_solutions_are_measured(steps):
    """So that they can be measured again without training, whatever the number of steps is set to."""
    grid = STUDY.presets["demo"].grids[0]
    at = {probe.name: list(probe.at(steps)) for probe in grid.probes if isinstance(probe, TableProbe)}
    assert at["weights"] == at["solutions"]


def test_shares_at_which_weights_are_kept_are_shares():
    assert list(Weights(shares=(0.25, 1.0), steps=(3,), at_end=False).at(8)) == [2, 3, 8]
    with pytest.raises(ConfigurationError, match=r"probe weights: got shares \(0.5, 1.5\), allowed numbers"):
        Weights(shares=(0.5, 1.5))


@pytest.mark.parametrize("preset", ["demo", "table", "scaling", "paper"])
def test_what_may_be_set_may_be_set(preset):
    given = {"modulus": 31, "width": 100, "weight_decay": 3e-5, "lr": 0.02, "train_share": 0.5}
    plan = make_plan(STUDY, preset, overrides={**given, "steps": 300}, seeds=1)
    assert plan.kind == PlanKind.VARIANT
    assert all(
        {name: item.hyperparameters[name] for name in given} == given and item.trial.steps == 300
        for item in plan.members
        if item.trial.task == TASK
    )
    for name, value in given.items():
        alone = make_plan(STUDY, preset, overrides={name: value}, seeds=1)
        assert sum(item.trial.task == TASK for item in alone.members) > 1


@pytest.mark.parametrize("modulus", [24, 3])
def test_a_modulus_without_constructions_is_refused_before_anything_runs(modulus):
    with pytest.raises(ConfigurationError, match=rf"probe solutions: modulus: got {modulus}, allowed odd"):
        make_plan(STUDY, "table", overrides={"modulus": modulus})


@pytest.mark.slow
def test_the_smoke_preset_runs_and_fills_every_table():
    plan = make_plan(STUDY, "smoke", seeds=1)
    assert plan.kind == PlanKind.SMOKE
    recorder, results = finished(plan)
    assert [result.state for result in results] == [State.DONE] * len(list(plan.members))
    for table in STUDY.tables():
        rows = recorder.rows(table.name)
        assert {column.name for column in table.columns} < set(rows)
        assert all(len(values) > 0 for values in rows.values())
    steps = recorder.rows("networks")["step"]
    assert sorted(set(steps.tolist())) == [0, 18, 20]
