"""When to flush, when to keep a checkpoint and when to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Clock:
    """Wall time of one pack, from its construction on.

    Attributes:
        flush_s: Seconds between flushes.
        time_limit_s: Seconds after which the pack stops, or None.
        checkpoint_s: Gives the seconds between the end of one checkpoint and the next; 0: at once.
    """

    flush_s: float
    time_limit_s: float | None
    checkpoint_s: Callable[[], float] = lambda: math.inf

    def __post_init__(self) -> None:
        self._started = self._flushed = self._kept = time.monotonic()

    def flush_due(self) -> bool:
        """True once every ``flush_s``."""
        now = time.monotonic()
        due = now - self._flushed >= self.flush_s
        if due:
            self._flushed = now
        return due

    def checkpoint_due(self) -> bool:
        """True from ``checkpoint_s()`` after the last :meth:`kept` on."""
        return time.monotonic() - self._kept >= self.checkpoint_s()

    def kept(self) -> None:
        """A checkpoint was kept."""
        self._kept = time.monotonic()

    def over(self) -> bool:
        """Whether the time limit has passed."""
        return self.time_limit_s is not None and time.monotonic() - self._started >= self.time_limit_s
