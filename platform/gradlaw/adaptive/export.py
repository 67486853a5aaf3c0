"""Searches as an Optuna journal, which optuna-dashboard shows: one Optuna study for each arm.

The journal is a copy. A run goes by what is committed in the store, and never reads it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlaw.adaptive.ask import Ask, Ended, Outcome
from gradlaw.adaptive.declared import Declared
from gradlaw.adaptive.growth import Growth
from gradlaw.adaptive.outcomes import metrics_of, read_outcomes
from gradlaw.adaptive.rounds import Standing, standings
from gradlaw.adaptive.samplers import Tried, distributions, frozen, quiet_optuna
from gradlaw.errors import UsageError
from gradlaw.planning.planned import Planned
from gradlaw.store.store import Store
from gradlaw.study import Arm, Search

if TYPE_CHECKING:
    import optuna


def export_journal(planned: Planned, store: Store, out: str | Path) -> int:
    """Writes the searches of a plan, as far as they are, in place of what the file held.

    An Optuna study is named ``<study>.<search>.<arm>``. Its trials are the arm's configurations in order,
    with their mean over tuning seeds; what ranks last is pruned, and what has not ended is running.

    Args:
        planned: The plan.
        store: Where its rounds and trials are.
        out: The journal's file.

    Returns:
        Number of configurations.

    Raises:
        UsageError: The plan has no search, or ``out`` is a folder.
        StoreError: The store cannot be read.
    """
    plan = planned.plan
    declared = plan.adaptive
    if declared is None or not declared.searches:
        msg = f"preset {plan.preset} of study {plan.study} declares no search; name one that does by --preset"
        raise UsageError(msg)
    if Path(out).is_dir():
        msg = f"--out: got the folder {out}, allowed a file"
        raise UsageError(msg)
    growth = Growth(plan, store)
    outcomes = read_outcomes(store, growth.needed, metrics_of(declared))
    with tempfile.TemporaryDirectory(dir=Path(out).absolute().parent) as folder:
        file = Path(folder) / "journal"
        number = _write(file, declared, growth, outcomes)
        os.replace(file, out)  # noqa: PTH105 - in place of what is there, on every system
    return number


def _write(file: Path, declared: Declared, growth: Growth, outcomes: Mapping[str, Outcome]) -> int:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    number = 0
    with quiet_optuna():
        storage = JournalStorage(JournalFileBackend(str(file)))
        for search in declared.searches:
            for arm in search.arms:
                trials = list(_trials(search, arm, growth, outcomes))
                _add(storage, growth, search, arm).add_trials(trials)
                number += len(trials)
    return number


def _add(storage: optuna.storages.BaseStorage, growth: Growth, search: Search, arm: Arm) -> optuna.Study:
    import optuna

    study = optuna.create_study(
        storage=storage,
        study_name=f"{growth.plan.study}.{search.name}.{arm.name}",
        direction="minimize" if search.direction == "below" else "maximize",
    )
    study.set_user_attr("plan_id", growth.plan.plan_id)
    study.set_user_attr("metric", search.metric)
    return study


def _trials(
    search: Search, arm: Arm, growth: Growth, outcomes: Mapping[str, Outcome]
) -> Iterator[optuna.trial.FrozenTrial]:
    """The arm's configurations in order, up to the first that nobody asked for."""
    from optuna.trial import TrialState, create_trial

    asked: dict[int, list[tuple[Ask, str]]] = {}
    for part in growth.rounds:
        for ask, trial_id in zip(part.asks, part.built.trial_ids, strict=True):
            if (ask.role, ask.search, ask.arm) == ("tuning", search.name, arm.name):
                asked.setdefault(ask.number, []).append((ask, trial_id))
    ended = [
        Ended(ask, outcomes[trial_id])
        for pairs in asked.values()
        if all(trial_id in outcomes for _, trial_id in pairs)
        for ask, trial_id in pairs
    ]
    ranked: dict[int, Standing] = {item.number: item for item in standings(search, arm, ended)}
    for number, pairs in sorted(asked.items()):
        values = pairs[0][0].values
        if number in ranked:
            trial = frozen(arm.space, Tried(values, ranked[number].score))
        else:
            trial = create_trial(
                state=TrialState.RUNNING, params=dict(values), distributions=distributions(arm.space)
            )
        trial.user_attrs = _attributes(pairs, outcomes)
        yield trial


def _attributes(pairs: list[tuple[Ask, str]], outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    ids = [trial_id for _, trial_id in pairs]
    states = [str(outcomes[trial_id].state) if trial_id in outcomes else "running" for trial_id in ids]
    return {"trial_ids": ids, "seeds": [ask.seed for ask, _ in pairs], "states": states}
