"""Memoryless AdamW and NAdam, eps inside the root.

With D_r = sqrt(g_r^2 + eps), weights w_k = b^k / sum_{j=0..n} b^j and c_n(b) = sum_{k=1..n} k w_k

    AdamW   F_r = g_r / D_r + lambda theta_r                                     (decoupled weight decay)
            M_r = (1/D_r) [c_n(b1) - c_n(b2) + c_n(b2) eps / D_r^2] [H F]_r
    NAdam   F_r = kappa_n G_r / D_r,   G = g + lambda theta in D too                (coupled weight decay)
            M_r = (1/D_r) [a - kappa_n e + kappa_n e eps / D_r^2] [(H + lambda) (G / D)]_r
            a = sum_{k=1..n} u_k K_k,   e = sum_{k=1..n} w_k(b2) K_k,   K_k = sum_{s=n-k..n-1} kappa_s

AdamW's means are bias corrected, so its velocity is the same at every step and what moved k steps is k times
it. NAdam weighs G_{n-k} by u_k = mu_{n+2} (1 - b1) b1^k / (1 - mu_1 ... mu_{n+2}), the newest by
(1 - mu_{n+1}) / (1 - mu_1 ... mu_{n+1}) more; kappa_n is the sum of its weights. In the limit
c(b) = b / (1 - b).

Reference: Cattaneo and Shigida 2502.02132, and Cattaneo et al. 2309.00079 for Adam.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from gradlaw.rule import Hyper, Oracle, Rule
from gradlaw.rules.adam import BETA1, BETA2, EPS, LR, AdamW
from gradlaw.rules.memoryless.form import Memoryless, any_of, with_decay
from gradlaw.rules.memoryless.sums import Sums, advanced, no_past
from gradlaw.rules.nadam import NAdam, momentum_at
from gradlaw.task import Params, Pytree

EPS_INSIDE = replace(
    EPS, default=1e-6, low_open=True, doc="inside the root, units of g^2; that of 2502.02132"
)


class AdamWSums(NamedTuple):
    """Of the running mean and of the running mean of squares."""

    first: Sums
    second: Sums

    def coefficients(self, hp: Hyper) -> tuple[Tensor, Tensor]:
        """c_n(beta1) and c_n(beta2), float64 scalars."""
        return _age(self.first, hp["beta1"].double()), _age(self.second, hp["beta2"].double())


class AdamWForm(Memoryless):
    """AdamW with eps inside the root and decoupled weight decay."""

    name = "adamw"
    hyperparameters = (
        LR,
        BETA1,
        BETA2,
        EPS_INSIDE,
        *(item for item in AdamW.hyperparameters if item.name == "weight_decay"),
    )
    rule: ClassVar[Rule] = AdamW(eps_inside=True)

    def init(self, params: Params) -> Pytree:
        return AdamWSums(no_past(any_of(params)), no_past(any_of(params)))

    def advanced(self, sums: Pytree, hp: Hyper, n: Tensor) -> Pytree:
        del n
        one = torch.ones_like(sums.first.total)
        return AdamWSums(
            advanced(sums.first, hp["beta1"].double(), one), advanced(sums.second, hp["beta2"].double(), one)
        )

    def velocity(self, grads: Params, params: Params, hp: Hyper, sums: Pytree) -> Params:
        del sums
        return {
            name: grad / _divisor(grad, hp) + hp["weight_decay"] * params[name]
            for name, grad in grads.items()
        }

    def correction(self, oracle: Oracle, grads: Params, params: Params, hp: Hyper, sums: Pytree) -> Params:
        bent = oracle.hvp(params, self.velocity(grads, params, hp, sums))
        return _scaled(bent, grads, hp, *sums.coefficients(hp))


class NAdamSums(NamedTuple):
    """Of the two running means; mu_1 ... mu_{n+1}, u_0 and kappa_n as float64 scalars."""

    first: Sums
    second: Sums
    product: Tensor
    of_mean: Tensor
    level: Tensor


class NAdamForm(Memoryless):
    """NAdam with eps inside the root and coupled weight decay, its momentum warming up as the rule's does."""

    name = "nadam"
    hyperparameters = tuple(
        EPS_INSIDE if item.name == "eps" else item for item in NAdam.hyperparameters if not item.structural
    )
    rule: ClassVar[Rule] = NAdam(eps_inside=True)

    def init(self, params: Params) -> Pytree:
        first, second = no_past(any_of(params)), no_past(any_of(params))
        one, zero = torch.ones_like(first.total), torch.zeros_like(first.total)
        return NAdamSums(first, second, one, zero, zero.clone())

    def advanced(self, sums: Pytree, hp: Hyper, n: Tensor) -> Pytree:
        wide = {name: value.double() for name, value in hp.items()}
        first = advanced(sums.first, wide["beta1"], sums.level)
        second = advanced(sums.second, wide["beta2"], sums.level)
        now, ahead = momentum_at(n + 1, wide), momentum_at(n + 2, wide)
        product = sums.product * now
        of_mean = ahead / (1.0 - product * ahead) * (1.0 - wide["beta1"])
        level = of_mean * first.total + (1.0 - now) / (1.0 - product)
        return NAdamSums(first, second, product, of_mean, level)

    def velocity(self, grads: Params, params: Params, hp: Hyper, sums: Pytree) -> Params:
        return {
            name: sums.level.to(grad.dtype) * grad / _divisor(grad, hp)
            for name, grad in with_decay(grads, params, hp).items()
        }

    def correction(self, oracle: Oracle, grads: Params, params: Params, hp: Hyper, sums: Pytree) -> Params:
        grads = with_decay(grads, params, hp)
        direction = {name: grad / _divisor(grad, hp) for name, grad in grads.items()}
        bent = with_decay(oracle.hvp(params, direction), direction, hp)
        of_mean = sums.of_mean * hp["beta1"].double() * sums.first.lagged
        of_square = sums.level * _age(sums.second, hp["beta2"].double())
        return _scaled(bent, grads, hp, of_mean, of_square)


def _age(sums: Sums, decay: Tensor) -> Tensor:
    """sum_{k=1..n} w_k of what moved in k steps; with levels 1 the mean age c_n of what is averaged."""
    return decay * sums.lagged / sums.total


def _divisor(grad: Tensor, hp: Hyper) -> Tensor:
    return torch.sqrt(grad * grad + hp["eps"])


def _scaled(bent: Params, grads: Params, hp: Hyper, of_mean: Tensor, of_square: Tensor) -> Params:
    """(1/D) (of_mean - of_square g^2 / D^2) times ``bent``; the difference is taken before it is rounded."""

    def scaled(value: Tensor, grad: Tensor) -> Tensor:
        divisor = _divisor(grad, hp)
        share = (of_mean - of_square).to(grad.dtype) + of_square.to(grad.dtype) * hp["eps"] / divisor**2
        return share / divisor * value

    return {name: scaled(value, grads[name]) for name, value in bent.items()}
