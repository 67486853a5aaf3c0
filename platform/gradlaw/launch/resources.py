"""What packs ask a cluster for, and what its nodes have, or nodes to come would have."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import ray
import yaml
from ray._private.resource_and_label_spec import ResourceAndLabelSpec

from gradlaw.engine.choice import WIDTH
from gradlaw.engine.footprint import Footprint, footprints
from gradlaw.errors import ConfigurationError
from gradlaw.launch.base import Order
from gradlaw.launch.room import AUTO, WORKER_BYTES
from gradlaw.pack import Pack, Program, Training

GIB = 2**30
_NODE_GROUP = "ray.io/node-group"
"""The label that an autoscaler gives its nodes."""
BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
"""Where ``ray up`` leaves the cluster's file on the head, on which jobs run."""
STEP_BYTES = 256 * 2**20
"""Estimates are rounded up to a multiple: Ray reuses a worker only for a pack that asks for the same."""


class Bundle(NamedTuple):
    """CPUs, GPUs and bytes of memory: of a node, or asked for by one pack."""

    cpus: float
    gpus: float = 0.0
    memory_bytes: float = 0.0

    def fits(self, node: Bundle) -> bool:
        """Whether a node, empty, holds it."""
        return all(own <= there for own, there in zip(self, node, strict=True))

    def times(self, node: Bundle) -> int:
        """How often a node, empty, holds it."""
        shares = [there / own for own, there in zip(self, node, strict=True) if own]
        return int(min(shares) + 1e-9) if shares else 0

    def share(self, node: Bundle) -> float:
        """The largest share of anything but memory that it takes of a node."""
        return max(own / there for own, there in zip(self[:2], node[:2], strict=True) if own)

    def request(self) -> dict[str, float]:
        """As Ray takes it."""
        named = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_bytes}
        return {name: value for name, value in named.items() if value}

    def __str__(self) -> str:
        """In words.

        >>> str(Bundle(3, 0.25, 2 * GIB))
        '3 CPUs, 0.25 GPUs, 2.0 GiB'
        """
        parts = [f"{self.cpus:g} CPU" + ("s" if self.cpus != 1 else "")]
        if self.gpus:
            parts.append(f"{self.gpus:g} GPU" + ("s" if self.gpus != 1 else ""))
        if self.memory_bytes and not math.isinf(self.memory_bytes):
            parts.append(f"{self.memory_bytes / GIB:.1f} GiB")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What there is to run on.

    Attributes:
        nodes: The nodes that are alive, with all they have.
        to_come: A node of each type that an autoscaler may add, as far as that is known.
        grows: Whether there is an autoscaler.
    """

    nodes: tuple[Bundle, ...]
    to_come: tuple[Bundle, ...] = ()
    grows: bool = False

    def num_workers(self, ask: Bundle) -> int:
        """Packs that the nodes there are hold at once; 1 at least."""
        return max(1, sum(ask.times(node) for node in self.nodes))

    def holds(self, ask: Bundle) -> bool:
        """Whether a node, there or to come, holds a pack; true where it cannot be known."""
        unknown = self.grows and not self.to_come
        return unknown or any(ask.fits(node) for node in (*self.nodes, *self.to_come))

    def after_losses(self, seen: Iterable[Bundle]) -> Cluster:
        """The same, where nodes that a run has seen before and that are gone are to come again."""
        if self.grows and not self.to_come:
            return self  # any may come
        gone = [node for node in seen if node not in (*self.nodes, *self.to_come)]
        return replace(self, to_come=(*self.to_come, *gone))

    def waits_for(self, asks: Iterable[Bundle]) -> str:
        """What to say if no node that is there holds a pack; "" if for each there is one."""
        lacking = sorted(ask for ask in set(asks) if not any(ask.fits(node) for node in self.nodes))
        if not lacking:
            return ""
        return f"waiting for a node with {lacking[0]}: none is there now ({_in_words(self.nodes)})"

    def device(self, asked: str) -> str:
        """The device asked for; for "auto" GPUs if there are any, or may come, else CPUs."""
        if asked != AUTO:
            return asked
        return "cuda" if any(node.gpus for node in (*self.nodes, *self.to_come)) else "cpu"

    def remark(self, asked: str) -> str:
        """What is to be known of "auto" on this cluster: one device for all that trains; "" for nothing."""
        if asked != AUTO or not (self.grows or any(node.gpus for node in self.nodes)):
            return ""
        if self.device(asked) == "cuda":
            return "what trains, trains on GPUs, whatever nodes have none; --device cpu: on CPUs alone"
        return "no node with a GPU is known, so CPUs train; --device cuda: where such nodes may come"

    def ask_for(self, order: Order) -> Bundle:
        """What a pack asks for: a GPU only if it trains, memory as asked or as it is likely to take.

        An estimate is cut to the pack's share of the smallest node that has the CPUs and GPUs, as the worker
        cuts its batches to its share, but for what one member takes; and it never is what no node has.
        """
        on_gpu = order.trains and order.device.startswith("cuda")
        plain = Bundle(order.threads, order.gpu_share if on_gpu else 0.0)
        if order.memory_bytes:
            return plain._replace(memory_bytes=order.memory_bytes)
        nodes = [node for node in self.nodes if plain.fits(node)]
        nodes = nodes or [node for node in self.to_come if plain.fits(node)]
        if any(math.isinf(node.memory_bytes) for node in (*nodes, *self.to_come)):
            return plain  # an autoscaler that knows nothing of memory would find no node for it
        taken = order.footprint if order.trains and order.footprint else Footprint(0, 0)
        least = WORKER_BYTES + taken.task_bytes + (0 if on_gpu else taken.member_bytes)
        members = min(len(order.pack.members), order.width or WIDTH, order.widest or WIDTH)
        most = least + (0 if on_gpu else taken.member_bytes) * (members - 1)
        shares = [plain.share(node) * node.memory_bytes // STEP_BYTES * STEP_BYTES for node in nodes]
        asked = min(rounded_up(most), max(rounded_up(least), min(shares, default=math.inf)))
        return plain._replace(
            memory_bytes=min(asked, max((node.memory_bytes for node in nodes), default=asked))
        )

    def whole_node(self, ask: Bundle) -> Bundle:
        """The same with all CPUs of the largest node that holds it."""
        sizes = [node.cpus for node in self.nodes if ask.fits(node)]
        return ask._replace(cpus=max(sizes, default=ask.cpus))

    def refuse_impossible(self, asks: Iterable[Bundle]) -> None:
        """Refuses what would wait for ever.

        Raises:
            ConfigurationError: A pack asks for more than any node, there or to come, has.
        """
        there = _in_words(self.nodes) + (f"; to come: {_in_words(self.to_come)}" if self.to_come else "")
        faults = [
            f"resources: a pack asks for {ask}; allowed: what one node has ({there}); ask for less by "
            "--cpus, --gpus or --memory-gb, or add a larger node"
            for ask in sorted(set(asks))
            if not self.holds(ask)
        ]
        if faults:
            raise ConfigurationError(faults)


def joined_resources() -> Cluster:
    """The cluster that this process has joined."""
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]  # ray's own
    grows = any(_NODE_GROUP in node.get("Labels", {}) for node in nodes)
    return Cluster(
        nodes=tuple(node_bundle(node["Resources"]) for node in nodes),
        to_come=declared_nodes(BOOTSTRAP.expanduser()) if grows else (),
        grows=grows,
    )


class Programs:
    """What programs take, looked at once for all rounds and all numbers of steps."""

    def __init__(self) -> None:
        self._known: dict[object, tuple[Training, Footprint | None]] = {}

    def look(self, packs: Iterable[Pack]) -> None:
        """Looks at those of some packs that are new."""
        fresh: dict[object, tuple[Training, Pack]] = {}
        for pack in packs:
            if isinstance(pack.program, Training) and (key := _same(pack.program)) not in self._known:
                fresh.setdefault(key, (pack.program, pack))
        found = footprints(pack for _, pack in fresh.values())
        self._known |= {key: (program, found.get(id(program))) for key, (program, _) in fresh.items()}

    def footprint(self, program: Program | None) -> Footprint | None:
        """What a program takes; None: not known."""
        known = self._known.get(_same(program)) if isinstance(program, Training) else None
        return known[1] if known else None


def _same(program: Training) -> object:
    """What two programs share that take the same memory; their parts are the same objects for as long."""
    parts = (program.task, program.rule, program.schedule, *program.probes)
    shapes = program.batch_size, program.sampling, program.accumulate, program.dtype
    return (*map(id, parts), *shapes, program.target, program.halving is None)


class Settled:
    """Orders as this cluster runs them: their device settled, what their programs take looked at.

    Args:
        orders: All that are to run.
        cluster: What there is to run on.
        programs: What is known of programs; those that are new are added.
    """

    def __init__(self, orders: Sequence[Order], cluster: Cluster, programs: Programs) -> None:
        self._orders, self._cluster, self._programs = orders, cluster, programs
        programs.look(order.pack for order in orders)

    def __getitem__(self, at: int) -> tuple[Order, Bundle]:
        order = self._orders[at]
        found = self._programs.footprint(order.pack.program)
        device = self._cluster.device(order.device) if order.trains else "cpu"
        order = replace(order, device=device, footprint=found)
        ask = self._cluster.ask_for(order)
        return order, self._cluster.whole_node(ask) if order.pack.exclusive else ask


def private_resources() -> Cluster:
    """What a cluster that is started here would have, as Ray finds it; none is started."""
    spec = ResourceAndLabelSpec()
    spec.resolve(is_head=True, node_ip_address="127.0.0.1")
    resources = spec.to_resource_dict()  # type: ignore[no-untyped-call]  # ray leaves it untyped
    return Cluster(nodes=(node_bundle(resources),))


def own_node() -> Bundle:
    """The node that this process runs on."""
    own = ray.get_runtime_context().get_node_id()
    nodes = ray.nodes()  # type: ignore[no-untyped-call]  # ray leaves it untyped
    return next(node_bundle(node["Resources"]) for node in nodes if node["NodeID"] == own)


def node_bundle(resources: Mapping[str, Any]) -> Bundle:
    """Of a node's resources as Ray names them; memory that is not told does not limit."""
    memory = float(resources.get("memory", math.inf))
    return Bundle(float(resources.get("CPU", 0.0)), float(resources.get("GPU", 0.0)), memory)


def declared_nodes(file: Path) -> tuple[Bundle, ...]:
    """The types of nodes in a ``ray up`` file; none where it cannot be read."""
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        types = document["available_node_types"].values()
        return tuple(node_bundle(item["resources"]) for item in types if item.get("max_workers", 1) != 0)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError):
        return ()


def rounded_up(memory_bytes: float) -> int:
    """Bytes of memory to ask for.

    >>> rounded_up(300 * 2**20) // 2**20
    512
    """
    return -int(-memory_bytes // STEP_BYTES) * STEP_BYTES


def _in_words(nodes: Sequence[Bundle]) -> str:
    counted = Counter(map(str, sorted(nodes)))  # smallest first: Ray lists them in any order
    return "; ".join(f"{number} of {what}" for what, number in counted.items()) or "none"
