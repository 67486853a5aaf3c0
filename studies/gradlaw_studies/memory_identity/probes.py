"""The distance between an optimizer and its memoryless twins, read at the end of a trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from gradlaw.errors import UsageError
from gradlaw.probe import Columns, Snapshot, TableProbe
from gradlaw.table import Table
from gradlaw_studies.memory_identity.tables import TRAJECTORY_GAP
from gradlaw_studies.memory_identity.twins import Twins


@dataclass(frozen=True)
class TrajectoryGap(TableProbe):
    """max over n of ||theta_n - theta~_n||_inf for both twins, as the rule has kept it."""

    name: ClassVar[str] = "trajectory_gap"
    needs_state: ClassVar[bool] = True

    def tables(self) -> tuple[Table, ...]:
        return (TRAJECTORY_GAP,)

    def at(self, steps: int) -> Sequence[int]:
        return (steps,)

    def rows(self, snapshot: Snapshot) -> Mapping[str, Columns]:
        state = snapshot.state
        if not isinstance(state, Twins):
            got = type(state).__name__
            msg = f"probe {self.name}: got a state of type {got}; allowed: that of the rule memory_twins"
            raise UsageError(msg)
        gaps = [float(state.gap_plain), float(state.gap_corrected)]
        values = snapshot.hyperparameters
        row: dict[str, Sequence[object]] = {
            "optimizer": [str(values["optimizer"])] * 2,
            "corrected": [False, True],
            "lr": [float(values["lr"])] * 2,
            "gap_max": [gap if math.isfinite(gap) else None for gap in gaps],
        }
        return {TRAJECTORY_GAP.name: row}
