"""The presets hold what the claims ask for, and the figures draw their rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from study_parts import crossed

import gradlaw
import gradlaw_studies.schedules
from gradlaw.claim import PairedDifference, Scalar, Trend
from gradlaw.rules.adam import BETA2
from gradlaw.schedules import LinearWarmup, MomentWarmup
from gradlaw.space import Edge
from gradlaw.studies import StudyFolder
from gradlaw.study import Grid
from gradlaw.trial import State
from gradlaw_analysis.catalog import Catalog
from gradlaw_analysis.figures.render import draw
from gradlaw_analysis.sample_sql import bind
from gradlaw_studies.schedules.claims import CLAIMS
from gradlaw_studies.schedules.figures import FIGURES
from gradlaw_studies.schedules.grids import HELD_OUT, adam_points, sgd_points
from gradlaw_studies.schedules.law import matching_warmup, scaled
from gradlaw_studies.schedules.study import ADAM, STUDY

mpl.use("agg")

FOLDER = StudyFolder(Path(gradlaw_studies.schedules.__file__).parent, "gradlaw_studies.schedules")

DECIDING = [name for name, preset in STUDY.presets.items() if preset.decides]


@pytest.mark.slow
def test_the_smoke_preset_runs_its_searches_and_every_query_and_figure_takes_its_rows(tmp_path: Path) -> None:
    summary = gradlaw.run(
        "schedules", preset="smoke", seeds=1, store=tmp_path, launcher="inline", compile="never"
    )
    assert summary.complete
    assert set(summary.states) <= {State.DONE, State.DIVERGED}
    assert sum(summary.states.values()) == summary.trials_planned
    catalog = Catalog(tmp_path)
    with catalog.connection(summary.plan_id) as connection:
        assert connection.execute("SELECT DISTINCT kind FROM plans").fetchall() == [("smoke",)]
        asked = connection.execute(
            "SELECT count(*) FROM trials JOIN plans USING (trial_id) WHERE role = 'edge' "
            "GROUP BY task, rule, schedule, warmup_steps"
        ).fetchall()
        assert len(asked) == 3 + 3 + 2 + 2  # lengths of warm-up by rule, the factor, the quadratic
        assert {number for (number,) in asked} <= {2, 4}  # the ends, and both halvings if they bracket
        assert (4,) in asked

        def ask(sql: str, parameters: Mapping[str, Scalar]) -> pd.DataFrame:
            return connection.execute(bind(FOLDER.sql(sql), parameters, sql)).df()

        items = [*CLAIMS, *(control for claim in CLAIMS for control in claim.controls)]
        samples = {(item.sql, *item.parameters.items()): item for item in items}
        for item in samples.values():
            assert set(ask(item.sql, item.parameters).get("seed", [])) <= {0}
        for gate in {claim.gate.sql: claim.gate for claim in CLAIMS if claim.gate}.values():
            assert ask(gate.sql, gate.parameters)["passed"].any()
        for figure in FIGURES:
            rows = ask(figure.sql, figure.parameters)
            assert len(rows)
            assert len(draw(figure.draw, rows).uri) > 1000


def searched(preset: str) -> list[Grid]:
    return [grid for grid in STUDY.presets[preset].grids if isinstance(grid.values.get("lr"), Edge)]


@pytest.mark.parametrize("preset", list(STUDY.presets))
def test_every_length_of_warmup_is_followed_by_as_many_steps(preset: str) -> None:
    for grid in searched(preset):
        if grid.schedule is LinearWarmup:
            held = {int(point["steps"]) - int(point["warmup_steps"]) for point in grid.points}
            assert len(held) == 1
        assert grid.log_every >= max(int(point["steps"]) for point in grid.points)  # the ends alone


@pytest.mark.parametrize("preset", DECIDING)
def test_the_factor_is_matched_by_the_longest_warmup_and_runs_as_long(preset: str) -> None:
    lengths: dict[str, list[int]] = defaultdict(list)
    factors = {}
    for grid in searched(preset):
        if grid.schedule is MomentWarmup:
            (factors[grid.rule.name],) = grid.points
        elif grid.task.name == "digits_mlp":
            lengths[grid.rule.name] += [int(point["warmup_steps"]) for point in grid.points]
    assert set(factors) == set(lengths) == {"sgd", "adam"}
    trends = [claim.test for claim in CLAIMS if isinstance(claim.test, Trend)]
    for rule, point in factors.items():
        longest = max(lengths[rule])
        assert longest == pytest.approx(matching_warmup(float(point["beta2"])), rel=0.2)
        assert {int(other["steps"]) for grid in searched(preset) for other in grid.points} >= {point["steps"]}
        assert 0 in lengths[rule]
        assert all(len(lengths[rule]) >= test.num_levels for test in trends)


def test_the_factor_has_adams_own_beta2() -> None:
    assert MomentWarmup.hyperparameters == (BETA2,)  # one name, one meaning in a grid with Adam


@pytest.mark.parametrize("preset", DECIDING)
def test_the_quadratics_edge_lies_inside_its_ends(preset: str) -> None:
    """2 / lambda_max of the images' second moments is 0.11 to 0.13 for any split."""
    (grid,) = (grid for grid in searched(preset) if grid.task.name == "digits_squares")
    edge = grid.values["lr"]
    assert isinstance(edge, Edge)
    assert edge.low < 0.1 < 0.14 < edge.high
    assert edge.resolution < 1.08  # its middle is within 4% of what it encloses
    assert grid.values["test_share"] == HELD_OUT


