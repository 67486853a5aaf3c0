"""What runs a pack's steps: the functions of every width that is needed, compiled where asked.

How, that is in which mode and how wide, is chosen in :mod:`gradlaw.engine.choice`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gradlaw.engine.compiled import Flattened, bytes_made
from gradlaw.engine.functions import Functions
from gradlaw.engine.identity import program_key, program_kinds
from gradlaw.engine.members import Stack, Starts
from gradlaw.engine.memory import is_out_of_memory
from gradlaw.engine.results import Execution, Mode
from gradlaw.engine.step import TrialProgram

_PAYS_BYTES = 1e11
"""Bytes of tensors still to be made that pay for one more compilation: some ten seconds of work.

A count, not a time: what is decided by it is the same on every machine and in every rerun."""

_NUM_COMPILED = 16
_COMPILED: dict[tuple[tuple[type, ...], int, str | None], tuple[Functions, int]] = {}
"""Compiled functions of this process, and bytes that a member's step makes, oldest first."""


class Machine:
    """Gives the functions of every width, compiled where asked.

    Args:
        program: Of one trial.
        execution: How to run it.
        starts: The members before step 0.
        modes: How each width was run before a checkpoint: it is run likewise.

    Attributes:
        bytes_made: By a member's step, at the first width compiled; 0: none was.
    """

    def __init__(
        self,
        program: TrialProgram,
        execution: Execution,
        starts: Starts,
        *,
        modes: Mapping[int, Mode] | None = None,
        bytes_made: int = 0,
    ) -> None:
        self.program, self.execution, self.starts = program, execution, starts
        self.bytes_made = bytes_made
        self._functions: dict[int, Functions] = {}
        self._modes = dict(modes or {})

    @property
    def modes(self) -> dict[int, Mode]:
        """How each width was run so far."""
        return self._modes | {width: functions.mode for width, functions in self._functions.items()}

    def functions(self, stacked: Stack) -> Functions:
        """For batches like this one."""
        if stacked.width not in self._functions:
            self._functions[stacked.width] = self._made(stacked)
        return self._functions[stacked.width]

    def _made(self, stacked: Stack) -> Functions:
        mode = self._modes.get(stacked.width, self.execution.mode)
        if mode != "compiled":
            return Functions(self.program, mode, stacked)
        try:
            return self._compiled(stacked)
        except Exception as error:
            if not self._functions or is_out_of_memory(error):
                raise
        # one width was compiled and another cannot be: it goes on eagerly rather than not at all
        return Functions(self.program, "eager", stacked)

    def _compiled(self, stacked: Stack) -> Functions:
        """Compiled functions: those that an earlier pack of this process left, or new ones."""
        key = program_key(self.program, stacked, self.execution.device)
        at = (program_kinds(self.program), stacked.width, key)
        held = _COMPILED.get(at) if key else None
        if held is None:
            functions = Functions(self.program, "compiled", stacked)
            held = functions, compile_functions(functions, stacked) // stacked.width
            if key:
                while len(_COMPILED) >= _NUM_COMPILED:
                    del _COMPILED[next(iter(_COMPILED))]
                _COMPILED[at] = held
        functions, bytes_made = held
        self.bytes_made = self.bytes_made or bytes_made
        return functions

    def narrowed(self, width: int, num_members: int, steps: int) -> int:
        """The width for members left with so many steps: halved while they fit, if compiling it anew pays."""
        narrow = width
        while narrow // 2 >= max(2, num_members):
            narrow //= 2
        anew = self.execution.mode == "compiled" and narrow not in self.modes
        saved = self.bytes_made * (width - narrow) * steps
        return width if anew and saved < _PAYS_BYTES else narrow


def is_held(key: str | None) -> bool:
    """Whether this process has compiled the program of this key, at any width."""
    return any(at[-1] == key for at in _COMPILED)


def forget_captured() -> None:
    """Lets go of what this process has captured: a graph holds its tensors, and the memory of its step."""
    for at in [at for at, (functions, _) in _COMPILED.items() if functions.step.captured]:
        del _COMPILED[at]


def step_arguments(functions: Functions, stacked: Stack) -> list[Tensor]:
    """The tensors of a first step."""
    t = torch.tensor(0, device=stacked.device)
    rows = functions.rows(stacked, t)
    return [*Flattened.leaves((stacked.fixed, stacked.split)), rows, *Flattened.leaves(stacked.moving), t]


def compile_functions(functions: Functions, stacked: Stack) -> int:
    """Compiles the step and, if enough is read at logged steps, the reading; bytes that a step makes."""
    arguments = step_arguments(functions, stacked)
    graph = functions.step.trace(arguments)
    training = functions.program.training
    made = bytes_made(graph)
    early = training.target is not None or training.halving is not None  # these go back a step
    functions.step.compile(graph, arguments, num_moved=0 if early else len(Flattened.leaves(stacked.moving)))
    if functions.program.probes:
        moving = Flattened.leaves(stacked.moving)
        inputs = [*Flattened.leaves((stacked.fixed, stacked.split)), *moving, arguments[-1]]
        reading = functions.read.trace(inputs)
        if bytes_made(reading) * (training.steps // training.log_every) > _PAYS_BYTES:
            functions.read.compile(reading, inputs)
    return made
