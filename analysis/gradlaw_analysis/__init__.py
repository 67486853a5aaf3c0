"""From a store to verdicts and reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradlaw_analysis.open import OpenStore as OpenStore
    from gradlaw_analysis.open import open_store as open_store

__all__ = ["OpenStore", "open_store"]


def __getattr__(name: str) -> Any:
    """Imports what is asked for then: the child that runs a query must start without pandas."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from gradlaw_analysis import open as opened

    return getattr(opened, name)
