"""How fast the store takes rows, how small it keeps them and how fast it answers.

Prints a JSON line a case, with machine, versions and date:

- ``write_rows``: rows of ``metrics`` a second that one worker writes, from the engine's columns to the commit
  on disk, live parts included; a row is a step and four float32 metrics.
- ``bytes_a_row``: of the committed file, with every curve once.
- ``group_by``: ``GROUP BY step`` over all rows of a compacted store, on two cores: ``sql``, what a user waits
  for, in the confined child process; ``duckdb``, DuckDB's own reader on the same files, without any wall.
- ``compaction``: thousands of small packs before and after they are merged.

The curves are real: a pack is trained, and its rows are written again under other trial ids, far enough apart
that no compressor sees a curve twice.
"""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
from _curves import METRICS, Curves, write_copy
from _results import emit, parser

from gradlaw.store.compaction import compact
from gradlaw.store.store import Store
from gradlaw_analysis.open import open_store
from gradlaw_analysis.sql import Limits

FLUSH_ROWS = 250_000
LIMITS = Limits(wall_s=600.0)
BY_STEP = "SELECT step, avg(loss) AS loss, count(*) AS num FROM {} GROUP BY step"
BY_TRIAL = "SELECT trial_id, min(test_loss) AS loss FROM {} GROUP BY trial_id"
ONE_TRIAL = "SELECT step, loss FROM {} WHERE trial_id = '{}' ORDER BY step"
Record = dict[str, Any]


class Spent(NamedTuple):
    """Seconds on the clock, and of processors by this process and the children that ended."""

    wall_s: float
    cpu_s: float


def timed(run: Callable[[], object]) -> Spent:
    """What a call takes."""
    wall, cpu = time.perf_counter(), _cpu_s()
    run()
    return Spent(time.perf_counter() - wall, _cpu_s() - cpu)


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(item.ru_utime + item.ru_stime for item in used)


def summary(name: str, spent: Sequence[Spent]) -> Record:
    """Median and least of the clock, least of the processors: others on the machine add to all three."""
    return {
        f"{name}_s": round(statistics.median(item.wall_s for item in spent), 3),
        f"{name}_s_best": round(min(item.wall_s for item in spent), 3),
        f"{name}_cpu_s": round(min(item.cpu_s for item in spent), 3),
    }


def metrics_bytes(store: Store) -> tuple[int, int]:
    """Bytes and rows of the committed files of ``metrics``."""
    listed = [file for unit in store.resolve(verify=False).units for file in unit.files]
    files = [file for file in listed if file.table == "metrics"]
    return sum(file.size for file in files), sum(file.rows for file in files)


def write_rows(folder: Path, curves: Curves, repeats: int) -> Iterator[Record]:
    """Packs written one after another by this process."""
    store = Store.create(folder / "write")
    write_copy(store, curves, 0, curves.copy(0), flush_rows=FLUSH_ROWS)  # imports, caches
    spent = []
    for number in range(1, repeats + 1):
        chunks = curves.copy(number)
        spent.append(timed(partial(write_copy, store, curves, number, chunks, flush_rows=FLUSH_ROWS)))
    taken = summary("pack", spent)
    yield {
        "case": "write_rows",
        "rows_per_s": round(curves.num_rows / taken["pack_s"]),
        "rows_per_s_best": round(curves.num_rows / taken["pack_s_best"]),
        "rows_per_cpu_s": round(curves.num_rows / taken["pack_cpu_s"]),
        "rows_a_pack": curves.num_rows,
        "trials_a_pack": curves.num_trials,
        "repeats": repeats,
        "metrics": METRICS,
    }


def bytes_a_row(folder: Path, curves: Curves) -> Iterator[Record]:
    """One pack, each curve once."""
    store = Store.create(folder / f"bytes_{curves.task}")
    write_copy(store, curves, 0, curves.copy(0))
    size, rows = metrics_bytes(store)
    compact(store)
    compacted, _ = metrics_bytes(store)
    yield {
        "case": "bytes_a_row",
        "task": curves.task,
        "bytes_a_row": round(size / rows, 2),
        "bytes_a_row_compacted": round(compacted / rows, 2),
        "rows": rows,
        "metrics": METRICS,
    }


