"""Claims: what a study will decide, fixed before data.

This module only declares. The statistics behind each test are in ``gradlaw_analysis.stats``; no
declaration here needs more than the standard library, so that claims can be read anywhere.

A claim's ``.sql`` file yields its sample. It sees the views of the catalog (``trials``, ``metrics``
and the study's tables) restricted to the final trials of one plan that pass the claim's gate; its
values come as bound parameters. Each test says which columns it reads. ``seed`` is always the unit:
every test first reduces the rows of one seed to one estimate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Scalar = bool | int | float | str
Direction = Literal["greater", "less"]


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The mean over seeds lies within ``margin`` of ``target`` (TOST), or beyond it on one side.

    Columns: ``seed``, ``value`` (several rows of a seed are averaged).

    Attributes:
        target: The value claimed.
        margin: Half-width of the equivalence region, > 0; with ``direction`` the smallest effect that
            counts, >= 0.
        direction: None for equivalence; "greater": the mean exceeds ``target`` (refuted: it is below
            ``target - margin``); "less": mirrored.
        sd: Standard deviation over seeds assumed when planning, > 0.
        skewed: Whether seeds may be as skewed as an exponential law (raw losses, times). The test then
            holds its level for such data too, at the price of a wider interval.
        num_parts: Above 1, the sample has a column ``part`` with so many values, and the claim must hold in
            every one of them, not on average. ``sd`` is then that of one part; a seed that lacks a part is
            excluded and counted.
    """

    target: float
    margin: float
    direction: Direction | None = None
    sd: float
    skewed: bool = field(default=False, metadata={"omit_default": True})
    num_parts: int = field(default=1, metadata={"omit_default": True})


@dataclass(frozen=True, kw_only=True)
class Slope:
    """The least-squares slope of y on x, one slope a seed, lies within ``margin`` of ``target`` (TOST).

    Columns: ``seed``, ``x``, ``y`` (take logarithms in the SQL), at least two distinct x a seed; with a
    column ``series`` one slope for each series of a seed, averaged over the series.

    Attributes: as of :class:`Mean`.
    """

    target: float
    margin: float
    direction: Direction | None = None
    sd: float
    skewed: bool = field(default=False, metadata={"omit_default": True})
    num_parts: int = field(default=1, metadata={"omit_default": True})


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """The mean over seeds of value(arms[0]) - value(arms[1]) exceeds ``target``, or is equivalent to it.

    Columns: ``seed``, ``arm``, ``value``; with a column ``series`` one difference for each series of a seed,
    averaged over the series. A seed with an arm missing, in any of its series, is excluded and counted.

    Attributes:
        arms: The two arms, in the order of the subtraction.
        target: The difference claimed (0 for "they differ in this direction").
        margin, direction, sd, skewed, num_parts: As of :class:`Mean`; ``sd`` is of the differences.
    """

    arms: tuple[str, str]
    target: float = 0.0
    margin: float
    direction: Direction | None = None
    sd: float
    skewed: bool = field(default=False, metadata={"omit_default": True})
    num_parts: int = field(default=1, metadata={"omit_default": True})


@dataclass(frozen=True, kw_only=True)
class Proportion:
    """The share lies within ``margin`` of ``target``, or beyond it on one side.

    Columns: ``seed``, ``successes``, ``total``. One Bernoulli a seed (every total is 1): exact binomial
    tests and Wilson's interval; otherwise one share a seed and Student's t.

    Attributes: as of :class:`Mean`.
    """

    target: float
    margin: float
    direction: Direction | None = None
    sd: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Trend:
    """Values rise (or fall) over ordered levels: Page's test with seeds as blocks, Jonckheere's without.

    Columns: ``seed``, ``level`` (ordered number), ``value``. The effect is the mean over seeds of
    Spearman's rank correlation of value with level (blocked), or Kendall's tau (unblocked).

    Attributes:
        direction: "greater": rising.
        blocked: Whether each seed is measured at every level.
        num_levels: Number of levels, >= 2, for planning.
    """

    direction: Direction
    blocked: bool = True
    num_levels: int


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """A distribution over categories lies within ``margin`` of a published one, networks (seeds) as the unit.

    Columns: ``seed``, ``category``, ``count``. The effect is the total variation distance between the mean
    shares. The reference's own sampling error is that of ``reference_seeds`` networks that vary as ours do
    (a published table has no networks to permute).

    Attributes:
        reference: Share of each category, summing to 1.
        reference_seeds: Number of networks behind the reference, >= 2.
        margin: Largest total variation distance that still counts as equal, in (0, 1).
    """

    reference: Mapping[str, float]
    reference_seeds: int
    margin: float


