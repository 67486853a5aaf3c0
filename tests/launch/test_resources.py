"""What packs ask for and what workers make of it: functions of numbers, tested with numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from held import STUDIES, counting

import gradlaw
from gradlaw.adaptive.rounds import next_round
from gradlaw.engine.footprint import Footprint, footprint, footprints
from gradlaw.engine.memory import PeakBytes, cgroup_bytes, kept_to, process_bytes
from gradlaw.errors import ConfigurationError
from gradlaw.launch import resources
from gradlaw.launch.base import Order
from gradlaw.launch.resources import (
    GIB,
    STEP_BYTES,
    Bundle,
    Cluster,
    Programs,
    Settled,
    declared_nodes,
)
from gradlaw.launch.room import WORKER_BYTES, bounded, local_device, widest_for
from gradlaw.pack import Pack, Training
from gradlaw.planning.planned import plan_study
from gradlaw.running.options import RunOptions

PLACED, TINY = STUDIES / "placed", STUDIES / "tiny"
MIB = 2**20

CPU_NODE, GPU_NODE = Bundle(8, 0, 16 * GIB), Bundle(16, 2, 64 * GIB)
MIXED = Cluster(nodes=(CPU_NODE, GPU_NODE))


@pytest.fixture(scope="module")
def pack() -> Pack:
    return plan_study(PLACED, preset="wide", seeds=16).plan.packs[0]


@pytest.fixture(scope="module")
def measured() -> Pack:
    return plan_study(PLACED, preset="hungry").plan.packs[0]


@pytest.fixture
def restored_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def ordered(pack: Pack, **how: Any) -> Order:
    return Order(pack=pack, store="", **how)


@pytest.mark.parametrize(
    ("ask", "fits", "times"),
    [
        (Bundle(1), (True, True), (8, 16)),
        (Bundle(3), (True, True), (2, 5)),
        (Bundle(9), (False, True), (0, 1)),
        (Bundle(1, 0.25), (False, True), (0, 8)),
        (Bundle(1, 0.1), (False, True), (0, 16)),
        (Bundle(1, 0, 6 * GIB), (True, True), (2, 10)),
        (Bundle(1, 0, 17 * GIB), (False, True), (0, 3)),
    ],
)
def test_how_often_a_node_holds_a_pack(ask: Bundle, fits: tuple[bool, ...], times: tuple[int, ...]) -> None:
    assert tuple(ask.fits(node) for node in MIXED.nodes) == fits
    assert tuple(ask.times(node) for node in MIXED.nodes) == times
    assert MIXED.num_workers(ask) == sum(times)


def test_a_node_to_come_counts_and_one_that_is_not_known_may_come() -> None:
    ask, head = Bundle(4, 1), Bundle(2, 0, GIB)
    assert not Cluster(nodes=(head,)).holds(ask)
    assert Cluster(nodes=(head,), to_come=(GPU_NODE,), grows=True).holds(ask)
    assert not Cluster(nodes=(head,), to_come=(CPU_NODE,), grows=True).holds(ask)
    assert Cluster(nodes=(head,), grows=True).holds(ask)


def test_a_node_that_was_lost_is_waited_for_with_packs_of_the_same_size(pack: Pack) -> None:
    """Its pack asked for its share of it; what takes its place need be no larger."""
    ask, head = Bundle(4, 1), Bundle(0, 0, GIB)
    order = ordered(pack, threads=4, device="cpu", memory_bytes=0)
    before, after = Cluster(nodes=(head, GPU_NODE)), Cluster(nodes=(head,))
    assert not after.holds(ask)
    after = after.after_losses(before.nodes)
    assert after == Cluster(nodes=(head,), to_come=(GPU_NODE,))
    assert after.holds(ask)
    assert after.ask_for(order) == before.ask_for(order)
    assert before.after_losses(before.nodes) == before
    assert before.waits_for([ask]) == ""
    assert after.waits_for([ask]).startswith("waiting for a node with 4 CPUs, 1 GPU: none is there now (1 of")
    anything = Cluster(nodes=(head,), grows=True)
    assert anything.after_losses(before.nodes) == anything, "any may come"


def test_all_that_no_node_holds_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as raised:
        MIXED.refuse_impossible([Bundle(1), Bundle(64), Bundle(1, 4)])
    text = str(raised.value)
    assert "asks for 64 CPUs;" in text
    assert "asks for 1 CPU, 4 GPUs;" in text
    assert "1 of 8 CPUs, 16.0 GiB; 1 of 16 CPUs, 2 GPUs, 64.0 GiB" in text
    assert "--cpus" in text


def test_automatic_is_a_gpu_where_there_is_one_or_one_may_come() -> None:
    head = Bundle(2, 0, GIB)
    assert Cluster(nodes=(head,)).device("auto") == "cpu"
    assert MIXED.device("auto") == "cuda"
    assert Cluster(nodes=(head,), to_come=(GPU_NODE,), grows=True).device("auto") == "cuda"
    assert MIXED.device("cpu") == "cpu"
    assert "GPUs" in MIXED.remark("auto")
    assert "--device cuda" in Cluster(nodes=(head,), grows=True).remark("auto")
    assert Cluster(nodes=(head,)).remark("auto") == MIXED.remark("cpu") == MIXED.remark("cuda") == ""
    assert local_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


def test_only_what_trains_asks_for_a_gpu(pack: Pack, measured: Pack) -> None:
    how: dict[str, Any] = {"device": "cuda", "gpu_share": 0.25, "threads": 2}
    assert MIXED.ask_for(ordered(pack, **how))[:2] == (2, 0.25)
    assert MIXED.ask_for(ordered(measured, **how))[:2] == (2, 0.0)
    assert MIXED.ask_for(ordered(pack, **{**how, "device": "cpu"}))[:2] == (2, 0.0)


def test_what_does_not_train_runs_on_the_cpu_of_a_node_that_may_have_no_gpu(
    pack: Pack, measured: Pack
) -> None:
    orders = [ordered(pack, device="auto"), *(ordered(measured, device=name) for name in ("auto", "cuda"))]
    settled = Settled(orders, MIXED, Programs())
    assert [settled[at][0].device for at in range(3)] == ["cuda", "cpu", "cpu"]
    assert bounded(settled[1][0], 8, 16 * GIB).widest is None, "no GPU is asked how large it is"


def test_memory_asked_for_is_what_was_said_else_an_estimate(pack: Pack) -> None:
    node = Cluster(nodes=(Bundle(4, 0, 8 * GIB),))
    assert node.ask_for(ordered(pack, memory_bytes=3 * GIB)).memory_bytes == 3 * GIB
    assert node.ask_for(ordered(pack)).memory_bytes == WORKER_BYTES, "nothing is known of its batches"
    small = ordered(pack, footprint=Footprint(0, 10 * MIB))
    assert node.ask_for(small).memory_bytes == 3 * STEP_BYTES, "512 MiB and 160 MiB, rounded up"
    assert node.ask_for(replace(small, width=2)).memory_bytes == 3 * STEP_BYTES
    assert node.ask_for(replace(small, widest=1, footprint=Footprint(0, 1))).memory_bytes == 3 * STEP_BYTES


def test_an_estimate_is_cut_to_the_share_of_a_node_but_for_one_member(pack: Pack) -> None:
    node = Cluster(nodes=(Bundle(4, 0, 8 * GIB),))
    wide = ordered(pack, footprint=Footprint(0, 512 * MIB))
    assert node.ask_for(wide).memory_bytes == 2 * GIB, "a quarter, not the 8.5 GiB that all take"
    heavy = ordered(pack, footprint=Footprint(0, 5 * GIB))
    assert node.ask_for(heavy).memory_bytes == 5.5 * GIB, "one member and the process"
    too_heavy = ordered(pack, footprint=Footprint(0, 50 * GIB))
    assert node.ask_for(too_heavy).memory_bytes == 8 * GIB, "an estimate is never refused"


def test_nothing_is_asked_of_memory_that_an_autoscaler_does_not_know(pack: Pack) -> None:
    declared = Bundle(4, 1, math.inf)
    grown = Cluster(nodes=(Bundle(4, 0, 8 * GIB),), to_come=(declared,), grows=True)
    assert grown.ask_for(ordered(pack, footprint=Footprint(0, MIB))).memory_bytes == 0
    assert "memory" not in grown.ask_for(ordered(pack)).request()


def test_types_of_nodes_are_read_from_the_cluster_file(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    assert declared_nodes(file) == ()
    file.write_text("available_node_types: [1, 2]")
    assert declared_nodes(file) == ()
    file.write_text(
        "available_node_types:\n"
        "  head: {resources: {CPU: 4}, max_workers: 0}\n"
        "  gpu: {resources: {CPU: 8, GPU: 1, memory: 1000}, max_workers: 4}\n"
        "  spot: {resources: {CPU: 8, GPU: 1}}\n"
    )
    assert declared_nodes(file) == (Bundle(8, 1, 1000), Bundle(8, 1, math.inf))


def test_batches_are_bounded_by_the_share_of_the_node(pack: Pack) -> None:
    order = ordered(pack, footprint=Footprint(64 * MIB, 16 * MIB))
    widths = [bounded(order, cpus, GIB).widest for cpus in (1, 2, 4)]
    assert widths == [28, 1, 1], "(1024 - 512 - 64) / 16; then too little is left for two"
    assert bounded(replace(order, threads=2), 2, GIB).widest == 28
    assert bounded(replace(order, memory_bytes=2 * GIB), 8, GIB).widest == (2048 - 512 - 64) // 16
    assert bounded(replace(order, widest=5), 1, GIB).widest == 5, "what was learned binds too"
    assert bounded(ordered(pack), 1, GIB).widest is None
    assert widest_for(replace(order, gpu_share=0.25), 0.25 * 16 * GIB * 0.9) == (3686 - 64) // 16


def test_what_a_member_takes_is_what_running_it_takes(pack: Pack) -> None:
    """Traced without numbers, and counted while it is run: the same."""
    from gradlaw.engine.functions import Functions
    from gradlaw.engine.machine import step_arguments
    from gradlaw.engine.members import stack
    from gradlaw.engine.run import program_of

    assert isinstance(pack.program, Training)
    program = program_of(pack.program, pack.members, "cpu")
    batch = stack(program, pack.members[:1], torch.device("cpu")).taken([0] * 4)
    functions = Functions(program, "eager", batch)
    with PeakBytes() as made:
        functions.step.call(*step_arguments(functions, batch))
    found = footprint(pack.program, pack.members)
    assert found.member_bytes == pytest.approx(made.peak / 4, rel=0.01)
    assert 3 * 8 * MIB <= found.member_bytes < 4 * 8 * MIB, "two arrays and a gradient"


def test_a_task_counts_its_data_once() -> None:
    (found,) = footprints(plan_study(TINY).plan.packs).values()
    assert found.task_bytes == 8 * 4 * 8, "eight rows of four float64"


def test_a_program_is_looked_at_once_whatever_the_round_and_the_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each round of a search asks for the same programs; what takes other memory is another."""
    looked: list[Pack] = []

    def counted(packs: Iterable[Pack]) -> Mapping[int, Footprint]:
        looked.extend(packs := list(packs))
        return footprints(packs)

    monkeypatch.setattr(resources, "footprints", counted)
    declared = plan_study(STUDIES / "sought").plan.adaptive
    assert declared
    asks = next_round(declared, ())
    first, second = declared.build(asks).packs, declared.build(asks).packs
    programs = Programs()
    programs.look(first)
    num_programs = len({id(pack.program) for pack in first})
    assert len(looked) == num_programs > 1
    programs.look(second)
    longer = [replace(pack, program=replace(training(pack), steps=7)) for pack in second]
    programs.look(longer)
    assert len(looked) == num_programs
    found = [programs.footprint(pack.program) for pack in longer]
    assert found == [footprint(training(pack), pack.members) for pack in longer]
    programs.look([replace(first[0], program=replace(training(first[0]), dtype="float32"))])
    assert len(looked) == num_programs + 1


