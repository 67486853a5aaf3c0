"""A study's file that cannot be read is told by its own line, not by the calls that lead there."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradlaw.errors import ConfigurationError, UsageError
from gradlaw.studies import StudyFolder

TELLING = """
from gradlaw.errors import ConfigurationError

raise ConfigurationError(["lr: got 0"])
"""


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("unread_syntax", "CLAIMS = (\n", "claims.py:1: SyntaxError: '(' was never closed"),
        ("unread_name", "\n\nCLAIMS = (nothing,)\n", "claims.py:3: NameError: name 'nothing' is not defined"),
        (
            "unread_call",
            "def f():\n    int('x')\n\nf()\n",
            "claims.py:2: ValueError: invalid literal",
        ),
    ],
)
def test_the_line_of_a_file_that_cannot_be_read_is_told(
    name: str, text: str, told: str, tmp_path: Path
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "claims.py").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        _ = StudyFolder(folder, name).claims
    assert str(caught.value).startswith(f"{folder}/{told}")


def test_an_error_of_ours_is_told_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "unread_told"
    folder.mkdir()
    (folder / "claims.py").write_text(TELLING, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="lr: got 0"):
        _ = StudyFolder(folder, folder.name).claims
