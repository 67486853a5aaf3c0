"""What tasks on stored rows share: checked settings, uniform initialization, the split, digests of data."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradlaw.errors import ConfigurationError
from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.random import Streams
from gradlaw.task import Params, Split

TEST_SHARE = Hyperparameter(
    name="test_share",
    default=0.1,
    low=0.0,
    high=1.0,
    high_open=True,
    structural=True,
    doc="share of the rows held out, rounded to a whole number of rows; 0: every row is trained on",
)


def require_valid(declared: Iterable[Hyperparameter], values: Mapping[str, Scalar]) -> None:
    """Raises ConfigurationError with every fault of ``values``, which name declared hyperparameters."""
    checks = (item.check(values[item.name]) for item in declared if item.name in values)
    faults = [fault for fault in checks if fault is not None]
    if faults:
        raise ConfigurationError(faults)


def uniform_init(streams: Streams, shapes: Mapping[str, tuple[tuple[int, ...], int]]) -> Params:
    """Tensors from U(-1/sqrt(fan_in), 1/sqrt(fan_in)) in float64.

    One draw is cut into the tensors in the order given, so a task uses one part of its stream "init".

    Args:
        streams: Of the trial.
        shapes: Shape and fan_in of each tensor by name.
    """
    sizes = [math.prod(shape) for shape, _ in shapes.values()]
    pieces = torch.split(2.0 * streams.uniform("init", (sum(sizes),)) - 1.0, sizes)
    named = zip(shapes.items(), pieces, strict=True)
    return {name: piece.reshape(shape) / math.sqrt(fan_in) for (name, (shape, fan_in)), piece in named}


def random_split(streams: Streams, num_rows: int, test_share: float) -> Split:
    """round(test_share * num_rows) rows held out at random by stream "split"; both parts ascending."""
    order = streams.permutation("split", num_rows)
    num_test = round(test_share * num_rows)
    test, train = order[:num_test], order[num_test:]
    return Split(torch.sort(train).values, torch.sort(test).values)


def array_digest(*arrays: NDArray[np.generic]) -> str:
    """SHA-256 of arrays: their types, shapes and bytes in C order."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def squared_norm(params: Params) -> Tensor:
    """Sum of the squares of all parameters, a scalar."""
    return torch.stack([(param * param).sum() for param in params.values()]).sum()
