"""Checks of machine, token and clocks: every one that can fail, failing."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from gradlaw.cli import app
from gradlaw.doctor import cluster, devices, examine, software, torch_facts
from gradlaw.doctor.examine import CHECKS, Examined
from gradlaw.doctor.finding import ExaminationError, Finding, Subject, in_child
from gradlaw.errors import ConfigurationError, UsageError

HERE = Subject()
CANARY = "canary-of-a-token"


def _of(name: str, subject: Subject = HERE) -> list[Examined]:
    return list(examine.examine(subject, [name]))


def _levels(found: list[Examined]) -> list[str]:
    return [line.level for line in found]


def test_the_software_at_hand_will_do() -> None:
    assert _levels(_of("python")) == ["ok"]
    assert _levels(_of("packages")) == ["ok"]


def test_packages_that_lack_or_do_not_fit_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=99", "no-such-package>=1", "also-none; extra == 'dev'", "torch>=2", "a b c"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: wanted)
    found = _of("packages")
    assert _levels(found) == ["fail", "fail", "fail", "ok"]
    numpy, lacking, garbled, _ = found
    assert "allowed >=99" in numpy.found
    assert lacking.remedy == "pip install 'no-such-package>=1'"
    assert "'a b c'" in garbled.found


def test_a_python_out_of_range_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: {"Requires-Python": ">=3.99"})
    (found,) = _of("python")
    assert found.level == "fail"
    assert "allowed >=3.99" in found.found


@pytest.mark.parametrize(
    ("limit", "level", "code"), [("-S -n 8192", "ok", 0), ("-S -n 4096", "warn", 0), ("-n 512", "fail", 1)]
)
def test_open_files(limit: str, level: str, code: int) -> None:
    """The real limit of a real process, and the command's exit code."""
    words = [sys.executable, "-m", "gradlaw.cli", "doctor", "--only", "open files", "--format", "json"]
    ended = subprocess.run(
        ["bash", "-c", f'ulimit {limit} && exec "$@"', "bash", *words], capture_output=True, text=True
    )
    (found,) = json.loads(ended.stdout)
    assert (found["level"], ended.returncode) == (level, code)
    assert ("ulimit -n" in found["remedy"]) == (level != "ok")


def test_places_of_ray_that_are_small_or_full(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"total": 100 * 2**30, "free": 2**29})
    monkeypatch.setattr(software.shutil, "disk_usage", lambda folder: usage)
    for name in ("shared memory", "temporary"):
        (found,) = _of(name)
        assert found.level == "warn"
        assert "0.5 of 100.0 GiB free" in found.found
    monkeypatch.undo()
    assert _levels(_of("shared memory")) == ["ok"]


@pytest.fixture
def open_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that others may enter, and no token but one in it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(folder / "token"))
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        yield folder


@pytest.mark.parametrize(
    ("content", "mode", "level", "remedy"),
    [
        (CANARY, 0o600, "ok", ""),
        (CANARY, 0o400, "ok", ""),
        (CANARY, 0o644, "fail", "chmod 600"),
        (CANARY, 0o640, "fail", "chmod 600"),
        (" \n", 0o600, "fail", "rm "),
    ],
)
def test_a_token_that_others_can_read_or_an_empty_one_fails(
    content: str, mode: int, level: str, remedy: str, open_folder: Path
) -> None:
    (open_folder / "token").write_text(content)
    (open_folder / "token").chmod(mode)
    (found,) = _of("token")
    assert found.level == level
    assert found.remedy.startswith(remedy)
    assert CANARY not in str(found)


def test_a_token_in_a_folder_that_is_shut_is_a_warning(open_folder: Path) -> None:
    (open_folder / "token").write_text(CANARY)
    (open_folder / "token").chmod(0o644)
    open_folder.chmod(0o700)
    assert _levels(_of("token")) == ["warn"]


