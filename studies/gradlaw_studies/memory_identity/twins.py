"""A rule that carries an optimizer and its two memoryless twins side by side, and how far they part."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gradlaw.hyperparameter import Hyperparameter
from gradlaw.random import Streams
from gradlaw.rule import Hyper, Oracle, Rule
from gradlaw.rules.memoryless import FORMS
from gradlaw.task import Params, Pytree


class Twins(NamedTuple):
    """The state.

    Attributes:
        memory: State of the optimizer with memory.
        sums: What the memoryless form carries of the step's number.
        plain: Where the memoryless twin is.
        corrected: Where the memoryless twin with the correction is.
        gap_plain, gap_corrected: max over steps so far of ||theta_n - theta~_n||_inf, scalars.
    """

    memory: Pytree
    sums: Pytree
    plain: Params
    corrected: Params
    gap_plain: Tensor
    gap_corrected: Tensor


_STRUCTURE = Hyperparameter(
    name="optimizer",
    default="heavy_ball",
    choices=tuple(FORMS),
    structural=True,
    doc="whose memory; of the others it reads those that are its own",
)
_OWN: dict[str, Hyperparameter] = {}
for _form in FORMS.values():  # the first to declare a name says its default: SGD's lr, no weight decay
    _OWN = {item.name: item for item in _form.hyperparameters} | _OWN


class MemoryTwins(Rule):
    """An optimizer with memory; in its state, from the same start, its twins without.

        theta~ <- theta~ - h F_n(theta~)                       plain
        theta~ <- theta~ - h (F_n(theta~) + h M_n(theta~))     corrected

    The trial is the optimizer's: loss, metrics and divergence are its own. F_n and M_n are those of finite n
    (:mod:`gradlaw.rules.memoryless`). The lr is to be constant. Reference: Cattaneo and Shigida 2502.02132.

    Args:
        optimizer: Name of the form in ``FORMS``.
    """

    name = "memory_twins"
    hyperparameters = (_STRUCTURE, *_OWN.values())

    def __init__(self, *, optimizer: str = "heavy_ball") -> None:
        self._form = FORMS[optimizer]
        known = {item.name for item in self._form.hyperparameters}
        self._unset = [item for item in self._form.rule.hyperparameters if item.name not in known]

    def init(self, params: Params, streams: Streams) -> Pytree:
        # copies: a compiled step writes over what it is given, each tensor of it once
        plain, corrected = ({name: value.clone() for name, value in params.items()} for _ in range(2))
        zero = torch.zeros_like(next(iter(params.values())).sum())
        memory, sums = self._form.rule.init(params, streams), self._form.init(params)
        return Twins(memory, sums, plain, corrected, zero, zero.clone())

    def step(
        self, oracle: Oracle, params: Params, state: Twins, hp: Hyper, t: Tensor
    ) -> tuple[Params, Pytree]:
        unset = {item.name: torch.full_like(hp["lr"], float(item.default)) for item in self._unset}
        moved, memory = self._form.rule.step(oracle, params, state.memory, {**hp, **unset}, t)
        sums = self._form.advanced(state.sums, hp, t)
        plain = self._twin(oracle, state.plain, hp, sums, corrected=False)
        corrected = self._twin(oracle, state.corrected, hp, sums, corrected=True)
        return moved, Twins(
            memory,
            sums,
            plain,
            corrected,
            torch.maximum(state.gap_plain, distance(moved, plain)),
            torch.maximum(state.gap_corrected, distance(moved, corrected)),
        )

    def _twin(self, oracle: Oracle, params: Params, hp: Hyper, sums: Pytree, *, corrected: bool) -> Params:
        """A memoryless twin after one step from ``params``."""
        grads = oracle.grad(params)
        velocity = self._form.velocity(grads, params, hp, sums)
        if corrected:
            correction = self._form.correction(oracle, grads, params, hp, sums)
            velocity = {name: value + hp["lr"] * correction[name] for name, value in velocity.items()}
        return {name: value - hp["lr"] * velocity[name] for name, value in params.items()}


def distance(left: Params, right: Params) -> Tensor:
    """The largest absolute difference of a coordinate, a scalar; not a number where one of them is none."""
    return torch.stack([(value - right[name]).abs().max() for name, value in left.items()]).max()
