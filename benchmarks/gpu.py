"""Packs on a GPU: trials a second against the width of the pack, and the share of the card's ceilings.

Each line is a JSON object: one arm on one case at one width; ``trials_per_s`` counts trials of 1,000
steps. An arm ``floor`` gives the card's measured ceilings. Needs torch, numpy, pyarrow and safetensors;
the digits need scikit-learn too, and are left out without it. What is measured: docs/benchmarks.md.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from _cases import CASES, Case, work_of
from _ceilings import copy_gb_s, matmul_gflops
from _race import ALONE, ARMS, QUICK, Effort, available, check, floor, race
from _results import emit, parser

TRIAL_STEPS = 1000
WIDTHS = (1, 4, 16, 64, 256, 1024, 4096)
_PASSES = 8
"""Copies of a layer's values that a step may hold at once: a bound on memory, not an estimate."""


def main() -> None:
    """Measures and prints."""
    options = parser(__doc__)
    options.add_argument("--device", default="cuda", help="torch device; cpu to try the script out")
    options.add_argument("--case", action="append", choices=CASES, help="only this case; may be repeated")
    options.add_argument("--arm", action="append", choices=ARMS, help="only this arm; may be repeated")
    options.add_argument("--width", action="append", type=int, help="only this width of packs, likewise")
    chosen = options.parse_args()
    if chosen.device.startswith("cuda") and not torch.cuda.is_available():
        emit({"benchmark": "gpu", "device": None, "skipped": "there is no CUDA device here"}, keep=False)
        return
    torch.set_num_threads(1)  # the host only hands out work
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    name = torch.cuda.get_device_name() if chosen.device.startswith("cuda") else "cpu"
    effort = QUICK if chosen.quick else Effort(repeats=5)
    widths = tuple(chosen.width or (WIDTHS[:6:2] if chosen.quick else WIDTHS))
    arms = available([arm for arm in ARMS if arm in (chosen.arm or ARMS)], chosen.device)
    for case in _runnable([CASES[case] for case in chosen.case or CASES]):
        check(case, arms, chosen.device)
        for record in _records(case, arms, chosen.device, replace(effort, widths=widths)):
            emit({"benchmark": "gpu", "device": name, **record}, keep=chosen.keep)


def _runnable(cases: Sequence[Case]) -> list[Case]:
    try:
        import sklearn  # noqa: F401 - the digits are in it
    except ImportError:
        pass
    else:
        return list(cases)
    print("digits: left out, scikit-learn, which holds them, is not installed", file=sys.stderr)
    return [case for case in cases if case.task != "digits"]


def _records(case: Case, arms: Sequence[str], device: str, effort: Effort) -> Iterator[Mapping[str, Any]]:
    """The floor, one trial by torch.optim, and each width of packs by the other arms."""
    yield floor(case, device)
    alone = [arm for arm in arms if arm in ALONE]
    packed = [arm for arm in arms if arm not in ALONE]
    if alone:
        for record in race(case, alone, device, effort):
            yield {**record, **_shares(case, record, device)}
    for width in effort.widths if packed else ():
        if not _fits(case, width, device):
            print(f"{case.name}: width {width} left out, it may not fit", file=sys.stderr)
            continue
        for record in race(case, packed, device, replace(effort, widths=(width,))):
            yield {**record, **_shares(case, record, device)}


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
