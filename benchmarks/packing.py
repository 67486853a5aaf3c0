"""Milliseconds a trial-step of packs on one core: torch.optim, vmap, JAX and gradlaw in turns.

Each line is a JSON object: the median over turns of one arm on one case, at the arm's best variant and
width. An arm ``floor`` says what the case's FLOPs and bytes take at the core's measured ceilings. All
arms run in this process, on the last of the cores it is allowed, in float32, denormals flushed to zero,
and only if they agree on the first losses. What is measured: docs/benchmarks.md.
"""

from __future__ import annotations

import os
from dataclasses import replace

from _results import emit, parser


def use_one_core() -> None:
    """Pins this process, and keeps libraries that are not loaded yet from starting more threads."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ.update(
        OMP_NUM_THREADS="1",
        MKL_NUM_THREADS="1",
        JAX_PLATFORMS="cpu",
        XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    )


def main() -> None:
    """Measures and prints."""
    options = parser(__doc__)
    options.add_argument("--case", action="append", help="only this case; may be repeated")
    options.add_argument("--arm", action="append", help="only this arm; may be repeated")
    options.add_argument("--width", action="append", type=int, help="only this width of packs, likewise")
    options.add_argument("--repeats", type=int, help="turns of every arm")
    options.add_argument("--seconds", type=float, help="length of a turn")
    chosen = options.parse_args()
    use_one_core()

    import torch
    from _cases import CASES
    from _race import ARMS, QUICK, Effort, available, check, floor, race

    for given, known in ((chosen.case, CASES), (chosen.arm, ARMS)):
        unknown = sorted(set(given or ()) - set(known))
        if unknown:
            options.error(f"got {unknown}, allowed: {', '.join(known)}")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as XLA does
    effort = replace(QUICK if chosen.quick else Effort(), widths=tuple(chosen.width or ()))
    effort = replace(
        effort, repeats=chosen.repeats or effort.repeats, seconds=chosen.seconds or effort.seconds
    )
    names = available([name for name in ARMS if name in (chosen.arm or ARMS)], "cpu")
    for case_name in chosen.case or CASES:
        case = CASES[case_name]
        check(case, names, "cpu")
        for record in (floor(case, "cpu"), *race(case, names, "cpu", effort)):
            emit({"benchmark": "packing", **record, "threads": 1}, keep=chosen.keep)


if __name__ == "__main__":
    main()
