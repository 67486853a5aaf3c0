"""Real curves to fill a store with: packs trained once, then written again under other trial ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlaw import provenance
from gradlaw.engine.results import Execution, TrialResult
from gradlaw.engine.run import run_pack
from gradlaw.launch.committing import trial_rows
from gradlaw.pack import Pack
from gradlaw.planning.plan import make_plan
from gradlaw.probe import Columns
from gradlaw.probes.gradient_norm import GradientNorm
from gradlaw.probes.losses import FullLoss
from gradlaw.rules.adam import Adam
from gradlaw.store.store import Store
from gradlaw.store.trials import TrialRow
from gradlaw.study import Grid, Preset, Study
from gradlaw.table import Coded, Table
from gradlaw.tasks.digits import DigitsMLP
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw.trial import State

METRICS = ("loss", "train_loss", "test_loss", "gradient_norm")
"""Four float32 metrics that are hard to compress: none of them is coarse, as an accuracy is."""

STUDY = "curves"
_SIZES: dict[str, tuple[type[ModularAddition | DigitsMLP], dict[str, int]]] = {
    "modular_addition": (ModularAddition, {"modulus": 7, "width": 32, "batch_size": 16}),
    "digits": (DigitsMLP, {"width": 16, "batch_size": 32}),
}


def _pack(task: str, seeds: int, steps: int) -> Pack:
    kind, values = _SIZES[task]
    grid = Grid(
        task=kind,
        rule=Adam,
        values={**values, "lr": (0.001, 0.003, 0.005, 0.01)},
        steps=steps,
        probes=(FullLoss(), GradientNorm()),
        pack_width=4 * seeds,
    )
    preset = Preset(doc="benchmark", grids=(grid,), seeds=seeds, decides=False)
    study = Study(name=STUDY, question="How large?", source="benchmark", presets={"all": preset})
    (pack,) = make_plan(study, "all").packs
    return pack


@dataclass(frozen=True)
class _Chunk:
    """Rows as the engine handed them over at once; ``members``: positions in the pack."""

    table: Table
    members: NDArray[Any]
    coded: bool
    columns: Mapping[str, NDArray[Any]]


class Curves:
    """One trained pack: every row the engine recorded, in its order, of ``step`` and ``METRICS``.

    Attributes:
        task: "modular_addition" or "digits".
        num_trials, num_rows: Trials in the pack, and rows of ``metrics``.
    """

    def __init__(self, task: str, *, seeds: int, steps: int) -> None:
        self.task = task
        self._source = _pack(task, seeds, steps)
        self._position = {item.trial.trial_id: i for i, item in enumerate(self._source.members)}
        self._chunks: list[_Chunk] = []
        for _ in run_pack(self._source, self, width=4 * seeds):
            pass
        self.num_trials = len(self._position)
        self.num_rows = sum(len(chunk.members) for chunk in self._chunks)

    def append(self, table: Table, columns: Columns) -> None:
        """Takes the engine's rows."""
        ids = columns["trial_id"]
        kept = tuple(column for column in table.columns if column.name in ("step", *METRICS))
        table = Table(name=table.name, grain=table.grain, columns=kept)
        members = np.array([self._position[str(trial_id)] for trial_id in ids])
        rows = {column.name: np.asarray(columns[column.name]) for column in kept}
        self._chunks.append(_Chunk(table, members, isinstance(ids, Coded), rows))

    def flush(self) -> None:
        """There is nobody to show anything to."""

    def trial_ids(self, number: int) -> list[str]:
        """The ids under which copy ``number`` is written."""
        return [f"{number:06x}{trial_id[6:]}" for trial_id in self._position]

    def copy(self, number: int) -> list[tuple[Table, Columns]]:
        """What the engine would hand to a recorder, under other trial ids."""
        ids = self.trial_ids(number)
        spelt = np.array(ids, dtype=object)
        copied: list[tuple[Table, Columns]] = []
        for chunk in self._chunks:
            column = Coded(chunk.members, ids) if chunk.coded else spelt[chunk.members]
            copied.append((chunk.table, {"trial_id": column, **chunk.columns}))
        return copied

    def rows(self, number: int) -> list[TrialRow]:
        """The rows of ``trials`` of a copy."""
        ids = self.trial_ids(number)
        return [replace(row, trial_id=new) for row, new in zip(self._rows, ids, strict=True)]

    @cached_property
    def _rows(self) -> list[TrialRow]:
        """As a worker makes them."""
        execution = Execution(device="cpu", mode="eager", width=self.num_trials, threads=1, dtype="float32")
        results = [
            TrialResult(
                trial_id=member.trial.trial_id,
                state=State.DONE,
                reason="",
                steps_done=member.trial.steps,
                wall_s=0.0,
                execution=execution,
            )
            for member in self._source.members
        ]
        return trial_rows(self._source, results, attempts={}, started_at=provenance.utc_now())

    @property
    def hyperparameters(self) -> Mapping[str, Any]:
        """Of any member."""
        return self._source.members[0].hyperparameters


def write_copy(
    store: Store,
    curves: Curves,
    number: int,
    chunks: Sequence[tuple[Table, Columns]],
    *,
    flush_rows: int = 0,
) -> None:
    """Writes one copy as a worker would: open, append, flush, commit.

    Args:
        store: The store.
        curves: Whose copy it is.
        number: Of the copy.
        chunks: What ``curves.copy(number)`` gave.
        flush_rows: Rows from one live part to the next; 0: no live parts.
    """
    waiting = 0
    with store.writer(STUDY, f"p{number:06x}", hyperparameters=curves.hyperparameters) as writer:
        for table, columns in chunks:
            writer.append(table, columns)
            waiting += len(columns["step"])
            if flush_rows and waiting >= flush_rows:
                writer.flush()
                waiting = 0
        writer.commit(curves.rows(number))
