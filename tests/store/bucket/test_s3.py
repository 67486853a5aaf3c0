"""What is particular to a bucket: parts, checksums, lost answers, and errors that say what to do."""

from __future__ import annotations

import hashlib
import random
import sys
import tempfile
from pathlib import Path

import pytest
from bucket_server import ANY, SECRET, Fault, Proxy, direct

from gradlaw.errors import StoreError, UsageError
from gradlaw.store import paths, s3
from gradlaw.store.bucket import BucketFiles
from gradlaw.store.checkpoints import clear_checkpoints, sweep_checkpoints
from gradlaw.store.files import STALE_S, UnreachableError, open_files
from gradlaw.store.leases import Leases, Tenant
from gradlaw.store.store import Store

PART_BYTES = 5 << 20  # the least a server takes
LARGE = random.Random(7).randbytes(PART_BYTES + 70_000)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PART_BYTES", PART_BYTES)


def once(proxy: Proxy, fault: Fault, method: str, mark: str = "") -> None:
    """The next request of this method whose path has this mark meets a fault, those after it none."""
    left = [fault]
    proxy.plan = lambda asked, path: left.pop() if left and asked == method and mark in path else None


@pytest.mark.parametrize("fault", ANY)
@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD", "DELETE"])
def test_no_fault_of_one_request_is_seen(method: str, fault: Fault, address: str, proxy: Proxy) -> None:
    files = open_files(address)
    once(proxy, fault, method)
    assert files.create("a", b"mine")
    assert not files.create("a", b"other")
    assert (files.read("a"), list(files.scan()), files.exists("a")) == (b"mine", ["a"], True)
    files.delete("a")
    proxy.settle()
    assert proxy.done == {fault: 1}
    if (fault, method) != ("late", "PUT"):  # a creation that comes later than the deletion creates
        assert not files.exists("a")


@pytest.mark.parametrize("fault", ["cut_after", "error_after", "late"])
def test_a_creation_whose_answer_was_lost_is_ones_own(fault: Fault, address: str, proxy: Proxy) -> None:
    mine, other = open_files(address), open_files(address)
    once(proxy, fault, "PUT")
    assert mine.create("a", b"mine")
    assert proxy.done == {fault: 1}
    assert not other.create("a", b"mine")  # the content does not tell, the token does
    proxy.settle()
    assert mine.read("a") == b"mine"


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("fault", [None, "cut_after", "busy"])
@pytest.mark.parametrize("mark", ["uploads", "partNumber=2", "uploadId"])
def test_a_large_object_is_uploaded_in_parts(
    mark: str, fault: Fault | None, address: str, proxy: Proxy
) -> None:
    files = open_files(address)
    if fault:
        once(proxy, fault, "PUT" if mark == "partNumber=2" else "POST", mark)
    assert files.create("large", LARGE)
    assert not files.create("large", LARGE)
    assert len(proxy.done) == (fault is not None)
    assert hashlib.sha256(files.read("large")).digest() == hashlib.sha256(LARGE).digest()
    with files.open("large") as handle:
        assert handle.read(5) == LARGE[:5]
    held = direct(proxy).list_multipart_uploads(Bucket="results").get("Uploads", [])
    # An upload whose answer was lost, before its number was known, waits for the sweep.
    assert len(held) == (fault == "cut_after" and mark == "uploads")
    files.sweep(stale_s=-2.0)
    assert not direct(proxy).list_multipart_uploads(Bucket="results").get("Uploads")


