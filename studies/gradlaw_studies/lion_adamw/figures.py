"""All figures of the study."""

from __future__ import annotations

from gradlaw_studies.lion_adamw.draw_contest import CONTEST_FIGURES

FIGURES = (*CONTEST_FIGURES,)
