"""A hundred random kills on a Ray cluster of several nodes while it runs a study of 500 trials.

Two drivers run one plan on one store. Whenever a random number of packs has ended (0 to 10) and one runs, up
to thirty times in a row a worker, a driver or a whole node is ended by SIGKILL. Dead drivers are started
again and dead nodes replaced at once, and what dies on its way up is not spared. Then one more run ends what
is left. Prints one JSON line with

- ``kills``: by kind;
- ``studies``: stores that were filled; a further one is begun if the study ends before the kills do;
- ``lost``: attempts at trials that workers' deaths came to, packs they were in, and trials that had
  ``failed`` for good, since three workers died under them, and were run again with ``--retry-failed``;
- ``twice``: trials that were run to their end more than once;
- ``wall_s`` of all, and ``undisturbed_s``, which one process takes for one study.

It fails unless every planned trial is there exactly once in each, with the metric rows of the undisturbed run
equal to the last digit, and the claim's verdict is the same in every digit.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

sys.path.append(str(Path(__file__).parents[1] / "tests" / "fixtures"))

from _results import emit, parser
from answers import CROWD, TRIALS, answers
from cluster import RayCluster
from drivers import Drivers
from held import committed

from gradlaw.store.files import open_files
from gradlaw.store.leases import Leases

NODES, DRIVERS, STORE_BYTES = 3, 2, 80e6
KINDS = {"worker": 6, "driver": 3, "node": 2}
HOW: dict[str, Any] = {
    "preset": "long", "compile": "never", "width": 8, "checkpoint_s": 0.02, "flush_s": 0.2
}  # fmt: skip
PACKS, BURST, PAUSE_S, WAIT_S = 10, 30, 0.5, 60.0


class Storm:
    """A cluster, drivers that run one plan on one store of it, and what is killed of them.

    Attributes:
        stores: The store; a further one each time that the study ends before the kills do.
        kills: By kind.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self.stores, self.kills = folder, [folder / "store0"], Counter[str]()
        self._draw = random.Random(seed)
        self._servers = [Drivers(ray=True) for _ in range(DRIVERS)]
        self._running: dict[int, Drivers] = {}
        self._cluster = RayCluster(num_cpus=0, object_store_memory=STORE_BYTES)
        for _ in range(NODES):
            self._cluster.add_node(object_store_memory=STORE_BYTES)

    def rage(self, num_kills: int) -> None:
        """Kills so many times, then lets all end."""
        while self.kills.total() < num_kills:
            self._revive()
            self._await_packs(self._draw.randint(0, PACKS))
            for _ in range(self._draw.randint(1, min(BURST, num_kills - self.kills.total()))):
                time.sleep(self._draw.uniform(0.0, PAUSE_S))
                (kind,) = self._draw.choices(list(KINDS), list(KINDS.values()))
                self.kills[kind] += getattr(self, f"_kill_{kind}")()
                self._revive()
            print(dict(self.kills), num_done(self.stores[-1]), file=sys.stderr, flush=True)
            if num_done(self.stores[-1]) == TRIALS:
                self._end()
                self.stores.append(self._folder / f"store{len(self.stores)}")
        self._end()

    def close(self) -> None:
        for pid, server in self._running.items():
            server.kill(pid)
        for server in self._servers:
            server.close()
        self._cluster.close()

    def _document(self, **how: Any) -> dict[str, Any]:
        how = {**HOW, "launcher": "ray", "address": self._cluster.address, **how}
        return {"study": CROWD, "store": str(self.stores[-1]), "how": how}

    def _end(self) -> None:
        """Lets the drivers that live end, then runs what is left: trials that failed for good."""
        for pid, server in self._running.items():
            server.wait(pid)
        self._running.clear()
        if num_done(self.stores[-1]) < TRIALS:
            assert self._servers[0].run(**self._document(retry_failed=True)) == 0, self._servers[0].log

    def _revive(self) -> None:
        """Starts a driver in the place of each that is dead, or has ended."""
        for pid, server in list(self._running.items()):
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                server.wait(pid)
                del self._running[pid]
        for server in self._servers:
            if server not in self._running.values():
                self._running[server.start(**self._document())] = server

    def _await_packs(self, number: int) -> None:
        """Returns once so many packs more have ended and one runs; kills of what only starts meet none."""
        files, end = open_files(self.stores[-1]), time.monotonic() + WAIT_S
        enough = min(TRIALS, num_done(self.stores[-1]) + 8 * number)
        while time.monotonic() < end:
            if num_done(self.stores[-1]) >= enough and Leases(files).live():
                return
            time.sleep(0.5)

    def _kill_worker(self) -> int:
        descendants = psutil.Process(self._cluster.pid).children(recursive=True)
        found = [item for item in descendants if _is_worker(item)]
        if found:
            self._draw.choice(found).kill()
        return len(found[:1])

    def _kill_driver(self) -> int:
        """Kills one of the drivers, of which there is one at least."""
        pid = self._draw.choice(list(self._running))
        return int(self._running.pop(pid).kill(pid) < 0)

    def _kill_node(self) -> int:
        self._cluster.kill_node(self._draw.randrange(NODES))
        self._cluster.add_node(object_store_memory=STORE_BYTES)
        return 1


def _is_worker(process: psutil.Process) -> bool:
    """Whether it runs packs, or is about to."""
    try:
        title = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return title.startswith("ray::") and ("Trainable" in title or "IDLE" in title)


def num_done(store: Path) -> int:
    """Trials that have ended."""
    rows = committed(store) if (store / "store.json").exists() else []
    return len({row["trial_id"] for row in rows if row["state"] == "done"})


def counts(stores: Sequence[Path]) -> dict[str, Any]:
    """What the kills came to, in all stores together."""
    states, again, packs = Counter[str](), 0, 0
    for store in stores:
        rows = committed(store)
        states.update(row["state"] for row in rows)
        done = [row for row in rows if row["state"] == "done"]
        again += len(done) - TRIALS
        packs += len({row["pack_id"] for row in rows if row["state"] == "lost"})
    return {
        "lost": {"attempts": states["lost"], "packs": packs, "failed": states["failed"]},
        "twice": again,
    }


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--seed", type=int, default=6, help="of the kinds and moments of the kills")
    arguments = made.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    storm = Storm(folder, arguments.seed)
    try:
        started = time.perf_counter()
        storm.rage(5 if arguments.quick else 100)
        wall_s = time.perf_counter() - started
    finally:
        storm.close()
    server, undisturbed = Drivers(), folder / "undisturbed"
    started = time.perf_counter()
    assert server.run(study=CROWD, store=str(undisturbed), how=HOW) == 0
    undisturbed_s = time.perf_counter() - started
    server.close()
    expected = answers(undisturbed)
    expected.check(steps=150)
    for store in storm.stores:
        assert answers(store) == expected, store
    record = {"benchmark": "kills", "trials": TRIALS, "studies": len(storm.stores), "nodes": NODES}
    record |= {"drivers": DRIVERS, "kills": dict(storm.kills), **counts(storm.stores)}
    record |= {"wall_s": round(wall_s, 1), "undisturbed_s": round(undisturbed_s, 1), "seed": arguments.seed}
    emit(record, keep=arguments.keep)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
