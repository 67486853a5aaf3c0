"""Crossings: the first logged step at which a trial's metric is at or past a value, for table probes.

Looked for before the step is taken, on the columns of metric probes, so that a probe sees the parameters that
the row of ``metrics`` is of. That waits for the device once a logged row, while anything is left to cross, in
packs with such a probe alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gradlaw.ending import Target
from gradlaw.engine.step import RUNNING
from gradlaw.pack import Member, Training
from gradlaw.probe import TableProbe


class Crossing(NamedTuple):
    """A target that a probe waits for.

    Attributes:
        probe, target: Which, for what.
        mark: Names it among all that the probes of a program wait for.
    """

    probe: TableProbe
    target: Target
    mark: str


def crossings_of(training: Training) -> list[Crossing]:
    """All that the table probes of a program wait for."""
    return [
        Crossing(probe, target, f"crossing {probe.name} {place} {number}")
        for place, probe in enumerate(training.probes)
        if isinstance(probe, TableProbe)
        for number, target in enumerate(probe.crossings())
    ]


def past(values: Tensor, target: Target) -> Tensor:
    """Where values are at a target or past it; not where they are not numbers."""
    return values <= target.value if target.direction == "below" else values >= target.value


class Watch:
    """What the members of a batch have still to cross.

    Args:
        training: Their program.
        members: The members.
        recorded: Holds the trial's id and the mark of what was crossed before.
    """

    def __init__(self, training: Training, members: Sequence[Member], recorded: Collection[str]) -> None:
        self._log_every = training.log_every
        self._steps = [member.trial.steps for member in members]
        ids = [member.trial.trial_id for member in members]
        self._left = {
            crossing: {
                place for place, trial_id in enumerate(ids) if f"{trial_id} {crossing.mark}" not in recorded
            }
            for crossing in crossings_of(training)
        }

    def crossed(
        self, step: int, values: Mapping[str, Tensor], ended_at: Tensor
    ) -> list[tuple[int, Crossing]]:
        """Places of members and what they cross at this logged step, each once.

        Args:
            step: The step about to be taken.
            values: Columns of metric probes before it, each of shape [width].
            ended_at: Where each ended, shape [width].
        """
        left = [
            (crossing, own)
            for crossing, places in self._left.items()
            if (own := [place for place in places if self._is_logged(place, step)])
        ]
        if not left:
            return []
        running = ended_at == RUNNING
        there = torch.stack(
            [past(values[item.target.metric], item.target) & running for item, _ in left]
        ).cpu()
        found = [
            (place, crossing)
            for (crossing, places), row in zip(left, there.tolist(), strict=True)
            for place in places
            if row[place]
        ]
        for place, crossing in found:
            self._left[crossing].discard(place)
        return sorted(found, key=lambda item: item[0])

    def _is_logged(self, place: int, step: int) -> bool:
        """Whether a member has a row of ``metrics`` at a step that is logged for some."""
        return step == self._steps[place] or (step < self._steps[place] and step % self._log_every == 0)
