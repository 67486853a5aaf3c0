"""From the effects of a study's claims to outcomes: Holm within families, declared looks, controls, gates.

Every claim is tested twice: its p_claim asks for "supported", its p_complement for "refuted", and Holm's
procedure (Scand. J. Statist. 6, 1979, 65-70) runs over a family once for each side. At look k a claim spends
alpha 2^-k, so p is first divided by that share, which puts all p of a family on the scale of alpha.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gradlaw.claim import AllBelow, Claim, Control, Outcome
from gradlaw.errors import ClaimError
from gradlaw_analysis.stats.effect import Effect
from gradlaw_analysis.stats.power import family_sizes, look_share, seeds_needed


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of one claim.

    Attributes:
        claim: The declaration.
        effect: Its statistic on the sample; None if there is no sample.
        controls: Effect of each control by name; None where a control has no sample.
        gate_seeds: Seeds with trials that pass the gate; None without a gate.
    """

    claim: Claim
    effect: Effect | None
    controls: Mapping[str, Effect | None] = field(default_factory=dict)
    gate_seeds: int | None = None


@dataclass(frozen=True, kw_only=True)
class ControlResult:
    """How one control came out.

    Attributes:
        name: The control.
        expected: Outcome that shows the instrument to work.
        outcome: Outcome found.
        estimate: The control's effect, or None without data.
        p_value: p of the expected side.
    """

    name: str
    expected: Outcome
    outcome: Outcome
    estimate: float | None
    p_value: float | None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The statistical part of a verdict.

    Attributes:
        claim: Name of the claim.
        outcome: What can be said.
        estimate: Effect; None without data.
        ci_low, ci_high: Interval at ``ci_level``; None where there is none.
        ci_level: 1 - 2 alpha', with alpha' the one-sided level at which Holm's procedure judged this claim:
            alpha, times the look's share, over the divisor. See :func:`holm`.
        num_seeds: Seeds behind the estimate.
        family_size: Claims in the Holm family; 1 for identities.
        p_value: p of the side the outcome rests on, before any adjustment: the complement's if refuted, else
            the claim's.
        p_complement: That of the complement.
        p_adjusted: ``p_value`` after Holm and looks, to be compared with the claim's alpha; at most 1.
        seeds_needed: Seeds for 80% power to support at alpha' with the observed sd, if the claim is true;
            None if no number can be named.
        exploratory: Evaluated at a number of seeds that was not declared: not a verdict.
        reason: Why it is not simply supported or refuted, or None.
        controls: Results of the controls.
    """

    claim: str
    outcome: Outcome
    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    ci_level: float | None
    num_seeds: int
    family_size: int
    p_value: float | None
    p_complement: float | None
    p_adjusted: float | None
    seeds_needed: int | None
    exploratory: bool
    reason: str | None
    controls: tuple[ControlResult, ...]


@dataclass(frozen=True, kw_only=True)
class Adjusted:
    """One p after Holm's procedure, and the divisor its claim was judged with."""

    p: float
    divisor: int


