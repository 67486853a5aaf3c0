"""``gradlaw run``: exit codes, streams, interrupts, and what it leaves behind.

As a process where it is interrupted, and once where it is used wrongly; else in this one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from held import STUDIES, committed, states

from gradlaw.cli import main
from gradlaw.launch.scratch import OWNER
from gradlaw.planning.planned import plan_study
from gradlaw.planning.shard import Shard
from gradlaw.store.process import this_process
from gradlaw.store.store import Store

TINY, TROUBLED, CLAIMED = (str(STUDIES / name) for name in ("tiny", "troubled", "claimed"))


Run = Callable[..., subprocess.CompletedProcess[str]]


def in_a_process(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """As whoever types it has it."""
    return subprocess.run(
        [sys.executable, "-m", "gradlaw.cli", *words], cwd=cwd, capture_output=True, text=True, timeout=400
    )


@pytest.fixture
def gradlaw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """The same in this process: a command, and a new one, from an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["gradlaw", *words])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return subprocess.CompletedProcess(words, code, *capfd.readouterr())

    return run


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ([], "-- what we want"),
        (["--format", "csv"], "--what = we"),
        (["--"], "-- what"),
        ([], "--lr=0.1 and 0.2"),
    ],
)
def test_a_query_may_begin_with_a_comment(gradlaw: Run, words: list[str], first: str) -> None:
    Store.create("results")
    asked = gradlaw("sql", *words, f"{first}\nSELECT 6 * 7 AS answer")
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.splitlines()[0].strip() == "answer"
    assert "42" in asked.stdout


def test_a_misspelt_option_is_no_query(gradlaw: Run) -> None:
    for words in (["--stroe", "x"], ["--stroe=a b"]):
        asked = gradlaw("sql", *words, "SELECT 1")
        assert asked.returncode == 2
        assert "--stroe" in asked.stderr


def heed_interrupts() -> None:
    """As at a terminal: a process begun in the background would be born deaf to interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted(
    launcher: str, tmp_path: Path, short: str
) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A run of several slow packs, interrupted as a terminal does it once one pack is committed."""
    command = [sys.executable, "-m", "gradlaw.cli", "run", TROUBLED, "--preset", "slow", "--seeds", "6"]
    command += ["--set", "steps=40", "--launcher", launcher, "--store", str(tmp_path / "store")]
    env = os.environ | {"TMPDIR": short}  # Ray's sockets lie in it, whose paths are at most 107 bytes long
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=env,
        preexec_fn=heed_interrupts,
    )
    end = time.monotonic() + 400
    while not any((tmp_path / "store").glob("trials/*/*.parquet")):
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    return process, children


