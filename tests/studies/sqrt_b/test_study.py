import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas
from study_parts import crossed, results_of

from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.planning.plan import make_plan
from gradlaw.trial import State
from gradlaw_analysis.figures.render import draw
from gradlaw_studies.sqrt_b.claims import UNCORRECTED
from gradlaw_studies.sqrt_b.figures import FIGURES
from gradlaw_studies.sqrt_b.study import DEMO, PAPER, STUDY

mpl.use("agg")


@pytest.mark.slow
def test_the_smoke_preset_runs_and_fills_every_table():
    plan = make_plan(STUDY, "smoke", seeds=1)
    recorder, states = MemoryRecorder(), []
    for pack in plan.packs:
        states += [result.state for result in results_of(pack, recorder)]
    assert states == [State.DONE] * len(list(plan.members))
    for table in STUDY.tables():
        assert len(recorder.rows(table.name)["step"]) > 0


def test_deciding_presets_take_at_least_two_thousand_draws():
    for preset in (DEMO, PAPER):
        laws = [probe for grid in preset.grids for probe in grid.probes if probe.name == "square_root_law"]
        assert len(laws) == 3
        assert all(law.num_draws >= 2000 and law.kurtosis_draws >= 100_000 for law in laws)


def test_the_uncorrected_slope_stands_outside_the_margin_of_one_half():
    assert UNCORRECTED.target + UNCORRECTED.margin < -0.5 - UNCORRECTED.margin


SIZES, PHASES, TASKS = [1, 4, 16], ["start", "end"], ["digits_softmax", "modular_addition"]


QUANTITIES = ["loss", "projection", "total"]
CELLS = {"task": TASKS, "phase": PHASES, "quantity": QUANTITIES, "batch_size": SIZES}
ROWS = {
    "figure_noise.sql": crossed(**CELLS, replacement=[True, False]).assign(
        std=lambda rows: rows["batch_size"] ** -0.5,
        std_exact=lambda rows: rows["std"],
        residual=0.0,
        residual_error=0.1,
    ),
    "figure_kurtosis.sql": crossed(**{**CELLS, "quantity": ["loss", "projection"]}).assign(
        ratio=1.0, ratio_error=0.1, num_measurable=3
    ),
    "figure_control.sql": crossed(
        control=["sign", "batch_norm"], phase=PHASES, quantity=["loss", "total"], batch_size=SIZES
    ).assign(ratio=2.0),
    "figure_scale.sql": crossed(task=TASKS, phase=PHASES, seed=[0, 1]).assign(
        b_simple=lambda rows: np.arange(1.0, len(rows) + 1), b_simple_two_batch=lambda rows: rows["b_simple"]
    ),
    "figure_floor.sql": crossed(sampling=["iid", "epoch"], lr=[0.1, 0.2], batch_size=[8, 32]).assign(
        floor=lambda rows: rows["lr"] / rows["batch_size"]
    ),
}


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_figures_draw_their_rows(figure):
    assert len(draw(figure.draw, ROWS[figure.sql]).uri) > 1000


def test_the_floor_figure_draws_every_point():
    figure = next(item for item in FIGURES if item.name == "loss_floor")
    canvas = figure.draw(ROWS["figure_floor.sql"])
    assert isinstance(canvas, Canvas)
    drawn = np.concatenate([line.get_ydata() for line in canvas.axes[0].lines])
    assert set(ROWS["figure_floor.sql"]["floor"].round(12)) <= set(np.round(drawn.astype(float), 12))
