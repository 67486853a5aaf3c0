"""Clusters that cannot be joined: a line that says why, before Ray waits for minutes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ray._private import services

from gradlaw.errors import ClusterError
from gradlaw.launch.reach import refuse_unreachable

MUTE = """
import socket
from gradlaw.launch.auth import require_token
from gradlaw.launch.reach import refuse_unreachable
require_token()
with socket.create_server(("127.0.0.1", 0)) as listening:
    refuse_unreachable(f"127.0.0.1:{listening.getsockname()[1]}")
"""


def test_what_listens_but_is_no_head_is_told(tmp_path: Path) -> None:
    """As the dashboard's port, which is easily mistaken for the head's."""
    waits = {"RAY_py_gcs_connect_timeout_s": "1", "RAY_gcs_rpc_server_connect_timeout_s": "1"}
    asked = subprocess.run(
        [sys.executable, "-c", MUTE],
        env=os.environ | waits | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    last = asked.stderr.splitlines()[-1]
    assert last.startswith("gradlaw.errors.ClusterError: no Ray cluster at 127.0.0.1:")
    assert "(6379), not its dashboard's (8265)" in last


def test_that_there_is_no_cluster_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "find_gcs_addresses", lambda: set())
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)

    with pytest.raises(ClusterError, match="no Ray cluster on this machine, and RAY_ADDRESS names none"):
        refuse_unreachable("auto")


def test_the_cluster_that_is_found_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its token may be another: Ray would say for minutes that it cannot connect."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "find_gcs_addresses", lambda: {"127.0.0.1:1"})
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)

    with pytest.raises(ClusterError, match=r"no Ray cluster at 127\.0\.0\.1:1: "):
        refuse_unreachable("auto")
