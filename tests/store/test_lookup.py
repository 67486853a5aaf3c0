"""One trial of a compacted store is looked up in a part of its file: rows are sorted, groups say whose."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.parquet as pq
import pytest

from gradlaw.store.compaction import compact
from gradlaw.store.parquet import ROW_GROUP_ROWS
from gradlaw.store.store import Store
from gradlaw_analysis import open_store

PACKS, TRIALS, STEPS = 2, 40, 10_000
IO = Path("/proc/self/io")


@pytest.fixture(scope="module")
def compacted(driver: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Trials spread over packs, as their ids are; numbers that no compressor folds."""
    store = Store.create(tmp_path_factory.mktemp("lookup") / "store")
    draw = np.random.default_rng(1)
    for pack in range(PACKS):
        numbers = range(pack, PACKS * TRIALS, PACKS)
        with store.writer("toy", f"p{pack}", tables=(driver.METRICS,)) as writer:
            for number in numbers:
                ids, steps = [driver.trial_id(number)] * STEPS, np.arange(STEPS)
                losses = draw.normal(size=STEPS).astype(np.float32)
                writer.append(driver.METRICS, {"trial_id": ids, "step": steps, "loss": losses})
            writer.commit([driver.row(number) for number in numbers])
    assert compact(store).merged == PACKS
    return store.files.path


def bytes_read(store: str, statement: str) -> int:
    """What this process and the child that answers read of files."""
    before = _read()
    open_store(store).sql(statement)
    return _read() - before


def _read() -> int:
    return int(IO.read_text().split()[1])


def test_rows_are_sorted_and_groups_say_whose_they_are(compacted: str, driver: ModuleType) -> None:
    (file,) = Path(compacted).glob("_generations/1/*-metrics.parquet")
    parquet = pq.ParquetFile(file).metadata
    groups = [parquet.row_group(number) for number in range(parquet.num_row_groups)]
    assert {group.num_rows for group in groups[:-1]} == {ROW_GROUP_ROWS}
    at = parquet.schema.names.index("trial_id")
    ends = [(group.column(at).statistics.min, group.column(at).statistics.max) for group in groups]
    assert [end for pair in ends for end in pair] == sorted(end for pair in ends for end in pair)
    assert (ends[0][0], ends[-1][1]) == (driver.trial_id(0), driver.trial_id(PACKS * TRIALS - 1))


@pytest.mark.skipif(not os.access(IO, os.R_OK), reason="the system does not count what is read")
def test_one_trial_is_found_without_reading_all(compacted: str, driver: ModuleType) -> None:
    """Of seven groups of rows one or two."""
    one = driver.trial_id(33)
    bytes_read(compacted, "SELECT 1")  # imports what answering needs
    nothing = bytes_read(compacted, "SELECT 1")
    everything = bytes_read(compacted, "SELECT step, avg(loss) FROM metrics GROUP BY step") - nothing
    for lookup in (f"trial_id = '{one}'", f"trial_id IN ('{one}')"):
        read = bytes_read(compacted, f"SELECT step, loss FROM metrics WHERE {lookup}") - nothing
        assert read < 0.5 * everything, (read, everything)
