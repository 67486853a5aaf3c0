"""Compiled steps against eager ones: the same numbers, for every rule and task, and the same bits again.

Random inputs agree to the last bit, the rest to 1e-9 in float64 after 200 steps, at any width and in any
order of members.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from gradlaw.ending import Halving, Target
from gradlaw.probe import MetricProbe, StepView, TrialView
from gradlaw.probes import FullLoss
from gradlaw.random import Streams
from gradlaw.rule import Rule
from gradlaw.rules import RULES, SGD, HeavyBall
from gradlaw.rules.memoryless import FOLLOWERS
from gradlaw.table import Column
from gradlaw.task import Batch, Buffers, LossOutput, Noise, Params, Pytree, Taps, Task
from gradlaw.tasks import TASKS
from gradlaw.tasks.modular_addition import ModularAddition

Train = Callable[..., Any]
pytestmark = pytest.mark.slow

# those without memory share one step: NAdam's and Lion's carry all that any of them does
NAMES = sorted(set(RULES) - {rule.name for rule in FOLLOWERS} | {"nadam_memoryless", "lion_memoryless"})


@pytest.fixture(scope="module", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing that an earlier run compiled; the tests of this file share what they compile."""
    folder = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))
        yield folder


class Matrix(Task):
    """l(W) = mean (X W' - Y)^2 / 2 with W of shape [2, 3]: the smallest that every rule moves."""

    name = "matrix"

    def __init__(self) -> None:
        drawn = torch.from_numpy(np.random.default_rng(5).normal(size=(12, 5)))
        self.num_rows, self.X, self.Y = 12, drawn[:, :3], drawn[:, 3:]

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        return {"w": streams.normal("init", (2, 3))}, {}

    def batch(self, indices: Tensor, streams: Streams) -> Batch:
        return self.X[indices], self.Y[indices]

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        out = taps.linear("w", batch[0], params["w"])
        return LossOutput(0.5 * ((out - batch[1]) ** 2).mean(), out, {})

    def to(self, device: torch.device, dtype: torch.dtype) -> Task:
        return self


def _arms(rule: Rule) -> list[dict[str, float]]:
    """Three settings; no two share a value of any continuous hyperparameter."""
    return [
        {
            item.name: _varied(item.name, item.default, number)
            for item in rule.hyperparameters
            if type(item.default) is float
        }
        for number in range(3)
    ]


def _varied(name: str, default: float, number: int) -> float:
    if name == "lr":
        # 200 steps end before the minimum: around it signs and orthogonal steps turn rounding into chaos
        return 0.001 * (number + 1)
    if "beta" in name or name == "momentum":
        return default * (1.0 - 0.15 * number)
    return 0.01 * number if default == 0.0 else default * (number + 1)


