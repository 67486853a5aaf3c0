"""The store's file operations, all of them. A bucket would be a second class with these methods.

A file appears whole or not at all, is never replaced, and is named by its key: its path below the
store's root with ``/`` between the parts.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from gradlaw.errors import StoreError

TEMPORARY = "_tmp"
STALE_S = 86_400.0
"""Age after which a temporary file belongs to no living writer: writers touch theirs at each flush."""

_REMEDIES = {
    errno.ENOSPC: "the disk is full: free space there and run again; what was committed is safe",
    errno.EDQUOT: "the quota is used up: free space there and run again; what was committed is safe",
    errno.EFBIG: "the file would pass the allowed size: raise the limit (ulimit -f) and run again",
    errno.EROFS: "the file system is read-only: choose another store, or copy this one to write to it",
    errno.EACCES: "permission denied: choose another store, or change the folder's permissions",
    errno.EPERM: "not permitted: the store needs a file system with hard links and write permission",
    errno.EOPNOTSUPP: "not supported: the store needs a file system with hard links",
    errno.ENOTDIR: "a file stands where a folder should be: choose another store",
}


@dataclass(frozen=True)
class Entry:
    """One file in a listing: size in bytes and time of its last change, in seconds since the epoch."""

    key: str
    size: int
    modified_s: float


@contextmanager
def _explained(path: Path, verb: str) -> Iterator[None]:
    """Turns what the system refuses into an error that names the file and the remedy."""
    try:
        yield
    except OSError as error:
        if isinstance(error, (StoreError, FileNotFoundError)):
            raise
        remedy = _REMEDIES.get(error.errno or 0, "check the disk and run again; what was committed is safe")
        msg = f"cannot {verb} {path}: {error.strerror or error}; {remedy}"
        raise StoreError(msg) from error


class LocalFiles:
    """Files below one folder of a local or shared file system that has hard links."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def location(self, key: str) -> str:
        """Where the file is, for a reader outside this module."""
        return str(self.root / key)

    def sink(self) -> Sink:
        """A new file that nobody sees until it is published."""
        return Sink(self)

    def create(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        """Creates a file with this content; returns False, changing nothing, if there is one."""
        with self.sink() as sink:
            sink.write(data)
            return sink.publish(key, durable=durable)

    def read(self, key: str) -> bytes:
        """The content; raises FileNotFoundError if there is no such file."""
        with _explained(self.root / key, "read"):
            return (self.root / key).read_bytes()

    def exists(self, key: str) -> bool:
        """Whether there is such a file."""
        return (self.root / key).exists()

    def delete(self, key: str) -> None:
        """Removes a file, if it is there."""
        with _explained(self.root / key, "delete"), suppress(FileNotFoundError):
            (self.root / key).unlink()

    def scan(self, folder: str = "") -> dict[str, Entry]:
        """Every file below a folder by its key; a missing folder is an empty one."""
        found: dict[str, Entry] = {}
        todo = [folder]
        while todo:
            here = todo.pop()
            with _explained(self.root / here, "list"), suppress(FileNotFoundError):
                for path in (self.root / here).iterdir():
                    key = f"{here}/{path.name}" if here else path.name
                    with suppress(FileNotFoundError):  # deleted while we list
                        status = path.stat()
                        if stat.S_ISDIR(status.st_mode):
                            todo.append(key)
                        else:
                            found[key] = Entry(key, status.st_size, status.st_mtime)
        return found

    def folders(self) -> list[str]:
        """Names of the folders directly below the root."""
        with _explained(self.root, "list"):
            return sorted(path.name for path in self.root.iterdir() if path.is_dir())

    def sweep(self, *, stale_s: float = STALE_S) -> None:
        """Removes temporary files that a killed writer left behind."""
        for entry in self.scan(TEMPORARY).values():
            if entry.modified_s < time.time() - stale_s:
                self.delete(entry.key)


class Sink:
    """A file being written: counted, hashed, invisible until published, gone if it is not.

    Attributes:
        size: Bytes written so far.
    """

    def __init__(self, files: LocalFiles) -> None:
        self._root = files.root
        self._path = files.root / TEMPORARY / uuid.uuid4().hex
        self._hash = hashlib.sha256()
        self.size = 0
        self.closed = False
        with _explained(self._path, "create"):
            self._path.parent.mkdir(exist_ok=True)
            self._file: BinaryIO = self._path.open("xb")

    @property
    def sha256(self) -> str:
        """Digest of what was written, 64 hexadecimal digits."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> int:
        """Appends; raises StoreError if the disk is full. What is discarded takes no more, silently."""
        if self._file.closed:  # a writer of some format still completes its file when it is let go of
            return len(data)
        with _explained(self._path, "write"):
            self._file.write(data)
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Hands what is buffered to the system, and shows that this writer lives."""
        with _explained(self._path, "write"):
            self._file.flush()
            os.utime(self._path)

    def close(self) -> None:
        """Does nothing: a writer of some format closes its file, and this one is not yet published."""

    def publish(self, key: str, *, durable: bool = True) -> bool:
        """Makes the file appear under ``key``, on disk before it is seen.

        Returns:
            False if there is a file of that name: it stays, and this one is gone.
        """
        target = self._root / key
        try:
            with _explained(target, "write"):
                self._file.flush()
                if durable:
                    os.fsync(self._file.fileno())
                new_folder = not target.parent.exists()
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(self._path, target)
                except FileExistsError:
                    return False
                if durable:
                    _sync_folders(target.parent, self._root if new_folder else target.parent)
        finally:
            self.discard()
        return True

    def discard(self) -> None:
        """Removes the file unless it was published."""
        with suppress(OSError):  # a full disk fails again on closing; the file goes all the same
            self._file.close()
        with suppress(OSError):
            self._path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.discard()


def _sync_folders(folder: Path, last: Path) -> None:
    """Puts a new name on disk: in its folder, and in those above it up to ``last``."""
    while True:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        if folder in (last, folder.parent):
            return
        folder = folder.parent