def test_other_tokens(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "none yet" in _of("token")[0].found
    (open_folder / "token").mkdir()
    assert _levels(_of("token")) == ["fail"]
    monkeypatch.setenv("RAY_AUTH_TOKEN", CANARY)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    off, there = _of("token")
    assert (off.level, off.remedy) == ("warn", "unset RAY_AUTH_MODE")
    assert there.level == "ok"
    assert CANARY not in str((off, there))
    monkeypatch.setenv("RAY_AUTH_MODE", "off")
    assert _levels(_of("token")) == ["fail", "ok"]


@pytest.mark.slow
def test_without_a_compiler_packs_run_eagerly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    (found,) = _of("compiler")
    assert found.level == "warn"
    assert "packs run eagerly" in found.found
    assert "g++" in found.remedy


@pytest.mark.slow
def test_gpus_that_the_driver_has_and_torch_does_not_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\necho 550.54.15\necho 550.54.15\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = _of("gpus")[-1]
    assert found.level in ("fail", "warn")
    assert "the driver has 2 and torch" in found.found


@pytest.mark.parametrize(("hidden", "level"), [("0", "warn"), (None, "fail")])
def test_gpus_that_are_hidden_are_told_from_those_that_torch_cannot_use(
    hidden: str | None, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {"gpus": [], "torch": "2.13", "cuda": "13.0"}
    monkeypatch.setattr(devices, "in_child", lambda *words, limit_s: facts)
    monkeypatch.setattr(devices, "_driver", lambda: ["550.54.15"] * 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    (found,) = _of("gpus")
    assert (found.level, "CUDA_VISIBLE_DEVICES" in found.remedy) == (level, hidden is not None)


def test_a_driver_too_old_for_torch_is_told_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts GPUs that it cannot touch."""

    def touched(number: int) -> None:
        msg = "The NVIDIA driver on your system is too old (found version 11040).\nPlease update it."
        raise RuntimeError(msg)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", touched)
    (gpu,) = torch_facts._kernels()["gpus"]
    assert gpu["cause"] == "The NVIDIA driver on your system is too old (found version 11040)."


def test_gpus_that_compute_wrongly_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch says of them is made up: there is no broken GPU to try."""
    good = {"name": "A", "bytes": 80 * 2**30, "cause": ""}
    bad = {"name": "B", "bytes": 80 * 2**30, "cause": "no kernel image is available"}
    facts = {"gpus": [good, bad], "torch": "2.13", "cuda": "12.8"}
    monkeypatch.setattr(devices, "in_child", lambda *words, limit_s: facts)
    monkeypatch.setattr(devices, "_driver", lambda: ["550.54.15"] * 2)
    first, second = _of("gpus")
    assert (first.level, second.level) == ("ok", "fail")
    assert "80 GiB" in first.found
    assert "no kernel image" in second.found

    def crash(*words: str, limit_s: float) -> dict[str, Any]:
        msg = "exit code -11: it said nothing"
        raise ExaminationError(msg)

    monkeypatch.setattr(devices, "in_child", crash)
    assert _levels(_of("gpus")) == ["fail"]


def _with_nodes(*nodes: dict[str, Any], wanted: int = 1) -> Subject:
    """A look at a cluster whose facts are made up."""
    subject = Subject(address="h:1", nodes=wanted)
    facts = {"started_s": 1.0, "mode": "token", "version": "2.60.0", "nodes": list(nodes)}
    subject.__dict__["looked"] = facts
    return subject


def _node(host: str, ahead_s: float = 0.0, **versions: str) -> dict[str, Any]:
    held = {"python": "3.11.7", "ray": "2.60.0", "torch": "2.13.0", "gradlaw": "0.1.0"} | versions
    return {
        "address": host,
        "resources": {"CPU": 8.0, "GPU": 1.0},
        "host": host,
        "versions": held,
        "ahead_s": ahead_s,
        "within_s": 0.01,
    }


def test_nodes_that_do_not_fit_together() -> None:
    assert _levels(_of("nodes", _with_nodes(_node("a"), _node("b"), wanted=2))) == ["ok"]
    mute = {"address": "10.0.0.7", "resources": {"CPU": 8.0}}
    found = _of("nodes", _with_nodes(_node("a"), _node("b", ray="2.59.0", torch="2.12.0"), mute, wanted=4))
    assert _levels(found) == ["fail", "fail", "fail", "warn"]
    few, silent, ray, torch = (line.found for line in found)
    assert few == "3 of 4 joined (24 CPUs, 2 GPUs)"
    assert silent == "no answer from 10.0.0.7"
    assert ray == "ray: 2.60.0 on a; 2.59.0 on b"
    assert torch == "torch: 2.13.0 on a; 2.12.0 on b"


@pytest.mark.parametrize(
    ("ahead_s", "level"), [(0.5, "ok"), (-4.9, "ok"), (-30.0, "warn"), (299.0, "warn"), (-3600.0, "fail")]
)
def test_clocks_of_nodes(ahead_s: float, level: str) -> None:
    (found,) = _of("node clocks", _with_nodes(_node("a"), _node("b", ahead_s), _node("c", 0.1)))
    assert found.level == level
    if level != "ok":
        assert found.found == (
            f"the clock of b is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this one"
        )


def test_a_distance_that_the_way_there_explains_is_none() -> None:
    assert cluster.skew("it", 8.0, 4.0).level == "ok"
    assert cluster.skew("it", 8.0, 2.0).level == "warn"


def test_nobody_at_the_address_is_told_at_once() -> None:
    subject = Subject(address="127.0.0.1:1")
    started = time.monotonic()
    ray, nodes = (_of(name, subject)[0] for name in ("ray", "nodes"))
    assert time.monotonic() - started < 300, "Ray would try for much longer"
    assert (ray.level, nodes.level) == ("fail", "fail")
    assert "nobody listens at 127.0.0.1:1" in ray.found
    assert "is the head up" in ray.remedy


@pytest.mark.parametrize(
    ("cause", "remedy"),
    [
        ("Authentication failed: Unauthenticated: invalid token", "the cluster's own token"),
        ("Version mismatch: The cluster was started with Ray: 2.59.0", "the same Ray and Python"),
    ],
)
def test_why_a_cluster_cannot_be_joined(
    cause: str, remedy: str, monkeypatch: pytest.MonkeyPatch, open_folder: Path
) -> None:
    def broken(*words: str, limit_s: float) -> dict[str, Any]:
        raise ExaminationError(cause)

    monkeypatch.setattr("gradlaw.doctor.finding.in_child", broken)
    (found,) = _of("ray", Subject(address="h:1"))
    assert found.level == "fail"
    assert remedy in found.remedy


def test_a_child_that_crashes_hangs_or_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crashes.py").write_text("import os; os.kill(os.getpid(), 11)\n")
    (tmp_path / "hangs.py").write_text("import time; time.sleep(60)\n")
    (tmp_path / "raises.py").write_text("raise OSError('no driver')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ExaminationError, match="exit code -11: it said nothing"):
        in_child("crashes", limit_s=300)
    with pytest.raises(ExaminationError, match="exit code 1: OSError: no driver"):
        in_child("raises", limit_s=300)
    with pytest.raises(ExaminationError, match="no answer within 1 s"):
        in_child("hangs", limit_s=1)


def test_a_check_that_hangs_or_breaks_is_a_line_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(_: Subject) -> Iterator[Finding]:
        time.sleep(30)
        yield Finding("ok", "never said")

    def breaks(_: Subject) -> Iterator[Finding]:
        yield Finding("ok", "half of it")
        msg = "unforeseen"
        raise LookupError(msg)

    monkeypatch.setattr(examine, "CHECKS", {"hangs": hangs, "breaks": breaks, "python": CHECKS["python"]})
    monkeypatch.setattr(examine, "QUIET_S", 0.1)
    said: list[str] = []
    found = list(examine.examine(HERE, limit_s=2.0, say=said.append))
    assert said[0] == "hangs: still looking, for 2 s at most"
    assert [(line.check, line.level) for line in found] == [
        ("hangs", "fail"),
        ("breaks", "ok"),
        ("breaks", "fail"),
        ("python", "ok"),
    ]
    assert found[0].found == "no answer within 2 s"
    assert found[2].found == "LookupError: unforeseen"


def test_impossible_subjects_and_unknown_checks_are_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        list(examine.examine(Subject(nodes=0, wait_s=-1.0), ["pyton"]))
    nodes, wait, name = caught.value.faults
    assert nodes == "--nodes: got 0, allowed >= 1"
    assert wait == "--wait-s: got -1, allowed >= 0 and finite"
    assert "did you mean 'python'?" in name
    with pytest.raises(UsageError, match="got 2 and no --address"):
        list(examine.examine(Subject(nodes=2)))


def test_the_text_is_one_line_a_finding_and_its_remedy(open_folder: Path) -> None:
    (open_folder / "token").write_text("")
    (open_folder / "token").chmod(0o600)
    result = CliRunner().invoke(app, ["doctor", "--only", "token", "--only", "python"])
    python, token, remedy = result.stdout.splitlines()
    assert python.split() == ["ok", "python", sys.version.split()[0]]
    assert token.startswith("fail ")
    assert remedy.strip() == f"-> rm {open_folder / 'token'}: a run makes a new one"
    assert result.exit_code == 1
