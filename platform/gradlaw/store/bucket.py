"""The store on a bucket: objects appear whole, exclusive creation is the server's, ages are by its clock.

What a service must offer is :class:`Objects`. It is found by the scheme of the store's address.
"""

from __future__ import annotations

import re
import tempfile
import uuid
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import SEEK_CUR, SEEK_END, SEEK_SET, BufferedReader, BytesIO, RawIOBase
from itertools import islice
from typing import Any, BinaryIO, NamedTuple, cast

from gradlaw.errors import StoreError, UsageError
from gradlaw.store.files import STALE_S, TEMPORARY, Content, Entry, Files, Sink

WHOLE_BYTES = 8 << 20
"""Up to this size an object is read at once: a request costs as much as the transfer of a megabyte or two."""
RANGE_BYTES = 1 << 20
MEMORY_BYTES = 1 << 20
"""What a sink holds in memory; beyond it the rows wait in a temporary file of this machine."""
READERS = 16
"""Objects read at once: one after the other, each would wait for a round trip."""
BATCH = 1000
"""Objects deleted in one step: as many as one request of S3 may name."""
PREFIX_LENGTH = 512
"""Of the 1,024 bytes that an object's name may have: what the store adds must always fit."""

_ADDRESS = re.compile(r"(s3|gs)://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])((?:/[A-Za-z0-9!_.*'()=+-]+)*)/*")


class Upload(NamedTuple):
    """What is to become an object.

    Attributes:
        name: Of the object.
        file: Its content, open for reading.
        size: Bytes.
        sha256: Digest of the content, 64 hexadecimal digits.
        owner: A token of this upload alone, kept with the object.
    """

    name: str
    file: BinaryIO
    size: int
    sha256: str
    owner: str


class Objects(ABC):
    """The objects of one bucket. Every method tries again what may pass, and raises StoreError at last."""

    @abstractmethod
    def put(self, upload: Upload) -> bool:
        """Creates an object unless there is one of its name; whether it is this upload's.

        The server compares a checksum. An answer that was lost is no obstacle: the owner tells.
        """

    @abstractmethod
    def get(self, name: str, start: int = 0, stop: int | None = None) -> tuple[bytes, int]:
        """Bytes ``start`` to ``stop`` of an object, as far as there are, and the size of all of it.

        Raises:
            FileNotFoundError: There is no such object.
        """

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether there is such an object."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Deletes an object, if it is there."""

    @abstractmethod
    def delete_each(self, names: Sequence[str]) -> None:
        """Deletes up to ``BATCH`` objects, those that are there, in any order."""

    @abstractmethod
    def walk(self, prefix: str) -> Iterator[Entry]:
        """All objects whose names begin so."""

    @abstractmethod
    def children(self, prefix: str) -> tuple[list[str], list[str]]:
        """Names below a prefix up to the next ``/``: those of objects, and those that others go on from."""

    @abstractmethod
    def sweep(self, prefix: str, before_s: float) -> None:
        """Gives up uploads below a prefix that were begun before a time and never completed."""

    @abstractmethod
    def now(self) -> float:
        """The server's clock, in seconds."""


@dataclass(frozen=True)
class Address:
    """A store's place: ``scheme://bucket/prefix``, the prefix without a slash at either end."""

    scheme: str
    bucket: str
    prefix: str

    @classmethod
    def of(cls, text: str) -> Address:
        """Reads an address; raises UsageError for any other, without repeating it: it may hold secrets."""
        match = _ADDRESS.fullmatch(text)
        if match is None or {".", ".."} & set(match[3].split("/")):
            scheme = text.partition("://")[0]
            msg = (
                f"store: got an address that is no {scheme}://bucket/prefix, the bucket of 3 or more "
                "lower-case letters, digits and ._-, the prefix of letters, digits and !_.*'()=+-; "
                "credentials, endpoint and region belong into the environment (AWS_ACCESS_KEY_ID, "
                "AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_REGION) or a profile"
            )
            raise UsageError(msg)
        prefix = match[3].strip("/")
        if len(prefix) > PREFIX_LENGTH:
            msg = f"store: got a prefix of {len(prefix)} characters, allowed {PREFIX_LENGTH}; shorten it"
            raise UsageError(msg)
        return cls(match[1], match[2], prefix)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


