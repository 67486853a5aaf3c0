"""What is impossible in the searches of a preset, a line a fault, before anything is asked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gradlaw.adaptive.ask import STEPS_TO_TARGET
from gradlaw.hyperparameter import Hyperparameter, unknown_names
from gradlaw.planning.frame import declared_by
from gradlaw.planning.grid_faults import STEPS, grid_faults, is_measurement
from gradlaw.space import Choices, Edge, Range
from gradlaw.study import Arm, Grid, Search

_NAME = r"[a-z][a-z0-9_]*"
_NUMBERS = (
    Hyperparameter(name="budget", default=1, low=1),
    Hyperparameter(name="per_round", default=1, low=1),
    Hyperparameter(name="tuning_seeds", default=1, low=1),
    Hyperparameter(name="direction", default="below", choices=("below", "above")),
    Hyperparameter(name="sampler", default="tpe", choices=("tpe", "sobol", "random")),
)


def searches_faults(searches: Sequence[Search]) -> list[str]:
    """Faults of all searches, each with its place."""
    faults = _name_faults("searches", [search.name for search in searches])
    for search in searches:
        faults += [f"search {search.name}: {fault}" for fault in _search_faults(search)]
    return faults


def _name_faults(what: str, names: Sequence[str]) -> list[str]:
    faults = [
        f"{what}: got the name {name!r}, allowed lower-case words joined by underscores"
        for name in names
        if not re.fullmatch(_NAME, name)
    ]
    return faults + [f"{what}: got {name!r} twice, allowed once" for name in _repeated(names)]


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _search_faults(search: Search) -> Iterator[str]:
    yield from (fault for item in _NUMBERS if (fault := item.check(getattr(search, item.name))))
    if not search.metric:
        yield "metric: got none, allowed a column of metrics or steps_to_target: it ranks configurations"
    names = [arm.name for arm in search.arms]
    if not names:
        yield "arms: got none, allowed one or more"
    yield from _name_faults("arms", names)
    yield from _budget_faults(search, names)
    for arm in search.arms:
        yield from (f"arm {arm.name}: {fault}" for fault in dict.fromkeys(arm_faults(arm, search)))


def _budget_faults(search: Search, names: Sequence[str]) -> Iterator[str]:
    for name, budget in search.budgets.items():
        if name not in names:
            yield f"budgets: got arm {name!r}, allowed {', '.join(names) or 'none'}"
        elif budget != search.budget:
            yield (
                f"budgets: got {budget} for arm {name}, allowed {search.budget}, the budget of every arm: "
                "the best of more tries looks better; set budget"
            )


def arm_faults(arm: Arm, search: Search) -> Iterator[str]:
    """Faults of one arm, but for its programs."""
    grid = arm.grid
    if is_measurement(grid.task):
        yield f"task: got the measurement {grid.task.name}, allowed a task: a measurement logs no metrics"
        return
    declared = declared_by(grid)
    yield from grid_faults(grid, declared)
    yield from _single_faults(grid)
    if search.metric == STEPS_TO_TARGET and grid.target is None:
        yield f"target: got none, allowed a Target: metric {STEPS_TO_TARGET} counts the steps up to it"
    yield from _space_faults(arm, declared)


def _single_faults(grid: Grid) -> Iterator[str]:
    """An arm is one line of configurations: nothing but its space varies in it."""
    for name, value in {**grid.values, STEPS.name: grid.steps}.items():
        if isinstance(value, (tuple, Edge)):
            yield f"{name}: got {value!r}, allowed a single value in an arm; what varies belongs in its space"
    if grid.points:
        yield f"points: got {len(grid.points)}, allowed none in an arm; what varies belongs in its space"
    if grid.halving:
        yield "halving: got one, allowed none in an arm: budgets of configurations are equal"


def _space_faults(arm: Arm, declared: Mapping[str, Hyperparameter]) -> Iterator[str]:
    if not arm.space:
        yield "space: got none, allowed one hyperparameter or more; without a search declare a grid"
    if STEPS.name in arm.space:
        yield "space: got steps, allowed hyperparameters: configurations train for equally long"
    yield from (f"space: {fault}" for fault in unknown_names(set(arm.space) - {STEPS.name}, declared))
    for name, dimension in arm.space.items():
        if name in arm.grid.values:
            yield f"{name}: got a value in the grid and a space, allowed one of them"
        if name in declared:
            yield from _dimension_faults(declared[name], dimension)


def _dimension_faults(item: Hyperparameter, dimension: object) -> Iterator[str]:
    if isinstance(dimension, Choices):
        if not dimension.values:
            yield f"{item.name}: got no choice, allowed one or more"
        yield from (fault for value in dimension.values if (fault := item.check(value)))
        yield from (f"{item.name}: got {value} twice, allowed once" for value in _twice(item, dimension))
    elif isinstance(dimension, Range):
        yield from _range_faults(item, dimension)
    else:
        yield f"{item.name}: got {dimension!r}, allowed a Range or Choices"


def _twice(item: Hyperparameter, dimension: Choices) -> list[str]:
    return _repeated(repr(item.cast(value)) for value in dimension.values if not item.check(value))


def _range_faults(item: Hyperparameter, dimension: Range) -> Iterator[str]:
    name, kind = item.name, type(item.default)
    if kind not in (int, float) or item.choices or item.structural:
        what = "structural: each value is a program of its own" if item.structural else kind.__name__
        yield f"{name}: got a range of what is {what}, allowed Choices"
        return
    if kind is int and not dimension.whole:
        yield f"{name}: got a range of any numbers, allowed whole=True: it is a whole number"
    ends = (dimension.low, dimension.high)
    if not all(type(end) in (int, float) for end in ends):
        yield f"{name}: got a range from {ends[0]!r} to {ends[1]!r}, allowed numbers"
        return
    if dimension.whole and not all(float(end).is_integer() for end in ends):
        yield f"{name}: got the ends {ends[0]:g} and {ends[1]:g}, allowed whole numbers with whole=True"
    elif kind is int:
        ends = (int(ends[0]), int(ends[1]))
    yield from (fault for end in ends if (fault := item.check(end if kind is int else float(end))))
    if not dimension.low < dimension.high:
        yield f"{name}: got a range from {ends[0]:g} to {ends[1]:g}, allowed low < high"
    if dimension.log and dimension.low <= 0:
        yield f"{name}: got a logarithmic range from {ends[0]:g}, allowed low > 0; set log=False"
