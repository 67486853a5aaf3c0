"""Rules step by step against torch.optim, on a function whose gradient depends on where it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradlaw.random import streams_of
from gradlaw.rule import Rule
from gradlaw.rules import RULES, SGD, Adam, AdamW

STEPS = 25
Params = dict[str, Tensor]


def _loss(params: Params) -> Tensor:
    return sum(torch.cos(2.0 * p).sum() + 0.3 * (p**2).sum() + torch.sin(p.sum()) for p in params.values())


class _Oracle:
    """The exact gradient, by torch.autograd."""

    def grad(self, params: Params, **_: Any) -> Params:
        leaves = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
        return dict(zip(leaves, torch.autograd.grad(_loss(leaves), list(leaves.values())), strict=True))


def _start(seed: int) -> Params:
    streams = streams_of(seed)
    return {"a": streams.normal("init", (3, 2)), "b": streams.at(part=1).normal("init", (4,))}


def _ours(rule: Rule, start: Params, hp: Mapping[str, float]) -> list[Params]:
    tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in hp.items()}
    params, state, path = start, rule.init(start, streams_of(0)), []
    for t in range(STEPS):
        params, state = rule.step(_Oracle(), params, state, tensors, torch.tensor(t))
        path.append(params)
    return path


def _theirs(make: Callable[[list[Tensor]], torch.optim.Optimizer], start: Params) -> list[Params]:
    leaves = {name: p.clone().requires_grad_() for name, p in start.items()}
    optimizer, path = make(list(leaves.values())), []
    for _ in range(STEPS):
        optimizer.zero_grad()
        _loss(leaves).backward()
        optimizer.step()
        path.append({name: p.detach().clone() for name, p in leaves.items()})
    return path


def _agree(left: list[Params], right: list[Params]) -> None:
    for ours, theirs in zip(left, right, strict=True):
        for name in ours:
            error = torch.linalg.vector_norm(ours[name] - theirs[name])
            assert error <= 1e-10 * torch.linalg.vector_norm(theirs[name])


lrs = st.floats(1e-5, 0.05)
decays = st.one_of(st.just(0.0), st.floats(0.0, 0.2))
betas = st.one_of(st.just(0.0), st.floats(0.0, 0.9999))


@given(lr=lrs, momentum=betas, dampening=st.floats(0.0, 1.0), weight_decay=decays, seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_sgd(**hp: Any) -> None:
    start = _start(hp.pop("seed"))
    _agree(_ours(SGD(), start, hp), _theirs(lambda leaves: torch.optim.SGD(leaves, **hp), start))


@given(lr=lrs, momentum=st.floats(0.01, 0.99), weight_decay=decays, seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_nesterov(**hp: Any) -> None:
    start = _start(hp.pop("seed"))
    ours = _ours(SGD(nesterov=True), start, {**hp, "dampening": 0.0})
    _agree(ours, _theirs(lambda leaves: torch.optim.SGD(leaves, nesterov=True, **hp), start))


@pytest.mark.parametrize(("rule", "optimizer"), [(Adam, torch.optim.Adam), (AdamW, torch.optim.AdamW)])
@given(
    lr=lrs, beta1=betas, beta2=betas, eps=st.floats(1e-12, 1e-2), weight_decay=decays, seed=st.integers(0, 99)
)
@settings(max_examples=20, deadline=None, derandomize=True)
def test_adam(rule: type[Rule], optimizer: type[torch.optim.Optimizer], **hp: Any) -> None:
    start = _start(hp.pop("seed"))
    theirs = {name: value for name, value in hp.items() if name not in ("beta1", "beta2")}
    theirs["betas"] = (hp["beta1"], hp["beta2"])
    _agree(_ours(rule(), start, hp), _theirs(lambda leaves: optimizer(leaves, **theirs), start))


@pytest.mark.parametrize(("hp", "num_faults"), [((0.9, 0.0), 0), ((0.0, 0.0), 1), ((0.9, 0.1), 1)])
def test_nesterov_without_momentum_is_refused(hp: tuple[float, float], num_faults: int) -> None:
    given = {"momentum": hp[0], "dampening": hp[1]}
    assert len(SGD(nesterov=True).faults(given)) == num_faults
    assert SGD().faults(given) == []


def test_registry_names_every_rule_once() -> None:
    assert {name: rule.name for name, rule in RULES.items()} == {name: name for name in RULES}
