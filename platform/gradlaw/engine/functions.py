"""The functions of a batch: those of one trial by vmap, or one by one without it; eager or compiled."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from gradlaw.engine.compiled import Flattened
from gradlaw.engine.members import Stack
from gradlaw.engine.results import Mode
from gradlaw.engine.step import Moving, TrialProgram
from gradlaw.errors import UsageError

Function = Callable[..., Any]
InDims = tuple[int | None, ...]


def vmapped(function: Function, in_dims: InDims) -> Function:
    """The function over a leading dimension of the arguments whose dim is 0, the others shared.

    torch's own generators are refused inside: what they give would depend on the pack.
    """
    return torch.vmap(function, in_dims=in_dims, randomness="error")


def alone(function: Function, in_dims: InDims) -> Function:
    """As :func:`vmapped` for a leading dimension of 1, without vmap."""

    def call(*arguments: Any) -> Any:
        single = [
            argument if dim is None else tree_map(lambda leaf: leaf[0], argument)
            for argument, dim in zip(arguments, in_dims, strict=True)
        ]
        return tree_map(lambda leaf: leaf.unsqueeze(0), function(*single))

    return call


class Functions:
    """A program's functions for batches of one width.

    Args:
        program: Of one trial.
        mode: How they run; the machine has still to compile those that are to be.
        stack: A batch of that width.
    """

    def __init__(self, program: TrialProgram, mode: Mode, stack: Stack) -> None:
        if mode == "compiled":
            program = replace(program, sampler=program.sampler.without_blocks())
        self.program, self.mode = program, mode
        batched = alone if mode == "loop" else vmapped
        split = 0 if stack.own_split else None
        step = batched(program.step, (0, split, 0, 0, None))
        read = batched(program.read, (0, split, 0, None))
        self._block = batched(program.block, (0, None, None))

        def stepped(fixed: Any, split: Any, rows: Tensor, moving: Moving, t: Tensor) -> Any:
            return *step(fixed, split, rows, moving, t), t + 1

        t = torch.tensor(0, device=stack.device)
        self.step = Flattened(stepped, (stack.fixed, stack.split, self.rows(stack, t), stack.moving, t))
        self.read = Flattened(read, (stack.fixed, stack.split, stack.moving, t))

    def rows(self, stack: Stack, t: Tensor) -> Tensor:
        """The rows of the block of steps that holds step ``t``; [members, 0] where there are no blocks."""
        size = self.program.sampler.block_steps
        if size == 0:
            return torch.zeros(stack.width, 0, dtype=torch.int64, device=stack.device)
        assert stack.split is not None
        rows: Tensor = self._block(stack.fixed, t // size, stack.split.train.shape[-1])
        return rows.contiguous()  # an epoch leaves rows out; a captured step has a dense copy of its own


def explain_vmap(error: Exception, program: TrialProgram, stack: Stack) -> Exception:
    """What to raise for an error of a batched step: if the trial runs by itself, vmap is the cause.

    The message names the operation, the line of the task's or rule's code and the remedy.
    """
    t = torch.tensor(0, device=stack.device)
    split = 0 if stack.own_split else None
    single = stack.taken([0])
    try:
        rows = alone(program.block, (0, None, None)) if program.sampler.block_steps else None
        drawn = (
            torch.zeros(1, 0, dtype=torch.int64, device=stack.device)
            if rows is None or single.split is None
            else rows(single.fixed, t, single.split.train.shape[-1])
        )
        alone(program.step, (0, split, 0, 0, None))(single.fixed, single.split, drawn, single.moving, t)
    except Exception:  # noqa: BLE001 - it does not run by itself either: the error stands as it is
        return error
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "/torch/" not in frame.filename and "gradlaw/engine" not in frame.filename
    ]
    where = f" in `{own[-1].line}` ({own[-1].filename}:{own[-1].lineno})" if own else ""
    cause = (str(error).splitlines() or [type(error).__name__])[0]
    return UsageError(
        f"task {program.task.name}: torch.vmap refuses an operation{where}: {cause} Allowed: operations that "
        "vmap knows (see torch.func's limitations). To run its trials one at a time, at width 1, set "
        "`vmappable = False` on the task."
    )
