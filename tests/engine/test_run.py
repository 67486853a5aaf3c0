"""What a run records and reports: rows, limits, memory, measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from gradlaw.engine.memory import is_out_of_memory
from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.engine.rows import metrics_table
from gradlaw.engine.run import run_pack
from gradlaw.errors import ConfigurationError, UnknownNameError
from gradlaw.hyperparameter import Scalar
from gradlaw.measurement import Measurement
from gradlaw.pack import Member, Pack, Training
from gradlaw.probe import Columns
from gradlaw.probes import FullLoss
from gradlaw.rules import SGD
from gradlaw.schedules import Constant
from gradlaw.table import Column, Table
from gradlaw.task import Task
from gradlaw.trial import State, Trial

LRS = ({"lr": 0.1}, {"lr": 0.05}, {"lr": 0.2})


@pytest.mark.parametrize(
    ("steps", "log_every", "logged"), [(7, 3, [0, 3, 6, 7]), (6, 3, [0, 3, 6]), (0, 1, [0]), (2, 5, [0, 2])]
)
def test_logged_steps(
    train: Callable[..., Any], least_squares: Any, steps: int, log_every: int, logged: list[int]
) -> None:
    trained = train(least_squares(), SGD(), LRS, steps=steps, log_every=log_every)
    for member in range(3):
        assert trained.rows(member, "metrics")["step"].tolist() == logged
        assert trained.results[member].steps_done == steps


def test_metrics_follow_the_declared_table(train: Callable[..., Any], least_squares: Any) -> None:
    for dtype in ("float32", "float64"):
        trained = train(least_squares(8, 2), SGD(), LRS, probes=(FullLoss(),), dtype=dtype, steps=3)
        training = Training(
            task=least_squares(8, 2),
            rule=SGD(),
            schedule=Constant(),
            steps=3,
            probes=(FullLoss(),),
            dtype=dtype,
        )
        declared = {column.name: column.type for column in metrics_table(training).columns}
        rows = trained.recorder.rows("metrics")
        assert {name: str(values.dtype) for name, values in rows.items() if name != "trial_id"} == declared
        assert set(declared) == {"step", "loss", "train_loss", "train_worst", "test_loss", "test_worst"}


def test_two_probes_with_one_column_are_refused(train: Callable[..., Any], least_squares: Any) -> None:
    with pytest.raises(ConfigurationError, match="column train_loss twice"):
        train(least_squares(), SGD(), probes=(FullLoss(), FullLoss()))


def test_two_probes_may_fill_one_table(train: Callable[..., Any], least_squares: Any, weights: Any) -> None:
    trained = train(least_squares(), SGD(), probes=(weights(at_steps=(0,)), weights(at_steps=(2, 20))))
    assert trained.rows(0, "weights")["step"].tolist() == [0] * 3 + [2] * 3 + [20] * 3


def test_a_probe_outside_the_trial_is_refused(
    train: Callable[..., Any], least_squares: Any, weights: Any
) -> None:
    with pytest.raises(ConfigurationError, match=r"got steps \[21\]; allowed: 0 .. 20"):
        train(least_squares(), SGD(), probes=(weights(at_steps=(3, 21)),))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"step": [1], "position": [0, 1], "value": [0.0]}, "one length"),
        ({"step": [1], "position": [0]}, "of one length"),
    ],
)
def test_rows_that_do_not_fit_their_table_are_refused(
    train: Callable[..., Any], least_squares: Any, weights: Any, columns: Columns, message: str
) -> None:
    class Odd(weights):
        def rows(self, snapshot: Any) -> Mapping[str, Columns]:
            return {"weights": columns}

    with pytest.raises(ConfigurationError, match=message):
        train(least_squares(), SGD(), probes=(Odd(),))


def test_an_undeclared_table_is_refused(train: Callable[..., Any], least_squares: Any, weights: Any) -> None:
    class Odd(weights):
        def rows(self, snapshot: Any) -> Mapping[str, Columns]:
            return {"wieghts": {}}

    with pytest.raises(UnknownNameError, match="did you mean 'weights'"):
        train(least_squares(), SGD(), probes=(Odd(),))


def test_progress_comes_with_every_flush(train: Callable[..., Any], least_squares: Any) -> None:
    trained = train(least_squares(), SGD(), LRS, steps=10, flush_s=0.0, width=2)
    assert trained.recorder.num_flushes == len(trained.progress) - 1, "one before the first step"
    steps = [progress.steps_done for progress in trained.progress]
    assert steps == sorted(steps)
    assert (steps[-1], trained.progress[-1].trials_done) == (30, 3)
    assert {progress.steps_total for progress in trained.progress} == {30}
    assert len(trained.progress) == 1 + 2 * (11 + 1)


def test_progress_tells_the_width_from_before_the_first_step(
    train: Callable[..., Any], watched: type[Any]
) -> None:
    """Chosen, and then halved by what did not fit; a single member is padded."""
    widths = [item.width for item in train(watched(), SGD(), LRS, steps=2).progress]
    assert widths[0] == 3
    halved = train(watched(limit=2), SGD(), seeds=range(8), steps=2, flush_s=0.0)
    widths = [item.width for item in halved.progress]
    assert (widths[0], widths[-1]) == (8, 2)
    assert train(watched(), SGD(), steps=2).progress[0].width == 2


def test_the_time_limit_ends_what_runs_and_what_waits(train: Callable[..., Any], least_squares: Any) -> None:
    trained = train(least_squares(), SGD(), LRS, steps=10**9, log_every=10**6, time_limit_s=0.3, width=2)
    assert [result.state for result in trained.results] == [State.TIMED_OUT] * 3
    assert trained.results[0].steps_done > 0
    assert trained.results[2].steps_done == 0
    assert trained.results[2].execution is None
    assert "before it began" in trained.results[2].reason
    assert 0.0 < sum(result.wall_s for result in trained.results) < 5.0


def test_width_is_halved_where_memory_does_not_suffice(
    train: Callable[..., Any], least_squares: Any, watched: Any
) -> None:
    arms = tuple({"lr": 0.01 * k} for k in range(1, 9))
    full = train(least_squares(), SGD(), arms, steps=10)
    trained = train(watched(limit=3), SGD(), arms, steps=10)
    assert [result.execution.width for result in trained.results] == [2] * 8
    for member in range(8):
        assert trained.results[member].state == State.DONE
        np.testing.assert_allclose(trained.weights(member), full.weights(member), rtol=1e-9)
        assert trained.rows(member, "metrics")["step"].tolist() == list(range(11))


def test_at_width_1_it_is_the_trial_s_end(train: Callable[..., Any], watched: Any) -> None:
    trained = train(watched(limit=0), SGD(), LRS, steps=10)
    assert [result.state for result in trained.results] == [State.OUT_OF_MEMORY] * 3
    assert trained.results[0].reason == "tried to allocate 1 members"


def test_a_batch_that_runs_again_records_no_row_twice(
    train: Callable[..., Any], least_squares: Any, weights: Any
) -> None:
    """Memory runs out late, in a probe, after rows have gone to the recorder."""

    class Late(weights):
        def rows(self, snapshot: Any) -> Mapping[str, Columns]:
            if snapshot.step == 15 and snapshot.seed not in failed:
                failed.add(snapshot.seed)
                msg = "tried to allocate"
                raise torch.OutOfMemoryError(msg)
            return super().rows(snapshot)

    failed: set[int] = set()
    probe = Late(at_steps=(3, 15))
    trained = train(least_squares(), SGD(), LRS, steps=20, flush_s=0.0, probes=(probe,))
    for member in range(3):
        assert trained.rows(member, "metrics")["step"].tolist() == list(range(21))
        assert trained.rows(member, "weights")["step"].tolist() == [3] * 3 + [15] * 3


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("size mismatch"), False),
        (ValueError("cannot allocate memory for the honours list"), False),
    ],
)
def test_lack_of_memory_is_told_from_other_errors(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_the_host_s_own_lack_of_memory_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_other_errors_reach_the_caller(train: Callable[..., Any], least_squares: Any) -> None:
    class Broken(least_squares):
        def loss(self, *_: Any) -> Any:
            msg = "a fault of the task"
            raise RuntimeError(msg)

        def to(self, device: torch.device, dtype: torch.dtype) -> Task:
            return self

    with pytest.raises(RuntimeError, match="a fault of the task"):
        train(Broken(), SGD())


class _Powers(Measurement):
    name = "powers"

    @classmethod
    def tables(cls) -> tuple[Table, ...]:
        columns = (Column(name="exponent", type="int64"), Column(name="value", type="float64"))
        return (Table(name="powers", grain="One power.", columns=columns),)

    def measure(self, hyperparameters: Mapping[str, Scalar], seed: int) -> Mapping[str, Columns]:
        base = hyperparameters["base"]
        if base == 0:
            msg = "no room for powers of nothing"
            raise MemoryError(msg)
        exponents = np.arange(4)
        return {"powers": {"exponent": exponents, "value": float(base) ** exponents + seed}}


def _measured(finish: Callable[..., Any], *bases: int, **settings: Any) -> Any:
    members = tuple(
        Member(
            trial=Trial(
                task="powers@1",
                rule="",
                schedule="",
                hyperparameters={"base": base},
                seed=10,
                steps=0,
                dtype="float64",
                data_digest="",
            ),
            hyperparameters={"base": base},
        )
        for base in bases
    )
    recorder = MemoryRecorder()
    pack = Pack(pack_id="p", study="s", program=_Powers(), members=members)
    return finish(run_pack(pack, recorder, **settings), recorder)


def test_a_measurement_trains_nothing_and_records_its_rows(finish: Callable[..., Any]) -> None:
    trained = _measured(finish, 2, 0, 3)
    assert trained.rows(0, "powers")["value"].tolist() == [11.0, 12.0, 14.0, 18.0]
    assert trained.rows(2, "powers")["value"].tolist() == [11.0, 13.0, 19.0, 37.0]
    states = [State.DONE, State.OUT_OF_MEMORY, State.DONE]
    assert [result.state for result in trained.results] == states
    assert trained.results[0].execution.mode == "measurement"
    assert trained.progress[-1].trials_done == 3
    late = _measured(finish, 2, 3, time_limit_s=0.0)
    assert [result.state for result in late.results] == [State.TIMED_OUT] * 2


def test_a_pack_without_a_program_is_refused(finish: Callable[..., Any]) -> None:
    recorder = MemoryRecorder()
    pack = Pack(pack_id="p", study="s", program=None, members=())
    with pytest.raises(ConfigurationError, match="no program"):
        finish(run_pack(pack, recorder), recorder)
