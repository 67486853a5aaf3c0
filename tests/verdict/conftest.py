"""A store with the study ``judged`` run to its end, and copies of it to change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gradlaw.running.runner import run
from gradlaw_analysis import OpenStore, open_store

JUDGED = Path(__file__).parents[1] / "fixtures" / "studies" / "judged"


@pytest.fixture(scope="session")
def judged() -> Path:
    """The study's folder."""
    return JUDGED


@pytest.fixture(scope="session")
def judged_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("judged") / "results"
    run(JUDGED, store=path, launcher="inline")
    return path


@pytest.fixture
def copied(judged_store: Path, tmp_path: Path) -> Path:
    """A copy of the store, to be changed."""
    return Path(shutil.copytree(judged_store, tmp_path / "copied"))


@pytest.fixture
def opened(copied: Path) -> OpenStore:
    return open_store(copied)


@pytest.fixture
def lose_seeds() -> Callable[..., None]:
    """Takes the commits of seeds out of a store: a pack of the study holds one seed."""

    def lose(store: OpenStore, *seeds: int) -> None:
        rows = store.sql("SELECT DISTINCT seed, pack_id, attempt FROM trials")
        for row in rows.loc[rows["seed"].isin(seeds)].itertuples():
            folder = store.store.files.root / "trials" / "study=judged"
            (folder / f"{row.pack_id}-{row.attempt}.parquet").unlink()

    return lose
