"""Pictures of a report: computed first, then drawn."""

from gradlaw_analysis.figures.interval import IntervalPicture, interval_picture, interval_svg
from gradlaw_analysis.figures.render import Drawing, draw

__all__ = ["Drawing", "IntervalPicture", "draw", "interval_picture", "interval_svg"]
