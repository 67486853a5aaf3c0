"""Where numbers come from: code, versions and machine, as they are written beside every trial."""

from __future__ import annotations

import platform
import socket
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

PACKAGES = ("gradlaw", "torch", "numpy", "pyarrow", "ray", "scikit-learn")
COMMIT_FILE = "COMMIT"
"""In the metadata of a wheel made for a cluster: the commit it was made from."""


@cache
def versions() -> Mapping[str, str]:
    """Versions of Python and of the packages that numbers depend on, by name."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # training code needs torch and numpy alone
            continue
    return found


@cache
def git_commit() -> str:
    """Commit of the checkout that runs, or that the wheel was made from; "+changes" if files differ from it.

    It is "" where there is none.
    """
    folder = Path(__file__).parent

    def ask(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if not ask("ls-files", "--", Path(__file__).name):
            return _commit_of_wheel()  # installed below somebody else's checkout
        changed = ask("status", "--porcelain", "--untracked-files=no")
        return ask("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return _commit_of_wheel()


def _commit_of_wheel() -> str:
    try:
        return distribution("gradlaw").read_text(COMMIT_FILE) or ""
    except PackageNotFoundError:  # the packages without their metadata
        return ""


def host() -> str:
    """Name of this machine."""
    return socket.gethostname()


def utc_now() -> datetime:
    """The time, in UTC, without a zone, as the store keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)
