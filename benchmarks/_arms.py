"""The arms that compete with the engine, in torch: ``torch.optim`` one by one, and ``torch.func.vmap``.

Every arm trains the same members from the same parameters, keeps the loss of every tenth step, and is
timed in slices, so that arms can take turns.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from _cases import BETA1, BETA2, EPS, LOG_EVERY, Problem
from numpy.typing import NDArray
from torch import Tensor
from torch.func import grad_and_value, vmap
from torch.nn.functional import cross_entropy, linear, one_hot

BLOCK_STEPS = 100
"""Steps whose batches are drawn at once, in the mini-batch cases."""

Loss = Callable[[dict[str, Tensor], tuple[Tensor, ...]], Tensor]


class Timing(NamedTuple):
    """Milliseconds a trial-step: of wall time, and of this process's processor time."""

    wall_ms: float
    cpu_ms: float


class Stopwatch:
    """Time since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        """Wall time so far."""
        return time.perf_counter() - self._wall

    def timing(self, trial_steps: int) -> Timing:
        """What each of so many trial-steps took."""
        cpu = time.process_time() - self._cpu
        return Timing(1e3 * self.seconds() / trial_steps, 1e3 * cpu / trial_steps)


class Arm(ABC):
    """One way to train the members of a problem.

    Attributes:
        name: Of the arm.
        width: Members that one step moves.
        variant: Which of the arm's ways.
        compile_s: Seconds of the first call, set by :meth:`warm`.
    """

    name: ClassVar[str]

    def __init__(self, problem: Problem, variant: str) -> None:
        self.problem, self.width, self.variant = problem, problem.width, variant
        self.compile_s = 0.0
        self._chunk = 1

    @abstractmethod
    def advance(self, steps: int) -> None:
        """Trains all members for this many steps and waits until they are done."""

    @abstractmethod
    def last_losses(self) -> NDArray[np.float32]:
        """The losses of the last step that was logged, before it moved, shape [width]."""

    def trace(self, steps: int) -> NDArray[np.float32]:
        """Losses of the first steps, shape [steps, width]; for an arm that has not moved yet."""
        losses = []
        for _ in range(steps):
            self.advance(1)
            losses.append(self.last_losses())
        return np.stack(losses)

    def warm(self) -> None:
        """Goes until compiled, and until steps take a steady time."""
        watch = Stopwatch()
        self.advance(self._chunk)
        self.compile_s = watch.seconds()
        before, now = float("inf"), self.timed(0.1).wall_ms
        for _ in range(10):
            if before < 1.25 * now:
                break
            before, now = now, self.timed(0.1).wall_ms

    def timed(self, seconds: float) -> Timing:
        """What a trial-step takes, over a slice of at least ``seconds``."""
        watch, steps = Stopwatch(), 0
        while watch.seconds() < seconds:
            before = watch.seconds()
            self.advance(self._chunk)
            steps += self._chunk
            if watch.seconds() - before < seconds / 8:
                self._chunk *= 2
        return watch.timing(steps * self.width)

    def close(self) -> None:  # noqa: B027 - most arms hold nothing
        """Lets go of what it holds."""


def modular_loss(params: dict[str, Tensor], batch: tuple[Tensor, ...]) -> Tensor:
    """Projected squared error of quadratic units; residues as indices, or as one-hot rows."""
    first, second, target = batch
    if first.is_floating_point():
        units = first @ params["W_a"] + second @ params["W_b"]
    else:
        units = params["W_a"][first] + params["W_b"][second]
    error = linear(units * units, params["W_c"]) - target
    projected = error - error.mean(dim=1, keepdim=True)
    return (projected * projected).sum(dim=1).mean()


def digits_loss(params: dict[str, Tensor], batch: tuple[Tensor, ...]) -> Tensor:
    """Mean cross-entropy of one hidden layer of tanh units."""
    images, classes = batch
    hidden = torch.tanh(linear(images, params["weight1"], params["bias1"]))
    return cross_entropy(linear(hidden, params["weight2"], params["bias2"]), classes)


def torch_loss(problem: Problem) -> Loss:
    """The loss of one member."""
    return modular_loss if problem.case.task == "modular_addition" else digits_loss


def full_batch(problem: Problem, lookup: str) -> tuple[Tensor, ...]:
    """All training rows of every member, each leading with [width]; residues as the lookup needs them."""
    columns = [column[problem.rows] for column in problem.data]
    if problem.case.task == "digits":
        return tuple(columns)
    modulus = problem.case.sizes["modulus"]
    first, second, target = columns
    hot = one_hot(target, modulus).float()
    if lookup == "onehot":
        return one_hot(first, modulus).float(), one_hot(second, modulus).float(), hot
    return first, second, hot


class Batches:
    """Batches of all members, drawn a block of steps at a time by torch's own generator."""

    def __init__(self, problem: Problem, lookup: str) -> None:
        self._problem = problem
        self._size = problem.case.batch_size
        self._full = full_batch(problem, lookup) if self._size == 0 else ()
        self._generator = torch.Generator(problem.rows.device).manual_seed(0)
        self._members = torch.arange(problem.width, device=problem.rows.device)[:, None]
        self._step = 0

    def next(self) -> tuple[Tensor, ...]:
        """The batch of the next step, each leaf [width, batch, ...]."""
        if self._size == 0:
            return self._full
        rows = self._problem.rows
        position = self._step % BLOCK_STEPS
        if position == 0:
            shape = (BLOCK_STEPS, self._problem.width, self._size)
            drawn = torch.randint(
                rows.shape[1], shape, generator=self._generator, device=self._generator.device
            )
            self._block = rows[self._members, drawn]
        self._step += 1
        chosen = self._block[position]
        return tuple(column[chosen] for column in self._problem.data)


