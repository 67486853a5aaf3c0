"""Evaluations that were shown, kept in the store: who looks often must be seen to have looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradlaw import provenance
from gradlaw.plan_kind import PlanKind
from gradlaw.store.store import Store
from gradlaw.studies import StudyFolder
from gradlaw_analysis.declared import claim_documents
from gradlaw_analysis.verdict import Verdict

EVALUATION = "evaluation"
_SHOWN = (
    "plan", "claim", "verdict", "exploratory", "num_seeds", "num_trials", "estimate", "ci_low", "ci_high",
    "ci_level", "p_value", "p_complement", "p_adjusted",
)  # fmt: skip


def record_verdicts(store: Store, folder: StudyFolder, verdicts: Sequence[Verdict]) -> int:
    """Appends each evaluation to the study's lock, and each verdict whole to its verdicts.

    An evaluation that the lock already holds, of the same claim on the same files with the same
    outcome, is not written again. Smoke plans show no p and leave no trace.

    Returns:
        The number of evaluations written.

    Raises:
        StoreError: If the store cannot be written.
    """
    digests = {name: document["digest"] for name, document in claim_documents(folder).items()}
    held = [_identity(lock) for lock in store.locks(folder.name) if lock.get("kind") == EVALUATION]
    written = 0
    for verdict in verdicts:
        if verdict.kind == PlanKind.SMOKE:
            continue
        whole = verdict.document()
        shown = {name: whole[name] for name in _SHOWN}
        files = {name: whole["files"][name] for name in ("count", "digest")}
        document = {
            "kind": EVALUATION, **shown, "claim_digest": digests[verdict.claim.name], "files": files,
        }  # fmt: skip
        if _identity(document) in held:
            continue
        stamp = {"created_at": provenance.utc_now().isoformat(), "git_commit": provenance.git_commit()}
        store.append_lock(folder.name, {**document, **stamp})
        store.append_verdict(folder.name, {**whole, "kind": "verdict", "files": files, **stamp})
        written += 1
    return written


def _identity(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in document.items() if name not in ("created_at", "git_commit", "number")
    }