@dataclass(frozen=True, kw_only=True)
class AllBelow:
    """An identity: every value is at most ``bound`` in absolute value. Outside the Holm family.

    Columns: ``seed``, ``value``.
    """

    bound: float


@dataclass(frozen=True, kw_only=True)
class Survival:
    """Event times of one arm are stochastically longer than of the other: censored log-rank test by seeds.

    Columns: ``seed``, ``arm``, ``time``, ``observed`` (false: right-censored at ``time``), one row a seed and
    arm; a seed without both arms is excluded and counted. p by swapping the arms within seeds. The effect is
    the difference of restricted mean times, arms[0] - arms[1].

    Attributes:
        arms: The two arms.
        direction: "greater": arms[0] takes longer.
        horizon: Time to which means are restricted, > 0, in the units of ``time``.
    """

    arms: tuple[str, str]
    direction: Direction
    horizon: float


Statistic = Mean | Slope | PairedDifference | Proportion | Trend | Distribution | AllBelow | Survival


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Which trials are inside the regime the theory speaks of.

    Attributes:
        statement: What the regime is, in a sentence.
        sql: File that yields ``trial_id``, ``passed`` (bool), one row for each trial that the claim is about.
            A trial without a row is no part of the sample either, and is not counted as failed.
        parameters: Bound parameters of the SQL.
    """

    statement: str
    sql: str
    parameters: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Control:
    """A sample on which the outcome is known: if it does not come out, the instrument is broken.

    Attributes:
        name: Lower-case words joined by underscores.
        statement: What must happen, in a sentence.
        sql: File that yields the sample.
        parameters: Bound parameters of the SQL.
        test: The statistic; the claim's own, where the control is the claim on broken data.
        expect: "supported" for an effect that must be found, "refuted" for one that must not.
    """

    name: str
    statement: str
    sql: str
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    test: Statistic
    expect: Literal["supported", "refuted"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of a study.

    Attributes:
        name: Lower-case words joined by underscores, unique in the study.
        statement: The claim in a sentence that could be false.
        source: Where it is claimed (arXiv number and equation, or seed text).
        sql: File, in the study's folder, that yields the sample.
        parameters: Bound parameters of the SQL.
        test: The statistic, with its margin.
        family: Claims of one family share alpha by Holm's procedure. Identities are outside.
        alpha: One-sided level of each of the two decisions (supported, refuted). At .025 a claim alone
            in its family has a 95% interval.
        looks: Numbers of seeds at which the claim may be evaluated, increasing; look k (from 1) spends
            alpha * 2**-k. Empty: one look, at the seeds the preset declares, spending all of alpha.
        gate: Regime of the theory, or None.
        controls: What must be found and what must not.
    """

    name: str
    statement: str
    source: str
    sql: str
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    test: Statistic
    family: str = "main"
    alpha: float = 0.025
    looks: tuple[int, ...] = ()
    gate: Gate | None = None
    controls: tuple[Control, ...] = ()


class Outcome(StrEnum):
    """What can be said of a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"
    OUTSIDE_REGIME = "outside regime"
    INSTRUMENT_BROKEN = "instrument broken"
    NO_DATA = "no data"
