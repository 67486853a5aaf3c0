"""Values as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def plain(value: object) -> Any:
    """Returns ``value`` in JSON's own types.

    NaN and infinities become None; exact numbers without a fraction int, others float; times ISO 8601;
    durations and whatever else text; bytes hexadecimal.

    >>> plain({"a": float("nan"), "b": [Decimal("3"), b"ab"]})
    {'a': None, 'b': [3, '6162']}
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    isoformat = getattr(value, "isoformat", None)
    return isoformat() if isoformat else str(value)
