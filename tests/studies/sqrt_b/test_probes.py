import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch.func import grad

from gradlaw.probe import Snapshot
from gradlaw.random import streams_of
from gradlaw.task import Taps
from gradlaw.tasks.digits import DigitsMLP, DigitsMLPBatchNorm, DigitsSoftmax
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw_studies.sqrt_b.persample import per_sample
from gradlaw_studies.sqrt_b.probes import BatchNormLaw, LossMinimum, SquareRootLaw

torch.set_num_threads(1)
SMALL = SquareRootLaw(num_draws=400, kurtosis_draws=20_000, kurtosis_max_batch=8, num_partitions=40)


def snapshot_of(task, *, seed=1_000_007, step=4, steps=8, **hyperparameters):
    streams = streams_of(seed)
    params, buffers = task.init(streams)
    single = {name: value.float() for name, value in params.items()}
    return Snapshot(
        task=task.to(torch.device("cpu"), torch.float32),
        params=single,
        buffers={name: value.float() for name, value in buffers.items()},
        split=task.split(streams),
        hyperparameters=hyperparameters,
        seed=seed,
        step=step,
        steps=steps,
    )


def frames_of(probe, snapshot):
    return {name: pd.DataFrame(columns) for name, columns in probe.rows(snapshot).items()}


@pytest.fixture(scope="module")
def measured():
    snapshot = snapshot_of(ModularAddition(modulus=11, width=4))
    return snapshot, frames_of(SMALL, snapshot)


@pytest.mark.parametrize("task", [DigitsMLP(width=3), ModularAddition(modulus=7, width=4)])
def test_per_sample_values_average_to_the_full_batch(task):
    snapshot = snapshot_of(task)
    stored = per_sample(snapshot)
    rows = snapshot.split.train
    params = {name: value.double() for name, value in snapshot.params.items()}

    def full(at):
        return task.loss(at, {}, task.batch(rows, streams_of(0)), None, Taps()).loss

    gradient = grad(full)(params)
    flat = torch.cat([gradient[name].reshape(-1) for name in sorted(gradient)])
    assert stored.losses.mean().item() == pytest.approx(full(params).item(), rel=1e-10)
    torch.testing.assert_close(stored.gradients.mean(dim=0), flat, rtol=1e-8, atol=1e-12)
    assert stored.gradients.dtype == torch.float64
    assert len(stored.losses) == len(rows) == len(stored.classes)


def test_a_stream_has_no_per_sample_values():
    with pytest.raises(TypeError, match="stored rows"):
        per_sample(Snapshot(**{**vars(snapshot_of(DigitsSoftmax())), "split": None}))


def test_gradient_noise_has_one_row_a_cell_and_the_exact_line(measured):
    snapshot, frames = measured
    noise = frames["gradient_noise"]
    cell = ["step", "phase", "batch_size", "replacement", "quantity"]
    num_rows = len(snapshot.split.train)
    sizes = 2 ** np.arange(int(math.log2(num_rows / 2)) + 1)
    assert not noise.duplicated(cell).any()
    assert len(noise) == len(sizes) * 2 * 3
    assert set(noise["batch_size"]) == set(sizes)
    losses = per_sample(snapshot).losses.numpy()
    part = noise.query("quantity == 'loss' and replacement")
    np.testing.assert_allclose(part["std_exact"], losses.std() / np.sqrt(part["batch_size"]), rtol=1e-9)
    factor = np.sqrt((num_rows - 1) / (num_rows - noise["batch_size"])).where(~noise["replacement"], 1.0)
    np.testing.assert_allclose(noise["std_corrected"], noise["std"] * factor, rtol=1e-12)
    assert noise.query("quantity == 'total'")["excess_kurtosis"].isna().all()
    assert noise.query("quantity != 'total'")["excess_kurtosis"].notna().all()


def test_measured_noise_agrees_with_the_law(measured):
    noise = measured[1]["gradient_noise"]
    # A sample std of 400 normal draws has a relative error of 1 / sqrt(800); heavy tails widen it.
    ratio = noise["std_corrected"] / noise["std_exact"]
    assert ratio.between(0.8, 1.25).all()
    assert ratio.mean() == pytest.approx(1.0, abs=0.03)


def test_kurtosis_is_drawn_only_where_it_can_be_measured(measured):
    snapshot, frames = measured
    found = frames["noise_kurtosis"]
    losses = per_sample(snapshot).losses.numpy()
    loss = found.query("quantity == 'loss'")
    np.testing.assert_allclose(loss["kurtosis_exact"], stats.kurtosis(losses) / loss["batch_size"], rtol=1e-6)
    assert (found["measurable"] == (found["kurtosis_exact"].abs() > 3 * found["standard_error"])).all()
    assert (found["excess_kurtosis"].notna() == found["measurable"]).all()
    assert ((found["num_draws"] > 0) == found["measurable"]).all()
    kept = found[found["measurable"]]
    error = (kept["excess_kurtosis"] - kept["kurtosis_exact"]).abs() / kept["standard_error"]
    assert len(kept) > 0
    assert error.max() < 5


