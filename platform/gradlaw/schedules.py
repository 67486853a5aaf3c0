"""Learning-rate schedules: pure functions of step and hyperparameters, for one trial.

    t                 step, from 0
    T = steps         the trial's number of steps: 0 .. T - 1 are trained
    W = warmup_steps  steps of linear warm-up

Warm-up: lr(t) = lr (t + 1) / W for t < W, so that no step is lost at lr 0 and step W - 1 has the whole lr
(Goyal et al. 1706.02677, section 2.2). From t = W on a decay counts steps since the warm-up, s = t - W, as if
training began there: lr(W) = lr, and without warm-up lr(t) is that of ``torch.optim.lr_scheduler`` after t of
its steps. A decay with a horizon reaches its end at t = T, one step after the last that is trained.

    linear_warmup         lr
    linear_decay          lr (1 - (1 - final_share) x),                        x = s / (T - W)
    cosine_decay          lr (final_share + (1 - final_share) (1 + cos(pi x)) / 2)
    inverse_sqrt_decay    lr sqrt(timescale / (timescale + s))
    inverse_time_decay    lr timescale / (timescale + s)
    step_decay            lr decay_factor^floor(s / decay_every)
    warmup_stable_decay   lr until t = T - D, then lr (1 - (1 - final_share) (t - (T - D)) / D),
                          D = decay_share T
    moment_warmup         lr sqrt(1 - beta2^(t + 1)), no W

A lr that rises all the time is ``linear_warmup`` with W = T.
Every function works on scalar tensors in the dtype of ``lr``, so a pack runs it once for all members.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.rules.adam import BETA2, bias_correction

WARMUP = Hyperparameter(name="warmup_steps", default=0, low=0, doc="steps to the peak lr")
FINAL_SHARE = Hyperparameter(
    name="final_share",
    default=0.0,
    low=0.0,
    high=1.0,
    doc="lr at the end as a share of the peak; torch's eta_min is 0",
)


class Schedule(ABC):
    """A learning-rate schedule: the lr at step t."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    hyperparameters: ClassVar[tuple[Hyperparameter, ...]] = ()

    @abstractmethod
    def lr(self, t: Tensor, hp: Mapping[str, Tensor]) -> Tensor:
        """The lr at step ``t`` (scalar int64) from the trial's hyperparameters.

        They are scalars, ``lr`` the peak; with them is ``steps``, the trial's number of steps.
        """

    def faults(self, hp: Mapping[str, Scalar], steps: int) -> list[str]:
        """What is impossible in one trial's schedule, a line a fault; none by default."""
        del hp, steps
        return []


class Constant(Schedule):
    """lr(t) = lr."""

    name = "constant"

    def lr(self, t: Tensor, hp: Mapping[str, Tensor]) -> Tensor:
        del t
        return hp["lr"]


class LinearWarmup(Schedule):
    """lr(t) = lr * min(1, (t + 1) / warmup_steps), and lr without warm-up (Goyal et al. 1706.02677, 2.2).

    A decay is a subclass that says which share of lr is left.
    """

    name = "linear_warmup"
    hyperparameters: ClassVar[tuple[Hyperparameter, ...]] = (WARMUP,)

    def lr(self, t: Tensor, hp: Mapping[str, Tensor]) -> Tensor:
        dtype, warmup = hp["lr"].dtype, hp["warmup_steps"]
        # whole numbers would divide in float32, whatever the trial's dtype
        warming = (t + 1).to(dtype) / torch.clamp(warmup, min=1).to(dtype)
        decayed = self.share(torch.clamp(t - warmup, min=0), hp)
        return hp["lr"] * torch.where(t < warmup, warming, decayed)

    def share(self, since: Tensor, hp: Mapping[str, Tensor]) -> Tensor:
        """The share of lr left ``since`` steps after warm-up (scalar int64, >= 0); all of it by default."""
        del since
        return torch.ones_like(hp["lr"])

    def faults(self, hp: Mapping[str, Scalar], steps: int) -> list[str]:
        warmup = hp["warmup_steps"]
        if isinstance(warmup, (int, float)) and warmup > steps:
            return [
                f"warmup_steps: got {warmup}, allowed 0 .. steps = {steps} (a warm-up longer than training)"
            ]
        return []


