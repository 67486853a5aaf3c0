"""What lists, ranges, zips, samples and conditions stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlaw.hyperparameter import Scalar
from gradlaw.sweep.plan import plan_sweep
from gradlaw.sweep.read import read_sweep
from gradlaw.sweep.sampling import unit_points

Write = Callable[[str], Path]
BASE = "task: digits_softmax\nrule: adam\nsteps: 4\n"


def swept(path: Path, *names: str, **given: object) -> list[tuple[Scalar, ...]]:
    """The values of the plan's trials, in order, of one seed."""
    plan, _ = plan_sweep(path, **given)
    return [
        tuple(dict(member.hyperparameters, steps=member.trial.steps)[name] for name in names)
        for member in plan.members
    ]


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("[0.3, 1e-3, 2, 1.5E+0]", [0.3, 0.001, 2.0, 1.5]),
        ("{from: 0.1, to: 0.9, num: 9}", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        ("{from: 1e-4, to: 1, num: 5, scale: log}", [0.0001, 0.001, 0.01, 0.1, 1.0]),
        ("{from: 0, to: 0.35, step: 0.1}", [0.0, 0.1, 0.2, 0.3]),
        ("{from: 0, to: 0.3, step: 0.1}", [0.0, 0.1, 0.2, 0.3]),
        ("{from: 1e-3, to: 1, factor: 10}", [0.001, 0.01, 0.1, 1.0]),
        ("{from: 0.2, to: 1, factor: 2}", [0.2, 0.4, 0.8]),
    ],
)
def test_an_axis_of_numbers(sweep_file: Write, axis: str, values: list[float]) -> None:
    found = [value for (value,) in swept(sweep_file(f"{BASE}grid: {{lr: {axis}}}\n"), "lr")]
    assert found == values
    assert {type(value) for value in found} == {float}


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("{from: 8, to: 128, factor: 2}", [8, 16, 32, 64, 128]),
        ("{from: 8, to: 128, num: 5, scale: log}", [8, 16, 32, 64, 128]),
        ("{from: 10, to: 50, step: 20}", [10, 30, 50]),
    ],
)
def test_an_axis_of_whole_numbers(sweep_file: Write, axis: str, values: list[int]) -> None:
    found = [value for (value,) in swept(sweep_file(f"{BASE}grid: {{batch_size: {axis}}}\n"), "batch_size")]
    assert found == values
    assert {type(value) for value in found} == {int}


def test_the_trials_of_a_range_are_those_of_a_list(sweep_file: Write) -> None:
    ids = [
        {
            member.trial.trial_id
            for member in plan_sweep(sweep_file(f"{BASE}grid: {{lr: {axis}}}\n"))[0].members
        }
        for axis in ("{from: 0.1, to: 0.5, num: 5}", "[0.1, 0.2, 0.3, 0.4, 0.5]")
    ]
    assert ids[0] == ids[1]


def test_zips_go_together_and_grids_across(sweep_file: Write) -> None:
    path = sweep_file(
        BASE + "zip:\n  - {lr: [1, 2], eps: [3, 3]}\n  - {beta1: [0, 0.5], beta2: [0.1, 0.2]}\n"
        "grid: {weight_decay: [0, 1]}\nseeds: 3\n"
    )
    found = Counter(swept(path, "lr", "eps", "beta1", "beta2", "weight_decay"))
    assert found == {
        (lr, 3.0, *betas, decay): 3
        for lr in (1.0, 2.0)
        for betas in ((0.0, 0.1), (0.5, 0.2))
        for decay in (0.0, 1.0)
    }


@pytest.mark.parametrize("num_steps", ["7", "[5, 10, 20]"])
def test_conditions_keep_what_a_plain_loop_keeps(sweep_file: Write, num_steps: str) -> None:
    path = sweep_file(
        BASE.replace("4", num_steps)
        + "grid: {lr: [1, 2, 3], beta1: [0, 0.5], eps: [0.1, 0.2]}\nvalues: {beta2: 0.4}\n"
        "where:\n  - lr * steps <= 20\n  - beta1 < beta2 or lr != 2\n"
    )
    axis = [7] if num_steps == "7" else [5, 10, 20]
    expected = {
        (lr, beta1, eps, steps)
        for lr in (1.0, 2.0, 3.0)
        for beta1 in (0.0, 0.5)
        for eps in (0.1, 0.2)
        for steps in axis
        if lr * steps <= 20 and (beta1 < 0.4 or lr != 2)
    }
    found = swept(path, "lr", "beta1", "eps", "steps")
    assert sorted(found) == sorted(expected)
    assert plan_sweep(path)[1] == (
        f"{12 * len(axis) - len(expected)} of {12 * len(axis)} combinations left out by where",
    )


