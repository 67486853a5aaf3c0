"""The tables this study fills."""

from __future__ import annotations

from gradlaw.table import Column, Table

_STEP = Column(name="step", type="int64", doc="steps done")
_PHASE = Column(name="phase", type="string", doc="start (step 0), end (the last step) or middle")
_SIZE = Column(name="batch_size", type="int64", doc="B, samples in a mini-batch")
_DRAWS = Column(name="num_draws", type="int64", doc="mini-batches drawn")


def _quantity(allowed: str) -> Column:
    return Column(name="quantity", type="string", doc=allowed)


def _value(name: str, doc: str, *, nullable: bool = False, unit: str = "") -> Column:
    return Column(name=name, type="float64", doc=doc, nullable=nullable, unit=unit)


GRADIENT_NOISE = Table(
    name="gradient_noise",
    grain="one trial at one step, one batch size, with or without replacement, and one quantity",
    columns=(
        _STEP,
        _PHASE,
        _SIZE,
        Column(name="replacement", type="bool", doc="whether a batch is drawn with replacement"),
        _quantity(
            "loss; projection: of the gradient on fixed random unit vectors, the root of the mean variance; "
            "total: root of the trace of the gradient's covariance"
        ),
        _DRAWS,
        _value("std", "sample standard deviation over the draws"),
        _value("std_corrected", "std * sqrt((N - 1) / (N - B)) without replacement, std with"),
        _value("std_exact", "sigma / sqrt(B), sigma the population std of the N per-sample values"),
        _value(
            "excess_kurtosis",
            "over the draws; of the projections the mean over directions, never pooled; none for total",
            nullable=True,
        ),
    ),
)

NOISE_KURTOSIS = Table(
    name="noise_kurtosis",
    grain="one trial at one step, one batch size, one quantity and one direction; with replacement",
    columns=(
        _STEP,
        _PHASE,
        _SIZE,
        _quantity("loss or projection"),
        Column(name="direction", type="int64", doc="number of the random direction; 0 for the loss"),
        Column(name="num_draws", type="int64", doc="mini-batches drawn; 0 where not measurable"),
        _value("excess_kurtosis", "over the draws; missing where not measurable", nullable=True),
        _value("kurtosis_exact", "kappa_1 / B, kappa_1 the population's excess kurtosis"),
        _value("standard_error", "of the estimate, from the population's moments up to the eighth"),
        Column(name="measurable", type="bool", doc="|kurtosis_exact| > 3 standard errors, before any draw"),
    ),
)

NOISE_SCALE = Table(
    name="noise_scale",
    grain="one trial at one step",
    columns=(
        _STEP,
        _PHASE,
        Column(name="small_batch_size", type="int64", doc="the smaller batch size of the estimate"),
        Column(name="big_batch_size", type="int64", doc="the bigger batch size of the estimate"),
        _DRAWS,
        _value("trace", "tr(Sigma) of all N per-sample gradients"),
        _value("norm2", "|G|^2 of the full gradient"),
        _value("b_simple", "trace / norm2", unit="samples"),
        _value("trace_two_batch", "unbiased estimate of tr(Sigma) from two batch sizes"),
        _value("norm2_two_batch", "unbiased estimate of |G|^2 from two batch sizes"),
        _value("b_simple_two_batch", "trace_two_batch / norm2_two_batch", unit="samples"),
    ),
)

NOISE_PARTITION = Table(
    name="noise_partition",
    grain="one trial at one step, one batch size and one quantity",
    columns=(
        _STEP,
        _PHASE,
        _SIZE,
        _quantity("loss or projection"),
        Column(name="num_partitions", type="int64", doc="random partitions of the training rows"),
        Column(name="num_batches", type="int64", doc="batches of one partition, floor(N / B)"),
        Column(name="num_rows", type="int64", doc="N, the training rows"),
        _value("std", "root of the mean over partitions of the sample variance of the batch means"),
        _value("std_exact", "S / sqrt(B), S the sample std (N - 1) of the per-sample values"),
    ),
)

NOISE_CONTROL = Table(
    name="noise_control",
    grain="one trial at one step, one control, one batch size and one quantity",
    columns=(
        _STEP,
        _PHASE,
        Column(
            name="control",
            type="string",
            doc="class_sorted, file_order: contiguous batches; clipped, sign: of the gradient; batch_norm",
        ),
        _SIZE,
        _quantity("loss, projection or total"),
        Column(name="num_draws", type="int64", doc="mini-batches drawn, or all contiguous ones"),
        _value("std", "standard deviation of the broken mini-batch quantity"),
        _value("std_exact", "what the law would say: population std of single samples / sqrt(B)"),
    ),
)

LOSS_MINIMUM = Table(
    name="loss_minimum",
    grain="one trial at its last step",
    columns=(
        _STEP,
        _value("minimum", "smallest loss on the training rows, by Newton's method", unit="nats"),
        _value("gradient_norm", "norm of the gradient left at the minimum"),
        Column(name="iterations", type="int64", doc="Newton steps taken"),
    ),
)
