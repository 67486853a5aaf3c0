"""What is impossible in a grid, a line a fault: values, points, steps, early ends, programs."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard, TypeVar

from gradlaw.engine.crossings import crossings_of
from gradlaw.engine.rows import metrics_table
from gradlaw.errors import ConfigurationError
from gradlaw.hyperparameter import Hyperparameter, Scalar, unknown_names
from gradlaw.measurement import Measurement
from gradlaw.pack import DTYPE, Training
from gradlaw.probe import Probe, TableProbe
from gradlaw.random import streams_of
from gradlaw.space import Edge
from gradlaw.study import Grid
from gradlaw.task import Task

Item = TypeVar("Item")
Declared = Mapping[str, Hyperparameter]

STEPS = Hyperparameter(name="steps", default=1, low=0, structural=True, doc="steps to train")
_AMOUNTS = (
    Hyperparameter(name="log_every", default=1, low=1),
    Hyperparameter(name="accumulate", default=1, low=1),
    Hyperparameter(name="pack_width", default=1, low=1),
)
_NUMBERS = (DTYPE, Hyperparameter(name="loss_bound", default=1e6, low=0.0, low_open=True))
_SIDES = ("below", "above")
_TARGET = (
    Hyperparameter(name="value", default=0.0),
    Hyperparameter(name="direction", default="below", choices=_SIDES),
)
_HALVING = (
    Hyperparameter(name="first", default=1, low=1),
    Hyperparameter(name="factor", default=3, low=2),
    Hyperparameter(name="direction", default="below", choices=_SIDES),
)


def is_measurement(task: object) -> TypeGuard[type[Measurement]]:
    """Whether a grid's task is a measurement: nothing is trained."""
    return isinstance(task, type) and issubclass(task, Measurement)


def items_of(value: Scalar | tuple[Scalar, ...] | Edge) -> tuple[Scalar, ...]:
    """The values of an axis; a single value is an axis of one, and an edge begins with its two ends."""
    if isinstance(value, Edge):
        return value.low, value.high
    return value if isinstance(value, tuple) else (value,)


def steps_in_points(grid: Grid) -> bool:
    """Whether a grid's points say how long to train."""
    trains = bool(grid.points) and not is_measurement(grid.task)
    return trains and all(STEPS.name in point for point in grid.points)


def steps_of(grid: Grid) -> tuple[int, ...]:
    """The numbers of steps that a grid asks for."""
    if steps_in_points(grid):
        found: Iterable[Any] = dict.fromkeys(point[STEPS.name] for point in grid.points)
        return tuple(found)
    return grid.steps if isinstance(grid.steps, tuple) else (grid.steps,)


def grid_faults(grid: Grid, declared: Declared) -> list[str]:
    """What is impossible in a grid as it is declared, before its values are combined."""
    faults = _task_faults(grid.task) + unknown_names(grid.values, declared)
    for name, value in grid.values.items():
        if name in declared:
            faults += _axis_faults(declared[name], items_of(value))
            faults += _edge_faults(grid, declared[name], value) if isinstance(value, Edge) else []
    if len(edges := [name for name, value in grid.values.items() if isinstance(value, Edge)]) > 1:
        faults.append(
            f"values: got edges {', '.join(edges)}, allowed one in a grid; declare one grid for each"
        )
    faults += _points_faults(grid, declared)
    faults += [fault for item in _AMOUNTS if (fault := item.check(getattr(grid, item.name)))]
    if is_measurement(grid.task):
        untrained = {"steps": 0, "target": None, "halving": None}
        return faults + [
            f"{name}: got {getattr(grid, name)!r}, allowed {none}: a measurement trains nothing"
            for name, none in untrained.items()
            if getattr(grid, name) != none
        ]
    faults += [fault for item in _NUMBERS if (fault := item.check(getattr(grid, item.name)))]
    wrong = _axis_faults(STEPS, steps_of(grid))
    return faults + _repeated_probes(grid.probes) + (wrong or _probe_faults(grid)) + _end_faults(grid)


