"""From one plan's data to the verdicts of a study: samples, statistics, gates, controls, decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from gradlaw.claim import Claim, Control, Gate, Outcome
from gradlaw.errors import ClaimError, UnknownNameError
from gradlaw.plan_kind import PlanKind
from gradlaw.studies import StudyFolder
from gradlaw_analysis.decide import Decision, Evidence, decide
from gradlaw_analysis.declared import claim_documents, declared_before_data
from gradlaw_analysis.plan_data import PlanData
from gradlaw_analysis.sample_sql import bind, gate_sql, sample_sql
from gradlaw_analysis.stats import Effect, claim_rng, evaluate
from gradlaw_analysis.verdict import GateCount, Verdict


def judge(folder: StudyFolder, plan: PlanData, locks: Sequence[Mapping[str, Any]]) -> tuple[Verdict, ...]:
    """The verdicts of all claims of a study on one plan, in the order of the claims.

    A claim that cannot be evaluated comes out as "no data" with the cause, and keeps no other from it.

    Args:
        folder: The study.
        plan: The data.
        locks: The study's lock.
    """
    documents = claim_documents(folder)
    examined = [_examine(folder, claim, plan) for claim in folder.claims]
    decisions = decide(
        [item.evidence for item in examined],
        num_seeds=len(plan.seeds),
        declared_seeds=plan.declared_seeds,
    )
    return tuple(
        _verdict(
            item,
            decision,
            plan,
            declared=declared_before_data(
                documents[decision.claim], locks, plan.record.plan_id, plan.asked_since
            ),
        )
        for item, decision in zip(examined, decisions, strict=True)
    )


@dataclass(frozen=True, kw_only=True)
class _Examined:
    """One claim with what its SQL gave."""

    evidence: Evidence
    gate: GateCount | None
    sql: str
    faults: tuple[str, ...]


def _examine(folder: StudyFolder, claim: Claim, plan: PlanData) -> _Examined:
    faults: list[str] = []
    sql, gate, gate_text, effect = "", None, None, None
    try:
        if claim.gate is not None:
            gate_text = bind(folder.sql(claim.gate.sql), claim.gate.parameters, claim.gate.sql)
            gate = _count(claim.gate, plan, plan.rows(gate_sql(plan.scope, gate_text), claim.gate.sql))
        statement = bind(folder.sql(claim.sql), claim.parameters, claim.sql)
        sql = sample_sql(plan.scope, statement, gate_text)
        effect = _effect(claim, claim, plan, sql)
    except (ClaimError, UnknownNameError) as error:
        faults.append(str(error))
    controls = {control.name: _control(folder, claim, control, plan, faults) for control in claim.controls}
    has_trials = (
        gate is not None and gate.num_passed + gate.num_failed > 0
    )  # else there is no data to be outside
    evidence = Evidence(
        claim=claim,
        effect=effect,
        controls=controls,
        gate_seeds=gate.num_seeds if gate and has_trials else None,
    )
    return _Examined(evidence=evidence, gate=gate, sql=sql, faults=tuple(faults))


def _effect(claim: Claim, part: Claim | Control, plan: PlanData, sql: str) -> Effect | None:
    sample = plan.rows(sql, part.sql)
    if sample.empty:
        return None
    strange = set(sample["seed"].dropna()) - set(plan.seeds) if "seed" in sample.columns else set()
    if strange:
        msg = (
            f"{part.sql}: got seed {min(strange)}, allowed the {len(plan.seeds)} seeds of the plan as they "
            "are: seeds are the unit, and rows of one seed are not independent; select trials.seed"
        )
        raise ClaimError(msg)
    return evaluate(part.test, sample, rng=claim_rng(claim))


def _count(gate: Gate, plan: PlanData, rows: pd.DataFrame) -> GateCount:
    """Counts of a gate over the seeds that have ended: of the trials that it has a row of, no others."""
    if missing := {"trial_id", "passed"} - set(rows.columns):
        msg = f"{gate.sql}: missing columns {', '.join(sorted(missing))}; a gate yields trial_id, passed"
        raise ClaimError(msg)
    known = plan.trials.loc[plan.trials["seed"].isin(plan.seeds)].set_index("trial_id")["seed"]
    about = set(rows["trial_id"]) & set(known.index)
    passed = set(rows.loc[rows["passed"].eq(True).fillna(value=False), "trial_id"]) & about
    return GateCount(
        statement=gate.statement,
        num_passed=len(passed),
        num_failed=len(about) - len(passed),
        num_seeds=int(known.loc[list(passed)].nunique()),
    )


def _control(
    folder: StudyFolder, claim: Claim, control: Control, plan: PlanData, faults: list[str]
) -> Effect | None:
    try:
        statement = bind(folder.sql(control.sql), control.parameters, control.sql)
        return _effect(claim, control, plan, sample_sql(plan.scope, statement))
    except (ClaimError, UnknownNameError) as error:
        if str(error) not in faults:  # what the claim itself lacks is said once
            faults.append(f"control {control.name}: {error}")
        return None


def _verdict(item: _Examined, decision: Decision, plan: PlanData, *, declared: bool) -> Verdict:
    record = plan.record
    verdict = Verdict(
        study=record.study,
        plan=record.plan_id,
        preset=record.preset,
        kind=record.kind,
        claim=item.evidence.claim,
        verdict=decision.outcome,
        exploratory=decision.exploratory or record.kind != PlanKind.CONFIRM,
        reason=_reason(item, decision, plan),
        estimate=decision.estimate,
        ci_low=decision.ci_low,
        ci_high=decision.ci_high,
        ci_level=decision.ci_level,
        family_size=decision.family_size,
        p_value=decision.p_value,
        p_complement=decision.p_complement,
        p_adjusted=decision.p_adjusted,
        num_planned=plan.num_planned,
        num_trials=plan.num_ended,
        states=plan.states,
        num_seeds=decision.num_seeds,
        num_excluded=len(plan.seeds) - decision.num_seeds,
        seeds_needed=decision.seeds_needed,
        declared_before_data=declared,
        gate=item.gate,
        controls=decision.controls,
        sql=item.sql,
        files=plan.files(item.sql),
        git_commit=record.git_commit,
    )
    if record.kind != PlanKind.SMOKE:
        return verdict
    # No p of it is shown: its trials test the plumbing, and a look at them is a look at nothing.
    return replace(verdict, verdict=Outcome.INCONCLUSIVE, p_value=None, p_complement=None, p_adjusted=None)


def _reason(item: _Examined, decision: Decision, plan: PlanData) -> str | None:
    record = plan.record
    if record.kind == PlanKind.SMOKE:  # what its SQL lacks is what such a plan is run for
        unread = [decision.reason] if decision.outcome is Outcome.NO_DATA and decision.reason else []
        return "; ".join([f"preset {record.preset} never decides", *(item.faults or unread)])
    reasons = [*item.faults] or ([decision.reason] if decision.reason else [])
    if not plan.complete:
        so_far = " so far, with rounds to come" if record.is_open else ""
        reasons.append(
            f"the plan is incomplete: {plan.num_ended} of {plan.num_planned} trials{so_far}, "
            f"{len(plan.seeds)} of {record.num_seeds} seeds"
        )
    if record.kind != PlanKind.CONFIRM:
        reasons.append(f"a plan of kind {record.kind} decides nothing")
    elif decision.exploratory:
        looks = ", ".join(map(str, item.evidence.claim.looks or (plan.declared_seeds,)))
        reasons.append(f"{len(plan.seeds)} seeds are no declared look (declared: {looks})")
    return "; ".join(reasons) or None
