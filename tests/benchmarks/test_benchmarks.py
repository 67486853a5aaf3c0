"""The benchmarks run, print JSON lines, and refuse to compare arms that do not do the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradlaw.task import Taps
from gradlaw.tasks.modular_addition import ModularAddition

FOLDER = Path(__file__).parents[2] / "benchmarks"
CASE = "modular_addition_7_32"
ALONE = ("torch_optim", "torch_optim_compiled")
PROGRAM = """
import runpy, sys
from importlib.machinery import PathFinder

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {blocked} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Bare
sys.argv = {argv}
sys.path.insert(0, {folder!r})
runpy.run_path(sys.argv[0], run_name="__main__")
"""
BLOCKED = {
    *("ray", "duckdb", "pydantic", "typer", "rich", "jinja2", "yaml", "optuna", "pandas", "scipy", "seaborn"),
    *("matplotlib", "sklearn", "jax", "optax", "gradlaw_analysis", "gradlaw_studies"),
}


def lines(command: list[str]) -> list[dict[str, Any]]:
    """What a script prints, each line parsed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def alone(*argv: str) -> list[str]:
    """A script in a Python that has torch, numpy, pyarrow and safetensors alone."""
    argv = (str(FOLDER / argv[0]), *argv[1:])
    return [sys.executable, "-c", PROGRAM.format(blocked=BLOCKED, argv=list(argv), folder=str(FOLDER))]


def test_what_is_blocked_is_not_there() -> None:
    code = PROGRAM.format(blocked=BLOCKED, argv=[""], folder=str(FOLDER)).rpartition("runpy.run")[0]
    asked = f"from importlib.util import find_spec; print([n for n in {sorted(BLOCKED)} if find_spec(n)])"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{asked}"], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_gpu_tells_that_there_is_none_with_torch_alone() -> None:
    (line,) = lines(alone("gpu.py"))
    assert (line["benchmark"], line["device"]) == ("gpu", None)
    assert "no CUDA device" in line["skipped"]


@pytest.mark.slow
def test_gpu_measures_with_torch_alone() -> None:
    how = ("--device", "cpu", "--quick", "--case", CASE, "--case", "digits_1", "--width", "2")
    floor, *measured = lines(alone("gpu.py", *how))
    assert floor["arm"] == "floor"
    assert [(line["case"], line["arm"], line["width"]) for line in measured] == [
        (CASE, "vmap_eager", 2),  # and no digits, which scikit-learn holds
        (CASE, "gradlaw", 2),
        (CASE, "torch_optim", 1),
        (CASE, "torch_optim_compiled", 1),
    ]
    for line in measured:
        trials_per_s = 1e3 / line["ms_per_trial_step"] / 1000
        assert line["trials_per_s"] == pytest.approx(trials_per_s, rel=0.01, abs=1e-3)
        assert line["matmul_share"] > 0


def test_gpu_begins_nothing_when_its_time_is_over() -> None:
    command = alone("gpu.py", "--device", "cpu", "--quick", "--case", CASE, "--minutes", "0")
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"{CASE}: floor: left out, the time is over" in done.stderr


@pytest.mark.slow
def test_packing_prints_a_line_an_arm() -> None:
    pytest.importorskip("jax")
    command = [sys.executable, str(FOLDER / "packing.py"), "--quick", "--case", CASE, "--width", "2"]
    found = {line["arm"]: line for line in lines([*command, "--repeats", "1"])}
    assert list(found) == ["floor", *ALONE, "vmap_eager", "jax", "gradlaw"]
    for arm, line in found.items():
        assert (line["benchmark"], line["case"]) == ("packing", CASE)
        assert line["ms_per_trial_step"] > 0
        assert {"machine", "versions", "date"} <= set(line)
        if arm != "floor":
            assert line["width"] == (1 if arm in ALONE else 2)
            assert line["min"] <= line["ms_per_trial_step"]
    assert set(found["gradlaw"]["times_as_long"]) == {*ALONE, "vmap_eager", "jax"}


