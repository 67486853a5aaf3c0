"""The claims of arXiv 2410.01779 on trained networks, and a conjecture, with margins fixed before data.

Those around constructions are in :mod:`.claims_landscape`.

Each modulus of the published table has families of its own, so that a preset without its networks takes
nothing from the others; a claim without data says so.

Margins. A frequency is 1/11 of a network of d = 23, so "almost all" is nine in ten, and five points short of
it is what refutes. "About 95%" is likewise met from nine in ten. Distributions: with a perfect match the
table's own five networks leave a total variation of 0.108 on average and 0.218 at the 95th percentile (d =
23, five networks a side), falling as the root of the number of frequencies. The margins are the smallest
round ones that a perfect match meets about every other time, with eight networks against the table's five;
what this cannot decide it calls inconclusive. Width: from d = 23 to 127 the table's mean order falls by 0.29
for every doubling of d; a doubling of the width must do less than a third of that. The conjecture's margins
are its own: an exponent of 0.5 to within 0.1, a norm to within 1%.

Where a claim names no width it is about networks at least 4d wide: the widths just above 2d are there to show
where independence of width ends.

Planning sds are from three exploratory seeds (1,000,000 on), where d = 23 has them: all frequencies of such
networks had order 4 or 6, five or six of eleven order 6. Nought or one of eleven (nought to two at q = 1024)
were products of no construction's kind, so that the share of constructions gets no margin: a mean below 90%
refutes. For the exponent: log n6 scattered by 0.1 from network to network, and eight primes spread log n by
0.84, which makes 0.045.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gradlaw.claim import (
    Claim,
    Control,
    Distribution,
    Gate,
    Mean,
    Proportion,
    Scalar,
    Slope,
    Statistic,
    Trend,
)
from gradlaw_studies.modular_addition.claims_landscape import LANDSCAPE_CLAIMS
from gradlaw_studies.modular_addition.published import MODULI, PUBLISHED_SEEDS, published_shares

WIDTH, DECAY = 512, 5e-5  # of the published table
LARGEST_DECAY = 5e-4
DECAYS_BELOW = 2e-4  # the largest of the authors' sweep at which networks still are to be compared by order

PAPER = "Tian, arXiv 2410.01779"
TABLE = f"{PAPER}, table of solutions found by gradient descent (q = 512, weight decay 5e-5, 5 seeds)"
CONJECTURE = "Norm of the constructions, minimised over the number of order-6 frequencies; derived, untested"

ALMOST_ALL = Proportion(target=0.9, margin=0.05, direction="greater", sd=0.02)
CONSTRUCTIONS = Proportion(target=0.9, margin=0.0, direction="greater", sd=0.06)
RISING = Trend(direction="greater", num_levels=len(MODULI))
FALLING = Trend(direction="less", num_levels=4)
WIDTHLESS = Slope(target=0.0, margin=0.1, sd=0.07)
MOST_COLLAPSE = Proportion(target=0.5, margin=0.0, direction="greater")
ROOT = Slope(target=0.5, margin=0.1, sd=0.055)
WITHIN_PERCENT = Mean(target=0.01, margin=0.0025, direction="less", sd=0.001)
ONE_FREQUENCY = Mean(target=0.9, margin=0.05, direction="greater", sd=0.02)
NO_MEAN = Mean(target=0.05, margin=0.02, direction="less", sd=0.01)
TOTAL_VARIATION = {23: 0.3, 71: 0.15, 127: 0.1}

CONVERGED = Gate(
    statement="The network was trained to its end and converged; what did not is counted here as failed.",
    sql="converged_gate.sql",
)
FINISHED = Gate(statement="The network was trained to its end.", sql="finished_gate.sql")
OF_FORMULA = Gate(
    statement="The network converged with every frequency at order 4 or 6, and at least one at each.",
    sql="formula_gate.sql",
)

_TRAINED: Mapping[str, Scalar] = {"task": "modular_addition@%", "labels": "sum", "moment": "end"}
_ANY: Mapping[str, Scalar] = {"modulus": 0, "width": 0, "weight_decay": 0.0}
_RANDOM: Mapping[str, Scalar] = {**_TRAINED, "moment": "start"}
_SHUFFLED: Mapping[str, Scalar] = {**_TRAINED, "labels": "shuffled"}


def _must_fail(sql: str, test: Statistic, **parameters: Scalar) -> tuple[Control, ...]:
    """Networks that solve nothing, through the claim's own query and test."""
    untrained = Control(
        name="random_weights",
        statement="The same networks before training must not pass for constructions.",
        sql=sql,
        parameters={**_RANDOM, **_ANY, **parameters},
        test=test,
        expect="refuted",
    )
    return (
        untrained,
        replace(
            untrained,
            name="shuffled_labels",
            statement="Networks trained on shuffled sums must not pass for constructions.",
            parameters={**_SHUFFLED, **_ANY, **parameters},
        ),
    )


