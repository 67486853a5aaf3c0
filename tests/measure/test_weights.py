"""Weights as rows: every bit comes back, from memory and from a store; SQL shows them short."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from store_driver import row, trial_id

from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.errors import ConfigurationError, SchemaError
from gradlaw.probe import Columns, Snapshot
from gradlaw.probes.weights import WEIGHTS, Weights, tensor_of
from gradlaw.store import compaction, writer
from gradlaw.store.compaction import compact
from gradlaw.store.schema import to_array
from gradlaw.store.store import Store
from gradlaw.table import Column
from gradlaw_analysis import open_store
from gradlaw_analysis.catalog import Catalog
from gradlaw_analysis.sql.formats import write_result

DTYPES = ("float32", "float64", "int64", "int32", "uint8", "bool", "complex64", "complex128", "float16")


def snapshot(params: Mapping[str, torch.Tensor], **changed: object) -> Snapshot:
    known: dict[str, object] = {
        "task": None,
        "params": params,
        "buffers": {},
        "split": None,
        "hyperparameters": {},
        "seed": 0,
        "step": 3,
        "steps": 3,
    }
    return Snapshot(**{**known, **changed})


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    bits = [item.contiguous().numpy().tobytes() for item in (one, other)]
    return one.dtype == other.dtype and one.shape == other.shape and bits[0] == bits[1]


@given(
    value=st.sampled_from(DTYPES).flatmap(
        lambda dtype: arrays.arrays(
            dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
        )
    ),
    turned=st.booleans(),
)
def test_every_bit_comes_back(value: np.ndarray, turned: bool) -> None:
    """Any dtype, shape and order in memory; NaN of any payload, -0.0, bytes that end in zeros."""
    tensor = torch.from_numpy(np.array(value))
    tensor = tensor.T if turned and tensor.ndim == 2 else tensor
    (columns,) = Weights().rows(snapshot({"w": tensor})).values()
    found = tensor_of(columns["dtype"][0], columns["shape"][0], columns["values"][0])
    assert same_bits(found, tensor)


def test_bytes_are_little_endian_and_the_last_dimension_is_the_fastest() -> None:
    """Written out by hand, so that a reader in any language knows what to expect."""
    tensor = torch.tensor([[1, 2], [3, 256]], dtype=torch.int32)
    (columns,) = Weights().rows(snapshot({"w": tensor})).values()
    assert columns["values"][0] == bytes([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 1, 0, 0])
    assert (columns["dtype"][0], columns["shape"][0]) == ("int32", "2,2")


def test_bytes_that_are_too_few_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot reshape"):
        tensor_of("float32", "3", bytes(8))


@pytest.mark.parametrize(
    ("settings", "steps", "asked"),
    [({}, 5, [5]), ({"steps": (4, 0)}, 5, [0, 4, 5]), ({"steps": (5, 2), "at_end": False}, 5, [2, 5])],
)
def test_when_they_are_kept(settings: dict[str, object], steps: int, asked: list[int]) -> None:
    assert Weights(**settings).at(steps) == asked


@pytest.mark.parametrize(
    ("settings", "fault"),
    [({"steps": (3, 3)}, "allowed each once"), ({"at_end": False}, "got no step and not at_end")],
)
def test_settings_that_keep_nothing_or_twice_are_refused(settings: dict[str, object], fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        Weights(**settings)


def test_what_the_engine_holds_is_what_is_kept(
    train: Callable[..., object], least_squares: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the pack's tensors, member by member and step by step; the last is that of gradient descent."""
    seen: dict[tuple[int, int], torch.Tensor] = {}
    plain = Weights.rows

    def rows(self: Weights, at: Snapshot) -> Mapping[str, Columns]:
        seen[at.seed, at.step] = at.params["w"]
        return plain(self, at)

    monkeypatch.setattr(Weights, "rows", rows)
    task = least_squares()
    lr, steps = 0.3, 6
    probes = (Weights(steps=(0, 2)),)
    trained = train(task, None, ({"lr": lr},), seeds=(1, 2, 3), steps=steps, probes=probes)
    X, y = task.X.numpy(), task.y.numpy()
    recorder: MemoryRecorder = trained.recorder
    for seed, result in zip((1, 2, 3), trained.results, strict=True):
        held = recorder.rows("weights", result.trial_id)
        kept = {
            int(step): tensor_of(dtype, shape, values)
            for step, dtype, shape, values in zip(
                *(held[name] for name in ("step", "dtype", "shape", "values")), strict=True
            )
        }
        assert sorted(kept) == [0, 2, steps]
        assert all(same_bits(kept[step], seen[seed, step]) for step in kept)
        expected = kept[0].numpy()
        for _ in range(steps):
            expected = expected - lr * X.T @ (X @ expected - y) / len(y)
        assert np.allclose(kept[steps].numpy(), expected, rtol=1e-12, atol=0)


