"""What is named in a store leads nowhere out of it: nothing is read, listed, made or deleted there."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from arena import Arena
from hostile import KEYS, NAMES, changed, listed, rewritten
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradlaw.errors import GradlawError, StoreError, UsageError
from gradlaw.provenance import utc_now
from gradlaw.store import paths
from gradlaw.store.checkpoints import PackCheckpoints, clear_checkpoints, sweep_checkpoints
from gradlaw.store.compaction import compact
from gradlaw.store.local import LocalFiles
from gradlaw.store.named import check_schema
from gradlaw.store.plans import PlanRecord
from gradlaw.store.store import Store
from gradlaw.store.writer import sweep_live
from gradlaw_analysis.catalog import Catalog

PARTS = ("..", ".", "/", "\\", "\x00", "\n", "trials", "study=toy", "_tmp", "_live", "plans", "-0", "a", "1",
         ".json", ".parquet", "_generations", "_checkpoints", "outside", "keep.txt", "\u0661")  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_compaction_deletes_nothing_that_a_hostile_manifest_names(
    arena: Arena, generations: Path, key: str
) -> None:
    _replace(arena.store, generations)

    def change(manifest: dict[str, object]) -> None:
        for part in manifest["parts"]:
            part["files"][0]["key"] = key

    changed(arena.store / "_generations" / "1.json", change)
    arena.age()
    done = compact(Store.open(arena.store), keep_s=0.0)

    assert [Path(item.path).name for item in done.set_aside] == ["1.json"]
    assert done.deleted == 0
    assert "no merged file is deleted while a manifest cannot be read" in str(done)
    assert Store.open(arena.store).resolve().index.num_rows == 10


def test_compaction_deletes_what_an_honest_manifest_names(arena: Arena, generations: Path) -> None:
    _replace(arena.store, generations)
    arena.age()
    done = compact(Store.open(arena.store), keep_s=0.0)
    assert done.deleted > 0
    assert "cannot be read" not in str(done)


@pytest.mark.parametrize("key", KEYS)
def test_a_commit_that_names_other_files_is_set_aside(arena: Arena, key: str) -> None:
    trials = sorted((arena.store / "trials" / "study=toy").iterdir())
    own = (arena.store / "noise" / "study=toy" / trials[0].name).read_bytes()
    rewritten(trials[0], lambda commit: commit.update(files=[listed(own, key, "noise")]), "commit")

    with Catalog(arena.store).connection() as connection:
        assert connection.execute("SELECT count(*) FROM trials").fetchall() == [(2,)]
        assert connection.execute("SELECT count(*) FROM noise").fetchall() == [(2,)]
    arena.age()
    done = compact(Store.open(arena.store), keep_s=0.0)
    assert [Path(item.path).name for item in done.set_aside] == [trials[0].name]
    assert done.merged == 1


@pytest.mark.parametrize("key", KEYS)
def test_a_checkpoint_that_names_other_files_is_not_used(arena: Arena, driver: ModuleType, key: str) -> None:
    store = Store.open(arena.store)
    with (
        store.writer("toy", "victim", tables=[driver.METRICS]) as other,
        PackCheckpoints(store.files, other, [driver.METRICS], every_s=1.0) as kept,
    ):
        kept.keep(CONTENT, {})
    with store.writer("toy", "taken", tables=[driver.METRICS]) as writer:
        with PackCheckpoints(store.files, writer, [driver.METRICS], every_s=1.0) as first:
            first.keep(CONTENT, {})
        named = KEYS_OF_OTHERS.get(key, key)
        changed(
            arena.store / "_checkpoints" / "taken-0-0.json",
            lambda document: document["tensors"].update(key=named),
        )
        with PackCheckpoints(store.files, writer, [driver.METRICS], every_s=1.0) as second:
            assert second.find(lambda content: "") is None
            assert "is damaged" in second.notes[0]

    arena.age()
    assert clear_checkpoints(store.files, "taken") == 2
    assert sweep_checkpoints(store.files, {}, keep_s=0.0) == 0  # of "victim" no trial has ended
    assert sorted(store.files.scan("_checkpoints")) == [
        "_checkpoints/victim-0-0.json",
        "_checkpoints/victim-0-0.safetensors",
    ]


CONTENT = {"identity": {"probes": [], "trials": ["one"]}}
KEYS_OF_OTHERS = {"plans/p.parquet": "_checkpoints/victim-0-0.safetensors"}
"""A file of the store itself, but of another pack: the first to go if the document were believed."""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("plan_id", name) for name in ("../../outside", "other", "", "a/b", 7, None)),
        *(("study", name) for name in (*NAMES, None, 3)),
        ("kind", "<b>confirm</b>"),
        ("overrides", []),
        ("num_seeds", "many"),
    ],
)
def test_a_plan_that_is_not_what_its_name_says_is_set_aside(arena: Arena, field: str, value: object) -> None:
    store = Store.open(arena.store)
    for plan_id in ("honest", "hostile"):
        store.write_plan(_plan(plan_id), [])
    rewritten(arena.store / "plans" / "hostile.parquet", lambda plan: plan.update({field: value}), "plan")
    catalog = Catalog(arena.store)
    assert [plan.plan_id for plan in catalog.plans] == ["honest"]
    assert [Path(item.path).name for item in catalog.set_aside] == ["hostile.parquet"]


@pytest.mark.parametrize("folder", ["_tmp", "_live", "_checkpoints", "_generations/7", "trials/study=toy"])
def test_sweeps_follow_no_link(arena: Arena, folder: str) -> None:
    place = arena.store / folder
    place.mkdir(parents=True, exist_ok=True)
    (place / "evil").symlink_to(arena.outside)
    (place / "evil-0-0.json").symlink_to(arena.outside / "0.json")
    (place / "evil-0.parquet").symlink_to(arena.outside / "p-0.parquet")
    arena.age()
    store = Store.open(arena.store)

    store.files.sweep(stale_s=0.0)
    sweep_live(store.files, keep_s=0.0)
    sweep_checkpoints(store.files, {}, keep_s=0.0)
    done = compact(store, keep_s=0.0)

    assert done.merged == 2
    assert all((place / name).is_symlink() for name in ("evil", "evil-0-0.json", "evil-0.parquet"))
    if folder == "trials/study=toy":
        named = {Path(item.path).name for item in done.set_aside}
        assert named == {"evil", "evil-0-0.json", "evil-0.parquet"}


@pytest.mark.parametrize("folder", ["trials", "_tmp", "_live", "_checkpoints", "_generations", "plans"])
def test_a_link_in_a_folders_place_is_refused(arena: Arena, folder: str) -> None:
    if (arena.store / folder).exists():
        (arena.store / folder).rename(arena.store.parent / "moved")
    (arena.store / folder).symlink_to(arena.outside)
    with pytest.raises(StoreError, match="a symbolic link stands there"):
        _all_of_it(arena.store)


def test_a_table_that_is_a_link_is_named(arena: Arena, driver: ModuleType) -> None:
    (arena.store / "extra").symlink_to(arena.outside)
    assert [Path(item.path).name for item in Store.open(arena.store).resolve().set_aside] == ["extra"]
    (arena.store / "noise").rename(arena.store.parent / "moved")
    (arena.store / "noise").symlink_to(arena.outside)
    with pytest.raises(StoreError, match="a symbolic link stands there"):
        driver.write_pack(Store.open(arena.store), "more", [7, 8])


def test_the_root_may_be_a_link(arena: Arena) -> None:
    link = arena.store.parent / "link"
    link.symlink_to(arena.store)
    assert Store.open(link).resolve().index.num_rows == 4
    assert compact(Store.open(link)).merged == 2


def test_a_pipe_holds_no_reader_up(arena: Arena) -> None:
    os.mkfifo(arena.store / "trials" / "study=toy" / "pipe-0.parquet")
    (arena.store / "schemas" / "noise.json").unlink()
    os.mkfifo(arena.store / "schemas" / "noise.json")
    store = Store.open(arena.store)
    assert [Path(item.path).name for item in store.resolve().set_aside] == ["pipe-0.parquet"]
    assert "noise" not in store.tables()


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.one_of(st.lists(st.sampled_from(PARTS), max_size=8).map("".join), st.text(max_size=20)))
def test_no_key_leads_out(arena: Arena, key: str) -> None:
    files = LocalFiles(arena.store)
    for action in (files.read, files.delete, files.scan, lambda key: files.create(key, b"x")):
        if action == files.delete and not key.startswith("_tmp/"):
            continue  # what the store itself holds is not the question
        with contextlib.suppress(GradlawError, OSError, UnicodeError):
            action(key)
    for parse in (paths.parse_data, paths.parse_live, paths.parse_checkpoint, paths.parse_manifest,
                  paths.parse_plan, paths.parse_generation_file, paths.parse_document):  # fmt: skip
        if parse(key) is not None:
            assert not {"", ".", ".."} & set(key.split("/"))
            assert key.isascii()
    assert {path.name for path in arena.store.parent.iterdir()} == {"store", "outside"}


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.one_of(st.sampled_from(NAMES), st.text(max_size=12)))
def test_a_name_is_checked_before_it_is_part_of_a_key(arena: Arena, name: str) -> None:
    store = Store.open(arena.store)
    for kind, write in {
        "study": lambda: store.append_lock(name, {}),
        "study ": lambda: store.writer(name, "p9").abandon(),
        "pack_id": lambda: store.writer("toy", name).abandon(),
        "plan_id": lambda: store.write_plan(_plan(name), []),
    }.items():
        allowed = {"pack_id": paths.PACK, "plan_id": paths.PLAN}.get(kind, paths.NAME)
        if re.fullmatch(allowed, name):
            continue
        with pytest.raises(UsageError, match=rf"{kind.strip()}: got .*, allowed"):
            write()


@pytest.mark.parametrize("name", [*NAMES, "trials", "plans", "metrics"])
def test_a_declared_table_of_another_name_is_no_sql(arena: Arena, name: str) -> None:
    changed(arena.store / "schemas" / "noise.json", lambda table: table.update(name=name))
    with pytest.raises(StoreError, match="no declaration of 'noise'"):
        Catalog(arena.store).sources()
    document = {"name": "noise", "type": name, "unit": "", "doc": ""}
    with pytest.raises(StoreError, match="no declaration"):
        check_schema(document, "schemas/metrics/noise.json")


def _all_of_it(path: Path) -> None:
    """Reads, merges and sweeps a store."""
    compact(Store.open(path), keep_s=0.0)
    Catalog(path)
    sweep_checkpoints(Store.open(path).files, {}, keep_s=0.0)


def _replace(store: Path, other: Path) -> None:
    shutil.rmtree(store)
    shutil.copytree(other, store)


def _plan(plan_id: str) -> PlanRecord:
    return PlanRecord(
        plan_id=plan_id, study="toy", preset="demo", num_seeds=1, declared_seeds=1, created_at=utc_now()
    )
