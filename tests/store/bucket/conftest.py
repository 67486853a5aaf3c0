from __future__ import annotations

import itertools
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "fixtures"))

from bucket_server import Proxy, proxy

from gradlaw.store import s3

__all__ = ["proxy"]

_numbers = itertools.count()


@pytest.fixture
def address(proxy: Proxy) -> Generator[str]:
    """A place for one store, where nothing is yet; the network is sound before and after."""
    proxy.plan = None
    proxy.seen.clear()
    proxy.done.clear()
    yield f"s3://results/test/{next(_numbers)}"
    proxy.plan = None
    proxy.settle()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many tries as ever, without the time that a real outage takes."""
    monkeypatch.setattr(s3, "PAUSES_S", (0.001,) * 12)
