"""The convolutional digits against torch's own convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import grad

from gradlaw.errors import ConfigurationError
from gradlaw.probes import FullLoss
from gradlaw.random import streams_of
from gradlaw.rules import Adam
from gradlaw.task import Taps
from gradlaw.tasks.digits import DigitsMLP, load_digits_arrays
from gradlaw.tasks.digits_conv import DigitsConv

STREAMS = streams_of(7)


def _module(task: DigitsConv, params: dict[str, torch.Tensor]) -> nn.Module:
    """The same network as torch writes it: channels first, features in the map's order."""
    c = task.channels
    module = nn.Sequential(
        nn.Conv2d(1, c, 3, stride=2, padding=1), nn.GELU(), nn.Conv2d(c, 2 * c, 2, stride=2), nn.GELU()
    ).double()
    with torch.no_grad():
        module[0].weight.copy_(params["conv1"].reshape(c, 1, 3, 3))
        module[0].bias.copy_(params["bias1"])
        module[2].weight.copy_(params["conv2"].reshape(2 * c, 2, 2, c).permute(0, 3, 1, 2))
        module[2].bias.copy_(params["bias2"])
    return module


def test_it_is_the_network_of_torch_s_convolutions() -> None:
    task = DigitsConv(channels=3)
    params, _ = task.init(STREAMS)
    rows = torch.arange(40, 65)
    batch = task.batch(rows, STREAMS)
    module = _module(task, params)
    images = torch.tensor(load_digits_arrays()[0])[rows].reshape(-1, 1, 8, 8)
    features = module(images).permute(0, 2, 3, 1).reshape(25, -1)
    logits = features @ params["weight"].T + params["bias"]
    out = task.loss(params, {}, batch, None, Taps())
    torch.testing.assert_close(out.outputs, logits, rtol=1e-12, atol=1e-13)
    loss = nn.functional.cross_entropy(logits, batch[1])
    loss.backward()
    grads = grad(lambda point: task.loss(point, {}, batch, None, Taps()).loss)(params)
    theirs = module[0].weight.grad
    assert theirs is not None
    torch.testing.assert_close(grads["conv1"], theirs.reshape(3, 9), rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(grads["bias2"], module[2].bias.grad, rtol=1e-10, atol=1e-14)


def test_it_has_the_stated_size_and_the_digits_split() -> None:
    task = DigitsConv()
    assert sum(value.numel() for value in task.init(STREAMS)[0].values()) == 1258
    assert torch.equal(task.split(STREAMS).train, DigitsMLP().split(STREAMS).train)


def test_an_impossible_number_of_channels_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="channels: got 0, allowed >= 1"):
        DigitsConv(channels=0)


def test_it_learns_to_read_digits_it_has_not_seen(train: Callable[..., Any]) -> None:
    trained = train(
        DigitsConv(),
        Adam(),
        ({"lr": 0.01},),
        steps=60,
        batch_size=128,
        log_every=60,
        dtype="float32",
        probes=(FullLoss(),),
        compile="never",
        width=1,
    )
    assert np.asarray(trained.metrics(0, "test_accuracy"))[-1] > 0.85  # chance is 0.1
