"""The ``trials`` table: one row a trial that was run, with how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import SchemaError
from gradlaw.hyperparameter import Scalar
from gradlaw.store.paths import PackKey
from gradlaw.store.schema import KEYS, arrow_schema, to_array
from gradlaw.table import Column, ColumnType
from gradlaw.text import redact
from gradlaw.trial import State

TRIAL_COLUMNS = (
    Column(name="study", type="string", doc="the study that ran it"),
    *KEYS,
    Column(name="seed", type="int64"),
    Column(name="state", type="string", doc="how it ended"),
    Column(name="reason", type="string", doc="why, where the state needs one"),
    Column(name="task", type="string", doc="name@version"),
    Column(name="rule", type="string", doc="name@version; empty for a measurement"),
    Column(name="schedule", type="string", doc="name@version; empty for a measurement"),
    Column(name="dtype", type="string"),
    Column(name="steps", type="int64", doc="steps asked for"),
    Column(name="data_digest", type="string"),
    Column(name="steps_done", type="int64"),
    Column(name="wall_s", type="float64", unit="s", doc="the trial's share of its pack's time"),
    Column(name="device", type="string"),
    Column(name="mode", type="string", doc="how the engine ran it"),
    Column(name="pack_width", type="int32", doc="trials in one batched program"),
    Column(name="threads", type="int32"),
    Column(name="host", type="string"),
    Column(name="versions", type="string", doc="JSON: versions of the libraries by name"),
    Column(name="git_commit", type="string"),
    Column(name="source_digest", type="string", doc="of task, rule and schedule, then of each probe"),
    Column(name="probes", type="string", doc="JSON: digests of the probes it was measured with, sorted"),
    Column(name="num_probes", type="int32"),
    Column(name="started_at", type="timestamp", doc="UTC"),
)
"""The fixed columns; one column a hyperparameter follows."""

HYPERPARAMETER_TYPES: dict[type, ColumnType] = {
    bool: "bool",
    int: "int64",
    float: "float64",
    str: "string",
}


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One trial as its pack commits it. The store adds study, pack_id and attempt.

    Attributes:
        hyperparameters: All resolved values, defaults included; each becomes a column.
        probes: Digests of the probes it was measured with.
        started_at: UTC if it has no zone.
        versions: Versions of the libraries by name.
    """

    trial_id: str
    seed: int
    state: State
    reason: str = ""
    task: str
    rule: str
    schedule: str
    dtype: str
    steps: int
    data_digest: str
    hyperparameters: Mapping[str, Scalar]
    steps_done: int
    wall_s: float
    device: str
    mode: str
    pack_width: int
    threads: int
    host: str
    versions: Mapping[str, str]
    git_commit: str
    source_digest: str
    probes: Sequence[str] = ()
    started_at: datetime


_PLAIN = {item.name for item in fields(TrialRow)} - {
    "state",
    "reason",
    "hyperparameters",
    "versions",
    "probes",
}


def hyperparameter_columns(values: Mapping[str, Scalar]) -> tuple[Column, ...]:
    """One nullable column a hyperparameter, in the type of its value, in the order of names.

    Raises:
        SchemaError: For a name that is a fixed column's, or a value that is no bool, int, float or str.
    """
    fixed = {column.name for column in TRIAL_COLUMNS}
    clashes = sorted(fixed.intersection(values))
    odd = sorted(name for name, value in values.items() if type(value) not in HYPERPARAMETER_TYPES)
    if clashes or odd:
        msg = (
            f"hyperparameters cannot be columns of trials: {', '.join(clashes) or 'none'} are fixed columns "
            f"already, {', '.join(odd) or 'none'} are no bool, int, float or str; rename or convert them"
        )
        raise SchemaError(msg)
    return tuple(
        Column(name=name, type=HYPERPARAMETER_TYPES[type(value)], nullable=True)
        for name, value in sorted(values.items())
    )


def columns_of(rows: Sequence[TrialRow]) -> tuple[Column, ...]:
    """The hyperparameters' columns of some rows; raises SchemaError if two rows differ in a type."""
    found: dict[str, Column] = {}
    signatures = {
        tuple((name, type(value)) for name, value in row.hyperparameters.items()): row for row in rows
    }
    for row in signatures.values():  # few, of many rows
        for column in hyperparameter_columns(row.hyperparameters):
            if found.setdefault(column.name, column) != column:
                kinds = f"{found[column.name].type} in one trial, {column.type} in another"
                msg = f"hyperparameter {column.name}: {kinds}; allowed: one type"
                raise SchemaError(msg)
    return tuple(found[name] for name in sorted(found))


def trials_table(study: str, pack: PackKey, rows: Sequence[TrialRow]) -> pa.Table:
    """The rows of one pack's ``trials`` file.

    Args:
        study: Name of the study.
        pack: The pack and the attempt at it.
        rows: At least one, each trial once.

    Raises:
        SchemaError: If a value does not fit, or a trial comes twice.
    """
    ids = [row.trial_id for row in rows]
    if not ids or len(set(ids)) < len(ids):
        msg = f"pack {pack.pack_id}: a commit needs at least one trial, and each trial once; got {ids}"
        raise SchemaError(msg)
    added = columns_of(rows)
    probes = [sorted(set(row.probes)) for row in rows]
    values: dict[str, list[object]] = {name: [getattr(row, name) for row in rows] for name in _PLAIN}
    values |= {column.name: [row.hyperparameters.get(column.name) for row in rows] for column in added}
    values |= {
        "study": [study] * len(rows),
        "pack_id": [pack.pack_id] * len(rows),
        "attempt": [pack.attempt] * len(rows),
        "state": [State(row.state).value for row in rows],
        "reason": [redact(row.reason) if row.reason else "" for row in rows],
        "versions": [json.dumps(dict(row.versions), sort_keys=True) for row in rows],
        "probes": [json.dumps(item) for item in probes],
        "num_probes": [len(item) for item in probes],
    }
    columns = (*TRIAL_COLUMNS, *added)
    arrays = [to_array(column, values[column.name]) for column in columns]
    table = pa.Table.from_arrays(arrays, schema=arrow_schema(columns))
    # As a dictionary, because other readers (pandas, pyarrow) make one of the folder's "study=" and would
    # refuse to join it with plain strings.
    coded = pa.field("study", pa.dictionary(pa.int32(), pa.string()), nullable=False)
    return table.set_column(0, coded, table["study"].cast(coded.type))
