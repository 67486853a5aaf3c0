"""The memoryless form of any optimizer, by automatic differentiation at a finite step.

Given F^(n)(theta_n, ..., theta_0) of theta_{n+1} = theta_n - h F^(n), as a function of the past,

    F = F^(n)(theta, ..., theta)
    M_r = sum_{k=1..n} sum_j dF_r/dtheta_{n-k,j} sum_{s=n-k..n-1} F_j^(s)(theta, ..., theta)

M is one Jacobian-vector product: the derivative of F^(n) where all of the past stands at theta, along the
past's own displacements. No Hessian is made. It takes all steps up to n, so n^2 gradients: a check for closed
forms and for optimizers that have none, not a way to train.

Reference: Cattaneo and Shigida 2502.02132.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch.func import jvp

from gradlaw.random import Streams
from gradlaw.rule import Hyper, Oracle, Rule
from gradlaw.task import Params

Optimizer = Callable[[Sequence[Params], int], Params]
"""F^(n) of (the past, n): the past is [theta_n, theta_{n-1}, ..., theta_0], the newest first."""


def velocity(optimizer: Optimizer, params: Params, n: int) -> Params:
    """F of step ``n`` (from 0) at ``params``: the whole past stands there."""
    return optimizer([params] * (n + 1), n)


def correction(optimizer: Optimizer, params: Params, n: int) -> Params:
    """M of step ``n`` (from 0) at ``params``, of their shapes; zeros at step 0, which has no past.

    Args:
        optimizer: F^(n), differentiable by ``torch.func``; gradients inside it by ``torch.func.grad``.
        params: theta.
        n: The step.
    """
    back = {name: torch.zeros_like(param) for name, param in params.items()}
    displacements = [back]
    for step in range(n - 1, -1, -1):  # theta_step lies F^(step) further back than theta_{step+1}
        velocity_then = velocity(optimizer, params, step)
        back = {name: back[name] + velocity_then[name] for name in back}
        displacements.append(back)

    def of_past(*past: Params) -> Params:
        return optimizer(past, n)

    with warnings.catch_warnings():  # torch's own forward mode scripts its formulas when it is first used
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
        return cast("Params", jvp(of_past, (params,) * (n + 1), tuple(displacements))[1])


def of_rule(rule: Rule, oracle: Oracle, hp: Hyper, streams: Streams) -> Optimizer:
    """The optimizer that a rule is: its state made anew from the gradients of the past, its step over the lr.

    Args:
        rule: A rule whose step is proportional to the lr and whose state is zero or one at the start.
        oracle: Answers at any parameters.
        hp: The rule's hyperparameters; the lr among them is not used.
        streams: For the rule's ``init``.
    """

    def optimizer(past: Sequence[Params], n: int) -> Params:
        unit = {**hp, "lr": torch.ones_like(hp["lr"])}
        state, moved = rule.init(past[0], streams), past[0]
        for t, params in enumerate(reversed(past[: n + 1])):
            moved, state = rule.step(oracle, params, state, unit, torch.tensor(t))
        return {name: param - moved[name] for name, param in past[0].items()}

    return optimizer


def memory(optimizer: Optimizer, params: Params, *, lr: float, num_steps: int) -> list[Params]:
    """theta_0 .. theta_num_steps of the optimizer with its memory, from theta_0 = ``params``."""
    past = [params]
    for n in range(num_steps):
        past = [_moved(past[0], optimizer(past, n), lr), *past]
    return past[::-1]


def memoryless(
    optimizer: Optimizer, params: Params, *, lr: float, num_steps: int, share: float = 1.0
) -> list[Params]:
    """The same of its memoryless form: theta <- theta - lr (F + ``share`` lr M)."""
    path = [params]
    for n in range(num_steps):
        here = path[-1]
        bent = correction(optimizer, here, n)
        path.append(_moved(_moved(here, velocity(optimizer, here, n), lr), bent, share * lr * lr))
    return path


def _moved(params: Params, direction: Params, lr: float) -> Params:
    return {name: param - lr * direction[name] for name, param in params.items()}
