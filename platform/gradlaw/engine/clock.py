"""When to flush and when to stop."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass
class Clock:
    """Wall time of one pack, from its construction on.

    Attributes:
        flush_s: Seconds between flushes.
        time_limit_s: Seconds after which the pack stops, or None.
    """

    flush_s: float
    time_limit_s: float | None

    def __post_init__(self) -> None:
        self._started = self._flushed = time.monotonic()

    def flush_due(self) -> bool:
        """True once every ``flush_s``."""
        now = time.monotonic()
        due = now - self._flushed >= self.flush_s
        if due:
            self._flushed = now
        return due

    def over(self) -> bool:
        """Whether the time limit has passed."""
        return self.time_limit_s is not None and time.monotonic() - self._started >= self.time_limit_s
