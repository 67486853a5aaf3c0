"""What does a round of a search cost beside its trials?

A search of ten rounds of a few tiny trials, in one pack a round, inline and on Ray, each in a process of its
own. Each line of output is one JSON object:

- ``first_s``: from the start of the run to that of its first pack.
- ``between_s``: from the commit of a round's pack to the start of the next round's, the median, and the
  largest: results read, the next round chosen and recorded, what is missing found, a worker given its order.
- ``pack_s``: a pack's own time, from its start to its commit, the median.
- ``driver_cpu_s``: CPU time of the driver a round, the median, with that of the pack where it runs it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from _results import emit, parser

LAUNCHERS = ("inline", "ray")
ROUNDS, QUICK_ROUNDS, A_ROUND = 10, 3, 4
_TIME_LIMIT_S = 900.0

_STUDY = '''"""A search of many rounds, made for a benchmark."""

from gradlaw.rules.adam import Adam
from gradlaw.space import Range
from gradlaw.study import Arm, Grid, Preset, Search, Study
from gradlaw.tasks.modular_addition import ModularAddition

GRID = Grid(task=ModularAddition, rule=Adam, values={{"modulus": 7, "width": 8}}, steps=20, log_every=20)
ADAM = Arm(name="adam", grid=GRID, space={{"lr": Range(low=1e-4, high=1.0, log=True)}})
SEARCH = Search(name="short", arms=(ADAM,), budget={budget}, per_round={a_round}, metric="loss")
STUDY = Study(
    name="{name}",
    question="How long does a round take?",
    source="benchmarks",
    presets={{"demo": Preset(doc="the rounds", grids=(), searches=(SEARCH,), seeds=2, decides=False)}},
)
'''


def main() -> None:
    """Measures and prints."""
    options = parser(__doc__)
    options.add_argument("--launcher", action="append", choices=LAUNCHERS, help="only this; may be repeated")
    options.add_argument("--run", nargs=3, help="of the script itself: a launcher, rounds and a folder")
    chosen = options.parse_args()
    if chosen.run:
        launcher, rounds, folder = chosen.run
        print(json.dumps(measure(launcher, int(rounds), Path(folder))))
        return
    rounds = QUICK_ROUNDS if chosen.quick else ROUNDS
    for launcher in chosen.launcher or LAUNCHERS:
        with tempfile.TemporaryDirectory(prefix="gradlaw-rounds-") as folder:
            done = subprocess.run(
                [sys.executable, __file__, "--run", launcher, str(rounds), folder],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                timeout=_TIME_LIMIT_S,
            )
        record = json.loads(done.stdout.splitlines()[-1])
        emit({"benchmark": "rounds", "launcher": launcher, "rounds": rounds, **record}, keep=chosen.keep)


def measure(launcher: str, rounds: int, folder: Path) -> dict[str, Any]:
    """One run."""
    import torch

    from gradlaw.running.runner import run

    torch.set_num_threads(1)
    place = folder / "rounds_benchmark"
    place.mkdir()
    text = _STUDY.format(budget=A_ROUND * (rounds - 1), a_round=A_ROUND, name=place.name)
    (place / "study.py").write_text(text, encoding="utf-8")
    marks: list[float] = []

    def say(line: str) -> None:
        if line.startswith("round "):
            marks.append(time.process_time())

    began = time.time()
    summary = run(place, store=folder / "store", launcher=launcher, compile="never", say=say)
    if not summary.complete or len(marks) != rounds - 1:
        msg = f"got {summary.states} in {len(marks) + 1} rounds, expected all trials done in {rounds}"
        raise SystemExit(msg)
    spans = _spans(folder / "store")
    between = [start - end for (_, end), (start, _) in pairwise(spans)]
    return {
        "trials": summary.trials_planned,
        "packs": len(spans),
        "first_s": round(spans[0][0] - began, 3),
        "between_s": round(statistics.median(between), 4),
        "between_most_s": round(max(between), 4),
        "pack_s": round(statistics.median(end - start for start, end in spans), 4),
        "driver_cpu_s": round(statistics.median(b - a for a, b in pairwise(marks)), 4),
    }


def _spans(store: Path) -> list[tuple[float, float]]:
    """Start and commit of every pack, in order, in seconds since the epoch."""
    import pyarrow.parquet as pq

    found = []
    for file in (store / "trials").rglob("*.parquet"):
        started = pq.read_table(file, columns=["started_at"], partitioning=None)["started_at"][0]
        found.append((started.value / 1e6, file.stat().st_mtime))
    return sorted(found)


if __name__ == "__main__":
    main()
