"""The claims; margins and planning sds fixed on exploratory seeds (1,000,000 and above).

A margin of 0.2 about the orders 1 and 2 keeps them apart from each other and from every half order, such as
memory that decays slowly would have. What a slope misses its limit by is of the order of memory's length over
the run's, which the gate bounds by a tenth: up to 0.07 and 0.17 on exploratory seeds. Slopes hardly vary with
the seed.
"""

from __future__ import annotations

from dataclasses import replace

from gradlaw.claim import AllBelow, Claim, Control, Gate, Mean, Slope

SOURCE = "Cattaneo and Shigida, arXiv 2502.02132, theorem on memoryless approximation"
MIN_EPS, MAX_REACH, MAX_LAG = 1e-4, 0.3, 0.1

FIRST = Slope(target=1.0, margin=0.2, sd=0.03, num_parts=10)
SECOND = Slope(target=2.0, margin=0.2, sd=0.03, num_parts=10)
ONE_PART_SECOND = replace(SECOND, num_parts=1, sd=0.3)
EQUAL_SHARE = Mean(target=1.0, margin=0.1, sd=0.03, num_parts=2)
NO_SHARE = Mean(target=0.0, margin=0.25, sd=0.08, num_parts=2)
SAME_ORDER = Slope(target=0.0, margin=0.15, sd=0.03, num_parts=10)

INSIDE = Gate(
    statement="Both gaps are finite; lr |c(beta1) - c(beta2)| is below 0.3 (for the others lr times their "
    "memory), memory is at most a tenth of the run, eps at least 1e-4.",
    sql="order_gate.sql",
    parameters={"eps": MIN_EPS, "reach": MAX_REACH, "lag": MAX_LAG},
)

CLAIMS = (
    Claim(
        name="order_without",
        statement="Without the correction the largest gap is proportional to lr: each optimizer, each task.",
        source=SOURCE,
        sql="order.sql",
        parameters={"corrected": False, "power": 0.0},
        test=FIRST,
        family="order",
        gate=INSIDE,
        controls=(
            Control(
                name="exact_line",
                statement="A gap proportional to lr, through the same query and test, must be found.",
                sql="order.sql",
                parameters={"corrected": False, "power": 1.0},
                test=FIRST,
                expect="supported",
            ),
            Control(
                name="corrected_twin",
                statement="The gap to the corrected twin must not be of order 1.",
                sql="order.sql",
                parameters={"corrected": True, "power": 0.0},
                test=FIRST,
                expect="refuted",
            ),
        ),
    ),
    Claim(
        name="order_with",
        statement="With the correction it is proportional to lr squared: each optimizer, each task.",
        source=SOURCE,
        sql="order.sql",
        parameters={"corrected": True, "power": 0.0},
        test=SECOND,
        family="order",
        gate=INSIDE,
        controls=(
            Control(
                name="exact_square",
                statement="A gap proportional to lr squared, through the same query and test, must be found.",
                sql="order.sql",
                parameters={"corrected": True, "power": 2.0},
                test=SECOND,
                expect="supported",
            ),
            Control(
                name="plain_twin",
                statement="The gap to the twin without the correction must not be of order 2.",
                sql="order.sql",
                parameters={"corrected": False, "power": 0.0},
                test=SECOND,
                expect="refuted",
            ),
            Control(
                name="smallest_eps",
                statement="Where the smallest eps makes zeros of gradients jumps, it must not be of order 2.",
                sql="outside.sql",
                parameters={"why": "eps"},
                test=ONE_PART_SECOND,
                expect="refuted",
            ),
            Control(
                name="longest_memory",
                statement="Where lr |c(beta1) - c(beta2)| is near 1 at every lr, it must not be of order 2.",
                sql="outside.sql",
                parameters={"why": "reach"},
                test=ONE_PART_SECOND,
                expect="refuted",
            ),
        ),
    ),
    Claim(
        name="adamw_is_lion",
        statement="AdamW at beta1 = beta2 has Lion's correction at these betas, once warm-up is forgotten.",
        source="Cattaneo and Shigida, arXiv 2502.02132: corrections of AdamW and of Lion",
        sql="limit.sql",
        parameters={"equal": True},
        test=AllBelow(bound=1e-9),
        controls=(
            Control(
                name="unequal_betas",
                statement="At beta1 < beta2 the corrections must differ.",
                sql="limit.sql",
                parameters={"equal": False},
                test=AllBelow(bound=1e-9),
                expect="refuted",
            ),
        ),
    ),
    Claim(
        name="order_by_kernel",
        statement="The gap is of order h m1, with the correction of order h^2 m2, m1 and m2 the kernel's "
        "moments over the run: for exponential memory, (k + 1)^-3, -2, -1.5 and uniform memory.",
        source="Taylor's expansion of the past; 2502.02132 assumes exponential decay",
        sql="kernels.sql",
        parameters={"relative": True, "kernel": "%", "corrected_only": False},
        test=SAME_ORDER,
        family="kernels",
        controls=(
            Control(
                name="square_for_slow_memory",
                statement="With memory (k + 1)^-2 the corrected gap must not be of order 2.",
                sql="kernels.sql",
                parameters={"relative": False, "kernel": "power_2", "corrected_only": True},
                test=replace(ONE_PART_SECOND, sd=0.03),
                expect="refuted",
            ),
        ),
    ),
    Claim(
        name="noise_term",
        statement="Against its memoryless twin on the past batches, mini-batch heavy ball drifts as descent "
        "on h b / (2 (1-b) (1+b)) E||g_batch - grad L||^2 does (linear gradients, smallest lr).",
        source="arXiv 2502.02132 for the term; its constant derived",
        sql="noise.sql",
        parameters={"end": "smallest", "compared": "past_batches", "factor": "noise"},
        test=EQUAL_SHARE,
        family="noise",
        controls=(
            Control(
                name="gradient_constant",
                statement="With b / (2 (1-b)^2), the constant of the gradient's own norm, it must not agree.",
                sql="noise.sql",
                parameters={"end": "smallest", "compared": "past_batches", "factor": "gradient"},
                test=EQUAL_SHARE,
                expect="refuted",
            ),
        ),
    ),
    Claim(
        name="noise_in_the_mean",
        statement="On independent batches, with linear gradients, the mean path of heavy ball is that of the "
        "full batch: the noise term is one of the comparison with the twin, not of heavy ball's mean.",
        source="A batch is independent of where it is used: linear gradients have the full batch's mean",
        sql="noise.sql",
        parameters={"end": "largest", "compared": "full_batch", "factor": "noise"},
        test=NO_SHARE,
        family="noise",
        controls=(
            Control(
                name="the_twin_s_mean",
                statement="The mean path of the twin on the past batches must not be that of the full batch.",
                sql="noise.sql",
                parameters={"end": "largest", "compared": "twin", "factor": "noise"},
                test=NO_SHARE,
                expect="refuted",
            ),
        ),
    ),
)
