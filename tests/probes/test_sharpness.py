"""Lanczos iteration and the sharpness probes against dense eigenvalues."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor
from torch.func import hessian

from gradlaw.errors import UsageError
from gradlaw.probes.lanczos import largest_eigenvalue, largest_of_tridiagonal
from gradlaw.probes.preconditioned_sharpness import PreconditionedSharpness
from gradlaw.probes.sharpness import Sharpness
from gradlaw.random import streams_of
from gradlaw.rule import Hyper
from gradlaw.rules import SGD, Adam
from gradlaw.task import Params, Pytree, Taps
from gradlaw.tasks.digits import DigitsMLPBatchNorm
from gradlaw.tasks.modular_addition import ModularAddition

F32, F64 = torch.float32, torch.float64
# torch's own forward-mode derivatives, which torch.func.hessian takes, script what they are made of
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


def _symmetric(eigenvalues: Any, seed: int = 0) -> Tensor:
    values = np.asarray(eigenvalues, dtype=float)
    drawn = np.random.default_rng(seed).normal(size=(len(values), len(values)))
    q, _ = np.linalg.qr(drawn)
    return torch.from_numpy(q * values @ q.T)


def _start(n: int, seed: int = 1) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=n))


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-14), (F32, 2e-6)])
@pytest.mark.parametrize("size", [1, 2, 3, 20, 40])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_tridiagonal_is_that_of_scipy(dtype: torch.dtype, tolerance: float, size: int, scale: float) -> None:
    """Also with vanishing couplings, equal and nearly equal eigenvalues, and a large negative one."""
    drawn = np.random.default_rng(size).normal(size=(6, 2, size)) * scale
    drawn[1, 1] = 0.0
    drawn[2] = 0.0
    drawn[3, 0], drawn[3, 1] = -scale, 0.0
    drawn[4, 1] *= 1e-9
    drawn[5, 0, 0] = -1e3 * scale
    given = torch.from_numpy(drawn).to(dtype)
    diagonal, beside = given[:, 0], given[:, 1, : size - 1]
    pair = torch.vmap(largest_of_tridiagonal)(diagonal, beside)
    for d, b, value, vector in zip(
        diagonal.double(), beside.double(), pair.value.double(), pair.vector.double(), strict=True
    ):
        exact = eigh_tridiagonal(d.numpy(), b.numpy(), eigvals_only=True)
        norm = np.abs(exact).max()
        assert abs(value - exact[-1]) <= 8 * tolerance * norm
        moved = torch.diag(d) + torch.diag(b, 1) + torch.diag(b, -1)
        assert torch.linalg.vector_norm(moved @ vector - value * vector) <= 1e3 * tolerance * norm
        assert abs(torch.linalg.vector_norm(vector) - 1.0) <= 8 * tolerance


SPECTRA = {
    "spread": np.linspace(-3.0, 2.0, 12),
    "negative": -np.linspace(1.0, 9.0, 12),
    "negative stands out": [-100.0, *np.linspace(-1.0, 1.0, 11)],
    "few distinct": [2.0] * 5 + [-1.0] * 7,
    "multiple of the identity": [-4.0] * 12,
    "zero": [0.0] * 12,
    "near pair": [*np.linspace(0.0, 1.0, 10), 5.0, 5.0 + 1e-9],
    "tiny": np.linspace(1.0, 2.0, 12) * 1e-150,
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("iterations", [12, 40])
def test_lanczos_finds_the_largest_eigenvalue(name: str, iterations: int) -> None:
    matrix = _symmetric(SPECTRA[name])
    ritz = largest_eigenvalue(lambda v: matrix @ v, _start(12), iterations)
    exact = torch.linalg.eigvalsh(matrix)
    norm = exact.abs().max()
    assert abs(ritz.value - exact[-1]) <= 1e-13 * norm
    assert ritz.residual <= 1e-12 * norm or name == "near pair"


@pytest.mark.parametrize("iterations", range(1, 12))
def test_value_is_a_lower_bound_and_the_residual_an_error_bound(iterations: int) -> None:
    exact = np.sort(np.random.default_rng(7).normal(size=200))
    matrix = _symmetric(exact)
    calls = []

    def product(vector: Tensor) -> Tensor:
        calls.append(vector)
        return matrix @ vector

    ritz = largest_eigenvalue(product, _start(200), iterations)
    assert len(calls) == iterations
    assert ritz.value <= exact[-1] + 1e-12
    assert np.abs(exact - ritz.value.item()).min() <= ritz.residual
    assert ritz.residual > 0.0


def test_residual_is_that_of_the_vector() -> None:
    """The residual from the recurrence against the dense one of scipy's Ritz vector after 6 steps."""
    matrix, start = _symmetric(np.random.default_rng(3).normal(size=30)), _start(30)
    ritz = largest_eigenvalue(lambda v: matrix @ v, start, 6)
    A, krylov = matrix.numpy(), [start.numpy()]
    for _ in range(5):
        krylov.append(A @ krylov[-1])
    basis, _ = np.linalg.qr(np.stack(krylov, axis=1))
    values, vectors = np.linalg.eigh(basis.T @ A @ basis)
    y = basis @ vectors[:, -1]
    np.testing.assert_allclose(ritz.value, values[-1], rtol=1e-10)
    np.testing.assert_allclose(ritz.residual, np.linalg.norm(A @ y - values[-1] * y), rtol=1e-8)


