"""A task that cannot be batched: what is said, and that its own errors are left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gradlaw.errors import UsageError
from gradlaw.probes import FullLoss
from gradlaw.task import LossOutput, Task

Train = Callable[..., Any]
# where compiling is asked for, that it fails is said first
pytestmark = pytest.mark.filterwarnings("ignore:steps run eagerly, not compiled")


def _item(out: LossOutput) -> Tensor:
    return out.loss * (1.0 if out.loss.item() > 0 else 2.0)


def _branch(out: LossOutput) -> Tensor:
    return out.loss if out.loss > 0 else -out.loss


def _shape_by_value(out: LossOutput) -> Tensor:
    return out.loss + 0.0 * out.outputs.nonzero().sum()


def _changed(base: type[Task], change: Callable[[LossOutput], Tensor]) -> Task:
    class Changed(base):
        def loss(self, *given: Any) -> LossOutput:
            out = super().loss(*given)
            return out._replace(loss=change(out))

        def to(self, device: torch.device, dtype: torch.dtype) -> Task:
            return self

    return Changed()


@pytest.mark.parametrize(
    ("change", "operation", "line"),
    [
        (_item, "item()", "out.loss.item() > 0"),
        (_branch, "data-dependent control flow", "if out.loss > 0"),
        (_shape_by_value, "aten::nonzero", "out.outputs.nonzero()"),
    ],
)
@pytest.mark.parametrize("settings", [{}, {"probes": (FullLoss(),)}, {"compile": "always"}])
def test_the_error_names_operation_line_and_remedy(
    train: Train, least_squares: Any, change: Any, operation: str, line: str, settings: dict[str, Any]
) -> None:
    task = _changed(least_squares, change)
    with pytest.raises(UsageError) as caught:
        train(task, steps=3, **settings)
    text = str(caught.value)
    assert text.startswith("task least_squares: torch.vmap refuses")
    for said in (operation, line, Path(__file__).name, "`vmappable = False`", "width 1"):
        assert said in text
    assert caught.value.__cause__ is not None
    # the remedy helps
    task.vmappable = False
    trained = train(task, steps=3)
    assert (trained.results[0].state, trained.results[0].execution.mode) == ("done", "loop")


@pytest.mark.parametrize("settings", [{}, {"probes": (FullLoss(),)}, {"compile": "always"}])
@pytest.mark.parametrize("kind", [RuntimeError, ValueError, KeyError])
def test_a_task_s_own_error_comes_as_it_is(
    train: Train, least_squares: Any, kind: type[Exception], settings: dict[str, Any]
) -> None:
    def fail(out: LossOutput) -> Tensor:
        raise error

    error = kind("a fault of the task")
    with pytest.raises(kind) as caught:
        train(_changed(least_squares, fail), steps=3, **settings)
    assert caught.value is error
