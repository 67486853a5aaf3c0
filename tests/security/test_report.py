"""Reports of a store whose every text is somebody's markup: it stays text, and a browser runs none of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from arena import Arena

from gradlaw.provenance import utc_now
from gradlaw.store.plans import PlannedTrial, PlanRecord
from gradlaw.store.store import Store
from gradlaw_analysis import open_store
from gradlaw_analysis.open import NO_CLAIMS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PAYLOADS = (
    "<script>document.title='executed'</script>",
    "<img src=x onerror=\"document.title='executed'\">",
    '"><svg onload="document.title=\'executed\'">',
    "' onmouseover='document.title=1' '",
    "[click](javascript:document.title='executed')",
    "</style></pre></title><script>document.title='executed'</script>",
    "{{ 7 * 7 }}${7*7}<%= 7 * 7 %>",
)


@pytest.fixture
def hostile_report(arena: Arena, driver: ModuleType, tmp_path: Path) -> Path:
    """A report whose every text from the store is a payload."""
    store = Store.open(arena.store)
    for number, payload in enumerate(PAYLOADS):
        fields = dict.fromkeys(("host", "device", "mode", "git_commit", "reason"), payload)
        driver.write_pack(store, f"h{number}", [50 + number], **fields, versions={payload: payload})
    ids = [driver.trial_id(50 + number) for number in range(len(PAYLOADS))]
    record = PlanRecord(
        plan_id="hostile",
        study="toy",
        preset=PAYLOADS[0],
        overrides={payload: payload for payload in PAYLOADS},
        num_seeds=7,
        declared_seeds=7,
        created_at=utc_now(),
        git_commit=PAYLOADS[1],
        claims_digest=NO_CLAIMS,
    )
    store.write_plan(record, [PlannedTrial(item, seed) for seed, item in enumerate(ids)])
    name = PAYLOADS[1].replace("/", "") + ".parquet"
    (arena.store / "trials" / name).write_bytes(b"PAR1")
    opened = open_store(arena.store)
    opened.report(out=tmp_path / "report.md", record=False)
    return opened.report(out=tmp_path / "report.html", record=False)


def test_markup_in_a_store_is_text_in_a_report(hostile_report: Path) -> None:
    page = hostile_report.read_text(encoding="utf-8")
    assert "&lt;script&gt;document.title" in page
    assert page.count("&lt;img src=x") >= 4  # overrides, facts, a file set aside
    assert not re.search(r"<script|<img src=x|<svg onload|href=.javascript", page)
    assert "{{ 7 * 7 }}" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    text = hostile_report.with_suffix(".md").read_text(encoding="utf-8")
    bare = re.sub(r"`[^`\n]*`", "", text)
    assert r"\<script\>" in bare
    assert not re.search(r"(?<!\\)<(script|img|svg)|(?<!\\)\]\(javascript", bare)


def test_secrets_are_found_before_a_report_spells_them_otherwise(
    arena: Arena, driver: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = 'p&ss"wörd<1>|*0123'
    store = Store.open(arena.store)
    driver.write_pack(store, "told", [60], host=f"host {secret}")
    record = PlanRecord(
        plan_id="told",
        study="toy",
        preset="all",
        overrides={},
        num_seeds=1,
        declared_seeds=1,
        created_at=utc_now(),
        git_commit="",
        claims_digest=NO_CLAIMS,
    )
    store.write_plan(record, [PlannedTrial(driver.trial_id(60), 0)])
    monkeypatch.setenv("ODD_PASSWORD", secret)
    monkeypatch.setenv("SORT_KEY", "written_at")  # no secret, but named like one
    for suffix in ("html", "md", "json"):
        text = open_store(arena.store).report(out=tmp_path / f"r.{suffix}", record=False).read_text("utf-8")
        assert "0123" not in text, suffix
        assert "ODD" in text, suffix
    assert "written_at" in json.loads(text)


@pytest.mark.skipif(CHROMIUM is None, reason="no browser on this machine")
def test_a_browser_executes_nothing_of_a_report(hostile_report: Path, tmp_path: Path) -> None:
    page = hostile_report.read_text(encoding="utf-8")
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', page)
    assert policy
    bare = f"<html><head>{{}}<title>calm</title></head><body>{PAYLOADS[1]}{PAYLOADS[0]}</body></html>"
    pages = {"report": page, "bare": bare.format(""), "policy": bare.format(policy[0])}
    titles = {name: _title(tmp_path / f"{name}.html", text) for name, text in pages.items()}
    assert titles["bare"] == "executed", "else this test could not see it"
    assert titles["policy"] == "calm", "should something slip through, the page's policy forbids it"
    assert titles["report"].startswith("Verdicts")


def _title(path: Path, text: str) -> str:
    """The title of a page once a browser has run what it runs."""
    path.write_text(text, encoding="utf-8")
    words = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    words += [f"--user-data-dir={path.parent / 'browser'}", path.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>(.*?)</title>", done.stdout)
    assert found, done.stdout[:500]
    return found[1]
