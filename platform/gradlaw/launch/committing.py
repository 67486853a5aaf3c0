"""What becomes of a pack in the store: the rows of its trials, and commits of those with nothing to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from gradlaw import provenance
from gradlaw.engine.results import TrialResult
from gradlaw.launch.base import Order
from gradlaw.pack import Pack, probe_digests, program_source, program_tables
from gradlaw.store.attempts import Sight, committed_since
from gradlaw.store.leases import Leases, Tenant
from gradlaw.store.store import Store
from gradlaw.store.trials import TrialRow
from gradlaw.store.writer import PackWriter
from gradlaw.text import redact
from gradlaw.trial import MAX_ATTEMPTS, RETRIABLE, State


def open_writer(store: Store, pack: Pack, first_attempt: int = 0) -> PackWriter:
    """The writer of the next attempt at a pack, whose number is at least the first."""
    tables = program_tables(pack.program) if pack.program else ()
    hyperparameters = pack.members[0].hyperparameters
    return store.writer(
        pack.study,
        pack.pack_id,
        hyperparameters=hyperparameters,
        tables=tables,
        first_attempt=first_attempt,
    )


def commit_unrun(
    store: Store,
    pack: Pack,
    reasons: Mapping[str, str],
    state: State,
    attempts: Mapping[str, int],
) -> None:
    """Commits members that have nothing to show, each with its reason, by trial id."""
    pack = replace(pack, members=tuple(item for item in pack.members if item.trial.trial_id in reasons))
    results = [
        TrialResult(
            trial_id=trial_id,
            state=state,
            reason=_one_line(reasons[trial_id]),
            steps_done=0,
            wall_s=0.0,
        )
        for trial_id in ids_of(pack)
    ]
    with open_writer(store, pack) as writer:
        rows = trial_rows(pack, results, attempts=attempts, started_at=provenance.utc_now())
        writer.commit(rows)


def commit_skipped(
    store: Store, pack: Pack, reasons: Mapping[str, str], tenant: Tenant, sight: Sight
) -> bool:
    """Commits members as skipped, unless another does; returns False while another is at it.

    Args:
        store: The store.
        pack: With these members.
        reasons: By trial id.
        tenant: For whom the lease is taken.
        sight: What was seen of the pack.
    """
    hold = Leases(store.files, tenant.driver).acquire(pack.pack_id, tenant)
    if hold is None:
        return False
    with hold:
        if not committed_since(store.files, pack.study, pack.pack_id, sight.of(pack.pack_id)):
            commit_unrun(store, pack, reasons, State.SKIPPED, {})
    return True


def commit_timed_out(order: Order, reason: str) -> None:
    """Commits all members of an order as timed out: for a worker that hangs, before it is ended."""
    reasons = dict.fromkeys(ids_of(order.pack), reason)
    commit_unrun(Store.open(order.store), order.pack, reasons, State.TIMED_OUT, order.attempts)


def trial_rows(
    pack: Pack, results: Sequence[TrialResult], *, attempts: Mapping[str, int], started_at: datetime
) -> list[TrialRow]:
    """Rows of ``trials`` for the results, which are in the members' order.

    A retriable state becomes ``failed`` when the trial has had its attempts.
    """
    probes, source = tuple(sorted(probe_digests(pack.program))), program_source(pack.program)
    rows = []
    for member, result in zip(pack.members, results, strict=True):
        trial, execution = member.trial, result.execution
        spent = attempts.get(result.trial_id, 0) + 1 >= MAX_ATTEMPTS
        gives_up = result.state in RETRIABLE and spent
        row = TrialRow(
            trial_id=trial.trial_id,
            seed=trial.seed,
            state=State.FAILED if gives_up else result.state,
            reason=f"{result.state}: {result.reason}" if gives_up else result.reason,
            task=trial.task,
            rule=trial.rule,
            schedule=trial.schedule,
            dtype=trial.dtype,
            steps=trial.steps,
            data_digest=trial.data_digest,
            hyperparameters=member.hyperparameters,
            steps_done=result.steps_done,
            wall_s=result.wall_s,
            device=execution.device if execution else "",
            mode=execution.mode if execution else "",
            pack_width=execution.width if execution else 0,
            threads=execution.threads if execution else 0,
            host=provenance.host(),
            versions=provenance.versions(),
            git_commit=provenance.git_commit(),
            source_digest=source,
            probes=probes,
            started_at=started_at,
        )
        rows.append(row)
    return rows


def ids_of(pack: Pack) -> list[str]:
    """Ids of a pack's trials, in the members' order."""
    return [member.trial.trial_id for member in pack.members]


def _one_line(text: str) -> str:
    """A message as one line: of several faults all are told."""
    return " ".join(redact(text).split())[:1000]  # cut last: half a secret would not be known as one
