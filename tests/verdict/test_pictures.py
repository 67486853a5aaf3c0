"""Pictures: positions against hand values, drawings that close what they open."""

from __future__ import annotations

import base64
import math
from xml.etree import ElementTree as ET

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure as Canvas

from gradlaw.claim import AllBelow, Distribution, Mean, Statistic, Survival, Trend
from gradlaw_analysis.figures import render
from gradlaw_analysis.figures.interval import interval_picture, interval_svg
from gradlaw_analysis.figures.zones import zones

EQUAL = Mean(target=1.0, margin=0.5, sd=1.0)
ABOVE = Mean(target=0.0, margin=0.5, sd=1.0, direction="greater")
BELOW = Mean(target=0.0, margin=0.5, sd=1.0, direction="less")


@pytest.mark.parametrize(
    ("test", "holds", "tolerated"),
    [
        (EQUAL, (0.5, 1.5), (0.5, 1.5)),
        (ABOVE, (0.0, math.inf), (-0.5, math.inf)),
        (BELOW, (-math.inf, 0.0), (-math.inf, 0.5)),
        (AllBelow(bound=2.0), (0.0, 2.0), (0.0, 2.0)),
        (Distribution(reference={"a": 1.0}, reference_seeds=9, margin=0.1), (0.0, 0.1), (0.0, 0.1)),
        (Trend(direction="less", num_levels=3), (-math.inf, 0.0), (-math.inf, 0.0)),
        (Survival(arms=("a", "b"), direction="greater", horizon=9.0), (0.0, math.inf), (0.0, math.inf)),
    ],
)
def test_zones_are_those_of_the_test(
    test: Statistic, holds: tuple[float, float], tolerated: tuple[float, float]
) -> None:
    found = zones(test)
    assert (found.holds, found.tolerated) == (holds, tolerated)


def test_standard_axis_spans_three_margins() -> None:
    picture = interval_picture(zones(EQUAL), 1.25, (0.75, 9.0), standard=True)  # axis -0.5 to 2.5
    assert picture.target == pytest.approx(0.5)
    assert picture.holds == pytest.approx((1 / 3, 2 / 3))
    assert picture.estimate == pytest.approx(1.75 / 3)
    assert picture.interval == pytest.approx((1.25 / 3, 1.0))
    assert picture.open_ends == (False, True)
    assert not picture.off_axis
    assert picture.between is None


def test_an_estimate_past_the_axis_is_marked() -> None:
    assert interval_picture(zones(EQUAL), 7.0, (6.0, 8.0), standard=True).off_axis
    assert not interval_picture(zones(EQUAL), 7.0, (6.0, 8.0)).off_axis


@given(
    estimate=st.floats(-1e6, 1e6),
    half=st.floats(0, 1e6) | st.just(math.inf),
    test=st.sampled_from([EQUAL, ABOVE, BELOW, AllBelow(bound=1e-9), Trend(direction="less", num_levels=3)]),
    standard=st.booleans(),
)
def test_everything_stays_on_the_axis(estimate: float, half: float, test: Statistic, standard: bool) -> None:
    picture = interval_picture(zones(test), estimate, (estimate - half, estimate + half), standard=standard)
    positions = [at for at, _ in picture.ticks]
    assert all(0 <= at <= 1 for at in positions)
    assert positions == sorted(positions)
    assert 2 <= len(positions) <= 8
    assert len({label for _, label in picture.ticks}) == len(positions) or abs(estimate) > 100
    for span in (picture.holds, picture.between, picture.interval):
        assert span is None or 0 <= span[0] <= span[1] <= 1
    root = ET.fromstring(interval_svg(picture, label="x"))
    assert root.tag == "svg"


def test_drawings_are_closed_whatever_happens() -> None:
    def fail(rows: pd.DataFrame) -> Canvas:
        plt.subplots()
        plt.subplots()
        raise ArithmeticError

    another = plt.figure()
    held = plt.get_fignums()
    with pytest.raises(ArithmeticError):
        render.draw(fail, pd.DataFrame())
    assert plt.get_fignums() == held
    plt.close(another)


def test_a_figure_must_be_a_figure() -> None:
    held = plt.get_fignums()
    with pytest.raises(TypeError, match="must return a matplotlib Figure; got Axes"):
        render.draw(lambda rows: plt.subplots()[1], pd.DataFrame())
    assert plt.get_fignums() == held


def test_many_points_become_dots_on_white(monkeypatch: pytest.MonkeyPatch) -> None:
    def scatter(rows: pd.DataFrame) -> Canvas:
        figure, axes = plt.subplots(figsize=(3, 2))
        axes.plot(rows["x"], rows["x"] ** 2, "o")
        return figure

    rows = pd.DataFrame({"x": np.linspace(0, 1, 500)})
    first, again = render.draw(scatter, rows), render.draw(scatter, rows)
    assert first == again
    assert first.scales
    monkeypatch.setattr(render, "MAX_SVG_BYTES", 10_000)
    drawing = render.draw(scatter, rows)
    assert (drawing.scales, drawing.width) == (False, 288)
    png = base64.b64decode(drawing.uri.partition("base64,")[2])
    assert png.startswith(b"\x89PNG\r\n\x1a\n")


def test_the_theme_leaves_no_trace() -> None:
    before = dict(plt.rcParams)
    with render.theme():
        assert plt.rcParams["text.color"] != before["text.color"]
    assert dict(plt.rcParams) == before
