"""What is read is data: no pickle, no YAML that makes objects, no text that is run; a study alone is code."""

from __future__ import annotations

import ast
import base64
import contextlib
import hashlib
import importlib
import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from arena import Arena
from hostile import Mark, pickled

from gradlaw import fetch
from gradlaw.errors import ConfigurationError, DataError
from gradlaw.provenance import utc_now
from gradlaw.settings import parse_settings
from gradlaw.store.checkpoints import PackCheckpoints
from gradlaw.store.compaction import compact
from gradlaw.store.parquet import footer, read_bytes
from gradlaw.store.plans import PlanRecord
from gradlaw.store.store import Store
from gradlaw.sweep.read import read_sweep
from gradlaw_analysis import open_store

ROOT = Path(__file__).parents[2]
LOADERS = {
    *("pickle", "cPickle", "dill", "marshal", "shelve", "joblib", "jsonpickle", "cloudpickle"),
    *("read_pickle", "load_extension", "allow_pickle", "trust_remote_code"),
}
CALLS = {"eval", "exec", "compile", "__import__", "system", "popen"}
EXCEPTIONS = {
    "platform/gradlaw/launch/ray_tune.py": {"cloudpickle"},  # a run's own orders to its own workers,
    "platform/gradlaw/launch/trainable.py": {"cloudpickle"},  # which take them
}
UNSAFE = ("import os\nos.system('true')", "import pickle", "torch.load(f)", "yaml.load(f)", "eval('1')",
          "np.load(f, allow_pickle=True)", "from joblib import load", "x = yaml.unsafe_load(f)")  # fmt: skip


