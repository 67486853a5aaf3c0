"""What a run would do and cost, before it does: trials, packs, time, memory, disk; nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from gradlaw.adaptive.growth import Growth
from gradlaw.adaptive.rounds import most_rounds
from gradlaw.engine.estimate import rows_logged
from gradlaw.engine.rows import metrics_table
from gradlaw.errors import all_faults
from gradlaw.launch import make_launcher
from gradlaw.launch.base import Launcher
from gradlaw.launch.room import local_device
from gradlaw.pack import Pack, Training, program_tables
from gradlaw.planning.expected import Expected, expect
from gradlaw.planning.plan import Plan
from gradlaw.planning.planned import plan_study
from gradlaw.running.measurable import survey
from gradlaw.running.options import RunOptions
from gradlaw.running.pending import missing_packs
from gradlaw.store.leases import Tenant
from gradlaw.store.store import Store


@dataclass(frozen=True, kw_only=True)
class DiskEstimate:
    """Rows and bytes of a run that ends nowhere early.

    Attributes:
        metrics_rows: Rows of ``metrics``.
        num_columns: Numbers in the widest of them, the step left out.
        size_bytes: On disk, without the tables of probes and measurements.
        other_tables: Those tables, whose rows only running tells.
    """

    metrics_rows: int
    num_columns: int
    size_bytes: int
    other_tables: tuple[str, ...]


# Measured on stores of the examples. The step and the keys of a row compress away, numbers hardly do; most of
# a pack is footers and column descriptions; metrics stand twice, in live parts too, until they are compacted.
_BYTES_A_NUMBER = {"float32": 3.5, "float64": 7.5}
_BYTES_A_ROW = 0.5
_BYTES_A_TRIAL = 160
_BYTES_A_PACK = 20_000
_COPIES = 2


def estimate_disk(packs: Iterable[Pack]) -> DiskEstimate:
    """What packs would write."""
    rows, widest, size, tables = 0, 0, 0.0, dict[str, None]()
    for pack in packs:
        size += _BYTES_A_PACK + _BYTES_A_TRIAL * len(pack.members)
        if pack.program is None:
            continue
        tables.update(dict.fromkeys(table.name for table in program_tables(pack.program)))
        if isinstance(pack.program, Training):
            training = pack.program
            added = sum(rows_logged(member.trial.steps, training.log_every) for member in pack.members)
            numbers = [column.type for column in metrics_table(training).columns[1:]]
            rows, widest = rows + added, max(widest, len(numbers))
            size += _COPIES * added * (_BYTES_A_ROW + sum(_BYTES_A_NUMBER[kind] for kind in numbers))
    return DiskEstimate(
        metrics_rows=rows, num_columns=widest, size_bytes=round(size), other_tables=tuple(tables)
    )


def describe_plan(
    study: str | Path,
    *,
    preset: str | None,
    set: Mapping[str, object],  # noqa: A002 - as on the command line
    seeds: int | None,
    store: str | Path,
    explore: bool,
    options: RunOptions | None = None,
) -> list[str]:
    """What a run would do, in lines, checked as a run is; nothing is written.

    Args: as of :func:`gradlaw.running.runner.run`.

    Raises:
        UsageError: What a run refuses.
        StoreError: The store cannot be used.
    """
    options = options or RunOptions()
    launcher = make_launcher(options.launcher, address=options.address)
    with all_faults(options.faults()):
        planned = plan_study(study, preset=preset, overrides=set, seeds=seeds, explore=explore)
    planned.check_claims()
    held = Store.find(store)
    index = held.index() if held else {}
    growth = Growth(planned.plan, held)
    plan = options.shard.of(growth.plan) if options.shard else growth.plan
    pending = missing_packs(plan, index, retry_failed=options.retry_failed)
    to_come = growth.outlined()
    measurable = sum(len(lacking.jobs) for lacking in survey(plan, held)) if held else 0
    untrained = [f"of those {measurable:,} need no training: gradlaw measure reads the weights kept"]
    return [
        *([f"{options.shard}: its trials alone are counted"] if options.shard else []),
        *_counts(plan, pending),
        *(untrained if measurable else []),
        *_rounds(growth, to_come),
        *planned.notes,
        *_costs((*pending, *to_come), launcher, options, at_most=bool(to_come)),
    ]


def _rounds(growth: Growth, to_come: Sequence[Pack]) -> Iterator[str]:
    """What an adaptive plan may yet ask for; nothing of any other."""
    declared = growth.plan.adaptive
    if declared is None:
        return
    members = [member for pack in to_come for member in pack.members]
    steps = sum(member.trial.steps for member in members)
    left = max(0, most_rounds(declared) - len(growth.rounds)) if growth.is_open else 0
    yield (
        f"rounds: {len(growth.rounds):,} so far, at most {left:,} to come with {len(members):,} trials, "
        f"{steps:,} trial-steps; what follows counts them in"
    )


def _counts(plan: Plan, pending: Sequence[Pack]) -> Iterator[str]:
    to_run = [member for pack in pending for member in pack.members]
    steps = sum(member.trial.steps for member in to_run)
    num_trials = sum(1 for _ in plan.members)
    yield f"plan {plan.plan_id} ({plan.kind}): {num_trials:,} trials, {len(plan.seeds):,} seeds"
    yield f"to run: {len(to_run):,} trials in {len(pending):,} packs, {steps:,} trial-steps"
    yield f"skipped: {len(plan.skipped):,}"


def _costs(
    pending: Sequence[Pack], launcher: Launcher, options: RunOptions, *, at_most: bool
) -> Iterator[str]:
    disk = estimate_disk(pending)
    yield (
        f"disk: {disk.metrics_rows:,} rows of metrics with up to {disk.num_columns} numbers, "
        f"about {_size(disk.size_bytes)}"
        + (f"; and the tables {', '.join(disk.other_tables)}" if disk.other_tables else "")
    )
    if not pending:
        return
    foreseen = launcher.foresee([options.order(pack, "", Tenant()) for pack in pending])
    yield from foreseen.notes
    expected = expect(
        pending,
        launcher=launcher.name,
        device=local_device(foreseen.device),
        num_workers=foreseen.num_workers,
        width=options.width,
        compile=options.compile,
        time_limit_s=options.time_limit_s,
    )
    expected = replace(expected, at_most=expected.at_most or at_most)
    yield f"expected: {_time(expected)}, {_memory(expected)}, {_size(disk.size_bytes)} on disk"
    yield from expected.notes


def _time(expected: Expected) -> str:
    if expected.num_measured == 0:
        return "time not known, since no step was measured"
    most = "at most " if expected.at_most else "about "
    workers = f"{expected.num_workers} worker" + ("s" if expected.num_workers > 1 else "")
    measured = f"measured: {expected.num_measured} of {expected.num_programs} programs"
    return f"{most}{duration(expected.wall_s)} on {workers} ({measured})"


def _memory(expected: Expected) -> str:
    return f"{expected.memory_bytes / 2**20:,.0f} MiB a worker"


def duration(wall_s: float) -> str:
    """Seconds as text.

    >>> [duration(wall_s) for wall_s in (0.2, 59.7, 200, 7300, 1e6)]
    ['1 s', '1 min', '3 min 20 s', '2 h 1 min', '11 d 13 h']
    """
    seconds = max(1, round(wall_s))
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for (large, size), (small, part) in pairwise(units):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size} {large}" + (f" {rest} {small}" if rest else "")
    return f"{seconds} s"


def _size(size_bytes: float) -> str:
    """Bytes as text.

    >>> _size(1234567)
    '1.23 MB'
    """
    for unit in ("B", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:,.3g} GB"
