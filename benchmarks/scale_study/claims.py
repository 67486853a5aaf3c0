"""Two claims that read every row, on effects that the made-up curves hold: both must be supported."""

from __future__ import annotations

from gradlaw.claim import Claim, Proportion, Slope

LAST_STEP = 990

CLAIMS = (
    Claim(
        name="floor_against_lr",
        statement="The mean loss over the second half of training rises as the square root of lr.",
        source="benchmarks/_scale_rows.py",
        sql="slope.sql",
        test=Slope(target=0.5, margin=0.02, sd=0.01),
        family="floor",
    ),
    Claim(
        name="seeds_settle",
        statement="In most seeds the gradient's norm, averaged over trials, ends below one.",
        source="benchmarks/_scale_rows.py",
        sql="proportion.sql",
        parameters={"last": LAST_STEP},
        test=Proportion(target=0.5, margin=0.1, direction="greater"),
        family="ends",
    ),
)
