"""Plan: what one run asks for. A preset is expanded into trials, checked whole, and cut into packs."""

from __future__ import annotations

import gc
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice

from gradlaw.adaptive.declared import Declared, split_edges
from gradlaw.errors import ConfigurationError, UnknownNameError, all_faults
from gradlaw.fingerprint import digest
from gradlaw.hyperparameter import Scalar
from gradlaw.pack import Member, Pack, probe_digests
from gradlaw.plan_kind import PlanKind
from gradlaw.planning.grid import expand
from gradlaw.planning.overrides import override
from gradlaw.study import Preset, Study

EXPLORE_SEED = 1_000_000
"""First seed of explore plans: the seeds below stay unseen until the claims are locked."""

TUNE_SEED = 2_000_000
"""First seed that searches tune on; explore plans tune on those from ``TUNE_SEED + EXPLORE_SEED`` on."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one run asks for.

    Attributes:
        plan_id: The preset's name and a digest of all that follows.
        study, preset: Names.
        overrides: What ``--set`` changed.
        kind: What it may be used for.
        seeds: The seeds, in order.
        declared_seeds: Number of seeds the preset declares.
        packs: All packs, those with the lowest seeds first.
        skipped: Members that are not to run, each with its reason.
        adaptive: What may ask for more, after what has ended; None where nothing does. Then ``packs`` and
            ``skipped`` hold the rounds so far as well; see :mod:`gradlaw.adaptive.growth`.
    """

    plan_id: str
    study: str
    preset: str
    overrides: Mapping[str, Scalar | tuple[Scalar, ...]]
    kind: PlanKind
    seeds: tuple[int, ...]
    declared_seeds: int
    packs: tuple[Pack, ...]
    skipped: tuple[tuple[Member, str], ...]
    adaptive: Declared | None = None

    @property
    def members(self) -> Iterator[Member]:
        """Every trial of the plan, skipped ones last."""
        for pack in self.packs:
            yield from pack.members
        for member, _ in self.skipped:
            yield member


def make_plan(
    study: Study,
    preset: str = "demo",
    *,
    overrides: Mapping[str, object] | None = None,
    seeds: int | None = None,
    explore: bool = False,
) -> Plan:
    """Expands a preset.

    Args:
        study: The study.
        preset: Name of one of its presets.
        overrides: New values, or axes (lists of values), of hyperparameters or of ``steps``; new values of
            settings of probes, by ``probe.setting``.
        seeds: Number of seeds instead of the preset's.
        explore: Draw the seeds from the range set apart for exploration.

    Raises:
        UnknownNameError: No such preset.
        ConfigurationError: Impossible values or unknown names: all faults at once.
    """
    if preset not in study.presets:
        raise UnknownNameError(preset, kind=f"preset of study {study.name}", known=study.presets)
    chosen = study.presets[preset]
    num_seeds = chosen.seeds if seeds is None else seeds
    first = EXPLORE_SEED if explore else 0
    seed_range = range(first, first + num_seeds)
    with all_faults() as faults:
        if num_seeds < 1:
            faults.append(f"seeds: got {num_seeds}, allowed >= 1")
        chosen, settings, wrong = override(chosen, dict(overrides or {}))
        faults += wrong
        plain, edged = split_edges(chosen.grids)
        adaptive = Declared(study.name, chosen.searches, edged, seed_range, TUNE_SEED + first)
        faults += adaptive.faults
        with _no_collection():
            packs, skipped = expand(study.name, plain, seed_range)
    kind = _kind(chosen, explore=explore, varied=bool(settings))
    asked = _asked(packs, skipped)
    _refuse_duplicates(sorted(chain.from_iterable(trial_ids for _, trial_ids in asked)))
    identity: list[object] = [study.name, preset, dict(settings), kind, list(seed_range), asked]
    if not adaptive.is_empty:
        identity.append(adaptive.identity)
    return Plan(
        plan_id=f"{preset}_{digest(identity, length=10)}",
        study=study.name,
        preset=preset,
        overrides=settings,
        kind=kind,
        seeds=tuple(seed_range),
        declared_seeds=chosen.seeds,
        packs=tuple(packs),
        skipped=tuple(skipped),
        adaptive=None if adaptive.is_empty else adaptive,
    )


@contextmanager
def _no_collection() -> Iterator[None]:
    """No search for garbage: of the millions of parts of a plan none is, and searching takes a third more."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _kind(preset: Preset, *, explore: bool, varied: bool) -> PlanKind:
    if not preset.decides:
        return PlanKind.SMOKE
    if explore:
        return PlanKind.EXPLORE
    return PlanKind.VARIANT if varied else PlanKind.CONFIRM


def _asked(
    packs: Iterable[Pack], skipped: Iterable[tuple[Member, str]]
) -> list[tuple[tuple[str, ...], list[str]]]:
    """Ids of trials by the probes asked of them: the same trials measured otherwise are another plan.

    Else its record would go on to ask for the probes of the first, and readers would see their numbers.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    for pack in packs:
        probes = tuple(sorted(probe_digests(pack.program)))
        found.setdefault(probes, []).extend(member.trial.trial_id for member in pack.members)
    found.setdefault((), []).extend(member.trial.trial_id for member, _ in skipped)
    return [(probes, sorted(found[probes])) for probes in sorted(found)]


def _refuse_duplicates(trial_ids: Sequence[str]) -> None:
    """Raises if an id comes twice; they are sorted."""
    repeated = sum(map(operator.eq, trial_ids, islice(trial_ids, 1, None)))
    if repeated:
        fault = f"grids: {repeated} trials stand in more than one grid; allowed: each once; merge the grids"
        raise ConfigurationError([fault])
