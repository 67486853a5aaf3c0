"""Notes that cannot be used or kept, and packs that cannot share what is compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradlaw.engine.choice import Choice, Found, Note
from gradlaw.rules import SGD

Train = Callable[..., Any]
ARMS = tuple({"lr": 0.01 * k} for k in range(1, 9))


@pytest.fixture
def note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Note:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    return Note("key")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "3", '{"width": 4}', '{"width": "x", "step_s": 1.0}'),
        *('{"width": 0, "step_s": 1.0}', '{"width": -2, "step_s": 1.0}', '{"width": 1e999, "step_s": 1.0}'),
        *('{"width": 4, "step_s": NaN}', '{"width": 4, "step_s": 0}', '{"width": NaN, "step_s": 1}'),
    ],
)
def test_a_note_that_says_nothing_is_as_none(note: Note, tmp_path: Path, text: str) -> None:
    note.write(Found(4, 0.5))
    assert note.read() == Found(4, 0.5)
    (tmp_path / "gradlaw" / "key.json").write_text(text)
    assert note.read() is None


def test_a_note_that_cannot_be_kept_does_not_matter(note: Note, tmp_path: Path) -> None:
    (tmp_path / "gradlaw").write_text("a file where the folder would be")
    note.write(Found(4, 0.5))
    assert note.read() is None


class Held(SGD):
    """Holds what no key can tell."""

    def __init__(self) -> None:
        self.held = lambda x: x


@pytest.mark.parametrize(("rule", "mode"), [(SGD, "tried"), (Held, "eager")])
def test_packs_count_together_only_where_they_share_what_is_compiled(
    train: Train, least_squares: Any, monkeypatch: pytest.MonkeyPatch, rule: Any, mode: str
) -> None:
    """A second of work in each of a hundred packs pays for one compilation, not for a hundred."""
    tried = []

    def compiled(choice: Choice, *_: object) -> tuple[Any, Found]:
        tried.append("tried")
        return choice._machine("eager", 8), Found(8, 0.0)

    monkeypatch.setattr(Choice, "_eager_s", lambda *_: 1.0 / (20 * 8))
    monkeypatch.setattr(Choice, "_compiled", compiled)
    monkeypatch.setattr("gradlaw.engine.choice.Note.write", lambda *_: None)
    train(type("Own", (least_squares,), {})(), rule(), ARMS, steps=20, alike=100)
    assert (tried or ["eager"]) == [mode]