def holm(p_values: Sequence[float], alpha: float) -> list[Adjusted]:
    """Holm's step-down adjustment.

    The i-th smallest of m p (from 0) is multiplied by m - i; no adjusted p is below that of a smaller p.
    ``divisor`` is m - i for what is rejected at ``alpha`` and, for everything after the first that is
    not, the divisor at which the procedure stopped: so an interval at level 1 - 2 alpha / divisor excludes
    the bound of a one-sided test exactly if Holm's procedure rejects it.

    >>> [round(adjusted.p, 3) for adjusted in holm([0.01, 0.04, 0.03], 0.05)]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [Adjusted(p=1.0, divisor=len(p_values))] * len(p_values)
    largest, divisor = 0.0, len(p_values)
    for rank, index in enumerate(order):
        if largest <= alpha:
            divisor = len(p_values) - rank
        largest = min(1.0, max(largest, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = Adjusted(p=largest, divisor=divisor)
    return adjusted


def decide(evidence: Sequence[Evidence], *, num_seeds: int, declared_seeds: int) -> tuple[Decision, ...]:
    """Decides all claims of a study at once, in the order given.

    A claim without data, outside its regime or with a broken control still counts in its family, with p = 1.

    Args:
        evidence: One entry for every claim of the study, whether or not it has data.
        num_seeds: Seeds of the plan that are complete: the look this is.
        declared_seeds: Seeds the plan's preset declares: the one look of claims that declare none.

    Raises:
        ClaimError: If claims of one family differ in alpha, or a control declared has no entry.
    """
    sizes = family_sizes([item.claim for item in evidence])
    blocked = [_blocked(item, _controls(item, num_seeds)) for item in evidence]
    sides = _adjust(evidence, blocked, num_seeds)
    return tuple(
        _decision(
            item,
            overlay,
            sides[index],
            family_size=1 if isinstance(item.claim.test, AllBelow) else sizes[item.claim.family],
            num_seeds=num_seeds,
            exploratory=is_exploratory(item.claim, num_seeds, declared_seeds),
        )
        for index, (item, overlay) in enumerate(zip(evidence, blocked, strict=True))
    )


def is_exploratory(claim: Claim, num_seeds: int, declared_seeds: int) -> bool:
    """Whether ``num_seeds`` is no look that the claim declared (without looks: ``declared_seeds``)."""
    return num_seeds not in (claim.looks or (declared_seeds,))


@dataclass(frozen=True, kw_only=True)
class _Overlay:
    """An outcome that comes before any p: or None, with the controls' results."""

    outcome: Outcome | None
    reason: str | None
    controls: tuple[ControlResult, ...]


def _blocked(item: Evidence, controls: tuple[ControlResult, ...]) -> _Overlay:
    outcome, reason = None, None
    broken = [control for control in controls if control.outcome != control.expected]
    if item.claim.gate is not None and item.gate_seeds is not None and item.gate_seeds < 2:
        outcome = Outcome.OUTSIDE_REGIME
        reason = f"{item.gate_seeds} seeds pass the gate, at least 2 needed: {item.claim.gate.statement}"
    elif item.effect is None or item.effect.num_seeds == 0:
        outcome, reason = Outcome.NO_DATA, item.effect.reason if item.effect else "no rows"
    elif broken:
        outcome = Outcome.INSTRUMENT_BROKEN
        reason = "; ".join(f"control {c.name}: expected {c.expected}, got {c.outcome}" for c in broken)
    return _Overlay(outcome=outcome, reason=reason, controls=controls)


def _controls(item: Evidence, num_seeds: int) -> tuple[ControlResult, ...]:
    declared = {control.name for control in item.claim.controls}
    if declared != set(item.controls):
        msg = (
            f"claim {item.claim.name}: declares controls {', '.join(sorted(declared)) or 'none'}; "
            f"got {', '.join(sorted(item.controls)) or 'none'}"
        )
        raise ClaimError(msg)
    alpha = item.claim.alpha * look_share(item.claim, num_seeds)
    return tuple(_control(control, item.controls[control.name], alpha) for control in item.claim.controls)


def _control(control: Control, effect: Effect | None, alpha: float) -> ControlResult:
    """A control is judged alone: it guards the claim and adds nothing to be adjusted for."""
    expected = Outcome(control.expect)
    if effect is None or effect.num_seeds == 0:
        return ControlResult(
            name=control.name, expected=expected, outcome=Outcome.NO_DATA, estimate=None, p_value=None
        )
    return ControlResult(
        name=control.name,
        expected=expected,
        outcome=_outcome(effect.p_claim, effect.p_complement, alpha),
        estimate=effect.estimate,
        p_value=effect.p_claim if expected is Outcome.SUPPORTED else effect.p_complement,
    )


