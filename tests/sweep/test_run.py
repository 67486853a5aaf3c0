"""A sweep from the command line to the report: what is said, what is written, what is made of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import gradlaw
from gradlaw.cli import main
from gradlaw.errors import UsageError
from gradlaw.planning.dry_run import describe_plan, estimate_disk
from gradlaw.store.store import Store
from gradlaw.studies import SweepFile, find_study
from gradlaw.sweep.plan import plan_sweep
from gradlaw_analysis import open_store

Write = Callable[[str], Path]
SMALL = """\
name: small_one
task: digits_softmax
grid: {lr: [1e-2, 1e-1], batch_size: [4, 8]}
where: not (lr == 0.1 and batch_size == 4)
steps: 30
seeds: 2
probes: [full_loss]
"""


@pytest.fixture
def small(sweep_file: Write) -> Path:
    return sweep_file(SMALL)


def test_a_file_is_found_as_a_study_without_claims(small: Path) -> None:
    found = find_study(small)
    assert isinstance(found, SweepFile)
    assert (found.name, found.study.name, found.claims, found.figures) == ("small_one", "small_one", (), ())
    with pytest.raises(UsageError, match="there is no such file; name the file of a sweep"):
        find_study(small.with_name("other.yaml"))


NAMED = """
import sys
from gradlaw.studies import find_study

print(find_study(sys.argv[1]).name, "torch" in sys.modules)
"""


def test_its_name_needs_no_torch(small: Path) -> None:
    command = [sys.executable, "-c", NAMED, str(small)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["small_one", "False"]


def test_from_the_file_to_the_report(small: Path, tmp_path: Path) -> None:
    store, lines = tmp_path / "store", list[str]()
    summary = gradlaw.run(small, store=store, say=lines.append)
    assert summary.states == {"done": 6}
    assert lines[0].endswith("6 trials, 0 in the store, 6 to run in 2 packs")
    assert lines[1] == "1 of 4 combinations left out by where"
    opened = open_store(store)
    assert str(opened.status()).startswith(
        f"small_one, plan {summary.plan_id} (explore)\n  trials  6 of 6: 6 done"
    )
    counts = opened.sql(
        "SELECT batch_size, count(*) AS n FROM trials WHERE study = 'small_one' GROUP BY ALL ORDER BY 1"
    )
    assert counts.to_numpy().tolist() == [[4, 2], [8, 4]]
    assert opened.verdicts() == opened.verdicts([small]) == []
    for out in ("report.html", "report.md"):
        text = opened.report(out=tmp_path / out).read_text()
        for said in (
            "small_one",
            summary.plan_id,
            "6 of 6",
            "6 done",
            "It declares no claims",
            "1000000-1000001",
        ):
            assert said in text
    report = json.loads(opened.report(out=tmp_path / "report.json").read_text())
    (study,) = report["studies"]
    assert (study["study"], study["verdicts"], study["states"]) == ("small_one", [], {"done": 6})


def test_without_its_folder_only_a_study_with_claims_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    studies = Path(__file__).parents[1] / "fixtures" / "studies"
    gradlaw.run(studies / "tiny", preset="smoke", store=tmp_path)
    gradlaw.run(studies / "claimed", preset="demo", seeds=1, explore=True, store=tmp_path)
    text = open_store(tmp_path).report(out=tmp_path / "report.md").read_text()
    assert "## tiny" in text
    assert "## claimed" not in text
    (record,) = caplog.records
    assert record.getMessage().startswith("left out: unknown study 'claimed'")


def test_what_a_dry_run_says_is_what_a_run_writes(small: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    said = describe_plan(small, preset=None, set={}, seeds=None, store=store, explore=False)
    assert said[0].endswith(" (explore): 6 trials, 2 seeds")
    assert said[1:4] == [
        "to run: 6 trials in 2 packs, 180 trial-steps",
        "skipped: 0",
        "1 of 4 combinations left out by where",
    ]
    assert said[4].startswith("disk: 186 rows of metrics with up to 5 numbers, about ")
    assert not store.exists()
    gradlaw.run(small, store=store)
    assert len(open_store(store).sql("SELECT * FROM metrics")) == 186
    written = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    estimated = estimate_disk(plan_sweep(small)[0].packs).size_bytes
    assert written / 1.5 < estimated < written * 1.5
    again = describe_plan(small, preset=None, set={}, seeds=None, store=store, explore=False)
    assert again[1] == "to run: 0 trials in 0 packs, 0 trial-steps"
    assert Store.open(store).index()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--dry-run", "--set", "steps=3,lr=[0.1,1e-2]"], 0, "to run: 6 trials in 2 packs, 18 trial-steps"),
        (
            ["--dry-run", "--set", "lr=-1", "--seeds", "0"],
            2,
            "error: 2 faults:\n  command line: seeds: got 0",
        ),
        (["--preset", "demo"], 2, "unknown preset of study small_one 'demo'; known: sweep"),
    ],
)
def test_the_command(
    small: Path, words: list[str], code: int, said: str, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(small.parent)
    monkeypatch.setattr("sys.argv", ["gradlaw", "run", small.name, "--launcher", "inline", *words])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capfd.readouterr()
    assert int(end.value.code or 0) == code, err
    assert said in (err if code else out)
    assert "Traceback" not in err
    assert list(small.parent.iterdir()) == [small]