def abandoned(prefix: str, place: str) -> None:
    """Makes a folder as a killed run leaves it."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    (folder / OWNER).write_text(json.dumps(this_process()._asdict() | {"pid": ended.pid}))


@pytest.fixture
def short() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="g", dir="/tmp") as folder:  # so that Ray's folder is in it too
        yield folder


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["inline", "ray"])
def test_an_interrupt_keeps_what_is_committed_and_leaves_nothing_behind(
    launcher: str, tmp_path: Path, short: str, gradlaw: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("gradlaw-tune-", "gradlaw-ray-") if launcher == "ray" else ():
        abandoned(kind, short)
    process, children = interrupted(launcher, tmp_path, short)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert out == ""
    assert "interrupted: what is committed is kept" in err
    assert "Traceback" not in err
    gone, alive = psutil.wait_procs(children, timeout=60)
    assert not alive, [child.cmdline() for child in alive]
    assert launcher == "inline" or len(gone) > 3
    assert not list(Path(short).glob("gradlaw-*")), "what killed runs left goes too"
    kept = len(committed(tmp_path / "store"))
    assert 0 < kept < 6
    words = ["run", TROUBLED, "--preset", "slow", "--seeds", "6", "--set", "steps=40", "--launcher", "inline"]
    monkeypatch.setenv("TROUBLED_HURRY", __file__)
    again = gradlaw(*words, "--store", str(tmp_path / "store"))
    assert again.returncode == 0, again.stderr
    assert f"12 trials, {kept}" not in again.stderr
    assert f"6 trials, {kept} in the store, {6 - kept} to run" in again.stderr
    assert states(tmp_path / "store") == {"done": 6}


def test_nothing_on_stdout(tmp_path: Path, gradlaw: Run) -> None:
    """With Ray: in test_tour.py."""
    done = gradlaw("run", TINY, "--seeds", "1", "--launcher", "inline")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].endswith("2 trials, 0 in the store, 2 to run in 1 packs")
    assert "2 done" in lines[-1]
    assert all("trials" in line for line in lines[:-1]), lines
    assert states(tmp_path / "results") == {"done": 2}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "nowhere"], "unknown study 'nowhere'; known: "),
        (["run", TINY, "--preset", "dmeo"], "unknown preset of study tiny 'dmeo'; did you mean 'demo'?"),
        (["run", TINY, "--launcher", "slurm"], "unknown launcher 'slurm'; known: inline, ray"),
        (
            ["run", TINY, "--set", "learning_rate=1"],
            "learning_rate: unknown hyperparameter; known: batch_size",
        ),
        (["run", TINY, "--seeds", "0"], "seeds: got 0, allowed >= 1"),
        (["run", TROUBLED], "unknown preset of study troubled 'demo'"),
        (["run", CLAIMED, "--preset", "few"], "seeds"),
    ],
)
def test_wrong_usage_ends_with_2_before_anything_is_written(
    words: list[str], said: str, tmp_path: Path, gradlaw: Run
) -> None:
    done = gradlaw(*words, *([] if "--launcher" in words else ["--launcher", "inline"]))
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    impossible = "lr=-1,warmup_steps=41,batch_size=9,sampling=epoch,speed=3"
    done = in_a_process("run", TINY, "--set", impossible, "--launcher", "inline", cwd=tmp_path)
    assert done.returncode == 2
    for fault in (
        "lr: got -1, allowed >= 0",
        "warmup_steps: got 41, allowed 0 .. steps = 40",
        "batch_size: got 9, allowed 0 .. 8",
        "speed: unknown hyperparameter",
    ):
        assert fault in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_what_the_engine_refuses_ends_with_2(more: tuple[str, ...], gradlaw: Run) -> None:
    words = ["run", TROUBLED, "--preset", "asking", "--launcher", "inline"]
    done = gradlaw(*words, *more)
    assert done.returncode == 2
    assert "task asking: torch.vmap refuses an operation in `scale = params" in done.stderr
    assert "set `vmappable = False` on the task." in done.stderr
    assert "Traceback" not in done.stderr


BAD_DATA = """\
import torch
from torch import nn
from gradlaw import Grid, Preset, Study, Task

points, classes = torch.zeros(8, 2), torch.arange(8)
points[3, 1] = float("nan")
task = Task.from_module("bad", lambda: nn.Linear(2, 4), nn.functional.cross_entropy, (points, classes))
"""


@pytest.mark.parametrize("kind", ["study", "sweep"])
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_bad_data_end_with_2(kind: str, more: tuple[str, ...], tmp_path: Path, gradlaw: Run) -> None:
    folder = tmp_path / "bad_data"
    folder.mkdir()
    (folder / "study.py").write_text(BAD_DATA)
    (folder / "bad_task.py").write_text(BAD_DATA)
    (folder / "sweep.yaml").write_text("task: bad_task:task\nsteps: 3\n")
    path = folder if kind == "study" else folder / "sweep.yaml"
    done = gradlaw("run", str(path), "--launcher", "inline", *more)
    assert done.returncode == 2, done.stderr
    assert "inputs: got 1 numbers that are not finite in 1 rows, first in row 3" in done.stderr
    assert "targets: got 4 classes that have no output, first 4 in row 4; allowed: 0 .. 3" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_trial_that_failed_for_good_ends_with_1(gradlaw: Run) -> None:
    words = ["run", TROUBLED, "--preset", "slow", "--seeds", "1", "--time-limit-s", "0.2"]
    done = gradlaw(*words, "--launcher", "inline")
    assert done.returncode == 1
    assert "1 failed" in done.stderr


def test_a_share_without_trials_says_so(gradlaw: Run) -> None:
    plan = plan_study(TINY).plan
    empty = next(n for n in range(1, 51) if not Shard(n, 50).of(plan).packs)
    done = gradlaw("run", TINY, "--shard", f"{empty}/50")
    assert done.returncode == 0, done.stderr
    assert f"{plan.plan_id}: no trial has ended; " in done.stderr


def test_a_dry_run_writes_nothing(tmp_path: Path, gradlaw: Run) -> None:
    done = gradlaw("run", TINY, "--dry-run")
    assert done.returncode == 0
    assert "12 trials, 6 seeds" in done.stdout
    assert "to run: 12 trials in 3 packs, 480 trial-steps" in done.stdout
    assert not list(tmp_path.iterdir())
