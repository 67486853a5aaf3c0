"""Trials that weights kept do not serve are named and left alone; what serves is enough."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from held import STUDIES, bytes_of, committed

import gradlaw
from gradlaw import pack
from gradlaw.fingerprint import source_digest
from gradlaw.hyperparameter import Scalar
from gradlaw.pack import Training, parted_source
from gradlaw.running import measurable, remeasure
from gradlaw.running.runner import RunSummary
from gradlaw_analysis.catalog import Catalog

KEPT = STUDIES / "kept"
OTHER: dict[str, object] = {"large.threshold": 0.3}

Trained = Callable[..., RunSummary]
Stored = Callable[..., Path]


@pytest.mark.parametrize(
    ("preset", "settings", "reason"),
    [
        ("few", OTHER, "no weights are kept at step 6 (kept: 12)"),
        ("bare", OTHER, "no weights are kept at step 6, 12 (kept: none)"),
    ],
)
def test_trials_without_the_weights_are_named_and_left_alone(
    preset: str,
    settings: dict[str, Scalar],
    reason: str,
    stored: Stored,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = stored(preset, tmp_path / "store")
    before = {name: data for name, data in bytes_of(store).items() if not name.startswith("plans/")}
    lines: list[str] = []
    monkeypatch.setattr(remeasure, "_NAMED", 5)
    summary = gradlaw.measure(KEPT, preset=preset, store=store, set=settings, say=lines.append)
    assert not summary.complete
    assert set(summary.left.values()) == {reason}
    assert set(summary.left) == {row["trial_id"] for row in committed(store)}
    assert lines == [f"left alone: {', '.join(list(summary.left)[:5])} and 1 more: {reason}"]
    assert {name: data for name, data in bytes_of(store).items() if not name.startswith("plans/")} == before


def test_weights_at_the_end_serve_a_probe_that_asks_for_the_end(stored: Stored, tmp_path: Path) -> None:
    store = stored("few", tmp_path / "store")
    summary = gradlaw.measure(KEPT, preset="few", store=store, set={**OTHER, "large.middle": False})
    assert (summary.trials_measured, summary.left) == (6, {})


def test_weights_kept_by_two_probes_are_read_once(stored: Stored, tmp_path: Path) -> None:
    store = stored("twice", tmp_path / "store")
    assert len(committed(store, "weights")) == 2 * (1 + 2) * 6, "at the last step twice"
    summary = gradlaw.measure(KEPT, preset="twice", store=store, set=OTHER)
    found, expected = (
        Catalog(path).connection(summary.plan_id).execute("SELECT * EXCLUDE (pack_id, attempt) FROM large")
        for path in (store, stored("twice", tmp_path / "anew", OTHER))
    )
    assert sorted(found.fetchall()) == sorted(expected.fetchall())


def test_what_only_training_measures_is_said(stored: Stored, tmp_path: Path) -> None:
    store = stored("unprobed", tmp_path / "store")
    summary = gradlaw.measure(KEPT, preset="few", store=store)
    (reason,) = set(summary.left.values())
    assert reason.startswith("only training measures full_loss@1:")


def test_probes_that_were_never_asked_for_are_measured_too(trained: Trained, tmp_path: Path) -> None:
    """A study that gains a probe: here ``few`` on a store that was trained for ``demo``."""
    trained(tmp_path / "store", "demo", seeds=1)
    summary = gradlaw.measure(KEPT, preset="few", store=tmp_path / "store", seeds=1)
    assert (summary.trials_measured, summary.left) == (2, {})


def test_trials_that_were_never_run_are_left_to_a_run(stored: Stored, tmp_path: Path) -> None:
    store = stored("demo", tmp_path / "store")
    summary = gradlaw.measure(KEPT, store=store, seeds=4, set=OTHER)
    assert summary.trials_measured == 6
    assert sorted(summary.left.values()) == ["it is not in the store"] * 2


def test_weights_of_another_task_are_not_read(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that changed its shapes and not its version."""
    store = stored("demo", tmp_path / "store")
    found = measurable.expected_weights

    def other(program: Training, seed: int) -> set[tuple[str, str, str]]:
        return {(kind, name, shape or "1") for kind, name, shape in found(program, seed)}

    monkeypatch.setattr(measurable, "expected_weights", other)
    summary = gradlaw.measure(KEPT, store=store, set=OTHER)
    (reason,) = set(summary.left.values())
    assert "what is kept at step 6 is not what its task has now: got buffer count []" in reason
    assert "allowed buffer count [1]" in reason


def test_every_probe_keeps_the_source_that_measured_what_stands_there(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, lines = stored("demo", tmp_path / "store"), list[str]()
    [(probes, source)] = {(row["probes"], row["source_digest"]) for row in committed(store)}
    trained, before = parted_source(source, json.loads(probes))
    assert len(before) == 4
    assert all(before.values())

    monkeypatch.setattr(pack, "source_digest", lambda *kinds: source_digest(*kinds)[::-1])
    gradlaw.measure(KEPT, store=store, set=OTHER, say=lines.append)
    assert "warning: 6 trials were run by other source of their task, rule, schedule or probes" in lines
    again = {(row["probes"], row["source_digest"]) for row in committed(store) if row["reason"]}
    [(probes, source)] = again
    now_trained, after = parted_source(source, json.loads(probes))
    assert now_trained == trained, "nothing was trained"
    [measured] = after.keys() - before.keys()
    [replaced] = before.keys() - after.keys()
    assert measured.startswith("large@")
    assert after.pop(measured) == before.pop(replaced)[::-1]
    assert after == before, "what was copied was measured by what measured it then"
