"""What a worker does with one order: run the pack, commit it, and tell how far it is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import torch

from gradlaw import provenance
from gradlaw.engine.results import Execution, TrialResult
from gradlaw.engine.run import run_pack
from gradlaw.fingerprint import source_digest
from gradlaw.launch.base import Order, Report
from gradlaw.pack import Member, Program, Training
from gradlaw.store.store import PackWriter, Store
from gradlaw.trial import MAX_ATTEMPTS, RETRIABLE, State


def work(order: Order) -> Iterator[Report]:
    """Runs one order and commits its pack, whatever the outcome.

    Yields:
        A report at each flush, and one, ``finished``, after the commit.

    Raises:
        Exception: What the pack raised, unwrapped, once its trials are committed as ``error``.
    """
    torch.set_num_threads(order.threads)
    pack = order.pack
    writer = Store.open(order.store).writer(pack.study, pack.pack_id)
    started_at = provenance.utc_now()

    def commit(results: Sequence[TrialResult]) -> None:
        writer.commit(
            trial_rows(
                pack.members, results, program=pack.program, attempts=order.attempts, started_at=started_at
            )
        )

    try:
        results = yield from _train(order, writer)
    except Exception as error:
        writer.discard()
        commit(unrun_results(pack.members, State.ERROR, f"{type(error).__name__}: {error}"))
        raise
    commit(results)
    states = Counter(str(result.state) for result in results)
    steps = sum(result.steps_done for result in results)
    yield Report(
        pack_id=pack.pack_id, trials_done=len(results), steps_done=steps, states=states, finished=True
    )


def _train(order: Order, writer: PackWriter) -> Generator[Report, None, tuple[TrialResult, ...]]:
    """Runs the pack, handing on the engine's progress, and returns its results."""
    runner = run_pack(
        order.pack, writer, device=order.device, flush_s=order.flush_s, time_limit_s=order.time_limit_s
    )
    while True:
        try:
            progress = next(runner)
        except StopIteration as end:
            results: tuple[TrialResult, ...] = end.value
            return results
        yield Report(
            pack_id=order.pack.pack_id, trials_done=progress.trials_done, steps_done=progress.steps_done
        )


def unrun_results(members: Sequence[Member], state: State, reason: str = "") -> tuple[TrialResult, ...]:
    """One result a member, all in one state that nothing was gained by."""
    line = reason.strip().splitlines()[0][:500] if reason.strip() else ""
    return tuple(
        TrialResult(trial_id=member.trial.trial_id, state=state, reason=line, steps_done=0, wall_s=0.0)
        for member in members
    )


def trial_rows(
    members: Sequence[Member],
    results: Sequence[TrialResult],
    *,
    program: Program | None,
    attempts: Mapping[str, int],
    started_at: datetime,
) -> list[dict[str, Any]]:
    """Rows of ``trials`` for the results, which are in the members' order.

    A retriable state becomes ``failed`` when the trial has had its attempts.
    """
    shared = {
        **_program_columns(program),
        "host": provenance.host(),
        "versions": provenance.versions(),
        "git_commit": provenance.git_commit(),
        "started_at": started_at,
    }
    rows = []
    for member, result in zip(members, results, strict=True):
        spent = attempts.get(result.trial_id, 0) + 1 >= MAX_ATTEMPTS
        gives_up = result.state in RETRIABLE and spent
        rows.append(
            {
                **shared,
                **_member_columns(member),
                **_execution_columns(result.execution),
                "state": str(State.FAILED if gives_up else result.state),
                "reason": f"{result.state}: {result.reason}" if gives_up else result.reason,
                "steps_done": result.steps_done,
                "wall_s": result.wall_s,
            }
        )
    return rows


def _program_columns(program: Program | None) -> dict[str, Any]:
    parts: list[type] = []
    probes: list[str] = []
    if isinstance(program, Training):
        parts = [type(program.task), type(program.rule), type(program.schedule)]
        probes = sorted(probe.digest for probe in program.probes)
    elif program is not None:
        parts = [type(program)]
    return {"source_digest": _source_digest(parts), "probes": json.dumps(probes), "num_probes": len(probes)}


def _source_digest(parts: Sequence[type]) -> str:
    try:
        return source_digest(*parts)
    except (OSError, TypeError):  # typed into a console: there is no source text
        return ""


def _execution_columns(execution: Execution | None) -> dict[str, Any]:
    if execution is None:
        return {"device": "", "mode": "", "pack_width": 0, "threads": 0}
    return {
        "device": execution.device,
        "mode": execution.mode,
        "pack_width": execution.width,
        "threads": execution.threads,
    }


def _member_columns(member: Member) -> dict[str, Any]:
    trial = member.trial
    return {
        **member.hyperparameters,
        "trial_id": trial.trial_id,
        "seed": trial.seed,
        "task": trial.task,
        "rule": trial.rule,
        "schedule": trial.schedule,
        "dtype": trial.dtype,
        "steps": trial.steps,
        "data_digest": trial.data_digest,
    }
