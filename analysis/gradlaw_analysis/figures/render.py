"""A study's figures: drawn by the study with seaborn, in one theme, as images that need no other file."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd

if "matplotlib.pyplot" not in sys.modules:  # a notebook keeps the backend it chose
    mpl.use("agg")

import matplotlib.pyplot as plt
import seaborn as sns  # type: ignore[import-untyped]  # seaborn ships no types
from matplotlib.figure import Figure as Canvas

MAX_SVG_BYTES = 600_000
"""An SVG with more (many thousand points) is sent as PNG."""

# Colours that no palette has: each stands for one that follows the reader's light or dark scheme.
_INK, _GRID, _PAPER = "#010203", "#040506", "#070809"
# Besides them, black and the two greys that seaborn writes whatever the theme says.
_VARIABLES = {
    _INK: "ink", _GRID: "grid", _PAPER: "paper", "#000000": "ink", "#262626": "ink", "#333333": "ink",
}  # fmt: skip
_STYLE = (
    "<style>:root{--ink:#1f2328;--grid:#dfe3e8;--paper:#ffffff}"
    "@media (prefers-color-scheme: dark){:root{--ink:#d5dae1;--grid:#343b45;--paper:#171a20}}"
    "@media print{:root{--ink:#1f2328;--grid:#dfe3e8;--paper:#ffffff}}</style>"
)


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One image.

    Attributes:
        uri: ``data:`` address with the whole image in it.
        width: Width in CSS pixels at which it was drawn.
        scales: Whether it follows the reader's light or dark scheme; if not, it has a white ground.
    """

    uri: str
    width: int
    scales: bool


@contextmanager
def theme(ink: str = _INK, grid: str = _GRID, paper: str = _PAPER) -> Iterator[None]:
    """One look for all figures; colours that colour-blind readers can tell apart."""
    rc = {
        "axes.edgecolor": grid, "axes.labelcolor": ink, "axes.spines.right": False,
        "axes.spines.top": False, "axes.titlecolor": ink, "axes.titlesize": 11, "figure.dpi": 100,
        "figure.facecolor": "none", "axes.facecolor": "none", "grid.color": grid, "grid.linewidth": 0.8,
        "legend.edgecolor": grid, "legend.facecolor": paper, "legend.frameon": True,
        "legend.labelcolor": ink, "lines.linewidth": 1.6, "text.color": ink, "xtick.color": ink,
        "ytick.color": ink, "patch.edgecolor": paper, "svg.hashsalt": "gradlaw",
        "font.family": "DejaVu Sans", "font.size": 10, "figure.max_open_warning": 0,
    }  # fmt: skip
    with mpl.rc_context(), plt.ioff():
        sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", rc=rc, font_scale=0.9)
        yield


def draw(function: Callable[[Any], Any], rows: pd.DataFrame) -> Drawing:
    """Draws ``rows`` and closes what was drawn, whatever happens.

    Args:
        function: Of a :class:`gradlaw.figure.Figure`: from rows to a matplotlib Figure.
        rows: Its rows.

    Raises:
        TypeError: If the function returns anything but a matplotlib Figure.
        Exception: Whatever the function raises.
    """
    before = set(plt.get_fignums())
    try:
        with theme():
            figure = _drawn(function, rows)
            svg = _svg(figure)
        if len(svg) <= MAX_SVG_BYTES:
            return Drawing(uri=_uri("image/svg+xml", svg), width=_width(figure), scales=True)
        with theme(ink="#1f2328", grid="#dfe3e8", paper="#ffffff"):  # dots cannot follow a scheme
            figure = _drawn(function, rows)
            return Drawing(uri=_uri("image/png", _png(figure)), width=_width(figure), scales=False)
    finally:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)


def _drawn(function: Callable[[Any], Any], rows: pd.DataFrame) -> Canvas:
    figure = function(rows)
    if isinstance(figure, Canvas):
        return figure
    msg = f"a figure's draw must return a matplotlib Figure; got {type(figure).__name__}"
    raise TypeError(msg)


def _width(figure: Canvas) -> int:
    return round(figure.get_figwidth() * 96)


def _svg(figure: Canvas) -> bytes:
    buffer = io.StringIO()
    # Without a date the same rows give the same bytes.
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    opening = text.index(">") + 1
    return (text[:opening] + _STYLE + text[opening:]).encode()


def _png(figure: Canvas) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, bbox_inches="tight", facecolor="white")
    return buffer.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
