"""A task from an ordinary module, a loss and data.

Task.from_module("moons", lambda: nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)),
                 nn.functional.cross_entropy, (points, classes), test_share=0.1)
"""

from __future__ import annotations

import copy
import functools
import hashlib
import warnings
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn.parameter import is_lazy

from gradlaw.errors import ConfigurationError, UsageError, all_faults
from gradlaw.fingerprint import digest
from gradlaw.random import Streams, streams_of
from gradlaw.task import Batch, Buffers, LossOutput, Noise, Params, Split, Taps, Task
from gradlaw.tasks.dropout import MaskedDropouts
from gradlaw.tasks.module_faults import (
    Loss,
    outputs_of,
    refuse_loss,
    structure_faults,
    telling_rows,
    value_faults,
)

Build = Callable[[], nn.Module]


class ModuleTask(Task):
    """Trains a module on data.

    The module's own initializers draw from torch's generator, forked and seeded by the trial's seed.
    Buffers (running statistics of batch norm) move with the trial; parameters that require no gradient
    stay as they are. Dropout layers take their masks from the trial's stream "noise". In evaluation the
    module is in ``eval`` mode. A module that does not run under ``torch.vmap`` is found out here, by a
    small trial: a warning names the operation, and the task runs one trial at a time.

    Args:
        name: The task's name; with the data, the module's structure and the loss (its name, and the
            settings of a ``functools.partial`` or of a loss that is a module) it identifies the task, so
            code that changed under the same name wants a new name.
        build: Makes the module.
        loss: Mean loss of outputs and targets.
        data: Inputs and targets, each of shape [rows, ...]. Floating ones take the trial's dtype.
        test_share: Share of rows held out, in [0, 1).

    Raises:
        ConfigurationError: If data or ``test_share`` are impossible (numbers that are not finite, half
            precision, classes without an output, shapes that module or loss do not take), or the module has
            nothing to train.
        EncodingError: If a setting of the loss has no stable encoding.
        UsageError: If the module draws from torch's generator in training other than by dropout layers.
    """

    def __init__(
        self, name: str, build: Build, loss: Loss, data: tuple[Tensor, Tensor], *, test_share: float = 0.0
    ) -> None:
        inputs, targets = data
        values = value_faults("inputs", inputs) + value_faults("targets", targets)
        if faults := structure_faults(inputs, targets, test_share):
            raise _of_module(name, faults + values)
        self.name = name
        self.num_rows = len(inputs)
        self._build, self._loss = build, loss
        self._inputs, self._targets = inputs, targets
        self._num_test = round(test_share * len(inputs))
        self._train_module = _built(build, 0).train()
        _check_parameters(name, self._train_module)
        self._digest = _digest(self._train_module, loss, data, test_share)
        self._dropouts = MaskedDropouts(self._train_module)
        self._eval_module = copy.deepcopy(self._train_module).eval()
        self._try_out(values)

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        module = _built(self._build, int(streams.words("init", 1))).to(torch.float64)
        frozen = {name: value for name, value in module.named_parameters() if not value.requires_grad}
        params = {
            name: value.detach().clone() for name, value in module.named_parameters() if name not in frozen
        }
        held = {**frozen, **dict(module.named_buffers())}
        return params, {name: value.detach().clone() for name, value in held.items()}

    def split(self, streams: Streams) -> Split:
        if self._num_test == 0:
            return super().split(streams)
        rows = streams.permutation("split", len(self._inputs))
        return Split(rows[self._num_test :], rows[: self._num_test])

    def batch(self, indices: Tensor, streams: Streams) -> Batch:
        del streams
        return self._inputs[indices], self._targets[indices]

    def noise(self, batch: Batch, streams: Streams) -> Noise:
        return self._dropouts.masks(batch[0].shape[0], streams)

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        inputs, targets = batch
        # the module moves its buffers in place: it gets copies
        held = {**params, **{key: value.clone() for key, value in buffers.items()}, **(noise or {})}
        outputs = functional_call(self._train_module if taps.train else self._eval_module, held, (inputs,))
        return LossOutput(self._loss(outputs, targets), outputs, {key: held[key] for key in buffers})

    def scores(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """``accuracy``, where targets are classes: whole numbers, one dimension fewer than outputs."""
        targets = batch[1]
        if targets.is_floating_point() or outputs.ndim != targets.ndim + 1:
            return {}
        return {"accuracy": (outputs.argmax(dim=1) == targets).to(outputs.dtype).mean()}

    def data_digest(self) -> str:
        """Digest of the data, the module's structure, the loss's name and the share held out."""
        return self._digest

    def to(self, device: torch.device, dtype: torch.dtype) -> ModuleTask:
        moved = copy.copy(self)
        moved._inputs, moved._targets = (  # noqa: SLF001 - a copy of itself
            part.to(device, dtype) if part.is_floating_point() else part.to(device)
            for part in (self._inputs, self._targets)
        )
        if isinstance(self._loss, nn.Module):  # it may hold weights of the classes
            moved._loss = copy.deepcopy(self._loss).to(device, dtype)  # noqa: SLF001
        return moved

    def _try_out(self, faults: Sequence[str]) -> None:
        """Learns the masks' shapes, refuses hidden randomness, and finds out whether vmap works."""
        task, streams = self.to(torch.device("cpu"), torch.float64), streams_of(0)
        params, buffers = task.init(streams)
        try:
            with all_faults(faults):
                task._try_rows(params, buffers)  # noqa: SLF001 - a copy of itself
        except ConfigurationError as error:
            raise _of_module(self.name, error.faults) from error

        def loss(point: Params, size: int) -> Tensor:
            batch = task.batch(torch.arange(size) % len(task._inputs), streams)  # noqa: SLF001
            return task.loss(point, buffers, batch, task.noise(batch, streams), Taps()).loss

        with torch.random.fork_rng(devices=[]):
            before = torch.get_rng_state()
            self._dropouts.learn_shapes(lambda size: loss(params, size))
            grad(lambda point: loss(point, 2))(params)
            if not torch.equal(before, torch.get_rng_state()):
                msg = (
                    f"module {self.name}: got a draw from torch's generator in training; allowed: random "
                    "layers nn.Dropout, Dropout1d, Dropout2d, Dropout3d, whose masks the trial draws"
                )
                raise UsageError(msg)
        self._try_vmap(params, buffers)

    def _try_rows(self, params: Params, buffers: Buffers) -> None:
        """Refuses data that the module or the loss does not take."""
        rows = telling_rows(self._targets)
        held = {**params, **{key: value.clone() for key, value in buffers.items()}}
        outputs = outputs_of(
            lambda inputs: functional_call(self._eval_module, held, (inputs,)), self._inputs[rows]
        )
        refuse_loss(self._loss, outputs, self._targets[rows], self._targets)

    def _try_vmap(self, params: Params, buffers: Buffers) -> None:
        def loss(point: Params, held: Buffers, seed: Tensor, train: bool = True) -> tuple[Tensor, Buffers]:
            streams = Streams(seed, torch.zeros_like(seed))
            batch = task.batch(torch.arange(2) % len(task._inputs), streams)  # noqa: SLF001
            noise = task.noise(batch, streams) if train else None
            out = task.loss(point, held, batch, noise, Taps(train=train))
            return out.loss, out.buffers

        task = self.to(torch.device("cpu"), torch.float64)
        pair = {key: torch.stack([value, value]) for key, value in params.items()}
        moving = {key: torch.stack([value, value]) for key, value in buffers.items()}
        try:
            # without a gradient torch takes other kernels, as those of an LSTM, which vmap may refuse
            for tried in (grad(loss, has_aux=True), loss, functools.partial(loss, train=False)):
                torch.vmap(tried, randomness="error")(pair, moving, torch.arange(2))
        except Exception as error:  # noqa: BLE001 - whatever stops vmap, the task runs without it
            self.vmappable = False
            cause = (str(error).splitlines() or [repr(error)])[0][:300]
            warnings.warn(
                f"module {self.name} runs one trial at a time, since torch.vmap refuses it: {cause}",
                UserWarning,
                stacklevel=4,
            )


def _of_module(name: str, faults: Iterable[str]) -> ConfigurationError:
    return ConfigurationError([f"module {name}: {fault}" for fault in faults])


def _check_parameters(name: str, module: nn.Module) -> None:
    parts: dict[str, Tensor] = dict(module.named_parameters())
    unsized = [key for key, value in parts.items() if is_lazy(value)]
    if unsized:
        msg = f"module {name}: got parameters without a size ({', '.join(unsized)}); allowed: sized layers"
        raise ConfigurationError([msg])
    unreal = [key for key, value in parts.items() if value.is_complex()]
    if unreal:
        msg = f"module {name}: got complex parameters ({', '.join(unreal)}); allowed: real ones"
        raise ConfigurationError([msg])
    if not any(value.requires_grad for value in parts.values()):
        msg = f"module {name}: got {len(parts)} parameters, none of which requires a gradient; allowed: >= 1"
        raise ConfigurationError([msg])


def _built(build: Build, seed: int) -> nn.Module:
    """A fresh module, initialized from torch's generator as that seed leaves it; the global one stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _digest(module: nn.Module, loss: Loss, data: tuple[Tensor, Tensor], test_share: float) -> str:
    arrays = hashlib.sha256()
    for part in data:
        arrays.update(f"{part.dtype} {tuple(part.shape)}".encode())
        arrays.update(part.detach().cpu().contiguous().numpy().tobytes())
    return digest(
        {
            "data": arrays.hexdigest(),
            "module": repr(module),
            "shapes": {key: list(value.shape) for key, value in module.state_dict().items()},
            "frozen": [key for key, value in module.named_parameters() if not value.requires_grad],
            "loss": _loss_identity(loss),
            "test_share": float(test_share),
        }
    )


def _loss_identity(loss: Loss) -> object:
    """What tells a loss from another: its name, and the settings that it holds."""
    if isinstance(loss, functools.partial):
        return [_loss_identity(loss.func), list(loss.args), dict(loss.keywords)]
    if isinstance(loss, nn.Module):
        settings = {
            key: value for key, value in vars(loss).items() if isinstance(value, (bool, int, float, str))
        }
        weights = {key: value.tolist() for key, value in loss.state_dict().items()}
        return [type(loss).__qualname__, settings, weights]
    return getattr(loss, "__qualname__", type(loss).__qualname__)
