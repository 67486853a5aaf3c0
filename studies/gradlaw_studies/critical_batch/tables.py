"""The table of the timing."""

from __future__ import annotations

from gradlaw.table import Column, Table

STEP_TIME = Table(
    name="step_time",
    grain="One batch size of one timing: a gradient step of a plain MLP, median over rounds.",
    columns=(
        Column(name="batch_size", type="int64", doc="B"),
        Column(
            name="kind", type="string", doc="power, by_one (2^k - 1, 2^k + 1) or by_eight (2^k - 8, 2^k + 8)"
        ),
        Column(name="base", type="int64", doc="the power of two that it is, or is a neighbour of"),
        Column(
            name="seconds_a_sample",
            type="float64",
            unit="s",
            doc="median over rounds of a step's CPU time / B",
        ),
        Column(name="spread", type="float64", doc="interquartile range over rounds / median"),
        Column(name="num_rounds", type="int64", doc="rounds; each times every batch size once"),
    ),
)
