"""What a run is asked for: a preset of a study, or a sweep's file, planned before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from gradlaw.claim_sql import sql_faults
from gradlaw.errors import ConfigurationError
from gradlaw.plan_kind import PlanKind
from gradlaw.planning.plan import Plan, make_plan
from gradlaw.studies import StudyFolder, SweepFile, find_study
from gradlaw.sweep.plan import plan_sweep

PLAN_CHECKS = "gradlaw.plan_checks"
"""Entry points called with (claims, declared seeds) before a plan that decides runs; they raise to refuse."""
DEFAULT_PRESET = "demo"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A plan and where it comes from.

    Attributes:
        folder: The study, or the sweep.
        plan: Its trials.
        notes: What a sweep's conditions and samples left out, in lines worth reading.
    """

    folder: StudyFolder
    plan: Plan
    notes: tuple[str, ...] = ()

    def check_claims(self) -> None:
        """Asks every installed check whether the declared seeds can decide the claims; they raise if not.

        Raises:
            ConfigurationError: The claims' SQL lacks a file or a parameter. Once there are data that could
                only be mended by a claim that was not declared before them.
        """
        if faults := sql_faults(self.folder):
            raise ConfigurationError(faults)
        if self.plan.kind is PlanKind.CONFIRM and self.folder.claims:
            for point in entry_points(group=PLAN_CHECKS):
                point.load()(self.folder.claims, self.plan.declared_seeds)


def plan_study(
    study: str | Path,
    *,
    preset: str | None = None,
    overrides: Mapping[str, object] | None = None,
    seeds: int | None = None,
    explore: bool = False,
) -> Planned:
    """Plans a preset of a study, or a sweep.

    Args:
        study: Name of a study, or the path of its folder or of a sweep's file.
        preset: Name of one of its presets; None: "demo", or a sweep's only one.
        overrides: New values, or lists of values, of hyperparameters or of ``steps``.
        seeds: Number of seeds instead of the declared one.
        explore: Draw the seeds from the range set apart for exploration; sweeps always do.

    Raises:
        UsageError: Unknown names or impossible values.
    """
    folder = find_study(study)
    if isinstance(folder, SweepFile):
        plan, notes = plan_sweep(folder.path, preset=preset, overrides=overrides, seeds=seeds)
        return Planned(folder=folder, plan=plan, notes=notes)
    name = preset or DEFAULT_PRESET
    plan = make_plan(folder.study, name, overrides=overrides, seeds=seeds, explore=explore)
    return Planned(folder=folder, plan=plan)
