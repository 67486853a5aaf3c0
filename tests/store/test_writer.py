from __future__ import annotations

import math
import os
from datetime import UTC, datetime, timedelta, timezone
from itertools import count, pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradlaw.errors import SchemaError, StoreError, UsageError
from gradlaw.store import writer
from gradlaw.store.store import Store
from gradlaw.table import Coded, Column, Table

ALL_TYPES = Table(
    name="everything",
    grain="trial",
    columns=(
        Column(name="flag", type="bool"),
        Column(name="small", type="int32"),
        Column(name="large", type="int64"),
        Column(name="single", type="float32"),
        Column(name="double", type="float64", nullable=True),
        Column(name="text", type="string"),
        Column(name="at", type="timestamp"),
    ),
)
NOON = datetime(2026, 3, 4, 12, 30, 0, 5, tzinfo=UTC)


def everything(**changes: Any) -> dict[str, Any]:
    rows: dict[str, Any] = {
        "trial_id": ["a", "b"],
        "flag": np.array([True, False]),
        "small": np.array([1, -(2**31)], dtype=np.int32),
        "large": [2**62, np.int32(-1)],
        "single": np.array([0.1, math.inf], dtype=np.float32),
        "double": [None, 0.1],
        "text": ["", "é'\"\n"],
        "at": [NOON, NOON.astimezone(timezone(timedelta(hours=5))).replace(microsecond=6)],
    }
    return {**rows, **changes}


def test_rows_come_back_as_they_went_in(store: Store, driver: ModuleType) -> None:
    with store.writer("toy", "p") as writer:
        writer.append(ALL_TYPES, everything())
        writer.commit([driver.row(0, trial_id="a"), driver.row(1, trial_id="b")])
    [key] = store.resolve().keys("everything")
    file = store.files.location(key)
    held = duckdb.sql(f"SELECT * FROM read_parquet('{file}', hive_partitioning = false)").fetchall()
    single = float(np.float32(0.1))
    noon = NOON.replace(tzinfo=None)
    assert held == [
        ("a", "p", 0, True, 1, 2**62, single, None, "", noon),
        ("b", "p", 0, False, -(2**31), -1, math.inf, 0.1, "é'\"\n", noon.replace(microsecond=6)),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flag": [1, 0]}, "flag: got 1 .int., allowed bool"),
        ({"small": np.array([1, 2])}, "small: got an array of int64, allowed int32"),
        ({"small": [1, 2**31]}, "small: .*allowed int32"),
        ({"large": [1.0, 2.0]}, "large: got 1.0 .float., allowed int64"),
        ({"large": [True, False]}, "large: got True .bool., allowed int64"),
        ({"large": np.array([1.0, 2.0])}, "large: got an array of float64"),
        ({"single": np.array([1.0, 2.0])}, "single: got an array of float64, allowed float32"),
        ({"single": [1, 2]}, "single: got 1 .int., allowed float32"),
        ({"double": np.array([1, 2])}, "double: got an array of int64"),
        ({"text": [b"a", b"b"]}, "text: got b'a' .bytes., allowed string"),
        ({"text": "ab"}, "text: got str, allowed an array or a sequence"),
        ({"text": ["a", None]}, "text: a value is missing"),
        ({"at": ["2026", "2027"]}, "at: got '2026' .str., allowed timestamp"),
        ({"at": np.array(["2026", "NaT"], dtype="datetime64[us]")}, "at: a value is missing"),
        ({"flag": np.array([[True], [False]])}, "flag: got an array of 2 dimensions"),
        ({"large": [1]}, "columns of different lengths"),
        ({"more": [1, 2]}, "unknown columns: more .declared: trial_id, flag"),
    ],
)
def test_rows_that_do_not_fit_are_refused(changes: dict[str, Any], message: str, store: Store) -> None:
    with store.writer("toy", "p") as writer, pytest.raises(SchemaError, match=message):
        writer.append(ALL_TYPES, everything(**changes))


def test_every_fault_of_a_batch_is_named(store: Store) -> None:
    rows = everything(flag=[0, 1], more=[1, 2])
    del rows["text"]
    with store.writer("toy", "p") as writer, pytest.raises(SchemaError) as caught:
        writer.append(ALL_TYPES, rows)
    for part in ("missing columns: text", "unknown columns: more", "flag: got 0", "table everything"):
        assert part in str(caught.value)


