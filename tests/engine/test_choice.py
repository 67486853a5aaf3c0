"""How a pack is run where nobody says: eagerly unless compiling pays, as noted before, and always rightly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch._dynamo.utils import counters

from gradlaw.engine import choice
from gradlaw.rules import SGD

Train = Callable[..., Any]
ARMS = tuple({"lr": 0.01 * k} for k in range(1, 9))


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_a_small_pack_runs_eagerly_and_leaves_nothing_behind(
    train: Train, least_squares: Any, cache_folder: Path
) -> None:
    trained = train(least_squares(), SGD(), ARMS, steps=100)
    execution = trained.results[0].execution
    assert (execution.mode, execution.width, execution.reason) == ("eager", 8, "")
    assert list(cache_folder.iterdir()) == []


def test_time_that_a_step_only_waits_does_not_count(
    train: Train, least_squares: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine that others use: a process that waits for its turn has no more work than before."""
    measured: list[float] = []
    step_s = choice._step_s

    def kept(*given: Any) -> float:
        measured.append(step_s(*given))
        return measured[-1]

    class Waiting(least_squares):
        def loss(self, *given: Any) -> Any:
            if not measured:
                time.sleep(0.1)
            return super().loss(*given)

        def to(self, *_: object) -> Any:
            return self

    monkeypatch.setattr(choice, "_step_s", kept)
    train(Waiting(), SGD(), ARMS, steps=100)
    assert 0.0 < measured[0] < 0.05


def test_a_task_that_cannot_be_batched_runs_alone_and_says_so(train: Train, least_squares: Any) -> None:
    task = least_squares()
    kind = type("Single", (least_squares,), {"vmappable": False})
    kind.to = lambda self, device, dtype: self
    single = train(kind(), SGD(), ARMS[:2], compile="always")
    execution = single.results[0].execution
    assert (execution.mode, execution.width) == ("loop", 1)
    assert execution.reason == "task least_squares cannot be vmapped"
    packed = train(task, SGD(), ARMS[:2])
    np.testing.assert_allclose(single.weights(1), packed.weights(1), rtol=1e-9)


@pytest.mark.slow
def test_the_noted_width_is_taken_without_a_search(
    train: Train, least_squares: Any, cache_folder: Path
) -> None:
    """What another process noted stands for this machine; what cannot be read does not."""
    least_squares = type("Own", (least_squares,), {})  # no other test compiled for it
    train(least_squares(), SGD(), ARMS, compile="always", width=4)
    assert not (cache_folder / "gradlaw").exists()  # what was asked for is not what is best
    train(least_squares(), SGD(), ARMS, compile="always")
    (note,) = (cache_folder / "gradlaw").iterdir()
    assert json.loads(note.read_text())["step_s"] > 0.0
    note.write_text(json.dumps({"width": 4, "step_s": 1e-9}))
    counters.clear()
    trained = train(least_squares(), SGD(), tuple({"lr": 0.02 * k} for k in range(1, 9)), compile="always")
    assert (trained.results[0].execution.mode, trained.results[0].execution.width) == ("compiled", 4)
    assert counters["inductor"]["fxgraph_cache_miss"] == 0
    note.write_text("{")
    trained = train(least_squares(), SGD(), ARMS, compile="always")
    assert trained.results[0].execution.width != 4
    assert json.loads(note.read_text())["width"] > trained.results[0].execution.width  # for larger packs


RUN = """
import json, torch
from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.engine.run import run_pack
from gradlaw.pack import Member, Pack, Training
from gradlaw.rules import SGD
from gradlaw.schedules import Constant
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw.trial import Trial

torch.set_num_threads(1)

def losses(compile, lr):
    training = Training(task=ModularAddition(modulus=3, width=2), rule=SGD(), schedule=Constant(), steps=5)
    values = {item.name: item.default for item in training.rule.hyperparameters} | {"lr": lr}
    trial = Trial(task="t", hyperparameters=values, seed=1, steps=5)
    member = Member(trial=trial, hyperparameters=values)
    pack = Pack(pack_id="p", study="s", program=training, members=(member,))
    recorder = MemoryRecorder()
    run = run_pack(pack, recorder, compile=compile)
    while True:
        try:
            next(run)
        except StopIteration as end:
            execution = end.value[0].execution
            return execution.mode, execution.reason, recorder.rows("metrics")["loss"].tolist()

print(json.dumps([losses("always", 0.1), losses("always", 0.2), losses("never", 0.2)]))
"""
BROKEN = """#!/bin/sh
case "$*" in *-v*) echo "g++ (GCC) 13.2.0" ;; *) exit 1 ;; esac
"""


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["missing", "broken"])
def test_without_a_compiler_steps_run_eagerly_and_that_is_said(compiler: str, tmp_path: Path) -> None:
    """In a process of its own, whose compiler is not there, or compiles nothing."""
    script = tmp_path / "g++"
    if compiler == "broken":
        script.write_text(BROKEN)
        script.chmod(0o755)
    own = {"CXX": str(script), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", RUN], env=os.environ | own, capture_output=True, text=True, check=True
    )
    first, second, eager = json.loads(done.stdout)
    said = "no C++ compiler: " if compiler == "missing" else "not compiled: "
    for mode, reason, _ in (first, second):
        assert mode == "eager"
        assert reason.startswith(said)
    assert second[2] == eager[2]
    assert eager[:2] == ["eager", ""]
    times = done.stderr.count("CompileWarning: steps run eagerly, " + said)
    assert times == 1 if compiler == "missing" else times >= 1
