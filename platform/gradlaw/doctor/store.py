"""The store: whether what gradlaw relies on holds there. What is written for the look is deleted after it."""

from __future__ import annotations

import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from gradlaw.doctor.cluster import skew
from gradlaw.doctor.finding import Finding, Subject
from gradlaw.errors import GradlawError
from gradlaw.store.files import TEMPORARY, Files, open_files

RACERS, ROUNDS = 8, 5
SMALL_FILES, LARGE_BYTES = 10, 8 * 2**20
SLOW_CREATE_S, LEAST_FREE_BYTES = 0.5, 2**30
SHARED = ("nfs", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb", "fuse", "afs", "9p", "glusterfs", "panfs")


def exclusive(subject: Subject) -> Iterator[Finding]:
    """Of several that create one file at once exactly one may succeed: all else stands on it."""
    with _scratch(subject) as (files, folder):
        for number in range(ROUNDS):
            key, start = f"{folder}/race-{number}", threading.Barrier(RACERS)

            def create(racer: int, key: str = key, start: threading.Barrier = start) -> bool:
                start.wait(timeout=30)
                return files.create(key, str(racer).encode(), durable=False)

            with ThreadPoolExecutor(RACERS) as pool:
                won = list(pool.map(create, range(RACERS)))
            if won.count(True) != 1 or files.read(key) != str(won.index(True)).encode():
                remedy = "choose a store with hard links (a folder) or conditional PUT (a bucket)"
                found = f"{won.count(True)} of {RACERS} created one and the same file, allowed 1"
                yield Finding("fail", found, remedy)
                return
        yield Finding("ok", f"of {RACERS} at once exactly one creates a file, {ROUNDS} times of {ROUNDS}")


def whole(subject: Subject) -> Iterator[Finding]:
    """What is written durably is read back, listed and deleted; and how long that takes."""
    data = os.urandom(LARGE_BYTES)
    with _scratch(subject) as (files, folder):
        started = time.perf_counter()
        for number in range(SMALL_FILES):
            files.create(f"{folder}/small-{number}", b"x")
        each_s = (time.perf_counter() - started) / SMALL_FILES
        started = time.perf_counter()
        files.create(f"{folder}/large", data)
        same = files.read(f"{folder}/large") == data
        rate = 2 * LARGE_BYTES / 2**20 / (time.perf_counter() - started)
        listed = len(files.scan(folder))
        files.delete(f"{folder}/large")
        gone = not files.exists(f"{folder}/large")
    if not (same and gone and listed == SMALL_FILES + 1):
        found = f"read back {same}, deleted {gone}, listed {listed} of {SMALL_FILES + 1}"
        yield Finding("fail", f"what was written is not what is there: {found}", "choose another store")
        return
    found = f"{1000 * each_s:.0f} ms to create a file durably, {rate:.0f} MiB/s"
    if each_s > SLOW_CREATE_S:
        yield Finding("warn", found, "wider packs create fewer files; or choose a store nearer by")
    else:
        yield Finding("ok", found)


def place(subject: Subject) -> Iterator[Finding]:
    """Free space, and what kind of place it is."""
    with _scratch(subject) as (files, _):
        if "://" in subject.store:
            yield Finding("ok", f"a bucket: {files.path}")
            return
        root = Path(files.path)
        usage, kind = shutil.disk_usage(root), _kind_of(root)
    shared = " (shared by nodes, as far as its kind tells)" if kind.startswith(SHARED) else ""
    found = f"{root} on {kind}{shared}, {usage.free / 2**30:.1f} GiB free"
    if usage.free < LEAST_FREE_BYTES:
        yield Finding("warn", found, "free space there, gradlaw compact, or choose another store")
    elif subject.nodes > 1 and not shared:
        remedy = "choose a folder that all nodes share, or s3://bucket/prefix"
        yield Finding("warn", f"{found}; {subject.nodes} nodes have to see the same folder", remedy)
    else:
        yield Finding("ok", found)


def clock(subject: Subject) -> Iterator[Finding]:
    """How far the clock that stamps the store's files is from this one's."""
    with _scratch(subject) as (files, _):
        sent = time.time()
        told = files.now()
        back = time.time()
    # a server may tell whole seconds
    yield skew("the store's clock", told - (sent + back) / 2, (back - sent) / 2 + 1.0)


@contextmanager
def _scratch(subject: Subject) -> Iterator[tuple[Files, str]]:
    """The store's files and a folder of one's own among its temporary ones; nothing of it stays."""
    files = open_files(subject.store)
    folder = f"{TEMPORARY}/doctor-{uuid.uuid4().hex}"
    made = _missing(files)
    try:
        files.prepare()
        yield files, folder
    finally:
        _clear(files, folder, made)


def _missing(files: Files) -> list[Path]:
    """Folders above a new store that are not there yet, and the store's own; the innermost first."""
    if "://" in files.path:
        return []
    root = Path(files.path)
    return [item for item in (root / TEMPORARY, root, *root.parents) if not item.exists()]


def _clear(files: Files, folder: str, made: list[Path]) -> None:
    try:
        files.delete_each(files.scan(folder))
        files.tidy(folder)
        local = "://" not in files.path
        if local and (here := Path(files.path) / folder).is_dir():
            here.rmdir()
    except (GradlawError, OSError):
        pass  # what could not be written cannot be cleared either; the check has said so
    for item in made:
        with suppress(OSError):  # not made after all, or another's files are in it by now
            item.rmdir()


def _kind_of(folder: Path) -> str:
    """The kind of file system a folder is on, as the system calls it."""
    best = ("", "unknown")
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return best[1]
    real = str(folder.resolve())
    for line in mounts.splitlines():
        _, point, kind = line.split(" ")[:3]
        point = point.replace("\\040", " ")
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]
