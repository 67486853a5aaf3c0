"""Google Cloud Storage, as far as a stand-in for its server shows: conditions, answers, errors."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest
from bucket_server import ANY, Fault, Proxy, drawn

from gradlaw.errors import UsageError
from gradlaw.store import gcs
from gradlaw.store.compaction import compact
from gradlaw.store.files import UnreachableError, open_files
from gradlaw.store.store import Store
from gradlaw_analysis import open_store


@pytest.mark.parametrize("fault", [*ANY, "flip_up"])
def test_no_fault_of_one_creation_is_seen(fault: Fault, gcs_address: str, gcs_proxy: Proxy) -> None:
    left = [fault]
    gcs_proxy.plan = lambda method, path: left.pop() if left and method == "POST" else None
    mine, other = open_files(gcs_address), open_files(gcs_address)
    if fault == "flip_up":  # refused by its MD5, which is no matter of another try
        with pytest.raises(UnreachableError, match="refused what arrived"):
            mine.create("a", b"mine" * 1000)
        assert mine.scan() == {}
        return
    assert mine.create("a", b"mine")
    assert not other.create("a", b"mine")
    assert gcs_proxy.done == {fault: 1}
    gcs_proxy.settle()
    assert mine.read("a") == b"mine"


def test_a_deletion_of_many_goes_on_past_one_that_is_refused(gcs_address: str, gcs_proxy: Proxy) -> None:
    files = open_files(gcs_address)
    for key in "abcd":
        files.create(key, b"")
    gcs_proxy.plan = lambda method, path: "denied" if method == "DELETE" and path.endswith("b") else None
    with pytest.raises(
        UnreachableError, match=rf"cannot delete {gcs_address}/b: status 403; the credentials"
    ):
        files.delete_each("abcd")
    assert set(files.scan()) == {"b"}


def test_exactly_one_of_many_creates(gcs_address: str, gcs_proxy: Proxy) -> None:
    gcs_proxy.plan = drawn(1, 0.3)
    with ThreadPoolExecutor(4) as pool:
        for number in range(5):
            tries = [
                pool.submit(open_files(gcs_address).create, f"race/{number}", b"%d" % who) for who in range(4)
            ]
            winners = [who for who, won in enumerate(tries) if won.result()]
            assert len(winners) == 1
            assert open_files(gcs_address).read(f"race/{number}") == b"%d" % winners[0]


def test_a_store_is_written_merged_and_asked(gcs_address: str, driver: ModuleType) -> None:
    driver.drive(gcs_address, 4, 2)
    expected = sum(driver.loss(number, step) for number in range(4) for step in range(5))
    counts = "SELECT count(*), count(DISTINCT trial_id), sum(loss) FROM metrics"
    for _ in ("as written", "merged"):
        # In a process of its own: Google's client holds Python's lock while it waits for this very server.
        assert open_store(gcs_address).sql(counts).to_numpy().tolist() == [[20, 4, expected]]
        compact(Store.open(gcs_address))
    assert Store.open(gcs_address).resolve().generation == 1


def test_errors_say_what_to_do(gcs_address: str, gcs_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    gcs_proxy.plan = lambda method, path: "denied"
    with pytest.raises(
        UnreachableError, match=r"status 403; the credentials do not allow it: .*Storage Object"
    ):
        Store.open(gcs_address)
    gcs_proxy.plan = lambda method, path: "cut"
    with pytest.raises(UnreachableError, match="ConnectionError; check the network and the server"):
        Store.open(gcs_address)
    monkeypatch.delenv(gcs.EMULATOR)
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(UsageError, match=r'needs google-auth, .*pip install "gradlaw\[gs\]"'):
        Store.open(gcs_address)


def test_credentials_that_hold_no_more_are_named(gcs_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's own client finds that nothing can renew them; no request is sent."""
    auth = pytest.importorskip("google.auth")
    credentials = pytest.importorskip("google.oauth2.credentials").Credentials(token=None)
    monkeypatch.setattr(auth, "default", lambda **_: (credentials, None))
    monkeypatch.delenv(gcs.EMULATOR)
    gcs._session.cache_clear()
    try:
        with pytest.raises(UnreachableError, match=r"RefreshError; .*gcloud auth application-default login"):
            Store.open(gcs_address)
    finally:
        gcs._session.cache_clear()
