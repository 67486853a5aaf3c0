"""One trial of modular addition in plain torch, as a user would write it."""

from __future__ import annotations

import math

import torch
from torch.nn.functional import one_hot


class PlainTrial:
    """A trial by fused ``torch.optim.Adam`` with its seed's own split and start, in float32.

    Attributes:
        step: Steps done.
    """

    def __init__(self, modulus: int, width: int, *, lr: float, weight_decay: float, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)

        def uniform(fan_in: int) -> torch.Tensor:
            drawn = 2 * torch.rand(modulus, width, generator=generator) - 1
            return (drawn / math.sqrt(fan_in)).requires_grad_(True)

        first, second = torch.meshgrid(torch.arange(modulus), torch.arange(modulus), indexing="ij")
        pairs = torch.stack((first.reshape(-1), second.reshape(-1)))
        num_test = round(0.1 * modulus**2)
        a, b = pairs[:, torch.randperm(modulus**2, generator=generator)[num_test:]]
        self._batch = (a, b, one_hot((a + b) % modulus, modulus).float())
        self._params = {
            "W_a": uniform(modulus),
            "W_b": uniform(modulus),
            "W_c": uniform(width),
        }
        self._optimizer = torch.optim.Adam(
            list(self._params.values()), lr=lr, weight_decay=weight_decay, fused=True
        )
        self.step = 0

    def advance(self, steps: int) -> float:
        """Trains on, and gives the loss at the first of these steps."""
        losses = []
        for _ in range(steps):
            self._optimizer.zero_grad(set_to_none=True)
            loss = self._loss()
            loss.backward()
            self._optimizer.step()
            losses.append(loss)
        self.step += steps
        return losses[0].item()

    def _loss(self) -> torch.Tensor:
        first, second, target = self._batch
        units = self._params["W_a"][first] + self._params["W_b"][second]
        error = (units * units) @ self._params["W_c"].T - target
        projected = error - error.mean(dim=1, keepdim=True)
        return (projected * projected).sum(dim=1).mean()
