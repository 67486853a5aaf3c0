"""Every name in a store, in both directions. Nothing else joins or parses keys.

store.json                                       the store's schema version
schemas/<table>.json                             a declared table
schemas/<trials|metrics>/<column>.json           a column of a table that grows by name
<table>/study=<study>/<pack>-<attempt>.parquet   rows of one pack
trials/study=<study>/<pack>-<attempt>.parquet    the commit of that pack, written last
_attempts/<pack>-<attempt>.json                  reserves the number of an attempt
_leases/<pack>/<n>.json                          who runs a pack now: the newest number counts
_live/<pack>-<attempt>-<firststep>-<n>.parquet   metrics of a pack that runs
_checkpoints/<pack>-<attempt>-<n>.json           a checkpoint of a pack that runs, written last
_checkpoints/<pack>-<attempt>-<n>.safetensors    its tensors
_checkpoints/<pack>-<attempt>-<n>-<table>.parquet  rows since the one before
_generations/<n>.json                            a compaction, written last
_generations/<n>/<token>-<part>-<table>.parquet  its files
plans/<plan_id>.parquet                          what one run asked for
plans/<plan_id>/<n>.parquet                      what it asked for in a round, after what had ended
plans/<plan_id>/closed.json                      no round follows
locks/<study>/<nnnn>.json                        claims locked, evaluations shown
verdicts/<study>/<nnnn>.json                     verdicts given
_tmp/                                            files not yet published; marks that a run is to end
"""

from __future__ import annotations

import re
from typing import NamedTuple

from gradlaw.errors import StoreError, UsageError

STORE = "store.json"
TRIALS, METRICS = "trials", "metrics"
ATTEMPTS, LIVE, GENERATIONS, PLANS, SCHEMAS = "_attempts", "_live", "_generations", "plans", "schemas"
LOCKS, VERDICTS, CHECKPOINTS, LEASES = "locks", "verdicts", "_checkpoints", "_leases"
METRICS_LIVE = "metrics_live"
RESERVED = frozenset({PLANS, LOCKS, VERDICTS, SCHEMAS, METRICS_LIVE})
"""Folders that hold documents, not rows, and the view of live parts; no table may have such a name."""

NAME = r"[a-z][a-z0-9_]{0,99}"
PACK = r"[A-Za-z0-9_]+"
PLAN = r"[A-Za-z0-9_][A-Za-z0-9_-]*"
NUMBER = r"(?:0|[1-9][0-9]{0,8})"
"""Of an attempt, a round or a generation: as it is written here, so that no two names have one meaning."""
LAST = 999_999_999
"""The largest of them."""
_DATA = re.compile(rf"({NAME})/study=({NAME})/({PACK})-({NUMBER})\.parquet")
_LIVE = re.compile(rf"{LIVE}/({PACK})-({NUMBER})-[0-9]{{1,18}}-{NUMBER}\.parquet")
_CHECKPOINT = re.compile(
    rf"{CHECKPOINTS}/({PACK})-({NUMBER})-({NUMBER})(\.json|\.safetensors|-{NAME}\.parquet)"
)
_PLAN = re.compile(rf"{PLANS}/({PLAN})(?:/({NUMBER}))?\.parquet|{PLANS}/({PLAN})/closed\.json")
_LEASE = re.compile(rf"{LEASES}/({PACK})/({NUMBER})\.json")
_MANIFEST = re.compile(rf"{GENERATIONS}/({NUMBER})\.json")
_DOCUMENT = re.compile(rf"(?:{LOCKS}|{VERDICTS})/({NAME})/[0-9]{{4,9}}\.json")
_PART = re.compile(rf"{GENERATIONS}/({NUMBER})/[0-9a-f]{{1,32}}-{NUMBER}-({NAME})\.parquet")


class PackKey(NamedTuple):
    """One attempt at a pack: unique in a store, because its number is reserved in it."""

    pack_id: str
    attempt: int


class DataKey(NamedTuple):
    """What the key of a data file says."""

    table: str
    study: str
    pack: PackKey


def check(kind: str, name: str, pattern: str = NAME) -> str:
    """Returns ``name`` if it can be part of a key; raises UsageError if not."""
    if not re.fullmatch(pattern, name):
        msg = f"{kind}: got {name!r}, allowed {pattern}"
        raise UsageError(msg)
    return name


def data(table: str, study: str, pack: PackKey) -> str:
    """Key of one pack's rows of a table."""
    return f"{table}/study={study}/{pack.pack_id}-{pack.attempt}.parquet"


def parse_data(key: str) -> DataKey | None:
    """What a data file's key says, or None if it is not one."""
    match = _DATA.fullmatch(key)
    if match is None or match[1] in RESERVED:
        return None
    return DataKey(match[1], match[2], PackKey(match[3], int(match[4])))


