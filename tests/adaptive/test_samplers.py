"""Samplers against scipy, the nets that Sobol points are, and chance."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import optuna
import pytest
from scipy import stats
from scipy.stats import qmc

from gradlaw.adaptive.samplers import Configuration, Tried, configuration, propose, sobol_points
from gradlaw.fingerprint import digest
from gradlaw.space import Choices, Range
from gradlaw.study import Search

SPACE = {"x": Range(low=-2.0, high=3.0), "y": Range(low=1e-4, high=10.0, log=True)}


def search(sampler: str, budget: int, **how: object) -> Search:
    return Search(name="s", arms=(), budget=budget, metric="loss", sampler=sampler, **how)


def bowl(values: Configuration) -> float | None:
    """Least at x = 1, y = 0.01; no result at large y."""
    x, y = float(values["x"]), float(values["y"])
    return None if y > 5.0 else (x - 1.0) ** 2 + (math.log10(y) + 2.0) ** 2


def tune(of: Search, identity: object, score: Callable[[Configuration], float | None] = bowl) -> list[Tried]:
    tried: list[Tried] = []
    while found := propose(of, SPACE, tried, identity):
        tried += [Tried(values, score(values)) for values in found]
    return tried


def best(tried: list[Tried]) -> float:
    return min(item.score for item in tried if item.score is not None)


def test_sobol_points_are_those_of_scipy() -> None:
    seed = int(digest(["sobol", "name"], length=8), 16)
    engine = qmc.Sobol(d=3, scramble=True, rng=seed)
    engine.fast_forward(8)
    np.testing.assert_array_equal(sobol_points(3, 8, 8, "name"), engine.random(8))


def test_sobol_points_are_a_net() -> None:
    """Of 2^m points one lies in each elementary interval (Niederreiter): here of both axes, in 2^-5."""
    points = sobol_points(2, 0, 32, "net")
    for column in points.T:
        assert sorted((column * 32).astype(int)) == list(range(32))
    halves = Counter(map(tuple, (points * [4, 8]).astype(int)))
    assert set(halves.values()) == {1}


def test_sobol_and_random_ask_for_the_whole_budget_at_once() -> None:
    for sampler in ("sobol", "random"):
        found = propose(search(sampler, 20), SPACE, [], "names")
        assert len(found) == 20
        assert all(-2 <= item["x"] <= 3 and 1e-4 <= item["y"] <= 10 for item in found)
        assert propose(search(sampler, 20), SPACE, [Tried(item, None) for item in found], "names") == []


def test_where_points_lie_in_a_space() -> None:
    assert configuration(SPACE, [0.0, 0.0]) == {"x": -2.0, "y": pytest.approx(1e-4)}
    assert configuration(SPACE, [0.5, 0.8]) == {"x": 0.5, "y": pytest.approx(1.0)}
    choices = {"c": Choices(values=("a", "b", "c"))}
    assert [configuration(choices, [share])["c"] for share in (0.0, 0.34, 0.67, 1.0)] == ["a", "b", "c", "c"]


def test_whole_numbers_are_equally_likely() -> None:
    space = {"n": Range(low=1, high=4, whole=True)}
    drawn = [configuration(space, [share])["n"] for share in (np.arange(4000) + 0.5) / 4000]
    assert Counter(drawn) == {1: 1000, 2: 1000, 3: 1000, 4: 1000}
    logarithmic = {"n": Range(low=1, high=64, log=True, whole=True)}
    assert {configuration(logarithmic, [share])["n"] for share in np.linspace(0, 1, 999)} == set(range(1, 65))


def test_what_is_asked_hangs_on_names_and_on_what_was_tried_alone() -> None:
    of = search("tpe", 12, per_round=4)
    np.random.seed(1)  # noqa: NPY002 - what must not matter
    first = tune(of, ["study", "arm"])
    np.random.seed(2)  # noqa: NPY002
    assert tune(of, ["study", "arm"]) == first
    assert propose(of, SPACE, first[:8], ["study", "arm"]) == [item.values for item in first[8:]]
    assert tune(of, ["study", "other"])[0] != first[0]
    other = [Tried(item.values, None if item.score is None else -item.score) for item in first[:8]]
    assert propose(search("tpe", 40, per_round=4), SPACE, other * 3, "a") != propose(
        search("tpe", 40, per_round=4), SPACE, first[:8] * 3, "a"
    ), "results matter"


def test_optuna_is_left_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    level = optuna.logging.get_verbosity()
    with caplog.at_level(logging.DEBUG):
        propose(search("tpe", 4), SPACE, [], "names")
    assert optuna.logging.get_verbosity() == level
    assert not caplog.records


def test_configurations_of_one_round_are_kept_apart() -> None:
    """Of the constant liar: a round of eight does not ask eight times for one place."""
    tried = tune(search("tpe", 16, per_round=8), "liar")
    found = propose(search("tpe", 24, per_round=8), SPACE, tried, "liar")
    assert len({item["x"] for item in found}) == 8


def test_tpe_finds_better_than_chance() -> None:
    """Budgets of 40 on a quadratic, of which a part has no result: paired over names."""
    pairs = [
        (best(tune(search("tpe", 40, per_round=8), number)), best(tune(search("random", 40), number)))
        for number in range(20)
    ]
    tpe, chance = np.array(pairs).T
    assert stats.wilcoxon(tpe, chance, alternative="less").pvalue < 1e-3
    assert np.median(tpe) < 0.5 * np.median(chance)


def test_tpe_goes_up_where_it_is_told_to() -> None:
    def up(values: Configuration) -> float | None:
        found = bowl(values)
        return None if found is None else -found

    tried = tune(search("tpe", 48, per_round=8, direction="above"), "up", up)
    scores = [item.score for item in tried if item.score is not None]
    assert np.median(scores[-12:]) > np.median(scores[:12])
