"""Objects by the protocol of S3: Amazon's, or a server that speaks it (MinIO, Ceph, R2).

An answer may be lost after the request was carried out. A creation that is tried again is then refused
(412), because its object is there: a token kept with each object tells whether it is one's own.
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, TypeVar

from gradlaw.errors import StoreError, UsageError
from gradlaw.store.bucket import Objects, Upload
from gradlaw.store.files import Entry, UnreachableError

try:
    import boto3  # type: ignore[import-untyped]  # boto3 ships no types
    from botocore.config import Config  # type: ignore[import-untyped]  # botocore ships no types
    from botocore.exceptions import (  # type: ignore[import-untyped]  # botocore ships no types
        BotoCoreError,
        ClientError,
        FlexibleChecksumError,
        HTTPClientError,
        IncompleteReadError,
    )
    from botocore.exceptions import ConnectionError as ConnectError
except ImportError as error:
    _MSG = 'a store on s3:// needs boto3, which is not installed; pip install "gradlaw[s3]", on every node'
    raise UsageError(_MSG) from error

PART_BYTES = 64 << 20
"""Larger objects are uploaded in parts of this size; S3 takes 10,000 of 5 MiB to 5 GiB each."""
PAUSES_S = (0.1, 0.3, 1.0, 3.0, 8.0, 16.0)
"""Between tries, on average: an outage of half a minute passes unseen."""

_OWNER = "gradlaw-owner"
_CONFLICT = "ConditionalRequestConflict"
_GONE = {"404", "NoSuchKey", "NotFound"}
_AGAIN = {
    "BadDigest",
    _CONFLICT,
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}
"""Errors that pass, though the answer may have another status than 5xx: it is 200 where many are deleted."""
_REFUSED = {"PreconditionFailed", "NoSuchUpload"}
_RIGHTS = (
    "the credentials do not allow it: the store needs s3:GetObject, s3:PutObject, s3:DeleteObject, "
    "s3:AbortMultipartUpload, s3:ListBucket and s3:ListBucketMultipartUploads"
)
_BUCKET = "make the bucket first, or name another"
_REGION = "set AWS_REGION to the region of the bucket"
_KEYS = "check the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE) and the clock"
_EXPIRED = "the credentials have expired: renew them and run again"
_SERVER = "check AWS_ENDPOINT_URL (http:// or https://) and AWS_CA_BUNDLE"
_REMEDIES = {
    "NoSuchBucket": _BUCKET,
    "404": _BUCKET,
    "InvalidBucketName": "no bucket can have this name: name another",
    "403": _RIGHTS,
    "AccessDenied": _RIGHTS,
    "301": _REGION,
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "ExpiredToken": _EXPIRED,
    "SSOTokenLoadError": _EXPIRED,
    "UnauthorizedSSOTokenError": _EXPIRED,
    "TokenRetrievalError": _EXPIRED,
    "CredentialRetrievalError": _KEYS,
    "NoCredentialsError": "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "or AWS_PROFILE",
    "EndpointResolutionError": _SERVER,
    "SSLError": _SERVER,
    "InvalidAccessKeyId": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "RequestTimeTooSkewed": "set this machine's clock",
    "NotImplemented": "the store needs conditional writes (PUT with If-None-Match): choose another server",
}

_Result = TypeVar("_Result")


class S3Objects(Objects):
    """The objects of one S3 bucket; endpoint, region and credentials come as boto3 finds them."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._client = _client(
            tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
        )

    def put(self, upload: Upload) -> bool:
        whole = upload.size <= PART_BYTES
        try:
            self._tried("write", upload.name, lambda: self._put(upload) if whole else self._put_parts(upload))
        except _RefusedError as error:
            owner = self._owner(upload.name)
            if owner is None and not whole:
                msg = f"{error} was being uploaded, and another process gave the upload up; run again"
                raise StoreError(msg) from error
            return owner == upload.owner
        return True

    def get(self, name: str, start: int = 0, stop: int | None = None) -> tuple[bytes, int]:
        ranged = (
            {}
            if (start, stop) == (0, None)
            else {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"}
        )

        def read() -> tuple[bytes, int]:
            answer = self._client.get_object(Bucket=self._bucket, Key=name, **ranged)
            data = answer["Body"].read()
            total = answer.get("ContentRange", "").rpartition("/")[2]
            return data, int(total or answer["ContentLength"])

        try:
            return self._tried("read", name, read)
        except _EmptyError:
            return b"", 0

    def exists(self, name: str) -> bool:
        return self._owner(name) is not None

    def delete(self, name: str) -> None:
        self._tried("delete", name, lambda: self._client.delete_object(Bucket=self._bucket, Key=name))

    def delete_each(self, names: Sequence[str]) -> None:
        left = list(names)

        def ask() -> None:
            objects = [{"Key": name} for name in left]
            answer = self._client.delete_objects(
                Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True}
            )
            failed = [item for item in answer.get("Errors", ()) if item.get("Code") not in _GONE]
            if failed:
                failed.sort(key=lambda item: _passes(ClientError({"Error": item}, "DeleteObjects")))
                asked = set(left)
                left[:] = [item["Key"] for item in failed if item.get("Key") in asked] or left
                raise ClientError({"Error": {**failed[0], "Key": _listed(left)}}, "DeleteObjects")

        self._tried("delete", _listed(left), ask)

    def walk(self, prefix: str) -> Iterator[Entry]:
        for page in self._pages(prefix):
            for item in page.get("Contents", ()):
                yield Entry(item["Key"], item["Size"], item["LastModified"].timestamp())

    def children(self, prefix: str) -> tuple[list[str], list[str]]:
        objects, folders = [], []
        for page in self._pages(prefix, Delimiter="/"):
            objects += [item["Key"] for item in page.get("Contents", ())]
            folders += [item["Prefix"] for item in page.get("CommonPrefixes", ())]
        return objects, folders

    def sweep(self, prefix: str, before_s: float) -> None:
        marks: dict[str, str] = {}
        while True:
            page = self._call("list", prefix, "list_multipart_uploads", Prefix=prefix, **marks)
            for item in page.get("Uploads", ()):
                if item["Initiated"].timestamp() < before_s:
                    self._abort(item["Key"], item["UploadId"])
            if not page.get("IsTruncated"):
                return
            marks = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def now(self) -> float:
        answer = self._call("read", "", "head_bucket")
        stamp = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        if stamp is None:
            msg = f"s3://{self._bucket}: its server does not say what time it is (no Date in its answers)"
            raise UnreachableError(msg)
        return parsedate_to_datetime(stamp).timestamp()

    def _put(self, upload: Upload) -> None:
        upload.file.seek(0)
        digest = base64.b64encode(bytes.fromhex(upload.sha256)).decode()
        self._client.put_object(
            Bucket=self._bucket,
            Key=upload.name,
            Body=upload.file.read(),
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=digest,
            IfNoneMatch="*",
            Metadata={_OWNER: upload.owner},
        )

    def _put_parts(self, upload: Upload) -> None:
        target = {"Bucket": self._bucket, "Key": upload.name}
        begun = self._client.create_multipart_upload(
            **target, ChecksumAlgorithm="SHA256", Metadata={_OWNER: upload.owner}
        )
        target["UploadId"] = begun["UploadId"]
        try:
            upload.file.seek(0)
            parts: list[dict[str, Any]] = []
            while data := upload.file.read(PART_BYTES):
                parts.append(self._put_part(target, len(parts) + 1, data))
            # Tried again by itself: that the upload is gone may mean that a first try completed it. Not so
            # after a conflict: S3 then wants a new upload (API reference, CompleteMultipartUpload, 409).
            self._tried(
                "write",
                upload.name,
                lambda: self._client.complete_multipart_upload(
                    **target, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
                ),
                left=_CONFLICT,
            )
        except BaseException:
            self._abort(upload.name, target["UploadId"])
            raise

    def _put_part(self, target: dict[str, str], number: int, data: bytes) -> dict[str, Any]:
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        part = {"PartNumber": number, "ChecksumSHA256": digest}
        answer = self._tried(
            "write",
            target["Key"],
            lambda: self._client.upload_part(**target, **part, ChecksumAlgorithm="SHA256", Body=data),
        )
        return {**part, "ETag": answer["ETag"]}

    def _abort(self, name: str, upload_id: str) -> None:
        """Gives up an upload; what cannot be given up now is swept later."""
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=name, UploadId=upload_id)
        except (BotoCoreError, ClientError):
            return

    def _owner(self, name: str) -> str | None:
        """The token kept with an object; "" if it has none, None if there is no object."""
        try:
            answer = self._call("read", name, "head_object", Key=name)
        except FileNotFoundError:
            return None
        return str(answer["Metadata"].get(_OWNER, ""))

    def _pages(self, prefix: str, **options: str) -> Iterator[dict[str, Any]]:
        more: dict[str, str] = {}
        while True:
            page = self._call("list", prefix, "list_objects_v2", Prefix=prefix, **options, **more)
            yield page
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _call(self, verb: str, name: str, operation: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._tried(
            verb, name, lambda: getattr(self._client, operation)(Bucket=self._bucket, **arguments)
        )
        return answer

    def _tried(self, verb: str, name: str, operation: Callable[[], _Result], left: str = "") -> _Result:
        """What an operation returns; what may pass is tried again after a pause.

        An error with the code ``left`` is raised as it came: the caller's caller tries all of it again.
        """
        for pause_s in (*PAUSES_S, None):
            try:
                return operation()
            except (BotoCoreError, ClientError) as error:
                if _code(error)[0] == left:
                    raise
                if pause_s is None or not _passes(error):
                    raise self._explained(verb, name, error) from error
                time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads tries, decides nothing
            except StoreError:
                raise
            except OSError as error:  # of this machine, such as a file of credentials: no object is missing
                msg = f"cannot {verb} s3://{self._bucket}/{name}: {type(error).__name__}; {_KEYS}"
                raise UnreachableError(msg) from error
        raise AssertionError

    def _explained(self, verb: str, name: str, error: Exception) -> OSError:
        """The error to raise: it names the object and the remedy, and repeats nothing that may be secret."""
        if isinstance(error, ClientError) and error.operation_name == "DeleteObjects":
            name = error.response["Error"].get("Key", name)  # of many, those it is about
        place = f"s3://{self._bucket}/{name}"
        code, status = _code(error)
        if status == 412 or code in _REFUSED:
            return _RefusedError(place)
        if status == 416:
            return _EmptyError(place)
        if code in _GONE and name and verb != "list":
            return FileNotFoundError(place)
        remedy = _REMEDIES.get(
            code, "check the network and the server, and run again; what was committed is safe"
        )
        return UnreachableError(f"cannot {verb} {place}: {code}; {remedy}")


class _RefusedError(StoreError):
    """There is an object of that name."""


class _EmptyError(StoreError):
    """A range of an object that has no bytes."""


def _listed(names: Sequence[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _code(error: Exception) -> tuple[str, int]:
    """What kind of error it is, and the status of the answer; 0: there was none."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return str(error.response.get("Error", {}).get("Code", status)), int(status)
    return type(error).__name__, 0


def _passes(error: Exception) -> bool:
    code, status = _code(error)
    if isinstance(error, ClientError):
        # An answer that began with 200 and ends as a refusal comes from the client as 500.
        return code not in _REFUSED and (code in _AGAIN or status >= 500 or status in (408, 429))
    return isinstance(error, (HTTPClientError, ConnectError, IncompleteReadError, FlexibleChecksumError))


def _add_md5(request: Any, **_: object) -> None:
    """To a deletion of many: boto3 sends a CRC32 alone, and MinIO knows no other checksum there than this."""
    digest = hashlib.md5(request.body, usedforsecurity=False).digest()
    request.headers["Content-MD5"] = base64.b64encode(digest).decode()


@lru_cache(maxsize=8)
def _client(environment: tuple[tuple[str, str], ...]) -> Any:
    """A client, one for a process and an environment: it is safe for threads, and slow to make."""
    for name, value in environment:
        if name.startswith("AWS_ENDPOINT_URL") and "@" in value:
            msg = (
                f"{name}: got credentials in an address, which logs would show; set AWS_ACCESS_KEY_ID instead"
            )
            raise UsageError(msg)
    config = Config(
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=32,
        retries={"mode": "standard", "total_max_attempts": 1},
        request_checksum_calculation="when_required",
    )
    try:
        client = boto3.session.Session().client("s3", config=config)
        client.meta.events.register("before-sign.s3.DeleteObjects", _add_md5)
        return client
    except (BotoCoreError, ValueError) as error:  # what it is about, but no value: that may be a secret
        msg = (
            f"a store on s3://: got settings that the client refuses ({type(error).__name__}); "
            "check AWS_PROFILE, AWS_ENDPOINT_URL (such as http://minio:9000), AWS_DEFAULT_REGION, "
            "AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, and ~/.aws/config"
        )
        raise UsageError(msg) from error
