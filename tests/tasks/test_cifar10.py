"""The reader on generated files, and fetching from a local server."""

from __future__ import annotations

import functools
import hashlib
import http.client
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from cifar_files import records, write_file, write_files

from gradlaw.cli import main
from gradlaw.errors import DataError, UnknownNameError
from gradlaw.fetch import ARCHIVES, Archive, archive_of, fetch
from gradlaw.tasks.cifar10 import FOLDER, TRAIN_FILES, VARIABLE, cifar10_folder, read_cifar10


def test_it_reads_what_was_written_in_the_files_order(tmp_path: Path) -> None:
    write_files(tmp_path, num=4, num_test=3)
    train, test = read_cifar10(tmp_path, 10, 3)
    pixels, classes = zip(*[records(4, seed) for seed in range(5)], strict=True)
    assert np.array_equal(train.pixels, np.concatenate(pixels)[:10])
    assert np.array_equal(train.classes, np.concatenate(classes)[:10])
    assert np.array_equal(test.pixels, records(3, 9)[0])
    assert (train.pixels.dtype, train.classes.dtype) == (np.uint8, np.int64)


def test_a_record_is_a_class_and_three_planes(tmp_path: Path) -> None:
    """Written byte by byte: red 1, green 2, blue 3, but for one pixel of the second row."""
    write_files(tmp_path, num=1)
    green = bytearray([2] * 1024)
    green[32 + 5] = 77
    (tmp_path / TRAIN_FILES[0]).write_bytes(bytes([6]) + bytes([1] * 1024) + bytes(green) + bytes([3] * 1024))
    train, _ = read_cifar10(tmp_path, 1, 1)
    assert train.classes.tolist() == [6]
    assert [int(plane[0, 0]) for plane in train.pixels[0]] == [1, 2, 3]
    assert train.pixels[0, 1, 1, 5] == 77
    assert train.pixels.sum() == 1024 * 6 + 75


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data_batch_1\.bin.*gradlaw fetch cifar10.*GRADLAW_CIFAR10"):
        read_cifar10(tmp_path / "nowhere", 1, 1)


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path)
    path = tmp_path / TRAIN_FILES[2]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"data_batch_3\.bin: got 24583 bytes, allowed a whole number"):
        read_cifar10(tmp_path, 40, 1)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="got 0 bytes"):
        read_cifar10(tmp_path, 40, 1)


def test_a_class_above_nine_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path)
    path = tmp_path / TRAIN_FILES[1]
    content = bytearray(path.read_bytes())
    content[3 * 3073] = 10
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"data_batch_2\.bin: got class 10 in record 3 \(1 such records\)"):
        read_cifar10(tmp_path, 40, 1)


def test_fewer_records_than_asked_for_are_refused(tmp_path: Path) -> None:
    write_files(tmp_path)
    with pytest.raises(DataError, match=r"got 40 records in .*, needed 41"):
        read_cifar10(tmp_path, 41, 1)


def test_the_folder_is_the_environment_s_or_the_cache_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    assert cifar10_folder() == tmp_path / "mine"
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cifar10_folder() == tmp_path / "gradlaw" / FOLDER
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cifar10_folder() == Path.home() / ".cache" / "gradlaw" / FOLDER


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        pass


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """A small archive as the published one is laid out, on a local server."""
    served = tmp_path / "served"
    write_files(served / FOLDER)
    with tarfile.open(served / "small.tar.gz", "w:gz") as packed:
        packed.add(served / FOLDER, arcname=FOLDER)
    sha256 = hashlib.sha256((served / "small.tar.gz").read_bytes()).hexdigest()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/small.tar.gz"
    yield replace(ARCHIVES["cifar10"], url=url, sha256=sha256, home=lambda: tmp_path / "home" / "cifar")
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_fetched_can_be_read_and_is_fetched_once(archive: Archive, tmp_path: Path) -> None:
    assert fetch(archive) == (tmp_path / "home" / "cifar", True)
    assert len(read_cifar10(archive.home(), 40, 12).train.classes) == 40
    assert fetch(replace(archive, url="http://127.0.0.1:9/nothing")) == (archive.home(), False)
    elsewhere = tmp_path / "elsewhere"
    assert fetch(archive, elsewhere) == (elsewhere, True)
    assert [path.name for path in archive.home().parent.iterdir()] == ["cifar"]  # nothing is left beside


def test_another_checksum_leaves_nothing(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"SHA-256 .* expected 000: nothing is kept"):
        fetch(replace(archive, sha256="000"))
    assert list((tmp_path / "home").iterdir()) == []


def test_an_address_that_does_not_answer_is_named(archive: Archive) -> None:
    url = archive.url.replace("small", "absent")
    with pytest.raises(DataError, match=r"absent\.tar\.gz: HTTP Error 404.*by hand"):
        fetch(replace(archive, url=url))


def test_a_folder_with_other_things_is_left_alone(archive: Archive) -> None:
    archive.home().mkdir(parents=True)
    write_file(archive.home() / TRAIN_FILES[0], 1, 0)
    with pytest.raises(DataError, match=r"not empty and lacks data_batch_2\.bin"):
        fetch(archive)
    assert [path.name for path in archive.home().iterdir()] == [TRAIN_FILES[0]]


def test_a_place_that_cannot_hold_a_folder_is_named(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match=r"file.*: the files cannot be put there .*another folder"):
            fetch(archive, place)
    assert (tmp_path / "file").read_text() == "mine"


def test_an_answer_that_breaks_off_leaves_nothing(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_off(*_: object) -> None:
        got = b"ab"
        raise http.client.IncompleteRead(got)

    monkeypatch.setattr(http.client.HTTPResponse, "read", breaks_off)
    with pytest.raises(DataError, match=r"small\.tar\.gz: IncompleteRead.*try again"):
        fetch(archive)
    assert list((tmp_path / "home").iterdir()) == []


def _repacked(archive: Archive, folder: Path, name: str) -> Archive:
    """The served archive replaced by one that holds a single file of that name."""
    path = folder / "served" / "small.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        entry = tarfile.TarInfo(name)
        entry.size = 3
        packed.addfile(entry, io.BytesIO(b"abc"))
    return replace(archive, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_an_archive_without_the_files_is_refused(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"without data_batch_1\.bin"):
        fetch(_repacked(archive, tmp_path, f"{FOLDER}/readme"))


def test_an_archive_that_reaches_outside_is_refused(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be unpacked: .*outside"):
        fetch(_repacked(archive, tmp_path, "../../outside"))
    assert not (tmp_path / "outside").exists()


def test_the_command_fetches_and_an_unknown_name_lists_the_known(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(ARCHIVES, "cifar10", archive)
    for said in ("fetched to", "already in"):
        monkeypatch.setattr("sys.argv", ["gradlaw", "fetch", "cifar10", "--to", str(tmp_path / "here")])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        out, err = capsys.readouterr()
        assert (out, said in err) == ("", True)
    with pytest.raises(UnknownNameError, match="unknown data set 'cifar'; did you mean 'cifar10'"):
        archive_of("cifar")
