"""Whether a cluster can be joined, asked before Ray asks: it waits for minutes, or ends the process."""

from __future__ import annotations

import importlib
import os
import socket
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from gradlaw.errors import ClusterError, UsageError
from gradlaw.text import redact

CONNECT_S = 10.0
WHERE_TOKENS_ARE = (
    "the cluster's token has to be in RAY_AUTH_TOKEN, in the file that RAY_AUTH_TOKEN_PATH names, or in "
    "~/.ray/auth_token; RAY_AUTH_MODE=disabled only for a cluster that runs without"
)


def refuse_unreachable(address: str) -> None:
    """Raises unless a cluster answers at the address and takes this user's token.

    Args:
        address: "HOST:PORT" of the head; or "auto": what ``RAY_ADDRESS`` says, else the one Ray finds on this
            machine, which is left for Ray to find.

    Raises:
        UsageError: Another form of address.
        ClusterError: Nobody answers, or the token is refused.
    """
    meant = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    if meant == "auto":
        return
    host, _, port = meant.rpartition(":")
    if not host or not port.isdecimal() or "/" in meant:
        msg = (
            f"--address: got {meant!r}, allowed HOST:PORT of the head (port 6379) or auto, on a node of the "
            "cluster; from any other machine: gradlaw submit"
        )
        raise UsageError(msg)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        msg = f"no Ray cluster at {meant}: {error}; is it up, and can this machine reach it?"
        raise ClusterError(msg) from error
    try:
        importlib.import_module("ray._raylet").GcsClient(address=meant)
    except AuthenticationError as error:
        msg = f"the Ray cluster at {meant} refuses the token; {WHERE_TOKENS_ARE}"
        raise ClusterError(msg) from error


def connect(address: str, **settings: Any) -> None:
    """``ray.init`` on a cluster that runs; what keeps it from that in one line.

    Raises:
        UsageError: An address that cannot be meant.
        ClusterError: It cannot be joined from here.
    """
    refuse_unreachable(address)
    try:
        ray.init(address=address, **settings)
    except (ConnectionError, RuntimeError) as error:
        cause = " ".join(redact(str(error)).split())[:300]
        msg = (
            f"Ray cluster {address}: {cause}; a run has to be started on a node of the cluster; "
            "from any other machine: gradlaw submit"
        )
        raise ClusterError(msg) from error
