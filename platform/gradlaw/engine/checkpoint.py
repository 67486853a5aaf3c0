"""Checkpoints: what another process needs to go on with a pack as if nothing had happened.

A checkpoint lies between two segments of a wave, or between two waves. No row waits there, and all that
moved lies in the tensors of :class:`gradlaw.engine.step.Moving`, kept whole, padding included. Data, seeds
and hyperparameters are made anew from the members, and random numbers from the step. Where segments end
does not depend on when checkpoints are taken, so a run without any takes the same steps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradlaw import provenance
from gradlaw.engine.compiled import Flattened, missing_compiler
from gradlaw.engine.members import Stack, stack_fixed, stack_moving, stack_splits
from gradlaw.engine.results import Execution, Mode, TrialResult
from gradlaw.engine.step import TrialProgram
from gradlaw.fingerprint import source_digest
from gradlaw.pack import Compile, Member, Pack, Training, probe_digests
from gradlaw.trial import State

FORMAT = 1
"""Version of what a checkpoint holds."""

Document = Mapping[str, Any]
"""What JSON holds."""

Arrays = Mapping[str, NDArray[Any]]


class Checkpoints(Protocol):
    """Keeps a pack's checkpoints, and with each of them the rows up to it.

    Attributes:
        every_s: Seconds between them, > 0; each is taken at the next end of a segment. It may change.
    """

    every_s: float

    def find(self, refusal: Callable[[Document], str]) -> tuple[Document, Arrays] | None:
        """The newest whole checkpoint for which ``refusal`` gives "", its rows then with the recorder."""
        ...

    def keep(self, document: Document, arrays: Arrays) -> None:
        """Keeps one that stands for all rows which the recorder was given so far."""
        ...


class Part(NamedTuple):
    """A chunk: its members' ids, and what moves, in the order of its leaves, each of shape [width, ...]."""

    trial_ids: tuple[str, ...]
    moving: Sequence[Tensor]


class Point(NamedTuple):
    """A wave between two segments.

    Attributes:
        step: The last step taken.
        width: Members in one batch.
        results: Of those that ended.
        wall_s: Seconds borne so far, by trial id.
        parts: The chunks of those that run.
    """

    step: int
    width: int
    results: Mapping[str, TrialResult]
    wall_s: Mapping[str, float]
    parts: Sequence[Part]


class Reached(NamedTuple):
    """How far a pack is.

    Attributes:
        results: Of the waves that ended, in the members' order.
        execution: How it runs: what was measured once is not measured again.
        modes, bytes_made: What was compiled so far; see :class:`gradlaw.engine.machine.Machine`.
        recorded: See :class:`gradlaw.engine.rows.Sink`.
        point: Of the wave that runs; None between two.
    """

    results: Sequence[TrialResult]
    execution: Execution
    modes: Mapping[int, Mode]
    bytes_made: int
    recorded: Mapping[str, int]
    point: Point | None


def identity(pack: Pack, *, device: str, width: int | None, compile: Compile) -> Document:  # noqa: A002
    """What a checkpoint of this pack has in common with those that it may go on from.

    The trials and their order, the probes, the program's settings, the source of task, rule, schedule, probes
    and of the engine, versions, device, threads, and what was asked for as to mode and width.
    """
    training = pack.program
    assert isinstance(training, Training)
    parts = (training.task, training.rule, training.schedule, *training.probes)
    settings = {field.name: getattr(training, field.name) for field in fields(training)}
    told = {name: str(value) for name, value in settings.items() if name not in _PARTS}
    return {
        "format": FORMAT,
        "trials": [member.trial.trial_id for member in pack.members],
        "probes": sorted(probe_digests(training)),
        "settings": told,
        "source": _source(map(type, parts)),
        "engine": _engine_source(),
        "gradlaw": provenance.versions().get("gradlaw", ""),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "device": device,
        "threads": torch.get_num_threads(),
        "compile": compile,
        "width": width,
    }


_PARTS = frozenset({"task", "rule", "schedule", "probes"})


