"""Figures: each draws the rows of its query and nothing else."""

from __future__ import annotations

from gradlaw.figure import Figure
from gradlaw_studies.modular_addition.claims import DECAY, WIDTH
from gradlaw_studies.modular_addition.draw_landscape import draw_barrier, draw_paths, draw_starts
from gradlaw_studies.modular_addition.draw_networks import (
    draw_accuracy,
    draw_converged,
    draw_late,
    draw_spectra,
)
from gradlaw_studies.modular_addition.draw_solutions import (
    draw_conjecture,
    draw_kinds,
    draw_orders_by_decay,
    draw_orders_by_modulus,
    draw_orders_by_width,
    draw_thresholds,
)
from gradlaw_studies.modular_addition.published import MODULI

_OF_TABLE = {"width": WIDTH, "weight_decay": DECAY}


def _claims(*names: str) -> tuple[str, ...]:
    """The claims of these names at every modulus of the published table."""
    return tuple(f"{name}_d{modulus}" for modulus in MODULI for name in names)


FIGURES = (
    Figure(
        name="converged",
        caption="How many networks converged (accuracy at least 0.99 on the pairs trained on and on those "
        "held out), of how many trained. Those that did not are kept out of the claims about "
        "solutions, not hidden.",
        sql="figure_converged.sql",
        draw=draw_converged,
    ),
    Figure(
        name="accuracy",
        caption="Accuracy on the pairs trained on and on the tenth held out (q = 512, weight decay 5e-5; "
        "mean, and the range over networks; every 100 steps). Shuffled sums leave nothing to generalise.",
        sql="figure_accuracy.sql",
        parameters=_OF_TABLE,
        draw=draw_accuracy,
    ),
    Figure(
        name="spectra",
        caption="Amplitude of each node over frequencies in one network, before and after training: a "
        "random spectrum becomes one frequency a node (claim nodes_have_one_frequency).",
        sql="figure_spectrum.sql",
        parameters={"modulus": 23, **_OF_TABLE},
        draw=draw_spectra,
        claims=("nodes_have_one_frequency",),
    ),
    Figure(
        name="orders_by_decay",
        caption="Order (number of nodes) of each frequency at the end, by weight decay, q = 512; 4 and 6 in"
        " colour, 10 stands for ten and more.",
        sql="figure_orders.sql",
        parameters={"width": WIDTH, "weight_decay": 0.0},
        draw=draw_orders_by_decay,
        claims=_claims("decay_lowers_order", "collapse"),
    ),
    Figure(
        name="orders_by_width",
        caption="Order of each frequency at the end, by width q, weight decay 5e-5; the narrowest are just "
        "above 2d.",
        sql="figure_orders.sql",
        parameters={"width": 0, "weight_decay": DECAY},
        draw=draw_orders_by_width,
        claims=("width_leaves_order",),
    ),
    Figure(
        name="orders_by_modulus",
        caption="Shares of orders 4, 6 and all others at the end, by modulus, weight decay 5e-5 (q = 512, "
        "or the largest there is).",
        sql="figure_orders.sql",
        parameters={"width": 0, "weight_decay": DECAY},
        draw=draw_orders_by_modulus,
        claims=("modulus_raises_order_four", *_claims("orders")),
    ),
    Figure(
        name="kinds",
        caption="What kind of construction the factorable frequencies are, beside the published table (q = "
        "512, weight decay 5e-5; bars are two standard errors over networks).",
        sql="figure_kinds.sql",
        parameters=_OF_TABLE,
        draw=draw_kinds,
        claims=_claims("constructions", "kinds"),
    ),
    Figure(
        name="late_noise",
        caption="What the noise of a constant lr does: shares just before the lr begins to fall and at the "
        "end, and how far the nodes of a frequency are from a product of two blocks.",
        sql="figure_late.sql",
        parameters=_OF_TABLE,
        draw=draw_late,
    ),
    Figure(
        name="thresholds",
        caption="Shares of orders 4 and 6 at the end against the amplitude from which a node counts: "
        "absolute, as the authors have it (0.05), and relative to the network's largest.",
        sql="figure_thresholds.sql",
        parameters=_OF_TABLE,
        draw=draw_thresholds,
    ),
    Figure(
        name="conjecture",
        caption="Left: order-6 frequencies against all, a dot a network. Right: squared norm over the "
        "formula; the band is one percent. Networks with all frequencies at order 4 or 6, weight "
        "decay 5e-5.",
        sql="figure_conjecture.sql",
        parameters={"weight_decay": DECAY},
        draw=draw_conjecture,
        claims=("six_grows_as_root", "norm_is_formula"),
    ),
    Figure(
        name="paths",
        caption="Squared norm and loss along paths between constructed solutions; the grey line is a loss of "
        "1e-20, zero to rounding. On the straight line, a control, the loss is not zero.",
        sql="figure_paths.sql",
        draw=draw_paths,
        claims=(
            "loss_stays_zero_on_factor",
            "loss_stays_zero_on_balance",
            "loss_stays_zero_on_blend",
            "norm_falls_on_factor",
            "norm_falls_on_balance",
        ),
    ),
    Figure(
        name="starts",
        caption="Training that starts at a construction with 1% of noise (d = 11): how many frequencies have "
        "which order at the start and at the end, and what is left of the squared norm.",
        sql="figure_starts.sql",
        draw=draw_starts,
        claims=("constructions_are_recognised",),
    ),
    Figure(
        name="barrier",
        caption="Loss on the way from one trained network to another, by how their nodes and residues are "
        "matched, and to a disguised copy of itself (mean, and the range over pairs).",
        sql="figure_barrier.sql",
        draw=draw_barrier,
        claims=("one_solution_up_to_symmetry",),
    ),
)