@pytest.mark.parametrize(
    "folder", ["platform/gradlaw", "analysis/gradlaw_analysis", "studies/gradlaw_studies"]
)
def test_no_source_loads_what_can_run(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert len(files) > 20
    found = {}
    for file in files:
        name = str(file.relative_to(ROOT))
        faults = set(_unsafe(file.read_text(encoding="utf-8"))) - EXCEPTIONS.get(name, set())
        if faults:
            found[name] = faults
    assert found == {}


@pytest.mark.parametrize("source", UNSAFE)
def test_the_look_at_sources_sees_what_can_run(source: str) -> None:
    assert [*_unsafe(source)]


def test_a_pickle_in_place_of_tensors_is_not_loaded(arena: Arena, driver: ModuleType, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    store = Store.open(arena.store)
    whole = io.BytesIO()
    torch.save({"weights": Mark(mark)}, whole)
    for data in (pickled(mark), whole.getvalue()):
        with store.writer("toy", "taken", tables=[driver.METRICS]) as writer:
            with PackCheckpoints(store.files, writer, [driver.METRICS], every_s=1.0) as kept:
                kept.keep({"identity": {}}, {"a": np.zeros(2)})
            [document] = [key for key in store.files.scan("_checkpoints") if key.endswith(".json")]
            tensors = arena.store / document.replace(".json", ".safetensors")
            tensors.write_bytes(data)
            held = json.loads((arena.store / document).read_text())
            held["tensors"] |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            (arena.store / document).write_text(json.dumps(held))
            with PackCheckpoints(store.files, writer, [driver.METRICS], every_s=1.0) as again:
                assert again.find(lambda content: "") is None
                assert "is not used" in again.notes[0]
            (arena.store / document).unlink()
            tensors.unlink()
    assert not mark.exists()


def test_a_pickle_in_a_parquet_file_is_not_loaded(arena: Arena, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    commit = sorted((arena.store / "trials" / "study=toy").iterdir())[0]
    rows, entries = read_bytes(commit.read_bytes())
    hostile = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickled(mark)}
    schema = pa.schema(
        [item.with_metadata(hostile) if item.name == "host" else item for item in rows.schema],
        metadata={**footer(commit=entries["commit"]), "pandas": json.dumps({"columns": ["pickle"]})},
    )
    pq.write_table(rows.cast(schema), commit)
    written = pq.ParquetFile(commit).metadata.metadata[b"ARROW:schema"]
    assert b"arrow.py_extension_type" in base64.b64decode(written)

    opened = open_store(arena.store)
    assert len(opened.sql("SELECT host FROM trials")) == 4
    assert compact(Store.open(arena.store)).merged == 2
    assert not mark.exists()


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.mkdir [{mark}]",
        "!!python/object/new:os.mkdir [{mark}]",
        "!!python/name:os.mkdir",
        "&a [*a]",
    ],
)
def test_yaml_makes_no_objects(value: str, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    text = value.format(mark=mark)
    if "apply" in text:  # by a loader that trusts it, it would
        yaml.load(text, yaml.UnsafeLoader)
        mark.rmdir()
    file = tmp_path / "sweep.yaml"
    file.write_text(f"name: s\ntask: digits_mlp\nsteps: 1\nlr: {text}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"sweep\.yaml"):
        read_sweep(file)
    with pytest.raises(ConfigurationError, match="--set: lr"):
        parse_settings([f"lr={text}"])
    assert not mark.exists()


@pytest.mark.parametrize(("task", "ran"), [("digits_mlp", False), ("beside_a_sweep:Nothing", True)])
def test_a_sweep_of_mere_names_imports_nothing_beside_it(
    task: str, ran: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    mark = tmp_path / "ran"
    (tmp_path / "beside_a_sweep.py").write_text(f"import os; os.mkdir({str(mark)!r})", encoding="utf-8")
    file = tmp_path / "sweep.yaml"
    file.write_text(f"name: s\ntask: {task}\nno_such_key: 1\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="no_such_key"):
        read_sweep(file)
    with contextlib.suppress(ImportError):  # as libraries do with what they can do without
        importlib.import_module("beside_a_sweep")
    assert mark.exists() == ran


@pytest.fixture
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.mark.usefixtures("_elsewhere")
def test_a_store_chooses_no_code(arena: Arena, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for folder in (Path("evil"), arena.store / "evil"):
        folder.mkdir()
        for name in ("__init__", "study", "claims", "figures"):
            (folder / f"{name}.py").write_text(f"import os\nos.makedirs({str(mark)!r}, exist_ok=True)\n")
    store = Store.open(arena.store)
    record = PlanRecord(
        plan_id="p", study="evil", preset="demo", num_seeds=1, declared_seeds=1, created_at=utc_now()
    )
    store.write_plan(record, [])
    opened = open_store(arena.store)
    assert opened.verdicts() == []
    assert "evil, plan p" in str(opened.status())
    opened.report(out=tmp_path / "report.html")
    assert len(opened.sql("SELECT * FROM trials")) == 4
    assert not mark.exists()


def test_an_archive_puts_nothing_outside(tmp_path: Path) -> None:
    for name, kind in (("../../escaped", "file"), ("/tmp/escaped", "file"), ("data/link", "link")):
        packed = tmp_path / "hostile.tar.gz"
        with tarfile.open(packed, "w:gz") as archive:
            member = tarfile.TarInfo(name)
            if kind == "link":
                member.type, member.linkname = tarfile.SYMTYPE, "../../../escaped"
            archive.addfile(member, io.BytesIO())
        digest = hashlib.sha256(packed.read_bytes()).hexdigest()
        known = fetch.archive_of("cifar10")
        own = type(known)(
            **{**vars(known), "url": packed.as_uri(), "sha256": digest, "folder": "data", "files": ("a.bin",)}
        )
        with pytest.raises(DataError):
            fetch.fetch(own, tmp_path / "home" / "data")
        assert not list(tmp_path.glob("**/escaped"))
        assert not Path("/tmp/escaped").exists()


def _unsafe(source: str) -> Iterator[str]:
    """What a source has of loaders of objects and of running text, by name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = getattr(node, "module", None) or ""
            names = {item.name.split(".")[0] for item in node.names} | set(module.split("."))
            yield from names & LOADERS
        elif isinstance(node, ast.keyword) and node.arg in LOADERS:
            yield str(node.arg)
        elif isinstance(node, ast.Call):
            yield from _unsafe_call(node)


def _unsafe_call(node: ast.Call) -> Iterator[str]:
    called = node.func
    if isinstance(called, ast.Name) and called.id in CALLS:
        yield called.id
    if not isinstance(called, ast.Attribute):
        return
    owner = called.value.id if isinstance(called.value, ast.Name) else ""
    if called.attr in LOADERS or (owner == "os" and called.attr in CALLS):
        yield called.attr
    if owner == "yaml" and called.attr in {"load", "load_all", "unsafe_load", "full_load"}:
        yield f"yaml.{called.attr}"
    given = {item.arg: item.value for item in node.keywords}
    safe = isinstance(given.get("weights_only"), ast.Constant) and given["weights_only"].value is True  # type: ignore[attr-defined]
    if owner == "torch" and called.attr == "load" and not safe:
        yield "torch.load"
    if any(name == "shell" for name in given):
        yield "shell"
