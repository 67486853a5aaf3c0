"""The members of a batch at the start: initialized one by one on the host, then stacked.

One by one, because then a member's start cannot depend on its neighbours, and because a task may build
it in any way; on the host, because logarithms and cosines differ in the last bit between devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from gradlaw.engine.step import RUNNING, Fixed, Moving, TrialProgram
from gradlaw.engine.streams import User, streams_for
from gradlaw.errors import ConfigurationError
from gradlaw.pack import Member, Training
from gradlaw.random import streams_of
from gradlaw.task import Split, Task

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Stack:
    """Members stacked along a leading dimension, padding included.

    Attributes:
        fixed, moving: Of shape [members, ...].
        split: Rows of the data, [members, rows], or [rows] where all have the same; None for a stream.
        own_split: Whether each member has rows of its own.
    """

    fixed: Fixed
    moving: Moving
    split: Split | None
    own_split: bool

    @property
    def width(self) -> int:
        """Number of members, padding included."""
        return int(self.fixed.seed.shape[0])

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.fixed.seed.device

    def taken(self, positions: Sequence[int]) -> Stack:
        """The members at these positions, which may repeat."""
        index = torch.tensor(positions, device=self.device)
        fixed, moving = tree_map(lambda leaf: leaf[index], (self.fixed, self.moving))
        split = tree_map(lambda leaf: leaf[index], self.split) if self.own_split else self.split
        return Stack(fixed, moving, split, self.own_split)

    def with_moving(self, moving: Moving) -> Stack:
        """The same members further on."""
        return replace(self, moving=moving)

    def memory_bytes(self) -> int:
        """Bytes of one member's parameters, buffers and state."""
        leaves: list[Tensor] = tree_leaves(self.moving)
        return sum(leaf.numel() * leaf.element_size() for leaf in leaves) // self.width


def stack(program: TrialProgram, members: Sequence[Member], device: torch.device) -> Stack:
    """Members as they are before step 0."""
    training = program.training
    split = stack_splits(training.task, members, device)
    own = split is not None and split.train.ndim == 2
    return Stack(stack_fixed(training, members, device), stack_moving(program, members, device), split, own)


class Starts:
    """A pack's members before step 0. The first ones are made once, for the measurements and for the run.

    Args:
        program: Of one trial.
        members: Of the pack.
        device: Where they are to run.
    """

    def __init__(self, program: TrialProgram, members: Sequence[Member], device: str) -> None:
        self._program, self._members, self._device = program, members, torch.device(device)
        self._kept: Stack | None = None

    def stack(self, first: int, num: int, width: int) -> Stack:
        """Copies of ``num`` members from ``first`` on, the last repeated to fill the width."""
        places = [min(place, num - 1) for place in range(width)]
        if self._kept is not None and first + num <= self._kept.width:
            return self._kept.taken([first + place for place in places])
        made = stack(self._program, self._members[first : first + num], self._device)
        if first == 0:
            self._kept = made
        return made.taken(places)

    def forget(self) -> None:
        """Lets go of what is kept: the run has begun."""
        self._kept = None


def joined(stacks: Sequence[Stack]) -> Stack:
    """Several stacks as one."""
    first = stacks[0]

    def together(*leaves: Tensor) -> Tensor:
        return torch.cat(leaves)

    fixed, moving = tree_map(together, *[(item.fixed, item.moving) for item in stacks])
    split = tree_map(together, *[item.split for item in stacks]) if first.own_split else first.split
    return Stack(fixed, moving, split, first.own_split)


def splits_alike(task: Task) -> bool:
    """Whether all trials have the same rows: then a pack shares them, and what is computed of them."""
    return task.num_rows is None or type(task).split is Task.split


def stack_splits(task: Task, members: Sequence[Member], device: torch.device) -> Split | None:
    """The members' rows, stacked to [members, rows] unless all trials have the same; None for a stream."""
    if task.num_rows is None:
        return None
    if splits_alike(task):
        return _moved(task.split(streams_of(members[0].trial.seed)), device)
    splits = [task.split(streams_of(member.trial.seed)) for member in members]
    sizes = {(split.train.shape[0], split.test.shape[0]) for split in splits}
    if len(sizes) > 1:
        msg = f"{task.name}.split: got sizes {sorted(sizes)} in one pack; allowed: one size for every seed"
        raise ConfigurationError([msg])
    return _moved(_stacked(splits), device)


def stack_fixed(training: Training, members: Sequence[Member], device: torch.device) -> Fixed:
    """Seeds and hyperparameters, ``steps`` among them, each of shape [members].

    Floats are in the program's dtype, whole numbers int64; texts are structural and stay out.
    """
    dtype = DTYPES[training.dtype]
    names = [name for name, value in members[0].hyperparameters.items() if not isinstance(value, str)]
    hp = {
        name: _column([member.hyperparameters[name] for member in members], dtype, device) for name in names
    }
    hp["steps"] = torch.tensor([member.trial.steps for member in members], device=device)
    return Fixed(torch.tensor([member.trial.seed for member in members], device=device), hp)


def stack_moving(program: TrialProgram, members: Sequence[Member], device: torch.device) -> Moving:
    """Parameters, buffers, states and accumulators before step 0, each of shape [members, ...]."""
    stacked: Moving = _stacked([_start(program, member, device) for member in members])
    return stacked


def _start(program: TrialProgram, member: Member, device: torch.device) -> Moving:
    dtype = DTYPES[program.training.dtype]
    streams = streams_of(member.trial.seed)
    params, buffers = program.training.task.init(streams)
    params = {name: _floating(value, dtype).to(device) for name, value in params.items()}
    buffers = {name: _floating(value, dtype).to(device) for name, value in buffers.items()}
    there = streams_of(member.trial.seed, device=device)
    return Moving(
        params,
        buffers,
        program.training.rule.init(params, streams_for(there, User.RULE)),
        tuple(probe.init(params) for probe in program.probes),
        torch.tensor(RUNNING, device=device),
        torch.tensor(0, device=device),
        torch.tensor(0.0, dtype=dtype, device=device),
    )


def _floating(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.to(dtype) if value.is_floating_point() else value


def _column(values: Sequence[Any], dtype: torch.dtype, device: torch.device) -> Tensor:
    kinds = {bool: torch.bool, int: torch.int64}
    kind = type(values[0])
    return torch.tensor(values, dtype=kinds.get(kind, dtype), device=device)


def _moved(split: Split, device: torch.device) -> Split:
    return Split(split.train.to(device), split.test.to(device))


def _stacked(trees: Sequence[Any]) -> Any:
    return tree_map(lambda *leaves: torch.stack(leaves), trees[0], *trees[1:])
