"""What a plan may be used for."""

from __future__ import annotations

from enum import StrEnum


class PlanKind(StrEnum):
    """Only a plan to ``confirm`` decides claims.

    ``explore`` is on seeds that no claim is decided on, ``variant`` has overrides, ``smoke`` is of a preset
    that only tests the plumbing.
    """

    CONFIRM = "confirm"
    EXPLORE = "explore"
    VARIANT = "variant"
    SMOKE = "smoke"
