"""Run as a module: joins or starts a Ray cluster, asks every node, and prints what it says, as JSON.

In a process of its own: Ray ends the process that it cannot connect, and waits long for what never answers.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time
from contextlib import AbstractContextManager, suppress
from importlib import metadata
from typing import Any

PAUSE_S, CONNECT_S, ANSWER_S = 0.5, 3.0, 120.0
TRIES = 3


def look(address: str, num_nodes: int, wait_s: float) -> dict[str, Any]:
    """Facts of a cluster, once it has so many nodes or the wait is over.

    Args:
        address: "HOST:PORT", "auto", or "local" for a cluster of this machine alone.
        num_nodes: Nodes to wait for.
        wait_s: Seconds to wait at most.
    """
    end = time.monotonic() + wait_s
    if ":" in address and "://" not in address:
        _await_port(address, end)
    from gradlaw.launch.auth import MODE, require_token

    require_token()
    started = time.monotonic()
    with _cluster(address):
        import ray

        started_s = time.monotonic() - started
        nodes = _alive()
        while len(nodes) < num_nodes and time.monotonic() < end:
            time.sleep(PAUSE_S)
            nodes = _alive()
        return {
            "started_s": started_s,
            "mode": os.environ.get(MODE, ""),
            "version": ray.__version__,
            "nodes": _asked(nodes),
        }


def _await_port(address: str, end: float) -> None:
    """Waits until somebody listens there; a connection costs less than Ray's long wait."""
    host, _, port = address.rpartition(":")
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
            return
        except (OSError, ValueError) as error:
            if time.monotonic() >= end or isinstance(error, ValueError):
                cause = error.strerror if isinstance(error, OSError) and error.strerror else error
                msg = f"nobody listens at {address}: {cause}"
                raise ConnectionError(msg) from error
        time.sleep(PAUSE_S)


def _cluster(address: str) -> AbstractContextManager[None]:
    from gradlaw.launch.cluster import joined_cluster, private_cluster

    return private_cluster() if address == "local" else joined_cluster(address)


def _alive() -> list[dict[str, Any]]:
    import ray

    told: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # ray leaves it untyped
    return [node for node in told if node["Alive"]]


def _asked(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each node says of itself, all asked at once; one that says nothing has only its address."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def remote(node: dict[str, Any]) -> Any:
        strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        return ray.remote(describe).options(num_cpus=0, scheduling_strategy=strategy)

    asked = [(node, remote(node)) for node in nodes]
    first = [(node, function, function.remote()) for node, function in asked]
    end = time.monotonic() + ANSWER_S
    found = []
    for node, function, answer in first:
        facts = {"address": node["NodeManagerAddress"], "resources": node["Resources"]}
        with suppress(ray.exceptions.RayError):
            facts |= ray.get(answer, timeout=max(0.1, end - time.monotonic()))
            facts |= _ahead(function)
        found.append(facts)
    return found


def _ahead(function: Any) -> dict[str, float]:
    """How far the node's clock is ahead of this one's, and how far that may be off, in seconds."""
    import ray

    best = (float("inf"), 0.0)
    for _ in range(TRIES):  # the fastest answer says most; a worker that answered before answers fast
        sent = time.time()
        told = ray.get(function.remote(), timeout=ANSWER_S)["time"]
        back = time.time()
        best = min(best, ((back - sent) / 2, told - (sent + back) / 2))
    return {"ahead_s": best[1], "within_s": best[0]}


def describe() -> dict[str, Any]:
    """What a node says of itself; sent there, so that it needs nothing of gradlaw."""
    versions = {"python": sys.version.split()[0]}
    for name in ("gradlaw", "ray", "torch"):
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {"host": socket.gethostname(), "time": time.time(), "versions": versions}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    try:
        facts = look(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
    except Exception as error:  # noqa: BLE001 - what goes wrong is what is asked for
        facts = {"broken": " ".join(str(error).split())[:400] or type(error).__name__}
    sys.stdout.write("\n" + json.dumps(facts) + "\n")
