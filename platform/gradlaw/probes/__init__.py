"""Probes that ship with the platform, one a file, and their registry. Studies bring their own."""

from __future__ import annotations

from gradlaw.probe import Probe
from gradlaw.probes.effective_lr import EffectiveLR
from gradlaw.probes.gradient_norm import GradientNorm
from gradlaw.probes.losses import FullLoss
from gradlaw.probes.noise_scale import NoiseScale
from gradlaw.probes.parameter_max import ParameterMax
from gradlaw.probes.parameter_norm import ParameterNorm
from gradlaw.probes.preconditioned_sharpness import PreconditionedSharpness
from gradlaw.probes.sharpness import Sharpness
from gradlaw.probes.update_norm import UpdateNorm
from gradlaw.probes.weights import Weights

PROBES: dict[str, type[Probe]] = {
    probe.name: probe
    for probe in (
        FullLoss,
        GradientNorm,
        UpdateNorm,
        ParameterNorm,
        ParameterMax,
        EffectiveLR,
        NoiseScale,
        Sharpness,
        PreconditionedSharpness,
        Weights,
    )
}
