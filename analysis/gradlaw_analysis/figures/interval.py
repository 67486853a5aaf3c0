"""The picture of one estimate: where the claim holds, the interval, the point. Computed, then drawn.

The drawing is SVG whose colours are the page's CSS variables, so that it follows light, dark and print.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradlaw_analysis.figures.numbers import number
from gradlaw_analysis.figures.zones import Zones

Span = tuple[float, float]

_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)
_STANDARD_WIDTH = 3.0  # margins to either side in pictures that are compared


@dataclass(frozen=True, kw_only=True)
class IntervalPicture:
    """What is drawn, on an axis that runs from 0 (left) to 1 (right).

    Attributes:
        holds: Where the claim holds, clipped to the axis; None if it is off the axis.
        between: Where the claim is missed by no more than its margin; None if there is no such zone.
        target: Position of the target; None off the axis.
        interval: Ends of the confidence interval, clipped; None without one.
        open_ends: Whether the interval goes on past the left and the right end.
        estimate: Position of the estimate, clipped; None without one.
        off_axis: Whether the estimate lies past an end.
        ticks: Position and label of each tick.
    """

    holds: Span | None
    between: Span | None
    target: float | None
    interval: Span | None
    open_ends: tuple[bool, bool]
    estimate: float | None
    off_axis: bool
    ticks: tuple[tuple[float, str], ...]


def interval_picture(
    zones: Zones, estimate: float | None, interval: Span | None, *, standard: bool = False
) -> IntervalPicture:
    """Lays out one estimate.

    Args:
        zones: The claim's.
        estimate: The effect; None without data.
        interval: Its confidence interval; None without one.
        standard: Show three margins to either side of the target, whatever the data, so that claims
            can be compared; claims without a margin get an axis of their own all the same.
    """
    low, high = _axis(zones, estimate, interval, standard=standard)

    def at(value: float) -> float:
        return min(1.0, max(0.0, (value - low) / (high - low)))

    def clip(span: Span) -> Span | None:
        clipped = at(span[0]), at(span[1])
        return clipped if clipped[1] > clipped[0] else None

    return IntervalPicture(
        holds=clip(zones.holds),
        between=clip(zones.tolerated) if zones.tolerated != zones.holds else None,
        target=at(zones.target) if low <= zones.target <= high else None,
        interval=(at(interval[0]), at(interval[1])) if interval else None,
        open_ends=(interval[0] < low, interval[1] > high) if interval else (False, False),
        estimate=None if estimate is None else at(estimate),
        off_axis=estimate is not None and not low <= estimate <= high,
        ticks=tuple((at(tick), number(tick)) for tick in _ticks(low, high)),
    )


def _axis(zones: Zones, estimate: float | None, interval: Span | None, *, standard: bool) -> Span:
    if standard and zones.margin:
        width = _STANDARD_WIDTH * zones.margin
        return zones.target - width, zones.target + width
    marks = [zones.target, *zones.holds, *zones.tolerated, *(interval or ())]
    marks += [] if estimate is None else [estimate]
    finite = [mark for mark in marks if math.isfinite(mark)]
    low, high = min(finite), max(finite)
    if high == low:
        low, high = low - 1.0, high + 1.0
    pad = 0.12 * (high - low)
    return low - pad, high + pad


def _ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers inside the axis."""
    raw = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(nice * power for nice in _NICE if nice * power >= raw * 0.999)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(index * step, 12 - math.floor(math.log10(step))) for index in range(first, last + 1)]


def interval_svg(picture: IntervalPicture, *, label: str, width: int = 640, axis: bool = True) -> str:
    """Draws a picture as one ``<svg>`` element.

    Args:
        picture: What to draw.
        label: Read aloud in place of the picture; must not need escaping.
        width: In CSS pixels.
        axis: Whether to draw ticks below.
    """
    inner, bar = width - 16, 34.0 if axis else 20.0
    height = bar + 20 if axis else bar

    def x(position: float) -> str:
        return f"{8 + position * inner:.1f}"

    def zone(span: Span | None, kind: str) -> str:
        if span is None:
            return ""
        length = (span[1] - span[0]) * inner
        return f'<rect class="{kind}" x="{x(span[0])}" y="0" width="{length:.1f}" height="{bar:g}"/>'

    middle = bar / 2
    parts = [
        f'<rect class="outside" x="8" y="0" width="{inner}" height="{bar:g}"/>',
        zone(picture.between, "between"),
        zone(picture.holds, "holds"),
    ]
    if picture.target is not None:
        parts.append(
            f'<line class="target" x1="{x(picture.target)}" x2="{x(picture.target)}" y1="0" y2="{bar:g}"/>'
        )
    if picture.interval is not None:
        parts += _whiskers(picture, [x(end) for end in picture.interval], middle, 6.0 if axis else 4.0)
    if picture.estimate is not None:
        kind = "estimate off" if picture.off_axis else "estimate"
        parts.append(f'<circle class="{kind}" cx="{x(picture.estimate)}" cy="{middle:g}" r="4"/>')
    if axis:
        parts += [
            f'<line class="tick" x1="{x(at)}" x2="{x(at)}" y1="{bar:g}" y2="{bar + 4:g}"/>'
            f'<text class="tick" x="{x(at)}" y="{bar + 16:g}" text-anchor="middle">{text}</text>'
            for at, text in picture.ticks
        ]
    return (
        f'<svg class="interval" role="img" aria-label="{label}" viewBox="0 0 {width} {height:g}" '
        f'width="{width}" height="{height:g}">{"".join(parts)}</svg>'
    )


def _whiskers(picture: IntervalPicture, ends: list[str], middle: float, size: float) -> list[str]:
    """The interval's line, with a cap at each end, or an arrow where it goes on past the axis."""
    parts = [f'<line class="ci" x1="{ends[0]}" x2="{ends[1]}" y1="{middle:g}" y2="{middle:g}"/>']
    for end, is_open, sign in zip(ends, picture.open_ends, (-1, 1), strict=True):
        if is_open:
            tip, base = float(end) + sign * 6, float(end) - sign * 1
            parts.append(
                f'<path class="arrow" d="M{tip:.1f} {middle:g} L{base:.1f} {middle - size:g} '
                f'L{base:.1f} {middle + size:g} Z"/>'
            )
        else:
            parts.append(
                f'<line class="ci" x1="{end}" x2="{end}" y1="{middle - size:g}" y2="{middle + size:g}"/>'
            )
    return parts
