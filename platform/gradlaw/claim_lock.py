"""Locks: the claims of a study as they stood before its first trial, in a form that can be compared.

A claim's digest covers its statement, statistic, margin, level, looks, gate and controls, and the text of
every SQL file it names, so that nothing about it can change unseen. Fields that claims gained later
(``omit_default``) are left out at their default: they change no lock made before them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields, is_dataclass
from typing import Any

from gradlaw.claim import Claim
from gradlaw.fingerprint import digest

Document = dict[str, Any]


def claim_document(claim: Claim, sql: Callable[[str], str]) -> Document:
    """One claim as JSON: its fields, the text of its SQL files, and a digest of both.

    Args:
        claim: The claim.
        sql: From the name of a SQL file to its text.
    """
    files = {claim.sql, *(control.sql for control in claim.controls)}
    if claim.gate:
        files.add(claim.gate.sql)
    document = {**_plain(claim), "sql_text": {file: sql(file) for file in sorted(files)}}
    return {**document, "digest": digest(document)}


def lock_digest(documents: Sequence[Document]) -> str:
    """Digest of a study's claims together."""
    return digest(sorted(str(document["digest"]) for document in documents))


def _plain(value: object) -> Any:  # JSON has no narrower type
    if is_dataclass(value) and not isinstance(value, type):
        named = {item.name: _plain(getattr(value, item.name)) for item in fields(value) if _said(value, item)}
        return {"type": type(value).__name__, **named}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _said(value: object, item: Field[Any]) -> bool:
    return not item.metadata.get("omit_default") or getattr(value, item.name) != item.default