def _same(trained: Any, other: Any, pairs: dict[int, int]) -> None:
    """Members of one run are those of another, by their places."""
    for here, there in pairs.items():
        for name, column in trained.rows(here, "metrics").items():
            if name != "trial_id":
                np.testing.assert_allclose(column, other.metrics(there, name), rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(trained.weights(here), other.weights(there), rtol=1e-9, atol=1e-12)


def _check(train: Train, task: Task, rule: Rule, arms: list[dict[str, float]], **settings: Any) -> None:
    settings = {"steps": 200, "batch_size": 4, "log_every": 10} | settings
    compiled = train(task, rule, arms, compile="always", width=2, **settings)
    assert {(one.execution.mode, one.execution.width) for one in compiled.results} == {("compiled", 2)}
    again = train(task, rule, arms, compile="always", width=2, **settings)
    for member in range(len(arms)):
        assert np.array_equal(compiled.weights(member), again.weights(member))
        assert np.array_equal(compiled.metrics(member), again.metrics(member))
    turned = train(task, rule, arms[::-1], compile="never", width=3, **settings)
    last = len(arms) - 1
    _same(compiled, turned, {member: last - member for member in range(len(arms))})
    alone = train(task, rule, arms[1:2], compile="never", width=1, **settings)
    _same(compiled, alone, {1: 0})
    assert not np.allclose(compiled.weights(0), compiled.weights(1))


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_as_eager_at_other_widths_and_orders(train: Train, name: str) -> None:
    rule = RULES[name]()
    _check(train, Matrix(), rule, _arms(rule), batch_size=0)


# the ResNet takes a minute to compile; the other two are what the network with norms is, less a part
@pytest.mark.parametrize("name", sorted(set(TASKS) - {"cifar10_resnet", "digits_softmax", "digits_mlp"}))
def test_every_task_as_eager_at_other_widths_and_orders(train: Train, name: str) -> None:
    """One of them on all rows: drawing batches takes longer to compile than the rest of a step."""
    task = ModularAddition(modulus=3, width=2) if name == "modular_addition" else TASKS[name]()
    arms = [{"lr": 0.001 * (number + 1)} for number in range(3)]
    batch_size = 0 if name == "digits_mlp_batchnorm" else 4
    _check(train, task, SGD(), arms, batch_size=batch_size)


def test_dropout_and_norms_as_eager(train: Train, weights: Any) -> None:
    """Noise, running statistics and epochs."""
    numbers = torch.from_numpy(np.random.default_rng(2).normal(size=(30, 4))).float()
    task = Task.from_module(
        "toy",
        lambda: nn.Sequential(
            nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.4), nn.Linear(4, 1)
        ),
        nn.functional.mse_loss,
        (numbers[:, :3], numbers[:, 3:]),
        test_share=0.2,
    )
    arms = [{"lr": 0.02 * (number + 1), "momentum": 0.3 * number} for number in range(3)]
    _check(train, task, HeavyBall(), arms, sampling="epoch", probes=(FullLoss(), weights()))


@dataclass(frozen=True, kw_only=True)
class Inputs(MetricProbe):
    """What the trial's stream gave at the step before, as drawn."""

    name = "inputs"

    def columns(self, task: Task) -> tuple[Column, ...]:
        return (Column(name="drawn", type="float64"),)

    def init(self, params: Params) -> Pytree:
        return torch.zeros((), dtype=torch.float64)

    def accumulate(self, held: Pytree, view: StepView) -> Pytree:
        return view.grad["w"][0]

    def read(self, held: Pytree, view: TrialView) -> dict[str, Tensor]:
        return {"drawn": held}


class Stream(Task):
    """l(w) = w x with x drawn afresh: the gradient is the input, and the loss at w = 1 too."""

    name = "stream"

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        return {"w": torch.ones(1, dtype=torch.float64)}, {}

    def batch(self, indices: Tensor, streams: Streams) -> Batch:
        return (streams.uniform("order", tuple(indices.shape)),)

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        out = batch[0] * params["w"]
        return LossOutput(out.mean(), out, {})

    def to(self, device: torch.device, dtype: torch.dtype) -> Task:
        return self


def test_random_inputs_are_bitwise_equal_and_what_a_probe_holds_is_its_own(train: Train) -> None:
    """A probe may show what it holds as it is, though a compiled step writes over it."""
    settings = {"steps": 30, "batch_size": 1, "probes": (Inputs(),), "seeds": (1, 2)}
    compiled = train(Stream(), SGD(), ({"lr": 0.0}, {"lr": 0.1}), compile="always", width=2, **settings)
    eager = train(Stream(), SGD(), ({"lr": 0.1}, {"lr": 0.0}), compile="never", width=3, **settings)
    for member, there in enumerate((1, 0, 3, 2)):
        drawn = compiled.metrics(member, "drawn")
        assert np.array_equal(drawn, eager.metrics(there, "drawn"))
        assert len(set(drawn)) == 31
    assert np.array_equal(compiled.metrics(0, "drawn")[1:], compiled.metrics(0)[:-1])


