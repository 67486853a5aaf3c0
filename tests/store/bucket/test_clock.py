"""A machine whose clock jumps deletes nothing that is alive: ages are by the clock that stamps the files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gradlaw.store.compaction import compact
from gradlaw.store.store import Store

DAY_S = 86_400.0
SWEEPS = """
import sys, time
clock, jump = time.time, float(sys.argv[2])
time.time = lambda: clock() + jump
from gradlaw.store.checkpoints import sweep_checkpoints
from gradlaw.store.compaction import compact
from gradlaw.store.store import Store
from gradlaw.store.writer import sweep_live
store = Store.open(sys.argv[1])
print(compact(store).deleted, sweep_live(store.files), sweep_checkpoints(store.files, store.index()))
"""


def left(store: Store) -> set[str]:
    return {key for key in store.files.scan() if not key.startswith("_generations/")}


@pytest.mark.parametrize(
    ("kind", "jump_s"), [("disk", -10 * DAY_S), ("disk", 10 * DAY_S), ("bucket", 10 * DAY_S)]
)
def test_a_clock_that_jumps_deletes_nothing_that_is_alive(
    kind: str, jump_s: float, request: pytest.FixtureRequest, tmp_path: Path, driver: ModuleType
) -> None:
    """A writer is at its pack, with live parts and a file half written, while another machine sweeps."""
    store = Store.create(tmp_path / "store" if kind == "disk" else request.getfixturevalue("address"))
    for number in range(3):
        driver.write_pack(store, f"p{number}", [number])
        compact(store)  # what the third leaves as replaced is young
    store.files.create("_checkpoints/q-0-0.safetensors", b"tensors of a checkpoint being written")
    with store.writer("toy", "q", tables=(driver.METRICS, driver.NOISE)) as writer:
        driver.fill(writer, [7])
        with store.files.sink() as sink:
            sink.write(b"half of a file")
            sink.flush()
            before = left(store)
            assert any(key.startswith("_live/") for key in before)
            arguments = [sys.executable, "-c", SWEEPS, store.path, str(jump_s)]
            done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
            assert (done.returncode, done.stdout.split()) == (0, ["0", "0", "0"]), done.stderr
            assert left(store) == before
            assert sink.publish("whole")
        writer.commit([driver.row(7)])
    assert len(store.index()) == 4
    assert store.resolve().set_aside == ()


@pytest.mark.parametrize("kind", ["past", "future"])
def test_a_server_whose_clock_is_elsewhere(kind: str, tmp_path: Path, driver: ModuleType) -> None:
    """On a shared disk the files carry the server's time, which may be far from this machine's."""
    store = Store.create(tmp_path / "store")
    for number in range(3):
        driver.write_pack(store, f"p{number}", [number], flush=True)
        compact(store)
    shift_s = -10 * DAY_S if kind == "past" else 10 * DAY_S
    now = store.files.now
    for path in (tmp_path / "store").rglob("*"):
        status = path.stat()
        os.utime(path, (status.st_atime, status.st_mtime + shift_s))
    with pytest.MonkeyPatch.context() as patched:  # the server stamps a new file by its own clock
        patched.setattr(store.files, "now", lambda: now() + shift_s)
        before = left(store)
        driver.write_pack(store, "p3", [3])
        assert compact(store).deleted == 0
        assert before <= left(store)
    assert len(store.index()) == 4
