"""The claims about decays: each shape at its own best peak, chosen for a seed by the others.

Held-out loss at the end, in logarithms. On a strongly convex loss a constant lr ends in a floor of noise, and
most of the loss is what no training removes, so that differences are about a percent; the network is far
from fitting its rows. No margin: a shape is better or it is worse. Sds are those of three exploratory seeds,
rounded up.
"""

from __future__ import annotations

from gradlaw.claim import Claim, Control, Gate, PairedDifference, Scalar

ENDED = Gate(
    statement="Training ended, soundly or by diverging; a seed counts for a shape if its best peak lies "
    "inside the grid.",
    sql="decay_gate.sql",
)

_TASKS = {"convex": "digits_softmax", "network": "digits_mlp"}
_SDS = {"convex": 0.01, "network": 0.4}
_WHERE = {"convex": "On a strongly convex loss", "network": "On a network of one hidden layer"}
_SHAPES = {
    "cosine": ("along a cosine", "Loshchilov and Hutter 1608.03983, section 4"),
    "step": ("by ten after each third", "He et al. 1512.03385, section 3.4"),
    "inverse time": (
        "as 1/t",
        "Bottou et al. 1606.04838, theorem 4.7: no floor, where a constant lr has one",
    ),
}


def better(where: str, shape: str, than: str = "constant") -> PairedDifference:
    """That a shape ends with less held-out loss than another."""
    return PairedDifference(arms=(shape, than), margin=0.0, direction="less", sd=_SDS[where])


def _controls(where: str, asked: dict[str, Scalar]) -> tuple[Control, ...]:
    return (
        Control(
            name="rising_is_worse",
            statement="A lr that rises all the time must end worse than one that falls along a cosine.",
            sql="decay_loss.sql",
            parameters=asked,
            test=better(where, "cosine", "rising"),
            expect="supported",
        ),
        Control(
            name="rising_is_no_help",
            statement="That a rising lr ends better than a constant one must be refuted.",
            sql="decay_loss.sql",
            parameters=asked,
            test=better(where, "rising"),
            expect="refuted",
        ),
    )


def _claim(where: str, shape: str) -> Claim:
    how, source = _SHAPES[shape]
    asked: dict[str, Scalar] = {"task": _TASKS[where]}
    return Claim(
        name=f"{shape.replace(' ', '_')}_beats_constant_{where}",
        statement=f"{_WHERE[where]} a lr that falls {how} ends with less held-out loss than a constant one, "
        "peaks tuned.",
        source=source,
        sql="decay_loss.sql",
        parameters=asked,
        test=better(where, shape),
        family=f"decay_{where}",
        gate=ENDED,
        controls=_controls(where, asked),
    )


DECAYS = tuple(_claim(where, shape) for where in _TASKS for shape in _SHAPES)
