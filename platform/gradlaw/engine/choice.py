"""How to run a pack on this machine: eager or compiled, and how many members at once.

Compiling costs seconds, so it is done where the work left pays for it, by a short measurement of eager
steps. What was found is noted beside the compiler's on-disk cache, which the workers of a machine share:
whoever comes next neither measures nor compiles anew.
"""

from __future__ import annotations

import json
import math
import os
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

import torch

from gradlaw.engine.compiled import bytes_made, missing_compiler
from gradlaw.engine.functions import Functions
from gradlaw.engine.identity import program_key
from gradlaw.engine.machine import Machine, forget_captured, is_held, step_arguments
from gradlaw.engine.members import Stack, Starts
from gradlaw.engine.memory import available_bytes, is_out_of_memory
from gradlaw.engine.results import Execution, Mode
from gradlaw.engine.step import TrialProgram
from gradlaw.errors import ConfigurationError
from gradlaw.pack import Compile, Member

WIDTH = 64
"""Members in one batch where none is given and steps run eagerly: there calls cost more than work."""

COLD_S, WARM_S, _HELD_S = 10.0, 2.0, 0.2
"""Seconds of eager work that pay for compiling; for loading the compiler and what its cache holds; and for
another look at what this process has compiled."""
FEW_CALLS = 50
"""Calls that are not worth a measurement."""
_SEARCH_S = 120.0
"""Seconds of eager work that pay for compiling at more than one width, to find the best."""
_BYTES_A_CACHE = 12.0
"""Bytes that the operators of one step make, in units of the cache, at about the width where steps are
fastest: measured 3 to 22 over the cases of benchmarks/packing.py (compiled, few of them are ever written)."""


class CompileWarning(UserWarning):
    """A program runs eagerly, since it could not be compiled."""


class Found(NamedTuple):
    """A note: the best width, and seconds a member's step takes at it."""

    width: int
    step_s: float


