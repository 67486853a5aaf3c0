"""Packs on a GPU: trials a second against the width of the pack, and the share of the card's ceilings.

Each line is a JSON object: one arm on one case at one width; ``trials_per_s`` counts trials of 1,000
steps. An arm ``floor`` gives the card's measured ceilings. ``python benchmarks/gpu.py --keep --minutes 25``
keeps in results/gpu.jsonl what it has measured by then; what failed or was left out is told on stderr.
Needs torch, numpy, pyarrow and safetensors; the digits need scikit-learn too, and are left out without it.
What is measured: docs/benchmarks.md.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from _cases import CASES, Case, work_of
from _ceilings import copy_gb_s, matmul_gflops
from _race import ALONE, ARMS, QUICK, Effort, available, check, floor, race
from _results import emit, parser

from gradlaw.engine.machine import forget_captured

TRIAL_STEPS = 1000
WIDTHS = (4096, 256, 1024, 64, 16, 4, 1)
"""The widest first: where time is short, thousands of trials in one program are what is to be known."""
QUICK_WIDTHS = (1, 16, 256)
_PASSES = 8
"""Copies of a layer's values that a step may hold at once: a bound on memory, not an estimate."""


def main() -> None:
    """Measures and prints."""
    options = parser(__doc__)
    options.add_argument("--device", default="cuda", help="torch device; cpu to try the script out")
    options.add_argument("--case", action="append", choices=CASES, help="only this case; may be repeated")
    options.add_argument("--arm", action="append", choices=ARMS, help="only this arm; may be repeated")
    options.add_argument("--width", action="append", type=int, help="only this width of packs, likewise")
    options.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing after so long")
    chosen = options.parse_args()
    if chosen.device.startswith("cuda") and not torch.cuda.is_available():
        emit({"benchmark": "gpu", "device": None, "skipped": "there is no CUDA device here"}, keep=False)
        return
    torch.set_num_threads(1)  # the host only hands out work
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    name = torch.cuda.get_device_name() if chosen.device.startswith("cuda") else "cpu"
    effort = QUICK if chosen.quick else Effort(repeats=5)
    widths = tuple(chosen.width or (QUICK_WIDTHS if chosen.quick else WIDTHS))
    arms = available([arm for arm in ARMS if arm in (chosen.arm or ARMS)], chosen.device)
    cases = _runnable([CASES[case] for case in chosen.case or CASES])
    end = time.monotonic() + 60.0 * chosen.minutes
    failed = 0
    for what, records in _measurements(cases, arms, chosen.device, replace(effort, widths=widths)):
        if time.monotonic() >= end:
            print(f"{what}: left out, the time is over", file=sys.stderr)
            continue
        try:
            for record in records:
                emit({"benchmark": "gpu", "device": name, **record}, keep=chosen.keep)
        except (RuntimeError, SystemExit) as error:  # what one case lacks, memory say, others may have
            failed += 1
            print(f"{what}: failed: {error}", file=sys.stderr)
        _let_go(chosen.device)
    raise SystemExit(1 if failed else 0)


def _runnable(cases: Sequence[Case]) -> list[Case]:
    try:
        import sklearn  # noqa: F401 - the digits are in it
    except ImportError:
        pass
    else:
        return list(cases)
    print("digits: left out, scikit-learn, which holds them, is not installed", file=sys.stderr)
    return [case for case in cases if case.task != "digits"]


def _measurements(
    cases: Sequence[Case], arms: Sequence[str], device: str, effort: Effort
) -> Iterator[tuple[str, Iterable[Mapping[str, Any]]]]:
    """What is measured, and its records as they come: floors, then widths of packs, then single trials.

    A case whose arms do not train alike has no floor, and is not measured.
    """
    sound: list[Case] = []
    for case in cases:
        yield f"{case.name}: floor", _checked(case, arms, device, sound)
    packed = [arm for arm in arms if arm not in ALONE]
    for width, case in product(effort.widths if packed else (), sound):
        what = f"{case.name}: width {width}"
        if _fits(case, width, device):
            yield what, _raced(case, packed, device, replace(effort, widths=(width,)))
        else:
            print(f"{what} left out, it may not fit", file=sys.stderr)
    if alone := [arm for arm in arms if arm in ALONE]:
        for case in sound:
            yield f"{case.name}: one trial", _raced(case, alone, device, effort)


def _checked(case: Case, arms: Sequence[str], device: str, sound: list[Case]) -> Iterator[Mapping[str, Any]]:
    """The floor, and the case among those that are sound, if all arms train alike."""
    check(case, arms, device)
    sound.append(case)
    yield floor(case, device)


def _raced(case: Case, arms: Sequence[str], device: str, effort: Effort) -> Iterator[Mapping[str, Any]]:
    for record in race(case, arms, device, effort):
        yield {**record, **_shares(case, record, device)}


def _let_go(device: str) -> None:
    """Frees what the last measurement held, so that the next finds the memory it asks for."""
    forget_captured()
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def _shares(case: Case, record: Mapping[str, Any], device: str) -> Mapping[str, float]:
    """Trials a second, and what they use of the card's measured products and copies."""
    work, per_s = work_of(case), 1e3 / record["ms_per_trial_step"]
    moved = work.state_bytes + work.activation_bytes
    return {
        "trials_per_s": round(per_s / TRIAL_STEPS, 3),
        "matmul_share": round(work.flops * per_s / matmul_gflops(device) / 1e9, 5),
        "copy_share": round(moved * per_s / copy_gb_s(device) / 1e9, 5),
    }


def _fits(case: Case, width: int, device: str) -> bool:
    if not device.startswith("cuda"):
        return True
    work = work_of(case)
    free, _ = torch.cuda.mem_get_info()
    return width * (work.state_bytes + _PASSES * work.activation_bytes) < free


if __name__ == "__main__":
    main()
