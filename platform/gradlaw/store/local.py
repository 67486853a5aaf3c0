"""The store on a disk: exclusive creation by hard links, durability by fsync.

Nothing outside the root is ever reached through a store, whoever wrote to it: no key goes up, and below the
root no symbolic link is followed. The root itself may be one.
"""

from __future__ import annotations

import errno
import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path, PurePosixPath

from gradlaw.errors import StoreError
from gradlaw.store.files import STALE_S, TEMPORARY, Entry, Files, Sink, check_key

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe in a file's place must not hold a reader up
_REMEDIES = {
    errno.ENOSPC: "the disk is full: free space there and run again; what was committed is safe",
    errno.EDQUOT: "the quota is used up: free space there and run again; what was committed is safe",
    errno.EFBIG: "the file would pass the allowed size: raise the limit (ulimit -f) and run again",
    errno.EROFS: "the file system is read-only: choose another store, or copy this one to write to it",
    errno.EACCES: "permission denied: choose another store, or change the folder's permissions",
    errno.EPERM: "not permitted: the store needs a file system with hard links and write permission",
    errno.EOPNOTSUPP: "not supported: the store needs a file system with hard links",
    errno.ELOOP: "a symbolic link stands there: put what it points to in its place",
    errno.ENOTDIR: "a file stands where a folder should be: choose another store",
}
_TRIES = 20


@contextmanager
def explained(path: Path, verb: str) -> Iterator[None]:
    """Turns what the system refuses into an error that names the file and the remedy."""
    try:
        yield
    except OSError as error:
        if isinstance(error, (StoreError, FileNotFoundError)):
            raise
        remedy = _REMEDIES.get(error.errno or 0, "check the disk and run again; what was committed is safe")
        msg = f"cannot {verb} {path}: {error.strerror or error}; {remedy}"
        raise StoreError(msg) from error


