"""The claims, their margins and planning sds fixed on exploratory seeds.

Margins of the slopes (0.01), of the kurtosis and of B_simple (10%) are those a wrong law would miss: with
N = 1,617 the slope without replacement is -0.522 if its correction is forgotten, so that a margin of 0.05
would support both. The remaining margins, and every ``sd``, come from exploratory seeds alone (1,000,000
and above: six for the noise, four for curvature and loss floor), rounded up. The claims about the noise were
first written on averages over quantities, tasks and phases; after a run of the demo's own seeds had supported
them all they were made stricter, to hold in each part by itself. Margins stayed as they were.
"""

from __future__ import annotations

from dataclasses import replace

from gradlaw.claim import Claim, Control, Gate, Mean, PairedDifference, Slope
from gradlaw_studies.sqrt_b.law import batch_sizes, uncorrected_slope

NUM_DIGITS = 1617  # training rows of the digits with the default test_share

SQUARE_ROOT = Slope(target=-0.5, margin=0.01, sd=0.006)
IN_EACH = replace(SQUARE_ROOT, num_parts=3)  # loss, projection, total
UNCORRECTED = Slope(target=uncorrected_slope(NUM_DIGITS, batch_sizes(NUM_DIGITS)), margin=0.01, sd=0.006)
STRAIGHT = Mean(target=0.0, margin=0.004, sd=0.002)
EQUAL_VARIANCE = Mean(target=1.0, margin=0.03, sd=0.012)
FLOOR_BATCH, FLOOR_LR = Slope(target=-1.0, margin=0.15, sd=0.06), Slope(target=1.0, margin=0.15, sd=0.06)

FLOOR_SOURCE = "Bound on the excess loss, proportional to lr / B at small lr: arXiv 1606.04838, theorem 4.6"

MEASURED = Gate(
    statement="Training finished, and the per-sample values vary at every step where noise was measured.",
    sql="noise_gate.sql",
)
STATIONARY = Gate(
    statement="Training finished, and the excess loss of its last two quarters differs less than twofold.",
    sql="floor_gate.sql",
    parameters={"drift": 2.0},
)

_BROKEN = {
    "class_sorted": "Contiguous batches of rows sorted by class",
    "file_order": "Contiguous batches in the file's order, where neighbours have one writer,",
    "clipped": "Gradients clipped at the median norm of a single sample's",
    "sign": "The sign of the gradient",
    "batch_norm": "Losses of batches that are normalized by their own statistics",
}
BROKEN = tuple(
    Control(
        name=name,
        statement=f"{statement} must not follow the law (digits, at the end of training).",
        sql="control_slope.sql",
        parameters={"control": name, "phase": "end", "task": "digits%"},
        test=SQUARE_ROOT,
        expect="refuted",
    )
    for name, statement in _BROKEN.items()
)

