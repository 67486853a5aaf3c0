"""Dropout whose masks come in from outside, in place of torch's, which draws from a global generator.

Each layer multiplies by keep / (1 - p), where keep is drawn by the trial's own streams (Srivastava et
al., JMLR 15, 2014, section 4, in the inverted form). So a trial drops the same alone and in a pack.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradlaw.errors import UsageError
from gradlaw.random import Streams

_WHOLE_CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_KEEP = "keep"


class MaskedDropout(nn.Module):
    """Takes the place of one dropout layer; ``keep`` is given anew at each call of the module.

    Args:
        p: Probability of dropping, in [0, 1].
        whole_channels: Whether a channel is dropped as a whole, as ``nn.Dropout2d`` does.
    """

    keep: Tensor

    def __init__(self, p: float, *, whole_channels: bool) -> None:
        super().__init__()
        self.p = p
        self.whole_channels = whole_channels
        self.shapes: list[tuple[int, ...]] | None = None
        self.register_buffer(_KEEP, torch.ones((), dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        """The input where kept, scaled to keep its mean; the input itself in evaluation."""
        if self.shapes is not None:
            self.shapes.append(tuple(x.shape))
            return x
        if not self.training:
            return x
        return torch.where(self.keep, x / (1.0 - self.p), 0.0) if self.p < 1.0 else torch.zeros_like(x)


class MaskedDropouts:
    """All dropout layers of a module, replaced, with the shapes of their masks.

    Args:
        module: Changed in place.
    """

    def __init__(self, module: nn.Module) -> None:
        self._layers = _replace(module)
        self._trailing: dict[str, tuple[int, ...]] = {}

    def learn_shapes(self, forward: Callable[[int], object]) -> None:
        """Learns each layer's mask from two passes.

        Args:
            forward: Runs the module on a batch of the given size.

        Raises:
            UsageError: If a layer is used twice in a pass, or its input does not lead with the batch.
        """
        shapes = [self._pass(forward, size) for size in (2, 3)]
        for name, layer in self._layers.items():
            seen = [shape[name] for shape in shapes]
            if [len(calls) for calls in seen] == [0, 0]:
                continue
            leads = [calls[0][:1] for calls in seen] == [(2,), (3,)]
            alike = seen[0][0][1:] == seen[1][0][1:]
            if [len(calls) for calls in seen] != [1, 1] or not leads or not alike:
                msg = (
                    f"dropout layer {name}: got inputs {seen} for batches of 2 and 3; allowed: one use "
                    "a pass, with shape [batch, ...]; give each use a layer of its own"
                )
                raise UsageError(msg)
            rest = seen[0][0][1:]
            self._trailing[name] = (rest[0], *[1] * (len(rest) - 1)) if layer.whole_channels else rest

    def masks(self, batch_size: int, streams: Streams) -> dict[str, Tensor]:
        """Which inputs are kept, by the name of the module's buffer; each layer draws in its own part."""
        return {
            f"{name}.{_KEEP}": streams.at(part=part).uniform("noise", (batch_size, *trailing))
            >= self._layers[name].p
            for part, (name, trailing) in enumerate(self._trailing.items())
        }

    def _pass(self, forward: Callable[[int], object], size: int) -> dict[str, list[tuple[int, ...]]]:
        for layer in self._layers.values():
            layer.shapes = []
        forward(size)
        seen = {name: layer.shapes or [] for name, layer in self._layers.items()}
        for layer in self._layers.values():
            layer.shapes = None
        return seen


def _replace(module: nn.Module) -> dict[str, MaskedDropout]:
    """Replaces every dropout layer; one that stands in two places stays one layer."""
    replaced: dict[str, MaskedDropout] = {}
    known: dict[nn.Module, MaskedDropout] = {}
    for name, layer in list(module.named_modules(remove_duplicate=False)):
        if not isinstance(layer, (nn.Dropout, *_WHOLE_CHANNELS)):
            continue
        if layer not in known:
            channels = isinstance(layer, _WHOLE_CHANNELS)
            known[layer] = replaced[name] = MaskedDropout(layer.p, whole_channels=channels)
        parent, _, own_name = name.rpartition(".")
        setattr(module.get_submodule(parent), own_name, known[layer])
    return replaced
