"""What is impossible in the data and the loss of a module's task, a line a fault."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradlaw.errors import ConfigurationError
from gradlaw.pack import HALF_REASON

Loss = Callable[[Tensor, Tensor], Tensor]

_FLOATING = (torch.float32, torch.float64)
_OF_CLASSES = (functional.cross_entropy, functional.nll_loss, functional.multi_margin_loss)
_MODULES_OF_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)
_IGNORED = -100  # torch's default of ignore_index


def structure_faults(inputs: object, targets: object, test_share: float) -> list[str]:
    """What keeps data from being shown to a module at all.

    Args:
        inputs: Of shape [rows, ...].
        targets: Of shape [rows, ...].
        test_share: Share of rows to be held out.
    """
    faults = []
    for name, value in (("inputs", inputs), ("targets", targets)):
        if not isinstance(value, Tensor):
            got = type(value).__name__
            faults.append(f"{name}: got {got}, allowed torch.Tensor; torch.as_tensor makes one")
        elif value.ndim == 0:
            faults.append(f"{name}: got a single number, allowed shape [rows, ...]")
        elif value.is_complex():
            remedy = "torch.view_as_real gives both parts"
            faults.append(f"{name}: got {value.dtype}, allowed real numbers; {remedy}")
        elif value.is_floating_point() and value.dtype not in _FLOATING:
            allowed = f"torch.float32, torch.float64 or whole numbers: {HALF_REASON}"
            faults.append(f"{name}: got {value.dtype}, allowed {allowed}; convert with .float()")
    if not 0.0 <= test_share < 1.0:
        faults.append(f"test_share: got {test_share}, allowed [0, 1)")
    if isinstance(inputs, Tensor) and isinstance(targets, Tensor) and inputs.ndim > 0 < targets.ndim:
        if not 0 < len(inputs) == len(targets):
            faults.append(f"data: got {len(inputs)} inputs, {len(targets)} targets; allowed: equal, >= 1")
        elif not faults and round(test_share * len(inputs)) == len(inputs):
            faults.append(f"test_share: got {test_share}, allowed less: no row is left to train on")
    return faults


def value_faults(name: str, values: object) -> list[str]:
    """Values that nothing can be trained on.

    Args:
        name: "inputs" or "targets".
        values: Those.
    """
    if not isinstance(values, Tensor) or not values.is_floating_point() or values.ndim == 0:
        return []
    wrong = ~torch.isfinite(values.double())
    if not wrong.any():
        return []
    rows = wrong.reshape(len(values), -1).any(dim=1).nonzero()[:, 0]
    return [
        f"{name}: got {int(wrong.sum())} numbers that are not finite in {len(rows)} rows, first in row "
        f"{int(rows[0])}; allowed: finite; leave those rows out or fill them in"
    ]


def telling_rows(targets: Tensor) -> Tensor:
    """Three rows, the ones with the smallest and the largest target among them: where a loss would fail."""
    if targets.is_floating_point() or targets.ndim != 1:
        return torch.tensor([0, len(targets) - 1, 0])
    return torch.stack([torch.zeros_like(targets[0], dtype=torch.int64), targets.argmin(), targets.argmax()])


def outputs_of(forward: Callable[[Tensor], object], inputs: Tensor) -> Tensor:
    """Outputs of a few rows.

    Raises:
        ConfigurationError: If the module does not take them.
    """
    try:
        outputs = forward(inputs)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise ConfigurationError(
            [f"module: {_got(inputs=inputs)}, allowed what it takes: {_cause(error)}"]
        ) from error
    if not isinstance(outputs, Tensor) or outputs.ndim == 0 or len(outputs) != len(inputs):
        got = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        msg = f"module: got {got} of {len(inputs)} inputs, allowed one tensor of shape [inputs, ...]"
        raise ConfigurationError([msg])
    return outputs


def refuse_loss(loss: Loss, outputs: Tensor, targets: Tensor, all_targets: Tensor) -> None:
    """Tries a loss.

    Args:
        loss: Of outputs and targets.
        outputs: Of a few rows.
        targets: Of the same rows.
        all_targets: Of all rows.

    Raises:
        ConfigurationError: If a class has no output, or the loss does not take the shapes or gives no scalar.
    """
    if faults := class_faults(loss, outputs, all_targets):
        raise ConfigurationError(faults)
    try:
        with warnings.catch_warnings():
            # what torch only warns of: [rows, 1] against [rows] compares every row with every other
            warnings.filterwarnings("error", message="Using a target size")
            value: object = loss(outputs, targets)
    except (RuntimeError, ValueError, IndexError, TypeError, UserWarning) as error:
        got = _got(outputs=outputs, targets=targets)
        raise ConfigurationError([f"loss: {got}, allowed what it takes: {_cause(error)}"]) from error
    if not isinstance(value, Tensor) or value.ndim > 0 or not value.is_floating_point():
        shape = f"shape {list(value.shape)}" if isinstance(value, Tensor) else f"type {type(value).__name__}"
        raise ConfigurationError(
            [f"loss: got a value of {shape}, allowed one real number: the mean over rows"]
        )


def class_faults(loss: Loss, outputs: Tensor, targets: Tensor) -> list[str]:
    """Classes without an output, where the loss is one of torch's losses of classes."""
    found = _ignored(loss)
    if found is None or targets.is_floating_point() or outputs.ndim < 2 or targets.ndim != outputs.ndim - 1:
        return []
    num_classes, ignored = outputs.shape[1], found[0]
    wrong = (targets < 0) | (targets >= num_classes)
    if ignored is not None:
        wrong &= targets != ignored
    if not wrong.any():
        return []
    row = int(wrong.reshape(len(wrong), -1).any(dim=1).nonzero()[0])
    first = int(targets[wrong][0])
    also = "" if ignored is None else f", or {ignored} (ignore_index)"
    return [
        f"targets: got {int(wrong.sum())} classes that have no output, first {first} in row {row}; allowed: "
        f"0 .. {num_classes - 1}, since the module has {num_classes} outputs{also}"
    ]


def _ignored(loss: Loss) -> tuple[int | None] | None:
    """The class that a loss of classes ignores, in a tuple; None for any other loss."""
    if isinstance(loss, functools.partial):
        found = _ignored(loss.func)
        return found and (loss.keywords.get("ignore_index", found[0]),)
    if isinstance(loss, _MODULES_OF_CLASSES):
        return (getattr(loss, "ignore_index", None),)
    if loss in _OF_CLASSES:
        return (None if loss is functional.multi_margin_loss else _IGNORED,)
    return None


def _got(**tensors: Tensor) -> str:
    return "got " + ", ".join(
        f"{name} of shape {list(value.shape)} ({str(value.dtype).removeprefix('torch.')})"
        for name, value in tensors.items()
    )


def _cause(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
