"""The members trained by JAX: vmap and jit over optax, many steps a call by ``lax.scan``."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _arms import Arm
from _cases import BETA1, BETA2, EPS, LOG_EVERY, Problem
from numpy.typing import NDArray

jax.config.update("jax_default_matmul_precision", "highest")  # on GPUs its float32 products are TF32 else
STEPS_PER_CALL = 50

Tree = Any  # JAX has no type for its trees


class Jax(Arm):
    """Variants: residues by index ("gather") or by one-hot products ("onehot"). Batches by "rbg" keys."""

    name = "jax"

    def __init__(self, problem: Problem, variant: str, steps_per_call: int = STEPS_PER_CALL) -> None:
        super().__init__(problem, variant)
        self._chunk = self._steps_per_call = steps_per_call
        params = {name: jnp.asarray(value.cpu().numpy()) for name, value in problem.params.items()}
        self._rows = jnp.asarray(problem.rows.cpu().numpy().astype(np.int32))
        self._data = tuple(jnp.asarray(_narrow(column.cpu().numpy())) for column in problem.data)
        self._whole = () if problem.case.batch_size else jax.jit(self._full_batch)()
        self._lr, self._decay = (
            jnp.full(self.width, value, jnp.float32) for value in (problem.case.lr, problem.case.weight_decay)
        )
        states = jax.vmap(lambda one, lr, decay: self._rule(lr, decay).init(one))(
            params, self._lr, self._decay
        )
        self._carry: Tree = (params, states, jax.random.key(0, impl="unsafe_rbg"))
        self._call = jax.jit(self._scan, donate_argnums=0)
        self._logged: list[jax.Array] = []

    def _rule(self, lr: jax.Array, decay: jax.Array) -> optax.GradientTransformation:
        return optax.chain(optax.add_decayed_weights(decay), optax.adam(lr, b1=BETA1, b2=BETA2, eps=EPS))

    def _full_batch(self) -> Tree:
        return tuple(self._prepared([column[self._rows] for column in self._data]))

    def _prepared(self, columns: list[jax.Array]) -> list[jax.Array]:
        if self.problem.case.task == "digits":
            return columns
        modulus = self.problem.case.sizes["modulus"]
        first, second, target = columns
        if self.variant == "onehot":
            first, second = jax.nn.one_hot(first, modulus), jax.nn.one_hot(second, modulus)
        return [first, second, jax.nn.one_hot(target, modulus)]

    def _loss(self, params: Tree, batch: Tree) -> jax.Array:
        return (_modular_loss if self.problem.case.task == "modular_addition" else _digits_loss)(
            params, batch
        )

    def _step(self, params: Tree, state: Tree, batch: Tree, lr: jax.Array, decay: jax.Array) -> Tree:
        loss, grads = jax.value_and_grad(self._loss)(params, batch)
        updates, state = self._rule(lr, decay).update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    def _scan(self, carry: Tree, whole: Tree, rows: jax.Array, data: Tree, hyper: Tree) -> Tree:
        params, states, key = carry
        size = self.problem.case.batch_size
        drawn = None
        if size:
            key, now = jax.random.split(key)
            shape = (self._steps_per_call, self.width, size)
            drawn = jax.random.randint(now, shape, 0, rows.shape[1])

        def body(moving: Tree, positions: jax.Array | None) -> Tree:
            batch = whole
            if positions is not None:
                chosen = jnp.take_along_axis(rows, positions, axis=1)
                batch = tuple(column[chosen] for column in data)
            params, states, losses = jax.vmap(self._step)(*moving, batch, *hyper)
            return (params, states), losses

        moved, losses = jax.lax.scan(body, (params, states), drawn, length=self._steps_per_call)
        return (*moved, key), losses[::LOG_EVERY], losses[-1]

    def advance(self, steps: int) -> None:
        for _ in range(steps // self._steps_per_call):
            self._carry, logged, self._now = self._call(
                self._carry, self._whole, self._rows, self._data, (self._lr, self._decay)
            )
            self._logged.append(logged)
        jax.block_until_ready(self._carry)

    def last_losses(self) -> NDArray[np.float32]:
        return np.asarray(self._now)


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.int32) if values.dtype == np.int64 else values


def _modular_loss(params: Tree, batch: Tree) -> jax.Array:
    first, second, target = batch
    if jnp.issubdtype(first.dtype, jnp.floating):
        units = first @ params["W_a"] + second @ params["W_b"]
    else:
        units = params["W_a"][first] + params["W_b"][second]
    error = (units * units) @ params["W_c"].T - target
    projected = error - error.mean(axis=1, keepdims=True)
    return (projected * projected).sum(axis=1).mean()


def _digits_loss(params: Tree, batch: Tree) -> jax.Array:
    images, classes = batch
    hidden = jnp.tanh(images @ params["weight1"].T + params["bias1"])
    logits = hidden @ params["weight2"].T + params["bias2"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, classes).mean()
