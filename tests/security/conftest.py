"""A place with something worth protecting beside a store, and a watch on what this process touches."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

from gradlaw.store.compaction import compact
from gradlaw.store.store import Store

FIXTURES = Path(__file__).parents[1] / "fixtures"
sys.path += [str(FIXTURES), str(FIXTURES / "studies"), str(Path(__file__).parent)]

settings.register_profile("gradlaw", deadline=None, derandomize=True)
settings.load_profile("gradlaw")

_TOUCHES = {"open", "os.remove", "os.rmdir", "os.mkdir", "os.rename", "os.link", "os.listdir", "os.scandir"}
_touched: list[str] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event in _TOUCHES and arguments and isinstance(arguments[0], (str, bytes, os.PathLike)):
        _touched.append(os.path.normpath(Path.cwd() / os.fsdecode(arguments[0])))


sys.addaudithook(_watch)


@dataclass(frozen=True)
class Arena:
    """A store, and a folder beside it that nothing done to the store may reach."""

    store: Path
    outside: Path

    def touched(self) -> list[str]:
        """What this process opened, listed, made or removed in the folder beside."""
        return [path for path in _touched if path.startswith(str(self.outside))]

    def content(self) -> dict[str, str]:
        """Everything in the folder beside."""
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in sorted(self.outside.rglob("*"))
        }

    def age(self, seconds: float = 10 * 86_400.0) -> None:
        """Makes everything old enough to be swept."""
        held = [*_touched]
        for file in [*self.store.rglob("*"), *self.outside.rglob("*")]:
            status = file.lstat()
            os.utime(file, (status.st_atime, status.st_mtime - seconds), follow_symlinks=False)
        _touched[:] = held


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
    _touched.clear()
    yield found
    touched = found.touched()
    assert touched == []
    assert found.content() == before