CLAIMS = (
    Claim(
        name="noise_with_replacement",
        statement="The std of mini-batch loss and gradient, drawn with replacement, falls as B^-0.5.",
        source="Law of the mean of B independent samples; arXiv 1812.06162, section 2.2",
        sql="noise_slope.sql",
        parameters={"source": "std", "replacement": True, "task": "%"},
        test=IN_EACH,
        family="law",
        gate=MEASURED,
        controls=(
            Control(
                name="exact_line",
                statement="The exact sigma / sqrt(B), through the same query and test, must be found.",
                sql="noise_slope.sql",
                parameters={"source": "std_exact", "replacement": True, "task": "%"},
                test=IN_EACH,
                expect="supported",
            ),
            *BROKEN,
        ),
    ),
    Claim(
        name="noise_without_replacement",
        statement="Without replacement it falls as B^-0.5 once the finite-population factor is taken out.",
        source="Cochran, Sampling Techniques (1977), theorem 2.2",
        sql="noise_slope.sql",
        parameters={"source": "std_corrected", "replacement": False, "task": "%"},
        test=IN_EACH,
        family="law",
        gate=MEASURED,
        controls=(
            Control(
                name="factor_left_in",
                statement="With the factor left in, the slope must not be -0.5.",
                sql="noise_slope.sql",
                parameters={"source": "std", "replacement": False, "task": "%"},
                test=SQUARE_ROOT,
                expect="refuted",
            ),
        ),
    ),
    Claim(
        name="noise_uncorrected",
        statement="Without replacement, uncorrected, the slope on the digits is the exact one of N = 1,617.",
        source="Least squares on log sqrt((N - B) / (N - 1) / B) over B = 1, 2, ..., 512",
        sql="noise_slope.sql",
        parameters={"source": "std", "replacement": False, "task": "digits%"},
        test=replace(UNCORRECTED, num_parts=3),
        family="law",
        gate=MEASURED,
        controls=(
            Control(
                name="with_replacement",
                statement="With replacement the slope must not be that one.",
                sql="noise_slope.sql",
                parameters={"source": "std", "replacement": True, "task": "digits%"},
                test=UNCORRECTED,
                expect="refuted",
            ),
        ),
    ),
    Claim(
        name="noise_straight",
        statement="Log std is straight in log B: with replacement no term in (log B)^2 is needed.",
        source="Law of the mean of B independent samples: a power law, not only a slope",
        sql="noise_curvature.sql",
        parameters={"source": "std", "replacement": True},
        test=replace(STRAIGHT, num_parts=3),
        family="law",
        gate=MEASURED,
        controls=(
            Control(
                name="factor_left_in",
                statement="The finite-population factor left in bends the line and must be found out.",
                sql="noise_curvature.sql",
                parameters={"source": "std", "replacement": False},
                test=STRAIGHT,
                expect="refuted",
            ),
        ),
    ),
    Claim(
        name="noise_variance",
        statement="The variance itself is sigma^2 / B, with the finite-population factor where it applies.",
        source="Cochran, Sampling Techniques (1977), theorem 2.2",
        sql="noise_variance.sql",
        parameters={"corrected": True, "with_replacement": True},
        test=replace(EQUAL_VARIANCE, num_parts=3, sd=0.02),
        family="law",
        gate=MEASURED,
        controls=(
            Control(
                name="factor_left_in",
                statement="Without replacement and with the factor left in, the variance must not be that.",
                sql="noise_variance.sql",
                parameters={"corrected": False, "with_replacement": False},
                test=EQUAL_VARIANCE,
                expect="refuted",
            ),
        ),
    ),
    Claim(
        name="kurtosis_of_means",
        statement="The excess kurtosis of a mini-batch mean is kappa_1 / B, where it can be measured.",
        source="Cumulants add: kappa_4 of a mean of B is kappa_4 / B^3, its variance squared sigma^4 / B^2",
        sql="noise_kurtosis.sql",
        parameters={"scaled": True},
        test=Mean(target=1.0, margin=0.1, sd=0.03, num_parts=2),
        family="law",
        gate=MEASURED,
        controls=(
            Control(
                name="constant_kurtosis",
                statement="A kurtosis that did not fall with B must not be found.",
                sql="noise_kurtosis.sql",
                parameters={"scaled": False},
                test=Mean(target=1.0, margin=0.1, sd=0.02),
                expect="refuted",
            ),
        ),
    ),
    Claim(
        name="noise_scale_two_batch",
        statement="B_simple estimated from two batch sizes equals tr(Sigma) / |G|^2 computed directly.",
        source="McCandlish et al., arXiv 1812.06162, appendix A.1",
        sql="noise_scale.sql",
        parameters={"naive": False},
        test=Mean(target=1.0, margin=0.1, sd=0.05, num_parts=9),
        family="law",
        gate=MEASURED,
        controls=(
            Control(
                name="naive_norm",
                statement="With the small batch's own |G_B|^2 for |G|^2 the estimate must not be equal.",
                sql="noise_scale.sql",
                parameters={"naive": True},
                test=Mean(target=1.0, margin=0.1, sd=0.03),
                expect="refuted",
            ),
        ),
    ),
    Claim(
        name="noise_of_partitions",
        statement="Means of batches that partition the data vary by S^2 / B, with no further factor.",
        source="Notes on gradient descent that cut E_1 .. E_N into batches of B and find sigma / sqrt(B)",
        sql="noise_partition.sql",
        parameters={"factor": False},
        test=Mean(target=1.0, margin=0.02, sd=0.01, num_parts=6),
        family="law",
        gate=MEASURED,
        controls=(
            Control(
                name="factor_applied",
                statement="Taking out a finite-population factor must break it.",
                sql="noise_partition.sql",
                parameters={"factor": True},
                test=Mean(target=1.0, margin=0.02, sd=0.006),
                expect="refuted",
            ),
        ),
    ),
    Claim(
        name="floor_against_batch_size",
        statement="The loss floor of constant-lr SGD on independent batches falls as 1 / B.",
        source=FLOOR_SOURCE,
        sql="floor_slope.sql",
        parameters={"axis": "batch_size", "sampling": "iid"},
        test=FLOOR_BATCH,
        family="floor",
        gate=STATIONARY,
        controls=(
            Control(
                name="reshuffled_epochs",
                statement="Batches of an epoch depend on each other; their floor must not follow 1 / B.",
                sql="floor_slope.sql",
                parameters={"axis": "batch_size", "sampling": "epoch"},
                test=FLOOR_BATCH,
                expect="refuted",
            ),
        ),
    ),
    Claim(
        name="floor_against_lr",
        statement="The loss floor of constant-lr SGD on independent batches rises in proportion to lr.",
        source=FLOOR_SOURCE,
        sql="floor_slope.sql",
        parameters={"axis": "lr", "sampling": "iid"},
        test=FLOOR_LR,
        family="floor",
        gate=STATIONARY,
        controls=(
            Control(
                name="reshuffled_epochs",
                statement="With reshuffled epochs it must not be proportional to lr.",
                sql="floor_slope.sql",
                parameters={"axis": "lr", "sampling": "epoch"},
                test=FLOOR_LR,
                expect="refuted",
            ),
        ),
    ),
    Claim(
        name="floor_of_epochs",
        statement="Reshuffled epochs have a lower loss floor than independent batches of the same B and lr.",
        source="Mishchenko, Khaled, Richtarik, arXiv 2006.05988",
        sql="floor_pairs.sql",
        test=PairedDifference(arms=("epoch", "iid"), direction="less", margin=0.2, sd=0.1),
        family="floor",
        gate=STATIONARY,
        controls=(
            Control(
                name="arms_swapped",
                statement="The same rows with the arms swapped must refute it.",
                sql="floor_pairs.sql",
                test=PairedDifference(arms=("iid", "epoch"), direction="less", margin=0.2, sd=0.1),
                expect="refuted",
            ),
        ),
    ),
)
