"""Named points at which a test may kill this process, to show that the store survives it.

Nothing happens unless the environment variable ``GRADLAW_FAULT`` names a point and a number, as in
``before_commit:2``: then the process ends by SIGKILL the second time it reaches that point. A path may
follow, as in ``before_commit:2:/tmp/once``: of many processes only the one that creates that file ends.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Literal

Point = Literal[
    "flush",
    "checkpoint_before_manifest",
    "checkpoint_after_manifest",
    "between_files",
    "before_commit",
    "after_commit",
    "before_round",
    "after_round",
    "compaction_before_manifest",
    "compaction_after_manifest",
    "compaction_between_deletes",
]

VARIABLE = "GRADLAW_FAULT"

_reached: Counter[str] = Counter()


def reach(point: Point) -> None:
    """Kills this process if the environment asks for it at this point."""
    name, _, rest = os.environ.get(VARIABLE, "").partition(":")
    if name != point:
        return
    number, _, once = rest.partition(":")
    _reached[point] += 1
    if _reached[point] == int(number) and (not once or _created(once)):
        os.kill(os.getpid(), signal.SIGKILL)


def _created(path: str) -> bool:
    try:
        Path(path).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
