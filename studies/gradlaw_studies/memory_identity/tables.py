"""The tables of the study."""

from __future__ import annotations

from gradlaw.table import Column, Table

TRAJECTORY_GAP = Table(
    name="trajectory_gap",
    grain="One row: one trial, and its memoryless twin without or with the correction.",
    columns=(
        Column(name="optimizer", type="string", doc="whose memory"),
        Column(name="corrected", type="bool", doc="whether the twin has the correction"),
        Column(name="lr", type="float64", doc="h"),
        Column(
            name="gap_max",
            type="float64",
            doc="max over steps of the largest coordinate of |theta_n - theta~_n|; missing if not finite",
            nullable=True,
        ),
    ),
)

CORRECTION_LIMIT = Table(
    name="correction_limit",
    grain="One row: one trial and one step n; two corrections at the trial's start, AdamW's and Lion's.",
    columns=(
        Column(name="n", type="int64", doc="the step, from 0"),
        Column(name="adamw_max", type="float64", doc="largest coordinate of AdamW's correction"),
        Column(name="lion_max", type="float64", doc="largest coordinate of Lion's"),
        Column(name="difference", type="float64", doc="largest coordinate of their difference"),
    ),
)

NOISE_SHARE = Table(
    name="noise_share",
    grain="One row: one trial, and what the mean end of heavy ball is compared with.",
    columns=(
        Column(
            name="compared",
            type="string",
            doc="past_batches: the memoryless twin on the past batches; full_batch: heavy ball on all rows",
        ),
        Column(
            name="share",
            type="float64",
            doc="how far heavy ball's mean end lies from there, as a multiple of what the noise term moves",
        ),
        Column(name="moved", type="float64", doc="norm of what the noise term moves"),
    ),
)
