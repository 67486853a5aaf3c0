"""Which lrs and how many steps a rule is given at each batch size, from what exploratory seeds took."""

from __future__ import annotations

from dataclasses import dataclass

from gradlaw.rule import Rule


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """One rule's grid of lrs and horizon, as functions of the batch size B.

    The lr is searched about ``top / (1 + bend / B) ** power`` (arXiv 1812.06162, section 2.2, derives it for
    SGD with a power of 1). It only says where to look: the best of the grid is what counts, and whether it is
    inside the grid is checked.

    Attributes:
        rule: The rule.
        top: Centre of the grid at large B, > 0.
        bend: Batch size below which the centre falls, > 0.
        power: How it falls.
        floor: Steps at large B, roughly; with ``critical`` it sets horizon and resolution.
        critical: Batch size below which steps rise, roughly.
    """

    rule: type[Rule]
    top: float
    bend: float
    power: float
    floor: float
    critical: float

    def lrs(self, batch_size: int, *, num: int, ratio: float) -> tuple[float, ...]:
        """``num`` lrs about the centre, each ``ratio`` times the one before, to three digits."""
        centre = self.top / (1.0 + self.bend / batch_size) ** self.power
        return tuple(float(f"{centre * ratio ** (place - (num - 1) / 2):.3g}") for place in range(num))

    def expected(self, batch_size: int) -> float:
        """Steps that a well tuned run takes, roughly."""
        return self.floor * (1.0 + self.critical / batch_size)

    def horizon(self, batch_size: int) -> int:
        """Steps after which a trial is given up: twice the expected."""
        return round(2.0 * self.expected(batch_size))

    def log_every(self, batch_size: int) -> int:
        """Steps between looks at the loss: at most 2% of the expected, at least 1."""
        return max(1, int(self.expected(batch_size) / 50))
