"""What a driver records of packs whose workers died."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gradlaw.launch.base import Order, Report
from gradlaw.launch.committing import commit_unrun
from gradlaw.running.pending import Index
from gradlaw.running.starved import Starved
from gradlaw.running.telling import Teller
from gradlaw.store.checkpoints import newest_checkpoints
from gradlaw.store.paths import CheckpointKey
from gradlaw.store.store import Store
from gradlaw.trial import MAX_ATTEMPTS, State


def commit_lost(
    store: Store,
    orders: Iterable[Order],
    reports: Mapping[str, Report],
    seen: tuple[Index, Mapping[str, CheckpointKey], Index],
    starved: Starved,
    teller: Teller,
) -> set[str]:
    """Commits trials as lost: a dead worker cannot say so, for what it had not committed.

    A worker that kept a checkpoint was no failed attempt: the pack goes on from there, together, however
    often workers are taken away. Nor was one that died for lack of memory, while the pack can go on narrower.

    Args:
        store: The store.
        orders: Of the packs that were lost.
        reports: The last of each, by pack id, with the width that it ran at.
        seen: What the store knew of the trials, and the newest checkpoints, before the launch; and what it
            knows of the trials now.
        starved: Takes note of lack of memory.
        teller: Told of each pack.

    Returns:
        The packs that were lost but got further, or can: they go on.
    """
    known, held, index = seen
    kept = newest_checkpoints(store.files)
    further = set[str]()
    for order in orders:
        pack_id = order.pack.pack_id
        report = reports[pack_id]
        ids = [member.trial.trial_id for member in order.pack.members]
        reasons = dict.fromkeys((item for item in ids if index.get(item) == known.get(item)), report.error)
        if not reasons:
            continue
        if kept.get(pack_id) not in (None, held.get(pack_id)):
            further.add(pack_id)
            teller.say(f"pack {pack_id}: lost, but it kept a checkpoint: no failed attempt")
            continue
        if report.out_of_memory and starved.goes_on(order, report.width):
            further.add(pack_id)
            teller.say(f"pack {pack_id}: lost for lack of memory; it goes on narrower")
            continue
        # a node may lack memory for what others take: it is the trial's own fault only if it happens again
        spent = max(order.attempts.get(item, 0) for item in reasons) + 1 >= MAX_ATTEMPTS
        state = State.OUT_OF_MEMORY if report.out_of_memory and spent else State.LOST
        commit_unrun(store, order.pack, reasons, state, order.attempts)
        teller.say(f"pack {pack_id}: {len(reasons)} of {len(ids)} trials {state.replace('_', ' ')}")
    return further
