"""What a program takes in memory: one step traced on tensors that have shapes but no numbers.

Nothing is computed, so that a step of minutes is as quickly looked at as one of microseconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch._subclasses import FakeTensorMode
from torch.utils._pytree import tree_leaves

from gradlaw.engine.compiled import Flattened
from gradlaw.engine.functions import Functions
from gradlaw.engine.machine import step_arguments
from gradlaw.engine.members import stack
from gradlaw.engine.memory import PeakBytes
from gradlaw.engine.run import program_of
from gradlaw.pack import Member, Pack, Training

LIMIT_S = 10.0
"""Seconds after which no further program is looked at."""
_WIDTH = 2


class Footprint(NamedTuple):
    """Bytes that a program takes.

    Attributes:
        task_bytes: Of the task, its data above all, once for all members.
        member_bytes: Of one member of a batch, > 0: its parameters and states before a step and after it, and
            the most that a step, or a reading of its probes, makes at once.
    """

    task_bytes: int
    member_bytes: int


def footprint(training: Training, members: Iterable[Member]) -> Footprint:
    """Looks at one program.

    Args:
        training: The program.
        members: At least one that runs it.

    Raises:
        Exception: What the task, rule or a probe raises, among it that it asks a tensor for its numbers.
    """
    first = [next(iter(members))]
    program = program_of(training, first, "cpu")
    batch = stack(program, first, torch.device("cpu")).taken([0] * _WIDTH)
    functions = Functions(program, "eager" if training.task.vmappable else "loop", batch)
    arguments = step_arguments(functions, batch)
    with FakeTensorMode(allow_non_fake_inputs=True) as shapes:
        inputs = [shapes.from_tensor(tensor) for tensor in arguments]
        with PeakBytes() as made:
            functions.step.call(*inputs)
            if program.probes:
                read = Flattened.leaves((batch.fixed, batch.split, batch.moving, arguments[-1]))
                functions.read.call(*map(shapes.from_tensor, read))
    sizes = [getattr(leaf, "nbytes", 0) for leaf in tree_leaves(list(vars(program.task).values()))]
    return Footprint(sum(sizes), max(1, 2 * batch.memory_bytes() + made.peak // _WIDTH))


def footprints(packs: Iterable[Pack]) -> Mapping[int, Footprint]:
    """Looks at all training programs of some packs; by a program's id.

    Those that look largest come first, and when :data:`LIMIT_S` is over the others are taken to be as large
    as the largest of them. A program that cannot be looked at without its numbers is left out.
    """
    programs = {id(pack.program): pack for pack in packs if isinstance(pack.program, Training)}
    found: dict[int, Footprint] = {}
    begun = time.perf_counter()
    for key, pack in sorted(programs.items(), key=lambda item: -_rows(item[1])):
        if found and time.perf_counter() - begun > LIMIT_S:
            largest = Footprint(*map(max, zip(*found.values(), strict=True)))
            found.update(dict.fromkeys(programs.keys() - found.keys(), largest))
            break
        assert isinstance(pack.program, Training)
        try:
            found[key] = footprint(pack.program, pack.members)
        except Exception:  # noqa: BLE001, S112 - a run would record it as the trials' end
            continue
    return found


def _rows(pack: Pack) -> int:
    """Rows of the data that a step takes."""
    assert isinstance(pack.program, Training)
    return pack.program.batch_size or pack.program.task.num_rows or 1
