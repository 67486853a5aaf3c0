"""What every kind of files promises, on a disk and on a bucket alike."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bucket_server import direct

from gradlaw.store import bucket
from gradlaw.store.files import Files, content_of, open_files
from gradlaw.store.local import LocalFiles


@pytest.fixture(params=["disk", "address", "gcs_address"], ids=["disk", "s3", "gs"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    if request.param == "disk":
        made = open_files(tmp_path / "store")
    else:
        made = open_files(request.getfixturevalue(request.param))
    made.prepare()
    return made


def test_a_file_is_created_once_and_keeps_its_content(files: Files) -> None:
    assert files.create("a/b.json", b"first")
    assert not files.create("a/b.json", b"second")
    assert not files.create("a/b.json", b"first")  # not even with the same content
    assert files.read("a/b.json") == b"first"
    assert files.exists("a/b.json")
    assert not files.exists("a")
    files.delete("a/b.json")
    files.delete("a/b.json")
    assert not files.exists("a/b.json")
    assert files.create("a/b.json", b"third")


def test_what_is_not_there(files: Files) -> None:
    for read in (files.read, files.open):
        with pytest.raises(FileNotFoundError):
            read("none.json")
    assert files.scan("none") == {}
    assert [key for key in files.names() if key != "_tmp"] == []


def test_listings(files: Files) -> None:
    for key in ("store.json", "t/study=x/p-0.parquet", "t/study=y/p-1.parquet", "tt/q.json"):
        files.create(key, key.encode())
    assert sorted(files.scan("t")) == ["t/study=x/p-0.parquet", "t/study=y/p-1.parquet"]  # and not of tt
    assert {entry.key: entry.size for entry in files.scan("tt").values()} == {"tt/q.json": 9}
    assert set(files.scan()) >= {"store.json", "tt/q.json"}
    assert [name for name in files.folders() if name != "_tmp"] == ["t", "tt"]
    assert [name for name in files.names() if name != "_tmp"] == ["store.json", "t", "tt"]


def test_more_files_than_one_page_of_a_listing_holds(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")  # of the server, which gives 1000 at most
    keys = [f"many/{number}/x.json" for number in range(10)]
    for key in keys:
        files.create(key, b"")
    assert set(files.scan("many")) == set(keys)
    for number in range(5):
        files.create(f"top{number}/x", b"")
    assert [name for name in files.folders() if name != "_tmp"] == ["many", *(f"top{n}" for n in range(5))]


def test_a_sink_shows_nothing_until_it_is_published(files: Files) -> None:
    with files.sink() as sink:
        sink.write(b"some ")
        sink.flush()
        sink.write(b"rows")
        assert not files.exists("x/rows")
        assert (sink.size, sink.sha256[:8]) == (9, "3818bf00")
        assert sink.publish("x/rows")
    assert files.read("x/rows") == b"some rows"
    with files.sink() as sink:
        sink.write(b"forgotten")
    assert sorted(key for key in files.scan() if not key.startswith("_tmp")) == ["x/rows"]


def test_a_file_is_read_from_any_position(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "WHOLE_BYTES", 100)
    monkeypatch.setattr(bucket, "RANGE_BYTES", 64)
    data = bytes(range(256)) * 4
    for key, content in (("long", data), ("short", data[:100]), ("empty", b"")):
        files.create(key, content)
        with files.open(key) as handle:
            assert handle.read() == content
            assert handle.seek(0, io.SEEK_END) == len(content)
            assert handle.read(1) == b""
    with files.open("long") as handle:
        handle.seek(-200, io.SEEK_END)
        assert (handle.tell(), handle.read(10)) == (824, data[824:834])
        handle.seek(3)
        handle.seek(7, io.SEEK_CUR)
        assert handle.read(500) == data[10:510]


def test_many_are_read_in_their_order(files: Files) -> None:
    for number in range(50):
        files.create(f"n/{number}", str(number).encode())
    keys = [f"n/{number}" for number in reversed(range(50))] + ["n/none"]
    read = list(files.read_each(keys))
    assert [key for key, _ in read] == keys
    assert [content_of(outcome) for _, outcome in read[:-1]] == [key[2:].encode() for key in keys[:-1]]
    with pytest.raises(FileNotFoundError):
        content_of(read[-1][1])


def test_many_are_deleted_and_no_other(files: Files) -> None:
    keys = [f"n/{number}" for number in range(5)]
    for key in keys:
        files.create(key, b"")
    there: list[int] = []
    files.delete_each(["n/none", *keys[:3]], before=lambda: there.append(len(files.scan("n"))))
    assert sorted(files.scan("n")) == keys[3:]
    assert there == ([5, 5, 4, 3] if isinstance(files, LocalFiles) else [5])
    files.delete_each([], before=lambda: there.append(-1))
    assert -1 not in there


def test_of_many_that_create_one_file_exactly_one_does(files: Files) -> None:
    with ThreadPoolExecutor(8) as pool:
        for round_ in range(10):
            key = f"race/{round_}"
            tries = {who: pool.submit(files.create, key, f"writer {who}".encode()) for who in range(8)}
            winners = [who for who, won in tries.items() if won.result()]
            assert len(winners) == 1
            assert files.read(key) == f"writer {winners[0]}".encode()


def test_ages_are_by_the_clock_that_stamps_the_files(files: Files) -> None:
    before = files.now()
    files.create("stamped", b"x")
    assert before - 1.0 <= files.scan()["stamped"].modified_s <= files.now() + 1.0  # a bucket knows seconds


def test_an_object_is_as_another_client_sees_it(address: str, proxy: object) -> None:
    """Past all of gradlaw: name, content and the checksum that the server keeps."""
    files = open_files(address)
    assert files.create("a/b.json", b"abc")
    answer = direct(proxy).get_object(
        Bucket="results", Key=f"{address.removeprefix('s3://results/')}/a/b.json", ChecksumMode="ENABLED"
    )
    assert answer["Body"].read() == b"abc"
    # of "abc", FIPS 180-2, appendix B.1, in base 64
    assert answer["ChecksumSHA256"] == "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
