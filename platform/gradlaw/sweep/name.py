"""The name of a sweep, found without the torch that its task needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from gradlaw.studies import find_studies
from gradlaw.sweep.document import Faults, Item, read_document

PRESET = "sweep"
"""The name of a sweep's one preset."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")


def sweep_name(path: Path, found: Mapping[str, Item], faults: Faults) -> str:
    """The sweep's name: what the file says, or its stem; "" and a fault if it cannot name a study.

    Args:
        path: The file.
        found: Its entries.
        faults: Takes the fault.
    """
    item = found.get("name")
    name = path.stem if item is None else item.value
    if isinstance(name, str) and _NAME.fullmatch(name) and name not in find_studies():
        return name
    line, got = (1, f"the file's own, {name!r}") if item is None else (item.line, item)
    allowed = "lower-case letters, digits and _, from a letter on, and no name of a study"
    faults.add(line, f"name: got {got}, allowed {allowed}")
    return ""


def read_name(path: Path) -> str:
    """The name of the sweep in a file.

    Raises:
        ConfigurationError: It cannot be read, or its name is none.
    """
    faults = Faults(str(path))
    name = sweep_name(path, read_document(path, faults), faults)
    if not name:
        raise faults.error()
    return name
