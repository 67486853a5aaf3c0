"""Which process holds something, told so that another one can find out whether it is gone."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_STATE, _STARTED = 0, 19
"""Fields of /proc/<pid>/stat counted after the command's name: the state, and ticks since the boot."""

_DEAD = -1


class Process(NamedTuple):
    """One process of one machine.

    Attributes:
        host: Name of the machine.
        boot_id: Of the machine's boot and of the space of process numbers, which containers have of their
            own; "" where the system does not tell.
        pid: Its number there.
        pid_started: When it started, in the system's ticks since the boot; 0 where it does not tell.
    """

    host: str
    boot_id: str
    pid: int
    pid_started: int

    def is_gone(self) -> bool:
        """Whether it is known to have ended: only what ran on this machine since its boot can be known."""
        here = this_process()
        if (self.host, self.boot_id) != (here.host, here.boot_id) or self.pid < 1:
            return False
        started = _started(self.pid)
        if started is not None:
            return started != self.pid_started
        try:  # other users' processes may be hidden in /proc
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


def this_process() -> Process:
    """This one."""
    pid = os.getpid()
    return Process(socket.gethostname(), _boot_id(), pid, started_at(pid))


def started_at(pid: int) -> int:
    """When a process of this machine started, in ticks since the boot; 0 where the system does not tell."""
    return _started(pid) or 0


@cache
def _boot_id() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """When a process started; -1 if it is dead and only not yet waited for; None if nothing is told."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return _DEAD if fields[_STATE] in "ZX" else int(fields[_STARTED])
