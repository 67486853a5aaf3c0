"""Python, packages, and limits of the system."""

from __future__ import annotations

import importlib.metadata
import platform
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from gradlaw.doctor.finding import Finding, Subject

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the system's, not a file of ours
LEAST_SHARED_BYTES = 2**30
LEAST_FILES, ENOUGH_FILES = 1024, 8192
FULL = 0.95
"""Ray takes no more objects once the disk of its folder is so full (RAY_local_fs_capacity_threshold)."""


def python(_: Subject) -> Iterator[Finding]:
    """The version that gradlaw declares."""
    wanted = importlib.metadata.metadata("gradlaw")["Requires-Python"] or ""
    found = platform.python_version()
    if SpecifierSet(wanted).contains(found, prereleases=True):
        yield Finding("ok", found)
    else:
        yield Finding("fail", f"{found}, allowed {wanted}", "make an environment of such a Python")


def packages(_: Subject) -> Iterator[Finding]:
    """Every package that gradlaw declares, in a version that it allows."""
    shown = []
    for line in importlib.metadata.requires("gradlaw") or ():
        try:
            wanted = Requirement(line)
        except InvalidRequirement as error:
            yield Finding("fail", f"requirement {line!r}: {error}", "install gradlaw anew")
            continue
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding("fail", f"{wanted.name}: not there", f"pip install '{wanted}'")
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            remedy = f"pip install '{wanted}'"
            yield Finding("fail", f"{wanted.name}: got {found}, allowed {wanted.specifier}", remedy)
        shown += [f"{wanted.name} {found}"] if wanted.name in ("torch", "ray", "pyarrow", "duckdb") else []
    if shown:
        yield Finding("ok", ", ".join(shown))


def open_files(_: Subject) -> Iterator[Finding]:
    """Ray keeps a few connections a worker, and the driver one to each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= ENOUGH_FILES:
        yield Finding("ok", f"{'unlimited' if soft == resource.RLIM_INFINITY else soft} open files allowed")
        return
    highest = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
    enough = hard == resource.RLIM_INFINITY or hard >= ENOUGH_FILES
    remedy = f"ulimit -n {ENOUGH_FILES if enough else highest}"
    if not enough:
        remedy += f"; beyond {highest} only the system's administrator can go"
    yield Finding(
        "fail" if soft < LEAST_FILES else "warn",
        f"{soft} open files allowed, too few for a cluster of many workers",
        remedy,
    )


def shared_memory(_: Subject) -> Iterator[Finding]:
    """Where Ray keeps objects; on disk, slowly, if it is too small."""
    try:
        usage = shutil.disk_usage(SHARED_MEMORY)
    except OSError as error:
        yield Finding("warn", f"{SHARED_MEMORY}: {error.strerror}", "mount a tmpfs there")
        return
    found = f"{usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB free in {SHARED_MEMORY}"
    if usage.free >= LEAST_SHARED_BYTES:
        yield Finding("ok", found)
    else:
        remedy = f"docker run --shm-size=2g; elsewhere mount -o remount,size=2g {SHARED_MEMORY}, or free it"
        yield Finding("warn", f"{found}; below 1 GiB Ray keeps objects on the disk", remedy)


def temporary(_: Subject) -> Iterator[Finding]:
    """The disk of Ray's own folder."""
    folder = Path(tempfile.gettempdir())
    usage = shutil.disk_usage(folder)
    found = f"{usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB free in {folder}"
    if usage.total and usage.free / usage.total < 1 - FULL:
        yield Finding("warn", f"{found}; Ray takes no more objects there", "free it, or set TMPDIR")
    else:
        yield Finding("ok", found)
