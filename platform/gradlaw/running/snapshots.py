"""What table probes would have seen while trials ran, made of the weights that a store keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # pyarrow ships no types
import torch
from torch import Tensor

from gradlaw.engine.members import DTYPES
from gradlaw.errors import StoreError
from gradlaw.pack import Pack, Training
from gradlaw.probe import Snapshot
from gradlaw.probes.weights import BUFFER, PARAMETER, WEIGHTS, tensor_of
from gradlaw.random import streams_of
from gradlaw.running.measurable import Job
from gradlaw.store.committed import committed_rows
from gradlaw.store.files import Files
from gradlaw.store.units import Unit


def snapshots(pack: Pack, jobs: Sequence[Job], files: Files) -> Iterator[tuple[Job, Snapshot]]:
    """What the table probes due would have seen of trials whose rows stand in one unit.

    Raises:
        StoreError: What is kept cannot be read, or is not whole.
    """
    program = pack.program
    assert isinstance(program, Training)
    task = program.task.to(torch.device("cpu"), DTYPES[program.dtype])
    params, buffers = program.task.init(streams_of(jobs[0].member.trial.seed))
    by_id = {job.member.trial.trial_id: job for job in jobs if job.due}
    for kept in _kept_weights(files, jobs[0].unit, by_id, len(params) + len(buffers)):
        job = by_id[kept.trial_id]
        seed = job.member.trial.seed
        yield (
            job,
            Snapshot(
                task=task,
                params={name: kept.tensors[PARAMETER, name] for name in params},
                buffers={name: kept.tensors[BUFFER, name] for name in buffers},
                split=None if program.task.num_rows is None else program.task.split(streams_of(seed)),
                hyperparameters=job.member.hyperparameters,
                seed=seed,
                step=kept.step,
                steps=job.member.trial.steps,
            ),
        )


class _Kept(NamedTuple):
    """All that is kept of one trial at one step, by kind and name."""

    trial_id: str
    step: int
    tensors: Mapping[tuple[str, str], Tensor]


def _kept_weights(files: Files, unit: Unit, jobs: Mapping[str, Job], num_tensors: int) -> Iterator[_Kept]:
    """The weights that are due, each whole, with hardly more than one row group in memory."""
    wanted = {trial_id: job.source for trial_id, job in jobs.items()}
    steps = sorted({step for job in jobs.values() for step in job.due})
    begun: dict[tuple[str, int], dict[tuple[str, str], Tensor]] = {}
    whole: set[tuple[str, int]] = set()
    names = ["trial_id", "step", "kind", "name", "dtype", "shape", "values"]
    for group in committed_rows(files, unit, WEIGHTS.name, wanted) if jobs else ():
        rows = group.filter(pc.is_in(group["step"], value_set=pa.array(steps, pa.int64())))
        for trial_id, step, kind, name, dtype, shape, values in zip(
            *(rows[item].to_pylist() for item in names), strict=True
        ):
            if step in jobs[trial_id].due and (trial_id, step) not in whole:  # two probes may have kept it
                tensors = begun.setdefault((trial_id, step), {})
                tensors[kind, name] = tensor_of(dtype, shape, values)
                if len(tensors) == num_tensors:  # a group may end between two rows of one step
                    whole.add((trial_id, step))
                    yield _Kept(trial_id, step, begun.pop((trial_id, step)))
    if begun:
        msg = f"weights of {', '.join(trial_id for trial_id, _ in begun)} are not whole; restore the store"
        raise StoreError(msg)
