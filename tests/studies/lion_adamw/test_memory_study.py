"""The half about memory: its presets, its claims' sizes, and one crossing of each arm on trained networks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from gradlaw.claim import Slope
from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.engine.run import run_pack
from gradlaw.planning.grid import expand
from gradlaw.planning.plan import make_plan
from gradlaw.random import streams_of
from gradlaw_studies.lion_adamw.claims_memory import MEMORY_CLAIMS
from gradlaw_studies.lion_adamw.settings import BETAS, SETTINGS, SOURCE
from gradlaw_studies.lion_adamw.study import STUDY, TASKS, source, twins, whole


def finish(pack):
    recorder = MemoryRecorder()
    for _ in run_pack(pack, recorder, compile="never"):
        pass
    return recorder


@pytest.mark.parametrize("preset", ["demo", "memory", "paper"])
def test_presets_that_decide_have_at_least_sixteen_seeds(preset):
    assert STUDY.presets[preset].seeds >= 16


def test_every_claim_is_made_of_every_task_with_its_gate_and_controls():
    suffixes = [
        next(task for task in (*SETTINGS, SOURCE.task) if claim.name.endswith(task))
        for claim in MEMORY_CLAIMS
    ]
    assert Counter(suffixes) == {**dict.fromkeys(SETTINGS, 11), SOURCE.task: 4}
    for claim in MEMORY_CLAIMS:
        assert claim.gate
        assert {item.expect for item in claim.controls} == {"supported", "refuted"}


def test_betas_lie_on_both_sides_and_the_formula_gives_one_sign():
    sides = Counter(np.sign(beta1 - beta2) for beta1, beta2 in BETAS)
    assert min(sides[-1.0], sides[0.0], sides[1.0]) >= 2
    tests = {
        claim.name.split("_digits")[0]: claim.test for claim in MEMORY_CLAIMS if claim.name.endswith("mlp")
    }
    assert isinstance(tests["one_norm"], Slope)
    assert tests["one_norm"].direction == tests["one_norm_below"].direction == "less"


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_a_setting_says_what_its_task_has(setting):
    declared = {item.name for item in TASKS[setting.task].hyperparameters if item.structural}
    assert set(setting.values) <= declared
    task = TASKS[setting.task](**setting.values)
    assert len(task.split(streams_of(0)).train) == setting.num_train
    assert {setting.decisive, setting.early} <= set(setting.thresholds)


def test_learning_rates_share_a_horizon():
    grids = whole(SETTINGS["digits_mlp"], (1e-3, 5e-4))
    horizons = {point["lr"] * point["steps"] for point in grids[0].points}
    assert sorted(horizons) == pytest.approx([0.44] * len(horizons))


def test_twins_share_every_random_number_and_one_pack():
    setting = replace(
        SETTINGS["digits_mlp"], steps=5, values={"width": 2, "test_share": 0.5}, thresholds=(9.0,)
    )
    (pack,), _ = expand("study", (twins(setting),), (3,))
    rows = finish(pack).rows("matched_loss")
    assert rows["step"].tolist() == [0, 0, 0], "a threshold above the start is crossed at step 0"
    assert len(set(rows["grad_l1"])) == 1


@pytest.mark.slow
def test_the_sources_setting_trains_on_small_files(tmp_path):
    from cifar_files import served_from, write_files

    write_files(tmp_path)
    with served_from(tmp_path):
        small = {"depth": 14, "width": 2, "train_rows": 40, "test_rows": 12}
        grids = [
            replace(
                grid,
                values={**grid.values, **small},
                points=tuple({**point, "steps": 2} for point in grid.points[:2]),
                target=replace(grid.target, value=9.0),
                probes=(grid.probes[0], replace(grid.probes[1], thresholds=(9.0,), num_iterations=2)),
                accumulate=4,
            )
            for grid in source()
        ]
        packs, _ = expand("study", grids, (0,))
        assert [len(pack.members) for pack in packs] == [2, 1]
        for pack in packs:
            rows = finish(pack).rows("matched_loss")
            assert rows["step"].tolist() == [0] * len(pack.members)
            assert np.isfinite(rows["sharpness"]).all()


def test_the_smoke_preset_holds_every_arm():
    members = list(make_plan(STUDY, "smoke").members)
    rules = Counter(member.trial.rule.partition("@")[0] for member in members)
    assert {"adamw", "lion", "adamw_twin", "lion_penalized"} <= set(rules)
