"""A sweep of 1,000 trials of 200 steps, end to end to the last committed row, against Ray Tune and a loop.

Each line is a JSON object: one arm on one case. ``total_s`` runs from the start of the process (cold arms)
or of the sweep (warm arms) to the last row on disk; ``start_up_s`` to the first trial's start;
``compute_s`` is training alone, summed over trials and divided by the workers. What is measured:
docs/benchmarks.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from _results import emit, parser
from _sweep_arms import ARMS, STEPS, Sweep

SIZES = ((7, 32), (23, 64))
AXES, QUICK_AXES = (10, 10, 10), (5, 2, 4)
_TIME_LIMIT_S = 1800.0

RUNS = (
    ("gradlaw_cold", "cold"),
    ("gradlaw_cold", "warm"),
    ("gradlaw_warm", "warm"),
    ("gradlaw_inline", "warm"),
    ("plain_loop", "none"),
    ("ray_tune_cold", "none"),
    ("ray_tune_warm", "none"),
)
"""Arms and the state of the compile cache they find. The first fills it for those that follow."""


def main() -> None:
    """Measures and prints."""
    options = parser(__doc__)
    options.add_argument("--case", action="append", choices=[_name(*sizes) for sizes in SIZES])
    options.add_argument("--arm", action="append", choices=ARMS, help="only this arm; may be repeated")
    options.add_argument("--seeds", type=int, help="a hundred trials each; 10 unless told otherwise")
    chosen = options.parse_args()
    axes = QUICK_AXES if chosen.quick else (*AXES[:2], chosen.seeds or AXES[2])
    for sizes in SIZES:
        if _name(*sizes) in (chosen.case or [_name(*sizes)]):
            for record in _measure(sizes, set(chosen.arm or ARMS), axes):
                emit({"benchmark": "sweep", "case": _name(*sizes), **record}, keep=chosen.keep)


def _name(modulus: int, width: int) -> str:
    return f"modular_addition_{modulus}_{width}"


def _measure(
    sizes: tuple[int, int], arms: set[str], axes: tuple[int, int, int]
) -> Iterator[Mapping[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="gradlaw-sweep-") as folder:
        cache_is_warm = False
        for number, (arm, cache) in enumerate(RUNS):
            if arm not in arms:
                continue
            if cache == "warm" and not cache_is_warm and arm == "gradlaw_inline":
                cache = "cold"
            sweep = Sweep(
                modulus=sizes[0],
                width=sizes[1],
                num_lrs=axes[0],
                num_decays=axes[1],
                seeds=axes[2],
                folder=f"{folder}/{number}",
            )
            yield {"arm": arm, "compile_cache": cache, **_run(arm, sweep, Path(folder) / "compiled")}
            cache_is_warm = cache_is_warm or cache != "none"


def _run(arm: str, sweep: Sweep, cache: Path) -> Mapping[str, Any]:
    """One arm in a process of its own, and its marks as durations."""
    Path(sweep.folder).mkdir()
    spawned = time.time()
    script = Path(__file__).with_name("_sweep_arms.py")
    done = subprocess.run(
        [sys.executable, str(script), arm, json.dumps(asdict(sweep))],
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=_TIME_LIMIT_S,
    )
    marks = json.loads(done.stdout.splitlines()[-1])
    start = marks["began"] if arm.endswith("_warm") else spawned
    record = {
        "trials": sweep.trials,
        "steps": STEPS,
        "workers": marks["workers"],
        "total_s": marks["committed"] - start,
        "start_up_s": marks["started"] - start,
        "compute_s": marks["train_s"] / marks["workers"],
        "close_s": marks["finished"] - marks["committed"],
    }
    for name in ("compile_s", "commit_s", "packs"):
        if name in marks:
            record[name] = marks[name]
    if "beside_training_s" in marks:
        record["beside_training_s"] = marks["beside_training_s"] / marks["workers"]
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in record.items()}


if __name__ == "__main__":
    main()