def test_files_are_compact_and_say_where_they_come_from(store: Store, driver: ModuleType) -> None:
    count = 250_000
    losses = np.random.default_rng(0).normal(size=count).astype(np.float32)
    with store.writer("toy", "p") as writer:
        ids = ["a"] * count
        writer.append(driver.METRICS, {"trial_id": ids, "step": np.arange(count), "loss": losses})
        writer.commit([driver.row(0, trial_id="a")])
    [key] = store.resolve().keys("metrics")
    file = pq.ParquetFile(store.files.location(key))
    groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
    assert [group.num_rows for group in groups] == [122_880, 122_880, 4_240]
    column = groups[0].column(4)
    assert (column.path_in_schema, column.compression) == ("loss", "ZSTD")
    assert "BYTE_STREAM_SPLIT" in column.encodings
    assert file.schema_arrow.metadata[b"gradlaw.schema_version"] == b"1"
    assert b"host" in file.schema_arrow.metadata[b"gradlaw.provenance"]
    assert file.read()["loss"].to_numpy().tobytes() == losses.tobytes()


def test_a_trial_s_rows_lie_together_and_take_the_space_of_their_metrics(
    store: Store, driver: ModuleType
) -> None:
    trials, steps = 300, 500
    noise = np.random.default_rng(0).normal(size=(steps, trials)).astype(np.float32)
    ids = [driver.trial_id(number) for number in range(trials)]
    with store.writer("toy", "p") as writer:
        for step in range(steps):  # as the engine logs: all trials, step by step
            codes = np.arange(trials)[::-1]
            rows = {"trial_id": Coded(codes, ids), "step": np.full(trials, step), "loss": noise[step, codes]}
            writer.append(driver.METRICS, rows)
        writer.commit([driver.row(number) for number in range(trials)])
    [key] = store.resolve().keys("metrics")
    file = store.files.location(key)
    held = pq.ParquetFile(file)
    for group in range(held.num_row_groups):
        rows = held.read_row_group(group)
        found = list(zip(rows["trial_id"].to_pylist(), rows["step"].to_pylist(), strict=True))
        changes = sum(first[0] != second[0] for first, second in pairwise(found))
        assert changes == len({trial for trial, _ in found}) - 1
        assert all(first[1] < second[1] for first, second in pairwise(found) if first[0] == second[0])
    assert "DELTA_BINARY_PACKED" in held.metadata.row_group(0).column(3).encodings
    losses = held.read(["trial_id", "step", "loss"]).sort_by(
        [("step", "ascending"), ("trial_id", "ascending")]
    )
    assert losses["loss"].to_numpy().tobytes() == noise.tobytes()
    # Noise takes up to 4 bytes a row; ids, pack, attempt and step together take almost none.
    assert Path(file).stat().st_size < 4.2 * trials * steps


def test_text_in_codes_is_text(store: Store, driver: ModuleType) -> None:
    coded = Coded(np.array([1, 0, 1], dtype=np.int16), ["a", "b"])
    assert (list(coded), list(coded[1:]), np.asarray(coded).tolist()) == (
        ["b", "a", "b"],
        ["a", "b"],
        ["b", "a", "b"],
    )
    rows = {"trial_id": coded, "step": np.arange(3), "loss": np.ones(3, np.float32)}
    with store.writer("toy", "p") as writer:
        writer.append(driver.METRICS, rows)
        with pytest.raises(SchemaError, match=r"trial_id: got 1 .int., allowed string"):
            writer.append(driver.METRICS, {**rows, "trial_id": Coded(coded.codes, ["a", 1])})  # type: ignore[list-item]
        with pytest.raises(SchemaError, match="step: got"):
            writer.append(driver.METRICS, {**rows, "step": coded})
        with pytest.raises(SchemaError, match="not committed: a"):
            writer.commit([driver.row(0, trial_id="b")])
        writer.commit([driver.row(0, trial_id="a"), driver.row(1, trial_id="b")])
    [key] = store.resolve().keys("metrics")
    held = pq.read_table(store.files.location(key), partitioning=None)
    assert sorted(zip(held["trial_id"].to_pylist(), held["step"].to_pylist(), strict=True)) == [
        ("a", 1),
        ("b", 0),
        ("b", 2),
    ]


def test_small_files_are_not_compressed(store: Store, driver: ModuleType) -> None:
    driver.write_pack(store, "p", range(4))
    for key in store.files.scan("trials") | store.files.scan("metrics"):
        group = pq.ParquetFile(store.files.location(key)).metadata.row_group(0)
        assert {group.column(index).compression for index in range(group.num_columns)} == {"UNCOMPRESSED"}


def test_what_other_tools_read(store: Store, driver: ModuleType) -> None:
    driver.write_pack(store, "p", [0, 1])
    for table in ("trials", "metrics", "noise"):
        whole = pq.read_table(store.files.root / table)  # as pandas does
        assert whole["study"].unique().to_pylist() == ["toy"]
    glob = store.files.root / "trials" / "*" / "*.parquet"
    held = duckdb.sql(f"SELECT study, state, lr, sampling, started_at FROM '{glob}'").fetchall()
    assert held == [("toy", "done", 0.5, "iid", datetime(2026, 1, 2, 3, 4, 5))] * 2


