"""A YAML file as values that know their line: plain data alone, no tags, no aliases, no key twice.

Scalars are read by the core schema of YAML 1.2 (section 10.3.2), in which 1e-3 is a number and ``on`` a word;
YAML 1.1, which the parser would follow by itself, has them the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from gradlaw.errors import ConfigurationError
from gradlaw.hyperparameter import Scalar

MOST_BYTES = 1 << 18
"""A longer file is refused unread: a sweep is a page or two."""
COMMAND_LINE = 0
"""The line of what the command line says."""
MOST_DIGITS = 18
"""Of a whole number: it must fit 64 bits."""

_TAG = "tag:yaml.org,2002:"
_CORE = (
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
)


class CoreLoader(yaml.SafeLoader):
    """The parser, with the scalars of YAML 1.2."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - replaces the parser's own, filled below


for _name, _pattern, _first in _CORE:
    CoreLoader.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), [*_first])
CoreLoader.add_implicit_resolver(_TAG + "null", re.compile("^$"), [""])


@dataclass(frozen=True)
class Item:
    """A value of the file.

    Attributes:
        value: A scalar, None, a sequence of items, or a mapping from names to items.
        line: From 1; of its key, if it has one.
    """

    value: Scalar | Sequence[Item] | Mapping[str, Item] | None
    line: int

    @property
    def items(self) -> Sequence[Item] | None:
        """The items of a list; None if it is none."""
        return self.value if isinstance(self.value, tuple) else None

    @property
    def entries(self) -> Mapping[str, Item] | None:
        """The items of a mapping by name; None if it is none."""
        return self.value if isinstance(self.value, dict) else None

    def __str__(self) -> str:
        if self.items is not None:
            return "a list"
        return "a mapping" if self.entries is not None else repr(self.value)


class Faults:
    """What is wrong with a file, each with its line.

    Args:
        file: Its path, as it is named in messages.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: list[tuple[int, str]] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, line: int, fault: str) -> None:
        """Notes a fault."""
        self._found.append((line, fault))

    def error(self) -> ConfigurationError:
        """All faults, in the order of their lines."""
        found = sorted(dict.fromkeys(self._found), key=lambda item: item[0])
        return ConfigurationError(
            f"{self.file}:{line}: {fault}" if line != COMMAND_LINE else f"command line: {fault}"
            for line, fault in found
        )


def read_document(path: Path, faults: Faults) -> Mapping[str, Item]:
    """The file's entries by key.

    Raises:
        ConfigurationError: It cannot be read, or is not YAML: then no more is known than the first fault.
    """
    try:
        node = _compose(path, faults)
        if isinstance(node, yaml.MappingNode):
            return _Reader(faults).entries(node)
        faults.add(
            1, f"got {'an empty file' if node is None else 'no mapping'}, allowed lines such as task: ..."
        )
    except RecursionError:
        faults.add(1, "got lists in lists too deep to read, allowed those that docs/sweeps.md names")
    raise faults.error()


def _compose(path: Path, faults: Faults) -> yaml.Node | None:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            faults.add(1, f"got a file of more than {MOST_BYTES:,} bytes, allowed at most that")
        else:
            return yaml.compose(data.decode("utf-8-sig"), CoreLoader)
    except OSError as error:
        faults.add(1, f"it cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        faults.add(data[: error.start].count(b"\n") + 1, "got bytes that are no UTF-8, allowed text")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        faults.add(mark.line + 1 if mark else 1, " ".join(filter(None, (error.context, error.problem))))
    except yaml.YAMLError as error:  # the reader's, of characters that YAML forbids
        faults.add(1, " ".join(str(error).split()))
    raise faults.error() from None


class _Reader:
    """Turns nodes into items."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._seen: set[int] = set()

    def item(self, node: yaml.Node, line: int) -> Item | None:
        """The node as an item; None, and a fault, for what no file may hold."""
        kind = node.tag.removeprefix(_TAG)
        if id(node) in self._seen:  # a page of aliases can stand for billions of values
            self._faults.add(line, "got an alias (*name), allowed its value written out")
            return None
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode) and kind == "map":
            entries = self.entries(node)
            return Item(entries, line) if entries or not node.value else None
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            # an aliased part says where its anchor is, which is before
            parts = [self.item(part, max(line, part.start_mark.line + 1)) for part in node.value]
            sound = tuple(part for part in parts if part is not None)
            return Item(sound, line) if sound or not parts else None
        if isinstance(node, yaml.ScalarNode) and kind in _SCALARS:
            return self._scalar(node, kind, line)
        start = node.start_mark.line + 1
        self._faults.add(start, f"got the tag {node.tag}, allowed plain values without tags")
        return None

    def entries(self, node: yaml.MappingNode) -> dict[str, Item]:
        """The items of a mapping by name."""
        entries: dict[str, Item] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag != _TAG + "str":
                got = repr(key.value) if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                self._faults.add(line, f"got {got} as a key, allowed a word")
            elif key.value in entries:
                first = entries[key.value].line
                self._faults.add(line, f"{key.value}: stands twice, first in line {first}; allowed: once")
            elif (found := self.item(value, line)) is not None:
                entries[key.value] = found
        return entries

    def _scalar(self, node: yaml.ScalarNode, kind: str, line: int) -> Item | None:
        text = str(node.value)
        try:
            return Item(_SCALARS[kind](text), line)
        except ValueError:
            start = node.start_mark.line + 1
            self._faults.add(start, f"got {text[:40]!r}, allowed a number of at most {MOST_DIGITS} digits")
            return None


def _int(text: str) -> int:
    if len(text) > MOST_DIGITS + 1:
        raise ValueError(text)
    return int(text)


_SCALARS: Mapping[str, Callable[[str], Scalar | None]] = {
    "null": lambda text: None,  # noqa: ARG005
    "bool": lambda text: text.lower() == "true",
    "int": _int,
    "float": lambda text: float(text.lower().replace(".inf", "inf").replace(".nan", "nan")),
    "str": str,
}
