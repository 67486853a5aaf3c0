"""The batch script: what it asks for, what is refused, and when it is sent again."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch_jobs import Job, Slurm
from held import STUDIES, states
from typer.testing import CliRunner, Result

from gradlaw.cli import app
from gradlaw.errors import ConfigurationError, UsageError

TINY = str(STUDIES / "tiny")
FAKE_PYTHON = """
[ "$2" = -c ] && exit 0
trap 'exit {at_signal}' TERM
echo "python $*"
for _ in $(seq {rounds}); do sleep 0.1; done
exit {code}
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    return tmp_path / "store"


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    return Slurm(tmp_path / "stubs")


def _submit(store: Path, *words: str, study: str = TINY) -> Result:
    return CliRunner().invoke(app, ["submit", study, "--store", str(store), "--slurm", *words])


def _directives(script: Path) -> list[str]:
    return [line[8:] for line in script.read_text().splitlines() if line.startswith("#SBATCH ")]


def test_what_is_asked_of_slurm(tmp_path: Path, store: Path) -> None:
    script = tmp_path / "a job.sbatch"
    words = ["--nodes", "3", "--gpus-per-node", "4", "--cpus-per-task", "16", "--time", "1-12", "--partition"]
    words += ["gpu,long", "--account", "proj-1", "--sbatch", "--mem=64G", "--sbatch", "--exclusive"]
    assert _submit(store, *words, "--out", str(script)).exit_code == 0
    assert _directives(script) == [
        "--job-name=gradlaw-tiny",
        "--nodes=3",
        "--ntasks-per-node=1",
        "--cpus-per-task=16",
        "--gpus-per-node=4",
        "--time=1-12",
        "--signal=B:USR1@120",
        "--no-kill",
        "--partition=gpu,long",
        "--account=proj-1",
        f"--chdir={Path.cwd()}",
        f"--output={tmp_path}/%x-%j.log",
        "--open-mode=append",
        "--requeue",
        "--mem=64G",
        "--exclusive",
    ]
    assert script.read_text().splitlines()[1].startswith("#SBATCH"), "before any command"


@pytest.mark.parametrize("words", [["--nodes", "2"], ["--no-ray", "--array", "3"]])
def test_the_script_is_a_shell_s(words: list[str], tmp_path: Path, store: Path) -> None:
    script = tmp_path / "job's $(date).sbatch"
    setup = "module load python; source 'my venv/bin/activate'"
    assert _submit(store, *words, "--setup", setup, "--out", str(script)).exit_code == 0
    subprocess.run(["bash", "-n", str(script)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(script)], check=True)
    assert setup in script.read_text()
    assert f"SCRIPT={shlex.quote(str(script))}" in script.read_text()


def test_words_of_the_run_reach_it_as_they_are(tmp_path: Path, store: Path, slurm: Slurm) -> None:
    store = store.with_name("it's a $store")
    job = _fake(store, tmp_path, slurm, "--set", "lr=[0.1,0.2]")
    assert job.wait() == 0
    words = f"run {TINY} --store {store} --set lr=[0.1,0.2] --launcher inline --shard 2/3"
    assert f"python -P -m gradlaw.cli {words}\n" in job.log


def test_the_token_is_named_not_written_down(tmp_path: Path, store: Path) -> None:
    script = tmp_path / "job.sbatch"
    assert _submit(store, "--out", str(script)).exit_code == 0
    token = tmp_path / ".ray" / "auth_token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert f"RAY_AUTH_TOKEN_PATH={token}" in script.read_text()
    assert token.read_text() not in script.read_text()


