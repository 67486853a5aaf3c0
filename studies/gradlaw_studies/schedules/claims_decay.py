"""The claims about decays: each shape at its own best peak, chosen for a seed by the others.

Held-out loss at the end, in logarithms, in each of two tasks by itself: a network, and a strongly convex
loss whose larger part no training removes, so that differences there are a percent. No margin: a shape is
better or it is worse. Sds come from four exploratory seeds, rounded up.
"""

from __future__ import annotations

from gradlaw.claim import Claim, Control, Gate, PairedDifference

ENDED = Gate(
    statement="Training ended, soundly or by diverging; a seed counts for a shape if its best peak lies "
    "inside the grid.",
    sql="decay_gate.sql",
)


def better(shape: str, than: str = "constant") -> PairedDifference:
    """That a shape ends with a smaller held-out loss than another, in both tasks."""
    return PairedDifference(arms=(shape, than), margin=0.0, direction="less", sd=0.1, num_parts=2)


RISING = Control(
    name="rising_is_worse",
    statement="A lr that rises all the time must end worse than one that falls along a cosine.",
    sql="decay_loss.sql",
    test=better("cosine", "rising"),
    expect="supported",
)
RISING_IS_NO_HELP = Control(
    name="rising_is_no_help",
    statement="That a rising lr ends better than a constant one must be refuted.",
    sql="decay_loss.sql",
    test=better("rising"),
    expect="refuted",
)

_SHAPES = {
    "cosine": ("along a cosine", "Loshchilov and Hutter 1608.03983, section 4"),
    "step": ("by ten after each third", "He et al. 1512.03385, section 3.4"),
    "inverse time": (
        "as 1/t",
        "Bottou et al. 1606.04838, theorem 4.7: no floor, where a constant lr has one",
    ),
}

DECAYS = tuple(
    Claim(
        name=f"{shape.replace(' ', '_')}_beats_constant",
        statement=f"With tuned peaks a lr that falls {how} ends with less held-out loss than a constant one.",
        source=source,
        sql="decay_loss.sql",
        test=better(shape),
        family="decay",
        gate=ENDED,
        controls=(RISING, RISING_IS_NO_HELP),
    )
    for shape, (how, source) in _SHAPES.items()
)
