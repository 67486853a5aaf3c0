"""Named points at which a test may kill this process, to show that the store survives it.

Nothing happens unless the environment variable ``GRADLAW_FAULT`` names a point and a number, as in
``before_commit:2``: then the process ends by SIGKILL the second time it reaches that point.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Literal

Point = Literal[
    "flush",
    "between_files",
    "before_commit",
    "after_commit",
    "compaction_before_manifest",
    "compaction_after_manifest",
    "compaction_between_deletes",
]

VARIABLE = "GRADLAW_FAULT"

_reached: Counter[str] = Counter()


def reach(point: Point) -> None:
    """Kills this process if the environment asks for it at this point."""
    name, _, number = os.environ.get(VARIABLE, "").partition(":")
    if name != point:
        return
    _reached[point] += 1
    if _reached[point] == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