@pytest.mark.parametrize(("content", "mode"), [("abc", 0o644), ("", 0o600)])
def test_a_token_that_others_read_or_that_is_empty_is_refused(
    content: str, mode: int, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text(content)
    token.chmod(mode)
    monkeypatch.setattr("gradlaw.submit.slurm.is_shut", lambda folder: False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    result = _submit(store, "--out", str(tmp_path / "job.sbatch"))
    assert isinstance(result.exception, UsageError)
    assert ("chmod 600" if content else f"rm {token}") in str(result.exception)
    assert not (tmp_path / "job.sbatch").exists()


def test_all_faults_at_once(tmp_path: Path, store: Path) -> None:
    words = [
        "--nodes",
        "0",
        "--gpus-per-node",
        "-1",
        "--time",
        "4h",
        "--partition",
        "a b",
        "--account",
        "x;y",
    ]
    words += ["--sbatch", "--mem 64G", "--sbatch", "--time=1", "--interface", "ib0;", "--resubmissions", "-1"]
    result = _submit(store, *words, "--out", str(tmp_path / "job.sbatch"))
    assert isinstance(result.exception, ConfigurationError)
    named = [fault.partition(":")[0] for fault in result.exception.faults]
    assert named == [
        "--nodes",
        "--gpus-per-node",
        "--resubmissions",
        "--time",
        "--partition",
        "--account",
        "--interface",
        "--sbatch",
        "--sbatch",
    ]
    assert not (tmp_path / "job.sbatch").exists()


@pytest.mark.parametrize("name", ["it's", "100%", "a\\b", "a\nb", 'a"b'])
def test_folders_that_slurm_would_read_otherwise_are_refused(name: str, tmp_path: Path, store: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    result = _submit(store, "--out", str(folder / "job.sbatch"))
    assert isinstance(result.exception, UsageError)
    assert "allowed for Slurm no quotes" in str(result.exception)


@pytest.mark.parametrize("time", ["4h", "", "-5", "1:2:3:4", "4", "00:04:59", "1-", "10 ", "²0"])
def test_what_is_no_time_limit_or_too_short_is_refused(time: str, tmp_path: Path, store: Path) -> None:
    result = _submit(store, "--time", time, "--out", str(tmp_path / "job.sbatch"))
    assert isinstance(result.exception, UsageError)
    assert f"--time: got {time!r}, allowed" in str(result.exception)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "--out: got none"),
        (["--out", "x", "--no-ray"], "--no-ray alone"),
        (["--out", "x", "--array", "3"], "--array alone"),
        (["--out", "x", "--address", "http://h:8265"], "--address: got with --slurm"),
        (["--out", "x", "--no-ray", "--array", "2", "--nodes", "2"], "--nodes: got 2 with --no-ray"),
        (["--out", "x", "--no-ray", "--array", "2", "--shard", "1/2"], "--shard: got '1/2' with submit"),
        (["--out", "x", "--no-ray", "--array", "2", "--launcher=ray"], "--launcher: got with --no-ray"),
        (["--out", "x", "--no-ray", "--array", "2", "--gpus", "0.5"], "--gpus: got with --no-ray"),
        (["--out", "x", "--shard", "1/2"], "shares are --slurm --no-ray --array N"),
        (["--out", "x", "--no-ray", "--array", "0"], "--array: got 0, allowed >= 1"),
    ],
)
def test_what_cannot_be_meant_together_is_refused(
    words: list[str], named: str, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = _submit(store, *words)
    assert isinstance(result.exception, UsageError)
    assert named in str(result.exception)


def _stub_python(tmp_path: Path, text: str) -> Path:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir(exist_ok=True)
    python.write_text(f"#!/bin/bash\n{text}\n")
    python.chmod(0o755)
    return python


def _job_after(setup: str, store: Path, tmp_path: Path, slurm: Slurm) -> Job:
    """A job whose setup names the stub ``python`` as it names any other, by PATH."""
    script = tmp_path / "job.sbatch"
    asked = ["--no-ray", "--array", "3", "--setup", setup, "--out", str(script)]
    assert _submit(store, *asked).exit_code == 0
    shares = {"SLURM_ARRAY_JOB_ID": "99", "SLURM_ARRAY_TASK_ID": "2"}
    return slurm.start(script, log=tmp_path / "log", **shares)


@pytest.mark.parametrize(
    "setup",
    [
        "module load nothing; {python}",
        "{python}; source gone/bin/activate",
        "{python}; module load x && true",
    ],
)
def test_a_setup_that_fails_ends_the_job(setup: str, store: Path, tmp_path: Path, slurm: Slurm) -> None:
    _stub_python(tmp_path, "echo it ran")
    job = _job_after(setup.format(python=f"PATH={tmp_path}/bin:$PATH"), store, tmp_path, slurm)
    assert job.wait() == 1
    assert "it ran" not in job.log
    (line,) = [line for line in job.log.splitlines() if "--setup" in line]
    assert re.fullmatch(r"job 101: --setup fails with exit code (1|127): nothing was run .*", line)
    assert slurm.sent == []


def test_a_setup_may_leave_names_unset_and_bear_failures(store: Path, tmp_path: Path, slurm: Slurm) -> None:
    _stub_python(tmp_path, 'echo "it ran $MADE"')
    activate = tmp_path / "activate"
    activate.write_text('false\nexport MADE="here$NEVER_SET"\n')
    setup = f'PATH="{tmp_path}/bin:$PATH"; if [ "$NEVER_SET" ]; then false; fi; false || true; . {activate}'
    job = _job_after(setup, store, tmp_path, slurm)
    assert job.wait() == 0, job.log
    assert "it ran here" in job.log


def test_a_python_without_gradlaw_is_told_in_a_line(store: Path, tmp_path: Path, slurm: Slurm) -> None:
    python = _stub_python(tmp_path, f'exec {shlex.quote(sys.executable)} -I -S "${{@:2}}"')
    job = _job_after(f"PATH={tmp_path}/bin:$PATH", store, tmp_path, slurm)
    assert job.wait() == 1
    (line,) = job.log.splitlines()
    assert line.startswith(f"job 101: no gradlaw in {python}: nothing was run")
    assert slurm.sent == []


@pytest.fixture
def jobs() -> Iterator[list[Job]]:
    started: list[Job] = []
    yield started
    for job in started:
        job.close()


def _fake(store: Path, tmp_path: Path, slurm: Slurm, *words: str, round_: int = 0, **ends: int) -> Job:
    """A share's job whose python waits and ends as it is told to."""
    text = FAKE_PYTHON.format(**({"code": 0, "at_signal": 143, "rounds": 1} | ends))
    python = _stub_python(tmp_path, text)
    script = tmp_path / "job.sbatch"
    setup = f'export PATH={shlex.quote(str(python.parent))}:"$PATH"'
    asked = ["--no-ray", "--array", "3", "--setup", setup, "--resubmissions", "2", "--out", str(script)]
    result = _submit(store, *words, *asked)
    assert result.exit_code == 0, result.output
    shares = {"SLURM_ARRAY_JOB_ID": "99", "SLURM_ARRAY_TASK_ID": "2"}
    return slurm.start(script, *([str(round_)] if round_ else []), log=tmp_path / "log", **shares)


def _begun(job: Job) -> Job:
    end = time.monotonic() + 300
    while "python" not in job.log:
        assert time.monotonic() < end, job.log
        assert job.process.poll() is None or "python" in job.log, job.log
        time.sleep(0.02)
    return job


@pytest.mark.parametrize("code", [0, 1])
def test_a_run_that_ends_by_itself_is_not_sent_again(
    code: int, store: Path, tmp_path: Path, slurm: Slurm
) -> None:
    assert _fake(store, tmp_path, slurm, code=code).wait() == code
    assert slurm.sent == []


def test_what_is_left_at_the_time_limit_is_sent_again(
    store: Path, tmp_path: Path, slurm: Slurm, jobs: list[Job]
) -> None:
    job = _begun(_fake(store, tmp_path, slurm, round_=1, rounds=300))
    jobs.append(job)
    job.time_is_up()
    assert job.wait() == 143
    script = tmp_path / "job.sbatch"
    assert slurm.sent == [f"--parsable --dependency=afterany:99_2 --array=2 {script} 2"]


@pytest.mark.parametrize("why", ["complete", "cancelled", "too often", "refused"])
def test_what_is_not_sent_again(why: str, store: Path, tmp_path: Path, slurm: Slurm, jobs: list[Job]) -> None:
    if why == "refused":
        (slurm.folder / "refuses").touch()
    at_signal = 0 if why == "complete" else 143
    often = 2 if why == "too often" else 0
    job = _begun(_fake(store, tmp_path, slurm, round_=often, at_signal=at_signal, rounds=300))
    jobs.append(job)
    if why == "cancelled":
        job.process.terminate()
    else:
        job.time_is_up()
    assert job.wait() == at_signal
    assert len(slurm.sent) == (why == "refused")
    if why in ("too often", "refused"):
        assert f"sbatch {tmp_path / 'job.sbatch'}" in job.log


def test_sending_gives_the_job_s_id_and_keeps_the_token_out(
    store: Path, tmp_path: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{slurm.folder}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_STUBS", str(slurm.folder))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "d" * 64)
    script = tmp_path / "job.sbatch"
    result = _submit(store, "--out", str(script), "--send")
    assert result.exit_code == 0
    assert "sent: job 102" in result.output
    assert slurm.sent == [f"--parsable {script}"]
    assert "d" * 64 not in (slurm.folder / "environment").read_text()
    (slurm.folder / "refuses").touch()
    refused = _submit(store, "--out", str(script), "--send")
    assert "sbatch refuses" in str(refused.exception)
    assert "Invalid partition" in str(refused.exception)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert f"send it where Slurm is: sbatch {script}" in str(
        _submit(store, "--out", str(script), "--send").exception
    )


def test_an_interface_that_a_node_lacks_is_told_in_a_line(store: Path, tmp_path: Path, slurm: Slurm) -> None:
    script = tmp_path / "job.sbatch"
    assert _submit(store, "--interface", "none0", "--out", str(script)).exit_code == 0
    job = slurm.start(script, log=tmp_path / "log")
    assert job.wait() == 1
    (line,) = job.log.splitlines()
    assert line.startswith("no address of this node by none0: ")
    assert "--interface" in line


def test_a_node_alone_needs_no_way_out(store: Path, tmp_path: Path) -> None:
    """As on sites whose nodes reach nothing but each other."""
    apart = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("networks cannot be taken away here")
    script = tmp_path / "job.sbatch"
    assert _submit(store, "--out", str(script)).exit_code == 0
    find = script.read_text().partition("FIND='")[2].partition("'")[0]
    told = subprocess.run([*apart, sys.executable, "-P", "-c", find, "", ""], capture_output=True, text=True)
    assert told.stdout.split()[0] == socket.gethostbyname(socket.gethostname()), told.stderr


@pytest.mark.slow
def test_shares_of_an_array_are_the_plan(store: Path, tmp_path: Path, slurm: Slurm) -> None:
    script = tmp_path / "job.sbatch"
    words = ["--seeds", "4", "--compile", "never", "--no-ray", "--array", "2", "--out", str(script)]
    assert _submit(store, *words).exit_code == 0
    for number in ("1", "2"):
        shares = {"SLURM_ARRAY_JOB_ID": "99", "SLURM_ARRAY_TASK_ID": number}
        job = slurm.start(script, log=tmp_path / "log", **shares)
        assert job.wait() == 0, job.log
        assert states(store).get("done", 0) == 4 * int(number)
    assert slurm.sent == []