def write(store: Store, numbers: range, size: int, pack_id: str = "p0") -> dict[str, bytes]:
    """A pack of trials with one parameter of so many random numbers; their bytes by trial."""
    drawn = np.random.default_rng(numbers.start)
    kept: dict[str, bytes] = {}
    with store.writer("toy", pack_id, tables=(WEIGHTS,)) as pack:
        for number in numbers:
            tensor = torch.from_numpy(drawn.normal(size=size))
            (columns,) = Weights().rows(snapshot({"w": tensor})).values()
            pack.append(WEIGHTS, {"trial_id": [trial_id(number)], **columns})
            kept[trial_id(number)] = tensor.numpy().tobytes()
        pack.commit([row(number) for number in numbers])
    return kept


def read(store: Store) -> dict[str, bytes]:
    connection = Catalog(store).connection()
    return dict(connection.execute("SELECT trial_id, values FROM weights").fetchall())


def groups(store: Store, pattern: str) -> list[int]:
    """Rows of every row group."""
    files = [pq.ParquetFile(path) for path in sorted(store.files.root.glob(pattern))]
    return [file.metadata.row_group(n).num_rows for file in files for n in range(file.num_row_groups)]


def test_a_store_gives_back_what_it_was_given_in_groups_bounded_by_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "ROW_GROUP_BYTES", 20_000)
    store = Store.create(tmp_path)
    kept = write(store, range(10), 1000)  # 8,000 bytes a row, and some for its name and sizes
    assert groups(store, "weights/*/*.parquet") == [3, 3, 3, 1]
    assert read(store) == kept
    (file,) = store.files.root.glob("weights/*/*.parquet")
    group = pq.ParquetFile(file).metadata.row_group(0)
    column = group.column(pq.read_schema(file).get_field_index("values"))
    assert not column.is_stats_set, "no megabyte of weights stands in a footer"
    assert file.stat().st_size < 10 * 8000 + 10_000, "nor twice in the file"


def test_compaction_copies_weights_group_by_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One group in memory at a time, small ones joined; every byte as before, also after a second merge."""
    monkeypatch.setattr(compaction, "ROW_GROUP_BYTES", 40_000)
    monkeypatch.setattr(compaction, "_loaded", _loads_no_weights(compaction._loaded))
    store = Store.create(tmp_path)
    kept: dict[str, bytes] = {}
    for pack in range(6):
        kept |= write(store, range(4 * pack, 4 * pack + 4), 500, f"p{pack}")
    compact(store, keep_s=0.0)
    assert groups(store, "_generations/1/*-weights.parquet") == [12, 12]
    assert read(store) == kept
    kept |= write(store, range(24, 30), 500, "p6")
    compact(store, keep_s=0.0)
    assert read(store) == kept


def _loads_no_weights(load: Callable[..., object]) -> Callable[..., object]:
    def loaded(file: compaction.DataFile, content: object) -> object:
        assert file.table != "weights"
        return load(file, content)

    return loaded


def test_compaction_leaves_out_a_pack_whose_weights_are_damaged(tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    write(store, range(2), 500, "p0")
    kept = write(store, range(2, 4), 500, "p1")
    (damaged,) = store.files.root.glob("weights/*/p0-0.parquet")
    data = bytearray(damaged.read_bytes())
    data[100] ^= 1
    damaged.write_bytes(data)
    done = compact(store)
    assert [item.path for item in done.set_aside] == [str(damaged)]
    assert read(store) == kept


@pytest.mark.parametrize("values", [np.array([b"a", b"bc"]), ["text"], [1], [None]])
def test_what_is_no_bytes_is_refused(values: object) -> None:
    with pytest.raises(SchemaError, match=r"allowed binary|a value is missing"):
        to_array(Column(name="values", type="binary"), values)


def test_sql_shows_bytes_short_to_people_and_whole_to_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = write(Store.create(tmp_path), range(1), 1000)[trial_id(0)]
    opened = open_store(tmp_path)
    opened.write_sql("SELECT values, typeof(values) AS kind, octet_length(values) AS size FROM weights")
    out = capsys.readouterr().out
    assert [f"{kept[:8].hex()}...", "(8000", "bytes)", "BLOB", "8000"] == out.splitlines()[2].split()
    rows = pa.table({"values": [kept, b"short", None]})
    for file_format, shown in (
        ("markdown", [f"| {kept[:8].hex()}... (8000 bytes) |", f"| {b'short'.hex()} |", "| NULL |"]),
        ("csv", [kept.hex(), b"short".hex(), ""]),
    ):
        write_result(rows.schema, rows.to_batches(), file_format=file_format)
        assert capsys.readouterr().out.split("\n")[-4:-1] == shown
    write_result(rows.schema, rows.to_batches(), file_format="json")
    assert [row["values"] for row in json.loads(capsys.readouterr().out)] == [
        kept.hex(),
        b"short".hex(),
        None,
    ]
