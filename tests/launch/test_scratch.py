"""Folders for the time of a run: gone at its end; a killed one's go with the next, once nobody uses them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gradlaw.launch.scratch import OWNER, remove_abandoned, scratch

PREFIX = "gradlaw-ray-"
HOLDS = """
import sys
from pathlib import Path
from gradlaw.launch.scratch import scratch
with scratch(sys.argv[1], sys.argv[2]) as folder:
    Path(folder, "deep").mkdir()
    Path(folder, "deep", "log").write_text("some")
    print(folder, flush=True)
    sys.stdin.read()
"""
OPENS = "import sys; file = open(input()); print(flush=True); sys.stdin.read()"
WORKS_THERE = "import os, sys; os.chdir(os.path.dirname(input())); print(flush=True); sys.stdin.read()"
IS_NAMED = "import sys; input(); print(flush=True); sys.stdin.read()"

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python with a script; it lives until it is killed, or its input ends."""
    begun: list[subprocess.Popen[str]] = []

    def run(script: str, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", script, *words]
        begun.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return begun[-1]

    yield run
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def held(start: Start, tmp_path: Path) -> tuple[Path, subprocess.Popen[str]]:
    """A folder, and the living process that it belongs to."""
    process = start(HOLDS, PREFIX, str(tmp_path))
    assert process.stdout
    folder = Path(process.stdout.readline().strip()).parent
    assert folder.parent == tmp_path
    assert (folder / OWNER).is_file()
    return folder, process


@pytest.fixture
def abandoned(held: tuple[Path, subprocess.Popen[str]]) -> Path:
    """What a killed process left."""
    folder, process = held
    process.send_signal(signal.SIGKILL)
    process.wait()
    return folder


def test_it_is_gone_at_the_end_whatever_happens(tmp_path: Path) -> None:
    def interrupted() -> None:
        with scratch(PREFIX, str(tmp_path)) as folder:
            Path(folder, "file").touch()
            assert len(list(tmp_path.glob(f"{PREFIX}*/*/file"))) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next(abandoned: Path, tmp_path: Path) -> None:
    with scratch("gradlaw-tune-", str(tmp_path)):
        assert abandoned.exists(), "it is of another kind"
    with scratch(PREFIX, str(tmp_path)):
        assert not abandoned.exists()


def test_that_of_a_process_that_is_killed_but_not_waited_for_goes_too(
    held: tuple[Path, subprocess.Popen[str]], tmp_path: Path
) -> None:
    folder, process = held
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    remove_abandoned(PREFIX, str(tmp_path))
    assert not folder.exists()


def test_that_of_a_living_process_stays(held: tuple[Path, subprocess.Popen[str]], tmp_path: Path) -> None:
    folder, process = held
    with scratch(PREFIX, str(tmp_path)):
        remove_abandoned(PREFIX, str(tmp_path))
    assert (folder / "r" / "deep" / "log").read_text() == "some"
    process.communicate()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", [OPENS, WORKS_THERE, IS_NAMED])
def test_it_stays_while_a_process_that_outlives_its_owner_uses_it(
    script: str, start: Start, abandoned: Path, tmp_path: Path
) -> None:
    """Ray's services name it; its workers, whose command is a title, have their log open."""
    log = str(abandoned / "r" / "deep" / "log")
    user = start(script, *([f"--log={log}"] if script == IS_NAMED else []))
    assert user.stdin
    assert user.stdout
    user.stdin.write(f"{log}\n")
    user.stdin.flush()
    assert user.stdout.readline() == "\n"
    remove_abandoned(PREFIX, str(tmp_path))
    assert Path(log).read_text() == "some"
    user.communicate()
    remove_abandoned(PREFIX, str(tmp_path))
    assert not abandoned.exists()


def _not_this_boot(folder: Path) -> None:
    _rewritten(folder, boot_id="another")


def _another_machine(folder: Path) -> None:
    _rewritten(folder, host="elsewhere")


def _nobody(folder: Path) -> None:
    (folder / OWNER).unlink()


def _torn(folder: Path) -> None:
    (folder / OWNER).write_text("{")


def _strange(folder: Path) -> None:
    _rewritten(folder, pid="1")


def _open_to_others(folder: Path) -> None:
    folder.chmod(0o777)


def _of_another_user(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives folders away")
    os.chown(folder, 12345, 12345)


def _a_link(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")


def _rewritten(folder: Path, **values: object) -> None:
    owner = json.loads((folder / OWNER).read_text())
    (folder / OWNER).write_text(json.dumps(owner | values))


@pytest.mark.parametrize(
    "change",
    [
        *(_not_this_boot, _another_machine, _nobody, _torn, _strange),
        *(_open_to_others, _of_another_user, _a_link),
    ],
)
def test_what_is_not_certain_stays(change: Callable[[Path], None], abandoned: Path, tmp_path: Path) -> None:
    change(abandoned)
    remove_abandoned(PREFIX, str(tmp_path))
    assert (abandoned / "r" / "deep" / "log").read_text() == "some"
