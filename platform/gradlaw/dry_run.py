"""What a run would do and cost, before it does: trials, packs, rows and bytes; nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradlaw.engine.rows import metrics_table
from gradlaw.pack import Pack, Training, program_tables
from gradlaw.pending import missing_packs
from gradlaw.plan import Plan
from gradlaw.planned import plan_study
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


def rows_logged(steps: int, log_every: int) -> int:
    """Rows of ``metrics`` of one trial: step 0, every ``log_every`` steps, and the last.

    >>> [rows_logged(steps, 4) for steps in (0, 3, 4, 5, 40)]
    [1, 2, 2, 3, 11]
    """
    return -(-steps // log_every) + 1


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
) -> list[str]:
    """What a run would do, in lines, checked as a run is; nothing is written.

    Args: as of :func:`gradlaw.runner.run`.
    """
    planned = plan_study(study, preset=preset, overrides=set, seeds=seeds, explore=explore)
    planned.check_claims()
    index = Store.open(store).index() if Path(store).exists() else {}
    pending = missing_packs(planned.plan, index)
    return [*_counts(planned.plan, pending), *planned.notes, *_costs(pending)]


def _counts(plan: Plan, pending: Sequence[Pack]) -> Iterator[str]:
    to_run = [member for pack in pending for member in pack.members]
    steps = sum(member.trial.steps for member in to_run)
    num_trials = sum(1 for _ in plan.members)
    yield f"plan {plan.plan_id} ({plan.kind}): {num_trials:,} trials, {len(plan.seeds):,} seeds"
    yield f"to run: {len(to_run):,} trials in {len(pending):,} packs, {steps:,} trial-steps"
    yield f"skipped: {len(plan.skipped):,}"


def _costs(pending: Sequence[Pack]) -> Iterator[str]:
    disk = estimate_disk(pending)
    yield (
        f"disk: {disk.metrics_rows:,} rows of metrics with up to {disk.num_columns} numbers, "
        f"about {_size(disk.size_bytes)}"
        + (f"; and the tables {', '.join(disk.other_tables)}" if disk.other_tables else "")
    )


def _size(size_bytes: float) -> str:
    """Bytes as text.

    >>> _size(1234567)
    '1.2 MB'
    """
    for unit in ("B", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:,.3g} GB"
