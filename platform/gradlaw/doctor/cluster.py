"""Ray: whether it starts or is there, who may use it, and whether its nodes fit together."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from typing import Any

from gradlaw.doctor.finding import ExaminationError, Finding, Level, Subject
from gradlaw.launch.auth import MODE, TOKEN, WITH_TOKEN, WITHOUT, is_shut, token_file

SKEW_WARN_S, SKEW_FAIL_S = 5.0, 300.0
"""Leases go by the store's clock, not a node's; beyond some minutes buckets refuse what is signed."""


def token(_: Subject) -> Iterator[Finding]:
    """Whether Ray asks for one, and whether others can read it. It is never shown."""
    asked = os.environ.get(MODE, "")
    if asked.lower() == WITHOUT:
        yield Finding("warn", f"{MODE}={WITHOUT}: whoever reaches a port of Ray runs code", f"unset {MODE}")
    elif asked.lower() not in ("", WITH_TOKEN):
        found = f"{MODE}: got {asked!r}, which Ray takes for off; allowed {WITH_TOKEN} or {WITHOUT}"
        yield Finding("fail", found, f"unset {MODE}")
    if os.environ.get(TOKEN):
        yield Finding("ok", f"in {TOKEN}")
        return
    file = token_file()
    try:
        status = file.stat()
        empty = not file.read_text().strip()
    except FileNotFoundError:
        yield Finding("ok", f"none yet: a run makes one in {file}")
        return
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", "") or "not a text"
        yield Finding("fail", f"{file}: {cause}", f"chmod 600 {file}, as its owner, or put another there")
        return
    mode = stat.S_IMODE(status.st_mode)
    if empty:
        yield Finding("fail", f"{file} is empty", f"rm {file}: a run makes a new one")
    elif mode & 0o077:
        found = f"{file} has mode {mode:03o}, allowed 600"
        if is_shut(file.parent):
            yield Finding("warn", f"{found}; a folder above it keeps others out", f"chmod 600 {file}")
        else:
            yield Finding("fail", f"{found}: others can read it", f"chmod 600 {file}")
    else:
        yield Finding("ok", f"in {file}, mode {mode:03o}")


def ray(subject: Subject) -> Iterator[Finding]:
    """Whether a cluster is there, or can be started."""
    try:
        facts = subject.cluster
    except ExaminationError as error:
        yield Finding("fail", *_unreached(subject, str(error)))
        return
    verb = f"joined {subject.address}" if subject.address else "started here and ended"
    asks = "asks for a token" if facts["mode"].lower() != WITHOUT else "asks nobody for a token"
    found = f"Ray {facts['version']}: {verb} in {facts['started_s']:.0f} s; it {asks}"
    yield Finding("ok", found)


def _unreached(subject: Subject, cause: str) -> tuple[str, str]:
    lowered = cause.lower()
    if "token" in lowered or "unauthenticated" in lowered:
        remedy = f"the cluster's own token has to be in {TOKEN} or in {token_file()}, on every node"
    elif "version" in lowered:
        remedy = "install the same Ray and Python on every node, and restart the cluster"
    elif subject.address:
        remedy = "is the head up, is the address HOST:PORT of its GCS, and is this machine one of its nodes?"
    else:
        remedy = "look at the lines about the temporary folder, shared memory and open files"
    where = f"cannot join {subject.address}" if subject.address else "cannot start Ray"
    return f"{where}: {cause}", remedy


def nodes(subject: Subject) -> Iterator[Finding]:
    """How many there are, whether all answer, and whether they run the same."""
    try:
        found = subject.cluster["nodes"]
    except ExaminationError:
        yield Finding("fail", "not known: there is no cluster to ask", "see the line about Ray")
        return
    size = _size(found)
    if len(found) < subject.nodes:
        remedy = f"look at the logs of the others, or wait longer than --wait-s {subject.wait_s:g}"
        yield Finding("fail", f"{len(found)} of {subject.nodes} joined ({size})", remedy)
    else:
        yield Finding("ok", f"{len(found)} joined ({size})")
    silent = [node["address"] for node in found if "versions" not in node]
    if silent:
        yield Finding("fail", f"no answer from {', '.join(silent)}", "look at Ray's logs there")
    yield from _versions([node for node in found if "versions" in node])


def _size(found: list[dict[str, Any]]) -> str:
    held: Counter[str] = Counter()
    for node in found:
        held.update({name: node["resources"].get(name, 0.0) for name in ("CPU", "GPU")})
    return f"{held['CPU']:g} CPUs, {held['GPU']:g} GPUs"


def _versions(found: list[dict[str, Any]]) -> Iterator[Finding]:
    for name in ("python", "gradlaw", "ray", "torch"):
        by_version: dict[str, list[str]] = {}
        for node in found:
            by_version.setdefault(node["versions"].get(name, "none"), []).append(node["host"])
        if len(by_version) > 1:
            told = "; ".join(f"{version} on {', '.join(hosts)}" for version, hosts in by_version.items())
            level: Level = "fail" if name in ("python", "ray") else "warn"
            yield Finding(level, f"{name}: {told}", f"install one version of {name} on all nodes")


def clocks(subject: Subject) -> Iterator[Finding]:
    """How far the nodes' clocks are from this one's."""
    try:
        found = [node for node in subject.cluster["nodes"] if "ahead_s" in node]
    except ExaminationError:
        found = []
    if not found:
        yield Finding("ok", "no node to compare with")
        return
    node = max(found, key=lambda item: abs(item["ahead_s"]) - item["within_s"])
    yield skew(f"the clock of {node['host']}", node["ahead_s"], node["within_s"])


def skew(whose: str, ahead_s: float, within_s: float) -> Finding:
    """What a clock's distance from this machine's comes to.

    Args:
        whose: Which clock.
        ahead_s: How far it is ahead, in seconds.
        within_s: How far that may be off.
    """
    least = abs(ahead_s) - within_s
    found = f"{whose} is within {abs(ahead_s) + within_s:.2f} s of this one"
    if least <= SKEW_WARN_S:
        return Finding("ok", found)
    found = f"{whose} is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this one"
    remedy = "synchronise clocks: timedatectl set-ntp true, or chronyc makestep"
    return Finding("fail" if least > SKEW_FAIL_S else "warn", found, remedy)
