"""Every figure draws rows of the form its query gives, and what stands in the picture is in the rows."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas
from study_parts import crossed

from gradlaw_analysis.figures.render import draw
from gradlaw_studies.modular_addition.draw_landscape import draw_paths, draw_starts
from gradlaw_studies.modular_addition.draw_networks import draw_accuracy, draw_converged, draw_spectra
from gradlaw_studies.modular_addition.draw_solutions import (
    draw_conjecture,
    draw_kinds,
    draw_orders_by_decay,
    draw_orders_by_modulus,
)
from gradlaw_studies.modular_addition.figures import FIGURES
from gradlaw_studies.modular_addition.published import KINDS, NOT_FACTORABLE, published_shares

mpl.use("agg")


def waves(modulus, width, *, noise):
    """W_a whose spectrum is known: node j has frequency 1 + j mod 3, and noise."""
    residues, nodes = np.arange(modulus)[:, None], np.arange(width)
    drawn = np.random.default_rng(1).normal(size=(modulus, width))
    return (np.cos(2 * np.pi * (1 + nodes % 3) * residues / modulus) + noise * drawn).astype("<f4")


SPECTRUM = pd.DataFrame(
    {"seed": 1, "modulus": 11, "width": 6, "step": step, "name": name, "dtype": "float32", "shape": "11,6",
     "bytes": bytearray(waves(11, 6, noise=1.0 - step / 100).tobytes())}
    for step in (0, 100) for name in ("W_a", "W_b", "W_c")
)  # fmt: skip
SHARE = {"share_4": 0.5, "share_6": 0.4}
ROWS = {
    "figure_orders.sql": crossed(
        modulus=[23, 71], width=[256, 512], weight_decay=[1e-5, 5e-5], order=[0, 4, 6, 10]
    ).assign(share=lambda rows: rows["order"] / 20, num_networks=8, num_converged=7),
    "figure_kinds.sql": crossed(modulus=[23, 31], kind=[*KINDS, NOT_FACTORABLE]).assign(
        share=0.2, share_error=0.03, num_networks=8
    ),
    "figure_spectrum.sql": SPECTRUM,
    "figure_accuracy.sql": pd.DataFrame({
        "modulus": 23, "labels": ["sum"] * 3 + ["shuffled"] * 3, "step": [0, 100, 10_000] * 2,
        **{f"{pairs}{end}": np.linspace(0, 1, 6)
           for pairs in ("train", "test") for end in ("", "_low", "_high")},
        "num_networks": 8,
    }),
    "figure_converged.sql": crossed(
        modulus=[23, 71], labels=["sum", "shuffled"], width=[64, 512], weight_decay=[1e-5, 5e-5]
    ).assign(num_networks=8, num_converged=5, test_accuracy=0.9),
    "figure_conjecture.sql": pd.DataFrame({
        "modulus": [11, 23, 23], "seed": [0, 0, 1], "num_frequencies": [5.0, 11.0, 11.0],
        "num_order_4": [3, 5, 6], "num_order_6": [2, 6, 5], "norm_ratio": [0.99, 1.0, 1.01],
        "balanced_ratio": 1.0,
    }),
    "figure_thresholds.sql": crossed(
        modulus=[23, 71], relative=[False, True], threshold=[0.02, 0.05, 0.1]
    ).assign(num_networks=8, **SHARE),
    "figure_late.sql": crossed(modulus=[23, 71], step=[90, 100]).assign(
        at_end=lambda rows: rows["step"] == 100, order_4_or_6=0.9, factorable=0.8, construction=0.7,
        residual=0.1,
    ),
    "figure_paths.sql": crossed(path=["factor", "blend"], modulus=[5], position=[0.0, 0.5, 1.0]).assign(
        width=24, loss=1e-30, norm2=lambda rows: 4 - rows["position"]
    ),
    "figure_starts.sql": crossed(
        construction=["order_6", "random"], block=["nu*syn"], weight_decay=[5e-5], step=[0, 10]
    ).assign(
        steps=10, norm_ratio=lambda rows: 1 - rows["step"] / 20, loss=0.1, num_order_4=1.0,
        num_order_6=lambda rows: rows["step"] / 5, num_other_orders=0.5, num_networks=8,
    ),
    "figure_barrier.sql": crossed(matching=["none", "nodes"], position=[0.0, 0.5, 1.0]).assign(
        loss=0.5, loss_low=0.4, loss_high=0.6, num_pairs=3
    ),
}  # fmt: skip


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_figures_draw_their_rows(figure):
    assert len(draw(figure.draw, ROWS[figure.sql]).uri) > 1000


def heights(ax):
    return [bar.get_height() for bar in ax.patches]


def test_a_histogram_shows_its_shares_and_who_converged():
    canvas = draw_orders_by_decay(ROWS["figure_orders.sql"].query("width == 512"))
    assert isinstance(canvas, Canvas)
    assert len(canvas.axes) == 4
    assert heights(canvas.axes[0]) == [0.0, 0.2, 0.3, 0.5]
    assert "7 of 8 converged" in canvas.axes[0].get_title()


def test_the_stack_over_moduli_takes_one_width():
    canvas = draw_orders_by_modulus(ROWS["figure_orders.sql"].query("weight_decay == 5e-5"))
    assert heights(canvas.axes[0]) == pytest.approx([0.2, 0.2, 0.3, 0.3, 0.5, 0.5])


def test_kinds_stand_beside_the_published_shares():
    canvas = draw_kinds(ROWS["figure_kinds.sql"])
    assert heights(canvas.axes[0]) == pytest.approx([0.2] * 5 + list(published_shares(23).values()))
    assert heights(canvas.axes[1]) == [0.2] * 5  # d = 31 was not published


def test_the_spectrum_shows_one_frequency_a_node_at_the_end():
    canvas = draw_spectra(SPECTRUM)
    before, after = (ax.images[0].get_array() for ax in canvas.axes if ax.images)
    assert after.shape == (6, 6)
    assert after.argmax(axis=0).tolist() == [1, 1, 2, 2, 3, 3]  # sorted by frequency
    assert np.asarray(after.max(axis=0)) == pytest.approx([0.5] * 6, rel=1e-5)  # cos = (e + e^-1) / 2
    assert np.sort(before, axis=0)[-2].max() > 0.1  # noise has no single frequency


def test_curves_reach_from_the_worst_network_to_the_best():
    canvas = draw_accuracy(ROWS["figure_accuracy.sql"])
    assert [ax.get_title() for ax in canvas.axes] == ["d = 23", "d = 23, shuffled sums"]
    assert canvas.axes[0].lines[0].get_ydata().tolist() == pytest.approx([0.0, 0.2, 0.4])


def test_what_did_not_converge_is_shown():
    canvas = draw_converged(ROWS["figure_converged.sql"])
    assert {text.get_text() for ax in canvas.axes for text in ax.texts} == {"5/8"}


def test_the_conjecture_stands_beside_networks_and_table():
    left, right = draw_conjecture(ROWS["figure_conjecture.sql"]).axes
    dots, means, table, law = (line.get_ydata() for line in left.lines)
    assert dots.tolist() == [2, 6, 5]
    assert means.tolist() == [2.0, 5.5]
    assert table == pytest.approx([5.62, 8.80, 10.19], abs=0.01)
    assert law[0] == pytest.approx(1.148 * 5**0.5)
    assert right.lines[1].get_ydata().tolist() == [0.99, 1.0, 1.01]


def test_paths_are_drawn_relative_to_their_start():
    left, _ = draw_paths(ROWS["figure_paths.sql"]).axes
    assert left.lines[0].get_ydata().tolist() == pytest.approx([1.0, 3.5 / 4, 3 / 4])


def test_where_training_goes_is_drawn_from_start_to_end():
    left, right = draw_starts(ROWS["figure_starts.sql"]).axes
    assert [bar.get_width() for bar in left.patches] == [1.0, 0.0, 0.5, 1.0, 2.0, 0.5] * 2
    assert [line.get_xdata()[0] for line in right.lines[:4]] == [1.0, 0.5, 1.0, 0.5]


def test_analysis_reads_claims_and_figures_without_torch():
    study = "gradlaw_studies.modular_addition"
    code = f"import sys, {study}.claims, {study}.figures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