@pytest.mark.parametrize("preset", list(STUDY.presets))
def test_scaled_runs_see_the_same_examples_and_log_at_the_same(preset: str) -> None:
    seen = set()
    for grid in STUDY.presets[preset].grids:
        if any(probe.name == "noise_scale" for probe in grid.probes):
            batch, steps = grid.values["batch_size"], grid.steps
            assert isinstance(batch, int)
            assert isinstance(steps, int)
            assert steps % grid.log_every == 0
            seen.add((batch * steps, batch * grid.log_every))
    assert len(seen) == 1


def test_the_rules_of_the_claims_are_all_trained() -> None:
    assert len(sgd_points(0.1, 4)) == 4
    assert len(adam_points(ADAM, 4)) == 7
    assert scaled(ADAM, 4, power=0.5, memory=True)._asdict() in adam_points(ADAM, 4)
    assert adam_points(ADAM, 1) == (ADAM._asdict(),)
    assert sgd_points(0.1, 1) == ({"lr": 0.1},)


def test_every_claim_is_shown_once_and_has_a_gate_and_controls() -> None:
    shown = [name for figure in FIGURES for name in figure.claims]
    assert sorted(shown) == sorted(claim.name for claim in CLAIMS)
    assert all(claim.gate and claim.controls for claim in CLAIMS)


def test_a_claim_of_parts_names_as_many_others() -> None:
    for claim in CLAIMS:
        for item in (claim, *claim.controls):
            if "others" in item.parameters:
                assert isinstance(item.test, PairedDifference)
                assert len(str(item.parameters["others"]).split(",")) == item.test.num_parts


ROWS = {
    "figure_edges.sql": pd.concat(
        [
            crossed(
                seed=[0, 1], rule=["sgd", "adam"], schedule=["linear_warmup"], warmup_steps=[0, 1, 2]
            ).assign(edge=lambda rows: 2.0 + rows["warmup_steps"] + rows["seed"]),
            crossed(seed=[0, 1], rule=["sgd"], schedule=["moment_warmup"], warmup_steps=[0]).assign(edge=3.0),
        ]
    ),
    "figure_paths.sql": crossed(rule=["sgd", "adam"], lr=[0.1, 3.0], warmup_steps=[0, 8], step=[4, 8]).assign(
        num_seeds=2, ratio=lambda rows: rows["lr"] / rows["step"]
    ),
    "figure_decays.sql": crossed(
        task=["digits_mlp", "digits_softmax"],
        shape=["constant", "cosine", "step", "inverse time", "rising"],
        lr=[0.5, 1.0, 2.0],
    ).assign(num_seeds=2, loss=lambda rows: rows["lr"] + 1 / rows["lr"]),
    "figure_scaling.sql": pd.concat(
        [
            crossed(rule=["sgd", "adam"], arm=["repeat"], factor=[1], seed=[0, 1]),
            crossed(rule=["sgd", "adam"], arm=["none", "root with betas"], factor=[2, 4], seed=[0, 1]),
        ]
    ).assign(distance=lambda rows: 0.1 * rows["factor"] * 3.0 ** rows["seed"]),
}


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_figures_draw_their_rows(figure: Any) -> None:
    assert len(draw(figure.draw, ROWS[figure.sql]).uri) > 1000


def lines(name: str, panel: int) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    figure = next(item for item in FIGURES if item.name == name)
    canvas = figure.draw(ROWS[figure.sql])
    return [np.asarray(line.get_ydata(), dtype=float) for line in canvas.axes[panel].lines]


def test_the_figure_of_edges_draws_the_geometric_mean_over_seeds() -> None:
    drawn = np.concatenate(lines("largest_stable_lr", 0))
    for length in (0, 1, 2):
        assert np.isclose(drawn, np.sqrt((2.0 + length) * (3.0 + length))).any()


def test_the_figure_of_scaling_draws_means_over_seeds_and_the_base_again() -> None:
    drawn = lines("scaling_rules", 1)
    assert any(np.allclose(line, [0.4, 0.8]) for line in drawn)
    assert any(np.allclose(line, 0.2) for line in drawn)
