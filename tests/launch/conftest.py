from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from drivers import Drivers
from held import STUDIES, counting, numbers


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


@pytest.fixture(scope="session")
def assert_whole(
    tiny: Callable[[int], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., None]]:
    """Checks a store of ``tiny``: every planned trial once, done, with all its rows once, bit for bit.

    Bit for bit: equal to a run that nobody disturbed, with packs of the width that the trial ran in.
    """
    server = Drivers()
    found: dict[tuple[int, int], Any] = {}

    def undisturbed(width: int, steps: int) -> Any:
        if (width, steps) not in found:
            store = tmp_path_factory.mktemp("undisturbed") / "store"
            how = {"seeds": 10, "set": {"steps": steps}}
            assert server.run(study=tiny(width), store=str(store), how=how) == 0
            found[width, steps] = numbers(store)
        return found[width, steps]

    def check(store: Path, seeds: int, *, steps: int = 40) -> None:
        rows = counting(store)
        planned = [(seed, lr) for seed in range(seeds) for lr in (0.05, 0.2)]
        assert sorted((row["seed"], row["lr"]) for row in rows) == planned
        assert {row["state"] for row in rows} == {"done"}
        curves = numbers(store)
        for row in rows:
            key = (row["seed"], row["lr"])
            assert curves[key] == undisturbed(row["pack_width"], steps)[key]

    yield check
    server.close()
