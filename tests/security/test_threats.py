"""The page and the tests say the same: every line of its table is tried, and every test stands in it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = re.compile(r"^\| (\d+) \| ([WNSRD, ]+) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)


def test_every_line_of_the_page_names_tests_and_every_test_is_named() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    lines = TABLE.findall(page)
    assert [int(line[0]) for line in lines] == list(range(1, len(lines) + 1))
    assert len(lines) >= 25
    assert len([line for line in page.splitlines() if re.match(r"\| \d", line)]) == len(lines)
    named = [name for line in lines for name in re.findall(r"`(\S+)`", line[4])]
    assert all("`" in line[4] for line in lines)
    assert len(set(named)) == len(named)
    files = {name for name in named if "/" in name}
    assert all((ROOT / name).is_file() for name in files)
    there = {
        name
        for file in Path(__file__).parent.glob("test_*.py")
        if file != Path(__file__)
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert set(named) - files == there


def test_every_kind_of_enemy_is_in_the_table() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    kinds = set(re.findall(r"^- \*\*([A-Z])\*\*", page, re.MULTILINE))
    assert kinds == {kind for line in TABLE.findall(page) for kind in line[1].split(", ")}
