"""A place with something worth protecting beside a store, and a watch on what this process touches."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

from gradlaw.store.compaction import compact
from gradlaw.store.store import Store

sys.path.append(str(Path(__file__).parents[1] / "fixtures" / "studies"))
sys.path.append(str(Path(__file__).parent))

from arena import Arena

FIXTURES = Path(__file__).parents[1] / "fixtures"

settings.register_profile("gradlaw", deadline=None, derandomize=True)
settings.load_profile("gradlaw")


@pytest.fixture(scope="session")
def driver() -> ModuleType:
    """Writes packs without an engine."""
    spec = importlib.util.spec_from_file_location("store_driver", FIXTURES / "store_driver.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def packs(tmp_path_factory: pytest.TempPathFactory, driver: ModuleType) -> Path:
    """A store of two packs."""
    path: Path = tmp_path_factory.mktemp("packs") / "store"
    driver.drive(path, 4, 2)
    return path


@pytest.fixture(scope="session")
def generations(packs: Path, tmp_path_factory: pytest.TempPathFactory, driver: ModuleType) -> Path:
    """The same with generations 1 to 3, and a commit that none has merged."""
    path = tmp_path_factory.mktemp("generations") / "store"
    shutil.copytree(packs, path)
    for number in range(3):
        compact(Store.open(path))
        driver.write_pack(Store.open(path), f"later{number}", [10 + 2 * number, 11 + 2 * number])
    return path


@pytest.fixture
def arena(tmp_path: Path, packs: Path) -> Iterator[Arena]:
    """Two packs in a store; the folder beside is as it was in the end, and nobody looked into it."""
    found = Arena(tmp_path / "store", tmp_path / "outside")
    (found.outside / "study=toy").mkdir(parents=True)
    for name in ("keep.txt", "p-0.parquet", "0.json", "study=toy/p-0.parquet"):
        (found.outside / name).write_bytes(b"PAR1 worth keeping PAR1")
    shutil.copytree(packs, found.store)
    before = found.content()
    found.forget()
    yield found
    touched = found.touched()
    assert touched == []
    assert found.content() == before
