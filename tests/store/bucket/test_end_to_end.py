"""A study on a bucket, from its run to its report: what a store on a disk answers, to the last digit."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bucket_server import SECRET, Proxy, drawn
from drivers import Drivers
from held import STUDIES, counting

import gradlaw
from gradlaw import cli
from gradlaw.adaptive.export import export_journal
from gradlaw.planning.planned import plan_study
from gradlaw.store.compaction import compact
from gradlaw.store.store import Store
from gradlaw_analysis import open_store

JUDGED, KEPT, SOUGHT, TINY = (STUDIES / name for name in ("judged", "kept", "sought", "tiny"))
OWN = ("wall_s", "started_at", "pack_id", "attempt")


def same(rows: list[dict[str, Any]]) -> list[str]:
    """Rows as text, exactly, without what a second run says otherwise."""
    return sorted(repr({name: value for name, value in row.items() if name not in OWN}) for row in rows)


def documents(store: Path | str) -> list[dict[str, Any]]:
    """The verdicts, without the digests of files, which hold times."""
    found = [item.document() for item in open_store(store).verdicts([JUDGED])]
    return [{name: value for name, value in item.items() if name != "files"} for item in found]


def trained(study: Path, store: Path | str, **how: Any) -> gradlaw.RunSummary:
    how = {"launcher": "inline", "compile": "never", "width": 4} | how
    summary = gradlaw.run(study, store=store, **how)
    assert summary.complete
    return summary


@pytest.fixture(scope="module")
def drivers(proxy: Proxy) -> Iterator[Drivers]:
    """Processes that can be killed; the bucket is in their environment."""
    server = Drivers(ray=True)
    yield server
    server.close()


@pytest.mark.slow
def test_every_question_has_the_answer_of_a_disk(address: str, proxy: Proxy, tmp_path: Path) -> None:
    """With one request in twenty meeting a fault."""
    disk = tmp_path / "disk"
    proxy.plan = drawn(3, 0.05)
    for place in (disk, address):
        trained(JUDGED, place, width=16)
    assert trained(JUDGED, address, width=16).trials_run == 0
    assert sum(proxy.done.values()) > 5
    for table in ("trials", "drawn_noise"):
        assert same(counting(address, table)) == same(counting(disk, table))
    expected, found = documents(disk), documents(address)
    assert len(found) > 3
    assert found == expected
    assert str(open_store(address).status()) == str(open_store(disk).status())
    assert [open_store(place).compact().generation for place in (disk, address)] == [1, 1]
    assert same(counting(address, "drawn_noise")) == same(counting(disk, "drawn_noise"))
    query = (
        "SELECT state, count(*) AS n, sum(std) AS s FROM trials JOIN drawn_noise USING (trial_id) GROUP BY 1"
    )
    assert open_store(address).sql(query).equals(open_store(disk).sql(query))
    proxy.plan = None
    report = open_store(address).report([JUDGED], tmp_path / "report.json")
    content = json.loads(report.read_text())
    assert content["store"] == address.rpartition("/")[2]
    assert SECRET not in report.read_text()


@pytest.mark.slow
def test_weights_are_measured_again(address: str, tmp_path: Path) -> None:
    changed: dict[str, object] = {"large.threshold": 0.3}
    trained(KEPT, tmp_path / "disk", set=changed)
    trained(KEPT, address)
    summary = gradlaw.measure(KEPT, set=changed, store=address)
    assert (summary.trials_measured, summary.complete) == (6, True)
    query = "SELECT * EXCLUDE (pack_id, attempt) FROM large ORDER BY ALL"
    answers = [open_store(place).sql(query, plan=summary.plan_id) for place in (tmp_path / "disk", address)]
    assert len(answers[0]) > 0
    assert answers[0].equals(answers[1])


def test_a_search_runs_and_is_exported(address: str, tmp_path: Path) -> None:
    trained(SOUGHT, address, preset="short")
    planned = plan_study(SOUGHT, preset="short")
    assert export_journal(planned, Store.open(address), tmp_path / "journal") == 8


@pytest.mark.slow
def test_what_was_killed_goes_on_and_what_it_leaves_is_whole(
    address: str, tmp_path: Path, drivers: Drivers
) -> None:
    """Killed after a checkpoint, between two files of its pack, and in the middle of a compaction."""
    how: dict[str, Any] = {"preset": "smoke", "set": {"steps": 270}, "compile": "never", "width": 4}
    trained(TINY, tmp_path / "disk", **how)
    how["flush_s"] = 10.0
    for fault, often in (("checkpoint_after_manifest:2", {"checkpoint_s": 1e-9}), ("between_files:1", {})):
        env = {"GRADLAW_FAULT": fault}
        code = drivers.run(study=str(TINY), store=address, how=how | often, env=env)
        assert code == -signal.SIGKILL, drivers.log.read_text()
        assert Store.open(address).index() == {}
        assert any(key.endswith(".safetensors") for key in Store.open(address).files.scan("_checkpoints"))
    notes: list[str] = []
    trained(TINY, address, **how, say=notes.append)
    assert any(f"goes on from its checkpoint {address}/_checkpoints/" in note for note in notes)
    assert Store.open(address).files.scan("_checkpoints") == {}
    fault = "compaction_before_manifest:1"
    assert drivers.run(store=address, compact=0.0, env={"GRADLAW_FAULT": fault}) == -signal.SIGKILL
    for generation in (0, 1):
        assert Store.open(address).resolve().generation == generation
        assert same(counting(address, "metrics")) == same(counting(tmp_path / "disk", "metrics"))
        compact(Store.open(address))


@pytest.mark.slow
def test_with_ray_and_by_the_command_line(
    address: str, proxy: Proxy, drivers: Drivers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(TINY, tmp_path / "disk", width=12)
    proxy.plan = drawn(5, 0.1)
    how = {
        "launcher": "ray",
        "compile": "never",
        "width": 12,
        "flush_s": 10.0,
    }
    with tempfile.TemporaryDirectory() as short:
        code = drivers.run(study=str(TINY), store=address, how=how, env={"TMPDIR": short})
    said = drivers.log.read_text()
    assert code == 0, said
    assert SECRET not in said
    assert sum(proxy.done.values()) > 0
    assert same(counting(address, "metrics")) == same(counting(tmp_path / "disk", "metrics"))
    proxy.plan = None
    run = ["run", str(TINY), "--launcher", "inline", "--compile", "never", "--width", "12"]
    for words in (
        run,
        ["status"],
        ["sql", "SELECT count(*) AS n FROM trials", "--format", "csv"],
        ["compact"],
    ):
        monkeypatch.setattr(sys, "argv", ["gradlaw", *words, "--store", address])
        with pytest.raises(SystemExit) as ended:
            cli.main()  # in this process: another takes longer to begin than they take
        assert not ended.value.code
    assert len(counting(address)) == 12
