"""Verdict: what can be said of one claim on one plan, with everything it stands on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gradlaw.claim import Claim, Outcome
from gradlaw.plan_kind import PlanKind
from gradlaw_analysis.decide import ControlResult
from gradlaw_analysis.json_values import plain


@dataclass(frozen=True, kw_only=True)
class GateCount:
    """How many of the finished trials that a claim is about are inside the regime it speaks of.

    Attributes:
        statement: The regime.
        num_passed, num_failed: Trials that the gate has a row of; others belong to other claims.
        num_seeds: Seeds with a trial that passed.
    """

    statement: str
    num_passed: int
    num_failed: int
    num_seeds: int


@dataclass(frozen=True, kw_only=True)
class FileSet:
    """The Parquet files that a verdict read.

    Attributes:
        keys: Paths below the store's root, sorted.
        digest: Of their names and contents.
    """

    keys: tuple[str, ...]
    digest: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What can be said of one claim on one plan.

    Attributes:
        study, plan, preset: Names.
        kind: Of the plan: only "confirm" decides.
        claim: The declaration.
        verdict: The outcome.
        exploratory: Whether this is a look that was not declared, or on a plan that decides nothing.
        reason: Why it is not simply supported or refuted, or what else to know; None if nothing.
        estimate: Effect in the sample's units; None without data.
        ci_low, ci_high: Interval at ``ci_level``, which matches the test after Holm and looks; None without.
        ci_level: In (0, 1).
        family_size: Claims in its Holm family.
        p_value: Of the side the verdict rests on, unadjusted; the complement's if refuted, else the claim's.
        p_complement: p of "the claim holds or misses by at most its margin"; small: refuted.
        p_adjusted: ``p_value`` after Holm and looks, to be compared with the claim's alpha.
        num_planned: Trials of the plan.
        num_trials: Of these, those that have ended, in whatever final state, measured as the plan asks.
        states: Number of the plan's trials by state; "missing" where there is no row.
        num_seeds: Seeds behind the estimate. Only seeds all of whose planned trials have ended enter.
        num_excluded: Ended seeds of the plan that are not behind the estimate: their design is incomplete (a
            trial diverged or failed and the SQL leaves it out), or none of their trials passed the gate.
        seeds_needed: Seeds for 80% power with the spread observed; None if no number can be named.
        declared_before_data: Whether this very claim, SQL included, was locked before the plan's first trial.
        gate: Counts of the gate; None without one.
        controls: How the controls came out. They see the plan's trials without the claim's gate, because
            data outside the regime may be just what a control is about.
        sql: The statement behind the sample, whole: ``gradlaw sql`` gives the same rows by hand.
        files: What it read.
        git_commit: Of the code that made the plan.
    """

    study: str
    plan: str
    preset: str
    kind: PlanKind
    claim: Claim
    verdict: Outcome
    exploratory: bool
    reason: str | None
    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    ci_level: float | None
    family_size: int
    p_value: float | None
    p_complement: float | None
    p_adjusted: float | None
    num_planned: int
    num_trials: int
    states: Mapping[str, int]
    num_seeds: int
    num_excluded: int
    seeds_needed: int | None
    declared_before_data: bool
    gate: GateCount | None
    controls: tuple[ControlResult, ...]
    sql: str
    files: FileSet
    git_commit: str

    @property
    def margin(self) -> float | None:
        """The claim's margin or bound; None where its test has none."""
        margin: float | None = getattr(self.claim.test, "margin", getattr(self.claim.test, "bound", None))
        return margin

    @property
    def target(self) -> float | None:
        """The value claimed; None where its test has none."""
        target: float | None = getattr(self.claim.test, "target", None)
        return target

    @property
    def interval(self) -> tuple[float, float] | None:
        """The confidence interval, if there is one."""
        return None if self.ci_low is None or self.ci_high is None else (self.ci_low, self.ci_high)

    def document(self) -> dict[str, Any]:
        """The verdict as JSON; what is not a finite number is null."""
        own = {
            "study": self.study,
            "plan": self.plan,
            "preset": self.preset,
            "plan_kind": self.kind,
            "claim": self.claim.name,
            "statement": self.claim.statement,
            "source": self.claim.source,
            "verdict": self.verdict.value,
            "exploratory": self.exploratory,
            "reason": self.reason,
            "test": type(self.claim.test).__name__,
            "target": self.target,
            "margin": self.margin,
            "direction": getattr(self.claim.test, "direction", None),
            "num_parts": getattr(self.claim.test, "num_parts", 1),
            "family": self.claim.family,
            "alpha": self.claim.alpha,
            "gate": asdict(self.gate) if self.gate else None,
            "controls": [asdict(control) for control in self.controls],
            "states": dict(self.states),
            "files": {"count": len(self.files.keys), "digest": self.files.digest, "keys": self.files.keys},
        }
        numbers = {name: getattr(self, name) for name in _FIELDS}
        return {name: plain(value) for name, value in {**own, **numbers}.items()}


_FIELDS = (
    "estimate", "ci_low", "ci_high", "ci_level", "family_size", "p_value", "p_complement", "p_adjusted",
    "num_planned", "num_trials", "num_seeds", "num_excluded", "seeds_needed", "declared_before_data",
    "git_commit", "sql",
)  # fmt: skip