def _outcome(p_claim: float, p_complement: float, alpha: float) -> Outcome:
    if p_claim <= alpha:
        return Outcome.SUPPORTED
    return Outcome.REFUTED if p_complement <= alpha else Outcome.INCONCLUSIVE


def _adjust(
    evidence: Sequence[Evidence], blocked: Sequence[_Overlay], num_seeds: int
) -> dict[int, tuple[Adjusted, Adjusted]]:
    """Both sides of every claim after looks and Holm, by position; identities stay as they are."""
    sides: dict[int, tuple[Adjusted, Adjusted]] = {}
    families: dict[str, list[int]] = {}
    scaled: list[tuple[float, float]] = []
    for index, (item, overlay) in enumerate(zip(evidence, blocked, strict=True)):
        usable = item.effect is not None and overlay.outcome is None
        claim, complement = (
            (item.effect.p_claim, item.effect.p_complement) if item.effect and usable else (1.0, 1.0)
        )
        share = look_share(item.claim, num_seeds)
        scaled.append((claim / share, complement / share))
        if isinstance(item.claim.test, AllBelow):
            sides[index] = Adjusted(p=claim, divisor=1), Adjusted(p=complement, divisor=1)
        else:
            families.setdefault(item.claim.family, []).append(index)
    for family, members in families.items():
        alphas = {evidence[index].claim.alpha for index in members}
        if len(alphas) > 1:
            msg = (
                f"claims of family {family!r} must share one alpha; got {', '.join(map(str, sorted(alphas)))}"
            )
            raise ClaimError(msg)
        (alpha,) = alphas
        claims = holm([scaled[index][0] for index in members], alpha)
        complements = holm([scaled[index][1] for index in members], alpha)
        sides.update(zip(members, zip(claims, complements, strict=True), strict=True))
    return sides


def _decision(
    item: Evidence,
    overlay: _Overlay,
    sides: tuple[Adjusted, Adjusted],
    *,
    family_size: int,
    num_seeds: int,
    exploratory: bool,
) -> Decision:
    claim, effect = item.claim, item.effect
    outcome = overlay.outcome or _outcome(sides[0].p, sides[1].p, claim.alpha)
    refuted = outcome is Outcome.REFUTED
    divisor = sides[1].divisor if refuted else sides[0].divisor
    if outcome is Outcome.INCONCLUSIVE:  # the wider interval agrees with both sides
        divisor = max(sides[0].divisor, sides[1].divisor)
    level_alpha = claim.alpha * look_share(claim, num_seeds) / divisor
    if effect is None or effect.num_seeds == 0:
        effect = None
    interval = effect.interval(1 - 2 * level_alpha) if effect and effect.reason is None else None
    return Decision(
        claim=claim.name,
        outcome=outcome,
        estimate=effect.estimate if effect else None,
        ci_low=interval[0] if interval else None,
        ci_high=interval[1] if interval else None,
        ci_level=1 - 2 * level_alpha if interval else None,
        num_seeds=effect.num_seeds if effect else 0,
        family_size=family_size,
        p_value=(effect.p_complement if refuted else effect.p_claim) if effect else None,
        p_complement=effect.p_complement if effect else None,
        p_adjusted=sides[refuted].p if effect else None,
        seeds_needed=_seeds_needed(claim, effect, level_alpha),
        exploratory=exploratory,
        reason=overlay.reason or _reason(outcome, effect),
        controls=overlay.controls,
    )


def _seeds_needed(claim: Claim, effect: Effect | None, alpha: float) -> int | None:
    observed = effect.sd if effect and effect.sd and math.isfinite(effect.sd) else None
    return seeds_needed(claim.test, alpha, sd=observed)


def _reason(outcome: Outcome, effect: Effect | None) -> str | None:
    if effect is not None and effect.reason is not None:
        return effect.reason
    return "the interval does not settle it" if outcome is Outcome.INCONCLUSIVE else None
