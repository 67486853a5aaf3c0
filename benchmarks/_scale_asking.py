"""Questions to a store, each by a process of its own, as a person at a terminal asks them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradlaw.store.store import Store

STUDY = Path(__file__).parent / "scale_study"
GROUP_BY = "SELECT step, avg(loss) AS loss, count(*) AS num FROM metrics GROUP BY step ORDER BY step"
RESOLVE = """
import sys, time
from gradlaw.store.store import Store
begun = time.perf_counter()
found = Store.open(sys.argv[1]).resolve()
assert not found.set_aside, found.set_aside
print(time.perf_counter() - begun)
"""


def gradlaw_command(name: str, store: str | Path, *more: str) -> list[str]:
    """A command line of gradlaw's."""
    return [sys.executable, "-m", "gradlaw.cli", name, *more, "--store", str(store)]


def asked(command: Sequence[str]) -> dict[str, Any]:
    """Runs a command: seconds on the clock and of processors, most memory used, and what it said.

    The memory is never told below what this process uses itself.
    """
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        msg = f"{' '.join(command)} ended with {process.returncode}"
        raise RuntimeError(msg)
    return {
        "wall_s": round(time.perf_counter() - begun, 3),
        "cpu_s": round(used.ru_utime + used.ru_stime, 3),
        "peak_bytes": used.ru_maxrss * 1024,
        "said": said,
    }


def resolve(store: Path) -> dict[str, Any]:
    """A fresh look at the files that count, every digest compared; the imports do not count."""
    found = asked([sys.executable, "-c", RESOLVE, str(store)])
    found["wall_s"] = round(float(found.pop("said")), 3)
    return found


def status(store: Path) -> dict[str, Any]:
    """``gradlaw status``."""
    found = asked(gradlaw_command("status", store))
    del found["said"]
    return found


def compact(store: Path) -> dict[str, Any]:
    """``gradlaw compact``."""
    found = asked(gradlaw_command("compact", store))
    del found["said"]
    return found


def group_by(store: Path, rows: int) -> dict[str, Any]:
    """A group-by over every row of ``metrics`` by ``gradlaw sql``, checked to have seen them all."""
    found = asked(gradlaw_command("sql", store, GROUP_BY, "--format", "json", "--time-limit-s", "600"))
    assert sum(row["num"] for row in _rows(found.pop("said"))) == rows
    return found


def verdicts(store: Path, trials: int) -> dict[str, Any]:
    """``gradlaw verdicts``, checked: both claims are planted, on every trial."""
    found = asked(gradlaw_command("verdicts", store, str(STUDY), "--format", "json"))
    for verdict in _rows(found.pop("said")):
        assert verdict["verdict"] == "supported", verdict
        assert verdict["num_trials"] == trials, verdict
    return found


def _rows(said: str) -> list[Mapping[str, Any]]:
    """JSON as one list, or a line a row."""
    text = said.strip()
    found: list[Mapping[str, Any]] = (
        json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    )
    assert found
    return found


def metrics_bytes(store: Path) -> dict[str, int]:
    """Bytes of ``metrics`` as committed and as compacted, and files of the store."""
    files = Store.open(store).files
    committed = files.scan("metrics").values()
    merged = [entry for key, entry in files.scan("_generations").items() if key.endswith("-metrics.parquet")]
    return {
        "committed_bytes": sum(entry.size for entry in committed),
        "committed_files": len(committed),
        "compacted_bytes": sum(entry.size for entry in merged),
        "compacted_files": len(merged),
    }


def all_questions(store: Path, trials: int, rows: int) -> dict[str, Any]:
    """Every question, before and after compaction. Files were written just before: the cache is warm."""
    before = {"resolve": resolve(store), "status": status(store)}
    merged = compact(store)
    after = {
        "resolve": resolve(store),
        "status": status(store),
        "group_by": group_by(store, rows),
        "verdicts": verdicts(store, trials),
    }
    size = metrics_bytes(store)
    return {
        "case": "store",
        "trials": trials,
        "rows": rows,
        "before": before,
        "compact": merged,
        "after": after,
        **size,
        "bytes_a_row": round(size["committed_bytes"] / rows, 3),
        "bytes_a_row_compacted": round(size["compacted_bytes"] / rows, 3),
    }
