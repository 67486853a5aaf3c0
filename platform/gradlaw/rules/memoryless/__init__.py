"""Memoryless forms of rules with memory, and the rules that iterate them (2502.02132)."""

from __future__ import annotations

from collections.abc import Mapping

from gradlaw.rules.memoryless.adam import AdamWForm, NAdamForm
from gradlaw.rules.memoryless.form import CORRECTION, Memoryless, MemorylessRule
from gradlaw.rules.memoryless.lion import LionForm
from gradlaw.rules.memoryless.momentum import HeavyBallForm, NesterovForm

_SHIPPED: tuple[Memoryless, ...] = (HeavyBallForm(), NesterovForm(), AdamWForm(), NAdamForm(), LionForm())

FORMS: Mapping[str, Memoryless] = {form.name: form for form in _SHIPPED}
"""By the name of the rule with memory."""


class HeavyBallMemoryless(MemorylessRule):
    """Heavy ball without memory."""

    name = "heavy_ball_memoryless"
    form = FORMS["heavy_ball"]
    hyperparameters = (*form.hyperparameters, CORRECTION)


class NesterovMemoryless(MemorylessRule):
    """Nesterov's momentum without memory."""

    name = "nesterov_memoryless"
    form = FORMS["nesterov"]
    hyperparameters = (*form.hyperparameters, CORRECTION)


class AdamWMemoryless(MemorylessRule):
    """AdamW, eps inside the root, without memory."""

    name = "adamw_memoryless"
    form = FORMS["adamw"]
    hyperparameters = (*form.hyperparameters, CORRECTION)


class NAdamMemoryless(MemorylessRule):
    """NAdam, eps inside the root, without memory."""

    name = "nadam_memoryless"
    form = FORMS["nadam"]
    hyperparameters = (*form.hyperparameters, CORRECTION)


class LionMemoryless(MemorylessRule):
    """Lion with the smooth sign, without memory."""

    name = "lion_memoryless"
    form = FORMS["lion"]
    hyperparameters = (*form.hyperparameters, CORRECTION)


FOLLOWERS: tuple[type[MemorylessRule], ...] = (
    HeavyBallMemoryless,
    NesterovMemoryless,
    AdamWMemoryless,
    NAdamMemoryless,
    LionMemoryless,
)
"""The rules that iterate the forms, in their order."""
