"""Claims that cannot be meant: impossible margins, levels, looks and names, found before anything runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from gradlaw.claim import (
    AllBelow,
    Claim,
    Direction,
    Distribution,
    Mean,
    PairedDifference,
    Proportion,
    Slope,
    Statistic,
    Survival,
    Trend,
)
from gradlaw_analysis.stats.distribution import MAX_CATEGORIES


def declaration_faults(claims: Sequence[Claim]) -> list[str]:
    """What is impossible in the declarations of a study: the claim, what was got and what is allowed.

    >>> test = Mean(target=0, margin=-1, sd=1)
    >>> declaration_faults([Claim(name="m", statement="", source="", sql="m.sql", test=test)])
    ['m: margin: got -1, allowed > 0']
    """
    faults = [f"{name}: {text}" for name, text in _twice("claims", [claim.name for claim in claims])]
    families: dict[str, set[float]] = {}
    for claim in claims:
        faults += [f"{claim.name}: {text}" for text in _claim(claim)]
        if not isinstance(claim.test, AllBelow):
            families.setdefault(claim.family, set()).add(claim.alpha)
    for family, alphas in families.items():
        if len(alphas) > 1:
            shown = ", ".join(map(str, sorted(alphas)))
            faults.append(f"family {family}: alpha: got {shown}, allowed one for all its claims")
    return faults


def _claim(claim: Claim) -> Iterator[str]:
    if not 0 < claim.alpha < 0.5:
        yield f"alpha: got {claim.alpha}, allowed above 0 and below 0.5"
    if claim.looks and (claim.looks[0] < 2 or any(b <= a for a, b in pairwise(claim.looks))):
        yield f"looks: got {claim.looks}, allowed increasing numbers of seeds from 2"
    yield from _test(claim.test)
    for name, text in _twice("controls", [control.name for control in claim.controls]):
        yield f"control {name}: {text}"
    for control in claim.controls:
        yield from (f"control {control.name}: {text}" for text in _test(control.test))
        if control.expect not in ("supported", "refuted"):
            yield f"control {control.name}: expect: got {control.expect!r}, allowed 'supported', 'refuted'"


def _twice(kind: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name, count in Counter(names).items():
        if count > 1:
            yield name, f"name: got {count} {kind} of this name, allowed one"


def _test(test: Statistic) -> Iterator[str]:
    if isinstance(test, Mean | Slope | PairedDifference | Proportion):
        yield from _located(test)
    elif isinstance(test, Distribution):
        yield from _distribution(test)
    elif isinstance(test, Trend):
        if test.num_levels < 2:
            yield f"num_levels: got {test.num_levels}, allowed >= 2"
    elif isinstance(test, AllBelow):
        if not test.bound >= 0:
            yield f"bound: got {test.bound}, allowed >= 0"
    elif not test.horizon > 0:
        yield f"horizon: got {test.horizon}, allowed > 0"
    if hasattr(test, "direction") and test.direction not in (directions := _directions(test)):
        yield f"direction: got {test.direction!r}, allowed {', '.join(map(repr, directions))}"
    if isinstance(test, PairedDifference | Survival) and test.arms[0] == test.arms[1]:
        yield f"arms: got {test.arms[0]!r} twice, allowed two arms"


def _directions(test: Statistic) -> tuple[Direction | None, ...]:
    always = isinstance(test, Trend | Survival)  # without one there is nothing to ask
    return ("greater", "less") if always else (None, "greater", "less")


def _located(test: Mean | Slope | PairedDifference | Proportion) -> Iterator[str]:
    if test.direction is None and not 0 < test.margin < math.inf:
        yield f"margin: got {test.margin}, allowed > 0"
    if test.direction is not None and not 0 <= test.margin < math.inf:
        yield f"margin: got {test.margin}, allowed >= 0"
    if not 0 < test.sd < math.inf:
        yield f"sd: got {test.sd}, allowed > 0"
    if isinstance(test, Proportion):
        if not 0 <= test.target <= 1:
            yield f"target: got {test.target}, allowed 0 to 1"
    elif not math.isfinite(test.target):
        yield f"target: got {test.target}, allowed a finite number"
    elif test.num_parts < 1:
        yield f"num_parts: got {test.num_parts}, allowed >= 1"


def _distribution(test: Distribution) -> Iterator[str]:
    shares = list(test.reference.values())
    if not 2 <= len(shares) <= MAX_CATEGORIES:
        yield f"reference: got {len(shares)} categories, allowed 2 to {MAX_CATEGORIES}"
    if min(shares, default=0.0) < 0 or not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
        yield f"reference: got shares that sum to {sum(shares):g}, allowed shares from 0 that sum to 1"
    if test.reference_seeds < 2:
        yield f"reference_seeds: got {test.reference_seeds}, allowed >= 2"
    if not 0 < test.margin < 1:
        yield f"margin: got {test.margin}, allowed above 0 and below 1"