def _task_faults(task: object) -> list[str]:
    """A task made with values that no trial would name: two of them would be taken for the same trials."""
    if not isinstance(task, Task):
        return []
    named = ", ".join(item.name for item in task.hyperparameters if item.structural)
    kind = type(task).__name__
    told = f"task: got a {kind} made with {named}, allowed the class {kind}, and {named} in values"
    return [told] if named else []


def _axis_faults(item: Hyperparameter, values: Sequence[object]) -> list[str]:
    if not values:
        return [f"{item.name}: got no value, allowed one or more"]
    faults = [fault for value in values if (fault := item.check(value))]
    return faults or [f"{item.name}: got {value!r} twice, allowed once" for value in _repeated(values)]


def _edge_faults(grid: Grid, item: Hyperparameter, edge: Edge) -> list[str]:
    """What is impossible in an edge, but for its ends' being allowed values."""
    name = item.name
    if is_measurement(grid.task):
        return [f"{name}: got an edge, allowed values: a measurement trains nothing and never diverges"]
    faults = []
    if type(item.default) is not float or item.structural:
        kind = "structural" if item.structural else type(item.default).__name__
        faults.append(
            f"{name}: got an edge of what is {kind}, allowed one of a number that may be any between"
        )
    if not 0 < edge.low < edge.high < math.sqrt(sys.float_info.max):
        faults.append(f"{name}: got an edge from {edge.low:g} to {edge.high:g}, allowed 0 < low < high")
    halvings = Hyperparameter(name=f"{name}.halvings", default=1, low=1, high=60)
    faults += [fault for fault in [halvings.check(edge.halvings)] if fault]
    if edge.fails is not None:
        faults += [
            f"{name}.fails.{fault}"
            for part in _TARGET
            if (fault := part.check(getattr(edge.fails, part.name)))
        ]
    if grid.halving:
        faults.append(f"{name}: got an edge with halving, allowed without: each trial asks for itself")
    return faults


def _probe_faults(grid: Grid) -> list[str]:
    """Table probes that would measure outside of a trial."""
    return [
        f"probe {probe.name}: got step {step}, allowed 0 .. {steps}, the steps of a trial"
        for probe in grid.probes
        if isinstance(probe, TableProbe)
        for steps in steps_of(grid)
        for step in sorted(set(probe.at(steps)))
        if not 0 <= step <= steps
    ]


def _repeated_probes(probes: Sequence[Probe]) -> list[str]:
    """Probes that would write every row twice."""
    names = set(_repeated(probe.name for probe in probes))
    digests = {probe.digest: probe.name for probe in probes if probe.name in names}
    alike = Counter(probe.digest for probe in probes if probe.name in names)
    return [
        f"probes: got {digests[digest]} twice with the same settings, allowed once"
        for digest, count in alike.items()
        if count > 1
    ]


def _points_faults(grid: Grid, declared: Declared) -> list[str]:
    if not grid.points:
        return []
    names = sorted(grid.points[0])
    if not names:
        return ["points: got a point that names nothing, allowed one name or more"]
    for number, point in enumerate(grid.points):
        if sorted(point) != names:
            got, allowed = ", ".join(sorted(point)) or "no name", ", ".join(names)
            return [f"points: got {got} in point {number}, allowed the names of point 0: {allowed}"]
    if not is_measurement(grid.task):
        declared = {**declared, STEPS.name: STEPS}
    faults = unknown_names(names, declared)
    if STEPS.name in names and grid.steps != 0:
        faults.append(
            f"steps: got {grid.steps}, and steps in points; allowed in one of them: leave out the field"
        )
    faults += [
        f"{name}: got values in points and in values, allowed in one of them"
        for name in names
        if name in grid.values
    ]
    known = [name for name in names if name in declared]
    wrong = [fault for name in known for point in grid.points if (fault := declared[name].check(point[name]))]
    if faults or wrong:
        return faults + list(dict.fromkeys(wrong))
    repeated = _repeated(tuple(point[name] for name in names) for point in grid.points)
    return [f"points: got {dict(zip(names, values, strict=True))} twice, allowed once" for values in repeated]


