"""Fetching of data sets to the user's machine: downloaded whole, known by their checksum, then unpacked."""

from __future__ import annotations

import hashlib
import http.client
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gradlaw.errors import DataError, UnknownNameError
from gradlaw.tasks.cifar10 import FOLDER, TEST_FILES, TRAIN_FILES, cifar10_folder

_CHUNK_BYTES, _TIMEOUT_S = 1 << 20, 60.0


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A tar archive that is published.

    Attributes:
        url: Its address.
        sha256: Of the archive, hexadecimal.
        folder: The one folder in it.
        files: What has to be in that folder.
        home: Where the folder's files are looked for.
    """

    url: str
    sha256: str
    folder: str
    files: tuple[str, ...]
    home: Callable[[], Path]


ARCHIVES: dict[str, Archive] = {
    "cifar10": Archive(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        # of the file whose published MD5 is c32a1d4ab5d03f1284b67883e8d87530
        sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        folder=FOLDER,
        files=(*TRAIN_FILES, *TEST_FILES),
        home=cifar10_folder,
    )
}
"""By the name of the data set."""


def archive_of(name: str) -> Archive:
    """The archive of a data set.

    Raises:
        UnknownNameError: There is none of that name.
    """
    if name not in ARCHIVES:
        raise UnknownNameError(name, kind="data set", known=ARCHIVES)
    return ARCHIVES[name]


def fetch(archive: Archive, to: Path | None = None) -> tuple[Path, bool]:
    """Puts a data set where tasks look for it. Nothing is left there unless all went well.

    Args:
        archive: What to fetch.
        to: The folder that is to hold the files; None: where they are looked for.

    Returns:
        That folder, and whether anything had to be fetched.

    Raises:
        DataError: The folder holds something else or cannot be written, the address does not answer, or what
            came is not the archive.
    """
    home = to or archive.home()
    missing = [name for name in archive.files if not (home / name).is_file()]
    if not missing:
        return home, False
    try:
        if home.exists() and any(home.iterdir()):
            lacks = ", ".join(missing)
            msg = f"{home}: it is not empty and lacks {lacks}; choose another folder or remove it"
            raise DataError(msg)
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=".fetch-") as scratch:
            packed = Path(scratch) / "archive"
            _download(archive, packed)
            _unpack(archive, packed, Path(scratch)).replace(home)
    except DataError:
        raise
    except OSError as error:
        msg = f"{home}: the files cannot be put there ({error}); choose another folder"
        raise DataError(msg) from error
    return home, True


def _unpack(archive: Archive, packed: Path, scratch: Path) -> Path:
    """The unpacked folder. Raises DataError unless it holds what it should; members outside are refused."""
    try:
        with tarfile.open(packed) as opened:
            opened.extractall(scratch, filter="data")
    except tarfile.TarError as error:
        msg = f"{archive.url}: cannot be unpacked: {error}"
        raise DataError(msg) from error
    unpacked = scratch / archive.folder
    lacking = [name for name in archive.files if not (unpacked / name).is_file()]
    if lacking:
        msg = f"{archive.url}: got an archive without {', '.join(lacking)} in {archive.folder}"
        raise DataError(msg)
    return unpacked


def _download(archive: Archive, path: Path) -> None:
    """Raises DataError unless the file is there in the end and is the archive."""
    found = hashlib.sha256()
    try:
        # an address of ours, or one that the user wrote down
        with urllib.request.urlopen(archive.url, timeout=_TIMEOUT_S) as answer, path.open("wb") as out:  # noqa: S310
            while chunk := answer.read(_CHUNK_BYTES):
                found.update(chunk)
                out.write(chunk)
    except (OSError, http.client.HTTPException) as error:
        msg = f"{archive.url}: {error}; try again, or unpack the archive by hand"
        raise DataError(msg) from error
    if found.hexdigest() != archive.sha256:
        msg = f"{archive.url}: got SHA-256 {found.hexdigest()}, expected {archive.sha256}: nothing is kept"
        raise DataError(msg)
