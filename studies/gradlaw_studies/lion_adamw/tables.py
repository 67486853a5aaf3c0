"""The table that the half about memory fills."""

from __future__ import annotations

from gradlaw.table import Column, Table


def _value(name: str, doc: str) -> Column:
    return Column(name=name, type="float64", doc=doc)


MATCHED_LOSS = Table(
    name="matched_loss",
    grain="one trial at the first logged step at which its full training loss is at a threshold or below",
    columns=(
        Column(name="step", type="int64", unit="steps", doc="steps done"),
        _value("threshold", "the training loss at which trials are compared, exactly as declared"),
        _value("grad_l1", "sum of |g_i|, g the gradient of the full training loss"),
        _value("grad_l1_perturbed", "sum of sqrt(g_i^2 + eps), eps that of the probe"),
        _value("sharpness", "largest eigenvalue of the full training loss's Hessian"),
        _value("test_loss", "mean loss over the held-out rows"),
        _value("test_accuracy", "share of the held-out rows classified rightly"),
    ),
)
