"""The benchmark of sizes: its workers leave what a run leaves, its claims come out as planted, its figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gradlaw.launch.base import Launcher, OnReport, Order
from gradlaw.running import runner
from gradlaw_analysis import open_store

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its modules can be imported, as the scripts import one another."""
    monkeypatch.syspath_prepend(FOLDER)


@pytest.mark.usefixtures("benchmarks")
def test_workers_that_only_write_leave_a_run_that_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = __import__("_scale_rows").PackingWorker(window=5)
    most_open: list[int] = []

    class Writing(Launcher):
        name = "writing"

        def run(self, orders: Sequence[Order], on_report: OnReport) -> None:
            for order in orders:
                for report in worker.take(order):
                    on_report(report)
                most_open.append(len(list((tmp_path / "store" / "_leases").rglob("*.json"))))
            for report in worker.finish():
                on_report(report)

    monkeypatch.setattr(runner, "make_launcher", lambda *_, **__: Writing())
    summary = runner.run(FOLDER / "scale_study", preset="trials_1000", store=tmp_path / "store")
    assert summary.states == {"done": 1000}
    assert summary.complete
    assert max(most_open) == 5
    assert not list((tmp_path / "store" / "_leases").rglob("*.json"))
    assert len(worker.times.commit_s) == 16

    opened = open_store(tmp_path / "store")
    counts = opened.sql("SELECT count(*) AS rows, count(DISTINCT (trial_id, step)) AS points FROM metrics")
    assert counts.to_dict("records") == [{"rows": 100_000, "points": 100_000}]
    verdicts = {item.claim.name: item for item in opened.verdicts([FOLDER / "scale_study"])}
    assert {name: item.verdict.value for name, item in verdicts.items()} == {
        "floor_against_lr": "supported",
        "seeds_settle": "supported",
    }
    assert verdicts["floor_against_lr"].estimate == pytest.approx(0.5, abs=0.01)
    assert verdicts["seeds_settle"].estimate == 0.9

    asking = __import__("_scale_asking")
    assert asking.metrics_bytes(tmp_path / "store")["committed_files"] == 16
    asking.resolve(tmp_path / "store")


def _records(trials: int) -> list[dict[str, Any]]:
    """A run and its store, made up."""
    quantiles = {"median": 0.01, "p99": 0.02, "max": 0.03}
    marks = {name: {"seconds": 1.0, "rss_bytes": 400 << 20} for name in ("launched", "committed")}
    asked = {"wall_s": trials / 1e5, "cpu_s": 1.0, "peak_bytes": 1 << 20}
    run = {"plan_s": 0.1, "beside_s": 0.2, "peak_beyond_plan_bytes": 123 << 20, "marks": marks}
    run |= {"packs": trials // 64, "open_packs": 10, "rows": 100 * trials}
    run |= dict.fromkeys(("open_s", "write_s", "commit_s"), quantiles)
    store: dict[str, Any] = {"before": {"resolve": asked, "status": asked}, "compact": asked}
    store["after"] = dict.fromkeys(("resolve", "status", "group_by", "verdicts"), asked)
    store |= {"bytes_a_row": 13.0, "bytes_a_row_compacted": 12.6}
    return [{"case": "run", "trials": trials, **run}, {"case": "store", "trials": trials, **store}]


@pytest.mark.usefixtures("benchmarks")
def test_the_figure_is_drawn_and_the_numbers_replace_those_before(tmp_path: Path) -> None:
    drawing = __import__("scale_figure")
    schedule = {"case": "schedule", "packs": 1000, "ms_a_trial": 0.7, "ms_a_pack": 45.0}
    schedule |= {"driver_cpu_s": 16.0, "peak_beyond_plan_bytes": 100 << 20}
    lines = [*_records(1000), *_records(10_000), schedule]
    (tmp_path / "scale.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    page = tmp_path / "scale.md"
    page.write_text(f"above\n{drawing.BEGIN}old numbers\n{drawing.END}below\n", encoding="utf-8")
    records = drawing.read(tmp_path / "scale.jsonl")
    values = drawing.frame(records)
    drawing.draw(values, tmp_path / "scale.png")
    drawing.write(page, drawing.table(records, values))
    assert (tmp_path / "scale.png").stat().st_size > 10_000
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"above\n{drawing.BEGIN}| | unit | 1,000 trials | 10,000 trials |\n")
    assert text.endswith(f"{drawing.END}below\n")
    assert "| Fresh answers, compacted: verdicts | s | 0.01 | 0.1 |" in text
    assert "| 1,000 | 0.7 | 45 | 16 | 100 |" in text
    assert "old numbers" not in text


@pytest.mark.usefixtures("benchmarks")
def test_what_is_measured_is_not_measured_again(tmp_path: Path) -> None:
    scale = __import__("scale")
    out = tmp_path / "scale.jsonl"
    assert scale._held(out) == set()
    out.write_text('{"case": "run", "trials": 1000}\n{"case": "schedule", "packs": 8}\n', encoding="utf-8")
    assert scale._held(out) == {("run", 1000), ("schedule", 8)}
