"""Muon: momentum made orthogonal by Newton and Schulz, for matrices; AdamW for everything else.

    buf <- momentum * buf + (1 - momentum) G
    M = (1 - momentum) G + momentum * buf if nesterov, else buf
    X = M / max(|M|_F, ns_eps);  ns_steps times: A = X X',  X <- a X + (b A + c A^2) X
    theta <- (1 - lr * weight_decay) theta - lr * scale * X            (decoupled weight decay)

with (a, b, c) = (3.4445, -4.7750, 2.0315) and scale sqrt(max(1, rows / columns)) ("original") or
0.2 sqrt(max(rows, columns)) ("match_rms_adamw"). The semantics are those of ``torch.optim.Muon``, but in the
trial's own dtype, where torch takes bfloat16.

A tensor that is not a matrix, and one named in ``adamw_tensors``, moves by AdamW with the lr
``adamw_lr_share * lr``, the same ``weight_decay``, ``beta1``, ``beta2`` and ``eps``: biases have no
orthogonal step, and embeddings and output layers are better off without (reference 1).

References: (1) Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; (2) Liu et al.
2502.16982, section 2.2 (match_rms_adamw, which lets both share one lr).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradlaw.errors import ConfigurationError
from gradlaw.hyperparameter import Hyperparameter
from gradlaw.random import Streams
from gradlaw.rule import Hyper, Moved, Oracle, Rule
from gradlaw.rules.adam import BETA1, BETA2, EPS, AdamW
from gradlaw.rules.weight_decay import decayed
from gradlaw.task import Params, Pytree

_A, _B, _C = 3.4445, -4.7750, 2.0315  # reference 1: slope at zero as large as five steps bear

_OWN = (
    Hyperparameter(name="lr", default=1e-3, low=0.0, doc="learning rate; default of torch.optim.Muon"),
    Hyperparameter(
        name="momentum",
        default=0.95,
        low=0.0,
        high=1.0,
        high_open=True,
        doc="of the gradient's mean; default of torch.optim.Muon",
    ),
    Hyperparameter(
        name="weight_decay", default=0.1, low=0.0, doc="decoupled, of all; default of torch.optim.Muon"
    ),
    Hyperparameter(
        name="ns_eps", default=1e-7, low=0.0, low_open=True, doc="smallest norm; default of torch.optim.Muon"
    ),
    Hyperparameter(
        name="nesterov", default=True, structural=True, doc="whether the step looks ahead; torch's default"
    ),
    Hyperparameter(
        name="ns_steps", default=5, low=1, high=99, structural=True, doc="default of torch.optim.Muon"
    ),
    Hyperparameter(
        name="lr_scale",
        default="original",
        choices=("original", "match_rms_adamw"),
        structural=True,
        doc="by the matrix's shape; torch.optim.Muon's adjust_lr_fn and its default",
    ),
)
_FALLBACK = (
    Hyperparameter(
        name="adamw_tensors",
        default="",
        structural=True,
        doc="names of matrices for AdamW, blanks between",
    ),
    Hyperparameter(name="adamw_lr_share", default=1.0, low=0.0, doc="AdamW's lr as a share of lr"),
    BETA1,
    BETA2,
    EPS,
)
_ADAMW = AdamW()


class Muon(Rule):
    """Muon for matrices, AdamW for other tensors and for those named.

    Args:
        nesterov: Whether the step looks ahead by one momentum.
        ns_steps: Newton-Schulz iterations, 1 .. 99.
        lr_scale: How the matrix's shape scales its lr.
        adamw_tensors: Names of matrices that move by AdamW, separated by blanks.
    """

    name = "muon"
    hyperparameters = (*_OWN, *_FALLBACK)

    def __init__(
        self,
        *,
        nesterov: bool = True,
        ns_steps: int = 5,
        lr_scale: str = "original",
        adamw_tensors: str = "",
    ) -> None:
        self.nesterov, self.ns_steps, self.lr_scale = nesterov, ns_steps, lr_scale
        self._named = tuple(adamw_tensors.split())

    def init(self, params: Params, streams: Streams) -> Pytree:
        """One buffer for each matrix, AdamW's moments for each other tensor.

        Raises:
            ConfigurationError: ``adamw_tensors`` names what is not among the parameters.
        """
        del streams
        unknown = sorted({*self._named} - params.keys())
        if unknown:
            known = ", ".join(params)
            raise ConfigurationError([f"adamw_tensors: got {', '.join(unknown)}; allowed: {known}"])
        return {
            name: torch.zeros_like(param) if self._is_own(name, param) else _ADAMW.init_tensor(param)
            for name, param in params.items()
        }

    def step(self, oracle: Oracle, params: Params, state: Pytree, hp: Hyper, t: Tensor) -> Moved:
        grads = oracle.grad(params)
        beside = _ADAMW.prepared({**hp, "lr": hp["adamw_lr_share"] * hp["lr"]}, t)
        moved = {
            name: self._update(grads[name], state[name], param, hp)
            if self._is_own(name, param)
            else _ADAMW.update(grads[name], state[name], param, beside, t)
            for name, param in params.items()
        }
        return {name: pair[0] for name, pair in moved.items()}, {
            name: pair[1] for name, pair in moved.items()
        }

    def _is_own(self, name: str, param: Tensor) -> bool:
        return param.ndim == 2 and name not in self._named

    def _update(self, grad: Tensor, buf: Tensor, param: Tensor, hp: Hyper) -> tuple[Tensor, Tensor]:
        grad, shrunk = decayed(grad, param, hp, decoupled=True)
        momentum = hp["momentum"]
        fresh = (1.0 - momentum) * grad
        buf = momentum * buf + fresh
        step = orthogonal(fresh + momentum * buf if self.nesterov else buf, hp["ns_eps"], self.ns_steps)
        return shrunk - hp["lr"] * self._scale(*param.shape) * step, buf

    def _scale(self, rows: int, columns: int) -> float:
        if self.lr_scale == "match_rms_adamw":
            return 0.2 * math.sqrt(max(rows, columns))
        return math.sqrt(max(1.0, rows / columns))


def orthogonal(matrix: Tensor, eps: Tensor, steps: int) -> Tensor:
    """Newton and Schulz's quintic iteration towards U V' of ``matrix`` = U S V' (reference 1).

    The coefficients trade the limit for speed: singular values end in about 0.7 .. 1.2, not at 1.

    Args:
        matrix: [rows, columns].
        eps: The smallest norm it is divided by, a scalar.
        steps: Iterations.

    Returns:
        [rows, columns].
    """
    wide = matrix if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT  # the smaller Gram matrix
    found = wide / torch.clamp(torch.linalg.vector_norm(wide), min=eps)
    for _ in range(steps):
        gram = found @ found.mT
        found = _A * found + (_B * gram + _C * (gram @ gram)) @ found
    return found if wide is matrix else found.mT
