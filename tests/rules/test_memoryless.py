"""Closed forms of F and M against the rules with memory themselves, and their limits against the table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from smooth_loss import SmoothLoss, flat
from torch import Tensor
from torch.func import grad
from torch.utils._pytree import tree_map

from gradlaw.random import streams_of
from gradlaw.rule import Rule
from gradlaw.rules import RULES
from gradlaw.rules.memoryless import FORMS, Memoryless
from gradlaw.rules.memoryless.lion import LionForm
from gradlaw.rules.memoryless.sums import advanced, no_past
from gradlaw_studies.memory_identity import builder

Params = dict[str, Tensor]
betas = st.one_of(st.just(0.0), st.floats(0.0, 0.9999))
few = settings(max_examples=6, deadline=None, derandomize=True)


def _tensors(values: Mapping[str, float]) -> dict[str, Tensor]:
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def _hyper(form: Memoryless, drawn: Mapping[str, float]) -> dict[str, Tensor]:
    """What the form and its rule know of ``drawn``, the rest at the rule's defaults."""
    defaults = {item.name: item.default for item in form.rule.hyperparameters if type(item.default) is float}
    known = {item.name for item in form.hyperparameters}
    return _tensors(defaults | {name: value for name, value in drawn.items() if name in known})


def _sums(form: Memoryless, params: Params, hp: Mapping[str, Tensor], n: int) -> Any:
    sums = form.init(params)
    for step in range(n + 1):
        sums = form.advanced(sums, hp, torch.tensor(step))
    return sums


def _close(found: Params, expected: Params) -> None:
    scale = max(1.0, float(flat(expected).abs().max()))
    np.testing.assert_allclose(flat(found) / scale, flat(expected) / scale, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", list(FORMS))
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(0, 9),
    momentum=betas,
    beta1=betas,
    beta2=betas,
    eps=st.floats(1e-6, 1.0),
    weight_decay=st.one_of(st.just(0.0), st.floats(0.0, 0.5)),
    momentum_decay=st.floats(0.0, 5.0),
)
@few
def test_the_closed_form_is_the_builder_s(name: str, seed: int, n: int, **drawn: float) -> None:
    """The builder differentiates the rule with memory, fed with a past that stands still or moves."""
    form, loss = FORMS[name], SmoothLoss(seed)
    params, hp = loss.start(), _hyper(form, drawn)
    optimizer = builder.of_rule(form.rule, loss, hp, streams_of(0))
    grads, sums = loss.grad(params), _sums(form, params, hp, n)
    _close(form.velocity(grads, params, hp, sums), builder.velocity(optimizer, params, n))
    _close(form.correction(loss, grads, params, hp, sums), builder.correction(optimizer, params, n))


EXACT = {
    "momentum": 0.9,
    "beta1": 0.8,
    "beta2": 0.95,
    "eps": 1e-2,
    "weight_decay": 0.3,
    "momentum_decay": 9.0,
}


def _table(name: str, loss: SmoothLoss, params: Params, hp: Mapping[str, Tensor]) -> tuple[Params, Params]:
    """F and M for large n, each a line of the table, the one-norm differentiated as it stands."""
    g, decay, eps = loss.grad(params), hp["weight_decay"], hp.get("eps", torch.tensor(0.0))

    def one_norm(point: Params) -> Tensor:
        slope = loss.grad(point)
        if name == "nadam":
            slope = {key: value + decay * point[key] for key, value in slope.items()}
        return torch.stack([torch.sqrt(value**2 + eps).sum() for value in slope.values()]).sum()

    if name in ("heavy_ball", "nesterov"):
        b = hp["momentum"]
        whole = {key: value + decay * params[key] for key, value in g.items()}
        bent = loss.hvp(params, whole)
        share = b / (1 - b) ** 3 * (b if name == "nesterov" else 1)
        return (
            {key: value / (1 - b) for key, value in whole.items()},
            {key: share * (value + decay * whole[key]) for key, value in bent.items()},
        )
    b1, b2 = hp["beta1"], hp["beta2"]
    sloped, along = grad(one_norm)(params), loss.hvp(params, params)
    if name == "nadam":
        g = {key: value + decay * params[key] for key, value in g.items()}
        along = {key: torch.zeros_like(value) for key, value in along.items()}
    D = {key: torch.sqrt(value**2 + eps) for key, value in g.items()}
    F = {key: value / D[key] + (0.0 if name == "nadam" else decay * params[key]) for key, value in g.items()}
    c1, c2 = b1 / (1 - b1), b2 / (1 - b2)
    of_mean = {"adamw": c1, "nadam": b1 * c1, "lion": b1 / (1 - b2)}[name]
    of_square = c2 if name != "lion" else of_mean
    M = {
        key: (of_mean - of_square + of_square * eps / D[key] ** 2)
        / D[key]
        * (sloped[key] + decay * along[key])
        for key in g
    }
    return F, M


