from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import gradlaw
from gradlaw.running.runner import RunSummary


def _trained(store: Path, preset: str = "demo", **how: object) -> RunSummary:
    """A run of the fixture study in one mode and width, so that what is trained twice is bitwise equal."""
    folder = Path(__file__).parents[1] / "fixtures" / "studies" / "kept"
    return gradlaw.run(folder, preset=preset, store=store, compile="never", width=4, **how)


@pytest.fixture(scope="session")
def trained() -> object:
    """See :func:`_trained`."""
    return _trained


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> object:
    """A store that holds a preset of the fixture study, trained once and copied: a test may write to it."""
    held: dict[str, Path] = {}

    def copied(preset: str, to: Path, settings: dict[str, object] | None = None) -> Path:
        key = f"{preset} {settings}"
        if key not in held:
            held[key] = tmp_path_factory.mktemp(preset) / "store"
            _trained(held[key], preset, set=settings)
        shutil.copytree(held[key], to)
        return to

    return copied
