"""From a function of one trial to a function of a batch: by vmap, or one by one without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_map

Function = Callable[..., Any]
InDims = tuple[int | None, ...]


def vmapped(function: Function, in_dims: InDims) -> Function:
    """The function over a leading dimension of the arguments whose dim is 0, the others shared.

    torch's own generators are refused inside: what they give would depend on the pack.
    """
    return torch.vmap(function, in_dims=in_dims, randomness="error")


def alone(function: Function, in_dims: InDims) -> Function:
    """As :func:`vmapped` for a leading dimension of 1, without vmap."""

    def call(*arguments: Any) -> Any:
        single = [
            argument if dim is None else tree_map(lambda leaf: leaf[0], argument)
            for argument, dim in zip(arguments, in_dims, strict=True)
        ]
        return tree_map(lambda leaf: leaf.unsqueeze(0), function(*single))

    return call