@pytest.mark.parametrize("name", list(FORMS))
def test_for_large_n_it_is_the_table_s(name: str) -> None:
    """NAdam's past weighs b1 (1 - b1) b1^k, the newest gradient what is missing to 1."""
    form, loss = FORMS[name], SmoothLoss(3)
    params, hp = loss.start(), _hyper(form, EXACT)
    grads, sums = loss.grad(params), _sums(form, params, hp, 900)
    velocity, correction = _table(name, loss, params, hp)
    _close(form.velocity(grads, params, hp, sums), velocity)
    _close(form.correction(loss, grads, params, hp, sums), correction)


@pytest.mark.parametrize("beta", [0.0, 0.6, 0.97])
def test_adam_with_equal_betas_has_lion_s_correction(beta: float) -> None:
    """In the limit; at step n Adam's is that of a Lion whose mean is bias corrected."""
    loss, n = SmoothLoss(5), 6
    params = loss.start()
    hp = _tensors({"lr": 1.0, "beta1": beta, "beta2": beta, "eps": 0.03, "weight_decay": 0.2})
    grads = loss.grad(params)
    adam, lion = FORMS["adamw"], FORMS["lion"]

    def both(steps: int) -> list[Params]:
        return [
            form.correction(loss, grads, params, hp, _sums(form, params, hp, steps)) for form in (adam, lion)
        ]

    _close(*both(1500))

    def corrected_lion(past: Any, step: int) -> Params:
        weights = [beta**k for k in range(step + 1)]
        slopes = [loss.grad(point) for point in past]
        means = {
            key: sum(w * slope[key] for w, slope in zip(weights, slopes, strict=True)) / sum(weights)
            for key in params
        }
        return {
            key: mean / torch.sqrt(mean**2 + hp["eps"]) + hp["weight_decay"] * past[0][key]
            for key, mean in means.items()
        }

    early = both(n)
    _close(early[0], builder.correction(corrected_lion, params, n))
    apart = float((flat(early[0]) - flat(early[1])).abs().max())
    assert apart == 0.0 if beta == 0.0 else apart > 1e-3


@pytest.mark.parametrize("b", [0.0, 0.5, 0.999, 1.0 - 1e-9])
def test_sums_are_exact_where_closed_forms_cancel(b: float) -> None:
    past, decay, n = no_past(torch.zeros(())), torch.tensor(b, dtype=torch.float64), 400
    levels = [1.0 + 0.3 * math.sin(s) for s in range(n)]
    for s in range(n + 1):
        past = advanced(past, decay, torch.tensor(levels[s - 1] if s else 99.0, dtype=torch.float64))
    tails = [math.fsum(levels[n - k :]) for k in range(1, n + 1)]
    expected = math.fsum(b ** (k - 1) * tail for k, tail in enumerate(tails, 1))
    np.testing.assert_allclose(past.lagged, expected, rtol=1e-13)
    np.testing.assert_allclose(past.total, math.fsum(b**k for k in range(n + 1)), rtol=1e-13)


