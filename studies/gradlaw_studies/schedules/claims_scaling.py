"""The claims about scaling rules: at matched examples the loss curve of a larger batch is that of the base's.

Distances are means of |log loss - log loss of the base| over the run; two runs of the base itself differ by
0.02 to 0.03. The margin of 0.05 is twice that. Sds come from four exploratory seeds, rounded up.
"""

from __future__ import annotations

from dataclasses import replace

from gradlaw.claim import Claim, Control, Gate, PairedDifference, Scalar

NOISY = Gate(
    statement="Training ended, soundly or by diverging, on batches smaller than the noise scale.",
    sql="scaling_gate.sql",
)
CLOSER = PairedDifference(arms=("theory", "other"), margin=0.05, direction="less", sd=0.03, num_parts=2)
ONE = replace(CLOSER, num_parts=1)


def _asked(rule: str, theory: str, others: str) -> dict[str, Scalar]:
    """Factors of the batch size to 4: the rules are for small ones."""
    return {"rule": rule, "theory": theory, "others": others, "max_factor": 4}


def _controls(rule: str) -> tuple[Control, ...]:
    return (
        Control(
            name="same_again",
            statement="The base on batches drawn anew must be closer to it than a larger batch unscaled.",
            sql="scaling_distance.sql",
            parameters=_asked(rule, "repeat", "none"),
            test=ONE,
            expect="supported",
        ),
        Control(
            name="square",
            statement="The lr times the square of the factor must not come closest.",
            sql="scaling_distance.sql",
            parameters=_asked(rule, "square", "root,linear"),
            test=CLOSER,
            expect="refuted",
        ),
    )


SCALINGS = (
    Claim(
        name="sgd_scales_linearly",
        statement="Of gradient descent the curve is kept by lr times the factor, rather than its root or 1.",
        source="Goyal et al. 1706.02677, section 2.1; Malladi et al. 2205.10287, section 2",
        sql="scaling_distance.sql",
        parameters=_asked("sgd", "linear", "none,root"),
        test=CLOSER,
        family="scaling",
        gate=NOISY,
        controls=_controls("sgd"),
    ),
    Claim(
        name="adam_scales_by_root",
        statement="Of Adam it is kept by lr times the root (betas and eps scaled), not the factor or 1.",
        source="Malladi et al. 2205.10287, definition 5",
        sql="scaling_distance.sql",
        parameters=_asked("adam", "root with betas", "none with betas,linear with betas"),
        test=CLOSER,
        family="scaling",
        gate=NOISY,
        controls=_controls("adam"),
    ),
    Claim(
        name="adam_betas_matter",
        statement="With the root the curve is kept better if betas and eps are scaled, too.",
        source="Malladi et al. 2205.10287, definition 5, against scaling the lr alone",
        sql="scaling_distance.sql",
        parameters=_asked("adam", "root with betas", "root"),
        test=replace(ONE, margin=0.01, sd=0.008),
        family="scaling",
        gate=NOISY,
        controls=_controls("adam"),
    ),
)
