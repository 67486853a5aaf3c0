"""What everything beside training costs, against the number of trials.

Run ``python benchmarks/scale.py``. Three cases, each size in processes of its own, a JSON line each:

- ``run``: a whole run, from its call to its end, on workers that train nothing: they write made-up curves
  of a hundred rows a trial as a worker does, a thousand packs open at once. Time to plan, memory of the
  driver, seconds to open, write and commit a pack, and the status halfway.
- ``store``: fresh questions to what that run wrote: resolve, status, compaction, group-by, verdicts.
- ``schedule``: packs through Ray's launcher to workers that only report.

What is in the file of results already is not measured again. What is measured: docs/scale.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from _results import FOLDER, line_of
from _scale_asking import all_questions
from scale_study.study import ROWS_A_TRIAL, SIZES

HERE = Path(__file__).parent
SCHEDULED = (1_000, 4_000)
"""Packs of 64 sent through Ray."""


def main() -> None:
    """Measures what is missing and prints it."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that its stores are deleted
    held = _held(options.out)
    for record in _measure(options, held):
        line = line_of({"benchmark": "scale", **record, "load": round(os.getloadavg()[0], 1)})
        print(line, flush=True)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with options.out.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--max-trials", type=int, default=SIZES[-1], help="no size above it")
    parser.add_argument("--max-rows", type=int, default=SIZES[-1] * ROWS_A_TRIAL, help="no size above it")
    parser.add_argument("--min-trials", type=int, default=SIZES[0], help="no size below it")
    parser.add_argument(
        "--packs", type=int, nargs="*", default=SCHEDULED, help="through Ray; none: not at all"
    )
    parser.add_argument("--processes", type=int, default=2, help="workers that write")
    parser.add_argument("--folder", type=Path, help="for the stores; about 6 GB for a million trials")
    parser.add_argument("--out", type=Path, default=FOLDER / "scale.jsonl", help="results; added to")
    return parser.parse_args()


def _held(out: Path) -> set[tuple[str, int]]:
    """Cases and sizes that the results have already."""
    lines = out.read_text(encoding="utf-8").splitlines() if out.is_file() else []
    records = [json.loads(line) for line in lines if line.endswith("}")]  # a killed run may leave a torn one
    return {(record["case"], record[_size_name(record["case"])]) for record in records}


def _size_name(case: str) -> str:
    return "packs" if case == "schedule" else "trials"


def _measure(options: argparse.Namespace, held: set[tuple[str, int]]) -> Iterator[Mapping[str, Any]]:
    for packs in options.packs:
        if ("schedule", packs) not in held:
            yield _child("_scale_schedule.py", packs)
    for trials in SIZES:
        rows = trials * ROWS_A_TRIAL
        asked = options.min_trials <= trials <= options.max_trials and rows <= options.max_rows
        if not asked or ("store", trials) in held:
            continue
        if options.folder:
            options.folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="gradlaw-scale-", dir=options.folder))
        try:
            record = _child("_scale_driver.py", trials, folder / "store", options.processes)
            if ("run", trials) not in held:
                yield {**record, "rows": rows}
            yield all_questions(folder / "store", trials, rows)
        finally:
            shutil.rmtree(folder)


def _child(script: str, *arguments: object) -> dict[str, Any]:
    """What a script prints last, a line of JSON; it has a process of its own."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return record


if __name__ == "__main__":
    main()
