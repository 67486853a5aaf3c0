"""Dependencies: every one pinned exactly, and the audit of the pins can be run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def test_every_constraint_is_one_exact_version() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    assert len(pins) > 50
    loose = [str(pin) for pin in pins if not re.fullmatch(r"===?[^*,<>~!]+", str(pin.specifier)) or pin.url]
    assert loose == []
    names = [re.sub(r"[-_.]+", "-", pin.name).lower() for pin in pins]
    assert len(set(names)) == len(names)
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    required = re.search(r"\ndependencies = \[(.*?)\n\]", declared, flags=re.DOTALL)
    assert required
    for text in re.findall(r'"([^"]+)"', required[1]):
        assert Requirement(text).name in names


def test_the_audit_of_the_makefile_reads_every_pin() -> None:
    """Without the advisory service: what it would ask about is said by a dry run."""
    [line] = re.findall(r"^\t\$\(BIN\)/pip-audit (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    words = [str(Path(sys.executable).with_name("pip-audit")), *shlex.split(line), "--dry-run"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = re.search(r"would have audited (\d+) packages", done.stdout + done.stderr)
    assert found, done.stderr
    pins = [
        text
        for text in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if text.strip() and not text.startswith("#")
    ]
    assert int(found[1]) == len(pins)
