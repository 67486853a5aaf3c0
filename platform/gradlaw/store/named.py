"""What a commit or a manifest may say: files of its own, named as the store names them, and sound values.

Whoever can write to a store can write such a document, and what it names is read, copied and, once it is
merged, deleted. So nothing in it is believed before it is looked at here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import StoreError
from gradlaw.plan_kind import PlanKind
from gradlaw.store import paths
from gradlaw.store.parquet import DataFile
from gradlaw.table import ColumnType
from gradlaw.trial import State

_STATES = frozenset(state.value for state in State)
_TYPES = get_args(ColumnType)
_COLUMN = {"name": str, "type": str, "unit": str, "doc": str, "nullable": bool}
_PLAN = {
    "plan_id": str, "study": str, "preset": str, "overrides": dict, "num_seeds": int, "declared_seeds": int,
    "kind": str, "git_commit": str, "claims_digest": str, "is_open": bool,
}  # fmt: skip
_KINDS = tuple(PlanKind)
_FIELDS = {"table": str, "key": str, "size": int, "sha256": str, "rows": int}


def commit_files(commit: object, name: paths.DataKey) -> tuple[DataFile, ...]:
    """The files that a commit lists; raises StoreError unless they, and it, are what its name says."""
    said = {"study": name.study, **name.pack._asdict()}
    if not isinstance(commit, dict) or {key: commit.get(key) for key in said} != said:
        msg = "it holds no commit of the pack and study its name says"
        raise StoreError(msg)
    listed = _files(commit.get("files"))
    for file in listed:
        if file.table == paths.TRIALS or file.key != paths.data(file.table, name.study, name.pack):
            msg = f"it lists {file.key!r} as its rows of {file.table!r}; allowed: files of its own pack"
            raise StoreError(msg)
    return listed


def check_parts(parts: object, generation: int) -> None:
    """Raises StoreError unless the parts of a manifest name files of this generation, or of older ones."""
    if not isinstance(parts, list):
        msg = f"it is no manifest: its parts are a {type(parts).__name__}, allowed a list"
        raise StoreError(msg)
    for part in parts:
        if not isinstance(part, dict) or not {"study", "packs", "files"} <= part.keys():
            msg = "it is no manifest: a part lacks study, packs or files"
            raise StoreError(msg)
        if not isinstance(part["study"], str) or not re.fullmatch(paths.NAME, part["study"]):
            msg = f"it is no manifest: got the study {part['study']!r}, allowed {paths.NAME}"
            raise StoreError(msg)
        if not isinstance(part["packs"], list) or not part["packs"] or not all(map(_is_pack, part["packs"])):
            msg = "it is no manifest: packs are not pairs, at least one, of an id and an attempt"
            raise StoreError(msg)
        _check_part_files(_files(part["files"]), generation)
    keys = [file["key"] for part in parts for file in part["files"]]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        msg = f"it is no manifest: it names {twice!r} twice, allowed once"
        raise StoreError(msg)


def check_index(index: pa.Table, study: str, pack: paths.PackKey | None) -> None:
    """Raises StoreError unless rows of ``trials`` hold known states, and are of this study and pack.

    Args:
        index: The columns that say which row wins.
        study: Whose they are.
        pack: The commit they stand in; None: of several.
    """
    said: dict[str, object] = {"study": study}
    if pack is not None:
        said |= pack._asdict()
    wrong = [name for name in index.schema.names if index[name].null_count]
    wrong += [name for name, value in said.items() if pc.unique(index[name]).to_pylist() not in ([value], [])]
    if not _STATES.issuperset(pc.unique(index["state"]).to_pylist()):
        wrong.append("state")
    if not all(map(_is_digests, pc.unique(index["probes"]).to_pylist())):
        wrong.append("probes")
    if wrong:
        msg = f"its rows are not what its name says: {', '.join(dict.fromkeys(wrong))}"
        raise StoreError(msg)


def check_plan(record: Mapping[str, object], key: str) -> None:
    """Raises StoreError unless a plan is the one that its key says, of a study that can be one's name."""
    named = paths.parse_plan(key)
    wrong = [name for name, kind in _PLAN.items() if type(record.get(name)) is not kind]
    if wrong or named is None or record["plan_id"] != named.plan_id:
        msg = f"it is not what its name says: {', '.join(wrong) or 'plan_id'}"
        raise StoreError(msg)
    if record["kind"] not in _KINDS:
        msg = f"got the kind {record['kind']!r}, allowed {', '.join(_KINDS)}"
        raise StoreError(msg)
    if not re.fullmatch(paths.NAME, str(record["study"])):
        msg = f"got the study {record['study']!r}, allowed {paths.NAME}"
        raise StoreError(msg)


def check_probes(rows: pa.Table) -> None:
    """Raises StoreError unless rows of a plan name trials, and probes by their digests."""
    texts = pc.unique(rows["probes"]).to_pylist()
    if rows["trial_id"].null_count or not all(map(_is_digests, texts)):
        msg = "its rows name no trials, or no probes"
        raise StoreError(msg)


def check_schema(document: Any, key: str) -> None:
    """Raises StoreError unless a registered table or column is what its key says: SQL is made of names."""
    folder, _, file = key.removesuffix(".json").rpartition("/")
    is_table = folder == paths.SCHEMAS
    columns = document.get("columns") if isinstance(document, dict) and is_table else [document]
    taken = {*paths.RESERVED, paths.TRIALS, paths.METRICS} if is_table else set()
    sound = isinstance(document, dict) and isinstance(columns, list) and all(map(_is_column, columns))
    if not sound or document["name"] != file or not re.fullmatch(paths.NAME, file) or file in taken:
        msg = f"it is no declaration of {file!r}: names are {paths.NAME}, types {', '.join(_TYPES)}"
        raise StoreError(msg)


def numbered(document: Any) -> dict[str, Any]:  # of JSON, so anything
    """A document of a lock or of verdicts; raises ValueError if it is none."""
    if not isinstance(document, dict) or type(document.get("number")) is not int:
        msg = "it is no numbered document"
        raise ValueError(msg)
    return document


def _is_column(column: object) -> bool:
    return (
        isinstance(column, dict)
        and {"nullable": bool, **{name: type(value) for name, value in column.items()}} == _COLUMN
        and bool(re.fullmatch(paths.NAME, column["name"]))
        and column["type"] in _TYPES
    )


def _check_part_files(listed: Sequence[DataFile], generation: int) -> None:
    for file in listed:
        named = paths.parse_generation_file(file.key)
        if named is None or named.generation > generation or named.table != file.table:
            msg = f"it names {file.key!r} as rows of {file.table!r}; allowed: files of a generation"
            raise StoreError(msg)
    tables = [file.table for file in listed]
    if tables.count(paths.TRIALS) != 1 or len(set(tables)) < len(tables):
        msg = f"it is no manifest: a part has the tables {tables}; allowed: trials, and others, each once"
        raise StoreError(msg)


def _files(documents: object) -> tuple[DataFile, ...]:
    if not isinstance(documents, list) or not all(map(_is_file, documents)):
        msg = f"the files it lists are not documents of {', '.join(_FIELDS)}"
        raise StoreError(msg)
    return tuple(DataFile(**document) for document in documents)


def _is_file(document: object) -> bool:
    return isinstance(document, dict) and {name: type(value) for name, value in document.items()} == _FIELDS


def _is_pack(pack: Any) -> bool:  # of JSON, so anything
    return isinstance(pack, list) and [type(item) for item in pack] == [str, int]


def _is_digests(text: str | None) -> bool:
    try:
        found = json.loads(text or "")
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(found, list) and all(isinstance(item, str) for item in found)
