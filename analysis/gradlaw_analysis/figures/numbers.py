"""Numbers as text, with as many digits as their interval allows."""

from __future__ import annotations

import math


def decimals(low: float | None, high: float | None) -> int | None:
    """Decimals that show an interval's half-width with two digits; None: no finite interval.

    >>> decimals(0.98, 1.02), decimals(980.0, 1020.0)
    (3, 0)
    """
    if low is None or high is None or not math.isfinite(high - low) or high <= low:
        return None
    return max(0, 1 - math.floor(math.log10((high - low) / 2)))


def number(value: float | None, places: int | None = None) -> str:
    """A number to read: ``places`` decimals if they say enough, else four significant digits.

    >>> number(-0.50213, 4), number(0.1), number(1.5e-9, 10), number(None), number(float("inf"))
    ('-0.5021', '0.1', '1.5e-09', '-', 'inf')
    """
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if places is None or places > 6 or abs(value) >= 1e6:
        return f"{value:.4g}"
    text = f"{value:.{places}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def p_text(p: float | None) -> str:
    """A p value.

    >>> p_text(0.0321), p_text(0.00002), p_text(1.0), p_text(None)
    ('0.032', '<0.0001', '1', '-')
    """
    if p is None:
        return "-"
    return "<0.0001" if p < 1e-4 else f"{p:.2g}"