def attempt(pack: PackKey) -> str:
    """Key of the document that reserves an attempt."""
    return f"{ATTEMPTS}/{pack.pack_id}-{pack.attempt}.json"


class LeaseKey(NamedTuple):
    """What the key of a lease says: ``number`` grows with each renewal."""

    pack_id: str
    number: int


def lease(pack_id: str, number: int) -> str:
    """Key of a lease."""
    return f"{LEASES}/{pack_id}/{number}.json"


def parse_lease(key: str) -> LeaseKey | None:
    """Whose lease a key is, or None."""
    match = _LEASE.fullmatch(key)
    return LeaseKey(match[1], int(match[2])) if match else None


def live(pack: PackKey, first_step: int, number: int) -> str:
    """Key of a live part."""
    return f"{LIVE}/{pack.pack_id}-{pack.attempt}-{first_step}-{number}.parquet"


def parse_live(key: str) -> PackKey | None:
    """Whose live part a key is, or None."""
    match = _LIVE.fullmatch(key)
    return PackKey(match[1], int(match[2])) if match else None


class CheckpointKey(NamedTuple):
    """What the key of a checkpoint's file says: ``number`` counts within the attempt."""

    pack: PackKey
    number: int
    ending: str


def checkpoint(pack: PackKey, number: int, ending: str) -> str:
    """Key of a checkpoint's file: ".json", ".safetensors" or "-<table>.parquet"."""
    return f"{CHECKPOINTS}/{pack.pack_id}-{pack.attempt}-{number}{ending}"


def parse_checkpoint(key: str) -> CheckpointKey | None:
    """Which checkpoint's file a key is, or None."""
    match = _CHECKPOINT.fullmatch(key)
    return CheckpointKey(PackKey(match[1], int(match[2])), int(match[3]), match[4]) if match else None


def manifest(generation: int) -> str:
    """Key of a generation's manifest; raises StoreError where none would be read: after the last number."""
    if generation > LAST:
        msg = (
            f"generation {generation}: allowed up to {LAST}; compactions do not get there, so that "
            f"{GENERATIONS}/{LAST}.json came by other means: move it out of the store, and compact again"
        )
        raise StoreError(msg)
    return f"{GENERATIONS}/{generation}.json"


def parse_manifest(key: str) -> int | None:
    """The generation whose manifest a key is, or None."""
    match = _MANIFEST.fullmatch(key)
    return int(match[1]) if match else None


def generation_file(generation: int, token: str, part: int, table: str) -> str:
    """Key of one file of a generation; the token keeps two compactions apart."""
    return f"{GENERATIONS}/{generation}/{token}-{part}-{table}.parquet"


class PartKey(NamedTuple):
    """What the key of a generation's file says."""

    generation: int
    table: str


def parse_generation_file(key: str) -> PartKey | None:
    """Which file of a generation a key is, or None."""
    match = _PART.fullmatch(key)
    return PartKey(int(match[1]), match[2]) if match else None


def plan(plan_id: str) -> str:
    """Key of a plan."""
    return f"{PLANS}/{plan_id}.parquet"


CLOSED = -1
"""In place of a round: the mark that none follows."""


class PlanKey(NamedTuple):
    """What the key of a plan's file says: ``part`` is None for the plan itself, else a round or CLOSED."""

    plan_id: str
    part: int | None


def plan_round(plan_id: str, number: int) -> str:
    """Key of a round of a plan."""
    return f"{PLANS}/{plan_id}/{number}.parquet"


def plan_closed(plan_id: str) -> str:
    """Key of the mark that no round follows."""
    return f"{PLANS}/{plan_id}/closed.json"


def parse_plan(key: str) -> PlanKey | None:
    """What a plan's file is, or None."""
    match = _PLAN.fullmatch(key)
    if match is None:
        return None
    if match[3]:
        return PlanKey(match[3], CLOSED)
    return PlanKey(match[1], int(match[2]) if match[2] else None)


def document(folder: str, study: str, number: int) -> str:
    """Key of a numbered document."""
    return f"{folder}/{study}/{number:04d}.json"


def parse_document(key: str) -> str | None:
    """The study whose numbered document a key is, or None."""
    match = _DOCUMENT.fullmatch(key)
    return match[1] if match else None


def table_schema(table: str) -> str:
    """Key of a declared table's registration."""
    return f"{SCHEMAS}/{table}.json"


def column_schema(table: str, column: str) -> str:
    """Key of the registration of one column of a table that grows by name."""
    return f"{SCHEMAS}/{table}/{column}.json"
