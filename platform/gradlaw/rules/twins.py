"""Rules that take a mechanism apart: AdamW beside its memoryless twins, Lion with a penalty of its own.

    adamw_twin        memory 1: AdamW with eps inside the root
                      memory 0: theta <- theta - lr (F + correction * lr * M), both of
                                :class:`gradlaw.rules.memoryless.AdamWForm`
    lion_penalized    Lion on the gradient of L + penalty * ||g||_{1,eps},
                      ||g||_{1,eps} = sum_i sqrt(g_i^2 + penalty_eps)

g is the gradient of L. Without weight decay and where g^2 >> eps, lr * M is what the penalty adds to the
gradient, over sqrt(g^2 + eps), for penalty = lr * (c_n(beta1) - c_n(beta2)): AdamW's memory put into a rule
whose own leaves no such trace. Reference: Cattaneo and Shigida 2502.02132.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.random import Streams
from gradlaw.rule import Hyper, Oracle
from gradlaw.rules.adam import AdamW
from gradlaw.rules.memoryless.adam import AdamWForm
from gradlaw.rules.sign import Lion
from gradlaw.task import Params, Pytree

WITH, WITHOUT = 1.0, 0.0
_FORM = AdamWForm()


class TwinState(NamedTuple):
    """AdamW's moments by tensor, along the arm's own path; and the sums of the memoryless form."""

    moments: Pytree
    sums: Pytree


class AdamWTwin(AdamW):
    """AdamW with eps inside the root, and its memoryless twins, as arms of one program.

    ``memory`` says which of the two moves the parameters: so arms that differ in it share a pack. Every arm
    takes the Hessian-vector product that the corrected twin needs.
    """

    name = "adamw_twin"
    hyperparameters = (
        *AdamWForm.hyperparameters,
        Hyperparameter(name="memory", default=WITH, doc="1: AdamW; 0: its memoryless twin"),
        Hyperparameter(
            name="correction", default=0.0, doc="of the twin: multiple of M; 1: the theory's, 0: none"
        ),
    )

    def __init__(self) -> None:
        super().__init__(bias_correction=True, eps_inside=True)

    def init(self, params: Params, streams: Streams) -> Pytree:
        return TwinState(super().init(params, streams), _FORM.init(params))

    def step(
        self, oracle: Oracle, params: Params, state: Pytree, hp: Hyper, t: Tensor
    ) -> tuple[Params, Pytree]:
        grads, adamw = oracle.grad(params), self.prepared(hp, t)
        kept = {
            name: self.update(grads[name], state.moments[name], params[name], adamw, t) for name in params
        }
        sums = _FORM.advanced(state.sums, hp, t)
        velocity = _FORM.velocity(grads, params, hp, sums)
        correction = _FORM.correction(oracle, grads, params, hp, sums)
        remembers, share = hp["memory"] == WITH, hp["lr"] * hp["correction"]
        moved = {
            name: torch.where(
                remembers, kept[name][0], param - hp["lr"] * (velocity[name] + share * correction[name])
            )
            for name, param in params.items()
        }
        return moved, TwinState({name: pair[1] for name, pair in kept.items()}, sums)

    def preconditioner(self, state: Pytree, params: Params, hp: Hyper, t: Tensor) -> Params | None:
        """None: the twin divides by the gradient at hand, which no state holds."""
        del state, params, hp, t
        return None

    def faults(self, hp: Mapping[str, Scalar]) -> list[str]:
        """Memory is there or not, and a correction is the twin's alone."""
        memory, correction = hp["memory"], hp["correction"]
        if memory not in (WITH, WITHOUT):
            return [f"memory: got {memory}, allowed 1 or 0"]
        if memory == WITH and correction != 0.0:
            return [f"correction: got {correction} with memory = 1, allowed 0: it is a term of memory = 0"]
        return []


class LionPenalized(Lion):
    """Lion on the loss with a multiple of the gradient's perturbed one-norm added; no state beyond Lion's.

    With D = sqrt(g^2 + penalty_eps) the gradient is g + penalty * H (g / D): one Hessian-vector product. A
    negative ``penalty`` rewards large gradients, as the memory of AdamW with beta2 > beta1 does.
    """

    name = "lion_penalized"
    hyperparameters = (
        *Lion.hyperparameters,
        Hyperparameter(
            name="penalty", default=0.0, doc="multiple of the gradient's one-norm, of either sign"
        ),
        Hyperparameter(
            name="penalty_eps",
            default=1e-6,
            low=0.0,
            low_open=True,
            doc="of the norm, in units of g^2; as eps of adamw_twin",
        ),
    )

    def step(
        self, oracle: Oracle, params: Params, state: Pytree, hp: Hyper, t: Tensor
    ) -> tuple[Params, Pytree]:
        grads = oracle.grad(params)
        slopes = {name: grad / torch.sqrt(grad * grad + hp["penalty_eps"]) for name, grad in grads.items()}
        bent = oracle.hvp(params, slopes)
        moved = {
            name: self.update(grads[name] + hp["penalty"] * bent[name], state[name], params[name], hp, t)
            for name in params
        }
        return {name: pair[0] for name, pair in moved.items()}, {
            name: pair[1] for name, pair in moved.items()
        }
