"""The Hessian at solutions, against a Jacobian written out in numpy and against steps along solutions."""

from __future__ import annotations

import cmath

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradlaw.random import streams_of
from gradlaw.task import Taps
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw_studies.modular_addition.algebra import blocks
from gradlaw_studies.modular_addition.algebra.fourier import Weights, num_frequencies
from gradlaw_studies.modular_addition.algebra.fourier import weights as from_spectrum
from gradlaw_studies.modular_addition.algebra.semiring import add, multiply, one_frequency
from gradlaw_studies.modular_addition.landscape.hessian import flatness, hessian
from gradlaw_studies.modular_addition.landscape.network import jacobian, residuals

Floats = NDArray[np.float64]


def _phases(seed: int, count: int) -> list[complex]:
    return [cmath.exp(2j * cmath.pi * turn) for turn in np.random.default_rng(seed).random(count)]


def _order_six(modulus: int, kind: str, phases: list[complex]) -> Weights:
    """Order 6 everywhere, from blocks; four phases a frequency: of residues (2), of the block (1 or 2)."""
    found = None
    for k in range(1, num_frequencies(modulus) + 1):
        s, t, first, second = phases[4 * k - 4 : 4 * k]
        if kind == "nu*syn":
            block = multiply(blocks.z_nu(first), blocks.z_syn())
        else:
            block = multiply(blocks.z_nu(1j), blocks.z_syn_ab(first, second))
        turned = block * np.array([s, t, np.conj(s * t)])[:, None] * (12 * modulus) ** (-1 / 3)
        z = one_frequency(turned, k, modulus)
        found = z if found is None else add(found, z)
    assert found is not None
    return from_spectrum(found, modulus)


def _task_hessian(given: Weights) -> Floats:
    """Of the task's own loss on all pairs, by automatic differentiation."""
    task = ModularAddition(modulus=given.shape[1], width=given.shape[2])
    batch = task.batch(torch.arange(task.modulus**2), streams_of(0))

    def loss(flat: Tensor) -> Tensor:
        tables = flat.reshape(given.shape)
        params = {"W_a": tables[0], "W_b": tables[1], "W_c": tables[2]}
        return task.loss(params, {}, batch, None, Taps()).loss

    point = torch.from_numpy(given.reshape(-1)).requires_grad_()
    (slope,) = torch.autograd.grad(loss(point), point, create_graph=True)
    rows = [torch.autograd.grad(each, point, retain_graph=True)[0] for each in slope]
    found: Floats = torch.stack(rows).numpy()
    return found


def _projected(given: Weights) -> Weights:
    """The solution near given weights, by Newton's method with the shortest steps."""
    for _ in range(20):
        error = residuals(given).reshape(-1)
        if error @ error < 1e-27:
            break
        step = np.linalg.lstsq(jacobian(given), error, rcond=1e-9)[0]
        given = given - step.reshape(given.shape)
    assert error @ error < 1e-25
    return given


def test_the_hessian_is_that_of_the_tasks_loss() -> None:
    draw = np.random.default_rng(0).normal(size=(3, 5, 2))
    np.testing.assert_allclose(hessian(draw), _task_hessian(draw), rtol=1e-11, atol=1e-11)
    solution = _order_six(5, "nu*syn", _phases(1, 8))
    assert np.sum(residuals(solution) ** 2) < 1e-25
    np.testing.assert_allclose(hessian(solution), _task_hessian(solution), atol=1e-12)


@pytest.mark.parametrize(("kind", "phases"), [("nu*syn", 3), ("nu_i*syn_ab", 4)])
def test_the_free_phases_are_what_stays_flat_under_weight_decay(kind: str, phases: int) -> None:
    solution = _order_six(5, kind, _phases(2, 8))
    found = flatness(solution)
    singular = np.linalg.svd(jacobian(solution), compute_uv=False)
    assert found.num_parameters == 180
    assert found.nullity == 180 - int((singular > 1e-6 * singular[0]).sum())
    assert found.gap > 1e8
    assert found.norm_slope < 1e-12  # the construction is a stationary point of the norm
    assert (found.norm_flat, found.norm_down) == (2 * phases, 0)


def test_directions_of_the_phases_are_null() -> None:
    turns = _phases(3, 8)
    solution = _order_six(5, "nu_i*syn_ab", turns)
    found = hessian(solution)
    largest = np.linalg.eigvalsh(found)[-1]
    for place in range(8):
        moved = [turn * cmath.exp(1e-6j * (place == i)) for i, turn in enumerate(turns)]
        tangent = (_order_six(5, "nu_i*syn_ab", moved) - solution).reshape(-1) / 1e-6
        assert np.linalg.norm(tangent) > 0.1
        assert np.linalg.norm(found @ tangent) < 1e-5 * largest * np.linalg.norm(tangent)


def test_a_zero_node_frees_all_its_weights() -> None:
    solution = _order_six(5, "nu*syn", _phases(4, 8))
    padded = np.concatenate((solution, np.zeros((3, 5, 2))), axis=2)
    alone, beside = flatness(solution), flatness(padded)
    assert beside.nullity == alone.nullity + 2 * 3 * 5
    assert (beside.norm_flat, beside.norm_down) == (alone.norm_flat, 0)


def test_steps_along_solutions_never_shorten_the_construction() -> None:
    solution = _order_six(5, "nu_i*syn_ab", _phases(5, 8))
    _, singular, rows = np.linalg.svd(jacobian(solution))
    basis = rows[int((singular > 1e-6 * singular[0]).sum()) :]
    draws = np.random.default_rng(6).normal(size=(8, len(basis)))
    for direction in draws @ basis:
        step = 0.02 * np.linalg.norm(solution) * direction / np.linalg.norm(direction)
        moved = _projected(solution + step.reshape(solution.shape))
        assert np.sum(moved**2) > np.sum(solution**2)


def test_off_balance_the_norm_slopes() -> None:
    solution = _order_six(5, "nu*syn", _phases(7, 8))
    solution[:2] *= 1.1
    solution[2] /= 1.1**2
    found = flatness(solution)
    # the slope along the scales of all nodes: (s a, s b, c / s^2) at s = 1.1, where |a| = |b| = |c| at s = 1
    along = (2 * 1.1**2 - 2 / 1.1**4) / np.sqrt(2 * 1.1**2 + 4 / 1.1**4)
    assert found.norm_slope == pytest.approx(along / np.sqrt(2 * 1.1**2 + 1 / 1.1**4), rel=0.02)
