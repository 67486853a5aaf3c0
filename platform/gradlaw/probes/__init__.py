"""Probes that ship with the platform, one a file, and their registry. Studies bring their own."""

from __future__ import annotations

from gradlaw.probe import Probe
from gradlaw.probes.gradient_norm import GradientNorm
from gradlaw.probes.losses import FullLoss

PROBES: dict[str, type[Probe]] = {probe.name: probe for probe in (FullLoss, GradientNorm)}
