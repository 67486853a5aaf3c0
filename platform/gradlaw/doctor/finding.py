"""What a check is given and what it says."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from gradlaw.errors import GradlawError

LOOK_S = 200.0
"""Seconds that a look at a cluster may take, besides the wait for its nodes."""

Level = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """One line.

    Attributes:
        level: "ok"; "warn": a run goes on, slower or less safely; "fail": a run would fail.
        found: What was found.
        remedy: How to mend it; "" where nothing is to be mended.
    """

    level: Level
    found: str
    remedy: str = ""


class ExaminationError(GradlawError, RuntimeError):
    """What was to be looked at broke, in a process of its own; the message is its cause."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is looked at.

    Attributes:
        store: Folder or bucket.
        address: Of a running Ray cluster; None: one is started on this machine, for the look alone.
        nodes: Nodes that the cluster should have, >= 1.
        wait_s: Seconds to wait for them, >= 0.
    """

    store: str = "results"
    address: str | None = None
    nodes: int = 1
    wait_s: float = 0.0

    def faults(self) -> list[str]:
        """What is impossible, a line a fault."""
        faults = [] if self.nodes >= 1 else [f"--nodes: got {self.nodes}, allowed >= 1"]
        if not 0 <= self.wait_s < float("inf"):
            faults.append(f"--wait-s: got {self.wait_s:g}, allowed >= 0 and finite")
        if self.nodes > 1 and self.address is None:
            faults.append(f"--nodes: got {self.nodes} and no --address, allowed 1 or with --address")
        return faults

    @property
    def cluster(self) -> dict[str, Any]:
        """What a look at the cluster gave, one look for all checks: see :mod:`gradlaw.launch.facts`.

        Raises:
            ExaminationError: There is none to look at.
        """
        if isinstance(self.looked, ExaminationError):
            raise self.looked
        return self.looked

    @functools.cached_property
    def looked(self) -> dict[str, Any] | ExaminationError:
        """What :attr:`cluster` gives or raises."""
        words = [self.address or "local", str(self.nodes), str(self.wait_s)]
        try:
            return in_child("gradlaw.launch.facts", *words, limit_s=LOOK_S + self.wait_s)
        except ExaminationError as error:
            return error


def in_child(module: str, *words: str, limit_s: float) -> dict[str, Any]:
    """Runs a module in a process of its own, which may crash or hang; the JSON of its last line.

    Raises:
        ExaminationError: It crashed, hung, or says that what it was to look at broke.
    """
    command = [sys.executable, "-P", "-m", module, *words]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        msg = f"no answer within {limit_s:g} s"
        raise ExaminationError(msg) from None
    lines = ended.stdout.strip().splitlines()
    try:
        facts: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        errors = ended.stderr.strip().splitlines()
        msg = f"exit code {ended.returncode}: {errors[-1] if errors else 'it said nothing'}"
        raise ExaminationError(msg) from None
    if "broken" in facts:
        raise ExaminationError(facts["broken"])
    return facts