def refusal(own: Document, document: Document) -> str:
    """Why a pack of this :func:`identity` may not go on from a checkpoint; "" if it may.

    All must be equal, but "auto" and no width ask for nothing: then the checkpoint's own are taken.
    """
    held = document.get("identity", {})
    asked = {name: value for name, value in own.items() if value not in (None, "auto")}
    lines = [
        f"{name}: got {_shown(value)}, the checkpoint has {_shown(held.get(name))}"
        for name, value in asked.items()
        if held.get(name) != value
    ]
    if not lines and document["executions"][0]["mode"] == "compiled":
        missing = missing_compiler(own["device"])
        lines += [f"it was compiled: {missing}"] if missing else []
    return "; ".join(lines)


def _shown(value: object) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else str(value)


def written(reached: Reached, own: Document) -> tuple[Document, Arrays]:
    """A checkpoint as a document and arrays on the host, which are those of the tensors where they can be."""
    point = reached.point
    executions = [reached.execution]
    document = {
        "identity": own,
        "results": _told(reached.results, executions),
        "modes": {str(width): mode for width, mode in reached.modes.items()},
        "bytes_made": reached.bytes_made,
        "recorded": dict(reached.recorded),
        "wave": point
        and {
            "step": point.step,
            "width": point.width,
            "results": _told(point.results.values(), executions),
            "wall_s": dict(point.wall_s),
            "parts": [[list(part.trial_ids), len(part.moving)] for part in point.parts],
        },
        "executions": [asdict(execution) for execution in executions],
    }
    arrays = {
        _name(number, leaf): tensor.detach().contiguous().cpu().numpy()
        for number, part in enumerate(point.parts if point else ())
        for leaf, tensor in enumerate(part.moving)
    }
    return document, arrays


def read(document: Document, arrays: Arrays) -> Reached:
    """What :func:`written` was given, its tensors on the host."""
    executions = [Execution(**fields) for fields in document["executions"]]
    wave = document["wave"]
    point = wave and Point(
        step=wave["step"],
        width=wave["width"],
        results={result.trial_id: result for result in _results(wave["results"], executions)},
        wall_s=wave["wall_s"],
        parts=[
            Part(tuple(trial_ids), [torch.tensor(arrays[_name(number, leaf)]) for leaf in range(num_leaves)])
            for number, (trial_ids, num_leaves) in enumerate(wave["parts"])
        ],
    )
    return Reached(
        results=_results(document["results"], executions),
        execution=executions[0],
        modes={int(width): mode for width, mode in document["modes"].items()},
        bytes_made=document["bytes_made"],
        recorded=document["recorded"],
        point=point,
    )


def restacked(program: TrialProgram, members: Sequence[Member], part: Part, device: torch.device) -> Stack:
    """The members of a part as they were: what moves from its tensors, the rest as at the start."""
    width = part.moving[-1].shape[0]
    padded = [*members, *[members[-1]] * (width - len(members))]
    training = program.training
    like = stack_moving(program, members[:1], device)
    moved = [tensor.to(device) for tensor in part.moving]
    split = stack_splits(training.task, padded, device)
    own_split = split is not None and split.train.ndim == 2
    fixed = stack_fixed(training, padded, device)
    return Stack(fixed, Flattened.rebuild(like, moved), split, own_split)


def _told(results: Iterable[TrialResult], executions: list[Execution]) -> list[list[object]]:
    """Results as rows, each with the place of its execution in a list, which grows by those it lacks."""
    rows: list[list[object]] = []
    for result in results:
        execution = result.execution
        if execution is not None and execution not in executions:
            executions.append(execution)
        place = None if execution is None else executions.index(execution)
        rows.append(
            [result.trial_id, str(result.state), result.reason, result.steps_done, result.wall_s, place]
        )
    return rows


def _results(rows: Iterable[Sequence[Any]], executions: Sequence[Execution]) -> list[TrialResult]:
    return [
        TrialResult(
            trial_id=trial_id,
            state=State(state),
            reason=reason,
            steps_done=steps_done,
            wall_s=wall_s,
            execution=None if place is None else executions[place],
        )
        for trial_id, state, reason, steps_done, wall_s, place in rows
    ]


def _name(number: int, leaf: int) -> str:
    """Of the array that holds a leaf of a part."""
    return f"{number}.{leaf}"


def _source(kinds: Iterable[type]) -> str:
    return " ".join(f"{kind.__qualname__}:{source_digest(kind)}" for kind in kinds)


@cache
def _engine_source() -> str:
    """Digest of the source of the engine and of its random numbers."""
    folder = Path(__file__).parent
    files = [*sorted(folder.glob("*.py")), *sorted(folder.parent.glob("random*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
