"""What is measured at a crossing, trial by trial and as one program over the trials: seconds of CPU each.

Run ``python benchmarks/curvature.py``; ``--device cuda`` for a GPU, seconds of the clock there. Each line of
output is one JSON object: a task, how many trials cross at one check, milliseconds a trial ``alone`` and
``together``, medians of repeats taken in turn, and their ratio. What is measured is the probe of the study
``lion_adamw``: 20 Hessian-vector products over all training rows, the gradient's norms and the held-out
scores. Where the two do not agree to 1e-4 of the sharpness, in float32, there is no line.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch
from _results import emit, parser
from torch.utils._pytree import tree_map

from gradlaw.ending import Target
from gradlaw.probe import Columns, Snapshot
from gradlaw.random import streams_of
from gradlaw.task import Task
from gradlaw.tasks.digits import DigitsMLP
from gradlaw.tasks.digits_conv import DigitsConv
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw_studies.lion_adamw.probes import MatchedLoss

PROBE = MatchedLoss(thresholds=(1.0,))
WIDTHS = (1, 2, 4, 8, 16, 48)


def tasks() -> tuple[Task, ...]:
    """Those of the study, at its sizes."""
    return (
        DigitsMLP(test_share=0.5),
        ModularAddition(modulus=17, width=64, train_share=0.85),
        DigitsConv(test_share=0.5),
    )


def snapshots(task: Task, num: int, device: torch.device) -> list[Snapshot]:
    """Trials as they start, each with its own rows."""
    moved = task.to(device, torch.float32)

    def one(seed: int) -> Snapshot:
        params, buffers = tree_map(lambda leaf: leaf.float().to(device), task.init(streams_of(seed)))
        split = tree_map(lambda leaf: leaf.to(device), task.split(streams_of(seed)))
        return Snapshot(
            task=moved,
            params=params,
            buffers=buffers,
            split=split,
            hyperparameters={},
            seed=seed,
            step=0,
            steps=1,
            crossing=Target(metric="train_loss", value=1.0),
        )

    return [one(seed) for seed in range(num)]


def seconds(function: Callable[[], object], device: torch.device) -> float:
    """Of this process's CPU; of the clock on a GPU."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    started = clock()
    function()
    return clock() - started


def sharpness(rows: Sequence[dict[str, Columns]]) -> torch.Tensor:
    """One number a trial."""
    return torch.tensor([float(item["matched_loss"]["sharpness"][0]) for item in rows])


def compare(task: Task, num: int, device: torch.device, repeats: int) -> dict[str, object]:
    """One line: both ways in turn, the first time not counted.

    Raises:
        AssertionError: If they do not agree.
    """
    given = snapshots(task, num, device)

    def alone() -> list[dict[str, Columns]]:
        return [dict(PROBE.rows(snapshot)) for snapshot in given]

    def together() -> list[dict[str, Columns]]:
        return [dict(rows) for rows in PROBE.rows_together(given)]

    torch.testing.assert_close(sharpness(together()), sharpness(alone()), rtol=1e-4, atol=0.0)
    taken = [(seconds(alone, device), seconds(together, device)) for _ in range(repeats)]
    first, second = (1e3 * statistics.median(times) / num for times in zip(*taken, strict=True))
    return {
        "benchmark": "curvature",
        "task": task.name,
        "device": device.type if device.type == "cpu" else torch.cuda.get_device_name(device),
        "trials": num,
        "alone_ms": round(first, 2),
        "together_ms": round(second, 2),
        "ratio": round(first / second, 2),
    }


def main() -> None:
    """Prints the lines."""
    options = parser(__doc__)
    options.add_argument("--device", default="cpu")
    given = options.parse_args()
    torch.set_num_threads(1)
    for task in tasks():
        for num in (2,) if given.quick else WIDTHS:
            emit(compare(task, num, torch.device(given.device), 1 if given.quick else 5), keep=given.keep)


if __name__ == "__main__":
    main()