class LinearDecay(LinearWarmup):
    """Warm-up, then a straight line to ``final_share * lr`` (Devlin et al. 1810.04805, appendix A.2)."""

    name = "linear_decay"
    hyperparameters = (WARMUP, FINAL_SHARE)

    def share(self, since: Tensor, hp: Mapping[str, Tensor]) -> Tensor:
        return 1.0 - (1.0 - hp["final_share"]) * _progress(since, hp)


class CosineDecay(LinearWarmup):
    """Warm-up, then half a cosine to ``final_share * lr`` (Loshchilov and Hutter 1608.03983, equation 5)."""

    name = "cosine_decay"
    hyperparameters = (WARMUP, FINAL_SHARE)

    def share(self, since: Tensor, hp: Mapping[str, Tensor]) -> Tensor:
        fallen = 0.5 * (1.0 - torch.cos(math.pi * _progress(since, hp)))
        return 1.0 - (1.0 - hp["final_share"]) * fallen


class InverseSqrtDecay(LinearWarmup):
    """Warm-up, then 1 / sqrt of the steps, halved ``3 * timescale`` steps after warm-up; no horizon.

    With ``timescale`` = ``warmup_steps`` it is the schedule of Vaswani et al. 1706.03762, equation 3, one
    step late; a timescale of its own is that of Zhai et al. 2106.04560.
    """

    name = "inverse_sqrt_decay"
    hyperparameters = (
        WARMUP,
        Hyperparameter(name="timescale", default=10_000, low=1, doc="steps; default of 2106.04560"),
    )

    def share(self, since: Tensor, hp: Mapping[str, Tensor]) -> Tensor:
        timescale = hp["timescale"].to(hp["lr"].dtype)
        return torch.sqrt(timescale / (timescale + since))


class InverseTimeDecay(LinearWarmup):
    """Warm-up, then 1 over the steps, halved ``timescale`` steps after warm-up; no horizon.

    The sum of the lrs diverges and that of their squares does not (Robbins and Monro 1951, condition 6):
    with noise it converges where a constant lr ends in a floor (Bottou et al. 1606.04838, theorem 4.7,
    whose gamma is the timescale). It is torch's ``LambdaLR`` of timescale / (timescale + step).
    """

    name = "inverse_time_decay"
    hyperparameters = (
        WARMUP,
        Hyperparameter(name="timescale", default=0, low=0, doc="steps in which lr halves, to be given: >= 1"),
    )

    def share(self, since: Tensor, hp: Mapping[str, Tensor]) -> Tensor:
        timescale = torch.clamp(hp["timescale"], min=1).to(hp["lr"].dtype)
        return timescale / (timescale + since)

    def faults(self, hp: Mapping[str, Scalar], steps: int) -> list[str]:
        faults = super().faults(hp, steps)
        if hp["timescale"] == 0:
            faults.append("timescale: got 0, allowed >= 1 (steps in which lr halves; it has no default)")
        return faults


class StepDecay(LinearWarmup):
    """Warm-up, then lr times ``decay_factor`` every ``decay_every`` steps (He et al. 1512.03385, 3.4)."""

    name = "step_decay"
    hyperparameters = (
        WARMUP,
        Hyperparameter(
            name="decay_every", default=0, low=0, doc="steps from decay to decay, to be given: >= 1"
        ),
        Hyperparameter(
            name="decay_factor",
            default=0.1,
            low=0.0,
            low_open=True,
            high=1.0,
            doc="of one decay; default of torch.optim.lr_scheduler.StepLR's gamma, and of 1512.03385",
        ),
    )

    def share(self, since: Tensor, hp: Mapping[str, Tensor]) -> Tensor:
        every = torch.clamp(hp["decay_every"], min=1)
        return hp["decay_factor"] ** torch.div(since, every, rounding_mode="floor")

    def faults(self, hp: Mapping[str, Scalar], steps: int) -> list[str]:
        faults = super().faults(hp, steps)
        if hp["decay_every"] == 0:
            faults.append("decay_every: got 0, allowed >= 1 (steps from decay to decay; it has no default)")
        return faults


