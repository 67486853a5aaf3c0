"""Memoryless forms of rules with memory, and the rules that iterate them (2502.02132)."""

from __future__ import annotations

from collections.abc import Mapping

from gradlaw.rules.memoryless.form import CORRECTION, Memoryless, MemorylessRule
from gradlaw.rules.memoryless.momentum import HeavyBallForm, NesterovForm

_SHIPPED: tuple[Memoryless, ...] = (HeavyBallForm(), NesterovForm())

FORMS: Mapping[str, Memoryless] = {form.name: form for form in _SHIPPED}


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
