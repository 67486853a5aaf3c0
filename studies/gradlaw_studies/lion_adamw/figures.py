"""All figures of the study."""

from __future__ import annotations

from gradlaw.figure import Figure

FIGURES: tuple[Figure, ...] = ()