def test_packing_names_the_cases_there_are() -> None:
    command = [sys.executable, str(FOLDER / "packing.py"), "--case", "modular"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert CASE in done.stderr


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that lets arms take turns, imported as the scripts do."""
    monkeypatch.syspath_prepend(FOLDER)
    return __import__("_race")


@pytest.mark.parametrize("case", [CASE, "digits_32"])
def test_arms_with_other_losses_are_not_compared(
    race: Any, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = __import__("_cases").CASES[case]
    arms = ("torch_optim", "vmap_eager")
    race.check(chosen, arms, "cpu")
    vmap_eager = race.VmapEager
    monkeypatch.setattr(vmap_eager, "trace", lambda self, steps: np.full((steps, 2), 1.0))
    with pytest.raises(SystemExit, match="vmap_eager gather: losses differ"):
        race.check(chosen, arms, "cpu")


def test_floor_counts_flops_as_a_profiler_does(race: Any) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    cases, arms = __import__("_cases"), __import__("_arms")
    for name in (CASE, "modular_addition_23_64", "digits_32"):
        case = cases.CASES[name]
        problem = cases.make_problem(case, [0])
        arm = arms.TorchOptim(problem, "default+eager+gather")
        with FlopCounterMode(display=False) as counter:
            arm.advance(1)
        assert counter.get_total_flops() == cases.work_of(case).matmul_flops


@pytest.mark.slow
def test_sweep_tells_the_parts_of_its_time() -> None:
    command = [sys.executable, str(FOLDER / "sweep.py"), "--quick", "--case", CASE]
    found = lines([*command, "--arm", "plain_loop", "--arm", "gradlaw_inline"])
    assert {line["arm"]: line["compile_cache"] for line in found} == {
        "gradlaw_inline": "cold",
        "plain_loop": "none",
    }
    for line in found:
        assert (line["benchmark"], line["trials"], line["steps"], line["workers"]) == ("sweep", 40, 200, 1)
        assert 0 < line["commit_s"] < line["total_s"]
        parts = line["start_up_s"] + line["compute_s"] + line.get("beside_training_s", line["commit_s"])
        assert parts == pytest.approx(line["total_s"], rel=0.3)


def test_loops_of_the_sweep_train_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    trial = __import__("_sweep_plain").PlainTrial(7, 32, lr=0.005, weight_decay=1e-4, seed=0)
    params = {name: value.detach().clone() for name, value in trial._params.items()}
    first, second, target = trial._batch
    task = ModularAddition(modulus=7, width=32)
    loss = task.loss(params, {}, (first, second, target.argmax(dim=1)), None, Taps()).loss
    assert trial.advance(20) == pytest.approx(float(loss), rel=1e-6)
    assert trial.advance(1) < 0.9 * float(loss)
    assert len(first) == 44  # of 49 rows


def test_curvature_compares_each_task_of_the_study() -> None:
    found = lines([sys.executable, str(FOLDER / "curvature.py"), "--quick"])
    assert [(line["task"], line["trials"]) for line in found] == [
        ("digits_mlp", 2),
        ("modular_addition", 2),
        ("digits_conv", 2),
    ]
    for line in found:
        assert line["ratio"] == pytest.approx(line["alone_ms"] / line["together_ms"], rel=0.02)


@pytest.mark.slow
def test_rounds_tells_what_lies_between_them() -> None:
    (line,) = lines([sys.executable, str(FOLDER / "rounds.py"), "--quick", "--launcher", "inline"])
    assert (line["benchmark"], line["launcher"], line["rounds"], line["packs"]) == ("rounds", "inline", 3, 3)
    assert line["trials"] == 2 * 4 + 2, "two rounds of four, and the best on two seeds"
    assert 0 < line["between_s"] <= line["between_most_s"]
