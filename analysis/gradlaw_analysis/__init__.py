"""From a store to verdicts and reports.

- A number's way: ``catalog`` (the store as views; ``plan_rows``: the rows that count for a plan)
  -> ``plan_data`` (one plan) -> ``sample_sql`` (a study's SQL on its trials) -> ``stats`` (a sample to an
  effect) -> ``decide`` (effects to outcomes) -> ``verdict`` -> ``report``, with the pictures of ``figures``.
  ``judge`` takes the claims of a study along it; ``declared`` compares them with their locks, ``record``
  keeps what was shown.
- ``open`` is what users hold: a store that answers. Beside verdicts it answers SQL (``sql``) and how far a
  run is (``status``, ``workers``).
- ``json_values`` and ``whole_file`` are how results are written.
"""

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
