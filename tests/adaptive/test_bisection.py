"""Bisection of an edge against a threshold that is known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlaw.adaptive.ask import Outcome, holds
from gradlaw.adaptive.bisection import next_values
from gradlaw.ending import Target
from gradlaw.space import Edge
from gradlaw.trial import State


def search(edge: Edge, threshold: float) -> list[tuple[float, bool | None]]:
    """Everything tried where exactly the values below a threshold hold."""
    tried: list[tuple[float, bool | None]] = []
    while values := next_values(edge, tried):
        tried += [(value, value < threshold) for value in values]
    return tried


@given(
    st.floats(1e-6, 1.0),
    st.floats(1.1, 1e6),
    st.integers(1, 12),
    st.floats(0.001, 0.999),
)
def test_the_threshold_is_bracketed_to_the_resolution(
    low: float, ratio: float, halvings: int, share: float
) -> None:
    edge = Edge(low=low, high=low * ratio, halvings=halvings)
    threshold = low * ratio**share
    tried = search(edge, threshold)
    assert len(tried) == 2 + halvings
    held = max(value for value, is_held in tried if is_held)
    failed = min(value for value, is_held in tried if not is_held)
    assert held < threshold <= failed
    assert failed / held == pytest.approx(edge.resolution, rel=1e-9)
    assert edge.resolution == pytest.approx(ratio ** (1 / 2**halvings), rel=1e-12)


def test_values_are_halvings_of_the_logarithm_exactly() -> None:
    tried = search(Edge(low=2.0**-8, high=2.0**8, halvings=4), threshold=5.0)
    assert [value for value, _ in tried] == [2.0**-8, 2.0**8, 1.0, 16.0, 4.0, 8.0]


@pytest.mark.parametrize("threshold", [0.5, 100.0])
def test_ends_that_do_not_bracket_end_the_search(threshold: float) -> None:
    tried = search(Edge(low=1.0, high=16.0, halvings=5), threshold)
    assert [value for value, _ in tried] == [1.0, 16.0]


def test_a_trial_that_ended_otherwise_ends_the_search() -> None:
    edge = Edge(low=1.0, high=16.0, halvings=5)
    assert next_values(edge, [(1.0, None), (16.0, False)]) == ()
    assert next_values(edge, [(1.0, True), (16.0, None)]) == ()
    assert next_values(edge, [(1.0, True), (16.0, False), (4.0, None)]) == ()


@pytest.mark.parametrize(
    ("outcome", "fails", "expected"),
    [
        (Outcome(state=State.DONE), None, True),
        (Outcome(state=State.REACHED_TARGET), None, True),
        (Outcome(state=State.DIVERGED), None, False),
        (Outcome(state=State.FAILED), None, None),
        (Outcome(state=State.SKIPPED), None, None),
        (Outcome(state=State.OUT_OF_MEMORY), None, None),
        (Outcome(state=State.DONE, last={"loss": 1.0}), Target(metric="loss", value=1.0), False),
        (Outcome(state=State.DONE, last={"loss": 1.1}), Target(metric="loss", value=1.0), True),
        (
            Outcome(state=State.DONE, last={"loss": 1.0}),
            Target(metric="loss", value=1.0, direction="above"),
            False,
        ),
        (
            Outcome(state=State.DONE, last={"loss": 0.9}),
            Target(metric="loss", value=1.0, direction="above"),
            True,
        ),
        (Outcome(state=State.DONE, last={"loss": math.nan}), Target(metric="loss", value=1.0), False),
        (Outcome(state=State.DONE), Target(metric="loss", value=1.0), False),
    ],
)
def test_what_holds(outcome: Outcome, fails: Target | None, expected: bool | None) -> None:
    assert holds(outcome, fails) is expected
