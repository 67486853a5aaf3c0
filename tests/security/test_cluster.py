"""A real run on Ray by the command line: who reaches its cluster, and what its environment leaves behind.

Every test looks at one run, which waits for them.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from canaries import ENVIRONMENT, files_below, found_in
from processes import family

from gradlaw_analysis import open_store

pytestmark = pytest.mark.slow

STUDY = Path(__file__).parents[1] / "fixtures" / "studies" / "leaky"
LIMIT_S = 240.0
STRANGER = """
import sys
import ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="critical", configure_logging=False)
except Exception as error:
    print("refused:", type(error).__name__, error)
    sys.exit(3)
print("connected")
"""

OPEN = """
import sys
import ray
from gradlaw.launch.cluster import private_cluster
with private_cluster():
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
"""
JOIN = """
import sys
from gradlaw.launch.cluster import joined_cluster
with joined_cluster(sys.argv[1]):
    print("joined")
"""


Told = TypeVar("Told")


@dataclass
class Run:
    """The run, while it goes on.

    Attributes:
        home: Its HOME, where it made a token of its own.
        address: Of its cluster, as Ray's own processes are told.
        session: A copy of Ray's folder, made while the run went on.
    """

    process: subprocess.Popen[str]
    home: Path
    store: Path
    processes: list[psutil.Process]
    address: str
    folder: Path
    session: Path

    @property
    def token(self) -> str:
        return (self.home / ".ray" / "auth_token").read_text()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    base = tmp_path_factory.mktemp("cluster")
    home, store, gate, begun = base / "home", base / "store", base / "gate", base / "begun"
    home.mkdir()
    words = ["run", str(STUDY), "--launcher", "ray", "--store", str(store)]
    words += ["--set", f"gate={gate}", "--set", f"begun={begun}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gradlaw.cli", *words],
        env=_environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=base,
        start_new_session=True,
    )
    try:
        _until(lambda: begun.exists() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        processes = family(process.pid)
        address, folder = _cluster_of(processes)
        copied = _copied(folder, base)
        yield Run(process, home, store, processes, address, folder, copied)
        gate.touch()
        output, errors = process.communicate(timeout=LIMIT_S)
        _check_end(base, store, output, errors)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_every_port_is_on_loopback(run: Run) -> None:
    open_to = [
        (name, connection.laddr.ip)
        for name, connections in _each(run.processes, lambda one: (one.name(), one.net_connections("inet")))
        for connection in connections
        if connection.status == psutil.CONN_LISTEN or (not connection.raddr and connection.type == 2)
    ]
    assert len(open_to) >= 4  # the head, the node, a worker, the driver
    assert [item for item in open_to if not _is_loopback(item[1])] == []


def test_the_token_is_made_for_its_owner_alone(run: Run) -> None:
    file = run.home / ".ray" / "auth_token"
    assert len(run.token) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    # those that show their environment: some write their title over it
    modes = _each(run.processes[1:], lambda process: process.environ().get("RAY_AUTH_MODE"))
    assert {*modes} - {None} == {"token"}


@pytest.mark.parametrize(
    "own",
    [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}],
    ids=["none", "wrong"],
)
def test_a_client_without_the_token_is_refused(run: Run, own: dict[str, str]) -> None:
    done = _knock(run, own)
    assert "connected" not in done.stdout
    assert done.returncode != 0
    assert "InvalidAuthToken" in done.stdout + done.stderr


def test_a_client_with_the_token_is_let_in(run: Run) -> None:
    done = _knock(run, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": run.token})
    assert done.stdout == "connected\n", done.stdout + done.stderr


def test_an_open_cluster_is_not_joined() -> None:
    own = _environment_of_others()
    server = subprocess.Popen(
        [sys.executable, "-c", OPEN],
        env={**own, "RAY_AUTH_MODE": "disabled"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin
    assert server.stdout
    try:
        address = server.stdout.readline().strip()
        done = subprocess.run(
            [sys.executable, "-c", JOIN, address],
            env={**own, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
    finally:
        server.stdin.close()
        server.wait(timeout=LIMIT_S)
        server.stdout.close()
    assert done.stdout == ""
    assert "got one that asks for no token: whoever reaches it runs code" in done.stderr


def test_nobody_else_can_enter_the_clusters_folder(run: Run) -> None:
    inner = run.folder.stat().st_mode
    assert inner & stat.S_IWOTH, "else the folder above need not be shut"
    assert stat.S_IMODE(run.folder.parent.stat().st_mode) == 0o700
    assert run.folder.parent.stat().st_uid == os.getuid()


def test_no_command_line_and_no_log_of_ray_holds_a_secret(run: Run) -> None:
    lines = _each(run.processes, lambda one: (str(one.pid), " ".join(one.cmdline()).encode()))
    assert len(lines) >= 4
    logs = files_below(run.session)
    assert len(logs) >= 10
    assert found_in([*lines, *logs]) == []
    assert not [place for place, text in [*lines, *logs] if run.token.encode() in text]


def _check_end(base: Path, store: Path, output: str, errors: str) -> None:
    """After the run: what it says and leaves, with the error that held its whole environment."""
    assert "connection refused" in errors
    told = [("stdout", output.encode()), ("stderr", errors.encode())]
    rows = open_store(store).sql("SELECT seed, state, reason FROM trials WHERE seed = 1")
    assert "[AWS_SECRET_ACCESS_KEY]" in rows["reason"][0]
    report = open_store(store).report([STUDY], base / "report.html", record=False)
    assert "leaky" in report.read_text()
    held = [*files_below(store), *files_below(base / "home"), *files_below(report.parent)]
    token = (base / "home" / ".ray" / "auth_token").read_bytes()
    assert found_in([*told, *held]) == []
    assert [place for place, text in [*told, *held] if token in text] == [
        str(base / "home" / ".ray" / "auth_token")
    ] * 2  # as of the home and of the folder around it


def _environment(home: Path) -> dict[str, str]:
    """That of this process, with canaries; Ray is to find no token."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    canaries = {name: value for name, value in ENVIRONMENT.items() if name != "RAY_AUTH_TOKEN"}
    return {**own, **canaries, "HOME": str(home), "PYTHONUNBUFFERED": "1"}


def _environment_of_others() -> dict[str, str]:
    """That of a client on this machine, which would put another address in loopback's place by itself."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**own, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_NUM_REDIS_GET_RETRIES": "2"}


def _cluster_of(processes: list[psutil.Process]) -> tuple[str, Path]:
    """Address and folder, as the node's own process was told."""
    lines = _each(processes, lambda process: process.cmdline())
    said = [word.lstrip("-").partition("=") for line in lines for word in line]
    words = {name.replace("-", "_"): value for name, mark, value in said if mark}
    return words["gcs_address"], Path(words["session_dir"]).parent


def _each(processes: list[psutil.Process], ask: Callable[[psutil.Process], Told]) -> list[Told]:
    """What each says that is still there: a worker of Ray that has nothing to do ends by itself."""
    told = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            told.append(ask(process))
    return told


def _copied(folder: Path, base: Path) -> Path:
    """A copy of a folder that is being written to: a file may go while the others are copied."""
    for number in range(20):
        with suppress(shutil.Error):
            ignored = shutil.ignore_patterns("sockets")
            return Path(shutil.copytree(folder, base / f"session{number}", ignore=ignored))
    raise AssertionError(folder)


def _knock(run: Run, own: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", STRANGER, run.address],
        env={**_environment_of_others(), **own},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def _is_loopback(address: str) -> bool:
    found = ip_address(address)
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
