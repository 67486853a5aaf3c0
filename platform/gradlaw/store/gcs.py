"""Objects of Google Cloud Storage, by its JSON interface: creation is exclusive by ``ifGenerationMatch=0``.

Its S3-compatible interface will not do: it takes that condition only in a header that may not stand beside
Amazon's. Credentials are Google's default ones; ``STORAGE_EMULATOR_HOST`` names a server that asks for none.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from importlib import import_module
from typing import Any, BinaryIO
from urllib.parse import quote

from gradlaw.errors import StoreError, UsageError
from gradlaw.store.bucket import READERS, Objects, Upload
from gradlaw.store.files import Entry, UnreachableError

try:
    import requests
except ImportError as error:
    _MSG = 'a store on gs:// needs requests and google-auth; pip install "gradlaw[gs]", on every node'
    raise UsageError(_MSG) from error

EMULATOR = "STORAGE_EMULATOR_HOST"
HOST = "https://storage.googleapis.com"
PAUSES_S = (0.1, 0.3, 1.0, 3.0, 8.0, 16.0)
TIMEOUT_S = (10.0, 60.0)

_OWNER = "gradlaw-owner"
_AGAIN = {408, 429, 500, 502, 503, 504}
_REMEDIES = {
    400: "the server refused what arrived: check the bucket's name, and the network",
    401: "there are no credentials that hold: run gcloud auth application-default login, or use a role",
    403: "the credentials do not allow it: the store needs the role Storage Object User on the bucket",
    404: "make the bucket first, or name another",
}


class GcsObjects(Objects):
    """The objects of one bucket of Google Cloud Storage."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._session, host, self._unsigned = _session(os.environ.get(EMULATOR))
        self._base = f"{host}/storage/v1/b/{bucket}"
        self._upload = f"{host}/upload/storage/v1/b/{bucket}/o"

    def put(self, upload: Upload) -> bool:
        with tempfile.TemporaryFile() as body:
            boundary = _write_body(body, upload)

            def send() -> Any:
                body.seek(0)
                return self._session.post(
                    self._upload,
                    params={"uploadType": "multipart", "name": upload.name, "ifGenerationMatch": "0"},
                    headers={"Content-Type": f"multipart/related; boundary={boundary}"},
                    data=body,
                    timeout=TIMEOUT_S,
                )

            answer = self._tried("write", upload.name, send, {412})
        return answer.status_code == 200 or self._owner(upload.name) == upload.owner

    def get(self, name: str, start: int = 0, stop: int | None = None) -> tuple[bytes, int]:
        whole = (start, stop) == (0, None)
        wanted = {} if whole else {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"}
        answer = self._tried(
            "read",
            name,
            lambda: self._session.get(
                self._place(name), params={"alt": "media"}, headers=wanted, timeout=TIMEOUT_S
            ),
            {404, 416},
        )
        if answer.status_code == 404:
            raise FileNotFoundError(self._named(name))
        if answer.status_code == 416:  # a range of an object that has no bytes
            return b"", 0
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        return answer.content, int(total or len(answer.content))

    def exists(self, name: str) -> bool:
        return self._owner(name) is not None

    def delete(self, name: str) -> None:
        self._tried("delete", name, lambda: self._session.delete(self._place(name), timeout=TIMEOUT_S), {404})

    def delete_each(self, names: Sequence[str]) -> None:
        with ThreadPoolExecutor(READERS, thread_name_prefix="gradlaw-delete") as pool:
            waiting = [pool.submit(self.delete, name) for name in names]
        for done in waiting:
            done.result()

    def walk(self, prefix: str) -> Iterator[Entry]:
        for page in self._pages(prefix, fields="items(name,size,updated),nextPageToken"):
            for item in page.get("items", ()):
                stamp = datetime.fromisoformat(item["updated"]).timestamp()
                yield Entry(item["name"], int(item["size"]), stamp)

    def children(self, prefix: str) -> tuple[list[str], list[str]]:
        objects: list[str] = []
        folders: list[str] = []
        for page in self._pages(prefix, delimiter="/", fields="items(name),prefixes,nextPageToken"):
            objects += [item["name"] for item in page.get("items", ())]
            folders += page.get("prefixes", ())
        return objects, folders

    def sweep(self, prefix: str, before_s: float) -> None:
        """Does nothing: each object is uploaded by one request."""

    def now(self) -> float:
        answer = self._tried(
            "read",
            "",
            lambda: self._list({"maxResults": "1", "fields": "kind"}),
        )
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()

    def _owner(self, name: str) -> str | None:
        """The token kept with an object; "" if it has none, None if there is no object."""
        answer = self._tried(
            "read",
            name,
            lambda: self._session.get(self._place(name), params={"fields": "metadata"}, timeout=TIMEOUT_S),
            {404},
        )
        return None if answer.status_code == 404 else str(answer.json().get("metadata", {}).get(_OWNER, ""))

    def _pages(self, prefix: str, **options: str) -> Iterator[Mapping[str, Any]]:
        more: dict[str, str] = {}
        while True:
            asked = {"prefix": prefix, **options, **more}
            page = self._tried("list", prefix, partial(self._list, asked)).json()
            yield page
            if "nextPageToken" not in page:
                return
            more = {"pageToken": page["nextPageToken"]}

    def _list(self, asked: Mapping[str, str]) -> Any:
        return self._session.get(f"{self._base}/o", params=asked, timeout=TIMEOUT_S)

    def _place(self, name: str) -> str:
        return f"{self._base}/o/{quote(name, safe='')}"

    def _named(self, name: str) -> str:
        return f"gs://{self._bucket}/{name}"

    def _tried(
        self, verb: str, name: str, send: Callable[[], Any], allowed: frozenset[int] | set[int] = frozenset()
    ) -> Any:
        """The answer, of success or of an allowed status; what may pass is tried again after a pause."""
        what, remedy = "", "check the network and the server, and run again; what was committed is safe"
        for pause_s in (*PAUSES_S, None):
            try:
                answer = send()
            except requests.RequestException as error:
                what = type(error).__name__
            except self._unsigned as error:
                what, remedy = type(error).__name__, _REMEDIES[401]
                if not error.retryable:
                    break
            else:
                if answer.ok or answer.status_code in allowed:
                    return answer
                what = f"status {answer.status_code}"
                if answer.status_code not in _AGAIN:
                    remedy = _REMEDIES.get(answer.status_code, remedy)
                    break
            if pause_s is not None:
                time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads tries, decides nothing
        msg = f"cannot {verb} {self._named(name)}: {what}; {remedy}"
        raise UnreachableError(msg)


def _write_body(body: BinaryIO, upload: Upload) -> str:
    """Writes the two parts of an upload, its description and its content; returns what stands between."""
    boundary = uuid.uuid4().hex
    upload.file.seek(0)
    digest = hashlib.file_digest(upload.file, "md5").digest()  # type: ignore[arg-type]  # a file of bytes
    described = {"metadata": {_OWNER: upload.owner}, "md5Hash": base64.b64encode(digest).decode()}
    head = f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{json.dumps(described)}\r\n"
    upload.file.seek(0)
    try:
        body.write(f"{head}--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n".encode())
        shutil.copyfileobj(upload.file, body)
        body.write(f"\r\n--{boundary}--\r\n".encode())
    except OSError as error:
        msg = (
            f"cannot write to the folder of temporary files ({tempfile.gettempdir()}): {error.strerror}; "
            "free space there, or set TMPDIR, and run again; what was committed is safe"
        )
        raise StoreError(msg) from error
    return boundary


@lru_cache(maxsize=4)
def _session(emulator: str | None) -> tuple[Any, str, Any]:
    """A session that signs its requests, the server, and what is raised if it cannot; one for a process."""
    if emulator:
        return requests.Session(), emulator.rstrip("/") if "://" in emulator else f"http://{emulator}", ()
    try:
        auth = import_module("google.auth")
        transport = import_module("google.auth.transport.requests")
    except ImportError as error:
        msg = 'a store on gs:// needs google-auth, which is not installed; pip install "gradlaw[gs]"'
        raise UsageError(msg) from error
    try:
        credentials, _ = auth.default(scopes=["https://www.googleapis.com/auth/devstorage.read_write"])
    except auth.exceptions.DefaultCredentialsError as error:
        msg = f"gs://: {_REMEDIES[401]}"
        raise UsageError(msg) from error
    return transport.AuthorizedSession(credentials), HOST, auth.exceptions.GoogleAuthError
