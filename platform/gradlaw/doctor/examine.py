"""All checks by name, and their running: each bounded in time, none ends another."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from gradlaw.doctor import cluster, devices, software, store
from gradlaw.doctor.finding import Finding, Level, Subject
from gradlaw.errors import GradlawError, UnknownNameError, all_faults
from gradlaw.text import redact

Check = Callable[[Subject], Iterator[Finding]]

CHECKS: Mapping[str, Check] = {
    "python": software.python,
    "packages": software.packages,
    "open files": software.open_files,
    "shared memory": software.shared_memory,
    "temporary": software.temporary,
    "gpus": devices.gpus,
    "compiler": devices.compiler,
    "token": cluster.token,
    "ray": cluster.ray,
    "nodes": cluster.nodes,
    "node clocks": cluster.clocks,
    "store place": store.place,
    "store exclusive": store.exclusive,
    "store speed": store.whole,
    "store clock": store.clock,
}
LIMIT_S = 220.0
QUIET_S = 3.0
"""Seconds after which a check that is still at work is told of."""


class Examined(NamedTuple):
    """A line of the report: see :class:`gradlaw.doctor.finding.Finding`."""

    check: str
    level: Level
    found: str
    remedy: str


def examine(
    subject: Subject,
    names: Sequence[str] = (),
    *,
    limit_s: float = LIMIT_S,
    say: Callable[[str], None] = lambda line: None,  # noqa: ARG005 - nobody listens
) -> Iterator[Examined]:
    """Runs checks one after another.

    Args:
        subject: What is looked at.
        names: Which checks; all, if none.
        limit_s: Seconds a check may take, besides ``subject.wait_s``.
        say: Called with a line for each check that takes long.

    Yields:
        At least one line a check, as soon as it is known.

    Raises:
        UsageError: A check that there is not, or an impossible subject.
    """
    with all_faults(subject.faults()) as faults:
        faults += [
            str(UnknownNameError(name, kind="check", known=CHECKS)) for name in names if name not in CHECKS
        ]
    for name in CHECKS:
        if not names or name in names:
            for finding in _bounded(name, subject, limit_s + subject.wait_s, say):
                yield Examined(name, finding.level, redact(finding.found), redact(finding.remedy))


def _bounded(name: str, subject: Subject, limit_s: float, say: Callable[[str], None]) -> list[Finding]:
    """What a check finds. One that hangs, on a dead file server say, is left behind in its thread."""
    found: queue.Queue[list[Finding]] = queue.Queue()
    threading.Thread(target=lambda: found.put(_findings(CHECKS[name], subject)), daemon=True).start()
    quiet_s = min(QUIET_S, limit_s)
    with suppress(queue.Empty):
        return found.get(timeout=quiet_s)
    say(f"{name}: still looking, for {limit_s:g} s at most")
    try:
        return found.get(timeout=limit_s - quiet_s)
    except queue.Empty:
        remedy = "what it asks hangs: a file server, a driver or a network that does not answer"
        return [Finding("fail", f"no answer within {limit_s:g} s", remedy)]


def _findings(check: Check, subject: Subject) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check(subject))
    except GradlawError as error:  # which says the remedy itself
        cause, _, remedy = str(error).partition("; ")
        found.append(Finding("fail", cause, remedy))
    except Exception as error:  # noqa: BLE001 - what a check did not foresee is a finding too
        found.append(Finding("fail", f"{type(error).__name__}: {error}", "mend what it names and look again"))
    return found
