"""What a store's locks say of the claims as they stand now: declared before data, or changed since."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Literal

from gradlaw.claim_lock import claim_document
from gradlaw.studies import StudyFolder

Document = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ClaimChange:
    """A claim that differs from what was locked before.

    Attributes:
        claim: Its name.
        kind: What happened to it.
        fields: The fields that changed, with ``sql_text`` for the text of its SQL files.
        seen_in: "now" for the study as it stands, else the plan whose run locked the change.
        after_data: Whether the study had data by then.
    """

    claim: str
    kind: Literal["added", "changed", "removed"]
    fields: tuple[str, ...] = ()
    seen_in: str
    after_data: bool


def claim_documents(folder: StudyFolder) -> dict[str, Document]:
    """The claims of a study as they stand now, as a lock would hold them, by name."""
    documents = [claim_document(claim, folder.sql) for claim in folder.claims]
    return {document["name"]: document for document in json.loads(json.dumps(documents))}


def declared_before_data(
    document: Document, locks: Sequence[Document], plan_id: str, asked_since: datetime
) -> bool:
    """Whether a claim was locked before the first trial of a plan.

    A lock counts if it was taken while none of its own plan's trials had run, and if it is this plan's or
    older than every plan that shares a trial with this one: a claim changed after one plan's data may still
    come before another's.

    Args:
        document: The claim.
        locks: The study's lock.
        plan_id: The plan.
        asked_since: When the first of its trials was asked for, by whatever plan.
    """
    return any(
        lock["before_data"]
        and (lock["plan_id"] == plan_id or _time(lock["created_at"]) <= _utc(asked_since))
        and any(item["digest"] == document["digest"] for item in lock["claims"])
        for lock in _claim_locks(locks)
    )


def claim_changes(
    now: dict[str, Document], locks: Sequence[Document], *, has_data: bool
) -> tuple[ClaimChange, ...]:
    """Every difference from one lock to the next, and from the last to now.

    Args:
        now: The claims as they stand, by name.
        locks: The study's lock.
        has_data: Whether the study has data now.
    """
    held = _claim_locks(locks)
    stages = [(lock["plan_id"], not lock["before_data"], _by_name(lock)) for lock in held]
    stages.append(("now", has_data, now))
    changes: list[ClaimChange] = []
    for (_, _, before), (seen_in, after_data, after) in pairwise(stages):
        for name in dict.fromkeys([*before, *after]):
            if (change := _change(before.get(name), after.get(name))) is not None:
                kind, fields = change
                changes.append(
                    ClaimChange(claim=name, kind=kind, fields=fields, seen_in=seen_in, after_data=after_data)
                )
    return tuple(changes)


def _change(
    before: Document | None, after: Document | None
) -> tuple[Literal["added", "changed", "removed"], tuple[str, ...]] | None:
    if before is None:
        return "added", ()
    if after is None:
        return "removed", ()
    if before["digest"] == after["digest"]:
        return None
    names = dict.fromkeys([*before, *after])
    return "changed", tuple(key for key in names if key != "digest" and before.get(key) != after.get(key))


def _claim_locks(locks: Sequence[Document]) -> list[Document]:
    return [lock for lock in locks if lock.get("kind") == "claims"]


def _by_name(lock: Document) -> dict[str, Document]:
    return {document["name"]: document for document in lock["claims"]}


def _time(text: str) -> datetime:
    return _utc(datetime.fromisoformat(text))


def _utc(moment: datetime) -> datetime:
    """Times in the store are UTC, with or without a zone."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