class WarmupStableDecay(LinearWarmup):
    """Warm-up, a constant lr, then over the last ``decay_share`` of the steps a straight line to its end.

    Where a constant lr leaves the noise of its last steps in the parameters, the decay takes it out, and what
    came before is as with a constant lr (Hu et al. 2404.06395, section 4; Hagele et al. 2405.18392, whose
    linear cooldown this is).
    """

    name = "warmup_stable_decay"
    hyperparameters = (
        WARMUP,
        FINAL_SHARE,
        Hyperparameter(
            name="decay_share",
            default=0.1,
            low=0.0,
            high=1.0,
            doc="of all steps, the last, in which the lr falls; default of 2404.06395",
        ),
    )

    def share(self, since: Tensor, hp: Mapping[str, Tensor]) -> Tensor:
        dtype = hp["lr"].dtype
        left = (hp["steps"] - hp["warmup_steps"] - since).to(dtype)
        length = hp["decay_share"] * hp["steps"].to(dtype)
        falling = torch.clamp(left / torch.where(length > 0.0, length, 1.0), min=0.0, max=1.0)
        stands = torch.where(length > 0.0, falling, 1.0)
        return hp["final_share"] + (1.0 - hp["final_share"]) * stands

    def faults(self, hp: Mapping[str, Scalar], steps: int) -> list[str]:
        faults = super().faults(hp, steps)
        warmup, share = hp["warmup_steps"], hp["decay_share"]
        if not isinstance(warmup, int) or not isinstance(share, float) or faults:
            return faults
        left = (steps - warmup) / max(steps, 1)
        if steps and share > left:
            allowed = f"at most {left:g} of {steps} steps (warm-up comes first)"
            faults.append(f"decay_share: got {share:g}, allowed {allowed}")
        return faults


class MomentWarmup(Schedule):
    """lr(t) = lr * sqrt(1 - beta2^(t + 1)): the factor of Adam's second bias correction, as a warm-up.

    A running mean of squares that starts at 0 has that share of its weight after step t (Kingma and Ba
    1412.6980, section 3). With Adam it is applied once more, with the same ``beta2``; with a rule that has
    no second moment it is the same curve without its reason. Over a long run it leaves out as many whole
    steps as a linear warm-up of 4 (1 - ln 2) / (1 - beta2) steps does, to first order in 1 - beta2.
    """

    name = "moment_warmup"
    hyperparameters: ClassVar[tuple[Hyperparameter, ...]] = (BETA2,)

    def lr(self, t: Tensor, hp: Mapping[str, Tensor]) -> Tensor:
        return hp["lr"] * torch.sqrt(bias_correction(hp["beta2"], t + 1))


def _progress(since: Tensor, hp: Mapping[str, Tensor]) -> Tensor:
    """The share of the decay behind, 0 .. 1; members that ended earlier stay at 1."""
    dtype = hp["lr"].dtype
    horizon = torch.clamp(hp["steps"] - hp["warmup_steps"], min=1)
    return torch.clamp(since.to(dtype) / horizon.to(dtype), max=1.0)


_SHIPPED: tuple[type[Schedule], ...] = (
    Constant,
    LinearWarmup,
    LinearDecay,
    CosineDecay,
    InverseSqrtDecay,
    InverseTimeDecay,
    StepDecay,
    WarmupStableDecay,
    MomentWarmup,
)

SCHEDULES: dict[str, type[Schedule]] = {schedule.name: schedule for schedule in _SHIPPED}
