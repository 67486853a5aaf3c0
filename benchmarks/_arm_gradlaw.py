"""The members trained by gradlaw's engine, through the entry that its workers use."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from typing import Any

import numpy as np
from _arms import Arm, Stopwatch, Timing
from _cases import Case, Problem
from numpy.typing import NDArray

from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.engine.results import Progress
from gradlaw.engine.run import run_pack

_STEPS = 2_000_000
"""More than any benchmark does: a pack is run in slices and left unfinished."""
_FLUSH_S = 0.2
"""Between reports: a run flushes every ten seconds, and here a slice has to end."""


class Gradlaw(Arm):
    """A pack run by :func:`gradlaw.engine.run.run_pack`, timed between reports of its progress.

    Per-seed splits, logged losses and the watch over divergence are in the time; the start of the
    members and compilation are in ``compile_s``. Variants: values of ``compile`` where the engine has
    it, else "eager".
    """

    name = "gradlaw"

    def __init__(self, problem: Problem, variant: str) -> None:
        super().__init__(problem, variant)
        self._recorder = MemoryRecorder()
        pack = problem.case.pack(self.width, _STEPS)
        self._run = _started(pack, self._recorder, str(problem.rows.device), self.width, variant)

    def _next(self) -> int:
        """Trial-steps done at the next report."""
        progress = next(self._run, None)
        if progress is None:
            msg = f"{self.problem.case.name}: the pack ended before {_STEPS} steps: its trials diverged"
            raise RuntimeError(msg)
        return progress.steps_done

    def advance(self, steps: int) -> None:
        """Goes on until that many steps are done, and a report has come."""
        first = self._next()
        while self._next() - first < steps * self.width:
            pass

    def timed(self, seconds: float) -> Timing:
        # the first report comes at once, because the run has stood still; from there time is counted
        first = now = self._next()
        watch = Stopwatch()
        while watch.seconds() < seconds or now == first:
            now = self._next()
        return watch.timing(now - first)

    def last_losses(self) -> NDArray[np.float32]:
        rows = self._recorder.rows("metrics")
        last: NDArray[np.float32] = np.asarray(rows["loss"], dtype=np.float32)
        return last[rows["step"] == rows["step"].max()]

    def trace(self, steps: int) -> NDArray[np.float32]:
        return first_losses(self.problem.case, self.width, steps, str(self.problem.rows.device))

    def close(self) -> None:
        self._run.close()


def variants() -> tuple[str, ...]:
    """What :func:`run_pack` can be asked for."""
    return ("always",) if "compile" in inspect.signature(run_pack).parameters else ("eager",)


def first_losses(case: Case, width: int, steps: int, device: str = "cpu") -> NDArray[np.float32]:
    """Losses of the first steps of a pack that runs to its end, shape [steps, width]."""
    pack, recorder = case.pack(width, steps, log_every=1), MemoryRecorder()
    for _ in _started(pack, recorder, device, width, variants()[0]):
        pass
    columns = [recorder.rows("metrics", member.trial.trial_id)["loss"][:steps] for member in pack.members]
    return np.stack(columns, axis=1).astype(np.float32)


def _started(
    pack: Any, recorder: MemoryRecorder, device: str, width: int, variant: str
) -> Generator[Progress, None, Any]:
    how = {} if variant == "eager" else {"compile": variant}
    return run_pack(pack, recorder, device=device, flush_s=_FLUSH_S, width=width, **how)
