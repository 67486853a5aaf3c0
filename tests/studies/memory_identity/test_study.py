import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas
from study_parts import crossed, results_of

from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.planning.plan import make_plan
from gradlaw.rules.memoryless import FORMS
from gradlaw.trial import State
from gradlaw_analysis.figures.render import draw
from gradlaw_studies.memory_identity.claims import FIRST, SECOND
from gradlaw_studies.memory_identity.figures import FIGURES
from gradlaw_studies.memory_identity.study import STUDY, TASKS

mpl.use("agg")


@pytest.mark.slow
def test_the_smoke_preset_runs_and_fills_every_table():
    plan = make_plan(STUDY, "smoke", seeds=1)
    recorder, states = MemoryRecorder(), []
    for pack in plan.packs:
        states += [result.state for result in results_of(pack, recorder, compile="never")]
    assert states == [State.DONE] * len(list(plan.members))
    for table in STUDY.tables():
        assert len(next(iter(recorder.rows(table.name).values()))) > 0


@pytest.mark.parametrize("preset", ["demo", "paper"])
def test_every_optimizer_is_tried_on_both_tasks_over_five_octaves(preset):
    lrs = {}
    for grid in STUDY.presets[preset].grids:
        for optimizer in grid.values.get("optimizer", ()):
            lrs.setdefault((grid.task, optimizer), set()).update(point["lr"] for point in grid.points)
    assert set(lrs) == {(task, optimizer) for task in TASKS for optimizer in FORMS}
    assert len(lrs) == FIRST.num_parts == SECOND.num_parts
    assert all(np.log2(max(found) / min(found)) >= 5 for found in lrs.values())


TWINS = {"task": ["digits_mlp@1", "modular_addition@1"], "lr": [0.01, 0.02, 0.04], "corrected": [False, True]}
ROWS = {
    "figure_order.sql": crossed(**TWINS, optimizer=["adamw", "heavy_ball"], settings=["s", "t"]).assign(
        gap=lambda rows: rows["lr"] ** (1 + rows["corrected"]), slope=1.0
    ),
    "figure_outside.sql": crossed(
        **TWINS, beta1=[0.5], beta2=[0.8], eps=[1e-3, 1e-12], horizon=[0.04, 2.0]
    ).assign(gap=lambda rows: rows["lr"] * rows["eps"]),
    "figure_limit.sql": crossed(beta1=[0.5, 0.9], beta2=[0.9], n=[1, 2, 4]).assign(
        difference=lambda rows: 1.0 / rows["n"]
    ),
    "figure_kernels.sql": crossed(
        kernel=["exponential", "uniform"], corrected=[False, True], lr=[0.1, 0.2]
    ).assign(gap=lambda rows: rows["lr"], left_out=lambda rows: 2 * rows["lr"]),
    "figure_noise.sql": crossed(
        momentum=[0.5, 0.8], effective_lr=[0.1, 0.2], compared=["past_batches", "full_batch"]
    ).assign(share=0.9, error=0.01),
}


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_figures_draw_their_rows(figure):
    assert len(draw(figure.draw, ROWS[figure.sql]).uri) > 1000


def test_the_figure_of_orders_draws_every_gap_in_its_panel():
    figure = next(item for item in FIGURES if item.name == "orders")
    canvas = figure.draw(ROWS["figure_order.sql"])
    assert isinstance(canvas, Canvas)
    assert len(canvas.axes) == 4
    drawn = np.concatenate([line.get_ydata() for line in canvas.axes[0].lines]).astype(float)
    for gap in (0.01, 0.04, 0.0001, 0.0016):
        assert np.isclose(drawn, gap).any()
