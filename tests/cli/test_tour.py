"""The command line as a user meets it: in a process of its own, from a folder of one's own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TINY = Path(__file__).parents[1] / "fixtures" / "studies" / "tiny"


def gradlaw(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a folder."""
    command = [sys.executable, "-m", "gradlaw.cli", *arguments]
    alone = {**os.environ, "RAY_ADDRESS": "local"}  # no cluster that another test holds
    return subprocess.run(
        command, cwd=folder, env=alone, capture_output=True, text=True, timeout=300, check=False
    )


NOTEBOOK = """
import gradlaw
from gradlaw_analysis import open_store

for seeds in (1, 2):
    summary = gradlaw.run({study!r}, preset="smoke", store="results", seeds=seeds)
    print(summary.trials_run, len(open_store("results").sql("SELECT * FROM trials")))
"""


def test_a_notebook_runs_again_what_it_ran(tmp_path: Path) -> None:
    text = NOTEBOOK.format(study=str(TINY))
    ran = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert ran.stdout.splitlines() == ["2 2", "2 4"], ran.stderr


@pytest.mark.slow
def test_ray_fills_a_store_named_relative_to_where_one_stands(tmp_path: Path) -> None:
    """And writes on stderr alone, nothing of Ray's own among it."""
    ran = gradlaw(tmp_path, "run", str(TINY), "--preset", "smoke", "--store", "results")
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    lines = ran.stderr.splitlines()
    assert lines[0].endswith("2 trials, 0 in the store, 2 to run in 1 packs")
    assert "2 done" in lines[-1]
    assert all("trials" in line or line.startswith("note: waiting") for line in lines[:-1]), lines
    asked = gradlaw(
        tmp_path, "sql", "SELECT state, count(*) AS n FROM trials GROUP BY ALL", "--format", "json",
        "--store", "results",
    )  # fmt: skip
    assert json.loads(asked.stdout) == [{"state": "done", "n": 2}]
