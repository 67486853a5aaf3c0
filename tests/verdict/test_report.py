"""Reports: well formed, alone, escaped, complete; the same store gives the same report again."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import matplotlib.pyplot as plt
import pytest

from gradlaw.errors import StoreError, UnknownNameError
from gradlaw_analysis import OpenStore, open_store
from gradlaw_analysis.catalog import Catalog
from gradlaw_analysis.report.markdown import code, text

VOID = {"meta", "img", "br"}
SVG_NAMESPACE = "{http://www.w3.org/2000/svg}"


class Page(HTMLParser):
    """Reads a page, keeps tags, ids, addresses and text, and notes what is not well formed."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.sources: list[str] = []
        self.faults: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        names = [name for name, _ in attrs]
        self.faults += [f"{tag}: {name} twice" for name, count in Counter(names).items() if count > 1]
        self.faults += [f"{tag}: {name}" for name in names if name.startswith("on")]
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            elif name == "href":
                self.targets.append(str(value))
            elif name in ("src", "srcset", "action", "data", "poster"):
                self.sources.append(str(value))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="session")
def reports(judged_store: Path, judged: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The three formats, as text by suffix."""
    folder, store = tmp_path_factory.mktemp("reports"), open_store(judged_store)
    found = {}
    for suffix in (".html", ".md", ".json"):
        path = store.report([judged], folder / f"report{suffix}", record=False)
        found[suffix] = path.read_text(encoding="utf-8")
    assert [item.name for item in folder.iterdir() if item.name.startswith(".")] == []
    return found


@pytest.fixture(scope="session")
def page(reports: dict[str, str]) -> Page:
    return Page(reports[".html"])


def test_the_page_is_well_formed(page: Page) -> None:
    assert page.faults == []
    assert page.stack == []
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []


def test_the_page_stands_alone(page: Page, reports: dict[str, str]) -> None:
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    assert page.sources
    assert all(source.startswith("data:image/") for source in page.sources)
    assert {target.removeprefix("#") for target in page.targets} <= set(page.ids)
    assert not re.search(r"url\(|@import|https?://", reports[".html"])
    assert "default-src 'none'" in reports[".html"]


def test_hostile_names_are_text(page: Page, judged: Path) -> None:
    shown = "".join(page.words)
    assert shown.count("<script>alert(1)</script> & \"quotes\" | pipes `ticks` 'it''s' [31m") >= 4
    assert "\x1b" not in shown


def test_the_verdict_table_comes_first(page: Page) -> None:
    shown = "".join(page.words)
    assert shown.index("noise_falls_as_size") < shown.index("Where the numbers come from")
    for outcome in ("supported", "refuted", "inconclusive", "outside regime", "instrument broken", "no data"):
        assert outcome in shown
    for fact in ("Parquet files it stands on", "48 of 48 planned trials", "18 trials of 6 seeds pass"):
        assert fact in shown


def test_images_are_whole_and_follow_the_scheme(page: Page) -> None:
    (source,) = page.sources
    kind, _, data = source.partition(";base64,")
    assert kind == "data:image/svg+xml"
    svg = base64.b64decode(data).decode()
    root = ET.fromstring(svg)
    links = [value for item in root.iter() for name, value in item.attrib.items() if name.endswith("href")]
    assert all(link.startswith("#") for link in links)
    assert not list(root.iter(f"{SVG_NAMESPACE}script"))
    assert "var(--ink)" in svg
    assert "prefers-color-scheme: dark" in svg
    assert "#010203" not in svg


def test_a_figure_of_two_claims_is_drawn_once_and_named_with_the_other(
    page: Page, reports: dict[str, str]
) -> None:
    assert page.targets.count("#figure-judged-law") == page.ids.count("figure-judged-law") == 1
    second = reports[".md"].partition("### Drawn noise falls in proportion to the size.")[2]
    assert "Figure `law`, above." in second.partition("###")[0]
    assert reports[".md"].count("Figure `law` (drawn in the HTML report)") == 1


def test_a_figure_that_fails_is_shown_as_its_error(page: Page) -> None:
    shown = "".join(page.words)
    assert "bad could not be drawn: ArithmeticError" in shown
    assert "empty has no rows to draw" in shown
    assert plt.get_fignums() == []


def test_a_figure_of_a_claim_that_is_none_is_told_with_the_study(
    opened: OpenStore, judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import judged.figures as drawn

    stray = replace(drawn.FIGURES[0], name="stray", claims=("noise_fals",))
    monkeypatch.setattr(drawn, "FIGURES", (stray,))
    text = opened.report([judged], tmp_path / "r.md").read_text(encoding="utf-8")
    assert "It could not be drawn: unknown claim of study judged 'noise" in text.replace("\\", "")


def test_markdown_has_whole_tables_and_no_markup_of_others(reports: dict[str, str]) -> None:
    blocks = re.sub(r"```sql\n.*?\n```", "", reports[".md"], flags=re.DOTALL)
    assert "```" not in blocks
    tables = re.findall(r"(?:^\|.*\|$\n)+", blocks, flags=re.MULTILINE)
    assert len(tables) == 4  # verdicts, two of controls, provenance
    for table in tables:
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(bars) == 1
    assert tables[0].count("\n") == 2 + 7
    assert not re.search(r"(?<!\\)<", blocks)


def test_markdown_escapes() -> None:
    assert text("a|b\n*c*") == r"a\|b \*c\*"
    assert code("a`b|c") == r"`a'b\|c`"
    assert code("") == ""


def test_json_holds_the_whole_report(reports: dict[str, str]) -> None:
    document = json.loads(reports[".json"])
    (study,) = document["studies"]
    assert (study["study"], study["num_planned"], study["num_trials"]) == ("judged", 48, 48)
    assert study["title"] == "Does drawn noise fall as it is drawn?"
    assert len(study["verdicts"]) == 7
    assert study["provenance"]["seeds"] == "0-5"
    assert sum(study["provenance"]["facts"]["host"].values()) == 48
    assert {figure["name"]: bool(figure["error"]) for figure in study["figures"]} == {
        "law": False,
        "bad": True,
        "empty": False,
    }


def test_changed_claims_and_damaged_files_are_shown(
    opened: OpenStore, judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import judged.claims as declared

    monkeypatch.setattr(declared, "CLAIMS", declared.CLAIMS[1:])
    monkeypatch.setattr("judged.figures.FIGURES", ())
    damaged = next((opened.store.files.root / "drawn_noise" / "study=judged").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-9])
    out = tmp_path / "r.html"
    opened.report([judged], out)
    page = Page(out.read_text(encoding="utf-8"))
    shown = "".join(page.words)
    assert page.faults == []
    assert "Claims changed since they were locked" in shown
    assert "removed" in shown
    assert "Files set aside" in shown
    assert str(damaged) in shown
    assert "40 of 48 trials" in shown
    assert "exploratory" in shown
    assert [item.path for item in Catalog(opened.store).set_aside] == [str(damaged)]


def test_a_store_without_plans_gives_an_empty_report(tmp_path: Path) -> None:
    from gradlaw.store.store import Store

    Store.create(tmp_path / "s")
    out = open_store(tmp_path / "s").report(out=tmp_path / "r.html")
    assert "No study has a plan in this store." in out.read_text(encoding="utf-8")
    assert str(open_store(tmp_path / "s").status()).startswith("no plan in this store")


def test_what_cannot_be_written_is_said(opened: OpenStore, judged: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"suffix of a report '.pdf'.*known: .html, .json, .md"):
        opened.report([judged], tmp_path / "r.pdf")
    with pytest.raises(StoreError, match=r"cannot write .*No such file or directory; give a file"):
        opened.report([judged], tmp_path / "nowhere" / "r.json")
