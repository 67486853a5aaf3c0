"""The cases of the packing benchmarks: what is trained, from which parameters, on which rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from gradlaw.pack import Pack
from gradlaw.planning.plan import make_plan
from gradlaw.random import streams_of
from gradlaw.rules.adam import Adam
from gradlaw.study import Grid, Preset, Study
from gradlaw.task import Task
from gradlaw.tasks.digits import NUM_CLASSES, NUM_PIXELS, DigitsMLP
from gradlaw.tasks.modular_addition import ModularAddition

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
LOG_EVERY = 10
"""Steps between losses that are kept, in every arm."""

DIGITS_WIDTH = 16
TASKS: dict[str, type[ModularAddition | DigitsMLP]] = {
    "modular_addition": ModularAddition,
    "digits": DigitsMLP,
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One task with its sizes, trained by Adam with coupled weight decay: the same for every arm.

    Attributes:
        name: For example "modular_addition_7_32" (modulus, width) or "digits_1" (batch size).
        task: "modular_addition" or "digits".
        sizes: Structural hyperparameters of the task.
        lr, weight_decay: Of every member.
        batch_size: Rows drawn with replacement each step; 0: all training rows.
        widths: Pack widths worth trying on a CPU; the first is that of a quick run.
    """

    name: str
    task: Literal["modular_addition", "digits"]
    sizes: dict[str, int]
    lr: float
    weight_decay: float = 1e-4
    batch_size: int = 0
    widths: tuple[int, ...]

    def full_batch(self) -> Case:
        """The case on all training rows at once: nothing is drawn, so all arms see the same losses."""
        return replace(self, batch_size=0)

    def make_task(self) -> Task:
        """The task, for one trial."""
        return TASKS[self.task](**self.sizes)

    def pack(self, width: int, steps: int, *, log_every: int = LOG_EVERY) -> Pack:
        """A pack of ``width`` trials, one a seed, as a study of this grid would cut it."""
        hyper = {"lr": self.lr, "weight_decay": self.weight_decay, "batch_size": self.batch_size}
        grid = Grid(
            task=TASKS[self.task],
            rule=Adam,
            values={**self.sizes, **hyper},
            steps=steps,
            log_every=log_every,
            pack_width=width,
        )
        preset = Preset(doc="benchmark", grids=(grid,), seeds=width, decides=False)
        study = Study(name="packing", question="How fast?", source="benchmark", presets={"all": preset})
        (pack,) = make_plan(study, "all").packs
        return pack


def _modular(modulus: int, width: int, widths: tuple[int, ...]) -> Case:
    return Case(
        name=f"modular_addition_{modulus}_{width}",
        task="modular_addition",
        sizes={"modulus": modulus, "width": width},
        lr=0.005,
        widths=widths,
    )


def _digits(batch_size: int, widths: tuple[int, ...]) -> Case:
    return Case(
        name=f"digits_{batch_size}",
        task="digits",
        sizes={"width": DIGITS_WIDTH},
        lr=1e-3,
        batch_size=batch_size,
        widths=widths,
    )


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        _modular(7, 32, (64, 32, 128, 256)),
        _modular(23, 64, (16, 4, 8, 32)),
        _modular(23, 256, (4, 1, 2, 8)),
        _modular(71, 256, (1, 2, 4)),
        _digits(1, (256, 64, 128, 512)),
        _digits(32, (64, 16, 32, 128)),
        _digits(256, (16, 4, 8, 32)),
    )
}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A case for a number of members, as tensors that any framework can take.

    Attributes:
        case: The case.
        params: Initial parameters by name, each [width, ...], float32, as gradlaw initializes them.
        rows: Each member's training rows, [width, num_train], int64: its seed's own split.
        data: Columns of the data, each leading with all rows: floats as float32, classes as int64.
    """

    case: Case
    params: dict[str, Tensor]
    rows: Tensor
    data: tuple[Tensor, ...]

    @property
    def width(self) -> int:
        """Number of members."""
        return self.rows.shape[0]


def make_problem(case: Case, seeds: Sequence[int], device: str = "cpu") -> Problem:
    """A case with one member a seed, on a device."""
    task = case.make_task()
    members = [task.init(streams_of(seed))[0] for seed in seeds]
    rows = torch.stack([task.split(streams_of(seed)).train for seed in seeds])
    assert task.num_rows is not None
    columns = task.batch(torch.arange(task.num_rows), streams_of(0))
    return Problem(
        case=case,
        params={name: _moved(torch.stack([one[name] for one in members]), device) for name in members[0]},
        rows=rows.to(device),
        data=tuple(_moved(column, device) for column in columns),
    )


def _moved(values: Tensor, device: str) -> Tensor:
    return values.to(device=device, dtype=torch.float32 if values.is_floating_point() else values.dtype)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one step of one trial costs at least, counted by hand.

    Attributes:
        flops: Floating-point operations: products and sums of matrices, and the elementwise rest.
        matmul_flops: Those of the matrix products alone.
        state_bytes: Parameters and optimizer state read and written once, and the batch read once.
        activation_bytes: Hidden layer, outputs and their gradients, each written and read once.
        matmul_shape: (rows, inner, columns) of the largest product.
    """

    flops: float
    matmul_flops: float
    state_bytes: float
    activation_bytes: float
    matmul_shape: tuple[int, int, int]


def work_of(case: Case) -> Work:
    """FLOPs and bytes of one trial-step, in float32."""
    if case.task == "modular_addition":
        d, q = case.sizes["modulus"], case.sizes["width"]
        num_rows, num_params = d * d - round(0.1 * d * d), 3 * q * d
        matmul = 6.0 * num_rows * q * d  # forward, and backward to the weights and to the hidden units
        elementwise = 6.0 * num_rows * q + 5.0 * num_rows * d
        state, inputs, layers = 24.0 * num_params, 24.0 * num_rows, q + d
        return Work(
            flops=matmul + elementwise + 12.0 * num_params,
            matmul_flops=matmul,
            state_bytes=state + inputs,
            activation_bytes=16.0 * num_rows * layers,
            matmul_shape=(num_rows, q, d),
        )
    batch, width = case.batch_size, case.sizes["width"]
    num_params = (NUM_PIXELS + 1) * width + (width + 1) * NUM_CLASSES
    # the first layer's inputs have no gradient
    matmul = 2.0 * batch * width * (2 * NUM_PIXELS + 3 * NUM_CLASSES)
    return Work(
        flops=matmul + batch * (6.0 * width + 8.0 * NUM_CLASSES) + 12.0 * num_params,
        matmul_flops=matmul,
        state_bytes=24.0 * num_params + batch * (4.0 * NUM_PIXELS + 8.0),
        activation_bytes=16.0 * batch * (width + NUM_CLASSES),
        matmul_shape=(batch, NUM_PIXELS, width),
    )
