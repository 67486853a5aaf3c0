from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from answers import CROWD, HOW, Answers, answers
from drivers import Drivers

CLOCK = Path(__file__).parents[1] / "fixtures" / "clock.c"


@pytest.fixture(scope="session")
def clock(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library that shifts the clock of a process that says so in CLOCK_DAYS; "" without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return ""
    library = str(tmp_path_factory.mktemp("clock") / "clock.so")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, str(CLOCK), "-ldl"], check=True)
    return library


@pytest.fixture(scope="session")
def drivers(clock: str) -> Iterator[Drivers]:
    with pytest.MonkeyPatch.context() as patched:
        if clock:
            patched.setenv("LD_PRELOAD", clock)
        server = Drivers()
    yield server
    server.close()


@pytest.fixture(scope="session")
def undisturbed(drivers: Drivers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run that nobody disturbed; what it answers is checked against the plan."""
    store = tmp_path_factory.mktemp("undisturbed") / "store"
    assert drivers.run(study=CROWD, store=str(store), how=HOW) == 0
    answers(store).check()
    return store


@pytest.fixture(scope="session")
def expected(undisturbed: Path) -> Answers:
    return answers(undisturbed)


@pytest.fixture
def begun(undisturbed: Path, tmp_path: Path) -> Path:
    """A store of which a quarter of the packs is not there yet."""
    store = Path(shutil.copytree(undisturbed, tmp_path / "begun"))
    for number, commit in enumerate(sorted(store.glob("trials/*/*.parquet"))):
        if number % 4 == 0:
            for file in store.glob(f"*/*/{commit.name}"):
                file.unlink()
    return store
