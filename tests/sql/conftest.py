from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradlaw_analysis.sql import Limits, ViewSource


@pytest.fixture
def limits() -> Limits:
    """Time enough for a child that starts on a machine with much else to do."""
    return Limits(wall_s=90.0, memory_bytes=512 << 20, max_rows=100_000, max_bytes=4 << 20)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files of one table, the second with a column more and a wider step."""
    folder = tmp_path_factory.mktemp("store")
    first = pa.table(
        {"trial_id": ["a", "a", "b"], "step": pa.array([0, 1, 0], pa.int32()), "loss": [1.0, 0.5, 2.0]}
    )
    second = pa.table(
        {"trial_id": ["c"], "step": pa.array([7], pa.int64()), "loss": [np.nan], "extra": ["x"]}
    )
    for number, table in enumerate([first, second]):
        pq.write_table(table, folder / f"{number}.parquet")
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def views(files: list[Path]) -> list[ViewSource]:
    return [
        ViewSource(name="_files_metrics", files=[str(file) for file in files]),
        ViewSource(name="metrics", sql="SELECT trial_id, step, loss FROM _files_metrics"),
    ]


@pytest.fixture
def untouched(tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs the test in a folder of its own and fails if a file there, in the store or at / changes."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    before = snapshot(tmp_path) | snapshot(files[0].parent)
    yield
    assert snapshot(tmp_path) | snapshot(files[0].parent) == before


def snapshot(folder: Path) -> dict[str, str]:
    """Digest of every file below ``folder`` and the names of those at the child's own folder, /."""
    found = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return found | {str(path): "" for path in Path("/").iterdir()}
