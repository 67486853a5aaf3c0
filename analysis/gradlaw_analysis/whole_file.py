"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gradlaw.errors import StoreError


@contextmanager
def whole_file(out: Path) -> Iterator[IO[bytes]]:
    """A binary file that becomes ``out`` when the block ends; an error in it leaves ``out`` as it was.

    Raises:
        StoreError: ``out`` cannot be written.
    """
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as binary:
            yield binary
            binary.flush()
            os.fsync(binary.fileno())
        temporary.replace(out)
    except OSError as error:
        msg = f"cannot write {out}: {error.strerror or error}; give a file in a folder that can be written"
        raise StoreError(msg) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
