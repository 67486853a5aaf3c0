"""What a worker does with one order: run the pack, commit it, and tell how far it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import replace

import torch

from gradlaw import provenance
from gradlaw.engine.memory import first_line, is_out_of_memory
from gradlaw.engine.results import TrialResult
from gradlaw.engine.rows import metrics_table
from gradlaw.engine.run import run_pack
from gradlaw.engine.utilization import Utilization
from gradlaw.launch.base import Order, Report
from gradlaw.launch.committing import commit_unrun, ids_of, open_writer, trial_rows
from gradlaw.pack import Training, program_tables
from gradlaw.store import stops
from gradlaw.store.attempts import committed_since
from gradlaw.store.checkpoints import (
    CheckpointGoneError,
    PackCheckpoints,
    PackStoppedError,
    clear_checkpoints,
)
from gradlaw.store.leases import Leases
from gradlaw.store.store import Store
from gradlaw.store.writer import PackWriter
from gradlaw.trial import State


def work(order: Order) -> Iterator[Report]:
    """Runs one order and commits its pack, whatever the outcome, unless another does.

    Yields:
        A report at each flush, and one, ``finished``, after the commit; one alone, ``held``, if another runs
        the pack, or has committed it since the driver looked. If the run is told to end meanwhile, the last
        one is ``stopped``: the pack kept a checkpoint, where it keeps any, and is not committed.

    Raises:
        Exception: What the pack raised, unwrapped, once its trials are committed as ``error``; but lack of
            memory, of which nothing is committed: it is reported, for the run to split the pack.
    """
    torch.set_num_threads(order.threads)
    torch.backends.cudnn.allow_tf32 = False  # as torch comes, GPUs convolve float32 with 10 bits of fraction
    pack, store = order.pack, Store.open(order.store)
    if stops.is_asked(store.files, order.tenant.driver):
        yield Report(pack_id=pack.pack_id, finished=True, stopped=True)
        return
    leases = Leases(store.files, order.tenant.driver)
    tenant = replace(order.tenant, device=order.device)
    utilization = Utilization(order.device, order.threads)
    hold = leases.acquire(pack.pack_id, tenant, utilization)
    last = Report(pack_id=pack.pack_id, finished=True, held=True)
    if hold is not None:
        with hold:
            if not committed_since(store.files, pack.study, pack.pack_id, order.seen):
                last = yield from _work(order, store, utilization)
    yield last  # once the lease is free: nobody asks for more than the last report


def _work(order: Order, store: Store, utilization: Utilization) -> Generator[Report, None, Report]:
    """Runs the pack to its end, or until it is stopped; the last report."""
    pack = order.pack
    while True:
        try:
            results = yield from _attempt(order, store, utilization)
            break
        except CheckpointGoneError:  # it is another's by now, or a younger one is there
            continue
        except PackStoppedError:
            return Report(pack_id=pack.pack_id, finished=True, stopped=True)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            cause = f"{type(error).__name__}: {first_line(error)}"
            return Report(pack_id=pack.pack_id, finished=True, error=cause, lost=True, out_of_memory=True)
    clear_checkpoints(store.files, pack.pack_id)
    states = Counter(str(result.state) for result in results)
    steps = sum(result.steps_done for result in results)
    notes = sorted({result.execution.reason for result in results if result.execution} - {""})
    return Report(
        pack_id=pack.pack_id,
        trials_done=len(results),
        steps_done=steps,
        states=states,
        finished=True,
        note="; ".join(notes),
        usage=utilization.usage(),
    )


def _attempt(
    order: Order, store: Store, utilization: Utilization
) -> Generator[Report, None, tuple[TrialResult, ...]]:
    """Runs the pack and commits it, but for lack of memory and a checkpoint that goes while it is read."""
    pack, started_at = order.pack, provenance.utc_now()
    with open_writer(store, pack) as writer:
        try:
            results = yield from _train(order, store, writer)
            utilization.gpu()  # before the commit, which leaves it idle: short packs have no other sample
        except (CheckpointGoneError, PackStoppedError):
            raise
        except Exception as error:
            writer.abandon()
            if is_out_of_memory(error):
                raise
            failure = f"{type(error).__name__}: {error}"
            commit_unrun(store, pack, dict.fromkeys(ids_of(pack), failure), State.ERROR, order.attempts)
            raise
        writer.commit(trial_rows(pack, results, attempts=order.attempts, started_at=started_at))
    return results


def _train(
    order: Order, store: Store, writer: PackWriter
) -> Generator[Report, None, tuple[TrialResult, ...]]:
    """Runs the pack, handing on the engine's progress, and returns its results."""
    program = order.pack.program
    tables = (*program_tables(program), metrics_table(program)) if isinstance(program, Training) else ()
    with PackCheckpoints(store.files, writer, tables, every_s=order.checkpoint_s) as checkpoints:
        runner = run_pack(
            order.pack,
            checkpoints if isinstance(program, Training) else writer,
            device=order.device,
            flush_s=order.flush_s,
            time_limit_s=order.time_limit_s,
            width=order.width,
            compile=order.compile,
            alike=order.alike,
            widest=order.widest,
            checkpoints=checkpoints,
        )
        while True:
            try:
                progress = next(runner)
            except StopIteration as end:
                results: tuple[TrialResult, ...] = end.value
                return results
            for note in checkpoints.notes or [""]:
                yield Report(
                    pack_id=order.pack.pack_id,
                    trials_done=progress.trials_done,
                    steps_done=progress.steps_done,
                    width=progress.width,
                    note=note,
                )
            checkpoints.notes.clear()
            if stops.is_asked(store.files, order.tenant.driver):
                if not isinstance(program, Training):  # it keeps no checkpoints
                    raise PackStoppedError
                checkpoints.stop()
