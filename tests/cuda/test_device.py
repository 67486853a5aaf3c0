"""Packs on an emulated device: nothing of a step stays on the host, and the host does not wait for a step."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from cifar_files import served_from, write_files
from emulated_cuda import EmulatedCuda, emulated_cuda
from torch import Tensor
from torch._C import _functorch

from gradlaw.ending import Halving, Target
from gradlaw.engine import machine
from gradlaw.engine.compiled import Flattened
from gradlaw.errors import ConfigurationError
from gradlaw.probes import PROBES
from gradlaw.probes.losses import FullLoss
from gradlaw.probes.weights import Weights
from gradlaw.rule import Rule
from gradlaw.rules import RULES, HeavyBall
from gradlaw.rules.adam import Adam
from gradlaw.task import LossOutput, Task
from gradlaw.tasks import TASKS
from gradlaw.tasks.digits import DigitsMLP, DigitsSoftmax
from gradlaw.tasks.resnet import CIFAR10ResNet

DEVICE = "cuda:0"
Train = Callable[..., Any]


@pytest.fixture(scope="module", autouse=True)
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("cifar10")
    write_files(folder, num=2, num_test=2)
    with served_from(folder):
        yield


def _task(name: str) -> Task:
    small = {"depth": 14, "width": 1, "train_rows": 10, "test_rows": 2}
    return CIFAR10ResNet(**small) if name == "cifar10_resnet" else TASKS[name]()


def _settings(**own: Any) -> dict[str, Any]:
    common = {"seeds": (0, 1), "steps": 2, "batch_size": 6, "dtype": "float32", "compile": "never"}
    # a flush would copy rows to the host sooner on a slow machine
    return {**common, "probes": (FullLoss(), Weights()), "flush_s": 1e9, **own}


def _on_device(train: Train, task: Task, rule: Rule, **settings: Any) -> tuple[Any, EmulatedCuda]:
    with emulated_cuda() as device:
        return train(task, rule, ({"lr": 1e-3},), device=DEVICE, **settings), device


def _require_same(there: Any, here: Any) -> None:
    """Every row of every table, to the last bit, and every end."""
    ends = [[(one.state, one.steps_done, one.reason) for one in run.results] for run in (there, here)]
    assert ends[0] == ends[1]
    assert any(len(here.recorder.rows(table)) for table in ("metrics", "weights"))
    for table in ("metrics", "weights"):
        for trial_id in (result.trial_id for result in here.results):
            own, other = (run.recorder.rows(table, trial_id) for run in (there, here))
            assert own.keys() == other.keys()
            for name, column in own.items():
                np.testing.assert_array_equal(column, other[name])


def _as_on_the_cpu(train: Train, task: Task, rule: Rule, **own: Any) -> None:
    """The same numbers, and as many copies between host and device however many steps there are."""
    settings = _settings(**own)
    here = train(task, rule, ({"lr": 1e-3},), **settings)
    there, device = _on_device(train, task, rule, **settings)
    _require_same(there, here)
    assert there.results[0].execution.device == DEVICE
    _, longer = _on_device(train, task, rule, **{**settings, "steps": settings["steps"] + 2})
    assert longer.looks == device.looks
    assert longer.uploads == device.uploads


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == "cifar10_resnet" else ()) for name in TASKS],
)
def test_a_task_trains_on_the_device_alone(train: Train, name: str) -> None:
    _as_on_the_cpu(train, _task(name), HeavyBall())


@pytest.mark.parametrize("name", RULES)
def test_a_rule_moves_parameters_on_the_device_alone(train: Train, name: str) -> None:
    _as_on_the_cpu(train, DigitsSoftmax(), RULES[name]())


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_measures_on_the_device(train: Train, name: str) -> None:
    _as_on_the_cpu(train, DigitsSoftmax(), Adam(), probes=(PROBES[name](),))


@pytest.mark.parametrize(
    "own",
    [
        pytest.param({"steps": 130, "log_every": 65}, marks=pytest.mark.slow),  # over the end of a segment
        {"sampling": "epoch", "batch_size": 400},  # 17 of 1,617 rows are left out
        {"batch_size": 0, "dtype": "float64"},
        {"accumulate": 2},
    ],
    ids=str,
)
def test_a_captured_step_played_back_gives_the_same(train: Train, own: Mapping[str, Any]) -> None:
    """Two batches, one of them padded, take turns on one captured graph."""
    settings = _settings(**{"seeds": range(3), "steps": 3, "width": 2, **own})
    here = train(DigitsMLP(), Adam(), ({"lr": 1e-3},), **settings)
    there, device = _on_device(train, DigitsMLP(), Adam(), **{**settings, "compile": "always"})
    _require_same(there, here)
    assert {result.execution.mode for result in there.results} == {"compiled"}
    assert device.captures == 1


@pytest.mark.parametrize("name", ["modular_addition", "digits_mlp_batchnorm"])
def test_a_captured_step_holds_what_it_reads(train: Train, name: str) -> None:
    settings = _settings()
    here = train(_task(name), HeavyBall(), ({"lr": 1e-3},), **settings)
    there, device = _on_device(
        train, _task(name), HeavyBall(), **{**settings, "compile": "always", "width": 2}
    )
    _require_same(there, here)
    assert device.captures == 1


def test_what_a_captured_step_alone_reads_stays() -> None:
    """A constant that nobody else holds once the step is compiled; a graph refers to itself."""
    with emulated_cuda() as device:
        constant = [torch.arange(3.0).to(DEVICE)]

        def step(moved: Tensor, t: Tensor) -> tuple[Tensor, ...]:
            return moved + constant[0], t + 1

        inputs = [torch.ones(3).to(DEVICE), torch.zeros(()).to(DEVICE)]
        flat = Flattened(step, inputs)
        flat.compile(flat.trace(inputs), inputs, num_moved=1)
        constant.clear()
        gc.collect()
        moved, t = flat.call(*inputs)
        assert [moved[place].item() for place in range(3)] == [1.0, 2.0, 3.0]
        assert t.item() == 1.0
        assert device.captures == 1


@pytest.mark.parametrize("how", ["never", "always"])
@pytest.mark.parametrize(
    "early",
    [
        {"target": Target(metric="train_loss", value=2.0)},
        {"halving": Halving(metric="train_loss", first=2, factor=2)},
    ],
    ids=["target", "halving"],
)
def test_trials_end_early_as_on_the_cpu(train: Train, early: Mapping[str, Any], how: str) -> None:
    settings = _settings(seeds=range(4), steps=12, batch_size=0, **early)
    arms = {"arms": ({"lr": 0.02},)}
    here = train(DigitsMLP(), Adam(), **arms, **settings)
    with emulated_cuda() as device:
        there = train(DigitsMLP(), Adam(), **arms, device=DEVICE, **{**settings, "compile": how, "width": 4})
    _require_same(there, here)
    assert {result.state for result in here.results} & {"reached_target", "stopped"}
    assert device.captures == 0, "such a step is taken back, and so is not written over what was"


class _Wide(DigitsSoftmax):
    """A batch of more than three members does not fit."""

    def loss(self, params: Any, *rest: Any) -> LossOutput:
        hidden = params["bias"]
        while _functorch.is_gradtrackingtensor(hidden):
            hidden = _functorch.get_unwrapped(hidden)
        if _functorch.get_unwrapped(hidden).shape[0] > 3:
            msg = "CUDA out of memory"
            raise torch.OutOfMemoryError(msg)
        return super().loss(params, *rest)


@pytest.mark.parametrize(("how", "steps"), [("always", 3), ("auto", 50)])  # fewer are not measured first
def test_what_does_not_fit_is_halved_before_it_runs(train: Train, how: str, steps: int) -> None:
    settings = _settings(seeds=range(4), steps=steps, compile=how, probes=(Weights(),))
    there, _ = _on_device(train, _Wide(), HeavyBall(), **settings)
    assert {(item.state, item.execution.width) for item in there.results} == {("done", 2)}
    assert how == "auto" or {item.execution.mode for item in there.results} == {"compiled"}


def test_what_was_captured_is_let_go_where_memory_lacks(train: Train) -> None:
    settings = {**_settings(steps=3), "compile": "always", "width": 2}
    with emulated_cuda():
        train(DigitsSoftmax(), HeavyBall(), ({"lr": 1e-3},), device=DEVICE, **settings)
        assert len(machine._COMPILED) == 1
        # four eager members, of which three fit: it is a run that halves them
        few = _settings(seeds=range(4), probes=(Weights(),))
        there = train(_Wide(), HeavyBall(), ({"lr": 1e-3},), device=DEVICE, **few)
        assert {item.state for item in there.results} == {"done"}
        assert not machine._COMPILED


def test_a_width_that_cannot_fit_is_refused_by_the_memory_of_the_device(train: Train) -> None:
    settings = _settings(seeds=range(8), width=8)
    with emulated_cuda(memory_bytes=2**14), pytest.raises(ConfigurationError, match="width: got 8"):
        train(DigitsSoftmax(), HeavyBall(), device=DEVICE, **settings)


class _Careless(DigitsSoftmax):
    """Adds what it makes where nobody says, on the host."""

    def loss(self, params: Any, *rest: Any) -> LossOutput:
        out = super().loss(params, *rest)
        return out._replace(loss=out.loss + torch.ones(2).mean() * torch.ones(2).sum() + torch.ones(2)[0])


class _Misplaced(DigitsSoftmax):
    """Scales its images by a tensor of the host."""

    def loss(self, params: Any, buffers: Any, batch: Any, *rest: Any) -> LossOutput:
        return super().loss(params, buffers, (batch[0] * torch.ones(64), batch[1]), *rest)


def test_a_tensor_left_on_the_host_is_refused(train: Train) -> None:
    """As on a GPU, where single numbers of the host alone may take part."""
    _on_device(train, _Careless(), HeavyBall(), **_settings(probes=(Weights(),)))
    with pytest.raises(RuntimeError, match="at least two devices, cuda:0 and cpu"):
        _on_device(train, _Misplaced(), HeavyBall(), **_settings(probes=(Weights(),)))
