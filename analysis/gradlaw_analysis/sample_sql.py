"""The SQL behind a verdict, whole: a study's file, its parameters, the plan and the gate in one statement.

What is run is what is shown: the text holds its parameters as literals and each view cut down to the
plan, so that ``gradlaw sql`` gives the same sample by hand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gradlaw.claim import Scalar
from gradlaw.claim_sql import TOKEN, parameter_fault
from gradlaw.errors import ClaimError
from gradlaw.store.paths import METRICS_LIVE, PLANS
from gradlaw.trial import RETRIABLE


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The trials that a study's SQL sees: those of one plan that have ended.

    Attributes:
        plan_id: The plan.
        views: Names of the views to be cut down; all have a ``trial_id``.
        seeds: Seeds of the plan that are complete; None: all are.
    """

    plan_id: str
    views: Sequence[str]
    seeds: Sequence[int] | None = None


def bind(statement: str, parameters: Mapping[str, Scalar], name: str) -> str:
    """``statement`` with every ``$name`` as a literal.

    Args:
        statement: Text of a SQL file.
        parameters: A value for each ``$name`` of it, and no more.
        name: What to call it in an error.

    Raises:
        ClaimError: A parameter without a value, or a value without its parameter.

    >>> bind("SELECT $a, '$a' -- $a", {"a": 0.5}, "x.sql")
    "SELECT 0.5e0, '$a' -- $a"
    """
    if fault := parameter_fault(statement, parameters, name):
        raise ClaimError(fault)
    text = TOKEN.sub(lambda match: literal(parameters[match[1]]) if match[1] else match[0], statement)
    return text.strip().rstrip(";").rstrip()


def literal(value: Scalar) -> str:
    """A value as DuckDB reads it back, of equal type: without an exponent a number would be a DECIMAL.

    >>> literal("it's"), literal(1), literal(1.0), literal(True)
    ("'it''s'", '1', '1.0e0', 'TRUE')
    """
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if not math.isfinite(value):
        return f"CAST('{value}' AS DOUBLE)"
    return text if "e" in (text := repr(value)) else f"{text}e0"


def gate_sql(scope: Scope, gate: str) -> str:
    """The rows of a gate (``trial_id``, ``passed``) on the trials in scope.

    Args:
        scope: The trials.
        gate: The gate's SQL, bound.
    """
    return _select({"_plan": _planned(scope), **_cut(scope, gate, "_plan")}, gate)


def sample_sql(scope: Scope, statement: str, gate: str | None = None) -> str:
    """The rows of a study's SQL on the trials in scope that pass the gate.

    Args:
        scope: The trials.
        statement: The SQL, bound.
        gate: The gate's SQL, bound; None without a gate.
    """
    relations, source = {"_plan": _planned(scope)}, "_plan"
    if gate is not None:
        inner = _select(_cut(scope, gate, "_plan"), gate, "trial_id")
        relations["_passed"] = f"{inner} WHERE passed AND trial_id IN (SELECT trial_id FROM _plan)"  # noqa: S608 - own names
        source = "_passed"
    return _select({**relations, **_cut(scope, statement, source)}, statement)


def mentions(statement: str, views: Iterable[str]) -> list[str]:
    """Those of ``views`` whose name stands in a statement, as a word."""
    return [view for view in views if re.search(rf"\b{view}\b", statement, re.IGNORECASE)]


# What is put together below are names of views and literals made by ``literal``; a study's own SQL is
# code, as its Python is.


def _planned(scope: Scope) -> str:
    unfinished = ", ".join(literal(state.value) for state in sorted(RETRIABLE))
    text = (
        "\n  SELECT trial_id FROM temp.trials WHERE trial_id IN (SELECT trial_id FROM temp.plans "  # noqa: S608 - own names
        f"WHERE plan_id = {literal(scope.plan_id)})\n  AND state NOT IN ({unfinished})"
    )
    if scope.seeds is not None:
        text += f"\n  AND seed IN ({', '.join(map(str, scope.seeds)) or 'NULL'})"
    return f"{text}\n"


def _cut(scope: Scope, statement: str, source: str) -> dict[str, str]:
    """The views that ``statement`` names, each hidden behind one with the trials of ``source`` alone.

    Every committed row's trial is in ``trials``, so that what is left out can be said as well as what is
    kept. It is most often nothing, and then a hundred million rows need not be looked up one by one.
    Of ``plans`` the rows of this plan alone: another may ask for the same trial for another reason.
    """
    left_out = f"SELECT trial_id FROM temp.trials ANTI JOIN {source} USING (trial_id)"  # noqa: S608 - own names
    cut = {"_left_out": left_out}
    for view in mentions(statement, [*scope.views, PLANS]):
        if view in (PLANS, METRICS_LIVE):
            cut[view] = f"SELECT * FROM temp.{view} WHERE trial_id IN (SELECT trial_id FROM {source})"  # noqa: S608 - own names
        else:
            cut[view] = f"SELECT * FROM temp.{view} ANTI JOIN _left_out USING (trial_id)"  # noqa: S608 - own names
    if PLANS in cut:
        cut[PLANS] += f" AND plan_id = {literal(scope.plan_id)}"
    return cut


def _select(relations: Mapping[str, str], statement: str, columns: str = "*") -> str:
    listed = ",\n".join(f"{name} AS ({body})" for name, body in relations.items())
    return f"{f'WITH {listed}' if listed else ''}\nSELECT {columns} FROM (\n{statement}\n)".lstrip()