@pytest.mark.usefixtures("small_parts")
def test_an_upload_in_parts_that_met_a_conflict_is_begun_anew(
    address: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server will not complete the same upload, however often it is asked; nothing is left of it."""
    asked: list[str] = []

    def plan(method: str, path: str) -> Fault | None:
        if method != "POST" or "uploadId=" not in path:
            return None
        asked.append(path)
        return "conflict" if path == asked[0] or always else None

    always, proxy.plan = False, plan
    files = open_files(address)
    assert files.create("large", LARGE)
    assert len(asked) == len(set(asked)) == 2
    assert files.read("large") == LARGE
    assert not files.create("large", LARGE)
    asked.clear()
    always = True
    monkeypatch.setattr(s3, "PAUSES_S", (0.001,) * 2)
    with pytest.raises(
        UnreachableError, match=r"cannot write s3://results/.*/other: ConditionalRequestConflict"
    ):
        files.create("other", LARGE)
    assert len(asked) == len(set(asked)) == 3
    assert not direct(proxy).list_multipart_uploads(Bucket="results").get("Uploads")


@pytest.mark.usefixtures("small_parts")
def test_a_refusal_that_comes_after_the_answer_has_begun_is_one(address: str, proxy: Proxy) -> None:
    """While parts are joined the server keeps the line busy, so that it has answered 200 before it knows."""
    files = open_files(address)
    assert files.create("large", b"by another")
    proxy.plan = lambda method, path: "refused_within" if method == "POST" and "uploadId=" in path else None
    assert not files.create("large", LARGE)
    assert proxy.done == {"refused_within": 1}
    assert files.read("large") == b"by another"


@pytest.mark.parametrize("fault", [*ANY, "flip_up", "some_busy"])
def test_no_fault_of_a_deletion_of_many_is_seen(fault: Fault, address: str, proxy: Proxy) -> None:
    files = open_files(address)
    for key in "abc":
        files.create(key, b"")
    once(proxy, fault, "POST")
    files.delete_each(["a", "none", "c"])
    proxy.settle()
    assert proxy.done == {fault: 1}
    assert set(files.scan()) == {"b"}


def test_of_many_deletions_those_refused_are_named(
    address: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = BucketFiles.at(address)
    for key in "abc":
        files.create(key, b"")
    once(proxy, "some_denied", "POST")
    with pytest.raises(
        UnreachableError, match=rf"cannot delete {address}/a and 1 more: AccessDenied; the cred"
    ):
        files.delete_each("abc")
    assert set(files.scan()) == {"a", "b"}
    with monkeypatch.context() as patched:  # a server that gives no reason
        answer = {"Errors": [{"Key": "a"}]}
        patched.setattr(files.objects._client, "delete_objects", lambda **_: answer)
        with pytest.raises(UnreachableError, match=f"cannot delete {address}/a"):
            files.delete_each("ab")
    once(proxy, "denied", "POST")
    with pytest.raises(
        UnreachableError, match=rf"cannot delete {address}/a and 1 more: AccessDenied; the cred"
    ):
        files.delete_each("ab")


def test_one_request_deletes_a_thousand(address: str, proxy: Proxy) -> None:
    """It is all that one may name."""
    steps: list[int] = []
    open_files(address).delete_each(map(str, range(2001)), before=lambda: steps.append(proxy.seen["POST"]))
    assert (steps, proxy.seen.total()) == ([0, 1, 2], 3)


def test_old_checkpoints_and_dead_leases_go_many_at_once(
    address: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many packs there are; and documents go before what they name, which need not follow at once."""
    files, endings = open_files(address), (".json", ".safetensors", "-metrics.parquet")
    for number in range(4):
        for ending in endings:
            assert files.create(paths.checkpoint(paths.PackKey(f"p{number}", 0), 0, ending), b"")
        assert Leases(files).acquire(f"p{number}", Tenant(driver="gone"))
    proxy.seen.clear()
    assert Leases(files, driver="gone").sweep() == 4
    assert clear_checkpoints(files, "p3") == 3
    assert (proxy.seen["POST"], proxy.seen["DELETE"]) == (1 + 2, 0)
    now = files.now()
    monkeypatch.setattr(files, "now", lambda: now + 2 * STALE_S)
    fates: list[Fault | None] = [None, "denied"]
    proxy.plan = lambda method, path: fates.pop(0) if fates and method == "POST" else None
    with pytest.raises(UnreachableError, match="and 5 more: AccessDenied"):
        sweep_checkpoints(files, {})
    assert len(files.scan()) == 6
    assert not any(key.endswith(".json") for key in files.scan())
    assert sweep_checkpoints(files, {}) == 6
    assert (proxy.seen["POST"], proxy.seen["DELETE"]) == (3 + 2 + 1, 0)


@pytest.mark.usefixtures("small_parts")
def test_what_was_never_completed_is_swept_when_it_is_old(address: str, proxy: Proxy) -> None:
    key = f"{address.removeprefix('s3://results/')}/_generations/1/x.parquet"
    begun = direct(proxy).create_multipart_upload(Bucket="results", Key=key)
    files = open_files(address)
    files.create("_tmp/stop-of-a-run-that-was-killed", b"")
    files.sweep()
    assert len(files.scan()) == 1
    assert [
        item["UploadId"] for item in direct(proxy).list_multipart_uploads(Bucket="results")["Uploads"]
    ] == [begun["UploadId"]]
    files.sweep(stale_s=-2.0)
    assert "Uploads" not in direct(proxy).list_multipart_uploads(Bucket="results")
    assert files.scan() == {}


@pytest.mark.parametrize("fault", ["flip", "flip_up"])
def test_content_changed_on_the_way_is_sent_again(fault: Fault, address: str, proxy: Proxy) -> None:
    files = open_files(address)
    once(proxy, fault, "GET" if fault == "flip" else "PUT")
    assert files.create("a", b"as it is")
    assert files.read("a") == b"as it is"
    assert proxy.done == {fault: 1}


def test_a_server_that_replaces_what_was_to_be_new_is_refused(address: str, proxy: Proxy) -> None:
    proxy.drops.add("if-none-match")
    try:
        with pytest.raises(StoreError, match=r"replaces an object that was to be new.*choose another server"):
            Store.create(address)
    finally:
        proxy.drops.remove("if-none-match")
    assert open_files(address).scan() == {}


def test_errors_say_what_to_do_and_no_secret(
    address: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def raised(match: str, path: str = address) -> None:
        with pytest.raises(UnreachableError, match=match) as caught:
            Store.open(path)
        error: BaseException | None = caught.value
        while error is not None:  # a traceback shows them all
            assert SECRET not in f"{error} {error!r}"
            error = error.__cause__ or error.__context__

    caplog.set_level("DEBUG")
    raised(r"s3://nowhere/x/store\.json: NoSuchBucket; make the bucket first", "s3://nowhere/x")
    proxy.plan = lambda method, path: "denied"
    raised(r"AccessDenied; the credentials do not allow it: the store needs s3:GetObject")
    proxy.plan = lambda method, path: "busy"
    raised(r"cannot read s3://results/.*: SlowDown; check the network and the server, and run again")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    raised(r"EndpointConnectionError; check the network")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    raised(r"there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
    assert SECRET not in caplog.text
    assert SECRET not in repr(vars(open_files(address)))


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"AWS_PROFILE": SECRET}, "ProfileNotFound"),
        ({"AWS_ENDPOINT_URL": SECRET}, "ValueError"),
        ({"AWS_DEFAULT_REGION": f"{SECRET}!"}, "InvalidRegionError"),
        ({"AWS_CONFIG_FILE": __file__}, "ConfigParseError"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "PartialCredentialsError"),
    ],
)
def test_settings_that_the_client_refuses_are_named(
    settings: dict[str, str], kind: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=rf"\({kind}\); check AWS_PROFILE, AWS_ENDPOINT_URL") as caught:
        Store.open(address)
    assert SECRET not in str(caught.value)