def _planted(
    sql: str, test: Statistic, parameters: Mapping[str, Scalar], *, found: float, not_found: float
) -> tuple[Control, ...]:
    """Effects in the place of what was measured: one that must be found, and one that must not."""
    holds = Control(
        name="planted_effect",
        statement="An effect as claimed, planted in the same networks, must be found.",
        sql=sql,
        parameters={**parameters, "planted": found},
        test=test,
        expect="supported",
    )
    return (
        holds,
        replace(
            holds,
            name="planted_contrary",
            statement="An effect contrary to the claim, planted in the same networks, must refute it.",
            parameters={**parameters, "planted": not_found},
            expect="refuted",
        ),
    )


def _solutions(modulus: int) -> tuple[Claim, ...]:
    """What the published table says of one modulus."""
    where: Mapping[str, Scalar] = {**_TRAINED, "modulus": modulus, "width": WIDTH, "weight_decay": DECAY}
    kinds = Distribution(
        reference=published_shares(modulus),
        reference_seeds=PUBLISHED_SEEDS,
        margin=TOTAL_VARIATION[modulus],
    )
    return (
        Claim(
            name=f"orders_d{modulus}",
            statement=f"At d = {modulus} at least nine in ten frequencies end with order 4 or 6.",
            source=f"{PAPER}: almost all frequencies have order 4 or 6 at moderate weight decay",
            sql="order_share.sql",
            parameters=where,
            test=ALMOST_ALL,
            family=f"solutions_d{modulus}",
            gate=CONVERGED,
            controls=_must_fail("order_share.sql", ALMOST_ALL),
        ),
        Claim(
            name=f"constructions_d{modulus}",
            statement=f"At d = {modulus} 95%, at least 90%, of factorable frequencies are constructions.",
            source=f"{PAPER}, abstract: around 95% of the solutions match the constructions",
            sql="construction_share.sql",
            parameters={**where, "all_frequencies": False},
            test=CONSTRUCTIONS,
            family=f"solutions_d{modulus}",
            gate=CONVERGED,
            controls=_must_fail("construction_share.sql", CONSTRUCTIONS, all_frequencies=True),
        ),
        Claim(
            name=f"kinds_d{modulus}",
            statement=f"At d = {modulus} the kinds of solutions are distributed as published.",
            source=TABLE,
            sql="kind_counts.sql",
            parameters={**where, "all_frequencies": False},
            test=kinds,
            family=f"kinds_d{modulus}",
            gate=CONVERGED,
            controls=_must_fail("kind_counts.sql", kinds, all_frequencies=True),
        ),
    )


def _decays(modulus: int) -> tuple[Claim, ...]:
    """What weight decay does at one modulus."""
    where: Mapping[str, Scalar] = {"modulus": modulus, "width": WIDTH}
    trend: Mapping[str, Scalar] = {**where, "largest": DECAYS_BELOW}
    return (
        Claim(
            name=f"decay_lowers_order_d{modulus}",
            statement=f"At d = {modulus} the mean order of frequencies falls as weight decay rises to 2e-4.",
            source=f"{PAPER}: higher weight decay shifts solutions to lower order",
            sql="decay_trend.sql",
            parameters={**trend, "planted": 0.0},
            test=FALLING,
            family=f"decay_d{modulus}",
            gate=CONVERGED,
            controls=_planted("decay_trend.sql", FALLING, trend, found=-1.0, not_found=1.0),
        ),
        Claim(
            name=f"collapse_d{modulus}",
            statement=f"At d = {modulus} most networks collapse at weight decay 5e-4, the sweep's largest.",
            source=f"{PAPER}: higher weight decay lowers the order until the network collapses",
            sql="collapse.sql",
            parameters={**where, "weight_decay": LARGEST_DECAY},
            test=MOST_COLLAPSE,
            family=f"collapse_d{modulus}",
            alpha=0.05,  # of five seeds, the paper's number, all must agree: p = 2^-5
            gate=FINISHED,
            controls=(
                Control(
                    name="moderate_decay",
                    statement="At weight decay 5e-5 they must not collapse.",
                    sql="collapse.sql",
                    parameters={**where, "weight_decay": DECAY},
                    test=MOST_COLLAPSE,
                    expect="refuted",
                ),
            ),
        ),
    )