class LocalFiles(Files):
    """Files below one folder of a local or shared file system that has hard links."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.strange: set[str] = set()
        self._real = {""}

    @property
    def path(self) -> str:
        return str(self.root)

    def location(self, key: str) -> str:
        return str(self.root / key)

    def prepare(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"cannot create a store at {self.root}: {error.strerror}; choose another folder"
            raise StoreError(msg) from error

    def names(self) -> list[str]:
        with explained(self.root, "list"), suppress(FileNotFoundError):
            return sorted(path.name for path in self.root.iterdir())
        return []

    def sink(self) -> Sink:
        return LocalSink(self)

    def open(self, key: str) -> BufferedReader:
        with explained(self.root / key, "read"):
            self.check_real(key)
            return os.fdopen(os.open(self.root / key, _READ), "rb")

    def read(self, key: str) -> bytes:
        with explained(self.root / key, "read"), self.open(key) as file:
            return file.read()

    def exists(self, key: str) -> bool:
        return (self.root / key).is_file()

    def delete(self, key: str) -> None:
        with (
            explained(self.root / key, "delete"),
            suppress(FileNotFoundError),
            self._folder_of(key) as folder,
        ):
            os.unlink(PurePosixPath(key).name, dir_fd=folder)

    def tidy(self, folder: str) -> None:
        self._real.discard(folder)
        with suppress(OSError), self._folder_of(folder) as parent:  # it holds something again, or is gone
            os.rmdir(PurePosixPath(folder).name, dir_fd=parent)

    def scan(self, folder: str = "") -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        todo = [folder]
        while todo:
            here = todo.pop()
            with explained(self.root / here, "list"):
                for item in self._listed(here):
                    key = f"{here}/{item.name}" if here else item.name
                    with suppress(FileNotFoundError):  # deleted while we list
                        status = item.stat(follow_symlinks=False)
                        if stat.S_ISDIR(status.st_mode):
                            todo.append(key)
                        elif stat.S_ISREG(status.st_mode):
                            found[key] = Entry(key, status.st_size, status.st_mtime)
                        else:
                            self.strange.add(key)
        return found

    def _listed(self, folder: str) -> Iterator[os.DirEntry[str]]:
        """What a folder holds; nothing if it is missing."""
        with suppress(FileNotFoundError):
            self.check_real(f"{folder}/any" if folder else "any")
            with os.scandir(self.root / folder) as listed:
                yield from listed

    def check_real(self, key: str) -> None:
        """Raises unless a key leads through folders alone, each looked at once; StoreError if it goes up."""
        check_key(key)
        folder = key.rpartition("/")[0]
        if folder in self._real:
            return
        here = ""
        for part in folder.split("/"):
            here = f"{here}/{part}" if here else part
            mode = (self.root / here).lstat().st_mode
            if not stat.S_ISDIR(mode):
                code = errno.ELOOP if stat.S_ISLNK(mode) else errno.ENOTDIR
                raise OSError(code, os.strerror(code))
            self._real.add(here)

    def make_folder(self, key: str) -> None:
        """Makes the folder of a key where it is missing; raises as :meth:`check_real` does."""
        check_key(key)
        for end in (at for at, letter in enumerate(key) if letter == "/"):
            (self.root / key[:end]).mkdir(exist_ok=True)
            self.check_real(key[: end + 1] + "any")

    @contextmanager
    def _folder_of(self, key: str) -> Iterator[int]:
        """The folder of a key, opened step by step: nobody can put a link in its place meanwhile."""
        check_key(key)
        handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in key.split("/")[:-1]:
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)

    def folders(self) -> list[str]:
        with explained(self.root, "list"):
            found = [path for path in self.root.iterdir() if path.is_dir()]
        self.strange |= {path.name for path in found if path.is_symlink()}
        return sorted(path.name for path in found if not path.is_symlink())

    def sweep(self, *, stale_s: float = STALE_S) -> None:
        entries = self.scan(TEMPORARY).values()
        now = self.now() if entries else 0.0
        for entry in entries:
            if entry.modified_s < now - stale_s:
                self.delete(entry.key)

    def now(self) -> float:
        """As of the class; where nothing can be written, and so nothing deleted, this machine's clock."""
        path = self.root / TEMPORARY / uuid.uuid4().hex
        try:
            path.parent.mkdir(exist_ok=True)
            self.check_real(f"{TEMPORARY}/any")
            path.touch(exist_ok=False)
            try:
                return path.stat().st_mtime
            finally:
                path.unlink()
        except OSError as error:
            if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
                return time.time()
            with explained(path, "create"):
                raise


class LocalSink(Sink):
    """A file in the store's folder of temporary ones, until it is linked to its name."""

    def __init__(self, files: LocalFiles) -> None:
        self._files, self._root = files, files.root
        self._path = self._root / TEMPORARY / uuid.uuid4().hex
        with explained(self._path, "create"):
            self._path.parent.mkdir(exist_ok=True)
            files.check_real(f"{TEMPORARY}/any")
            super().__init__(self._path.open("xb"))

    def _append(self, data: bytes) -> None:
        with explained(self._path, "write"):
            self._file.write(data)

    def flush(self) -> None:
        with explained(self._path, "write"):
            self._file.flush()
            os.utime(self._path)

    def publish(self, key: str, *, durable: bool = True) -> bool:
        target = self._root / key
        try:
            with explained(target, "write"):
                self._file.flush()
                if durable:
                    os.fsync(self._file.fileno())
                new_folder = not target.parent.exists()
                try:
                    self._link(key)
                except FileExistsError:
                    return False
                if durable:
                    _sync_folders(target.parent, self._root if new_folder else target.parent)
        finally:
            self.discard()
        return True

    def _link(self, key: str) -> None:
        """Gives the file its name, in a folder that another may tidy away meanwhile, but not for ever."""
        for left in reversed(range(_TRIES)):
            try:
                self._files.make_folder(key)
                os.link(self._path, self._root / key)
            except FileNotFoundError:
                if not left:
                    raise
            else:
                return

    def discard(self) -> None:
        super().discard()
        with suppress(OSError):
            self._path.unlink()


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