def test_an_attempt_is_never_given_twice(store: Store, driver: ModuleType) -> None:
    writers = [store.writer("toy", "p") for _ in range(3)] + [store.writer("other", "p")]
    assert [writer.pack.attempt for writer in writers] == [0, 1, 2, 3]
    writers[0].abandon()
    driver.write_pack(store, "p", [0])
    assert store.resolve().index["attempt"].to_pylist() == [4]


def test_nothing_is_seen_before_the_commit_but_live_parts(store: Store, driver: ModuleType) -> None:
    with store.writer("toy", "p") as writer:
        driver.fill(writer, [0, 1])
        seen = Store.open(store.path).resolve()
        assert (seen.units, seen.set_aside) == ((), ())
        assert len(seen.live) == driver.STEPS
        rows = pa.concat_tables([pq.read_table(store.files.location(key)) for key in seen.live])
        assert rows["loss"].to_pylist() == [driver.loss(i, s) for s in range(driver.STEPS) for i in (0, 1)]
        writer.commit([driver.row(0), driver.row(1)])
    seen = store.resolve()
    assert (len(seen.units), seen.live) == (1, ())


def test_live_parts_of_a_newer_attempt_replace_those_of_an_older_one(
    store: Store, driver: ModuleType
) -> None:
    old, new = store.writer("toy", "p"), store.writer("toy", "p")
    driver.fill(old, [0])
    driver.fill(new, [0])
    assert {key.split("-")[1] for key in store.resolve().live} == {"1"}
    new.commit([driver.row(0)])
    assert store.resolve().live == ()
    old.commit([driver.row(0)])
    assert store.resolve().live == ()


def test_a_process_looks_for_old_live_parts_now_and_then(
    store: Store, driver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.writer("toy", "p") as opened:
        driver.fill(opened, [0])
    parts = list(Path(store.path).glob("_live/*"))
    for part in parts:
        os.utime(part, (0, part.stat().st_mtime - writer.LIVE_KEEP_S - 60))
    monkeypatch.setattr(writer, "_opened", count(writer.LIVE_SWEEP_EVERY - 1))
    store.writer("toy", "q").abandon()
    assert sorted(Path(store.path).glob("_live/*")) == sorted(parts) != []
    store.writer("toy", "r").abandon()
    assert list(Path(store.path).glob("_live/*")) == []


def test_an_abandoned_attempt_leaves_no_rows(store: Store, driver: ModuleType) -> None:
    with store.writer("toy", "p") as writer:
        driver.fill(writer, [0], flush=False)
    assert store.resolve().units == ()
    assert store.files.scan("_tmp") == {}
    with pytest.raises(StoreError, match="pack p, attempt 0, is committed or abandoned"):
        writer.append(driver.NOISE, {})


def test_a_refused_commit_can_be_corrected(store: Store, driver: ModuleType) -> None:
    with store.writer("toy", "p") as writer:
        driver.fill(writer, [0, 1])
        with pytest.raises(SchemaError, match=f"table metrics has rows of trials .*{driver.trial_id(1)}"):
            writer.commit([driver.row(0)])
        with pytest.raises(SchemaError, match="each trial once"):
            writer.commit([driver.row(0), driver.row(0)])
        with pytest.raises(SchemaError, match="at least one trial"):
            writer.commit([])
        with pytest.raises(SchemaError, match="seed: got 'x'"):
            writer.commit([driver.row(0, seed="x"), driver.row(1)])
        assert store.resolve().units == ()
        writer.commit([driver.row(0), driver.row(1)])
    assert len(store.index()) == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": 1}, "seed are fixed columns already"),
        ({"lr": None}, "lr are no bool, int, float or str"),
        ({"lr": 1}, "column lr of trials: the store holds it as float64, got int64"),
    ],
)
def test_hyperparameters_that_clash_are_refused_before_the_pack_runs(
    values: dict[str, Any], message: str, store: Store, driver: ModuleType
) -> None:
    driver.write_pack(store, "p", [0])
    with pytest.raises(SchemaError, match=message):
        store.writer("toy", "q", hyperparameters=values)


def test_hyperparameters_of_mixed_programs_go_into_one_commit(store: Store, driver: ModuleType) -> None:
    rows = [driver.row(0, hyperparameters={"lr": 0.1}), driver.row(1, hyperparameters={"width": 8})]
    store.writer("toy", "p").commit(rows)
    held = pq.read_table(store.files.root / "trials").select(["lr", "width"]).to_pylist()
    assert held == [{"lr": 0.1, "width": None}, {"lr": None, "width": 8}]
    mixed = [driver.row(2, hyperparameters={"lr": 0.1}), driver.row(3, hyperparameters={"lr": True})]
    with pytest.raises(SchemaError, match="lr: float64 in one trial, bool in another"):
        store.writer("toy", "q").commit(mixed)


