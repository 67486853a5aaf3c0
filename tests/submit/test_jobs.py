"""Jobs of a real head with a token: sent, left alone, found again, stopped, refused."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clients import Client
from head import Head
from held import STUDIES, committed, counting, numbers
from tunnel import Tunnel

import gradlaw

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

TINY, GATED = (str(STUDIES / name) for name in ("tiny", "gated"))
Start = Callable[..., Client]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    found = Head()
    yield found
    found.kill()


@pytest.fixture
def start(head: Head, tmp_path: Path) -> Iterator[Start]:
    """Starts a command with the head's token, or with what is said instead; none outlives its test."""
    clients: list[Client] = []

    def started(*words: str, at: str = "", begin_s: float = 30.0, **environment: str) -> Client:
        where = at or (head.address if words[0] == "run" else head.dashboard)
        log, own = tmp_path / f"client{len(clients)}.err", head.environment(**environment)
        clients.append(Client([*words, "--address", where], own, log, BEGIN_S=begin_s))
        return clients[-1]

    yield started
    for client in clients:
        client.kill()


def test_a_job_outlives_its_sender_and_is_found_again(head: Head, start: Start, tmp_path: Path) -> None:
    store, gate = tmp_path / "store", tmp_path / "the gate's file"
    words = ["submit", GATED, "--store", str(store), "--set", f"gate={gate}"]
    sender = start(*words, begin_s=0.05)
    name = sender.wait_for("sent: ").split()[0]
    assert "after 15 minutes Ray gives it up" in sender.wait_for(f"{name}: has not begun for ")
    sender.kill()

    tunnel = Tunnel(int(head.dashboard.rpartition(":")[2]))
    follower = start(*words, at=f"http://127.0.0.1:{tunnel.port}")
    assert follower.wait_for("already there: ").split()[0] == name
    follower.wait_for("4 trials, 0 in the store, ")
    assert tunnel.cut(), "the follower was connected"
    assert committed(store) == []
    gate.touch()

    assert follower.wait() == 0, follower.text
    assert follower.out.read_text() == ""
    assert follower.text.count("4 trials, 0 in the store, 4 to run") == 1, "shown once, though told twice"
    assert f"{name}: succeeded" in follower.text
    assert f"results: gradlaw status --store {store}" in follower.text
    tunnel.close()
    rows = counting(store)
    assert [(row["state"], row["attempt"]) for row in rows] == [("done", 0)] * 4
    for row in rows:  # what ran is the wheel, and it says what it was made from
        assert re.fullmatch(r".+\+[0-9a-f]{12}", json.loads(row["versions"])["gradlaw"])
        assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?", row["git_commit"])
    assert sorted(row["square"] for row in counting(store, "squares")) == [0, 1, 4, 9]
    assert head.token not in sender.text + follower.text


def test_a_job_is_stopped_by_its_name(start: Start, tmp_path: Path) -> None:
    words = ["submit", GATED, "--store", str(tmp_path / "store"), "--set", f"gate={tmp_path / 'never'}"]
    sender = start(*words, "--no-follow")
    assert sender.wait() == 0, sender.text
    name = sender.wait_for("sent: ").split()[0]

    stopper = start("submit", "--stop", name)
    assert stopper.wait() == 0, stopper.text
    follower = start("submit", "--attach", name)

    assert follower.wait() == 1, follower.text
    assert f"{name}: asked to end" in stopper.text
    assert f"{name}: stopped" in follower.text
    assert f"gradlaw submit --attach {name}" in sender.text


def test_whoever_has_another_token_is_told_in_a_line(head: Head, start: Start, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("of another cluster")
    joining = ["run", GATED, "--store", str(tmp_path / "store")]

    for words in (["submit", "--attach", "x"], joining):
        refused = start(*words, RAY_AUTH_TOKEN_PATH=str(other))
        assert refused.wait() == 1, refused.text
        (line,) = [item for item in refused.text.splitlines() if item.startswith("error: ")]
        assert "refuses" in line
        assert "~/.ray/auth_token" in line, "the remedy"
        assert "Traceback" not in refused.text
        assert head.token not in refused.text


def test_a_job_submitted_again_after_its_head_was_killed_loses_nothing(
    head: Head, start: Start, tmp_path: Path
) -> None:
    """The head, which no later test has, goes with all on it: the same job goes on at the next head and ends.

    Every planned trial is there once, bit for bit as in a run that nobody disturbed.
    """
    store, how = tmp_path / "store", {"seeds": 6, "set": {"steps": 400}}
    words = ["submit", TINY, "--store", str(store), "--seeds", "6", "--set", "steps=400"]
    lost = start(*words)
    end = time.monotonic() + 400
    while not any(store.glob("trials/*/*.parquet")):
        assert time.monotonic() < end, lost.text
        time.sleep(0.01)
    head.kill()
    kept = {(row["pack_id"], row["attempt"]) for row in committed(store)}
    lost.kill()

    following = Head(num_cpus=1)
    try:
        sent = [*words, "--address", following.dashboard]
        client = Client(sent, following.environment(), tmp_path / "again.err")
        assert client.wait() == 0, client.text
    finally:
        following.kill()
    rows = committed(store)
    assert [row["state"] for row in rows] == ["done"] * 12
    assert len({row["trial_id"] for row in rows}) == 12, "no trial twice"
    assert kept <= {(row["pack_id"], row["attempt"]) for row in rows}, "what had been committed was kept"
    gradlaw.run(TINY, store=tmp_path / "undisturbed", compile="never", **how)
    assert numbers(store) == numbers(tmp_path / "undisturbed")
