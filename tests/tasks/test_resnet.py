"""The residual network against one written with torch's modules, and trained on small files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch
from cifar_files import served_from, write_file, write_files
from torch import Tensor, nn
from torch.func import grad
from torch.utils.flop_counter import FlopCounterMode

from gradlaw.errors import ConfigurationError, DataError
from gradlaw.random import streams_of
from gradlaw.running.runner import run
from gradlaw.task import Taps
from gradlaw.tasks.cifar10 import TRAIN_FILES, cifar10_folder, read_cifar10
from gradlaw.tasks.resnet import DEVIATION, MEAN, CIFAR10ResNet
from gradlaw_analysis import open_store

STREAMS, CPU = streams_of(7), torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cifar10")
    write_files(folder)
    with served_from(folder):
        yield folder


def _small(**settings: Any) -> CIFAR10ResNet:
    return CIFAR10ResNet(**{"depth": 14, "width": 2, "train_rows": 40, "test_rows": 12} | settings)


class _Bottleneck(nn.Module):
    """A block as its figure shows it."""

    def __init__(self, inputs: int, inside: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * inside
        self.path = nn.Sequential(
            nn.Conv2d(inputs, inside, 1, bias=False),
            nn.GroupNorm(min(32, inside), inside),
            nn.ReLU(),
            nn.Conv2d(inside, inside, 3, stride, 1, bias=False),
            nn.GroupNorm(min(32, inside), inside),
            nn.ReLU(),
            nn.Conv2d(inside, outputs, 1, bias=False),
            nn.GroupNorm(min(32, outputs), outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.GroupNorm(min(32, outputs), outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.path(x) + self.shortcut(x))


def _module(blocks: tuple[int, ...], width: int) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 3, 1, 1, bias=False),
        nn.GroupNorm(min(32, width), width),
        nn.ReLU(),
    ]
    inputs = width
    for stage, count in enumerate(blocks):
        for number in range(count):
            layers.append(_Bottleneck(inputs, width * 2**stage, 2 if stage > 0 and number == 0 else 1))
            inputs = 4 * width * 2**stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


def _filled(module: nn.Module, params: dict[str, Tensor]) -> nn.Module:
    """With the task's parameters: both have them in the order of the network, shortcuts last in a block."""
    module = module.double()
    with torch.no_grad():
        for theirs, ours in zip(module.parameters(), params.values(), strict=True):
            theirs.copy_(ours)
    return module


def test_resnet_50_has_the_known_size_and_work() -> None:
    """23,520,842 parameters in 161 tensors and 1.30e9 products an image, those of CIFAR's ResNet-50."""
    task = CIFAR10ResNet(train_rows=40, test_rows=12)
    module = _module((3, 4, 6, 3), 64)
    sizes = [tuple(value.shape) for value in module.parameters()]
    assert task.num_parameters() == sum(value.numel() for value in module.parameters()) == 23_520_842
    assert len(sizes) == 161
    assert not task.vmappable
    with torch.device("meta"):
        params = {
            f"{item.name}.{kind}": torch.empty(shape)
            for item in task._convolutions()
            for kind, shape in (
                ("weight", (item.outputs, item.inputs, item.kernel, item.kernel)),
                ("scale", (item.outputs,)),
                ("shift", (item.outputs,)),
            )
        }
        params |= {"weight": torch.empty(10, 2048), "bias": torch.empty(10)}
    assert [tuple(value.shape) for value in params.values()] == sizes
    with FlopCounterMode(display=False) as counted:
        pixels = torch.empty(1, 3, 32, 32, dtype=torch.uint8, device="meta")
        task.to(torch.device("meta"), torch.float32)._seen(params, pixels)
    assert counted.get_total_flops() / 2 == pytest.approx(1.2977e9, rel=1e-3)