def test_only_what_a_condition_names_is_laid_out(sweep_file: Write) -> None:
    path = sweep_file(BASE + "grid: {lr: [1, 2], beta1: [0, 0.5], eps: [0.1, 0.2]}\nwhere: beta1 < lr\n")
    (grid,) = read_sweep(path).study.presets["sweep"].grids
    assert len(grid.points) == 4
    assert grid.values == {"eps": (0.1, 0.2)}


@given(st.sampled_from([1, 2, 7, 64, 100]), st.integers(1, 6), st.integers(0, 2**40))
def test_sobol_points_are_a_shifted_net(num: int, num_axes: int, seed: int) -> None:
    names = [f"axis{number}" for number in range(num_axes)]
    points = unit_points("sobol", names, num, seed)
    assert points.shape == (num, num_axes)
    assert ((points >= 0) & (points < 1)).all()
    power = 1 << (num.bit_length() - 1)  # the first of them are a net of their own
    cells = np.floor(points[:power] * power).astype(int)
    assert all(sorted(column) == list(range(power)) for column in cells.T)
    np.testing.assert_array_equal(points, unit_points("sobol", names, num, seed))
    assert (points != unit_points("sobol", names, num, seed + 1)).all()


def test_random_points_are_uniform_and_apart() -> None:
    points = unit_points("random", ["lr", "beta1"], 20_000, 3)
    counts = np.histogram2d(*points.T, bins=10, range=[[0, 1], [0, 1]])[0]
    chi2 = ((counts - 200.0) ** 2 / 200.0).sum()
    assert 60 < chi2 < 149, "chi-square with 99 degrees of freedom, 0.1% on either side"
    np.testing.assert_array_equal(points[:, 1:], unit_points("random", ["beta1"], 20_000, 3))


def test_a_sample_is_spread_over_its_ranges(sweep_file: Write) -> None:
    path = sweep_file(
        BASE + "sample:\n  num: 512\n  seed: 5\n  axes:\n    lr: {from: 1e-4, to: 1, scale: log}\n"
        "    batch_size: {from: 2, to: 9}\n    sampling: [iid, epoch]\n    beta1: {from: 0, to: 0.5}\n"
    )
    lrs, sizes, samplings, betas = zip(*swept(path, "lr", "batch_size", "sampling", "beta1"), strict=True)
    decades = Counter(np.floor(np.log10(lrs)).astype(int).tolist())
    assert decades == {-4: 128, -3: 128, -2: 128, -1: 128}
    assert Counter(sizes) == dict.fromkeys(range(2, 10), 64)
    assert Counter(samplings) == {"iid": 256, "epoch": 256}
    assert 0 <= min(betas) < 0.002
    assert 0.498 < max(betas) < 0.5


def test_points_drawn_twice_are_left_out_and_told(sweep_file: Write) -> None:
    path = sweep_file(BASE + "sample:\n  num: 8\n  method: random\n  axes: {lr: [1, 2], beta1: [0, 0.5]}\n")
    plan, notes = plan_sweep(path)
    drawn = {tuple(member.hyperparameters[name] for name in ("lr", "beta1")) for member in plan.members}
    assert len(list(plan.members)) == len(drawn) < 5
    assert notes == (f"{8 - len(drawn)} of 8 sampled points left out: drawn before",)


@pytest.mark.parametrize(
    ("given", "names", "expected"),
    [
        ({"lr": 5.0}, ("lr", "beta1"), {(5.0, 0.0), (5.0, 0.5)}),
        ({"lr": [4.0, 5.0]}, ("lr", "beta1"), {(4.0, 0.0), (4.0, 0.5), (5.0, 0.0), (5.0, 0.5)}),
        ({"beta1": 0.2}, ("lr", "beta1"), {(1.0, 0.2), (2.0, 0.2)}),
        ({"eps": 3}, ("lr", "eps"), {(1.0, 3.0), (2.0, 3.0)}),
        ({"steps": [1, 2]}, ("steps",), {(1,), (2,)}),
        ({"where": "lr > 1"}, ("lr",), {(2.0,)}),
        ({"rule": "sgd", "beta1": 0.5}, (), None),
    ],
)
def test_the_command_line_stands_in_place_of_the_file(
    sweep_file: Write, given: Mapping[str, object], names: tuple[str, ...], expected: set[tuple[Scalar, ...]]
) -> None:
    path = sweep_file(BASE + "zip: {lr: [1, 2], beta1: [0, 0.5]}\nwhere: beta1 < lr\nvalues: {eps: 0.1}\n")
    if expected is None:
        with pytest.raises(ValueError, match="command line: values: unknown hyperparameter 'beta1'"):
            plan_sweep(path, overrides=given)
        return
    assert set(swept(path, *names, overrides=given)) == expected
