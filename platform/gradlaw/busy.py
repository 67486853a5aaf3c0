"""How busy devices were, and what to do about those that were not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

LOW = 0.5
"""Shares of use below it are worth a word."""
_SHORT_S = 60.0
"""Seconds of work below which a run says nothing: there starting is most of it."""


class Usage(NamedTuple):
    """What a worker used while it ran a pack.

    Attributes:
        wall_s: Seconds it took.
        cpu: Share of its CPUs, in [0, 1].
        gpu: Share of the time in which its GPU, whoever uses it, was at work; None: no GPU, or not known.
    """

    wall_s: float = 0.0
    cpu: float = 0.0
    gpu: float | None = None


def advice(gpu: float | None, cpu: float | None = None, *, cpus: int = 1) -> str:
    """What to change where less than half is used; "" where nothing is to be said.

    Args:
        gpu: Share of the GPUs' time used, or None.
        cpu: Share of the CPUs used, or None.
        cpus: CPUs of a pack: one that has a single CPU cannot be given less.

    >>> advice(0.2)
    'GPUs 20% busy: under Ray, with a smaller --gpus, more packs share one'
    >>> advice(None, 0.3, cpus=4)
    'CPUs 30% busy: with a smaller --cpus more packs run at once'
    >>> advice(0.9, 0.3)
    ''
    """
    if gpu is not None and gpu < LOW:
        return f"GPUs {gpu:.0%} busy: under Ray, with a smaller --gpus, more packs share one"
    if gpu is None and cpu is not None and cpu < LOW and cpus > 1:
        return f"CPUs {cpu:.0%} busy: with a smaller --cpus more packs run at once"
    return ""


class Busy:
    """Use over all packs of a run, each by its time."""

    def __init__(self) -> None:
        self._wall_s = self._cpu_s = self._gpu_s = self._gpu_wall_s = 0.0

    def add(self, usage: Usage) -> None:
        """Takes a pack."""
        self._wall_s += usage.wall_s
        self._cpu_s += usage.cpu * usage.wall_s
        if usage.gpu is not None:
            self._gpu_wall_s += usage.wall_s
            self._gpu_s += usage.gpu * usage.wall_s

    def lines(self, cpus: int) -> Iterable[str]:
        """What the run says of it at its end."""
        if self._wall_s < _SHORT_S:
            return
        gpu = self._gpu_s / self._gpu_wall_s if self._gpu_wall_s else None
        if line := advice(gpu, self._cpu_s / self._wall_s, cpus=cpus):
            yield line
