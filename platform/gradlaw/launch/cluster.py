"""The cluster a run is on: one that is running, or one of this machine alone, shut to everyone else."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants

from gradlaw.errors import UsageError
from gradlaw.launch.auth import MODE, WITH_TOKEN, WITHOUT
from gradlaw.launch.reach import connect
from gradlaw.launch.scratch import scratch

_QUIET: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
_STRANGER = """
import sys
from ray._raylet import GcsClient
GcsClient(address=sys.argv[1]).internal_kv_exists(b"token", b"asked", timeout=20)
"""
LOOPBACK = "127.0.0.1"
_LONGEST = 14
"""Letters of a folder's name that still leave room: below it the names of sockets take 89 of 103."""


@contextmanager
def private_cluster() -> Iterator[None]:
    """Starts a cluster and connects to it; at the end neither a process nor a file of it is left."""
    with scratch("gradlaw-ray-", _place()) as folder:
        with _on_loopback():
            ray.init(
                address="local",
                **_QUIET,
                _node_ip_address=LOOPBACK,
                # Ray lets everyone write to its folder and sockets: the one above is the owner's alone.
                _temp_dir=folder,
            )
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def joined_cluster(address: str) -> Iterator[None]:
    """Connects to a cluster that somebody started, and leaves it at the end.

    Raises:
        ClusterError: It cannot be joined from here.
        UsageError: It asks nobody for a token, though the environment does not say that it need not.
    """
    connect(address, **_QUIET)
    try:
        if os.environ.get(MODE) == WITH_TOKEN and _is_open(ray.get_runtime_context().gcs_address):
            msg = (
                f"Ray cluster {address}: got one that asks for no token: whoever reaches it runs code "
                f"on it; start it with {MODE}={WITH_TOKEN}, or set {MODE}={WITHOUT} to use it as it is"
            )
            raise UsageError(msg)
        yield
    finally:
        ray.shutdown()


def _is_open(address: str) -> bool:
    """Whether a cluster answers somebody without a token: another process, for this one has it."""
    words = [sys.executable, "-P", "-c", _STRANGER, address]
    environment = {**os.environ, MODE: WITHOUT}
    try:
        asked = subprocess.run(words, env=environment, capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def _place() -> str | None:
    """Where the folder is made: None, the system's choice, unless that is too long for sockets."""
    asked = os.environ.get("RAY_TMPDIR")
    return asked or ("/tmp" if len(tempfile.gettempdir()) > _LONGEST else None)  # noqa: S108 - names are random


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Lets Ray take the loopback address as it is, as it does on macOS and Windows.

    Elsewhere it puts the machine's own address in its place and listens on all interfaces.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
