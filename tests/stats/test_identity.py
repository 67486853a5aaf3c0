"""Identities: one value decides."""

import numpy as np
import pandas as pd
import pytest

from gradlaw.claim import AllBelow
from gradlaw.errors import ClaimError
from gradlaw_analysis.stats import evaluate


@pytest.mark.parametrize(("value", "claim"), [(-1e-9, 0.0), (1e-9, 0.0), (-1.1e-9, 1.0)])
def test_the_largest_absolute_value_decides(value, claim):
    sample = pd.DataFrame({"seed": [1, 1, 2], "value": [0.0, value, 1e-12]})
    effect = evaluate(AllBelow(bound=1e-9), sample, rng=np.random.default_rng(0))
    assert (effect.p_claim, effect.p_complement) == (claim, 1 - claim)
    assert (effect.estimate, effect.num_seeds) == (abs(value), 2)
    assert effect.interval(0.95) == (abs(value), abs(value))


def test_no_values_and_bad_values():
    empty = evaluate(AllBelow(bound=1), pd.DataFrame({"seed": [], "value": []}), rng=np.random.default_rng(0))
    assert (empty.num_seeds, empty.p_claim) == (0, 1.0)
    with pytest.raises(ClaimError, match="at seed 5"):
        evaluate(
            AllBelow(bound=1), pd.DataFrame({"seed": [5], "value": [np.nan]}), rng=np.random.default_rng(0)
        )