def _repeated(items: Iterable[Item]) -> list[Item]:
    return [item for item, count in Counter(items).items() if count > 1]


def _end_faults(grid: Grid) -> list[str]:
    faults = [
        f"{name}.{fault}"
        for name, end, declared in (("target", grid.target, _TARGET), ("halving", grid.halving, _HALVING))
        for item in declared
        if end is not None and (fault := item.check(getattr(end, item.name)))
    ]
    if grid.halving and not faults and grid.log_every >= 1 and grid.halving.first % grid.log_every:
        allowed = f"a multiple of log_every = {grid.log_every}"
        faults.append(f"halving.first: got {grid.halving.first}, allowed {allowed}")
    if grid.halving and not faults:
        lengths = steps_of(grid)
        if len(lengths) > 1:
            faults.append(
                f"steps: got {lengths} with halving, allowed one: trials that share a budget race alike"
            )
        elif grid.halving.first >= min(lengths, default=0):
            allowed = f"below steps = {min(lengths, default=0)}"
            faults.append(f"halving.first: got {grid.halving.first}, allowed {allowed}")
    return faults


def program_faults(program: Training) -> list[str]:
    """What is impossible in all trials of a program alike."""
    faults = _metric_faults(program)
    num_samples = _samples_of_a_batch(program) if program.accumulate > 1 else 0
    if 0 < num_samples < program.accumulate:
        allowed = f"1 .. {num_samples}, the batch's samples"
        faults.append(f"accumulate: got {program.accumulate} parts, allowed {allowed}")
    for probe in program.probes:
        if isinstance(probe, TableProbe):
            faults += [f"probe {probe.name}: {fault}" for fault in probe.faults(program.task)]
    if program.task.num_rows is None:
        if program.batch_size == 0:
            faults.append("batch_size: got 0 (the whole training set) of a stream, allowed >= 1")
        return faults
    if program.sampling == "iid":
        return faults
    num_train = len(program.task.split(streams_of(0)).train)
    if program.batch_size > num_train:
        faults.append(
            f"batch_size: got {program.batch_size}, allowed 0 .. {num_train}, the training rows "
            "(sampling 'epoch' draws without replacement)"
        )
    return faults


def _samples_of_a_batch(program: Training) -> int:
    """0 where that is not known: the whole of a stream."""
    if program.batch_size or program.task.num_rows is None:
        return program.batch_size
    return len(program.task.split(streams_of(0)).train)


def _metric_faults(program: Training) -> list[str]:
    """Columns that an early end reads must be logged, and those of crossings known before the step."""
    ends = {"target": program.target, "halving": program.halving}
    asked = {f"{name}.metric": end.metric for name, end in ends.items() if end is not None}
    crossed = {
        f"probe {item.probe.name}: crossing's metric": item.target.metric for item in crossings_of(program)
    }
    try:
        logged = tuple(column.name for column in metrics_table(program).columns if column.name != "step")
    except ConfigurationError as error:
        return list(error.faults)
    of_probes = tuple(name for name in logged if name != "loss") or ("a metric probe's column",)
    return [
        fault
        for metrics, choices in ((asked, logged), (crossed, of_probes))
        for name, metric in metrics.items()
        if (fault := Hyperparameter(name=name, default="", choices=choices).check(metric))
    ]


def combination_faults(program: Training, values: Mapping[str, Scalar], steps: int) -> list[str]:
    """What is impossible in one trial's values taken together."""
    return program.rule.faults(values) + program.schedule.faults(values, steps)