def group_by(folder: Path, curves: Curves, num_rows: int, repeats: int) -> Iterator[Record]:
    """The same questions through the walls and without, in turn."""
    path = folder / "large"
    store = Store.create(path)
    copies = -(-num_rows // curves.num_rows)
    written = timed(lambda: write_copies(store, curves, copies))
    compacted = timed(lambda: compact(Store.open(path)))
    size, rows = metrics_bytes(Store.open(path))
    opened = open_store(path)
    first = timed(lambda: opened.sql(BY_STEP.format("metrics"), limits=LIMITS))  # compares digests, once
    files = [opened.store.files.location(key) for key in opened.store.resolve(verify=False).keys("metrics")]
    trial = curves.trial_ids(copies // 2)[0]
    for name, query in (("by_step", BY_STEP), ("by_trial", BY_TRIAL), ("one_trial", ONE_TRIAL)):
        sql, own = [], []
        for _ in range(repeats):
            sql.append(timed(partial(opened.sql, query.format("metrics", trial), limits=LIMITS)))
            own.append(timed(partial(_own_reader, query.format(f"read_parquet({files})", trial))))
        yield {
            "case": "group_by",
            "query": name,
            "rows": rows,
            **summary("sql", sql),
            **summary("duckdb", own),
            "first_query_s": round(first.wall_s, 3),
            "bytes_a_row": round(size / rows, 2),
            "write_s": round(written.wall_s, 1),
            "compact_s": round(compacted.wall_s, 1),
        }


def _own_reader(query: str) -> None:
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute(query).df()


def write_copies(store: Store, curves: Curves, num: int) -> None:
    """Copies 0 .. num-1, each a pack with its own commit."""
    for number in range(num):
        write_copy(store, curves, number, curves.copy(number))


def compaction(folder: Path, curves: Curves, num_packs: int) -> Iterator[Record]:
    """Small packs, each with its own commit."""
    path = folder / "packs"
    store = Store.create(path)
    written = timed(lambda: write_copies(store, curves, num_packs))
    before = _state(path)
    compacted = timed(lambda: compact(Store.open(path)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield {
        "case": "compaction",
        "packs": num_packs,
        "rows_a_pack": curves.num_rows,
        "packs_per_s": round(num_packs / written.wall_s, 1),
        "packs_per_cpu_s": round(num_packs / written.cpu_s, 1),
        **summary("compact", [compacted]),
        "peak_memory_bytes": peak * 1024,
        "before": before,
        "after": _state(path),
    }


def _state(path: Path) -> Record:
    store = Store.open(path)
    first, again = timed(store.resolve), timed(store.resolve)
    opened = open_store(path)
    opened.sql(BY_STEP.format("metrics"), limits=LIMITS)
    queries = [timed(partial(opened.sql, BY_STEP.format("metrics"), limits=LIMITS)) for _ in range(3)]
    return {
        **summary("resolve", [first]),
        **summary("resolve_again", [again]),
        **summary("index", [timed(lambda: Store.open(path).index())]),
        **summary("query", queries),
    }


def cases(folder: Path, options: Any) -> Iterator[Record]:
    """All cases asked for."""
    quick = options.quick
    if set(options.cases) - {"compaction"}:
        curves = Curves("modular_addition", seeds=16 if quick else 64, steps=300 if quick else 1040)
    if "write_rows" in options.cases:
        yield from write_rows(folder, curves, repeats=3 if quick else 12)
    if "bytes_a_row" in options.cases:
        yield from bytes_a_row(folder, curves)
        yield from bytes_a_row(
            folder, Curves("digits", seeds=1 if quick else 16, steps=100 if quick else 260)
        )
    if "group_by" in options.cases:
        yield from group_by(
            folder, curves, options.rows or (1_000_000 if quick else 100_000_000), 3 if quick else 7
        )
    if "compaction" in options.cases:
        small = Curves("modular_addition", seeds=1, steps=12)
        yield from compaction(folder, small, options.packs or (200 if quick else 20_000))


CASES = ("write_rows", "bytes_a_row", "group_by", "compaction")


def main() -> None:
    """Runs the cases and prints their lines."""
    made = parser(__doc__)
    made.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    made.add_argument("--rows", type=int, help="rows of group_by")
    made.add_argument("--packs", type=int, help="packs of compaction")
    made.add_argument("--folder", type=Path, help="where to write; about 2 GB")
    options = made.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for record in cases(Path(folder), options):
            load = os.getloadavg()[0]
            emit({"benchmark": "store", **record, "load": round(load, 1)}, keep=options.keep)


if __name__ == "__main__":
    main()
