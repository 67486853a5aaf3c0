"""What is written down before a plan's first trial: its claims, locked, and the plan itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gradlaw import provenance
from gradlaw.claim_lock import claim_document, lock_digest
from gradlaw.plan_kind import PlanKind
from gradlaw.planning.planned import Planned
from gradlaw.running.pending import Index, planned_trials
from gradlaw.store.plans import PlanRecord
from gradlaw.store.store import Store


def record_plan(store: Store, planned: Planned, index: Index, rounds: Iterable[str] = ()) -> None:
    """Writes a plan, if it is new, and locks the claims where it decides, once for each version of them.

    Args:
        store: The store.
        planned: The plan; of an adaptive one, without the rounds so far, which have records of their own.
        index: What the store knows of the plan's trials.
        rounds: Ids of the trials of the rounds so far.
    """
    plan, folder = planned.plan, planned.folder
    documents = [claim_document(claim, folder.sql) for claim in folder.claims]
    claims_digest = lock_digest(documents)
    if plan.kind is PlanKind.CONFIRM and folder.claims:
        lock = {
            "kind": "claims",
            "digest": claims_digest,
            "claims": documents,
            "plan_id": plan.plan_id,
            "created_at": provenance.utc_now().isoformat(),
            "git_commit": provenance.git_commit(),
            "before_data": not any(
                trial_id in index
                for trial_id in (*(trial.trial_id for trial in planned_trials(plan)), *rounds)
            ),
        }
        _lock_once(store, plan.study, lock)
    record = PlanRecord(
        plan_id=plan.plan_id,
        study=plan.study,
        preset=plan.preset,
        overrides=plan.overrides,
        num_seeds=len(plan.seeds),
        declared_seeds=plan.declared_seeds,
        kind=plan.kind,
        created_at=provenance.utc_now(),
        git_commit=provenance.git_commit(),
        claims_digest=claims_digest,
        is_open=plan.adaptive is not None,
    )
    store.write_plan(record, planned_trials(plan))


def _lock_once(store: Store, study: str, lock: Mapping[str, Any]) -> None:
    """Locks claims unless this version of them is locked, by whichever of many drivers comes first."""
    while True:
        held = store.locks(study)
        digests = {document.get("digest") for document in held if document.get("kind") == lock["kind"]}
        if lock["digest"] in digests or store.append_lock_after(study, lock, len(held)):
            return
