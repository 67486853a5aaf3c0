"""Which attempts at a pack are committed: what a driver saw, and what came since."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count
from typing import NamedTuple

from gradlaw.store import paths
from gradlaw.store.damage import DamagedError, read_manifest
from gradlaw.store.files import Files
from gradlaw.store.paths import PackKey
from gradlaw.store.resolve import Resolved


class Seen(NamedTuple):
    """What a driver saw of a pack when it decided to run it.

    Attributes:
        committed: Attempts with a commit, whether it could be read or not.
        generation: Number of the newest generation; 0: none.
    """

    committed: frozenset[int] = frozenset()
    generation: int = 0


class Sight:
    """What is seen of packs in one look at a store."""

    def __init__(self, resolved: Resolved, pack_ids: Collection[str]) -> None:
        """Takes what there is of these packs.

        Args:
            resolved: The look.
            pack_ids: Packs that :meth:`of` will be asked for.
        """
        wanted = frozenset(pack_ids)
        self._generation = resolved.generation
        self._found: dict[str, set[int]] = {}
        for packs in (*(unit.packs for unit in resolved.units), resolved.unread):
            for pack in packs:
                if pack.pack_id in wanted:
                    self._found.setdefault(pack.pack_id, set()).add(pack.attempt)

    def of(self, pack_id: str) -> Seen:
        """What is seen of one pack."""
        return Seen(frozenset(self._found.get(pack_id, ())), self._generation)


def committed_since(files: Files, study: str, pack_id: str, seen: Seen, *, first: int = 0) -> bool:
    """Whether an attempt at a pack was committed that was not seen: a look at few files, as a rule at one.

    Args:
        files: The store's.
        study: Name of the study.
        pack_id: The pack.
        seen: What was seen of it.
        first: Attempts below this one may be lacking; none is after the first that lacks.

    Raises:
        StoreError: The store cannot be read.
    """
    open_: list[PackKey] = []
    for number in count():
        pack = PackKey(pack_id, number)
        if number in seen.committed:
            continue
        if files.exists(paths.attempt(pack)):
            open_.append(pack)
        elif number >= first:
            break
    if any(files.exists(paths.data(paths.TRIALS, study, pack)) for pack in open_):
        return True
    return bool(open_) and not _merged_since(files, seen.generation).isdisjoint(open_)


def _merged_since(files: Files, generation: int) -> frozenset[PackKey]:
    """The commits that newer generations hold: of those their own files may be gone."""
    numbers = [paths.parse_manifest(key) for key in files.scan(paths.GENERATIONS)]
    merged: set[PackKey] = set()
    for number in numbers:
        if number is not None and number > generation:
            try:
                manifest = read_manifest(files, paths.manifest(number))
            except (DamagedError, FileNotFoundError):
                continue
            merged |= {PackKey(*pack) for part in manifest["parts"] for pack in part["packs"]}
    return frozenset(merged)
