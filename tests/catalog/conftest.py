from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from gradlaw.store.store import Store


def load_driver() -> ModuleType:
    file = Path(__file__).parents[1] / "fixtures" / "store_driver.py"
    spec = importlib.util.spec_from_file_location("store_driver", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def driver() -> ModuleType:
    return load_driver()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")