@pytest.mark.parametrize(
    "ending",
    [{"target": Target(metric="loss", value=0.4)}, {"halving": Halving(metric="loss", first=10, factor=2)}],
)
def test_early_ends_as_eager(train: Train, least_squares: Any, weights: Any, ending: dict[str, Any]) -> None:
    """Targets and cuts take a step back, so nothing may be written over; packs shrink as eager ones do."""
    arms = [{"lr": 0.02 * (number + 1), "steps": 45 - 5 * (number % 2)} for number in range(5)]
    settings = {"probes": (weights(at_steps=(5, 40)),), "width": 4, **ending}
    compiled = train(least_squares(), SGD(), arms, compile="always", **settings)
    eager = train(least_squares(), SGD(), arms, compile="never", **settings)
    for member, one in enumerate(eager.results):
        other = compiled.results[member]
        assert (other.state, other.steps_done, other.reason) == (one.state, one.steps_done, one.reason)
        steps = eager.rows(member, "weights")["step"]
        assert np.array_equal(compiled.rows(member, "weights")["step"], steps)
    assert len({one.steps_done for one in eager.results}) > 2
    _same(compiled, eager, {member: member for member in range(5)})


def test_divergence_leaves_compiled_neighbours_alone(train: Train, least_squares: Any) -> None:
    settings = {"steps": 60, "width": 3, "compile": "always"}
    sound = train(least_squares(), SGD(), ({"lr": 0.1}, {"lr": 0.11}, {"lr": 0.12}), **settings)
    mixed = train(least_squares(), SGD(), ({"lr": 0.1}, {"lr": 1e150}, {"lr": 0.12}), **settings)
    eager = train(least_squares(), SGD(), ({"lr": 1e150},), steps=60, compile="never")
    ended = [(one.state, one.steps_done, one.reason) for one in (mixed.results[1], eager.results[0])]
    assert ended[0] == ended[1]
    assert str(ended[0][0]) == "diverged"
    for member in (0, 2):
        assert np.array_equal(sound.weights(member), mixed.weights(member))


def test_other_hyperparameters_seeds_and_table_probes_compile_nothing_anew(
    train: Train, least_squares: Any, weights: Any, cache_folder: Path
) -> None:
    """And what an earlier pack measured is not measured again."""

    def compiled(lr: float, seed: int, step: int) -> Any:
        counters.clear()
        arms, probes = ({"lr": lr}, {"lr": 2.0 * lr}), (weights(at_steps=(step,)),)
        trained = train(
            least_squares(8), SGD(), arms, seeds=(seed,), probes=probes, compile="always", width=2
        )
        assert trained.rows(0, "weights")["step"].tolist() == [step] * 3
        assert trained.results[0].execution.mode == "compiled"
        return trained.metrics(0)

    compiled(0.01, 1, 20)
    assert counters["inductor"]["fxgraph_cache_miss"] == 1
    before = _sources(cache_folder)
    second = compiled(0.05, 2, 7)
    assert counters["inductor"]["fxgraph_cache_miss"] == 0
    assert _sources(cache_folder) == before != set()
    eager = train(least_squares(8), SGD(), ({"lr": 0.05},), seeds=(2,), compile="never")
    np.testing.assert_allclose(second, eager.metrics(0), rtol=1e-9)


def test_other_data_of_one_shape_are_not_taken_for_these(train: Train) -> None:
    class Shifted(Matrix):
        def __init__(self, by: float) -> None:
            super().__init__()
            self.Y, self.factor = self.Y + by, torch.tensor(by, dtype=torch.float64)

        def loss(self, *given: Any) -> LossOutput:
            out = super().loss(*given)
            return LossOutput(self.factor * out.loss, out.outputs, {})

    arms = ({"lr": 0.01}, {"lr": 0.05})
    for by in (1.0, 2.0):
        compiled = train(Shifted(by), SGD(), arms, compile="always", width=2)
        _same(compiled, train(Shifted(by), SGD(), arms, compile="never"), {0: 0, 1: 1})


def _sources(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.suffix in {".cpp", ".so"}}
