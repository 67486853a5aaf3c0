"""The classes that a sweep names: by their names where they ship with gradlaw, else by an import path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradlaw.errors import ConfigurationError, GradlawError, UnknownNameError
from gradlaw.planning.probe_settings import hints_of, is_of
from gradlaw.probe import Probe
from gradlaw.probes import PROBES
from gradlaw.sweep.document import Faults, Item
from gradlaw.sweep.fields import known, listed
from gradlaw.task import Task


def load(
    item: Item, kind: str, registry: Mapping[str, type], base: type | tuple[type, ...], faults: Faults
) -> Any:
    """A class of a registry, or at ``package.module:Class``; None, and a fault, if there is none.

    Args:
        item: The name or path.
        kind: How messages name what it is.
        registry: Classes by name.
        base: What the class must derive from, or an object be an instance of.
        faults: Takes the fault.
    """
    if not isinstance(item.value, str):
        faults.add(item.line, f"{kind}: got {item}, allowed a name or an import path package.module:Class")
        return None
    if ":" not in item.value:
        if item.value not in registry:
            faults.add(
                item.line,
                f"{UnknownNameError(item.value, kind=kind, known=registry)}, or package.module:Class",
            )
        return registry.get(item.value)
    module, _, name = item.value.partition(":")
    _import_beside(Path(faults.file))  # not before: the folder of a file of mere names may hold any modules
    try:
        held = vars(importlib.import_module(module))
    except Exception as error:  # noqa: BLE001 - a module may raise anything, and other faults are to be told
        cause = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        faults.add(
            item.line,
            f"{kind}: {module!r} cannot be imported ({cause}); allowed what is installed or beside the file",
        )
        return None
    fitting = {name: value for name, value in held.items() if fits(value, base)}
    if name not in fitting:
        faults.add(item.line, str(UnknownNameError(name, kind=f"{kind} of {module}", known=fitting)))
    return fitting.get(name)


def fits(value: object, base: type | tuple[type, ...]) -> bool:
    """Whether a value is a class of the wanted kind that can be made, or a task or probe that is made."""
    if isinstance(value, type):
        return issubclass(value, base) and not getattr(value, "__abstractmethods__", None)
    return isinstance(value, base) and isinstance(value, (Task, Probe))


def _import_beside(file: Path) -> None:
    """Makes modules that lie beside the file importable, as those of a study's folder are."""
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)


def probes(item: Item, faults: Faults) -> tuple[Probe, ...]:
    """The probes of a list: names, or a name with its settings as a mapping of one entry."""
    found: dict[str, Probe] = {}
    for part in listed(item, "probes", faults):
        probe = _probe(part, faults)
        if probe is not None and probe.name in found:
            faults.add(part.line, f"probes: got {probe.name} twice, allowed: once")
        elif probe is not None:
            found[probe.name] = probe
    return tuple(found.values())


def _probe(part: Item, faults: Faults) -> Probe | None:
    given = part.entries
    if given is not None and len(given) != 1:
        faults.add(
            part.line, f"probes: got {len(given)} names in one entry, allowed one: - name: {{setting: value}}"
        )
        return None
    name, settings = next(iter(given.items())) if given else (part.value, Item({}, part.line))
    kind = load(Item(name, part.line), "probe", PROBES, Probe, faults)
    if kind is None or not isinstance(kind, type):
        return kind
    if settings.entries is None:
        faults.add(settings.line, f"{name}: got {settings}, allowed a mapping from settings to values")
        return None
    return _construct(kind, part.line, settings.entries, faults)


def _construct(kind: type[Probe], line: int, given: Mapping[str, Item], faults: Faults) -> Probe | None:
    hints = hints_of(kind)
    names = getattr(kind, "__dataclass_fields__", {})
    sound = {}
    for name, item in known(given, names, f"setting of probe {kind.name}", faults).items():
        value, hint = _plain(item), hints[name]
        if is_of(value, hint):
            sound[name] = value
        else:
            allowed = hint.__name__ if isinstance(hint, type) else hint
            faults.add(item.line, f"{kind.name}.{name}: got {value!r}, allowed {allowed}")
    if len(sound) < len(given):
        return None
    try:
        return kind(**sound)
    except ConfigurationError as error:
        for fault in error.faults:
            faults.add(line, f"probes: {fault}")
    except (GradlawError, ValueError, TypeError) as error:
        faults.add(line, f"{kind.name}: {error}")
    return None


def _plain(item: Item) -> Any:
    if item.items is not None:
        return tuple(map(_plain, item.items))
    if item.entries is not None:
        return {name: _plain(part) for name, part in item.entries.items()}
    return item.value
