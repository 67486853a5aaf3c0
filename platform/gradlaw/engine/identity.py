"""What a compiled program is known by: its code, its settings, its data and the shapes it works on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves

from gradlaw.engine.members import Stack
from gradlaw.engine.step import TrialProgram
from gradlaw.fingerprint import source_digest
from gradlaw.probe import Probe
from gradlaw.rule import Rule
from gradlaw.schedules import Schedule
from gradlaw.task import Task

_HASHED_BYTES = 1 << 27  # data beyond it is rather traced than hashed


def program_key(program: TrialProgram, stack: Stack, device: str) -> str | None:
    """Digest of all that decides what the functions of a pack compute and how fast, but for their width.

    Args:
        program: Of one trial.
        stack: Some members, of any width.
        device: A torch device.

    Returns:
        The digest, or None if a part holds what cannot be told from another, a function say.
    """
    training = program.training
    digest = hashlib.sha256()
    try:
        for part in _parts(program):
            kind = type(part)
            digest.update(f"{kind.__module__}.{kind.__qualname__} {source_digest(kind)}".encode())
            for text in _settings(part):
                digest.update(text)
    except TypeError:
        return None
    sampler = program.sampler
    # by their number the reading is compiled, or not
    num_readings = training.steps // training.log_every if program.probes else 0
    shared = (
        *(
            training.batch_size,
            training.sampling,
            training.accumulate,
            training.dtype,
            training.loss_bound,
            training.log_every,
        ),
        *(training.target, training.halving is None, sampler.block_steps, sampler.epochs),
        num_readings,
        *(device, torch.__version__, torch.get_num_threads(), stack.own_split),
        *(_shape(leaf) for leaf in tree_leaves((stack.fixed, stack.moving))),
        *(tuple(leaf.shape[-1:]) for leaf in tree_leaves(stack.split) if isinstance(leaf, Tensor)),
        *sorted(stack.fixed.hp),
    )
    digest.update(repr(shared).encode())
    return digest.hexdigest()[:32]


def program_kinds(program: TrialProgram) -> tuple[type, ...]:
    """The classes of a program's parts: within a process, two of one name and source may yet differ."""
    return tuple(type(part) for part in _parts(program))


def _parts(program: TrialProgram) -> tuple[Task | Rule | Schedule | Probe, ...]:
    return (program.task, program.training.rule, program.training.schedule, *program.probes)


def _shape(leaf: Tensor) -> tuple[object, ...]:
    return (*leaf.shape[1:], leaf.dtype)


def _settings(part: object) -> Iterator[bytes]:
    """The attributes of a part, and those of its classes that may be told, as bytes.

    Raises:
        TypeError: One of the part's own is neither a number, a text, a tensor nor a collection of those, or
            is kept in a slot.
    """
    for kind in type(part).__mro__:
        if vars(kind).get("__slots__"):
            raise TypeError(kind)
        for name, value in sorted(vars(kind).items()):
            if not name.startswith("__"):
                with suppress(TypeError):  # methods and declarations do not change while a process runs
                    yield _told(name, value)
    for name, value in sorted(vars(part).items()):
        yield _told(name, value)


def _told(name: str, value: object) -> bytes:
    leaves, spec = tree_flatten(value)
    told = [name, str(spec)]
    for leaf in leaves:
        if isinstance(leaf, Tensor) and leaf.numel() * leaf.element_size() <= _HASHED_BYTES:
            content = leaf.detach().cpu().contiguous().numpy().tobytes()
            told.append(f"{leaf.dtype}{tuple(leaf.shape)}{hashlib.sha256(content).hexdigest()}")
        elif leaf is None or isinstance(leaf, (bool, int, float, str, torch.dtype)):
            told.append(repr(leaf))
        else:
            raise TypeError(name)
    return repr(told).encode()
