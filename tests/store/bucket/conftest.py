from __future__ import annotations

import itertools
from collections.abc import Generator

import pytest
from bucket_server import Proxy, proxy, serving
from gcs_server import gcs_server

from gradlaw.store import gcs, s3

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
    for service in (s3, gcs):
        monkeypatch.setattr(service, "PAUSES_S", (0.001,) * 12)


@pytest.fixture(scope="module")
def gcs_proxy() -> Generator[Proxy]:
    """As ``proxy``, before a server of Google's interface."""
    with (
        gcs_server() as server,
        serving(Proxy(server.server_port)) as running,
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setenv(gcs.EMULATOR, running.url)
        yield running


@pytest.fixture
def gcs_address(gcs_proxy: Proxy) -> Generator[str]:
    """As ``address``."""
    gcs_proxy.plan = None
    gcs_proxy.done.clear()
    yield f"gs://results/test/{next(_numbers)}"
    gcs_proxy.plan = None
    gcs_proxy.settle()