class TorchOptim(Arm):
    """One trial by ``torch.optim``, as a plain loop trains it; the first member of the problem.

    Variants: default, foreach or fused; eager, or with the loss and the optimizer's step compiled; and
    for modular addition residues looked up by index or by one-hot products.
    """

    name = "torch_optim"

    def __init__(self, problem: Problem, variant: str) -> None:
        super().__init__(problem, variant)
        self.width = 1
        words = variant.split("+")
        self._params = {name: value[0].clone().requires_grad_(True) for name, value in problem.params.items()}
        self._optimizer = self._make_optimizer(words[0])
        self._loss, self._move = torch_loss(problem), self._optimizer.step
        if "compiled" in words:
            self._loss, self._move = torch.compile(self._loss), torch.compile(self._optimizer.step)
        self._batches = Batches(problem, "onehot" if "onehot" in words else "gather")
        self._whole = tuple(leaf[0] for leaf in self._batches.next()) if not problem.case.batch_size else ()
        self._logged: list[float] = []
        self._step = 0

    def _make_optimizer(self, kind: str) -> torch.optim.Optimizer:
        case = self.problem.case
        return torch.optim.Adam(
            list(self._params.values()),
            lr=case.lr,
            betas=(BETA1, BETA2),
            eps=EPS,
            weight_decay=case.weight_decay,
            foreach=kind == "foreach",
            fused=kind == "fused",
        )

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            batch = self._whole or tuple(leaf[0] for leaf in self._batches.next())
            self._optimizer.zero_grad(set_to_none=True)
            self._now = self._loss(self._params, batch)
            self._now.backward()
            self._move()
            if self._step % LOG_EVERY == 0:
                self._logged.append(self._now.item())
            self._step += 1
        _wait(self.problem)

    def last_losses(self) -> NDArray[np.float32]:
        return self._now.detach().cpu().numpy()[None]


class VmapEager(Arm):
    """All members by ``vmap(grad_and_value(loss))`` and an in-place update, nothing compiled."""

    name = "vmap_eager"

    def __init__(self, problem: Problem, variant: str) -> None:
        super().__init__(problem, variant)
        self._params = {name: value.clone() for name, value in problem.params.items()}
        self._first = {name: torch.zeros_like(value) for name, value in self._params.items()}
        self._second = {name: torch.zeros_like(value) for name, value in self._params.items()}
        self._gradient = vmap(grad_and_value(torch_loss(problem)))
        self._batches = Batches(problem, variant)
        self._lr, self._decay = (
            torch.full((self.width,), value, device=problem.rows.device)
            for value in (problem.case.lr, problem.case.weight_decay)
        )
        self._logged: list[Tensor] = []
        self._step = 0

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            grads, self._now = self._gradient(self._params, self._batches.next())
            self._update(grads)
            if self._step % LOG_EVERY == 0:
                self._logged.append(self._now)
            self._step += 1
        _wait(self.problem)

    def _update(self, grads: dict[str, Tensor]) -> None:
        corrected1, corrected2 = 1 - BETA1 ** (self._step + 1), 1 - BETA2 ** (self._step + 1)
        for name, param in self._params.items():
            shape = (self.width,) + (1,) * (param.ndim - 1)
            lr, decay = self._lr.reshape(shape), self._decay.reshape(shape)
            grad = torch.addcmul(grads[name], decay, param)
            first = self._first[name].lerp_(grad, 1 - BETA1)
            second = self._second[name].mul_(BETA2).addcmul_(grad, grad, value=1 - BETA2)
            scale = (second / corrected2).sqrt_().add_(EPS)
            param.addcdiv_(first * (lr / corrected1), scale, value=-1)

    def last_losses(self) -> NDArray[np.float32]:
        return self._now.cpu().numpy()


def _wait(problem: Problem) -> None:
    if problem.rows.is_cuda:
        torch.cuda.synchronize()
