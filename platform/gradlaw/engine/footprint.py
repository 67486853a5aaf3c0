"""What a trial of a batch takes in memory: one step traced on tensors that have shapes but no numbers.

Nothing is computed, so that a step of minutes is as quickly looked at as one of microseconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import torch
from torch._subclasses import FakeTensorMode

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


def member_bytes(training: Training, members: Iterable[Member]) -> int:
    """Bytes that one member of a batch takes at most, at a step or where its probes are read.

    Its parameters and states count twice: before a step and after it.

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
    peak: int = made.peak
    return 2 * batch.memory_bytes() + peak // _WIDTH


def footprints(packs: Iterable[Pack]) -> Mapping[int, int]:
    """Bytes a member, by the id of a program, of training programs.

    Those that look largest come first, and when :data:`LIMIT_S` is over the others are taken to be as large
    as the largest of them. A program that cannot be looked at without its numbers is left out.
    """
    programs = {id(pack.program): pack for pack in packs if isinstance(pack.program, Training)}
    found: dict[int, int] = {}
    begun = time.perf_counter()
    for key, pack in sorted(programs.items(), key=lambda item: -_rows(item[1])):
        if found and time.perf_counter() - begun > LIMIT_S:
            found.update(dict.fromkeys(programs.keys() - found.keys(), max(found.values())))
            break
        assert isinstance(pack.program, Training)
        try:
            found[key] = member_bytes(pack.program, pack.members)
        except Exception:  # noqa: BLE001, S112 - a run would record it as the trials' end
            continue
    return found


def _rows(pack: Pack) -> int:
    """Rows of the data that a step takes."""
    assert isinstance(pack.program, Training)
    return pack.program.batch_size or pack.program.task.num_rows or 1
