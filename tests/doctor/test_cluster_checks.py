"""The doctor and Ray: one that it starts, one that it joins, and one that does not let it in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import free_ports

from gradlaw.doctor.examine import CHECKS

pytestmark = pytest.mark.slow


def _doctor(*words: str, **environment: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    command = [sys.executable, "-m", "gradlaw.cli", "doctor", "--format", "json", *words]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=590)
    by_check: dict[str, list[dict[str, str]]] = {}
    for line in json.loads(ended.stdout):
        by_check.setdefault(line["check"], []).append(line)
    return ended.returncode, by_check


def test_here_all_is_well_or_told(tmp_path: Path) -> None:
    """Everything is really tried: a kernel is compiled, a cluster started, a store written to."""
    code, found = _doctor("--store", str(tmp_path / "store"), HOME=str(tmp_path))
    assert list(found) == list(CHECKS)
    failed = [line for lines in found.values() for line in lines if line["level"] == "fail"]
    assert (code, failed) == (0, [])
    assert "1 joined" in found["nodes"][0]["found"]
    assert "it asks for a token" in found["ray"][0]["found"]
    assert "torch.compile" in found["compiler"][0]["found"]


@pytest.fixture(scope="module")
def head() -> Iterator[tuple[str, Path]]:
    """A cluster of one node with a token: its address and the token's file."""
    with tempfile.TemporaryDirectory(prefix="gl-", dir="/tmp") as name:
        token = Path(name) / "token"
        token.write_text("e" * 64)
        token.chmod(0o600)
        port, client = free_ports(2)
        words = ["start", "--head", "--block", f"--port={port}", "--num-cpus=1", f"--temp-dir={name}/r"]
        words += ["--min-worker-port=0", "--max-worker-port=0", f"--ray-client-server-port={client}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", *words, "--include-dashboard=false"],
            env=os.environ
            | {
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN_PATH": str(token),
                "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        yield f"127.0.0.1:{port}", token
        process.terminate()
        process.wait(300)


ONLY = ["--only", "ray", "--only", "nodes", "--only", "node clocks"]


def test_a_cluster_that_is_joined(head: tuple[str, Path]) -> None:
    """It is waited for, however long it takes to start."""
    address, token = head
    code, found = _doctor(*ONLY, "--address", address, "--wait-s", "300", RAY_AUTH_TOKEN_PATH=str(token))
    assert code == 0, found
    assert found["nodes"][0]["found"] == "1 joined (1 CPUs, 0 GPUs)"
    within = re.search(r"is within (\d+\.\d\d) s of this one", found["node clocks"][0]["found"])
    assert within, found
    assert float(within[1]) < 20.0, "the clock is the same, but the way there takes its time"


def test_nodes_that_do_not_come(head: tuple[str, Path]) -> None:
    address, token = head
    words = [*ONLY, "--address", address, "--nodes", "3", "--wait-s", "1"]
    code, found = _doctor(*words, RAY_AUTH_TOKEN_PATH=str(token))
    assert code == 1
    assert found["nodes"][0]["found"] == "1 of 3 joined (1 CPUs, 0 GPUs)"
    assert "--wait-s 1" in found["nodes"][0]["remedy"]


def test_a_wrong_token(head: tuple[str, Path], tmp_path: Path) -> None:
    """It is told as such, and neither token is shown."""
    address, _ = head
    wrong = tmp_path / "wrong"
    wrong.write_text("f" * 64)
    wrong.chmod(0o600)
    code, found = _doctor(*ONLY, "--address", address, RAY_AUTH_TOKEN_PATH=str(wrong))
    assert code == 1
    assert "the cluster's own token" in found["ray"][0]["remedy"], found
    assert "e" * 64 not in str(found)
    assert "f" * 64 not in str(found)