def test_it_is_the_network_of_torch_s_modules() -> None:
    task = _small(depth=26).to(CPU, torch.float64)
    params, _ = task.init(STREAMS)
    params = {name: value + 0.1 * STREAMS.normal("noise", value.shape) for name, value in params.items()}
    module = _filled(_module((2, 2, 2, 2), 2), params)
    rows = torch.arange(5, 9)
    batch = task.batch(rows, STREAMS)
    pixels = torch.from_numpy(read_cifar10(cifar10_folder(), 40, 12).train.pixels)[rows].double() / 255
    mean, deviation = (torch.tensor(item, dtype=torch.float64)[:, None, None] for item in (MEAN, DEVIATION))
    logits = module((pixels - mean) / deviation)
    out = task.loss(params, {}, batch, None, Taps())
    torch.testing.assert_close(out.outputs, logits, rtol=1e-10, atol=1e-11)
    nn.functional.cross_entropy(logits, batch[1]).backward()
    grads = grad(lambda point: task.loss(point, {}, batch, None, Taps()).loss)(params)
    for ours, theirs in zip(grads.values(), module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs.grad, rtol=1e-8, atol=1e-10)


def test_weights_start_with_he_s_variance() -> None:
    params, buffers = _small(width=8).init(STREAMS)
    assert buffers == {}
    for name, value in params.items():
        if value.ndim == 4 and value.numel() > 500:
            fan_out = value.shape[0] * value.shape[2] * value.shape[3]
            assert float(value.var()) * fan_out / 2 == pytest.approx(1.0, abs=6 / value.numel() ** 0.5)
        if name.endswith("scale"):
            assert bool((value == 1.0).all())
        if name.endswith("shift"):
            assert bool((value == 0.0).all())
    assert float(params["weight"].abs().max()) <= 1 / 256**0.5


def test_the_published_split_is_that_of_every_seed() -> None:
    task = _small()
    first, second = task.split(streams_of(1)), task.split(streams_of(2))
    assert torch.equal(first.train, second.train)
    assert (first.train.tolist(), first.test.tolist()) == (list(range(40)), list(range(40, 52)))
    held_out = read_cifar10(cifar10_folder(), 40, 12).test
    assert torch.equal(task.batch(first.test, STREAMS)[1], torch.from_numpy(held_out.classes))


def test_evaluation_in_parts_is_evaluation_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    task = _small().to(CPU, torch.float64)
    params, _ = task.init(STREAMS)
    batch = task.batch(torch.arange(11), STREAMS)
    monkeypatch.setattr("gradlaw.tasks.resnet._EVALUATED_AT_ONCE", 4)
    parts = task.loss(params, {}, batch, None, Taps(train=False)).outputs
    torch.testing.assert_close(parts, task.loss(params, {}, batch, None, Taps()).outputs, rtol=1e-12, atol=0)


def test_impossible_sizes_are_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)depth: got 20, .*width: got 0"):
        CIFAR10ResNet(depth=20, width=0)


def test_without_its_data_it_says_what_to_do(tmp_path: Path) -> None:
    with served_from(tmp_path), pytest.raises(DataError, match="gradlaw fetch cifar10"):
        CIFAR10ResNet()


def test_it_travels_without_its_data_and_finds_the_same(tmp_path: Path) -> None:
    task = _small()
    sent = cloudpickle.dumps(task)
    assert len(sent) < 2_000
    assert torch.equal(cloudpickle.loads(sent).pixels, task.pixels)
    write_files(tmp_path)
    write_file(tmp_path / TRAIN_FILES[3], 8, 77)
    with served_from(tmp_path), pytest.raises(DataError, match="got other data in"):
        cloudpickle.loads(sent)


SWEEP = """\
name: small_resnet
task: cifar10_resnet
rule: adam
values: {depth: 14, width: 4, train_rows: 40, test_rows: 12, lr: 0.01}
steps: 30
log_every: 2
accumulate: 5
probes: [full_loss]
target: {metric: train_loss, value: 0.5}
"""


def test_a_small_one_learns_from_the_files_as_a_sweep(tmp_path: Path) -> None:
    """Full batch in five parts of eight images, read where the train loss first hits a value."""
    (tmp_path / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    summary = run(tmp_path / "sweep.yaml", store=tmp_path / "store", launcher="inline", compile="never")
    assert summary.states == {"reached_target": 1}
    found = open_store(tmp_path / "store").sql(
        "SELECT step, train_loss, test_accuracy FROM metrics ORDER BY step DESC LIMIT 2"
    )
    step, loss, accuracy = (list(found[name]) for name in ("step", "train_loss", "test_accuracy"))
    assert 4 <= step[0] < 30
    assert loss[0] <= 0.5 < loss[1]
    assert accuracy[0] > 0.5  # chance is 0.1: what is held out has the same patterns
