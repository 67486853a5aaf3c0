"""Cost of safe SQL: Arrow's scan against DuckDB's own reader, and the start of a child process.

Prints JSON: seconds, the best of three. Needs about 80 MB in the folder for temporary files.
"""

from __future__ import annotations

import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gradlaw_analysis.sql import ViewSource, run_sql
from gradlaw_analysis.sql.sources import register

NUM_FILES = 10
ROWS_PER_FILE = 500_000
STATEMENTS = [
    "SELECT count(*) FROM {}",
    "SELECT step, avg(loss), stddev(grad_norm) FROM {} GROUP BY step",
    "SELECT * FROM {} WHERE trial_id = 't7_100'",
    "SELECT trial_id, loss FROM {} WHERE step = 499",
    "SELECT * FROM {} ORDER BY loss LIMIT 5",
    "SELECT sum(loss) FROM {0} "
    "SEMI JOIN (SELECT trial_id, max(step) AS step FROM {0} GROUP BY ALL) USING (trial_id, step)",
]


def write_files(folder: Path) -> list[str]:
    """Writes curves of 500 steps with four metrics, as the store would."""
    generator = np.random.default_rng(0)
    files = []
    for number in range(NUM_FILES):
        index = np.arange(ROWS_PER_FILE)
        columns = {"trial_id": np.char.add(f"t{number}_", (index // 500).astype(str)), "step": index % 500}
        for name in ("loss", "grad_norm", "sharpness", "error"):
            columns[name] = generator.standard_normal(ROWS_PER_FILE).astype(np.float32)
        files.append(str(folder / f"{number}.parquet"))
        pq.write_table(pa.table(columns), files[-1], compression="zstd", row_group_size=122_880)
    return files


def best_s(run: Callable[[], object]) -> float:
    """Seconds of the fastest of three runs."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return round(min(times), 3)


def main() -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(config={"threads": 2}) as connection:
        files = write_files(Path(folder))
        register(connection, [ViewSource(name="arrow", files=files)])
        connection.execute(f"CREATE VIEW own AS FROM read_parquet({files}, union_by_name = true)")
        scans = {
            statement: {
                name: best_s(connection.sql(statement.format(name)).fetchall) for name in ("own", "arrow")
            }
            for statement in STATEMENTS
        }
        views = [ViewSource(name="arrow", files=files)]
        child = best_s(lambda: run_sql("SELECT 1", []))
        million = best_s(lambda: run_sql("SELECT * FROM arrow LIMIT 1000000", views))
    result = {"machine": platform.platform(), "rows": NUM_FILES * ROWS_PER_FILE, "scan_s": scans,
              "empty_query_s": child, "million_rows_through_the_pipe_s": million}  # fmt: skip
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
