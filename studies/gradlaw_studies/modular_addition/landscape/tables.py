"""The tables that the study's measurements of the landscape fill."""

from __future__ import annotations

from gradlaw.table import Column, Table


def _count(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(name=name, type="int64", doc=doc, nullable=nullable)


def _value(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(name=name, type="float64", doc=doc, nullable=nullable)


HESSIAN_NULLITY = Table(
    name="hessian_nullity",
    grain="one constructed solution: the Hessian of the loss on all pairs, and of the norm on its null space",
    columns=(
        Column(name="construction", type="string", doc="order_6, order_4_6, order_4_constant or memorising"),
        Column(name="kind", type="string", doc="of the order-6 blocks: nu*syn or nu_i*syn_ab; '' of none"),
        _count("modulus", "d"),
        _count("width", "q, padded nodes among them"),
        _count("num_parameters", "3 d q"),
        _value("loss", "at the solution"),
        _count("nullity", "eigenvalues of at most 1e-11 of the largest"),
        _count("predicted", "directions known to be free: symmetries, free_phases, padded nodes"),
        _count(
            "counted", "nullity by counting conditions, padded nodes added; of order_6 alone", nullable=True
        ),
        _count("symmetries", "of each live node its scale, its constant over classes, its shift from a to b"),
        _count("free_phases", "of the construction, those of each frequency's residues among them"),
        _count("padded", "3 d of each zero node"),
        _value("largest", "the largest eigenvalue"),
        _value("largest_null", "the largest of those counted as null"),
        _value("smallest_other", "the smallest of the others"),
        _value("gap", "smallest_other over the larger of largest_null and the rounding of largest"),
        _value("norm_slope", "length of the weights' projection on the null space, over their own"),
        _count("norm_flat", "null directions flat for the norm; missing where it slopes", nullable=True),
        _count("norm_down", "null directions in which the norm falls; likewise", nullable=True),
    ),
)

CONNECTING_PATH = Table(
    name="connecting_path",
    grain="one position of one path between two constructed solutions",
    columns=(
        Column(name="path", type="string", doc="which"),
        _count("modulus", "d"),
        _count("width", "q"),
        _value("position", "along the path, 0 .. 1"),
        _value("loss", "on all pairs"),
        _value("norm2", "squared norm of all weights"),
    ),
)

BARRIER = Table(
    name="barrier",
    grain="one position of the path between two trained networks, with one match of their symmetries",
    columns=(
        Column(
            name="matching",
            type="string",
            doc="none; nodes: permuted, with signs; all: residues relabelled too; side_by_side: in width 2q; "
            "copy_none, copy_all: the same to a disguised copy of the first network",
        ),
        _value("position", "along the path, 0 .. 1"),
        _value("loss", "on all pairs"),
        _value("chord", "on the line between the losses at the ends; the barrier is max(loss - chord)"),
        _value("distance", "between the ends, over the root of the mean of their squared norms"),
    ),
)
