"""What an adaptive plan asks for next: a pure function of what it asked for before and how that ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gradlaw.adaptive.ask import Ask, Ended, holds, score
from gradlaw.adaptive.bisection import next_values
from gradlaw.adaptive.declared import Declared
from gradlaw.adaptive.samplers import Configuration, Tried, configuration, propose
from gradlaw.space import between
from gradlaw.study import Arm, Search


class Standing(NamedTuple):
    """A configuration of an arm: its values, and its rank by; None: it ranks last."""

    number: int
    values: Configuration
    score: float | None


def next_round(declared: Declared, ended: Sequence[Ended]) -> tuple[Ask, ...]:
    """The asks of the next round; none once every search and every edge has ended.

    Args:
        declared: The searches and edges.
        ended: Everything asked for so far, in order.
    """
    found: list[Ask] = []
    for search in declared.searches:
        found += _of_search(declared, search, [item for item in ended if item.ask.search == search.name])
    found += _of_edges(declared, [item for item in ended if item.ask.role == "edge"])
    return tuple(found)


def standings(search: Search, arm: Arm, ended: Sequence[Ended]) -> list[Standing]:
    """The configurations that an arm asked for, in order, each with the mean over its tuning seeds."""
    parts: dict[int, list[Ended]] = {}
    for item in ended:
        if item.ask.role == "tuning" and (item.ask.search, item.ask.arm) == (search.name, arm.name):
            parts.setdefault(item.ask.number, []).append(item)
    found = []
    for number, part in sorted(parts.items()):
        scores = [score(item.outcome, search.metric) for item in part]
        known = [item for item in scores if item is not None]
        mean = sum(known) / len(known) if len(known) == len(scores) else None
        found.append(Standing(number, part[0].ask.values, mean))
    return found


def best_of(search: Search, found: Sequence[Standing]) -> Standing | None:
    """The best configuration, of equals the first; None if all of them rank last."""
    sign = 1.0 if search.direction == "below" else -1.0
    ranked = [(sign * item.score, item.number, item) for item in found if item.score is not None]
    return min(ranked)[-1] if ranked else None


def _of_search(declared: Declared, search: Search, ended: Sequence[Ended]) -> Iterator[Ask]:
    arms = {arm.name: standings(search, arm, ended) for arm in search.arms}
    if any(item.ask.role == "fresh" for item in ended):
        return
    if all(len(found) >= search.budget for found in arms.values()):
        for name, found in arms.items():
            best = best_of(search, found)
            if best:
                for seed in declared.seeds:
                    yield Ask("fresh", search.name, name, best.number, seed, best.values)
        return
    for arm in search.arms:
        tried = [Tried(item.values, item.score) for item in arms[arm.name]]
        space = dict(sorted(arm.space.items()))
        identity = [declared.study, search.name, arm.name, declared.tuning_seed]
        for offset, values in enumerate(propose(search, space, tried, identity)):
            for seed in range(declared.tuning_seed, declared.tuning_seed + search.tuning_seeds):
                yield Ask("tuning", search.name, arm.name, len(tried) + offset, seed, values)


def _of_edges(declared: Declared, ended: Sequence[Ended]) -> Iterator[Ask]:
    tried: dict[tuple[int, int], list[tuple[float, bool | None]]] = {}
    for ask, outcome in ended:
        name, edge = declared.edges[ask.number]
        held = holds(outcome, edge.fails)
        tried.setdefault((ask.number, ask.seed), []).append((float(ask.values[name]), held))
    for seed in declared.seeds:
        for number, (name, edge) in enumerate(declared.edges):
            for value in next_values(edge, tried.get((number, seed), ())):
                yield Ask("edge", None, None, number, seed, {name: value})


def outline(declared: Declared, asked: Sequence[Ask]) -> tuple[Ask, ...]:
    """As many asks as may yet come, with values that stand for those that only results will tell.

    Args:
        declared: The searches and edges.
        asked: Everything asked for so far.
    """
    return (*_outline_searches(declared, asked), *_outline_edges(declared, asked))


def _outline_searches(declared: Declared, asked: Sequence[Ask]) -> Iterator[Ask]:
    for search in declared.searches:
        seeds = range(declared.tuning_seed, declared.tuning_seed + search.tuning_seeds)
        asks = [ask for ask in asked if ask.search == search.name]
        for arm in search.arms:
            known = {ask.number for ask in asks if ask.arm == arm.name}
            middle = 0.5
            for number in range(search.budget):
                share = (number + middle) / search.budget
                values = configuration(arm.space, [share] * len(arm.space))
                if number not in known:
                    yield from (Ask("tuning", search.name, arm.name, number, seed, values) for seed in seeds)
            if not any(ask.role == "fresh" for ask in asks):
                values = configuration(arm.space, [middle] * len(arm.space))
                yield from (Ask("fresh", search.name, arm.name, 0, seed, values) for seed in declared.seeds)


def _outline_edges(declared: Declared, asked: Sequence[Ask]) -> Iterator[Ask]:
    so_far = Counter((ask.number, ask.seed) for ask in asked if ask.role == "edge")
    for number, (name, edge) in enumerate(declared.edges):
        low, high = float(edge.low), float(edge.high)
        values = [low, high]
        for _ in range(edge.halvings):  # as if all held
            low = between(low, high)
            values.append(low)
        for seed in declared.seeds:
            rest = values[so_far[number, seed] :]
            yield from (Ask("edge", None, None, number, seed, {name: value}) for value in rest)


def most_rounds(declared: Declared) -> int:
    """Rounds if no edge ends early."""
    found = [2 + edge.halvings - 1 for _, edge in declared.edges]
    for search in declared.searches:
        looks = -(-search.budget // search.per_round) if search.sampler == "tpe" else 1
        found.append(looks + 1)
    return max(found, default=0)
