"""Settings as they are typed: ``k=v,...`` with lists in brackets."""

from __future__ import annotations

from collections.abc import Iterable

import yaml

from gradlaw.errors import ConfigurationError


def parse_settings(texts: Iterable[str]) -> dict[str, object]:
    """Settings from ``k=v,...``; a value in brackets, ``k=[v,w]``, is a list.

    Raises:
        ConfigurationError: Parts that are not ``name=value``, all of them, or a name given twice.

    >>> parse_settings(["lr=1e-3,batch_size=[8,16]", "sampling=epoch"])
    {'lr': 0.001, 'batch_size': [8, 16], 'sampling': 'epoch'}
    """
    settings: dict[str, object] = {}
    given: dict[str, str] = {}
    faults = []
    for part in [item for text in texts for item in _split(text)]:
        name, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator or not name or not value:
            faults.append(f"--set: got {part!r}, allowed name=value or name=[value,...]")
        elif name in given:
            faults.append(f"--set: {name}: got {given[name]} and {value}, allowed one of them")
        else:
            given[name] = value
            try:
                settings[name] = _number(yaml.safe_load(value))
            except (yaml.YAMLError, RecursionError):  # an alias may hold itself
                faults.append(f"--set: {name}: got {value!r}, allowed a number, a word, true, false or [..]")
    if faults:
        raise ConfigurationError(faults)
    return settings


def _number(value: object) -> object:
    """YAML reads 1e-3 as text; here it is a number."""
    if isinstance(value, list):
        return [_number(item) for item in value]
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _split(text: str) -> list[str]:
    """Parts between the commas that stand outside brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
