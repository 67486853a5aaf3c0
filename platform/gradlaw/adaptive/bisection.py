"""Bisection of an edge: which value is tried next, given which held."""

from __future__ import annotations

from collections.abc import Sequence

from gradlaw.space import Edge, between

Tried = Sequence[tuple[float, bool | None]]
"""Values in the order in which they were asked for, each with whether it held; None: it ended otherwise."""


def next_values(edge: Edge, tried: Tried) -> tuple[float, ...]:
    """The values to try next; none where the search has ended.

    Args:
        edge: The axis.
        tried: What was tried for one combination and seed.

    >>> edge = Edge(low=1.0, high=16.0, halvings=2)
    >>> next_values(edge, ()), next_values(edge, ((1.0, True), (16.0, False)))
    ((1.0, 16.0), (4.0,))
    >>> next_values(edge, ((1.0, True), (16.0, False), (4.0, True)))
    (8.0,)
    >>> next_values(edge, ((1.0, True), (16.0, True)))
    ()
    """
    if not tried:
        return float(edge.low), float(edge.high)
    (low, low_holds), (high, high_holds), *halved = tried
    if not low_holds or high_holds is not False or len(halved) >= edge.halvings:
        return ()
    for value, held in halved:
        if held is None:
            return ()
        low, high = (value, high) if held else (low, value)
    middle = between(low, high)
    return (middle,) if low < middle < high else ()
