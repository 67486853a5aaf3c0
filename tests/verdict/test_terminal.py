"""Verdicts and status as text: within 100 columns, plain off a terminal, no escape of others."""

from __future__ import annotations

import io
import json
import re
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from gradlaw.errors import UnknownNameError
from gradlaw.store.leases import Leases, Tenant
from gradlaw.table import Column, Table
from gradlaw_analysis import OpenStore, open_store
from gradlaw_analysis.report.terminal import WIDTH, write_verdicts
from gradlaw_analysis.verdict import Verdict

METRICS = Table(
    name="metrics",
    grain="A trial and a logged step.",
    columns=(Column(name="step", type="int64"), Column(name="loss", type="float64")),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def verdicts(judged_store: Path, judged: Path) -> list[Verdict]:
    return open_store(judged_store).verdicts([judged], record=False)


def written(verdicts: list[Verdict], stream: io.StringIO | None = None) -> str:
    stream = stream or io.StringIO()
    write_verdicts(verdicts, stream=stream)
    return stream.getvalue()


def test_plain_text_fits_and_is_plain(verdicts: list[Verdict]) -> None:
    text = written(verdicts)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.replace("\n", "").isprintable()
    assert "judged, plan demo_" in text
    assert "48 of 48 trials" in text
    for verdict in verdicts:
        assert verdict.claim.name in text
        assert verdict.verdict.value in text


def test_short_names_share_the_line_with_their_numbers(verdicts: list[Verdict]) -> None:
    text = written([verdict for verdict in verdicts if len(verdict.claim.name) <= 11])
    lines = [line for line in text.splitlines() if line.startswith("supported")]
    assert lines
    assert not [line for line in lines if not re.match(r"supported +\w+ +-?\d", line)]


def test_a_terminal_gets_colour_and_nothing_of_a_claims_own(verdicts: list[Verdict]) -> None:
    text = written(verdicts, Terminal())
    assert "\x1b[1;32msupported" in text
    assert "\x1b[31m" not in text  # as the claim's source holds it; styles here are bold
    assert max(len(re.sub(r"\x1b\[[\d;]*m", "", line)) for line in text.splitlines()) <= WIDTH


def test_exploratory_and_undeclared_are_said(verdicts: list[Verdict]) -> None:
    odd = replace(verdicts[0], exploratory=True, reason="because", declared_before_data=False)
    text = written([odd])
    assert "supported*" in text
    assert "* exploratory: because" in text
    assert "not declared before data" in text


def test_json_is_the_documents(verdicts: list[Verdict]) -> None:
    stream = io.StringIO()
    write_verdicts(verdicts, "json", stream)
    assert json.loads(stream.getvalue()) == json.loads(json.dumps([item.document() for item in verdicts]))


def test_nothing_and_unknown_formats(verdicts: list[Verdict]) -> None:
    assert "no claim has a plan" in written([])
    with pytest.raises(UnknownNameError, match="unknown format 'xml'"):
        write_verdicts(verdicts, "xml")


class Busy:
    """Shares of 0.25, 0.75 and 0.75, whoever asks."""

    shares = iter((0.25, 0.75, 0.75))

    def __call__(self) -> dict[str, float | None]:
        return {"cpu_utilisation": next(self.shares)}


def test_status_counts_what_is_there_and_what_runs(
    opened: OpenStore, lose_seeds: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradlaw_analysis.status.WINDOW_S", 86_400.0)  # the store may be older than minutes
    (plan,) = opened.status().plans
    assert (plan.num_planned, plan.num_ended, plan.states) == (48, 48, {"done": 48})
    assert (plan.packs_committed, plan.trials_per_s, plan.left_s) == (6, None, None)
    ids = opened.sql("SELECT trial_id FROM trials WHERE seed = 5")["trial_id"].tolist()
    lose_seeds(opened, 4, 5)
    with opened.store.writer("judged", "p0") as writer:
        writer.append(METRICS, {"trial_id": ids[:3], "step": [0] * 3, "loss": [1.0] * 3})
        writer.flush()
        assert opened.status().plans[0].packs_running == 0, "nobody holds the pack: its worker died"
        tenants = {"p0": plan.plan, "p1": plan.plan, "p2": "smoke_0123456789"}
        with ExitStack() as stack:
            for pack_id, plan_id in tenants.items():
                hold = Leases(opened.store.files).acquire(pack_id, Tenant(plan_id=plan_id), Busy())
                assert hold
                stack.enter_context(hold)
                hold.renew()
            status = opened.status()
    assert opened.status().others == {}
    (plan,) = status.plans
    host = socket.gethostname()
    workers = plan.workers
    assert workers
    assert (workers.hosts, workers.cpu_busy, workers.gpu_busy) == ({host: 2}, 0.5, None)
    assert f"  workers 2 on {host}; CPU 50% busy; begun " in str(status)
    assert f"also at work on plan smoke_0123456789: 1 on {host}; CPU 75% busy; begun " in str(status)
    assert plan.states == {"done": 32, "missing": 13, "running": 3}
    assert (plan.num_ended, plan.packs_committed, plan.packs_running) == (32, 4, 2)
    assert plan.trials_per_s is not None
    assert plan.left_s == pytest.approx(16 / plan.trials_per_s)
    assert "32 of 48: 32 done, 13 missing, 3 running" in str(status)
    assert "s left" in str(status)