class BucketFiles(Files):
    """Files below one prefix of a bucket."""

    vouches = True
    late = True

    def __init__(self, address: Address, objects: Objects) -> None:
        self.address, self.objects = address, objects
        self._below = f"{address.prefix}/" if address.prefix else ""

    @classmethod
    def at(cls, text: str) -> BucketFiles:
        """The files at an address; nothing is asked of the server yet."""
        address = Address.of(text)
        return cls(address, connect(address))

    @property
    def path(self) -> str:
        return str(self.address)

    def location(self, key: str) -> str:
        return f"{self.address}/{key}"

    def prepare(self) -> None:
        """As of the class: also tries whether the server refuses to replace, which all else rests on."""
        key = f"{TEMPORARY}/{uuid.uuid4().hex}"
        try:
            if not self.create(key, b"first") or self.create(key, b"second"):
                msg = (
                    f"cannot create a store at {self.path}: its server replaces an object that was to be "
                    "new; the store needs conditional writes (PUT with If-None-Match); choose another server"
                )
                raise StoreError(msg)
        finally:
            self.delete(key)

    def names(self) -> list[str]:
        objects, folders = self.objects.children(self._below)
        return sorted({*self._keys(objects), *self._keys(folders)})

    def folders(self) -> list[str]:
        return sorted(self._keys(self.objects.children(self._below)[1]))

    def sink(self) -> Sink:
        return BucketSink(self)

    def open(self, key: str) -> BufferedReader:
        data, size = self.objects.get(self._below + key, 0, WHOLE_BYTES)
        if len(data) == size:
            return BufferedReader(cast("RawIOBase", BytesIO(data)))
        return BufferedReader(_Ranges(self.objects, self._below + key, size), RANGE_BYTES)

    def read(self, key: str) -> bytes:
        return self.objects.get(self._below + key)[0]

    def exists(self, key: str) -> bool:
        return self.objects.exists(self._below + key)

    def delete(self, key: str) -> None:
        self.objects.delete(self._below + key)

    def delete_each(self, keys: Iterable[str], *, before: Callable[[], object] = bool) -> None:
        names = (self._below + key for key in keys)
        while batch := list(islice(names, BATCH)):
            before()
            self.objects.delete_each(batch)

    def scan(self, folder: str = "") -> dict[str, Entry]:
        found = self.objects.walk(self._below + (f"{folder}/" if folder else ""))
        length = len(self._below)
        return {
            item.key[length:]: Entry(item.key[length:], item.size, item.modified_s)
            for item in found
            if not item.key.endswith("/")  # what some tools make in place of folders
        }

    def sweep(self, *, stale_s: float = STALE_S) -> None:
        before_s = self.now() - stale_s
        self.objects.sweep(self._below, before_s)
        marks = self.scan(TEMPORARY).values()  # that a killed process could not take away
        self.delete_each(entry.key for entry in marks if entry.modified_s < before_s)

    def now(self) -> float:
        return self.objects.now()

    def read_each(self, keys: Iterable[str]) -> Iterator[tuple[str, Content]]:
        """As of the class, several at once."""
        names = iter(keys)
        with ThreadPoolExecutor(READERS, thread_name_prefix="gradlaw-read") as pool:
            waiting: deque[tuple[str, Future[Content]]] = deque(
                (key, pool.submit(self.read_or_error, key)) for key in islice(names, 2 * READERS)
            )
            while waiting:
                key, future = waiting.popleft()
                yield key, future.result()
                waiting.extend((key, pool.submit(self.read_or_error, key)) for key in islice(names, 1))

    def put(self, key: str, file: BinaryIO, size: int, sha256: str) -> bool:
        """Creates the object of a key; False if there is one."""
        return self.objects.put(Upload(self._below + key, file, size, sha256, uuid.uuid4().hex))

    def _keys(self, names: Iterable[str]) -> list[str]:
        return [key for name in names if (key := name.removeprefix(self._below).rstrip("/"))]


class BucketSink(Sink):
    """Bytes that wait on this machine until they are uploaded: an object is written at once."""

    def __init__(self, files: BucketFiles) -> None:
        self._files = files
        super().__init__(cast("BinaryIO", tempfile.SpooledTemporaryFile(MEMORY_BYTES)))  # noqa: SIM115 - closed by discard

    def _append(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            msg = (
                f"cannot write to the folder of temporary files ({tempfile.gettempdir()}): {error.strerror}; "
                "free space there, or set TMPDIR, and run again; what was committed is safe"
            )
            raise StoreError(msg) from error

    def flush(self) -> None:
        """Does nothing: nobody else sees the temporary file, and it goes with this process."""

    def publish(self, key: str, *, durable: bool = True) -> bool:  # noqa: ARG002 - an object always is
        try:
            return self._files.put(key, self._file, self.size, self.sha256)
        finally:
            self.discard()


class _Ranges(RawIOBase):
    """An object read piece by piece, as a file."""

    def __init__(self, objects: Objects, name: str, size: int) -> None:
        self._objects, self._name, self._size = objects, name, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        self._at = offset + {SEEK_SET: 0, SEEK_CUR: self._at, SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        stop = min(self._at + len(buffer), self._size)
        if self._at >= stop:
            return 0
        data, _ = self._objects.get(self._name, self._at, stop)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def connect(address: Address) -> Objects:
    """The objects of an address's bucket."""
    if address.scheme == "gs":
        from gradlaw.store.gcs import GcsObjects

        return GcsObjects(address.bucket)
    from gradlaw.store.s3 import S3Objects

    return S3Objects(address.bucket)