def test_a_member_that_is_not_finite_leaves_the_others() -> None:
    good = _symmetric(SPECTRA["spread"])
    matrices = torch.stack([good, torch.full_like(good, torch.nan), good * torch.inf, good])
    starts = torch.stack([_start(12)] * 4)
    ritz = torch.vmap(lambda A, v: largest_eigenvalue(lambda x: A @ x, v, 12))(matrices, starts)
    assert not torch.isfinite(ritz.value[1:3]).any()
    torch.testing.assert_close(ritz.value[[0, 3]], torch.tensor([2.0, 2.0], dtype=F64))


def _dense(task: Any, flat: Any, buffers: Any, seed: int) -> Tensor:
    """The Hessian of the full training loss at a trial's recorded parameters, [n, n]."""
    start = task.init(streams_of(seed))[0]
    parts = torch.split(torch.from_numpy(flat), [part.numel() for part in start.values()])
    params = {name: part.reshape(start[name].shape) for name, part in zip(start, parts, strict=True)}
    batch = task.batch(task.split(streams_of(seed)).train, streams_of(seed))

    def loss(vector: Tensor) -> Tensor:
        pieces = torch.split(vector, [part.numel() for part in params.values()])
        at = {name: piece.reshape(params[name].shape) for name, piece in zip(params, pieces, strict=True)}
        return task.loss(at, buffers, batch, None, Taps(train=False)).loss

    return hessian(loss)(torch.cat([part.reshape(-1) for part in params.values()]))


def test_sharpness_of_least_squares(train: Callable[..., Any], least_squares: Any) -> None:
    """X'X / N of each member's own training rows, at every step; weight decay is no part of it."""
    task = least_squares(12, num_test=4)
    arms, seeds = ({"lr": 0.05, "weight_decay": 0.3}, {"lr": 0.2, "weight_decay": 0.0}), (0, 5)
    trained = train(task, SGD(), arms, seeds=seeds, steps=3, probes=(Sharpness(),), batch_size=2)
    seen = set()
    for member, seed in enumerate(np.repeat(seeds, len(arms))):
        X = task.X.numpy()[task.split(streams_of(int(seed))).train.numpy()]
        exact = np.linalg.eigvalsh(X.T @ X / len(X))[-1]
        np.testing.assert_allclose(trained.metrics(member, "sharpness"), exact, rtol=1e-12)
        np.testing.assert_allclose(trained.metrics(member, "sharpness_residual"), 0.0, atol=1e-12)
        seen.add(round(exact, 6))
    assert len(seen) == 2


@pytest.mark.parametrize("iterations", [20, 100])
def test_sharpness_of_a_network(train: Callable[..., Any], weights: Any, iterations: int) -> None:
    """45 and 63 parameters; Hessians with negative eigenvalues, by torch.func.hessian and LAPACK."""
    task = ModularAddition(modulus=5, width=3)
    arms, seeds = ({"lr": 0.02}, {"lr": 0.3}), (1, 2)
    probes = (Sharpness(num_iterations=iterations), weights())
    trained = train(task, SGD(), arms, seeds=seeds, steps=15, log_every=15, probes=probes)
    for member, seed in enumerate(np.repeat(seeds, len(arms))):
        exact = torch.linalg.eigvalsh(_dense(task, trained.weights(member), {}, int(seed)))
        assert exact[0] < -1e-3
        value = trained.metrics(member, "sharpness")[-1]
        residual = trained.metrics(member, "sharpness_residual")[-1]
        assert (exact - value).abs().min() <= residual + 1e-12
        np.testing.assert_allclose(value, exact[-1], rtol=1e-10 if iterations == 100 else 1e-5)
        assert value <= exact[-1] + 1e-12


