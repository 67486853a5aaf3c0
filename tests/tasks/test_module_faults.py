"""Bad data, classes, shapes and dtypes of tasks from modules: refused, with all faults at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradlaw.errors import ConfigurationError, UsageError
from gradlaw.task import Task

POINTS = torch.linspace(-1.0, 1.0, 60).reshape(20, 3)
CLASSES = torch.arange(20) % 4


def _task(
    points: Any = POINTS,
    targets: Any = CLASSES,
    loss: Callable[..., Tensor] = functional.cross_entropy,
    *,
    num_out: int = 4,
    test_share: float = 0.0,
) -> Task:
    return Task.from_module(
        "toy", lambda: nn.Linear(3, num_out), loss, (points, targets), test_share=test_share
    )


def _faults(*args: Any, **kwargs: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        _task(*args, **kwargs)
    return caught.value.faults


def _with(values: Tensor, *places: tuple[tuple[int, ...], float]) -> Tensor:
    values = values.clone()
    for place, value in places:
        values[place] = value
    return values


def test_sound_data_are_taken() -> None:
    assert _task().vmappable


def test_numbers_that_are_not_finite_are_counted() -> None:
    spoilt = _with(POINTS, ((7, 0), float("nan")), ((7, 2), float("inf")), ((9, 1), -float("inf")))
    assert _faults(spoilt) == (
        "module toy: inputs: got 3 numbers that are not finite in 2 rows, first in row 7; allowed: finite; "
        "leave those rows out or fill them in",
    )
    targets = _with(POINTS[:, 0], ((3,), float("nan")))
    (fault,) = _faults(targets=targets[:, None], loss=functional.mse_loss, num_out=1)
    assert fault.startswith(
        "module toy: targets: got 1 numbers that are not finite in 1 rows, first in row 3"
    )


def test_classes_without_an_output_are_counted() -> None:
    allowed = "0 .. 3, since the module has 4 outputs, or -100 (ignore_index)"
    targets = _with(CLASSES, ((5,), 4), ((11,), -1))
    assert _faults(targets=targets) == (
        f"module toy: targets: got 2 classes that have no output, first 4 in row 5; allowed: {allowed}",
    )


@pytest.mark.parametrize(
    ("loss", "ignored"),
    [
        (functional.cross_entropy, -100),
        (nn.CrossEntropyLoss(), -100),
        (functools.partial(functional.cross_entropy, ignore_index=9), 9),
        (nn.CrossEntropyLoss(ignore_index=7), 7),
        (nn.NLLLoss(ignore_index=-1), -1),
    ],
)
def test_the_ignored_class_is_allowed(loss: Callable[..., Tensor], ignored: int) -> None:
    assert _task(targets=_with(CLASSES, ((2,), ignored)), loss=loss).num_rows == 20
    (fault,) = _faults(targets=_with(CLASSES, ((2,), 55)), loss=loss)
    assert f"first 55 in row 2; allowed: 0 .. 3, since the module has 4 outputs, or {ignored} (ig" in fault


def test_a_loss_without_an_ignored_class() -> None:
    (fault,) = _faults(targets=_with(CLASSES, ((2,), -100)), loss=nn.MultiMarginLoss())
    assert fault.endswith("first -100 in row 2; allowed: 0 .. 3, since the module has 4 outputs")


def test_a_loss_of_ones_own_is_tried_at_the_extreme_classes() -> None:
    def own(outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets)

    (fault,) = _faults(targets=_with(CLASSES, ((13,), 6)), loss=own)
    assert "allowed what it takes: Target 6 is out of bounds" in fault


def test_whole_numbers_that_are_no_classes_are_left_alone() -> None:
    def counts(outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.poisson_nll_loss(outputs[:, 0], targets)

    assert _task(targets=CLASSES * 10, loss=counts, num_out=1).num_rows == 20


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_with_the_reason(dtype: torch.dtype) -> None:
    (fault,) = _faults(POINTS.to(dtype))
    assert fault == (
        f"module toy: inputs: got {dtype}, allowed torch.float32, torch.float64 or whole numbers: on a CPU "
        "half precision has neither the kernels nor the range; convert with .float()"
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"points": POINTS.to(torch.complex64)}, "inputs: got torch.complex64, allowed real numbers"),
        ({"points": POINTS.numpy()}, "inputs: got ndarray, allowed torch.Tensor; torch.as_tensor makes one"),
        ({"points": torch.tensor(1.0)}, "inputs: got a single number, allowed shape [rows, ...]"),
        (
            {"points": POINTS[:0], "targets": CLASSES[:0]},
            "data: got 0 inputs, 0 targets; allowed: equal, >= 1",
        ),
        ({"targets": CLASSES[1:]}, "data: got 20 inputs, 19 targets; allowed: equal, >= 1"),
        ({"test_share": 0.99}, "test_share: got 0.99, allowed less: no row is left to train on"),
        (
            {"points": POINTS[:, :2]},
            "module: got inputs of shape [3, 2] (float64), allowed what it takes: mat1",
        ),
        (
            {"targets": CLASSES[:, None]},
            "loss: got outputs of shape [3, 4] (float64), targets of shape [3, 1]",
        ),
        (
            {"targets": POINTS[:, 0], "loss": functional.mse_loss, "num_out": 1},
            "loss: got outputs of shape [3, 1] (float64), targets of shape [3] (float64), allowed what",
        ),
        (
            {"loss": functools.partial(functional.cross_entropy, reduction="none")},
            "loss: got a value of shape [3], allowed one real number: the mean over rows",
        ),
    ],
)
def test_what_module_or_loss_do_not_take(settings: dict[str, Any], said: str) -> None:
    (fault,) = _faults(**settings)
    assert said in fault


def test_a_module_must_give_a_row_for_each_input() -> None:
    class Mean(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
            return super().forward(input).mean()

    with pytest.raises(ConfigurationError, match=r"module: got \[\] of 3 inputs, allowed one tensor"):
        Task.from_module("toy", lambda: Mean(3, 4), functional.cross_entropy, (POINTS, CLASSES))


def test_complex_parameters_are_refused() -> None:
    with pytest.raises(UsageError, match=r"got complex parameters \(weight, bias\); allowed: real ones"):
        Task.from_module(
            "toy", lambda: nn.Linear(3, 4, dtype=torch.complex64), functional.cross_entropy, (POINTS, CLASSES)
        )


def test_all_faults_come_at_once() -> None:
    spoilt = _with(POINTS, ((7, 0), float("nan")))
    faults = _faults(spoilt, _with(CLASSES, ((5,), 4)))
    assert len(faults) == 2
    assert all(fault.startswith("module toy: ") for fault in faults)
    assert len(_faults(spoilt.half(), CLASSES[1:], test_share=1.0)) == 4
