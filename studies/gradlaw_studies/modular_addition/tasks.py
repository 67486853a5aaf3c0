"""Modular addition that starts at a solution: where does training go from there?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from gradlaw.errors import ConfigurationError
from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.random import Streams
from gradlaw.task import Buffers, Params
from gradlaw.tasks.common import require_valid
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw_studies.modular_addition.algebra.constructions import padded
from gradlaw_studies.modular_addition.algebra.fourier import Weights, modulus_faults, num_frequencies
from gradlaw_studies.modular_addition.landscape.solutions import (
    BLOCK,
    CONSTRUCTIONS,
    constructed,
    num_nodes,
)

RANDOM = "random"
_PHASES, _NOISE = 1, 2  # parts of stream "init"; part 0 is the random start's
_NAMES = ("W_a", "W_b", "W_c")


class Constructed(ModularAddition):
    """The task in its default form, started from a constructed solution, padded with zero nodes, plus noise.

    The free phases of the blocks and the noise are drawn from the trial's stream "init". ``construction``
    "random" is the control: the ordinary start, with the same noise on top.

    Raises:
        ConfigurationError: Values that are not allowed, all of them: the modulus must be odd and at least 5,
            the width hold the construction.
    """

    name = "modular_addition_constructed"
    hyperparameters = (
        *ModularAddition.hyperparameters[:3],
        Hyperparameter(
            name="construction",
            default=CONSTRUCTIONS[0],
            choices=(*CONSTRUCTIONS, RANDOM),
            structural=True,
            doc="where training starts",
        ),
        replace(BLOCK, structural=True),
        Hyperparameter(
            name="start_noise",
            default=0.0,
            low=0.0,
            structural=True,
            doc="standard deviation of normal noise on all weights, over the root mean square of the "
            "construction's own; 0 leaves padded nodes dead, since their gradient is 0",
        ),
    )

    def __init__(
        self,
        *,
        train_share: float = 0.9,
        modulus: int = 23,
        width: int = 512,
        construction: str = CONSTRUCTIONS[0],
        block: str = str(BLOCK.default),
        start_noise: float = 0.0,
    ) -> None:
        values: dict[str, Scalar] = {"train_share": train_share, "modulus": modulus, "width": width}
        values |= {"construction": construction, "block": block, "start_noise": start_noise}
        require_valid(self.hyperparameters, values)
        faults = modulus_faults(modulus)
        if construction != RANDOM and width < num_nodes(construction, modulus):
            needed = num_nodes(construction, modulus)
            faults.append(f"width: got {width}, allowed >= {needed} ({construction} at modulus {modulus})")
        if faults:
            raise ConfigurationError(faults)
        super().__init__(train_share=train_share, modulus=modulus, width=width)
        self.construction, self.block, self.start_noise = construction, block, float(start_noise)

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        start = self._start(streams)
        weights = padded(start, self.width)
        if self.start_noise:
            drawn = streams.at(part=_NOISE).normal("init", weights.shape).numpy()
            weights = weights + self.start_noise * np.sqrt(np.mean(start**2)) * drawn
        tensors = (torch.from_numpy(np.ascontiguousarray(each)) for each in weights)
        return dict(zip(_NAMES, tensors, strict=True)), {}

    def _start(self, streams: Streams) -> Weights:
        if self.construction == RANDOM:
            params, _ = super().init(streams)
            return np.stack([params[name].numpy() for name in _NAMES])
        turns = streams.at(part=_PHASES).uniform("init", (4, num_frequencies(self.modulus))).numpy()
        return constructed(self.construction, self.block, self.modulus, turns)