_DEPENDENCE = (
    Claim(
        name="modulus_raises_order_four",
        statement="The share of order 4 among orders 4 and 6 rises from d = 23 to 71 to 127.",
        source=TABLE,
        sql="modulus_trend.sql",
        parameters={"width": WIDTH, "weight_decay": DECAY, "planted": 0.0},
        test=RISING,
        family="modulus",
        gate=CONVERGED,
        controls=_planted(
            "modulus_trend.sql",
            RISING,
            {"width": WIDTH, "weight_decay": DECAY},
            found=1.0,
            not_found=-1.0,
        ),
    ),
    Claim(
        name="width_leaves_order",
        statement="From a width of 256 on, a doubling changes the mean order by less than 0.1.",
        source=f"{PAPER}: the order of solutions does not depend on q",
        sql="width_slope.sql",
        parameters={"weight_decay": DECAY, "smallest": 256, "planted": 0.0},
        test=WIDTHLESS,
        family="width",
        gate=CONVERGED,
        controls=_planted(
            "width_slope.sql",
            WIDTHLESS,
            {"weight_decay": DECAY, "smallest": 256},
            found=0.05,
            not_found=0.2,
        ),
    ),
)

_LAWS = (
    Claim(
        name="six_grows_as_root",
        statement="The number of order-6 frequencies grows as the square root of the number of frequencies.",
        source=f"{CONJECTURE}: n6 = 1.148 sqrt(n)",
        sql="six_slope.sql",
        parameters={"weight_decay": DECAY, "planted": 0.0},
        test=ROOT,
        family="conjecture",
        gate=OF_FORMULA,
        controls=_planted("six_slope.sql", ROOT, {"weight_decay": DECAY}, found=0.5, not_found=1.0),
    ),
    Claim(
        name="norm_is_formula",
        statement="A network's squared norm is what the conjecture has for its orders, within 1%.",
        source=f"{CONJECTURE}: (2d)^(-2/3) (6d (4^(1/3) n4 + 6^(1/3) n6) + 6^(1/3) d n4 / n6)",
        sql="norm_error.sql",
        parameters={"weight_decay": DECAY, "order_six_everywhere": False},
        test=WITHIN_PERCENT,
        family="conjecture",
        gate=OF_FORMULA,
        controls=(
            Control(
                name="order_six_everywhere",
                statement="The norm of a construction with order 6 at every frequency must not be theirs.",
                sql="norm_error.sql",
                parameters={"weight_decay": DECAY, "order_six_everywhere": True},
                test=WITHIN_PERCENT,
                expect="refuted",
            ),
        ),
    ),
)


def _form(name: str, measure: str, statement: str, source: str, test: Statistic) -> Claim:
    parameters: Mapping[str, Scalar] = {"measure": measure, "labels": "sum", "moment": "end"}
    return Claim(
        name=name,
        statement=statement,
        source=source,
        sql="network_value.sql",
        parameters={**parameters, "weight_decay": DECAY},
        test=test,
        family="form",
        gate=CONVERGED,
        controls=(
            Control(
                name="random_weights",
                statement="Before training it must not be so.",
                sql="network_value.sql",
                parameters={**parameters, "moment": "start", "weight_decay": DECAY},
                test=test,
                expect="refuted",
            ),
        ),
    )


_FORM = (
    _form(
        "nodes_have_one_frequency",
        "top_share",
        "Nine tenths of a node's power are at one frequency: a network computes by Fourier, not by lookup.",
        f"{PAPER}: a node of a trained network has one dominant frequency",
        ONE_FREQUENCY,
    ),
    _form(
        "weights_lose_their_mean",
        "mean_residual",
        "Training brings the mean of W_a and W_b over residues to zero, which theorem 1 presupposes.",
        f"{PAPER}, theorem 1",
        NO_MEAN,
    ),
)

CLAIMS = (
    *(claim for modulus in MODULI for claim in _solutions(modulus)),
    *_DEPENDENCE,
    *(claim for modulus in MODULI for claim in _decays(modulus)),
    *_LAWS,
    *_FORM,
    *LANDSCAPE_CLAIMS,
)
