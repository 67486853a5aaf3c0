"""A cluster's head lost with all on it: the same job, submitted to the next head, goes on and ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clients import Client
from head import Head
from held import STUDIES, committed

pytest.importorskip("aiohttp_cors", reason="a head that takes jobs needs ray[default]")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SEEDS, STEPS = 6, 400


def test_a_job_submitted_again_after_its_head_was_killed_loses_nothing(
    tmp_path: Path, assert_whole: Callable[..., None]
) -> None:
    store = tmp_path / "store"
    words = [
        "submit",
        str(STUDIES / "tiny"),
        "--store",
        str(store),
        "--seeds",
        str(SEEDS),
        "--set",
        f"steps={STEPS}",
    ]
    for lives in (0, 1):
        head = Head(num_cpus=1)
        try:
            sent = [*words, "--address", head.dashboard]
            client = Client(sent, head.environment(), tmp_path / f"client{lives}.err")
            if lives == 0:
                end = time.monotonic() + 200
                while not any(store.glob("trials/*/*.parquet")):
                    assert time.monotonic() < end, client.text
                    time.sleep(0.01)
                continue
            assert client.wait() == 0, client.text
        finally:
            head.kill()
    assert_whole(store, SEEDS, steps=STEPS)
    assert {row["state"] for row in committed(store)} == {"done"}, "what had been committed was kept"
