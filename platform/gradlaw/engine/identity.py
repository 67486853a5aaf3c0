"""What a compiled program is known by: its code, its settings, its data and the shapes it works on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from gradlaw.engine.members import Stack
from gradlaw.engine.step import TrialProgram
from gradlaw.fingerprint import source_digest

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
    parts = (program.task, training.rule, training.schedule, *program.probes)
    digest = hashlib.sha256()
    try:
        for part in parts:
            kind = type(part)
            digest.update(f"{kind.__module__}.{kind.__qualname__} {source_digest(kind)}".encode())
            for text in _settings(part):
                digest.update(text)
    except TypeError:
        return None
    sampler = program.sampler
    shared = (
        *(training.batch_size, training.sampling, training.dtype, training.loss_bound, training.log_every),
        *(training.target, training.halving is None, sampler.block_steps, sampler.epochs),
        *(device, torch.__version__, torch.get_num_threads(), stack.own_split),
        *(_shape(leaf) for leaf in tree_leaves((stack.fixed, stack.moving))),
        *(tuple(leaf.shape[-1:]) for leaf in tree_leaves(stack.split) if isinstance(leaf, Tensor)),
        *sorted(stack.fixed.hp),
    )
    digest.update(repr(shared).encode())
    return digest.hexdigest()[:32]


def _shape(leaf: Tensor) -> tuple[object, ...]:
    return (*leaf.shape[1:], leaf.dtype)


def _settings(part: object) -> Iterator[bytes]:
    """The attributes of a part as bytes.

    Raises:
        TypeError: One is neither a number, a text, a tensor nor a collection of those.
    """
    for name, value in sorted(getattr(part, "__dict__", {}).items()):
        yield f"{name}=".encode()
        for leaf in tree_leaves(value):
            if isinstance(leaf, Tensor) and leaf.numel() * leaf.element_size() <= _HASHED_BYTES:
                yield f"{leaf.dtype}{tuple(leaf.shape)}".encode()
                yield leaf.detach().cpu().contiguous().numpy().tobytes()
            elif leaf is None or isinstance(leaf, (bool, int, float, str)):
                yield repr(leaf).encode()
            else:
                raise TypeError(name)
