"""The README and the docs say what is so: their study runs, their paths exist."""

import re
from pathlib import Path

import pytest

from gradlaw.running.runner import run
from gradlaw_analysis import open_store

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"`larger_lr/(\S+?)`:\n\n```\w+\n(.*?)```", flags=re.DOTALL)


@pytest.mark.slow
def test_the_study_of_the_readme_comes_to_its_verdict(tmp_path: Path) -> None:
    folder = tmp_path / "larger_lr"
    folder.mkdir()
    (folder / "__init__.py").touch()
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert {name for name, _ in blocks} == {"study.py", "claims.py", "final_loss.sql"}
    for name, text in blocks:
        (folder / name).write_text(text, encoding="utf-8")

    summary = run(folder, store=tmp_path / "store")
    (verdict,) = open_store(tmp_path / "store").verdicts([folder])

    assert summary.states == {"done": 24}
    assert (verdict.verdict, verdict.num_seeds, verdict.exploratory) == ("supported", 12, False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    named = re.findall(r"`((?:platform|studies|analysis|tests|benchmarks|docs)/[\w./]+)`", text)
    missing = [item for item in linked if not (page.parent / item).exists()]
    missing += [item for item in named if not (ROOT / item).exists()]
    assert not missing
