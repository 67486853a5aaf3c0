"""Folders for the time of a run: gone at its end or, if it was killed, when another one begins or ends."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gradlaw.store.process import Process, started_at, this_process

OWNER = "owner.json"
"""Says whose a folder is. Without it nothing is known of one, and it stays."""

_PROC = Path("/proc")


@contextmanager
def scratch(prefix: str, place: str | None = None) -> Iterator[str]:
    """A new folder that nobody else may enter; those of dead processes go with it.

    Args:
        prefix: What its name begins with.
        place: Where it is made; None: where the system has temporary files.
    """
    place = place or tempfile.gettempdir()
    remove_abandoned(prefix, place)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True) as folder:
        claim = Path(folder, f".{OWNER}")
        claim.write_text(json.dumps(this_process()._asdict()), encoding="utf-8")
        claim.rename(claim.with_name(OWNER))
        inner = Path(folder, "r")  # short: Ray's sockets lie below
        inner.mkdir()
        try:
            yield str(inner)
        finally:
            shutil.rmtree(inner, ignore_errors=True)  # before what says whose it is
    remove_abandoned(prefix, place)


def remove_abandoned(prefix: str, place: str) -> None:
    """Removes folders of this user whose process is known to be gone, and which no other process uses.

    Args:
        prefix: What their names begin with.
        place: Where they are.
    """
    for folder in Path(place).glob(f"{prefix}*"):
        if _is_abandoned(folder):
            for part in (folder / "r", folder):
                shutil.rmtree(part, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    try:
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            return False  # of what others can write nothing is believed, and nothing is opened
        owner = Process(**json.loads((folder / OWNER).read_text(encoding="utf-8")))
        return owner.is_gone() and not _is_used(folder, owner)
    except (OSError, ValueError, TypeError):
        return False


def _is_used(folder: Path, owner: Process) -> bool:
    """Whether a process may use it: those that Ray started outlive a driver that was killed, for seconds.

    They name it in their command, or have files open in it. Where the system does not tell, one may.
    """
    if not (_PROC / "self/fd").is_dir():
        return True
    mark = f"/{folder.name}/"  # drawn for it alone, whatever links lead there
    for process in _PROC.glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if process.stat().st_uid != os.geteuid():  # it cannot enter
                continue
            command = os.fsdecode((process / "cmdline").read_bytes())
            if not command:  # the kernel's own, or one that has ended
                continue
            if mark in command:
                return True
            try:
                if any(mark in f"{text}/" for text in _held(process)):
                    return True
            except PermissionError:  # a container's first process, say: it was there before
                if started_at(int(process.name)) >= owner.pid_started:
                    return True
    return False


def _held(process: Path) -> Iterator[str]:
    """What a process works in, and has open."""
    for link in (process / "cwd", *(process / "fd").iterdir()):
        with suppress(FileNotFoundError):
            yield str(link.readlink())
