"""What a sweep fixes and varies: its values, axes, zips, samples and conditions, read with every fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from gradlaw import space
from gradlaw.ending import Target
from gradlaw.errors import UnknownNameError, UsageError
from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.space import Dimension, Edge
from gradlaw.sweep.axes import Range, axis, choices
from gradlaw.sweep.combine import Combinations, Point
from gradlaw.sweep.condition import Condition
from gradlaw.sweep.document import Faults, Item
from gradlaw.sweep.fields import EDGE, SAMPLE, STEPS, TARGET, entries, known, scalar, scalars, section
from gradlaw.sweep.sampling import sample_points

SECTIONS = ("values", "space", "grid", "zip", "sample", "edge", "where", "steps")
"""The keys that are read here."""


class Variation:
    """Reads what is fixed and what varies.

    Args:
        found: The entries of the file.
        declared: Hyperparameters by name.
        faults: Takes what is wrong.
        whole: Whether these are all; if not, since a class could not be found, other names are let pass.
        taken: Lines of hyperparameters that stand elsewhere, and may not stand here too.

    Attributes:
        values: Values of the hyperparameters that the file fixes.
        combinations: All that it varies.
        notes: What a sample drew twice, in lines worth reading.
        space: What an arm of a search searches.
        edge: The axis whose value is to be found, by name; at most one.
        lines: Where each hyperparameter, and each part of an edge, stands, by name.
    """

    def __init__(
        self,
        found: Mapping[str, Item],
        declared: Mapping[str, Hyperparameter],
        faults: Faults,
        *,
        whole: bool,
        taken: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._declared, self._faults, self._whole = declared, faults, whole
        self.lines = dict(taken)
        self.notes: list[str] = []
        read = {name: found[name] for name in SECTIONS if name in found}
        self.values = self._values(read["values"]) if "values" in read else {}
        self.space = self._space(read["space"]) if "space" in read else {}
        self.edge = self._edge(read["edge"]) if "edge" in read else {}
        self.combinations = Combinations(
            axes=self._axes(read["grid"], "grid") if "grid" in read else {},
            groups=[
                *(self._zips(read["zip"]) if "zip" in read else []),
                *([self._sample(read["sample"])] if "sample" in read else []),
            ],
            steps=self._steps(read["steps"]) if "steps" in read else (0,),
            fixed={name: item.default for name, item in declared.items()} | self.values,
            conditions=self._conditions(read["where"]) if "where" in read else (),
        )

    def _own(self, item: Item, where: str) -> Mapping[str, Item]:
        """The entries of a section that name hyperparameters which no section had before."""
        found = {}
        for name, part in entries(item, where, self._faults).items():
            if name not in self._declared:
                self._unknown(name, self._declared, part.line, f"{where}: ")
            elif name in self.lines:
                first = self.lines[name]
                self._faults.add(
                    part.line, f"{where}.{name}: stands twice, first in line {first}; allowed: once"
                )
            else:
                self.lines[name] = part.line
                found[name] = part
        return found

    def _unknown(self, name: str, names: Collection[str], line: int, where: str) -> None:
        if self._whole:
            fault = UnknownNameError(name, kind="hyperparameter", known=names)
            self._faults.add(line, f"{where}{fault}")

    def _values(self, item: Item) -> dict[str, Scalar]:
        found = {}
        for name, part in self._own(item, "values").items():
            if part.items is not None or part.entries is not None:
                self._faults.add(
                    part.line, f"values.{name}: got {part}, allowed a single value; axes go under grid"
                )
                continue
            value = scalar(part, self._declared[name], f"values.{name}", self._faults)
            if value is not None:
                found[name] = value
        return found

    def _space(self, item: Item) -> dict[str, Dimension]:
        found: dict[str, Dimension] = {}
        for name, part in self._own(item, "space").items():
            drawn = choices(part, self._declared[name], f"space.{name}", self._faults, within="search")
            if isinstance(drawn, Range):
                ends = (int(drawn.low), int(drawn.high)) if drawn.whole else (drawn.low, drawn.high)
                found[name] = space.Range(
                    low=ends[0], high=ends[1], log=drawn.scale == "log", whole=drawn.whole
                )
            elif drawn:
                found[name] = space.Choices(values=tuple(drawn))
        return found

    def _edge(self, item: Item) -> dict[str, Edge]:
        found = self._own(item, "edge")
        if len(found) > 1:
            fault = f"edge: got {', '.join(found)}, allowed one in a file; write one file for each"
            self._faults.add(item.line, fault)
        read = {name: self._read_edge(name, part) for name, part in found.items()}
        return {name: edge for name, edge in read.items() if edge is not None}

    def _read_edge(self, name: str, item: Item) -> Edge | None:
        where, names = f"edge.{name}", [part.name for part in EDGE]
        held = entries(item, where, self._faults)
        given = known(held, [*names, "fails"], f"key of {where}", self._faults)
        self.lines |= {f"{name}.{key}": part.line for key, part in given.items()}
        numbers = scalars(given, EDGE, f"{where}.", self._faults)
        for missing in [key for key in names if held and key not in held]:
            self._faults.add(item.line, f"{where}.{missing}: missing")
        fails = None
        if "fails" in given:
            told = section(given["fails"], f"{where}.fails", TARGET, ("metric", "value"), self._faults)
            self.lines |= {f"{name}.fails.{part.name}": given["fails"].line for part in TARGET}
            fails = Target(**told) if told else None
        if len(numbers) < len(EDGE):
            return None
        low, high, halvings = numbers.values()
        if not low < high:
            self._faults.add(item.line, f"{where}: got from {low:g} to {high:g}, allowed from < to")
        return Edge(low=low, high=high, halvings=halvings, fails=fails)

    def _axes(self, item: Item, where: str, *, repeats: bool = False) -> dict[str, tuple[Scalar, ...]]:
        return {
            name: axis(part, self._declared[name], f"{where}.{name}", self._faults, repeats=repeats)
            for name, part in self._own(item, where).items()
        }

    def _zips(self, item: Item) -> list[Sequence[Point]]:
        """One group of axes that vary together, or a list of such groups."""
        if item.items is not None and not item.items:
            self._faults.add(item.line, "zip: got an empty list, allowed mappings from names to lists")
        return [self._zip(part) for part in (item.items if item.items is not None else [item])]

    def _zip(self, item: Item) -> Sequence[Point]:
        axes = {name: values for name, values in self._axes(item, "zip", repeats=True).items() if values}
        if not axes:
            return ()
        first, length = next((name, len(values)) for name, values in axes.items())
        for name, values in axes.items():
            if len(values) != length:
                fault = f"zip.{name}: got {len(values)} values, allowed {length}, as {first} has"
                self._faults.add(self.lines[name], fault)
        points = list(zip(*axes.values(), strict=False))
        for point in [point for point, count in Counter(points).items() if count > 1]:
            got = ", ".join(f"{name} {value!r}" for name, value in zip(axes, point, strict=True))
            self._faults.add(item.line, f"zip: got {got} twice, allowed once")
        return [dict(zip(axes, point, strict=True)) for point in points]

    def _sample(self, item: Item) -> Sequence[Point]:
        found = entries(item, "sample", self._faults)
        names = [*(part.name for part in SAMPLE), "axes"]
        given = known(found, names, "key of sample", self._faults)
        settings = scalars(given, SAMPLE, "sample.", self._faults)
        for missing in [name for name in ("num", "axes") if found and name not in found]:
            self._faults.add(item.line, f"sample.{missing}: missing")
        if "axes" not in given:
            return ()
        drawn = {
            name: choices(part, self._declared[name], f"sample.axes.{name}", self._faults)
            for name, part in self._own(given["axes"], "sample.axes").items()
        }
        if self._faults or not drawn:
            return ()
        num = settings["num"]
        points = sample_points(drawn, settings.get("method", "sobol"), num, settings.get("seed", 0))
        if len(points) < num:
            self.notes.append(f"{num - len(points):,} of {num:,} sampled points left out: drawn before")
        return points

    def _steps(self, item: Item) -> tuple[int, ...]:
        if item.items is not None or item.entries is not None:
            return tuple(map(int, axis(item, STEPS, "steps", self._faults)))
        single = scalar(item, STEPS, "steps", self._faults)
        return () if single is None else (int(single),)

    def _conditions(self, item: Item) -> list[tuple[int, Condition]]:
        parts = item.items if item.items is not None else (item,)
        if not parts:
            self._faults.add(item.line, "where: got an empty list, allowed a condition or more")
        found = []
        for part in parts:
            if not isinstance(part.value, str):
                self._faults.add(
                    part.line, f"where: got {part}, allowed a condition such as 'beta1 <= beta2'"
                )
                continue
            try:
                condition = Condition(part.value)
            except UsageError as error:
                self._faults.add(part.line, f"where: {error}")
                continue
            names = {*self._declared, STEPS.name}
            for name in sorted(condition.names - names):
                self._unknown(name, names, part.line, "where: ")
            for name in sorted(condition.names & self.edge.keys()):
                fault = f"where: got a condition on {name}, whose edge is to be found; allowed on the rest"
                self._faults.add(part.line, fault)
            found.append((part.line, condition))
        return found
