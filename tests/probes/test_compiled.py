"""All probes in one compiled function over a pack, against the same function eager."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gradlaw.probe import MetricProbe, StepView, TrialView
from gradlaw.probes import PROBES
from gradlaw.random import Streams, streams_of
from gradlaw.rule import Hyper
from gradlaw.rules import SGD
from gradlaw.task import Params, Pytree, Taps
from gradlaw.tasks.modular_addition import ModularAddition

TASK = ModularAddition(modulus=3, width=2)


class Roots(SGD):
    """Gradient descent that is said to divide by one plus the square of each parameter."""

    def preconditioner(self, state: Pytree, params: Params, hp: Hyper, t: Tensor) -> Params:
        return {name: 1.0 + param * param for name, param in params.items()}


def _probes() -> list[MetricProbe]:
    """All of them; what is repeated few times only, since each time is compiled anew."""
    few: dict[str, Any] = {
        "sharpness": {"num_iterations": 2},
        "preconditioned_sharpness": {"num_iterations": 2},
        "noise_scale": {"num_draws": 3, "small": 2},
    }
    probes = [probe(**few.get(name, {})) for name, probe in PROBES.items()]
    return [probe for probe in probes if isinstance(probe, MetricProbe)]


def measured(params: Params, lr: Tensor, seed: Tensor, t: Tensor) -> dict[str, Tensor]:
    """One step of gradient descent of one trial, and all probes after it."""
    streams = Streams(seed, t)
    train = TASK.batch(torch.arange(8), streams)
    hp = {"lr": lr}

    def loss(at: Params) -> Tensor:
        return TASK.loss(at, {}, train, None, Taps()).loss

    gradient, value = torch.func.grad_and_value(loss)(params)
    moved = {name: param - lr * gradient[name] for name, param in params.items()}
    step = StepView(loss=value, grad=gradient, params=params, moved=moved, hp=hp, t=t)
    view = TrialView(
        task=TASK, rule=Roots(), params=moved, buffers={}, state={}, train=train, test=train, streams=streams,
        hp=hp, t=t + 1,
    )  # fmt: skip
    columns: dict[str, Tensor] = {}
    for probe in _probes():
        columns |= probe.read(probe.accumulate(probe.init(params), step), view)
    return columns


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own imports
def test_all_probes_compile_in_one_graph_over_a_pack() -> None:
    starts = [TASK.init(streams_of(seed))[0] for seed in (0, 1, 2)]
    params = {name: torch.stack([start[name] for start in starts]) for name in starts[0]}
    arguments: Any = (params, torch.tensor([0.1, 0.2, 0.3]).double(), torch.arange(3), torch.tensor(4))
    batched = torch.vmap(measured, in_dims=(0, 0, 0, None), randomness="error")
    eager = batched(*arguments)
    compiled = torch.compile(batched, fullgraph=True)(*arguments)
    declared = {column.name for probe in _probes() for column in probe.columns(TASK)}
    assert set(compiled) == set(eager) == declared
    for name, values in eager.items():
        assert torch.isfinite(values).all(), name
        torch.testing.assert_close(compiled[name], values, rtol=1e-9, atol=1e-12, msg=name)
    torch.testing.assert_close(compiled["effective_lr_w_a"], arguments[1], rtol=1e-12, atol=0.0)
