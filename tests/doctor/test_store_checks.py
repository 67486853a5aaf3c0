"""Checks of the store, on folders and a bucket, sound and not."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bucket_server import Proxy, direct, proxy
from disks import small_disk
from held import bytes_of
from typer.testing import CliRunner

from gradlaw.cli import app
from gradlaw.doctor import store as checks
from gradlaw.doctor.examine import Examined, examine
from gradlaw.doctor.finding import Subject
from gradlaw.store.files import Files
from gradlaw.store.local import LocalFiles
from gradlaw.store.store import Store

__all__ = ["proxy"]

SECRET = "canary-of-a-secret"
NAMES = ["store place", "store exclusive", "store speed", "store clock"]


def _look(store: Path | str, *names: str) -> dict[str, Examined]:
    return {line.check: line for line in examine(Subject(store=str(store)), names or NAMES)}


def _levels(found: dict[str, Examined]) -> list[str]:
    return [line.level for line in found.values()]


def test_a_folder_is_sound_and_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "store"
    Store.create(path)
    before = bytes_of(path)
    assert _levels(_look(path)) == ["ok"] * 4
    assert bytes_of(path) == before


def test_a_store_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    assert _levels(_look(tmp_path / "a" / "b")) == ["ok"] * 4
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_is_sound_and_stays_as_it_was(proxy: Proxy) -> None:
    before = _keys(proxy)
    found = _look("s3://results/doctor")
    assert [line.level for line in found.values()] == ["ok"] * 4, found
    assert _keys(proxy) == before


def _keys(proxy: Proxy) -> set[str]:
    """All of the bucket: other tests may have written to it."""
    pages = direct(proxy).get_paginator("list_objects_v2").paginate(Bucket="results")
    return {held["Key"] for page in pages for held in page.get("Contents", [])}


def test_a_bucket_that_is_not_there_fails(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradlaw.store.s3.PAUSES_S", (0.001,) * 2)
    found = _look("s3://no-such-bucket/x", "store exclusive")
    assert _levels(found) == ["fail"]


def test_a_file_in_the_folder_s_place_fails_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for line in _look(tmp_path / "file" / "store").values():
        assert line.level == "fail"
        assert line.remedy
    assert (tmp_path / "file").read_text() == "mine"


def test_a_store_of_no_name_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a variable that is not set; it does not mean the folder one is in."""
    monkeypatch.chdir(tmp_path)
    for line in _look("").values():
        assert line.level == "fail"
        assert "got an empty path" in line.found
    assert list(tmp_path.iterdir()) == []


def test_what_is_found_is_told_without_secrets_and_what_a_terminal_obeys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_API_KEY", SECRET)
    words = ["doctor", "--only", "store place", "--store", f"{tmp_path}/{SECRET}\x1b[2J"]
    for form in ("text", "json"):
        told = CliRunner().invoke(app, [*words, "--format", form])
        assert told.exit_code == 0
        assert "[CLOUD_API_KEY]" in told.stdout
        assert SECRET not in told.stdout
        assert "\x1b" not in told.stdout


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "4m") as folder:
        yield folder


def test_a_disk_that_is_nearly_full(mounted: Path) -> None:
    found = _look(mounted / "store")
    assert found["store place"].level == "warn"
    assert "tmpfs" in found["store place"].found
    assert found["store exclusive"].level == "ok"
    assert found["store speed"].level == "fail"
    assert "free space there" in found["store speed"].remedy
    assert list(mounted.iterdir()) == []


def test_a_disk_that_is_read_only(mounted: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    for line in _look(mounted / "store").values():
        assert line.level == "fail"
        assert "ead-only" in line.found


class _Replacing(LocalFiles):
    """As a file system whose creation is not exclusive: the last one counts, and all think they won."""

    def create(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return True


class _Forgetting(LocalFiles):
    """As a server that cuts what it is given."""

    def read(self, key: str) -> bytes:
        return super().read(key)[:1000]


class _Ahead(LocalFiles):
    """As a file server whose clock is ahead."""

    ahead_s = 0.0

    def now(self) -> float:
        return time.time() + self.ahead_s


def _serve(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "open_files", lambda path: files)


def test_creation_that_is_not_exclusive_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(_Replacing(tmp_path / "store"), monkeypatch)
    found = _look(tmp_path / "store", "store exclusive")["store exclusive"]
    assert found.level == "fail"
    assert found.found == "8 of 8 created one and the same file, allowed 1"
    assert "hard links" in found.remedy


def test_content_that_comes_back_changed_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(_Forgetting(tmp_path / "store"), monkeypatch)
    found = _look(tmp_path / "store", "store speed")["store speed"]
    assert found.level == "fail"
    assert "read back False" in found.found


@pytest.mark.parametrize(("ahead_s", "level"), [(2.0, "ok"), (-60.0, "warn"), (4000.0, "fail")])
def test_the_store_s_clock(
    ahead_s: float, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = _Ahead(tmp_path / "store")
    files.ahead_s = ahead_s
    _serve(files, monkeypatch)
    found = _look(tmp_path / "store", "store clock")["store clock"]
    assert found.level == level


def test_a_slow_store_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SLOW_CREATE_S", 0.0)
    found = _look(tmp_path / "store", "store speed")["store speed"]
    assert found.level == "warn"
    assert "wider packs" in found.remedy


def test_nodes_need_a_folder_that_they_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(store=str(tmp_path / "store"), address="h:1", nodes=2)
    monkeypatch.setattr(checks, "_kind_of", lambda folder: "ext4")
    (alone,) = examine(subject, ["store place"])
    assert alone.level == "warn"
    assert "2 nodes have to see the same folder" in alone.found
    monkeypatch.setattr(checks, "_kind_of", lambda folder: "nfs4")
    (shared,) = examine(subject, ["store place"])
    assert shared.level == "ok"
    assert "shared by nodes" in shared.found
