"""Compiled steps write over their inputs where the compiler can; where it cannot they are right too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gradlaw.engine.compiled import Flattened

Step = Callable[..., tuple[Tensor, ...]]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing that an earlier run compiled."""
    folder = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))
        yield folder


def sound(scale: Tensor, other: Tensor, first: Tensor, second: Tensor, t: Tensor) -> tuple[Tensor, ...]:
    return first - scale[:, None] * other[0], second * 0.5, t + 1


def refused(scale: Tensor, other: Tensor, first: Tensor, second: Tensor, t: Tensor) -> tuple[Tensor, ...]:
    """The smallest that torch 2.13 refuses with writes.

    ``moved`` is kept for its two readers, since it reads much. It reads ``second``, so what writes over that
    has to come after it, and is taken for a reader of it, which it is not.
    """
    one, two, three = other
    moved = scale[:, None] * (first + second * one + two * three)
    return moved, second + moved.abs().amax(dim=1)[:, None], t + 1


def compiled(step: Step) -> tuple[bool, list[Tensor], list[Tensor]]:
    """Whether inputs were written over, what the compiled step gave, and what it is to give."""
    drawn = torch.rand(5, 8, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    first, second = drawn[3].clone(), drawn[4].clone()
    other = drawn[:3]
    inputs = [torch.linspace(0.5, 1.5, 8, dtype=torch.float64), other, first, second, torch.tensor(0)]
    expected = list(step(*inputs))
    flat = Flattened(step, inputs)
    flat.compile(flat.trace(inputs), inputs, num_moved=2)
    found = flat.call(*inputs)
    return not torch.equal(torch.stack((first, second)), drawn[3:]), found, expected


@pytest.mark.parametrize(("step", "written"), [(sound, True), (refused, False)])
def test_a_step_is_right_whether_or_not_it_can_write_over_its_inputs(step: Step, written: bool) -> None:
    """This fails once torch compiles ``refused`` with writes: then nothing needs to go without them."""
    over, found, expected = compiled(step)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert over is written
