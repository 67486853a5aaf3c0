from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def sweep_file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a sweep's file."""

    def write(text: str) -> Path:
        path = tmp_path / "sweep.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write