def test_the_noise_scale_is_trace_over_squared_norm(measured):
    snapshot, frames = measured
    gradients = per_sample(snapshot).gradients.numpy()
    (row,) = frames["noise_scale"].to_dict("records")
    assert row["trace"] == pytest.approx(gradients.var(axis=0).sum(), rel=1e-5)
    assert row["norm2"] == pytest.approx((gradients.mean(axis=0) ** 2).sum(), rel=1e-9)
    assert row["b_simple_two_batch"] == pytest.approx(row["b_simple"], rel=0.3)


def test_partitions_and_controls_start_at_sigma(measured):
    _, frames = measured
    single = frames["noise_partition"].query("batch_size == 1")
    np.testing.assert_allclose(single["std"], single["std_exact"], rtol=1e-5)
    control = frames["noise_control"].query("batch_size == 1 and control in ('class_sorted', 'file_order')")
    assert len(control) == 6
    np.testing.assert_allclose(control["std"], control["std_exact"], rtol=1e-5)
    assert set(frames["noise_control"]["control"]) == {"class_sorted", "file_order", "clipped", "sign"}


def test_class_sorted_batches_of_digits_break_the_law_and_random_ones_do_not():
    frames = frames_of(SMALL, snapshot_of(DigitsSoftmax()))
    slopes = frames["noise_control"].groupby(["control", "quantity"]).apply(slope, include_groups=False)
    assert slopes["class_sorted"].max() > -0.3
    assert slopes["sign"].max() > -0.3
    drawn = (
        frames["gradient_noise"].query("replacement").groupby("quantity").apply(slope, include_groups=False)
    )
    assert drawn.between(-0.53, -0.47).all()


def slope(rows):
    return np.polyfit(np.log(rows["batch_size"]), np.log(rows["std"]), 1)[0]


def test_directions_are_fixed_along_a_trial_and_draws_are_not():
    first, second = (
        frames_of(SMALL, snapshot_of(ModularAddition(modulus=7, width=4), step=step)) for step in (4, 8)
    )
    # The parameters are the same at both steps here, so only the draws may differ.
    assert (first["gradient_noise"]["std_exact"] == second["gradient_noise"]["std_exact"]).all()
    assert (first["gradient_noise"]["std"] != second["gradient_noise"]["std"]).all()
    assert list(first["gradient_noise"]["phase"].unique()) == ["middle"]
    assert list(second["gradient_noise"]["phase"].unique()) == ["end"]


def test_every_column_of_every_table_is_filled(measured):
    for table in SMALL.tables():
        frame = measured[1][table.name]
        assert list(frame.columns) == [column.name for column in table.columns]
        missing = frame.columns[frame.isna().any()]
        assert set(missing) <= {column.name for column in table.columns if column.nullable}


def test_phases_are_start_middle_and_end():
    assert SMALL.at(300) == [0, 150, 300]
    assert SMALL.at(0) == [0]
    assert LossMinimum().at(300) == [300]


def test_batch_norm_is_measured_on_real_batches():
    task = DigitsMLPBatchNorm(width=3)
    snapshot = snapshot_of(task)
    frame = frames_of(BatchNormLaw(num_draws=60), snapshot)["noise_control"]
    assert list(frame["batch_size"]) == [2**power for power in range(1, 10)]
    assert (frame["std"] > 0).all()
    assert (frame["std"] / frame["std_exact"]).iloc[0] > 1.5  # two samples normalize each other


def test_batch_norm_losses_are_those_of_the_task_in_training():
    from gradlaw_studies.sqrt_b.controls import batch_norm_losses

    task = DigitsMLPBatchNorm(width=3)
    snapshot = snapshot_of(task)
    indices = torch.tensor([[0, 5, 9, 9], [3, 2, 1, 0]])
    found = batch_norm_losses(snapshot, indices, (2, 4))
    for size, losses in found.items():
        for draw, loss in zip(indices, losses, strict=True):
            batch = snapshot.task.batch(snapshot.split.train[draw[:size]], streams_of(0))
            out = snapshot.task.loss(snapshot.params, snapshot.buffers, batch, None, Taps())
            assert loss.item() == pytest.approx(out.loss.item(), rel=1e-4)


def test_the_minimum_is_below_the_loss_of_the_snapshot():
    snapshot = snapshot_of(DigitsSoftmax(l2=0.2), step=8, l2=0.2)
    (row,) = frames_of(LossMinimum(), snapshot)["loss_minimum"].to_dict("records")
    batch = snapshot.task.batch(snapshot.split.train, streams_of(0))
    loss = snapshot.task.loss(snapshot.params, {}, batch, None, Taps()).loss.item()
    assert row["minimum"] < loss
    assert row["gradient_norm"] < 1e-9
    assert row["step"] == 8
