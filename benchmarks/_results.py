"""Where the numbers of a benchmark go: a JSON line each, with machine, versions and date."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gradlaw import provenance

FOLDER = Path(__file__).parent / "results"
_MORE_PACKAGES = ("jax", "optax", "duckdb")


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has: ``--quick`` and ``--keep``."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="about a minute: checks the plumbing")
    made.add_argument("--keep", action="store_true", help=f"add the lines to {FOLDER.name}/ as well")
    return made


def emit(record: Mapping[str, Any], *, keep: bool = False) -> None:
    """Prints a record as a JSON line; with ``keep`` also adds it to ``results/<benchmark>.jsonl``.

    Args:
        record: Has a key ``benchmark``.
        keep: Whether to keep it.
    """
    line = line_of(record)
    print(line, flush=True)
    if keep:
        FOLDER.mkdir(exist_ok=True)
        with (FOLDER / f"{record['benchmark']}.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def line_of(record: Mapping[str, Any]) -> str:
    """A record as a JSON line, with machine, versions, commit and date."""
    return json.dumps({**record, **_origin(), "date": provenance.utc_now().isoformat(timespec="seconds")})


@cache
def _origin() -> Mapping[str, Any]:
    versions = dict(provenance.versions())
    for name in _MORE_PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    machine = {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count()}
    return {"machine": machine, "versions": versions, "git_commit": provenance.git_commit()}


def _processor() -> str:
    """The processor's name, where the system tells it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
