"""The tables this study fills; those around constructions are in :mod:`.landscape.tables`."""

from __future__ import annotations

from gradlaw.table import Column, Table

_STEP = Column(name="step", type="int64", unit="steps", doc="steps done")


def _count(name: str, doc: str) -> Column:
    return Column(name=name, type="int64", doc=doc)


def _value(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(name=name, type="float64", doc=doc, nullable=nullable)


FREQUENCIES = Table(
    name="frequencies",
    grain="one trial at one step and one frequency 1 .. (modulus - 1) / 2",
    columns=(
        _STEP,
        Column(name="frequency", type="int64", doc="k, cycles over the residues"),
        _count("order_absolute", "nodes with |z_akj| above the threshold"),
        _count("order_relative", "nodes whose balanced amplitude is above a share of the network's largest"),
        Column(
            name="factorable",
            type="bool",
            doc="whether it has four or six nodes of its own, and they are a product of two blocks",
        ),
        _value(
            "residual", "of the best product; missing where it has another number of nodes", nullable=True
        ),
        Column(
            name="kind", type="string", doc="nu_i*xi, nu_i*syn_ab, nu*syn, or other; other if not factorable"
        ),
        _value("dominant_amplitude", "largest |z_akj|; missing where weights are not finite", nullable=True),
    ),
)

NETWORKS = Table(
    name="networks",
    grain="one trial at one step",
    columns=(
        _STEP,
        _value("weight_norm2", "squared 2-norm of all weights"),
        _value(
            "mean_residual",
            "largest |mean| over residues of a column of W_a or W_b, over the largest rms; missing if 0",
            nullable=True,
        ),
        _value(
            "top_share",
            "of a node's power, at its top frequency; mean over nodes weighted by power; missing if 0",
            nullable=True,
        ),
        _count("num_live_nodes", "nodes with |z_akj| above the threshold at any frequency"),
        _count("num_order_4", "frequencies of absolute order 4"),
        _count("num_order_6", "frequencies of absolute order 6"),
        _count("num_other_orders", "frequencies of any other absolute order, 0 included"),
        _value("train_loss", "over the pairs trained on"),
        _value("test_loss", "over the pairs held out; missing where there are none", nullable=True),
        _value("train_accuracy", "over the pairs trained on"),
        _value("test_accuracy", "over the pairs held out; missing where there are none", nullable=True),
        Column(
            name="converged",
            type="bool",
            doc="train accuracy and, where pairs are held out, test accuracy at least 0.99",
        ),
        _value("loss_all", "projected squared error over all pairs and their sums, whatever was trained on"),
        _value("loss_signal", "its part from r_kkk away from 1 / (2 modulus)"),
        _value("loss_conjugate", "its part from r_{k,-k,k}, r_{-k,k,k}, r_{-k,-k,k}"),
        _value("loss_mixed", "its part from all other products of frequencies other than 0"),
        _value("loss_constant", "its part from what the outputs hold whatever the residues"),
        _value("loss_squares", "its part from what the outputs hold that depends on one residue alone"),
    ),
)

ORDER_SENSITIVITY = Table(
    name="order_sensitivity",
    grain="one trial at one step and one threshold, absolute or relative",
    columns=(
        _STEP,
        _value("threshold", "on |z_akj|; if relative, of the network's largest balanced amplitude"),
        Column(name="relative", type="bool", doc="whether it counts order_relative, else order_absolute"),
        _count("num_order_4", "frequencies of order 4"),
        _count("num_order_6", "frequencies of order 6"),
        _count("num_other", "frequencies of any other order, 0 included"),
    ),
)