@dataclass(frozen=True)
class Choice:
    """What to choose for.

    Attributes:
        program: Of one trial.
        members: All members of the pack.
        device: A torch device.
        width: What was asked for, or None.
        compile: "auto", "always" or "never".
        alike: Packs of the run with this program.
        time_limit_s: Seconds that the pack may take, or None.
        widest: Members in one batch that memory allows, however the width is chosen, or None.
    """

    program: TrialProgram
    members: Sequence[Member]
    device: str
    width: int | None
    compile: Compile
    alike: int = 1
    time_limit_s: float | None = None
    widest: int | None = None

    def machine(self) -> Machine:
        """The machine to run the pack with.

        Raises:
            ConfigurationError: If the width asked for cannot fit.
        """
        task = self.program.training.task
        if not task.vmappable:
            return self._machine("loop", 1, f"task {task.name} cannot be vmapped")
        self._refuse_width()
        eager_width = self._fitting(WIDTH if torch.device(self.device).type == "cpu" else len(self.members))
        if self.compile == "never":
            return self._machine("eager", eager_width)
        if self.compile == "auto" and self.program.training.accumulate > 1:
            # as many times as large a program: minutes to compile, for steps that are work more than calls
            return self._machine("eager", eager_width, "batches are taken in parts")
        machine = self._compiled_if_it_pays(eager_width)
        if machine is None:
            forget_captured()
            machine = replace(self, widest=eager_width // 2).machine()
        return machine

    def _compiled_if_it_pays(self, eager_width: int) -> Machine | None:
        """The machine, or None where memory does not suffice for an eager step of this width."""
        eager = self._machine("eager", eager_width)
        try:
            eager_s = self._eager_s(eager)
            own_s = eager_s * self.program.training.steps * len(self.members)
            pair = self._stack(2) if own_s * self.alike > _HELD_S else None
            key = program_key(self.program, pair, self.device) if pair else None
            total_s = own_s * (self.alike if key else 1)  # without a key every pack compiles anew
            if self.time_limit_s is not None:
                total_s = min(total_s, self.time_limit_s)
        except Exception as error:  # noqa: BLE001 - what else a step raises is for the run to deal with
            return None if eager_width > 1 and is_out_of_memory(error) else eager
        if pair is None or (self.compile == "auto" and total_s < WARM_S and not is_held(key)):
            return eager
        missing = missing_compiler(self.device)
        if missing:
            _warn(missing)
            return self._machine("eager", eager_width, missing)
        note = Note(key) if key else None
        found = note.read() if note else None
        if self.compile == "auto" and found is None and total_s < COLD_S:
            return eager
        try:
            machine, best = self._compiled(found, pair, total_s)
        except Exception as error:  # noqa: BLE001 - whatever the compiler raises, eager steps are right too
            reason = f"not compiled: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
            _warn(reason)
            return self._machine("eager", eager_width, reason)
        if note and found is None and self.width is None:
            note.write(best)
        if self.compile == "auto" and best.step_s > eager_s:
            return self._machine("eager", eager_width, "compiled steps are slower here")
        return machine

    def _eager_s(self, eager: Machine) -> float:
        """Seconds that a member's step takes eagerly; 0 where there are too few to measure."""
        width = eager.execution.width
        if self.compile == "always":
            return math.inf
        if self.program.training.steps * -(-len(self.members) // width) < FEW_CALLS:
            return 0.0
        stacked = self._stack(width)
        return _step_s(eager.functions(stacked), stacked) / width

    def _compiled(self, found: Found | None, pair: Stack, total_s: float) -> tuple[Machine, Found]:
        """The machine at the noted width, or at the fastest of those that are worth trying, and that width.

        A pack of few members runs narrower; the width found is that for enough of them.
        """
        if found is not None:
            return self._machine("compiled", self._fitting(found.width)), found
        if self.width is not None:
            return self._timed(self.width)
        functions = Functions(self.program, "compiled", pair)
        guess = self._guess(bytes_made(functions.step.trace(step_arguments(functions, pair))) // pair.width)
        best = self._timed(guess)
        tried = {best[0].execution.width}
        for width in (
            (2 * guess, max(2, guess // 2)) if self.compile == "auto" and total_s > _SEARCH_S else ()
        ):
            if self._fitting(width) not in tried:
                tried.add(self._fitting(width))
                best = min(best, self._timed(width), key=lambda timed: timed[1].step_s)
        return best

    def _guess(self, bytes_a_member: int) -> int:
        """The power of two at which a step's operators make as many bytes as serve a cache best."""
        if torch.device(self.device).type != "cpu":
            return len(self.members)
        share = _BYTES_A_CACHE * cache_bytes() / max(1, bytes_a_member)
        power: int = 2 ** round(math.log2(min(512.0, max(2.0, share))))
        return power

    def _timed(self, width: int) -> tuple[Machine, Found]:
        """A compiled machine of this width, or as wide as fits, and seconds a member's step takes with it."""
        own = self._fitting(width)
        while True:
            try:
                machine, step_s = self._stepping(own)
                return machine, Found(width, step_s / own)
            except Exception as error:
                if own == 1 or not is_out_of_memory(error):
                    raise
            forget_captured()
            width = own = own // 2

    def _stepping(self, width: int) -> tuple[Machine, float]:
        """A machine of this width and seconds of its step; what it lacked memory for goes with its frame."""
        machine, stacked = self._machine("compiled", width), self._stack(width)
        return machine, _step_s(machine.functions(stacked), stacked)

    def _machine(self, mode: Mode, width: int, reason: str = "") -> Machine:
        execution = Execution(
            device=self.device,
            mode=mode,
            width=width,
            threads=torch.get_num_threads(),
            dtype=self.program.training.dtype,
            reason=reason,
        )
        return Machine(self.program, execution, self._starts)

    def _stack(self, width: int) -> Stack:
        return self._starts.stack(0, min(width, len(self.members)), width)

    @cached_property
    def _starts(self) -> Starts:
        return Starts(self.program, self.members, self.device)

    def _fitting(self, width: int) -> int:
        """At most this wide, or as asked; cut so that chunks are alike; at least 2 unless 1 is meant.

        At least 2, so that alone and in company a trial takes the same kernels; but never wider than memory
        allows.
        """
        num_members, widest = len(self.members), self.widest or max(width, self.width or 0)
        if self.width is not None:
            return max(1, min(self.width, widest, max(2, num_members)))
        width = min(width, widest)
        num_chunks = -(-num_members // width)
        return min(width, max(2, -(-num_members // num_chunks)))

    def _refuse_width(self) -> None:
        if self.width is None or len(self.members) == 0:
            return
        width = min(self.width, len(self.members))
        room = available_bytes(self.device)
        needed = width * self._stack(1).memory_bytes()
        if room and needed > room:
            raise ConfigurationError(
                [
                    f"width: got {self.width}, whose parameters and states take {needed / 2**30:.1f} GiB; "
                    f"allowed: at most {max(1, int(width * room / needed))} with {room / 2**30:.1f} GiB free"
                ]
            )


def narrower(machine: Machine, width: int) -> Machine:
    """The machine for a smaller width, after memory did not suffice."""
    return Machine(machine.program, replace(machine.execution, width=width), machine.starts)


def cache_bytes() -> int:
    """The second-level cache of one core, in bytes; 1 MiB where the system does not tell."""
    file = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
    try:
        return int(file.read_text().strip().removesuffix("K")) * 1024
    except (OSError, ValueError):
        return 2**20


def _step_s(functions: Functions, stacked: Stack) -> float:
    """Seconds of one step: the least of a few, after one that is not counted.

    On a CPU those that this thread was at work, so that what else the machine does decides nothing.
    """
    clock = time.thread_time if stacked.device.type == "cpu" else time.perf_counter
    arguments = step_arguments(functions, stacked)
    found = []
    begun = time.perf_counter()
    for _ in range(6):
        started = clock()
        made = functions.step.call(*arguments)
        # as in a run: what a captured step gave is not copied in again
        arguments[1 - len(made) :] = [*made[:-2], made[-1]]
        if stacked.device.type == "cuda":
            torch.cuda.synchronize(stacked.device)
        found.append(clock() - started)
        if len(found) > 1 and time.perf_counter() - begun > 1.0:
            break
    return min(found[1:])


@cache
def _warn(reason: str) -> None:
    """Says once in a process why steps run eagerly."""
    warnings.warn(f"steps run eagerly, {reason}", CompileWarning, stacklevel=2)


class Note:
    """What was found for one program on this machine, in a file beside the compiler's cache.

    Args:
        key: The program's; see :func:`gradlaw.engine.identity.program_key`.
    """

    def __init__(self, key: str) -> None:
        from torch._inductor.runtime.cache_dir_utils import cache_dir

        self._file = Path(cache_dir()) / "gradlaw" / f"{key}.json"

    def read(self) -> Found | None:
        """What was found before; None if nothing, or if the note cannot be read."""
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
            noted = Found(int(found["width"]), float(found["step_s"]))
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError):
            return None
        return noted if noted.width >= 1 and noted.step_s > 0.0 else None

    def write(self, found: Found) -> None:
        """Keeps what was found, if it can; two workers may write at once, either is right."""
        own = self._file.with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            own.write_text(json.dumps(found._asdict()), encoding="utf-8")
            own.replace(self._file)
