"""Leases on a bucket: one holds, whatever the network does to what is asked and answered."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from bucket_server import Proxy, drawn

from gradlaw.errors import StoreError
from gradlaw.store import paths
from gradlaw.store.bucket import BucketFiles
from gradlaw.store.files import open_files
from gradlaw.store.leases import EXPIRE_S, Leases, Tenant


def test_one_holds_renews_and_lets_go(address: str) -> None:
    hold = Leases(open_files(address)).acquire("p0", Tenant(driver="a", num_trials=3))
    assert hold
    assert Leases(open_files(address)).acquire("p0", Tenant(driver="b")) is None
    assert hold.renew()
    assert hold.renew()
    assert [*open_files(address).scan(paths.LEASES)] == [paths.lease("p0", 3)]
    assert Leases(open_files(address)).live()["p0"].tenant.num_trials == 3
    hold.release()
    assert Leases(open_files(address)).live() == {}
    assert Leases(open_files(address)).acquire("p0", Tenant(driver="b"))


def test_what_a_clock_put_back_left_in_the_future_holds_for_two_terms_at_most(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However far it is: a dead holder's is free, and a living one that is taken for dead finds out."""
    hold = Leases(open_files(address)).acquire("p0", Tenant(driver="a"))
    assert hold
    now = BucketFiles.now
    monkeypatch.setattr(BucketFiles, "now", lambda files: now(files) - EXPIRE_S / 2)
    assert Leases(open_files(address)).acquire("p0", Tenant(driver="b")) is None
    monkeypatch.setattr(BucketFiles, "now", lambda files: now(files) - EXPIRE_S - 5)
    assert Leases(open_files(address)).live() == {}
    other = Leases(open_files(address)).acquire("p0", Tenant(driver="b"))
    assert other
    assert not hold.renew()


@pytest.mark.parametrize("seed", range(3))
def test_one_of_many_holds_whatever_the_network_does(seed: int, address: str, proxy: Proxy) -> None:
    """Whose request comes to nothing holds nothing; whoever else holds is alone."""
    proxy.plan = drawn(seed, 0.3)
    together = threading.Barrier(4)

    def ask(who: int) -> list[str]:
        together.wait(60)
        held = []
        for number in range(5):
            try:
                hold = Leases(open_files(address)).acquire(f"p{number}", Tenant(driver=str(who)))
                if hold and hold.renew():
                    held.append(hold.pack_id)
            except StoreError:
                continue
        return held

    with ThreadPoolExecutor(4) as pool:
        held = [pack_id for found in pool.map(ask, range(4)) for pack_id in found]
    proxy.plan = None
    proxy.settle()
    assert len(held) == len(set(held))
    assert len(held) >= 3
    assert {*held} <= {*Leases(open_files(address)).live()}
