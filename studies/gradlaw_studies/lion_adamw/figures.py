"""All figures of the study."""

from __future__ import annotations

from gradlaw_studies.lion_adamw.draw_contest import CONTEST_FIGURES
from gradlaw_studies.lion_adamw.draw_memory import MEMORY_FIGURES

FIGURES = (*MEMORY_FIGURES, *CONTEST_FIGURES)
