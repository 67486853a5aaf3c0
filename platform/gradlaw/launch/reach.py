"""Whether a cluster can be joined, asked before Ray asks: it waits for minutes, or ends the process."""

from __future__ import annotations

import importlib
import socket
from typing import Any

import ray
from ray._private import services
from ray.exceptions import AuthenticationError, RpcError

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
            machine.

    Raises:
        UsageError: Another form of address.
        ClusterError: Nobody answers, or the token is refused.
    """
    meant = _found() if address == "auto" else address
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
    except RpcError as error:
        cause = " ".join(redact(str(error)).split())[:300]
        msg = (
            f"no Ray cluster at {meant}: what listens there does not answer as one ({cause}); the port is "
            "the head's own (6379), not its dashboard's (8265)"
        )
        raise ClusterError(msg) from error


def _found() -> str:
    """The cluster that "auto" means."""
    try:
        return str(services.get_ray_address_from_environment("auto", None))
    except ConnectionError as error:
        msg = (
            "no Ray cluster on this machine, and RAY_ADDRESS names none; --address HOST:PORT of its head, "
            "on a node of the cluster; from any other machine: gradlaw submit"
        )
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
