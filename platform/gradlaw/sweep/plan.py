"""The plan of a sweep: its file, with what the command line says instead, expanded as a study is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gradlaw.errors import ConfigurationError
from gradlaw.planning.plan import Plan, make_plan
from gradlaw.planning.probe_settings import MARK
from gradlaw.sweep.document import Faults
from gradlaw.sweep.name import PRESET
from gradlaw.sweep.override import plain
from gradlaw.sweep.read import read_sweep


def plan_sweep(
    path: Path,
    *,
    preset: str | None = None,
    overrides: Mapping[str, object] | None = None,
    seeds: int | None = None,
) -> tuple[Plan, tuple[str, ...]]:
    """The plan of a file, and what its conditions and samples left out, in lines worth reading.

    A sweep claims nothing, so it explores: its seeds come from the range set apart for that, and those on
    which a study may yet decide claims stay unseen.

    Args:
        path: The file.
        preset: None, or the name of the only one.
        overrides: What stands in place of what the file says of hyperparameters, single keys or, by
            ``probe.setting``, probes; conditions are asked of the new values.
        seeds: Number of seeds instead of the file's.

    Raises:
        UnknownNameError: No such preset.
        ConfigurationError: All faults, each with its line.
    """
    if seeds is not None and "seeds" in (overrides or {}):
        msg = f"seeds: got {seeds} by --seeds and {(overrides or {})['seeds']} by --set, allowed one of them"
        raise ConfigurationError([msg])
    given = {**(overrides or {}), **({} if seeds is None else {"seeds": seeds})}
    of_probes = {name: value for name, value in given.items() if MARK in name}
    sweep = read_sweep(path, {name: value for name, value in given.items() if name not in of_probes})
    faults = Faults(str(path))
    try:
        plan = make_plan(sweep.study, preset or PRESET, overrides=of_probes, explore=True)
    except ConfigurationError as error:
        for fault in error.faults:
            faults.add(*sweep.locate(fault))
        raise faults.error() from error
    return replace(plan, overrides={name: plain(given[name]) for name in overrides or {}}), sweep.notes
