"""Rows on their way to the recorder: kept on the device between drains, and recorded once.

A row of step s stands if its trial is sound through step s. That is known only after the step, so rows
wait, and are sorted out when they are drained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradlaw.engine.recorder import Recorder
from gradlaw.errors import ConfigurationError, UnknownNameError
from gradlaw.pack import Training
from gradlaw.probe import Columns, MetricProbe
from gradlaw.table import Coded, Column, Table
from gradlaw.trial import Trial

METRICS_GRAIN = "One logged step of one trial."


def metrics_table(training: Training) -> Table:
    """The ``metrics`` table of a program: ``step``, ``loss`` and the columns of its metric probes.

    ``loss`` is that of the step's own batch at the parameters before the step; at the last row, of the
    batch that a further step would use. ``float32`` columns follow the program's dtype.

    Raises:
        ConfigurationError: If two columns have one name.
    """
    columns = [
        Column(name="step", type="int64", unit="steps", doc="steps done before this row"),
        Column(name="loss", type=training.dtype, doc="of the step's batch, before the step"),
    ]
    for probe in training.probes:
        if isinstance(probe, MetricProbe):
            columns += [_in_dtype(column, training.dtype) for column in probe.columns(training.task)]
    names = [column.name for column in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError([f"metrics: got column {name} twice; allowed: once" for name in twice])
    return Table(name="metrics", grain=METRICS_GRAIN, columns=tuple(columns))


def _in_dtype(column: Column, dtype: str) -> Column:
    if column.type != "float32" or dtype == "float32":
        return column
    return Column(
        name=column.name, type="float64", unit=column.unit, doc=column.doc, nullable=column.nullable
    )


class _TableRows(NamedTuple):
    step: int
    member: int
    table: Table
    columns: Columns
    mark: str


@dataclass(frozen=True)
class Sink:
    """Where the rows of a pack go.

    Attributes:
        recorder: Takes them.
        metrics: The ``metrics`` table.
        log_every: Steps between its rows; a trial's last step has one too.
        recorded: Last step recorded by trial id, kept over members that are run again; and by the id followed
            by a mark, the step of what happens to a trial once: " end" where table probes measured an early
            end, and where it crossed what a probe waits for.
    """

    recorder: Recorder
    metrics: Table
    log_every: int
    recorded: dict[str, int]


class PendingRows:
    """Rows of the members of one batch that wait to be recorded.

    Args:
        sink: Where they go.
        trials: Of the members; tensors may be longer (padding), what exceeds is dropped.
    """

    def __init__(self, sink: Sink, trials: Sequence[Trial]) -> None:
        self._sink = sink
        self._trial_ids = [trial.trial_id for trial in trials]
        self._last = np.array([trial.steps for trial in trials])
        self._steps: list[int] = []
        self._values: list[dict[str, Tensor]] = []
        self._rows: list[_TableRows] = []
        self._marks: dict[str, int] = {}

    def __len__(self) -> int:
        """Steps of ``metrics`` and single table entries that wait."""
        return len(self._steps) + len(self._rows)

    def add_metrics(self, step: int, values: dict[str, Tensor]) -> None:
        """One row a member: each column of shape [members]."""
        self._steps.append(step)
        self._values.append(values)

    def add_rows(self, step: int, member: int, table: Table, columns: Columns, mark: str = "") -> None:
        """Rows of one member, measured at a step; ``mark`` where what happens once was the reason."""
        self._rows.append(_TableRows(step, member, table, columns, mark))

    def add_mark(self, step: int, member: int, mark: str) -> None:
        """What happens to a trial once has happened, whether or not it gave rows."""
        self._marks[f"{self._trial_ids[member]} {mark}"] = step

    def drain(self, end: NDArray[Any], last_step: int) -> None:
        """Hands every waiting row that stands to the recorder.

        Args:
            end: First step of each member whose row does not stand, shape [members].
            last_step: The last step that was looked at.
        """
        end = np.minimum(end[: len(self._trial_ids)], self._last + 1)
        recorded = self._sink.recorded
        begin = np.array([recorded.get(trial_id, -1) for trial_id in self._trial_ids])
        if self._steps:
            self._drain_metrics(begin, end)
        for row in self._rows:
            trial_id = self._trial_ids[row.member]
            fresh = f"{trial_id} {row.mark}" not in recorded if row.mark else begin[row.member] < row.step
            if fresh and row.step < end[row.member]:
                self._sink.recorder.append(row.table, with_trial(row.table, row.columns, trial_id))
        recorded.update(self._marks)
        self._steps, self._values, self._rows, self._marks = [], [], [], {}
        for trial_id, before in zip(self._trial_ids, begin, strict=True):
            recorded[trial_id] = max(int(before), last_step)

    def _drain_metrics(self, begin: NDArray[Any], end: NDArray[Any]) -> None:
        num_members, steps = len(self._trial_ids), np.array(self._steps)[:, None]
        stands = (steps > begin) & (steps < end)
        stands &= (steps % self._sink.log_every == 0) | (steps == self._last)
        columns: dict[str, NDArray[Any] | Coded] = {
            "trial_id": Coded(np.nonzero(stands)[1].astype(np.int32), self._trial_ids),
            "step": np.broadcast_to(steps, stands.shape)[stands],
        }
        for column in self._sink.metrics.columns[1:]:
            stacked = torch.stack([values[column.name] for values in self._values])
            host = stacked[:, :num_members].cpu().numpy()
            columns[column.name] = host[stands].astype(column.type, copy=False)
        if stands.any():
            self._sink.recorder.append(self._sink.metrics, columns)


def declared(name: str, tables: Sequence[Table], owner: str) -> Table:
    """The table of this name among those that a probe or measurement declares.

    Raises:
        UnknownNameError: If it declares none of this name.
    """
    for table in tables:
        if table.name == name:
            return table
    raise UnknownNameError(name, kind=f"table of {owner}", known=[table.name for table in tables])


def with_trial(table: Table, columns: Columns, trial_id: str) -> Columns:
    """The columns and ``trial_id``.

    Raises:
        ConfigurationError: If the columns differ in length or are not those of the table.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    names = {column.name for column in table.columns}
    if set(lengths) != names or len(set(lengths.values())) != 1:
        msg = f"table {table.name}: got columns of lengths {lengths}; allowed: {sorted(names)} of one length"
        raise ConfigurationError([msg])
    length = next(iter(lengths.values()))
    return {"trial_id": Coded(np.zeros(length, dtype=np.int8), [trial_id]), **columns}