@pytest.mark.parametrize(("beta1", "atol"), [(0.9, 1e-12), (0.99, 1e-12), (0.999, 1e-11)])
def test_lion_s_walked_path_is_the_whole_sum(beta1: float, atol: float) -> None:
    """A gradient of 15 magnitudes, 300 steps, the two sums of the formula one term at a time."""

    class Identity(SmoothLoss):
        def hvp(self, params: Params, vector: Params, *, draw: int = 0) -> Params:
            return vector

    beta2, eps, n = 0.98, 1e-4, 300
    g = np.concatenate([sign * 10.0 ** np.arange(-10.0, 6.0) for sign in (-1, 1)])
    phi = [(1 - beta1 * beta2**s) * g for s in range(n)]
    tails = np.cumsum([x / np.sqrt(x**2 + eps) for x in reversed(phi)], axis=0)
    weights = beta1 * (1 - beta2) * beta2 ** np.arange(n)
    last = (1 - beta1 * beta2**n) * g
    expected = eps / (last**2 + eps) ** 1.5 * (weights @ tails)
    form, params = LionForm(), {"x": torch.zeros(len(g), dtype=torch.float64)}
    hp = _tensors({"lr": 1.0, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": 0.0})
    found = form.correction(Identity(0), {"x": torch.from_numpy(g)}, params, hp, _sums(form, params, hp, n))
    np.testing.assert_allclose(found["x"], expected, rtol=0, atol=atol * np.abs(expected).max())


def _trajectory(rule: Rule, loss: SmoothLoss, hp: Mapping[str, Tensor], steps: int) -> Tensor:
    """The path [step, parameter], or [step, member, parameter] with a ``correction`` a member."""
    axes = {name: None if value.ndim == 0 else 0 for name, value in hp.items()}
    step = torch.vmap(partial(rule.step, loss), in_dims=(0, 0, axes, None))
    start = loss.start()
    one = {name: value[None].expand(2, *value.shape) for name, value in start.items()}
    state = tree_map(lambda leaf: leaf[None].expand(2, *leaf.shape), rule.init(start, streams_of(0)))
    path = []
    for t in range(steps):
        one, state = step(one, state, hp, torch.tensor(t))
        path.append(torch.cat([value.reshape(2, -1) for value in one.values()], dim=1))
    return torch.stack(path)


ORDER = {"momentum": 0.7, "beta1": 0.8, "beta2": 0.7, "eps": 0.1, "weight_decay": 0.1, "momentum_decay": 9.0}


@pytest.mark.parametrize("name", list(FORMS))
def test_the_rule_follows_to_the_order_it_promises(name: str) -> None:
    """Half the lr halves the gap over the same horizon without the correction and quarters it with."""
    form, loss, horizon = FORMS[name], SmoothLoss(11), 0.4 if name in ("heavy_ball", "nesterov") else 1.0
    follower = RULES[f"{name}_memoryless"]()
    gaps = []
    for steps in (40, 80):
        hp = {**_hyper(form, ORDER), "lr": torch.tensor(horizon / steps, dtype=torch.float64)}
        shares = {**hp, "correction": torch.tensor([0.0, 1.0], dtype=torch.float64)}
        apart = _trajectory(form.rule, loss, hp, steps) - _trajectory(follower, loss, shares, steps)
        gaps.append(apart.abs().amax(dim=(0, 2)))
    plain, corrected = torch.log2(gaps[0] / gaps[1]).tolist()
    assert abs(plain - 1.0) < 0.25
    assert abs(corrected - 2.0) < 0.25


@pytest.mark.parametrize("name", list(FORMS))
def test_the_rule_steps_by_its_form(name: str) -> None:
    """Half of M, and the sums of the step it is at."""
    form, loss = FORMS[name], SmoothLoss(2)
    params, hp = loss.start(), _hyper(form, EXACT | {"lr": 0.3})
    follower = RULES[f"{name}_memoryless"]()
    state = _sums(form, params, hp, 3)
    share = {**hp, "correction": torch.tensor(0.5, dtype=torch.float64)}
    moved, _ = follower.step(loss, params, state, share, torch.tensor(4))
    grads, sums = loss.grad(params), _sums(form, params, hp, 4)
    velocity = form.velocity(grads, params, hp, sums)
    correction = form.correction(loss, grads, params, hp, sums)
    _close(moved, {key: params[key] - 0.3 * (velocity[key] + 0.15 * correction[key]) for key in params})
