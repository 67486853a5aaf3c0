"""The store's file operations: what a folder and a bucket have in common.

A file appears whole or not at all, is never replaced, and is named by its key: its path below the
store's root with ``/`` between the parts. Of two that create one key, exactly one succeeds.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Self

from gradlaw.errors import StoreError, UsageError

TEMPORARY = "_tmp"
STALE_S = 86_400.0
"""Age after which a temporary file belongs to no living writer: writers touch theirs at each flush."""

BUCKETS = ("s3", "gs")


class UnreachableError(StoreError):
    """A server that does not answer as it should: what the store holds is unknown, and nothing is lost."""


Content = bytes | OSError
"""What a file holds; or, as a value, why it cannot be read: it is not there, or the system refuses."""


@dataclass(frozen=True)
class Entry:
    """One file in a listing: size in bytes and time of its last change, in seconds, by the store's clock."""

    key: str
    size: int
    modified_s: float


def check_key(key: str) -> None:
    """Raises StoreError for a key that could lead out of its store: nothing here makes such a one."""
    if "\0" in key or not {"", ".", ".."}.isdisjoint(key.split("/")):
        msg = f"key {key!r}: got one that leads out of the store, allowed a path below it"
        raise StoreError(msg)


class Sink(ABC):
    """A file being written: counted, hashed, invisible until published, gone if it is not.

    Use as a context manager: leaving it discards what is not published.

    Attributes:
        size: Bytes written so far.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0
        self.closed = False

    @property
    def sha256(self) -> str:
        """Digest of what was written, 64 hexadecimal digits."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """Appends; raises StoreError if the disk is full. What is discarded takes no more, silently."""
        if self._file.closed:  # a writer of some format still completes its file when it is let go of
            return len(data)
        self._append(data)
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    def close(self) -> None:  # noqa: B027 - nothing to do, in any store
        """Does nothing: a writer of some format closes its file, and this one is not yet published."""

    @abstractmethod
    def _append(self, data: bytes) -> None:
        """Writes to the file; raises StoreError if it cannot."""

    @abstractmethod
    def flush(self) -> None:
        """Shows that this writer lives."""

    @abstractmethod
    def publish(self, key: str, *, durable: bool = True) -> bool:
        """Makes the file appear under ``key``, safe from a crash before it is seen, and ends this sink.

        Args:
            key: Its name.
            durable: False: a crash of the machine may lose it, or leave a part of it.

        Returns:
            False if there is a file of that name: it stays, and this one is gone.
        """

    def discard(self) -> None:
        """Removes the file unless it was published."""
        with suppress(OSError):  # a full disk fails again on closing; the file goes all the same
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.discard()


class Files(ABC):
    """All files of one store.

    Attributes:
        vouches: Whether a file of the listed size is what was written, because the server compared its
            checksum on writing and on reading; else a reader has to look at the content.
        strange: Keys of what listings met and left alone, because it is neither a file nor a folder: links.
        late: Whether a write that was given up may still be carried out, so that what it was to name
            must not be deleted.
    """

    vouches = False
    late = False
    strange: AbstractSet[str] = frozenset()

    @property
    @abstractmethod
    def path(self) -> str:
        """Where the store is: :func:`open_files` with it gives the same files, in any process."""

    @abstractmethod
    def location(self, key: str) -> str:
        """What a file is called outside, in messages and by other readers: a path or a URI."""

    @abstractmethod
    def prepare(self) -> None:
        """Makes the place of a new store, if it is not there; raises StoreError if there can be none."""

    @abstractmethod
    def names(self) -> list[str]:
        """Names of the files and folders directly below the root; none if there is no root."""

    @abstractmethod
    def sink(self) -> Sink:
        """A new file that nobody sees until it is published."""

    @abstractmethod
    def open(self, key: str) -> BufferedReader:
        """The content, to be read from any position; raises FileNotFoundError if there is no such file."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """The content; raises FileNotFoundError if there is no such file."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether there is such a file."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Removes a file, if it is there."""

    def delete_each(self, keys: Iterable[str], *, before: Callable[[], object] = bool) -> None:
        """Removes many files, those that are there, in any order.

        Args:
            keys: Their names.
            before: Called before each step: a file on a disk, up to a thousand of them on a bucket.

        Raises:
            StoreError: Some cannot be removed, of which one is named; of the others any number is gone.
        """
        for key in keys:
            before()
            self.delete(key)

    def tidy(self, folder: str) -> None:
        """Removes a folder that holds no file, where an empty one can be left at all."""
        del folder

    @abstractmethod
    def scan(self, folder: str = "") -> dict[str, Entry]:
        """Every file below a folder by its key; a missing folder is an empty one."""

    @abstractmethod
    def folders(self) -> list[str]:
        """Names of the folders directly below the root."""

    @abstractmethod
    def sweep(self, *, stale_s: float = STALE_S) -> None:
        """Removes what a killed writer left behind and nobody sees."""

    @abstractmethod
    def now(self) -> float:
        """The time by the clock that stamps this store's files, in seconds.

        Ages are measured by it alone, so that the clock of no machine that reads or writes matters.
        """

    def create(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        """Creates a file with this content; returns False, changing nothing, if there is one."""
        with self.sink() as sink:
            sink.write(data)
            return sink.publish(key, durable=durable)

    def read_each(self, keys: Iterable[str]) -> Iterator[tuple[str, Content]]:
        """The content of many files, in their order; raises UnreachableError."""
        for key in keys:
            yield key, self.read_or_error(key)

    def read_or_error(self, key: str) -> Content:
        """The content, or the error that reading raised."""
        try:
            return self.read(key)
        except UnreachableError:
            raise
        except (StoreError, FileNotFoundError) as error:
            return error


def content_of(outcome: Content) -> bytes:
    """What was read; raises the error that reading raised."""
    if isinstance(outcome, OSError):
        raise outcome
    return outcome


def open_files(path: str | Path) -> Files:
    """The files of the store at a folder's path or a bucket's address.

    Args:
        path: A folder, ``s3://bucket/prefix`` or ``gs://bucket/prefix``.

    Raises:
        UsageError: For any other address.
        StoreError: If a bucket cannot be reached in principle: no client library, no credentials.
    """
    text = str(path)
    if not text:  # of a variable that is not set, say; "." is the folder one is in
        msg = "store: got an empty path, allowed a folder, s3://bucket/prefix or gs://bucket/prefix"
        raise UsageError(msg)
    scheme, mark, _ = text.partition("://")
    if not mark:
        if text.startswith(tuple(f"{name}:/" for name in BUCKETS)):
            msg = f"store: got {text!r}, allowed a folder or {text.replace(':/', '://', 1)!r}"
            raise UsageError(msg)
        from gradlaw.store.local import LocalFiles

        return LocalFiles(Path(text).absolute())  # workers have a working folder of their own
    if scheme not in BUCKETS:
        msg = f"store: got an address that begins with {scheme}://, allowed a folder, s3:// or gs://"
        raise UsageError(msg)
    from gradlaw.store.bucket import BucketFiles

    return BucketFiles.at(text)