def test_a_table_is_declared_once(store: Store, driver: ModuleType) -> None:
    driver.write_pack(store, "p", [0])
    changed = Table(name="noise", grain="trial", columns=(Column(name="value", type="float32"),))
    with pytest.raises(SchemaError, match=r"table noise: the store holds version 1 .*value float64.*got"):
        store.writer("toy", "q", tables=(changed,))
    newer = Table(name="noise", grain="trial", columns=driver.NOISE.columns, version=2)
    with pytest.raises(SchemaError, match="got version 2"):
        store.writer("toy", "q", tables=(newer,))
    rows = {"trial_id": ["a"], "value": np.ones(1, np.float32)}
    writer = store.writer("toy", "q", tables=(driver.NOISE,))
    with pytest.raises(SchemaError, match="two sets of columns"):
        writer.append(changed, rows)
    assert set(store.tables()) == {"noise"}


def test_metrics_grow_by_name_and_keep_their_kind(store: Store, driver: ModuleType) -> None:
    step = Column(name="step", type="int64")
    double = Table(name="metrics", grain="step", columns=(step, Column(name="loss", type="float64")))
    text = Table(name="metrics", grain="step", columns=(step, Column(name="loss", type="string")))
    store.writer("toy", "p", tables=(driver.METRICS,))
    store.writer("toy", "q", tables=(double,))
    with pytest.raises(SchemaError, match="column loss of metrics: the store holds it as float64"):
        store.writer("toy", "r", tables=(text,))
    assert {column.name: column.type for column in store.columns("metrics")} == {
        "loss": "float64",
        "step": "int64",
    }


@pytest.mark.parametrize("name", ["plans", "trials", "locks", "schemas", "metrics", "metrics_live"])
def test_a_table_cannot_have_a_name_of_the_store(name: str, store: Store) -> None:
    table = Table(name=name, grain="x", columns=())
    with pytest.raises(SchemaError, match="which the store itself uses"):
        store.writer("toy", "p", tables=(table,))


def test_a_declaration_that_cannot_be_stored(store: Store) -> None:
    twice = Table(name="t", grain="x", columns=(Column(name="pack_id", type="string"),))
    with pytest.raises(SchemaError, match="pack_id are declared twice or added by the store"):
        store.writer("toy", "p", tables=(twice,))


def test_a_type_that_there_is_not_leaves_no_declaration_behind(store: Store, driver: ModuleType) -> None:
    kind: Any = "int33"
    strange = Table(name="t", grain="x", columns=(Column(name="n", type=kind),))
    with pytest.raises(
        SchemaError, match=r"table t: types: n: got 'int33'; allowed bool, int32, .*timestamp"
    ):
        store.writer("toy", "p", tables=(strange,))
    store.writer("toy", "p", tables=(Table(name="t", grain="x", columns=(Column(name="n", type="int32"),)),))


@pytest.mark.parametrize("name", ["Value", "a b", "é", "x" * 101, ""])
def test_a_column_has_a_name_that_sql_needs_not_quote(name: str, store: Store) -> None:
    table = Table(name="t", grain="x", columns=(Column(name=name, type="string"),))
    with pytest.raises(UsageError, match=r"column of t: got .*, allowed"):
        store.writer("toy", "p", tables=(table,))


@pytest.mark.parametrize(("study", "pack"), [("../up", "p"), ("Toy", "p"), ("toy", "a-b"), ("toy", "a/b")])
def test_names_that_are_no_part_of_a_path(study: str, pack: str, store: Store) -> None:
    with pytest.raises(UsageError, match="allowed"):
        store.writer(study, pack)


def test_locks_and_verdicts_are_numbered_and_stay(store: Store, tmp_path: Path) -> None:
    other = Store.open(store.path)
    numbers = [store.append_lock("toy", {"kind": "claims"}), other.append_lock("toy", {"kind": "evaluation"})]
    assert numbers == [1, 2]
    assert store.locks("toy") == ({"kind": "claims", "number": 1}, {"kind": "evaluation", "number": 2})
    assert (store.append_verdict("toy", {"claim": "c"}), store.locks("none")) == (1, ())
    assert store.verdicts("toy") == ({"claim": "c", "number": 1},)
    (store.files.root / "locks" / "toy" / "0001.json").write_text("{")
    with pytest.raises(StoreError, match=r"0001\.json is damaged"):
        store.locks("toy")
