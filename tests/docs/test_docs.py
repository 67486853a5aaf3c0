"""The README and the docs say what is so: their study runs, their paths exist."""

import re
from pathlib import Path

import pytest

from gradlaw.running.runner import run
from gradlaw_analysis import open_store

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"`(\w+)/(\S+?\.\w+)`:\n\n```\w+\n(.*?)```", flags=re.DOTALL)


def written(page: str, folder: Path) -> set[str]:
    """Writes the study that a page shows; the names of its files."""
    folder.mkdir()
    blocks = BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    for study, name, text in blocks:
        assert study == folder.name
        (folder / name).write_text(text, encoding="utf-8")
    return {name for _, name, _ in blocks}


@pytest.mark.slow
def test_the_study_of_the_readme_comes_to_its_verdict(tmp_path: Path) -> None:
    folder = tmp_path / "larger_lr"
    assert written("README.md", folder) == {"study.py", "claims.py", "final_loss.sql"}
    (folder / "__init__.py").touch()

    summary = run(folder, store=tmp_path / "store")
    (verdict,) = open_store(tmp_path / "store").verdicts([folder])

    assert summary.states == {"done": 24}
    assert (verdict.verdict, verdict.num_seeds, verdict.exploratory) == ("supported", 12, False)


@pytest.mark.slow
def test_the_study_of_the_guide_comes_to_its_verdict(tmp_path: Path) -> None:
    folder = tmp_path / "signal_kept"
    files = {"task.py", "study.py", "claims.py", "figures.py", "log_signal.sql", "figure_signal.sql"}
    assert written("docs/studies.md", folder) == files

    for preset in ("smoke", "demo"):
        assert set(run(folder, preset=preset, store=tmp_path / "store", launcher="inline").states) == {"done"}
    store = open_store(tmp_path / "store")
    (verdict,) = store.verdicts([folder])
    report = store.report([folder], tmp_path / "report.md").read_text(encoding="utf-8")

    assert (verdict.verdict, verdict.num_seeds, verdict.exploratory) == ("supported", 12, False)
    assert [(control.name, control.outcome) for control in verdict.controls] == [("lost_at_one", "refuted")]
    assert "Mean square of the signal by layer" in report


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    named = re.findall(r"`((?:platform|studies|analysis|tests|benchmarks|docs)/[\w./]+)`", text)
    missing = [item for item in linked if not (page.parent / item).exists()]
    missing += [item for item in named if not (ROOT / item).exists()]
    assert not missing
