"""How fast the store takes rows, how small it keeps them and how fast it answers.

Prints a JSON line a case, with machine, versions and date:

- ``write_rows``: rows of ``metrics`` a second that one worker writes, from the engine's columns to the commit
  on disk, live parts included; a row is a step and four float32 metrics.
- ``bytes_a_row``: of the committed file, without the copies that other cases make.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
from _curves import METRICS, Curves, write_copy
from _results import emit, parser

from gradlaw.store.compaction import compact
from gradlaw.store.store import Store
from gradlaw_analysis.open import open_store
from gradlaw_analysis.sql import Limits

FLUSH_ROWS = 250_000
BY_STEP = "SELECT step, avg(loss) AS loss, count(*) AS num FROM {} GROUP BY step"
BY_TRIAL = "SELECT trial_id, min(test_loss) AS loss FROM {} GROUP BY trial_id"
ONE_TRIAL = "SELECT step, loss FROM {} WHERE trial_id = '{}' ORDER BY step"
Record = dict[str, Any]


def timed(run: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def metrics_bytes(store: Store) -> tuple[int, int]:
    """Bytes and rows of the committed files of ``metrics``."""
    listed = [file for unit in store.resolve(verify=False).units for file in unit.files]
    files = [file for file in listed if file.table == "metrics"]
    return sum(file.size for file in files), sum(file.rows for file in files)


def write_rows(folder: Path, curves: Curves, repeats: int) -> Iterator[Record]:
    """Packs written one after another by this process."""
    store = Store.create(folder / "write")
    write_copy(store, curves, 0, curves.copy(0), flush_rows=FLUSH_ROWS)  # imports, caches
    walls, cpus = [], []
    for number in range(1, repeats + 1):
        chunks = curves.copy(number)
        cpu = time.process_time()
        walls.append(timed(lambda n=number, c=chunks: write_copy(store, curves, n, c, flush_rows=FLUSH_ROWS)))  # type: ignore[misc]
        cpus.append(time.process_time() - cpu)
    yield {
        "case": "write_rows",
        "rows_per_s": round(curves.num_rows / statistics.median(walls)),
        "rows_per_s_best": round(curves.num_rows / min(walls)),
        "rows_per_cpu_s": round(curves.num_rows / statistics.median(cpus)),
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
    write_s = timed(lambda: [write_copy(store, curves, n, curves.copy(n)) for n in range(copies)])
    compact_s = timed(lambda: compact(Store.open(path)))
    size, rows = metrics_bytes(Store.open(path))
    opened = open_store(path)
    cold_s = timed(lambda: opened.sql(BY_STEP.format("metrics")))  # every file's digest is compared, once
    files = [opened.store.files.location(key) for key in opened.store.resolve(verify=False).keys("metrics")]
    trial = curves.trial_ids(copies // 2)[0]
    for name, query in (("by_step", BY_STEP), ("by_trial", BY_TRIAL), ("one_trial", ONE_TRIAL)):
        sql, own = [], []
        for _ in range(repeats):
            sql.append(
                timed(lambda q=query: opened.sql(q.format("metrics", trial), limits=Limits(wall_s=600)))
            )  # type: ignore[misc]
            own.append(timed(lambda q=query: _own_reader(files, q, trial)))  # type: ignore[misc]
        yield {
            "case": "group_by",
            "query": name,
            "rows": rows,
            "sql_s": round(statistics.median(sql), 3),
            "sql_s_best": round(min(sql), 3),
            "duckdb_s": round(statistics.median(own), 3),
            "duckdb_s_best": round(min(own), 3),
            "ratio": round(min(sql) / min(own), 2),
            "first_query_s": round(cold_s, 3),
            "bytes_a_row": round(size / rows, 2),
            "write_s": round(write_s, 1),
            "compact_s": round(compact_s, 1),
        }


def _own_reader(files: list[str], query: str, trial: str) -> None:
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute(query.format(f"read_parquet({files})", trial)).df()


def compaction(folder: Path, curves: Curves, num_packs: int) -> Iterator[Record]:
    """Small packs, each with its own commit."""
    path = folder / "packs"
    store = Store.create(path)
    write_s = timed(lambda: [write_copy(store, curves, n, curves.copy(n)) for n in range(num_packs)])
    before = _state(path)
    compact_s = timed(lambda: compact(Store.open(path)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield {
        "case": "compaction",
        "packs": num_packs,
        "rows_a_pack": curves.num_rows,
        "packs_per_s": round(num_packs / write_s, 1),
        "compact_s": round(compact_s, 2),
        "peak_memory_bytes": peak * 1024,
        "before": before,
        "after": _state(path),
    }


def _state(path: Path) -> Record:
    store = Store.open(path)
    first = timed(store.resolve)
    again = timed(store.resolve)
    size, rows = metrics_bytes(store)
    opened = open_store(path)
    query = BY_STEP.format("metrics")
    opened.sql(query)
    return {
        "resolve_s": round(first, 3),
        "resolve_again_s": round(again, 3),
        "index_s": round(timed(lambda: Store.open(path).index()), 3),
        "query_s": round(min(timed(lambda: opened.sql(query)) for _ in range(3)), 3),
        "bytes_a_row": round(size / rows, 1),
    }


def cases(folder: Path, options: Any) -> Iterator[Record]:
    """All cases asked for."""
    quick = options.quick
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
