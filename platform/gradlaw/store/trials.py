"""The ``trials`` table: one row a trial that was run, with how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import SchemaError
from gradlaw.store.paths import PackKey
from gradlaw.store.schema import KEYS, arrow_schema, to_array
from gradlaw.table import Column, ColumnType
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
    Column(name="source_digest", type="string", doc="of task, rule and schedule"),
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

TrialRow = Mapping[str, Any]
"""One trial as its pack commits it: every fixed column but study, pack_id and attempt, which the store
adds; and the resolved value of each hyperparameter, defaults included, under its name."""

_GIVEN = {column.name for column in TRIAL_COLUMNS} - {"study", "pack_id", "attempt"}


def hyperparameter_columns(values: Mapping[str, object]) -> dict[str, Column]:
    """One nullable column a hyperparameter, by name, in the type of its value.

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
    return {
        name: Column(name=name, type=HYPERPARAMETER_TYPES[type(value)], nullable=True)
        for name, value in sorted(values.items())
    }


def columns_of(rows: Sequence[TrialRow]) -> tuple[Column, ...]:
    """The hyperparameters' columns of some rows; raises SchemaError if two rows differ in a type."""
    found: dict[str, Column] = {}
    for row in rows:
        values = {name: value for name, value in row.items() if name not in _GIVEN}
        for name, column in hyperparameter_columns(values).items():
            if found.setdefault(name, column) != column:
                msg = f"hyperparameter {name}: {found[name].type} in one trial, {column.type} in another"
                raise SchemaError(msg)
    return tuple(found[name] for name in sorted(found))


def trials_table(study: str, pack: PackKey, rows: Sequence[TrialRow]) -> pa.Table:
    """The rows of one pack's ``trials`` file.

    Args:
        study: Name of the study.
        pack: The pack and the attempt at it.
        rows: At least one, each trial once.

    Raises:
        SchemaError: If a fixed column is missing, a value does not fit, or a trial comes twice.
    """
    for row in rows:
        missing = sorted(_GIVEN.difference(row))
        if missing:
            msg = f"trial {row.get('trial_id')}: missing {', '.join(missing)}; allowed: every fixed column"
            raise SchemaError(msg)
    ids = [row["trial_id"] for row in rows]
    if not ids or len(set(ids)) < len(ids):
        msg = f"pack {pack.pack_id}: a commit needs at least one trial, and each trial once; got {ids}"
        raise SchemaError(msg)
    added = {"study": study, **pack._asdict()}
    columns = (*TRIAL_COLUMNS, *columns_of(rows))
    values = [[added.get(column.name, row.get(column.name)) for row in rows] for column in columns]
    arrays = [to_array(column, items) for column, items in zip(columns, values, strict=True)]
    _check_meaning(rows)
    return pa.Table.from_arrays(arrays, schema=arrow_schema(columns))


def _check_meaning(rows: Sequence[TrialRow]) -> None:
    """What types cannot say: the states there are, and the probes as a list that agrees with its length."""
    for row in rows:
        known = row["state"] in set(State)
        try:
            probes = json.loads(row["probes"])
        except ValueError:
            probes = None
        if not known or not isinstance(probes, list) or len(set(probes)) != row["num_probes"]:
            msg = (
                f"trial {row['trial_id']}: got state {row['state']!r}, probes {row['probes']!r} and "
                f"num_probes {row['num_probes']}, allowed one of {', '.join(State)}, a JSON list without "
                "repetition and its length"
            )
            raise SchemaError(msg)