def test_sharpness_takes_running_statistics(train: Callable[..., Any], weights: Any) -> None:
    task = DigitsMLPBatchNorm(width=1)
    trained = train(
        task, SGD(), ({"lr": 0.3},), steps=6, log_every=6, probes=(Sharpness(), weights()), batch_size=64
    )
    start, buffers = task.init(streams_of(0))
    number = sum(part.numel() for part in start.values())
    flat, rest = np.split(trained.weights(0), [number])
    moved = {name: torch.from_numpy(rest[i : i + 1]) for i, name in enumerate(buffers)}
    exact = torch.linalg.eigvalsh(_dense(task.to(torch.device("cpu"), F64), flat, moved, 0))[-1]
    np.testing.assert_allclose(trained.metrics(0, "sharpness")[-1], exact, rtol=1e-6)


class Scaled(SGD):
    """Gradient descent with a diagonal that grows with the step and differs by coordinate and member."""

    name = "scaled"

    def preconditioner(self, state: Pytree, params: Params, hp: Hyper, t: Tensor) -> Params:
        return {
            name: hp["lr"] * t * (1.0 + torch.arange(part.numel(), dtype=part.dtype)).reshape(part.shape)
            for name, part in reversed(params.items())  # the order of names must not matter
        }


def test_preconditioned_sharpness(train: Callable[..., Any], weights: Any) -> None:
    """Against the eigenvalues of P^-1 H, which is not symmetric, by numpy."""
    task, steps, arms = ModularAddition(modulus=5, width=3), 4, ({"lr": 0.02}, {"lr": 0.3})
    probes = (PreconditionedSharpness(num_iterations=60), weights(at_steps=tuple(range(5))))
    trained = train(task, Scaled(), arms, steps=steps, probes=probes)
    for member, arm in enumerate(arms):
        column = trained.metrics(member, "preconditioned_sharpness")
        assert np.isnan(column[0])
        assert np.isnan(trained.metrics(member, "preconditioned_sharpness_residual")[0])
        path = trained.weights(member).reshape(steps + 1, -1)
        for step in range(1, steps + 1):
            diagonal = arm["lr"] * step * np.tile(1.0 + np.arange(15), 3)
            H = _dense(task, path[step], {}, 0).numpy()
            exact = np.linalg.eigvals(H / diagonal[:, None]).real.max()
            np.testing.assert_allclose(column[step], exact, rtol=1e-9)


@pytest.mark.parametrize("beta2", [0.9, 0.999])
def test_preconditioned_sharpness_of_adam(train: Callable[..., Any], weights: Any, beta2: float) -> None:
    """P of 2207.14484 from the state of torch.optim.Adam on the same path, the Hessian dense."""
    task, steps = ModularAddition(modulus=5, width=3), 5
    arms = tuple(
        {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": 1e-4} for lr, beta1 in ((0.02, 0.9), (0.1, 0.5))
    )
    probes = (PreconditionedSharpness(num_iterations=60), weights())
    trained = train(task, Adam(), arms, steps=steps, log_every=steps, probes=probes)
    batch = task.batch(task.split(streams_of(0)).train, streams_of(0))
    for member, arm in enumerate(arms):
        params = {name: part.requires_grad_() for name, part in task.init(streams_of(0))[0].items()}
        betas = (arm["beta1"], arm["beta2"])
        optimizer = torch.optim.Adam(params.values(), lr=arm["lr"], betas=betas, eps=arm["eps"])
        for _ in range(steps):
            optimizer.zero_grad()
            task.loss(params, {}, batch, None, Taps()).loss.backward()
            optimizer.step()
        squares = [optimizer.state[part]["exp_avg_sq"].reshape(-1) for part in params.values()]
        second = torch.cat(squares).numpy() / (1.0 - betas[1] ** steps)
        diagonal = (1.0 - betas[0] ** steps) * (np.sqrt(second) + arm["eps"])
        H = _dense(task, trained.weights(member), {}, 0).numpy()
        exact = np.linalg.eigvals(H / diagonal[:, None]).real.max()
        np.testing.assert_allclose(trained.metrics(member, "preconditioned_sharpness")[-1], exact, rtol=1e-8)


def test_a_rule_without_a_preconditioner_is_refused(train: Callable[..., Any], least_squares: Any) -> None:
    with pytest.raises(UsageError, match="got rule sgd, which has no preconditioner"):
        train(least_squares(), SGD(), probes=(PreconditionedSharpness(),))


@pytest.mark.parametrize("probe", [Sharpness, PreconditionedSharpness])
def test_no_iterations_are_refused(probe: Any) -> None:
    with pytest.raises(UsageError, match="got num_iterations 0; allowed: >= 1"):
        probe(num_iterations=0)