def test_a_file_of_credentials_that_is_missing_is_no_missing_object(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else all that is committed would be taken for missing, and run again."""
    open_files(address).create("a", b"there")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/any")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(UnreachableError, match="FileNotFoundError; check the credentials"):
        open_files(address).read("a")


@pytest.mark.parametrize(
    ("path", "match"),
    [
        (f"s3://key:{SECRET}@results/x", r"got an address that is no s3://bucket/prefix.*AWS_ENDPOINT_URL"),
        (f"s3://results/x?secret={SECRET}", "credentials, endpoint and region belong into the environment"),
        ("s3://results/../x", "no s3://bucket/prefix"),
        ("s3://", "no s3://bucket/prefix"),
        ("s3://b/x", "the bucket of 3 or more lower-case letters"),
        (f"s3://results/{'x' * 513}", "a prefix of 513 characters, allowed 512"),
        ("s3:/results/x", "got 's3:/results/x', allowed a folder or 's3://results/x'"),
        ("http://example.org/x", "begins with http://, allowed a folder, s3:// or gs://"),
    ],
)
def test_addresses_that_cannot_be_meant(path: str, match: str) -> None:
    with pytest.raises(UsageError, match=match) as caught:
        open_files(path)
    assert SECRET not in str(caught.value)


def test_credentials_in_the_endpoint_are_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://key:{SECRET}@127.0.0.1:9")
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL: got credentials in an address") as caught:
        open_files(address)
    assert SECRET not in str(caught.value)


def test_without_the_client_the_error_names_the_extra(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gradlaw.store.s3")
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(UsageError, match=r'needs boto3, which is not installed; pip install "gradlaw\[s3\]"'):
        open_files(address)


def test_a_full_disk_of_this_machine_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_files(address).sink() as sink:
        sink.write(b"held in memory")
        sink._file.close()
        monkeypatch.setattr(sink, "_file", open("/dev/full", "wb", buffering=0))  # noqa: PTH123, SIM115
        with pytest.raises(StoreError, match=rf"{tempfile.gettempdir()}.*No space left.*set TMPDIR"):
            sink.write(b"one byte more")


def test_an_address_stays_what_it_is_in_a_worker(address: str) -> None:
    store = Store.create(f"{address}/")
    assert store.path == address
    assert Store.open(store.path).files.location("a/b") == f"{address}/a/b"
    assert Store.find(f"{address}/none") is None
    with pytest.raises(StoreError, match=r"is not a store: it has no store\.json"):
        Store.open(f"{address}/none")
    with pytest.raises(StoreError, match=r"is not a store and not empty .it holds"):
        Store.create("s3://results/test")
