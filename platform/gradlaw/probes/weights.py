"""Weights kept: parameters and buffers of a trial as rows of a table, for table probes that come later.

They are an ordinary table of the pack's commit: immutable, one winner a trial, no pickle. ``gradlaw measure``
runs table probes on them; a reader gets a tensor back by :func:`tensor_of`, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlaw.errors import ConfigurationError
from gradlaw.probe import Columns, Snapshot, TableProbe
from gradlaw.table import Column, Table

PARAMETER, BUFFER = "parameter", "buffer"

WEIGHTS = Table(
    name="weights",
    grain="One parameter or buffer of one trial at one step.",
    columns=(
        Column(name="step", type="int64", unit="steps", doc="steps done before this row"),
        Column(name="kind", type="string", doc="parameter or buffer"),
        Column(name="name", type="string"),
        Column(name="dtype", type="string", doc="as numpy calls it, for example float32"),
        Column(name="shape", type="string", doc="sizes joined by commas; empty for a single number"),
        Column(name="values", type="binary", doc="little-endian, the last dimension fastest"),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Weights(TableProbe):
    """Keeps parameters and buffers.

    Attributes:
        steps: Steps at which they are kept, from 0 (before training) to the last.
        shares: More of them as shares of a trial's steps, in [0, 1], each rounded to a step: they follow its
            length.
        at_end: Whether they are kept at the end, early ends included.

    Raises:
        ConfigurationError: If nothing would be kept, a step comes twice, or a share is none.
    """

    name = "weights"
    steps: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()
    at_end: bool = True

    def __post_init__(self) -> None:
        if not all(0.0 <= share <= 1.0 for share in self.shares):
            raise ConfigurationError([f"probe weights: got shares {self.shares}, allowed numbers in [0, 1]"])
        if len(set(self.steps)) < len(self.steps):
            raise ConfigurationError([f"probe weights: got steps {self.steps}, allowed each once"])
        if not self.steps and not self.shares and not self.at_end:
            raise ConfigurationError(["probe weights: got no step and not at_end, allowed one or the other"])

    def tables(self) -> tuple[Table, ...]:
        return (WEIGHTS,)

    def at(self, steps: int) -> Sequence[int]:
        parts = [round(share * steps) for share in self.shares]
        return sorted({*self.steps, *parts, *([steps] if self.at_end else [])})

    def rows(self, snapshot: Snapshot) -> Mapping[str, Columns]:
        named = [(PARAMETER, *item) for item in snapshot.params.items()]
        named += [(BUFFER, *item) for item in snapshot.buffers.items()]
        arrays = [value.detach().cpu().numpy() for _, _, value in named]
        values = np.empty(len(arrays), dtype=object)  # numpy's own bytes lose the zeros they end in
        values[:] = [np.ascontiguousarray(item, item.dtype.newbyteorder("<")).tobytes() for item in arrays]
        return {
            WEIGHTS.name: {
                "step": np.full(len(arrays), snapshot.step),
                "kind": [kind for kind, _, _ in named],
                "name": [name for _, name, _ in named],
                "dtype": [item.dtype.name for item in arrays],
                "shape": [shape_text(item.shape) for item in arrays],
                "values": values,
            }
        }


def shape_text(shape: Sequence[int]) -> str:
    """Sizes joined by commas.

    >>> [shape_text(shape) for shape in ((23, 512), (7,), ())]
    ['23,512', '7', '']
    """
    return ",".join(map(str, shape))


def tensor_of(dtype: str, shape: str, values: bytes) -> Tensor:
    """The tensor of one row, on the CPU.

    Args:
        dtype: As numpy calls it.
        shape: Sizes joined by commas.
        values: Little-endian, the last dimension fastest.

    Raises:
        ValueError: If the bytes are not as many as the shape asks for.
    """
    sizes = [int(size) for size in shape.split(",") if size]
    stored = np.frombuffer(values, np.dtype(dtype).newbyteorder("<"))
    return torch.from_numpy(stored.astype(dtype).reshape(sizes))
