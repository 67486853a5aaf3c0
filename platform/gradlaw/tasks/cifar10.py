"""CIFAR-10 from its binary files: 60,000 colour images of 32 x 32 pixels in ten classes; no pickles.

A file is a row of records of 3,073 bytes: the class, 0 .. 9, then 1,024 red, green and blue pixels each.
There are five files to train on and one held out, 10,000 records each. They lie in the folder that the
environment's GRADLAW_CIFAR10 names, else under the user's cache; ``gradlaw fetch cifar10`` puts them there.

Data: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009;
https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradlaw.errors import DataError

SHAPE, NUM_CLASSES = (3, 32, 32), 10
RECORD_BYTES = 1 + 3 * 32 * 32
TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILES = ("test_batch.bin",)
VARIABLE, FOLDER = "GRADLAW_CIFAR10", "cifar-10-batches-bin"
REMEDY = f"fetch it with `gradlaw fetch cifar10`, or set {VARIABLE} to the folder of its .bin files"


class Images(NamedTuple):
    """``pixels`` uint8 of shape [rows, 3, 32, 32] and ``classes`` int64 of shape [rows]."""

    pixels: NDArray[np.uint8]
    classes: NDArray[np.int64]


class Cifar10(NamedTuple):
    """The images to train on and those held out, each in the order of the files."""

    train: Images
    test: Images


def cifar10_folder() -> Path:
    """Where the files are looked for, there or not."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "gradlaw" / FOLDER


@lru_cache(maxsize=1)
def read_cifar10(folder: Path, num_train: int = 50_000, num_test: int = 10_000) -> Cifar10:
    """The first so many rows of both parts.

    Raises:
        DataError: A file is missing, is no whole number of records, or holds a class above 9; or there are
            fewer records than asked for.
    """
    return Cifar10(_first(folder, TRAIN_FILES, num_train), _first(folder, TEST_FILES, num_test))


def _first(folder: Path, names: Sequence[str], num_rows: int) -> Images:
    parts: list[NDArray[np.uint8]] = []
    for name in names:
        parts.append(_records(folder / name))
        if sum(map(len, parts)) >= num_rows:
            break
    records = np.concatenate(parts)
    if len(records) < num_rows:
        msg = f"{folder}: got {len(records)} records in {', '.join(names)}, needed {num_rows}: {REMEDY}"
        raise DataError(msg)
    records = records[:num_rows]
    return Images(records[:, 1:].reshape(-1, *SHAPE), records[:, 0].astype(np.int64))


def _records(path: Path) -> NDArray[np.uint8]:
    """The records of one file, shape [records, 3073]."""
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        msg = f"CIFAR-10: {path} cannot be read ({error.strerror or error}): {REMEDY}"
        raise DataError(msg) from error
    if len(content) == 0 or len(content) % RECORD_BYTES:
        allowed = f"a whole number of records of {RECORD_BYTES}"
        msg = f"{path}: got {len(content)} bytes, allowed {allowed}: it is cut short or no CIFAR-10 file"
        raise DataError(msg)
    records = content.reshape(-1, RECORD_BYTES)
    wrong = np.flatnonzero(records[:, 0] >= NUM_CLASSES)
    if len(wrong):
        got = f"class {records[wrong[0], 0]} in record {wrong[0]} ({len(wrong)} such records)"
        msg = f"{path}: got {got}, allowed 0 .. {NUM_CLASSES - 1}: it is damaged or no CIFAR-10 file"
        raise DataError(msg)
    return records
