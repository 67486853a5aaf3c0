"""Numbers of the theory, and the quadratic, against exact answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate
from study_parts import results_of

from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.planning.plan import make_plan
from gradlaw.random import streams_of
from gradlaw.schedules import LinearWarmup
from gradlaw.study import Grid, Preset, Study
from gradlaw.task import Taps
from gradlaw.tasks.digits import load_digits_arrays
from gradlaw.trial import State
from gradlaw_studies.schedules.law import CHANCE, Adam, matching_warmup, scaled, stable_sharpness
from gradlaw_studies.schedules.tasks import DigitsSquares

BASE = Adam(lr=0.003, beta1=0.9, beta2=0.99, eps=1e-8)


def test_the_rule_of_adam_multiplies_what_the_source_says() -> None:
    """Definition 5 of 2205.10287 at a factor of 4."""
    found = scaled(BASE, 4, power=0.5, memory=True)
    assert found == pytest.approx((0.006, 0.6, 0.96, 5e-9), rel=1e-12)
    assert scaled(BASE, 4, power=1.0, memory=False) == pytest.approx((0.012, 0.9, 0.99, 1e-8), rel=1e-12)
    assert scaled(BASE, 4, power=0.0, memory=False) == BASE


def test_scaled_betas_forget_at_equal_examples() -> None:
    """What is left of a gradient after as many examples: in the limit of slow forgetting the same."""
    slow = Adam(lr=1.0, beta1=0.9999, beta2=0.9999, eps=0.0)
    assert scaled(slow, 8, power=0.5, memory=True).beta2 ** (4000 / 8) == pytest.approx(
        0.9999**4000, rel=1e-3
    )


def test_no_adam_beyond_the_factor_at_which_it_has_no_memory() -> None:
    assert scaled(BASE, 10, power=0.5, memory=True).beta1 == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ValueError, match=r"factor: got 16, allowed at most 10 .*betas are 0.9 and 0.99"):
        scaled(BASE, 16, power=0.5, memory=True)


@pytest.mark.parametrize("beta2", [0.9, 0.98, 0.999])
def test_the_matching_warmup_leaves_out_as_much_lr(beta2: float) -> None:
    left_out, _ = integrate.quad(lambda t: 1.0 - math.sqrt(-math.expm1(-(1.0 - beta2) * t)), 0, np.inf)
    assert matching_warmup(beta2) / 2.0 == pytest.approx(left_out, rel=1e-6)


def test_what_is_stable_is_where_momentum_turns_unstable() -> None:
    """Adam's first moment on a quadratic: the spectral radius passes 1 at the bound."""
    for beta1 in (0.5, 0.9):
        for share, stable in ((0.99, True), (1.01, False)):
            curvature = share * stable_sharpness("adam", beta1)
            # theta' = theta - m', m' = beta1 m + (1 - beta1) curvature theta
            matrix = np.array(
                [[1 - (1 - beta1) * curvature, -beta1], [(1 - beta1) * curvature, beta1]], dtype=float
            )
            assert (np.abs(np.linalg.eigvals(matrix)).max() < 1.0) == stable
    assert math.exp(-CHANCE) == pytest.approx(0.1)


def quadratic_parts() -> tuple[DigitsSquares, torch.Tensor, float]:
    """The task, its training rows for seed 0 and the largest eigenvalue of its Hessian, by numpy."""
    task = DigitsSquares(test_share=0.8)
    rows = task.split(streams_of(0)).train
    images = np.hstack([load_digits_arrays()[0][rows.numpy()], np.ones((len(rows), 1))])
    return task, rows, float(np.linalg.eigvalsh(images.T @ images / len(rows)).max())


def test_the_quadratic_is_least_squares() -> None:
    task, rows, top = quadratic_parts()
    params, buffers = task.init(streams_of(0))
    zeros = {name: torch.zeros_like(value) for name, value in params.items()}
    batch = task.batch(rows, streams_of(0))
    assert float(task.loss(zeros, buffers, batch, None, Taps()).loss) == 0.5

    images, classes = batch
    errors = images.numpy() @ params["weight"].numpy().T + params["bias"].numpy() - np.eye(10)[classes]
    found = task.loss(params, buffers, batch, None, Taps())
    assert float(found.loss) == pytest.approx(0.5 * (errors**2).sum(axis=1).mean(), rel=1e-12)

    def loss(weight: torch.Tensor) -> torch.Tensor:
        return task.loss({**params, "weight": weight}, buffers, batch, None, Taps()).loss

    # the Hessian by one class's weights is that of the inputs alone
    hessian = torch.func.jacrev(torch.func.grad(loss))(params["weight"])[0, :, 0, :]
    expected = images.T @ images / len(rows)
    torch.testing.assert_close(hessian, expected, rtol=1e-10, atol=1e-12)
    assert top > float(torch.linalg.eigvalsh(expected).max())


def test_training_holds_below_two_over_the_curvature_and_not_above() -> None:
    _, _, top = quadratic_parts()
    grid = Grid(
        task=DigitsSquares,
        schedule=LinearWarmup,
        values={"test_share": 0.8, "lr": (1.96 / top, 2.04 / top)},
        steps=192,
        log_every=192,
    )
    preset = Preset(doc="two lrs about the edge", grids=(grid,), seeds=1)
    study = Study(name="edge", question="Where?", source="exact", presets={"demo": preset})
    (pack,) = make_plan(study).packs
    recorder = MemoryRecorder()
    assert {result.state for result in results_of(pack, recorder)} == {State.DONE}
    below, above = (
        recorder.rows("metrics", member.trial.trial_id)["loss"][-1]
        for member in sorted(pack.members, key=lambda own: float(own.hyperparameters["lr"]))
    )
    assert below < 0.5 < above