def training(pack: Pack) -> Training:
    assert isinstance(pack.program, Training)
    return pack.program


def test_limits_of_control_groups_are_respected(tmp_path: Path) -> None:
    """Version 2 as in a container, version 1 by path, and no limit."""
    named = tmp_path / "named"
    named.write_text("0::/\n")
    root = tmp_path / "v2"
    root.mkdir()
    (root / "memory.max").write_text("max\n")
    (root / "memory.current").write_text("5\n")
    assert cgroup_bytes(root, named) == []
    (root / "memory.max").write_text("1000\n")
    assert cgroup_bytes(root, named) == [(1000, 5)]

    own = tmp_path / "v1" / "memory" / "job" / "task"
    own.mkdir(parents=True)
    for folder, limit in ((own, 300), (own.parent, 200)):
        (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
        (folder / "memory.usage_in_bytes").write_text("7\n")
    (tmp_path / "v1" / "memory" / "memory.limit_in_bytes").write_text(f"{2**63 - 4096}\n")
    (tmp_path / "v1" / "memory" / "memory.usage_in_bytes").write_text("9\n")
    named.write_text("4:memory:/job/task\n1:cpu:/elsewhere\n")
    assert cgroup_bytes(tmp_path / "v1", named) == [(300, 7), (200, 7)]
    assert cgroup_bytes(tmp_path, tmp_path / "absent") == []


def test_a_process_keeps_to_its_memory_and_is_let_go() -> None:
    size = 256 * MIB
    with kept_to(process_bytes() + 64 * MIB), pytest.raises(RuntimeError, match="allocate"):
        torch.ones(size, dtype=torch.uint8)
    assert torch.ones(size, dtype=torch.uint8).numel() == size


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"cpus": 0}, "cpus: got 0, allowed >= 1"),
        ({"gpus": 1.5, "launcher": "ray"}, "gpus: got 1.5, allowed > 0 and <= 1"),
        ({"gpus": 0.0, "launcher": "ray"}, "gpus: got 0, allowed > 0 and <= 1"),
        (
            {"gpus": 0.5, "device": "cpu", "launcher": "ray"},
            "gpus: got 0.5 with the device cpu; allowed with cuda or auto",
        ),
        ({"gpus": 0.25}, "gpus: got 0.25 with the launcher inline, whose packs have the GPU of this process"),
        ({"memory_gb": 0.5}, "memory_gb: got 0.5, allowed >= 1"),
        ({"memory_gb": math.nan}, "memory_gb: got nan, allowed >= 1"),
        ({"memory_gb": math.inf}, "memory_gb: got inf, allowed >= 1 and <= 1048576"),
        ({"cpus": 2**31}, "cpus: got 2147483648, allowed >= 1 and <= 65536"),
        ({"device": "meta"}, "device: got 'meta', allowed auto or a device of this machine"),
        ({"device": "meta", "launcher": "ray"}, "device: got 'meta', allowed auto or a device"),
        ({"address": "head:6379"}, "address: got 'head:6379' with the launcher inline; allowed with ray"),
        ({"device": "quantum"}, "device: got 'quantum', allowed auto or a device of this machine"),
        ({"device": "cuda:1", "launcher": "ray"}, "device: got 'cuda:1', allowed cuda: which one, Ray says"),
    ],
)
def test_impossible_resources_are_refused_before_anything_runs(how: dict[str, Any], said: str) -> None:
    (fault,) = RunOptions(**how).faults()
    assert fault.startswith(said)


def test_a_gpu_of_the_cluster_need_not_be_on_this_machine() -> None:
    assert RunOptions(device="cuda", launcher="ray", gpus=0.25).faults() == []


def test_threads_are_those_asked_for(tmp_path: Path, restored_threads: None) -> None:
    gradlaw.run(TINY, seeds=1, store=tmp_path, cpus=2, compile="never")
    assert {row["threads"] for row in counting(tmp_path)} == {2}


def test_a_width_that_memory_allows_is_not_exceeded(train: Callable[..., Any], watched: type[Any]) -> None:
    for widest, widths in ((3, {3}), (1, {1}), (64, {8})):
        task = watched()
        result = train(task, seeds=range(8 if widest != 3 else 9), widest=widest, compile="never", steps=3)
        assert set(task.widths) == widths
        assert {str(item.state) for item in result.results} == {"done"}
    task = watched()
    train(task, seeds=range(8), widest=2, width=4, compile="never", steps=3)
    assert set(task.widths) == {2}, "nor by what was asked for"
