"""One arm of a sweep in a process of its own; prints, as its last line, when it reached what, as JSON.

Run by ``sweep.py``. Times are seconds since the epoch, because several processes tell them.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

STEPS, LOG_EVERY = 200, 20
_LRS = tuple(round(0.001 * 1.5**k, 6) for k in range(10))
_DECAYS = (0.0, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
_LOCAL = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}

_STUDY = '''"""A sweep of modular addition, made for a benchmark."""

from gradlaw.rules.adam import Adam
from gradlaw.study import Grid, Preset, Study
from gradlaw.tasks.modular_addition import ModularAddition

GRID = Grid(task=ModularAddition, rule=Adam, values={values}, steps={steps}, log_every={log_every},
            pack_width={pack_width})
STUDY = Study(
    name="{name}",
    question="How long does a sweep take?",
    source="benchmarks",
    presets={{"demo": Preset(doc="the sweep", grids=(GRID,), seeds={seeds}, decides=False)}},
)
'''


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """lr x weight decay x seed of modular addition by Adam.

    Attributes:
        modulus, width: Sizes of the task.
        num_lrs, num_decays, seeds: Lengths of the axes.
        folder: For all that the arm writes.
    """

    modulus: int
    width: int
    num_lrs: int
    num_decays: int
    seeds: int
    folder: str

    @property
    def trials(self) -> int:
        """Number of trials."""
        return self.num_lrs * self.num_decays * self.seeds

    def configurations(self) -> Iterator[dict[str, float | int]]:
        """Every trial's lr, weight_decay and seed."""
        for seed, lr, decay in itertools.product(
            range(self.seeds), _LRS[: self.num_lrs], _DECAYS[: self.num_decays]
        ):
            yield {"lr": lr, "weight_decay": decay, "seed": seed}

    def write_study(self) -> Path:
        """The study's folder, whose trials make eight packs of one size."""
        path = Path(self.folder) / "sweep_benchmark"
        path.mkdir(parents=True, exist_ok=True)
        values = {
            "modulus": self.modulus,
            "width": self.width,
            "lr": _LRS[: self.num_lrs],
            "weight_decay": _DECAYS[: self.num_decays],
        }
        text = _STUDY.format(
            name=path.name,
            values=values,
            steps=STEPS,
            log_every=LOG_EVERY,
            pack_width=max(1, self.trials // 8),
            seeds=self.seeds,
        )
        (path / "study.py").write_text(text, encoding="utf-8")
        return path


Marks = dict[str, float]


def gradlaw_cold(sweep: Sweep) -> Marks:
    """A new store by a new local cluster, which this run starts and ends."""
    return _run_study(sweep, "store", launcher="ray")


def gradlaw_warm(sweep: Sweep) -> Marks:
    """A new store on a running cluster that has run the same sweep before, compiled."""
    import ray

    ray.init(address="local", **_LOCAL)
    _run_study(sweep, "warm_up", launcher="ray", compile="always")
    marks = _run_study(sweep, "store", launcher="ray")
    ray.shutdown()
    return marks


def gradlaw_inline(sweep: Sweep) -> Marks:
    """A new store by this process alone, on one thread; compilation and commits are timed inside."""
    from torch._dynamo.utils import compilation_time_metrics

    from gradlaw.store.writer import PackWriter

    commit, spent = PackWriter.commit, [0.0]

    def timed(writer: PackWriter, *arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return commit(writer, *arguments, **named)
        finally:
            spent[0] += time.perf_counter() - started

    PackWriter.commit = timed  # type: ignore[method-assign]  # to see what a worker spends there
    marks = _run_study(sweep, "store", launcher="inline")
    compile_s = sum(compilation_time_metrics.get("create_aot_dispatcher_function", ()))
    return {**marks, "commit_s": spent[0], "compile_s": compile_s, "workers": 1}


def _run_study(sweep: Sweep, store: str, **options: Any) -> Marks:
    from gradlaw.running.runner import run

    began = time.time()
    path = Path(sweep.folder) / store
    summary = run(sweep.write_study(), store=path, **options)
    finished = time.time()
    if summary.states != {"done": sweep.trials}:
        msg = f"got {summary.states}, expected {sweep.trials} trials done"
        raise SystemExit(msg)
    return {"began": began, "finished": finished, "workers": os.cpu_count() or 1, **_store_marks(path)}


def _store_marks(store: Path) -> Marks:
    """First start, last commit, and seconds of training, from what the packs committed."""
    import pyarrow.parquet as pq

    files = list((store / "trials").rglob("*.parquet"))
    tables = [pq.read_table(file, columns=["started_at", "wall_s"], partitioning=None) for file in files]
    starts = [table["started_at"][0].value / 1e6 for table in tables]
    train = [sum(table["wall_s"].to_pylist()) for table in tables]
    commits = [file.stat().st_mtime for file in files]
    whole = sum(end - start for start, end in zip(starts, commits, strict=True))
    return {
        "started": min(starts),
        "committed": max(commits),
        "train_s": sum(train),
        "beside_training_s": whole - sum(train),
        "packs": len(files),
    }


def ray_tune_cold(sweep: Sweep) -> Marks:
    """One Tune trial a configuration, on a cluster that this run starts and ends."""
    return _tune(sweep, "tune")


def ray_tune_warm(sweep: Sweep) -> Marks:
    """The same on a running cluster that has run a few such trials before."""
    import ray

    ray.init(address="local", **_LOCAL)
    _tune(Sweep(**{**asdict(sweep), "num_lrs": 4, "num_decays": 1, "seeds": 1}), "warm_up")
    marks = _tune(sweep, "tune")
    ray.shutdown()
    return marks


def _tune(sweep: Sweep, name: str) -> Marks:
    began = time.time()
    from _sweep_tune import tune_sweep

    marks = tune_sweep(sweep, Path(sweep.folder) / name)
    return {"began": began, **marks, "finished": time.time(), "workers": os.cpu_count() or 1}


def plain_loop(sweep: Sweep) -> Marks:
    """One trial after the other by ``torch.optim``, the losses written to one Parquet file at the end."""
    began = time.time()
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch
    from _sweep_plain import PlainTrial

    torch.set_num_threads(1)
    started, rows = time.time(), []
    for configuration in sweep.configurations():
        trial = PlainTrial(sweep.modulus, sweep.width, **configuration)
        for _ in range(STEPS // LOG_EVERY):
            step, loss = trial.step, trial.advance(LOG_EVERY)
            rows.append({**configuration, "step": step, "loss": loss})
    trained = time.time()
    pq.write_table(pa.Table.from_pylist(rows), Path(sweep.folder) / "losses.parquet", compression="zstd")
    committed = time.time()
    return {
        "began": began,
        "started": started,
        "train_s": trained - started,
        "commit_s": committed - trained,
        "committed": committed,
        "finished": time.time(),
        "workers": 1,
    }


ARMS: Mapping[str, Callable[[Sweep], Marks]] = {
    arm.__name__: arm
    for arm in (gradlaw_cold, gradlaw_warm, gradlaw_inline, ray_tune_cold, ray_tune_warm, plain_loop)
}


def main(arguments: Sequence[str]) -> None:
    """Runs one arm, named with its sweep by the arguments."""
    name, sweep = arguments
    print(json.dumps(ARMS[name](Sweep(**json.loads(sweep)))))


if __name__ == "__main__":
    main(sys.argv[1:])
