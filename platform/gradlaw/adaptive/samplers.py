"""Which configurations an arm of a search asks for next.

Nothing is kept from one look to the next: a sampler is made anew from names and from what was asked before,
so that a run that was killed asks what it would have asked.

References:
    TPE: Bergstra, Bardenet, Bengio and Kegl, "Algorithms for hyper-parameter optimization" (2011), as Optuna
    has it; configurations of one round do not know of each other's results, and are kept apart by the
    constant liar of Ginsbourger, Le Riche and Carraro (2010).
    Sobol points: as of scipy.stats.qmc, scrambled (Owen 1998).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradlaw.fingerprint import digest
from gradlaw.hyperparameter import Scalar
from gradlaw.space import Dimension, Range
from gradlaw.study import Search

if TYPE_CHECKING:
    import optuna

Space = Mapping[str, Dimension]
Configuration = Mapping[str, Scalar]


class Tried(NamedTuple):
    """A configuration asked for before: its values and what it is ranked by; None: it ranks last."""

    values: Configuration
    score: float | None


def propose(search: Search, space: Space, tried: Sequence[Tried], identity: object) -> list[Configuration]:
    """The configurations that an arm asks for next; none once its budget is spent.

    Args:
        search: Budget, sampler, direction and size of a round are read.
        space: The arm's.
        tried: What the arm asked for before, in order; all of it has ended.
        identity: Names that the random numbers are drawn for.
    """
    left = search.budget - len(tried)
    if left <= 0:
        return []
    if search.sampler == "sobol":
        return [configuration(space, point) for point in sobol_points(len(space), len(tried), left, identity)]
    if search.sampler == "random":
        rng = np.random.default_rng(_seed(["random", identity, len(tried)]))
        return [configuration(space, point) for point in rng.random((left, len(space)))]
    return _of_tpe(search, space, tried, min(left, search.per_round), identity)


def sobol_points(dimensions: int, first: int, count: int, identity: object) -> NDArray[np.float64]:
    """Points ``first`` to ``first + count`` of a scrambled Sobol sequence, shape [count, dimensions]."""
    from scipy.stats import qmc

    engine = qmc.Sobol(d=dimensions, scramble=True, rng=_seed(["sobol", identity]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of numbers of points that are no power of two
        points: NDArray[np.float64] = engine.random(first + count)[first:]
    return points


def configuration(space: Space, point: Sequence[float] | NDArray[np.float64]) -> Configuration:
    """The configuration at a point of the unit cube, whose coordinates are those of the space in order."""
    pairs = zip(space.items(), point, strict=True)
    return {name: _at(dimension, float(share)) for (name, dimension), share in pairs}


def _at(dimension: Dimension, share: float) -> Scalar:
    if not isinstance(dimension, Range):
        return dimension.values[min(int(share * len(dimension.values)), len(dimension.values) - 1)]
    low, high = float(dimension.low), float(dimension.high)
    if dimension.whole:  # each whole number has a cell of its own width
        low, high = low - 0.5, high + 0.5
    if dimension.log:
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        value = low + share * (high - low)
    value = min(max(value, dimension.low), dimension.high)  # passed by rounding, and by outer halves of cells
    return round(value) if dimension.whole else value


def _seed(identity: object) -> int:
    return int(digest(identity, length=8), 16)


def _of_tpe(
    search: Search, space: Space, tried: Sequence[Tried], count: int, identity: object
) -> list[Configuration]:
    import optuna

    with quiet_optuna():
        study = optuna.create_study(
            direction="minimize" if search.direction == "below" else "maximize",
            sampler=optuna.samplers.TPESampler(seed=_seed(["tpe", identity, len(tried)]), constant_liar=True),
        )
        study.add_trials([frozen(space, item) for item in tried])
        declared = distributions(space)
        return [dict(study.ask(declared).params) for _ in range(count)]


def distributions(space: Space) -> dict[str, optuna.distributions.BaseDistribution]:
    """A space as Optuna declares it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, optuna.distributions.BaseDistribution] = {}
    for name, item in space.items():
        if not isinstance(item, Range):
            found[name] = CategoricalDistribution(item.values)
        elif item.whole:
            found[name] = IntDistribution(int(item.low), int(item.high), log=item.log)
        else:
            found[name] = FloatDistribution(float(item.low), float(item.high), log=item.log)
    return found


def frozen(space: Space, item: Tried) -> optuna.trial.FrozenTrial:
    """A configuration as a trial of Optuna's; what ranks last is a pruned one, as Optuna ranks those last."""
    from optuna.trial import TrialState, create_trial

    return create_trial(
        state=TrialState.PRUNED if item.score is None else TrialState.COMPLETE,
        value=item.score,
        params=dict(item.values),
        distributions=distributions(space),
    )


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Optuna tells of every study it makes."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)
