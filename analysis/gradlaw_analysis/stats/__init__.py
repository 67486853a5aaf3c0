"""Statistics of claims: one family a file, pure functions that return frozen dataclasses."""

from gradlaw_analysis.stats.effect import Effect
from gradlaw_analysis.stats.evaluate import claim_rng, evaluate
from gradlaw_analysis.stats.power import check_decidable, seeds_needed

__all__ = ["Effect", "check_decidable", "claim_rng", "evaluate", "seeds_needed"]
