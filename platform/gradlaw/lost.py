"""What a driver records of packs whose workers died."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gradlaw.launch.base import Order
from gradlaw.launch.worker import commit_unrun
from gradlaw.pending import Index
from gradlaw.store.checkpoints import newest_checkpoints
from gradlaw.store.paths import CheckpointKey
from gradlaw.store.store import Store
from gradlaw.telling import Teller
from gradlaw.trial import State


def commit_lost(
    store: Store,
    orders: Iterable[Order],
    causes: Mapping[str, str],
    before: tuple[Index, Mapping[str, CheckpointKey]],
    index: Index,
    teller: Teller,
) -> bool:
    """Commits trials as lost: a dead worker cannot say so, for what it had not committed.

    A worker that kept a checkpoint was no failed attempt: the pack goes on from there, together, however
    often workers are taken away.

    Args:
        store: The store.
        orders: Of the packs that were lost.
        causes: Why, by pack id.
        before: What the store knew of the trials, and the newest checkpoints, before the launch.
        index: What it knows of the trials now.
        teller: Told of each pack.

    Returns:
        Whether any pack was lost but got further.
    """
    known, held = before
    kept = newest_checkpoints(store.files)
    got_further = False
    for order in orders:
        pack_id = order.pack.pack_id
        ids = [member.trial.trial_id for member in order.pack.members]
        reasons = dict.fromkeys((item for item in ids if index.get(item) == known.get(item)), causes[pack_id])
        if not reasons:
            continue
        if kept.get(pack_id) not in (None, held.get(pack_id)):
            got_further = True
            teller.say(f"pack {pack_id}: lost, but it kept a checkpoint: no failed attempt")
            continue
        commit_unrun(store, order.pack, reasons, State.LOST, order.attempts)
        teller.say(f"pack {pack_id}: {len(reasons)} of {len(ids)} trials lost")
    return got_further
