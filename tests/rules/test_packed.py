"""Every rule alone, in company and in another order: one rule, one path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from gradlaw.random import streams_of
from gradlaw.rule import Rule
from gradlaw.rules import RULES
from gradlaw.rules.adam import Adam
from gradlaw.rules.muon import Muon
from gradlaw.rules.rmsprop import RMSprop

Params = dict[str, Tensor]
Path = Callable[..., tuple[Params, Any]]

VARIANTS: dict[str, Rule] = {
    **{name: rule() for name, rule in RULES.items()},
    "adam_bare": Adam(bias_correction=False, eps_inside=True),
    "rmsprop_centered": RMSprop(centered=True),
    "muon_plain": Muon(nesterov=False, ns_steps=2, lr_scale="match_rms_adamw"),
}
STEPS = 200
WIDTH = 5


class _Oracle:
    """A gradient that depends on where it is, by arithmetic that takes each coordinate alike."""

    def grad(self, params: Params, **_: Any) -> Params:
        drawn = sum(torch.cos(param.sum()) for param in params.values())
        return {name: torch.sin(2.0 * param) + 0.5 * param + drawn for name, param in params.items()}

    def hvp(self, params: Params, vector: Params, **_: Any) -> Params:
        pull: Any = torch.func.vjp(self.grad, params)[1]
        product: Params = pull(vector)[0]
        return product


def _members(rule: Rule, dtype: torch.dtype = torch.float64) -> list[tuple[Params, dict[str, Tensor]]]:
    """Starts and hyperparameters; no two members share any of these."""
    found = []
    for number in range(WIDTH):
        streams = streams_of(number)
        params = {"weight": streams.normal("init", (3, 4)), "bias": streams.at(part=1).normal("init", (3,))}
        hp = {
            item.name: torch.tensor(_varied(item.name, item.default, number), dtype=dtype)
            for item in rule.hyperparameters
            if type(item.default) is float
        }
        found.append(({name: param.to(dtype) for name, param in params.items()}, hp))
    return found


def _varied(name: str, default: float, number: int) -> float:
    if name == "lr":
        return 0.002 * (number + 1)
    if "beta" in name or name == "momentum":
        return default * (1.0 - 0.15 * number)
    return 0.01 * number if default == 0.0 else default * (number + 1)


def _stacked(trees: Sequence[Any]) -> Any:
    return tree_map(lambda *leaves: torch.stack(leaves), trees[0], *trees[1:])


def _batched(rule: Rule) -> Path:
    def step(params: Params, state: Any, hp: Mapping[str, Tensor], t: Tensor) -> tuple[Params, Any]:
        return rule.step(_Oracle(), params, state, hp, t)

    return torch.vmap(step, in_dims=(0, 0, 0, None))


def _together(rule: Rule, members: Sequence[tuple[Params, dict[str, Tensor]]]) -> list[Params]:
    params, hp = _stacked(members)
    state = _stacked([rule.init(own, streams_of(0)) for own, _ in members])
    step = _batched(rule)
    for t in range(STEPS):
        params, state = step(params, state, hp, torch.tensor(t))
    return [{name: value[number] for name, value in params.items()} for number in range(len(members))]


def _alone(rule: Rule, params: Params, hp: Mapping[str, Tensor]) -> Params:
    state = rule.init(params, streams_of(0))
    for t in range(STEPS):
        params, state = rule.step(_Oracle(), params, state, hp, torch.tensor(t))
    return params


def _same(left: Params, right: Params) -> None:
    for name in right:
        np.testing.assert_allclose(left[name], right[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", list(VARIANTS))
def test_alone_as_in_a_pack_of_any_width_and_order(name: str) -> None:
    rule = VARIANTS[name]
    members = _members(rule)
    wide = _together(rule, members)
    narrow = _together(rule, [members[3], members[1]])
    _same(_alone(rule, *members[3]), wide[3])
    _same(narrow[0], wide[3])
    _same(narrow[1], wide[1])
    assert not np.allclose(wide[0]["weight"], wide[1]["weight"])


@pytest.mark.parametrize("name", list(VARIANTS))
def test_a_float32_trial_stays_one(name: str) -> None:
    """No whole number, Python float or step count lifts a state to another dtype; nor does it grow."""
    rule = VARIANTS[name]
    params, hp = _stacked(_members(rule, torch.float32))
    state = _stacked([rule.init(own, streams_of(0)) for own, _ in _members(rule, torch.float32)])
    moved = _batched(rule)(params, state, hp, torch.tensor(3))
    before, after = tree_leaves((params, state)), tree_leaves(moved)
    assert [(leaf.dtype, leaf.shape) for leaf in after] == [(leaf.dtype, leaf.shape) for leaf in before]
