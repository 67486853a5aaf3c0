"""A batch job over two nodes: Ray with a token, the time limit in the middle, and the job that goes on."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from batch_jobs import Job, Slurm
from held import STUDIES, committed, counting, states
from typer.testing import CliRunner

from gradlaw.cli import app

SEEDS, STEPS = 6, 450  # three packs of 45 seconds for two nodes, one waits; the second job hurries
TOKEN = "c" * 64


@pytest.fixture
def jobs() -> Iterator[list[Job]]:
    started: list[Job] = []
    yield started
    for job in started:
        job.close()


def _await(happened: Callable[[], bool], job: Job) -> None:
    end = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < end, job.log
        assert job.process.poll() is None, job.log
        time.sleep(0.05)


def _gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=200)[1]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_time_limit_ends_a_job_cleanly_and_the_next_one_finishes_each_trial_once(
    tmp_path: Path, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process of Ray is left, no token is written down, and the curves are as the formula gives them."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    hurry = tmp_path / "hurry"
    monkeypatch.setenv("TROUBLED_HURRY", str(hurry))
    slurm, script, store = Slurm(tmp_path / "stubs"), tmp_path / "job.sbatch", tmp_path / "store"
    words = ["submit", str(STUDIES / "troubled"), "--preset", "slow", "--seeds", str(SEEDS)]
    words += ["--set", f"steps={STEPS}", "--compile", "never", "--store", str(store)]
    words += ["--slurm", "--nodes", "2", "--cpus-per-task", "1"]
    result = CliRunner().invoke(app, [*words, "--time", "30", "--out", str(script)])
    assert result.exit_code == 0, result.output
    log = tmp_path / "log"

    first = slurm.start(script, nodes=2, log=log)
    jobs.append(first)
    _await(lambda: len(list(store.glob("_leases/*/*.json"))) == 2, first)
    processes = first.tree()
    assert any("raylet" in process.name() for process in processes)
    first.time_is_up()
    assert first.wait() == 143, first.log
    assert _gone(processes)
    assert re.search(r"^ok +nodes +2 joined \(2 CPUs, 0 GPUs\)$", first.log, re.MULTILINE), first.log
    assert "it asks for a token" in first.log
    assert [step.split()[2] for step in slurm.steps] == ["--nodelist=localhost"]
    assert slurm.sent == [f"--parsable --dependency=afterany:101 {script} 1"]
    assert first.log.endswith("what is left goes on in job 102\n"), first.log
    assert len(list(store.glob("_checkpoints/*.json"))) == 2
    assert not list(store.glob("_leases/*/*.json")), "the next job need not wait for them"
    assert committed(store) == []

    hurry.touch()
    second = slurm.start(script, "1", nodes=2, log=log)
    jobs.append(second)
    assert second.wait() == 0, second.log
    assert second.log.count("goes on from its checkpoint") == 2
    assert len(slurm.sent) == 1, "what is complete is not sent again"
    assert states(store) == {"done": SEEDS}
    assert len(committed(store)) == SEEDS
    curves = counting(store, "metrics")
    assert len(curves) == len({(row["trial_id"], row["step"]) for row in curves})
    for trial_id in {row["trial_id"] for row in curves}:
        losses = {row["step"]: row["loss"] for row in curves if row["trial_id"] == trial_id}
        assert max(losses) == STEPS
        assert {step: loss / losses[0] for step, loss in losses.items()} == {
            step: 0.25**step for step in losses
        }
    for text in (script.read_text(), log.read_text(), (slurm.folder / "environment").read_text()):
        assert TOKEN not in text
