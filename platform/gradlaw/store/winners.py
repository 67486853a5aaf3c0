"""Which row of ``trials`` counts when several commits hold the same trial.

Two drivers on one store, a late retry or a changed packing leave a trial in more than one commit. One
row wins by a total order in which no clock takes part, so that every reader, whenever and in whatever
order it lists the files, sees the same:

1. the better state: measured (done, reached_target, diverged, stopped), then out_of_memory and skipped, then
   failed, then retriable;
2. more of the probes that the reader needs of the trial;
3. more probes;
4. the lower attempt, then the pack's id, then the study's name.

Rows of every other table count if their trial, pack and attempt are a winner's.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # pyarrow ships no types
from numpy.typing import NDArray

from gradlaw.store.paths import PackKey
from gradlaw.trial import RETRIABLE, State

INDEX_COLUMNS = ("trial_id", "pack_id", "attempt", "study", "state", "probes", "source_digest", "device")
"""What of ``trials`` decides; and source and device, by which a run sees that they have changed."""

_TYPES = {"trial_id": pa.string(), "attempt": pa.int32()}
_TEXT = pa.dictionary(pa.int32(), pa.string())
INDEX_SCHEMA = pa.schema([(name, _TYPES.get(name, _TEXT)) for name in INDEX_COLUMNS])
"""Texts that many rows share are held once: a million rows take 50 MB so, and 140 MB spelt out."""

_RANKS = {
    State.DONE: 0,
    State.REACHED_TARGET: 0,
    State.DIVERGED: 0,
    State.STOPPED: 0,
    State.OUT_OF_MEMORY: 1,
    State.SKIPPED: 1,
    State.FAILED: 2,
    State.ERROR: 3,
    State.TIMED_OUT: 3,
    State.LOST: 3,
}

Needed = Mapping[str, Collection[str]]
"""Digests of the probes that a reader needs, by trial_id; a trial left out needs none."""


class TrialStatus(NamedTuple):
    """What the store knows of one trial.

    Attributes:
        state: Of the row that wins.
        num_attempts: Number of committed rows in a retriable state.
        probes: Digests of the probes it was measured with, of the row that wins.
        source: Digest of the source that ran it, of the row that wins; "" if unknown.
        device: What trained it, of the row that wins; "" if nothing was trained.
        pack: The commit that the row stands in; None if unknown.
    """

    state: State
    num_attempts: int
    probes: frozenset[str]
    source: str = ""
    device: str = ""
    pack: PackKey | None = None


def winners(index: pa.Table, needed: Needed | None = None) -> NDArray[np.bool_]:
    """Which rows win, shape [rows]: exactly one a trial, whatever the order of the rows.

    Args:
        index: The columns ``INDEX_COLUMNS`` of every committed row.
        needed: What the reader needs measured.
    """
    codes = _codes(index)
    counts = np.bincount(codes) if len(codes) else np.zeros(0, dtype=np.int64)
    wins: NDArray[np.bool_] = counts[codes] == 1
    rivals = np.flatnonzero(~wins)
    best: dict[str, tuple[Any, ...]] = {}
    for row, fields in zip(rivals.tolist(), index.take(rivals).to_pylist(), strict=True):
        key = (*_order(fields, needed or {}), row)
        if fields["trial_id"] not in best or key < best[fields["trial_id"]]:
            best[fields["trial_id"]] = key
    wins[[key[-1] for key in best.values()]] = True
    return wins


def _codes(index: pa.Table) -> NDArray[np.int32]:
    ids = index["trial_id"].combine_chunks()
    if isinstance(ids, pa.ChunkedArray):  # no chunk at all
        return np.zeros(0, dtype=np.int32)
    codes: NDArray[np.int32] = ids.dictionary_encode().indices.to_numpy()
    return codes


def _order(fields: Mapping[str, Any], needed: Needed) -> tuple[int, int, int, int, str, str]:
    probes = set(json.loads(fields["probes"]))
    covered = len(probes.intersection(needed.get(fields["trial_id"], ())))
    rank = _RANKS[State(fields["state"])]
    return rank, -covered, -len(probes), fields["attempt"], fields["pack_id"], fields["study"]


class TrialIndex(Mapping[str, TrialStatus]):
    """What the store knows of every trial, by trial_id; a million trials take about a second to index.

    Trials of one pack have one status as a rule, which is held once: a million take 50 MB.
    """

    def __init__(self, index: pa.Table, needed: Needed | None = None) -> None:
        wins = winners(index, needed)
        won = index if wins.all() else index.filter(pa.array(wins))
        statuses, kinds = _statuses(won)
        self._held = {
            trial_id: statuses[kind] for trial_id, kind in _kind_of_each(won["trial_id"], kinds, needed or {})
        }
        retriable = pc.is_in(index["state"], value_set=pa.array([state.value for state in RETRIABLE]))
        for trial_id, number in Counter(index["trial_id"].filter(retriable).to_pylist()).items():
            self._held[trial_id] = self._held[trial_id]._replace(num_attempts=number)

    def __getitem__(self, trial_id: str) -> TrialStatus:
        return self._held[trial_id]

    def get(self, trial_id: str, default: Any = None) -> Any:
        """As of any mapping, but without an exception for each trial that is not there."""
        return self._held.get(trial_id, default)

    def __contains__(self, trial_id: object) -> bool:
        return trial_id in self._held

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


def _statuses(won: pa.Table) -> tuple[list[TrialStatus], NDArray[np.int64]]:
    """The distinct statuses, as of trials without an attempt, and for each row the number of its own."""
    coded = [_coded(won[name]) for name in ("state", "probes", "source_digest", "device", "pack_id")]
    numbers, own = np.unique(won["attempt"].to_numpy(), return_inverse=True)
    firsts, kinds = _distinct([*(codes for _, codes in coded), own])
    states, probes, sources, devices, packs = (
        [texts[code] for code in codes[firsts].tolist()] for texts, codes in coded
    )
    sets = {text: frozenset(json.loads(text)) for text in set(probes)}
    attempts = numbers[own[firsts]].tolist()
    statuses = [
        TrialStatus(State(state), 0, sets[probe], source, device, PackKey(pack, number))
        for state, probe, source, device, pack, number in zip(
            states, probes, sources, devices, packs, attempts, strict=True
        )
    ]
    return statuses, kinds


def _distinct(columns: Sequence[NDArray[np.integer]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first row of each distinct combination of codes, and for each row the number of its own."""
    joint, size = np.zeros(len(columns[0]), dtype=np.int64), 1
    for codes in columns:
        radix = int(codes.max(initial=0)) + 1
        if size * radix > np.iinfo(np.int64).max:
            joint = np.unique(joint, return_inverse=True)[1]
            size = len(joint)
        joint, size = joint * radix + codes, size * radix
    return np.unique(joint, return_index=True, return_inverse=True)[1:]


def _kind_of_each(
    ids: pa.ChunkedArray, kinds: NDArray[np.int64], needed: Needed
) -> Iterator[tuple[str, int]]:
    """Trial ids, each with its kind; those of ``needed`` as its very objects: a million texts take 70 MB."""
    asked = pa.array(list(needed), pa.string())
    rows = pc.fill_null(pc.index_in(asked, value_set=ids), -1).to_numpy(zero_copy_only=False)
    for trial_id, row in zip(needed, rows, strict=True):
        if row >= 0:
            yield trial_id, kinds[row]
    others = np.flatnonzero(pc.invert(pc.is_in(ids, value_set=asked)).to_numpy())
    yield from zip(ids.take(others).to_pylist(), kinds[others], strict=True)


def _coded(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int32]]:
    """The distinct texts, and for each row the number of its own; without a copy of the column."""
    coded = column.dictionary_encode()
    if not coded.num_chunks:
        return [], np.zeros(0, dtype=np.int32)
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in coded.chunks])
    return coded.chunk(0).dictionary.to_pylist(), codes
