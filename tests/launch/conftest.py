from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "fixtures"))

from drivers import Drivers
from held import STUDIES


@pytest.fixture(scope="module")
def drivers() -> Iterator[Drivers]:
    server = Drivers()
    yield server
    server.close()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], str]:
    """The folder of ``tiny`` with packs of a width: equal trials, cut differently."""

    def copied(width: int) -> str:
        folder = tmp_path_factory.getbasetemp() / f"width{width}" / "tiny"
        if not folder.exists():
            shutil.copytree(STUDIES / "tiny", folder)
            study = folder / "study.py"
            text = study.read_text()
            assert "PACK_WIDTH = 4\n" in text
            study.write_text(text.replace("PACK_WIDTH = 4\n", f"PACK_WIDTH = {width}\n"))
        return str(folder)

    return copied
