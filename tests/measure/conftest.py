from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "fixtures"))

import gradlaw
from gradlaw.runner import RunSummary


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
    """A store that holds a preset of the fixture study: copied, so that a test may write to it."""
    import shutil

    held: dict[str, Path] = {}

    def copied(preset: str, to: Path) -> Path:
        if preset not in held:
            held[preset] = tmp_path_factory.mktemp(preset) / "store"
            _trained(held[preset], preset)
        shutil.copytree(held[preset], to)
        return to

    return copied
