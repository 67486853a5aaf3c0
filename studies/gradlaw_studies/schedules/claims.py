"""The claims about warm-up; with those about decays and scaling rules, all that the study decides.

Margins: a warm-up that is worth having raises the largest stable lr by a quarter (ln 1.25 = 0.22); two
warm-ups are alike if their lrs differ by less than that. On the quadratic, where there is nothing to gain, a
longer warm-up raises the lr at which the loss ends above its start by a few percent, since it starts to grow
later and from less: far below a quarter. Where more or less than a number is claimed there is no margin
beside it. Sds come from exploratory seeds (two to four of each part), rounded up.
"""

from __future__ import annotations

from gradlaw.claim import Claim, Control, Gate, Mean, PairedDifference, Scalar, Trend
from gradlaw_studies.schedules.claims_decay import DECAYS
from gradlaw_studies.schedules.claims_scaling import SCALINGS

BRACKETED = Gate(
    statement="The search for the largest stable lr found a lr that holds and one that fails.",
    sql="edge_gate.sql",
)
ENDED = Gate(
    statement="Training along which sharpness is measured ended, soundly or by diverging.",
    sql="path_gate.sql",
)

RISES = Trend(direction="greater", num_levels=8)
GAIN = PairedDifference(arms=("longest", "none"), target=0.22, margin=0.0, direction="greater", sd=0.25)
ALIKE = PairedDifference(arms=("factor", "longest"), margin=0.22, sd=0.2)
EXACT = Mean(target=0.0, margin=0.04, sd=0.02)
BELOW = Mean(target=0.0, margin=0.0, direction="less", sd=0.3)

_TITLES = {"sgd": "gradient descent", "adam": "Adam"}


def _network(rule: str) -> dict[str, Scalar]:
    return {"task": "digits_mlp", "rule": rule}


QUADRATIC: dict[str, Scalar] = {"task": "digits_squares", "rule": "sgd"}

EXACT_EDGE = Control(
    name="exact_edge",
    statement="On a quadratic the bisection must find 2 / lambda_max within 4%.",
    sql="edge_exact.sql",
    test=EXACT,
    expect="supported",
)
QUADRATIC_GAIN = Control(
    name="quadratic_gain",
    statement="On a quadratic warm-up must not pass for a gain.",
    sql="edge_arms.sql",
    parameters=QUADRATIC,
    test=GAIN,
    expect="refuted",
)


def _trend(rule: str) -> Claim:
    planted = {"rising": "supported", "falling": "refuted"}
    return Claim(
        name=f"edge_rises_{rule}",
        statement=f"The largest stable lr of {_TITLES[rule]} rises with the length of linear warm-up.",
        source="Kalra and Barkeshli 2406.09405: warm-up allows larger lrs; Goyal et al. 1706.02677, 2.2",
        sql="edge_trend.sql",
        parameters={"rule": rule, "source": "measured"},
        test=RISES,
        family="trend",
        gate=BRACKETED,
        controls=(
            EXACT_EDGE,
            *(
                Control(
                    name=f"{source}_edge",
                    statement=f"An edge that is {source} with the length must be {outcome}.",
                    sql="edge_trend.sql",
                    parameters={"rule": rule, "source": source},
                    test=RISES,
                    expect="supported" if outcome == "supported" else "refuted",
                )
                for source, outcome in planted.items()
            ),
        ),
    )


def _gain(rule: str) -> Claim:
    return Claim(
        name=f"edge_gain_{rule}",
        statement=f"The longest warm-up raises {_TITLES[rule]}'s largest stable lr by more than a quarter.",
        source="Kalra and Barkeshli 2406.09405: the gain of warm-up is a larger lr that trains",
        sql="edge_arms.sql",
        parameters=_network(rule),
        test=GAIN,
        family="gain",
        gate=BRACKETED,
        controls=(EXACT_EDGE, QUADRATIC_GAIN),
    )


def _factor(rule: str) -> Claim:
    return Claim(
        name=f"factor_is_warmup_{rule}",
        statement=f"For {_TITLES[rule]} the factor sqrt(1 - beta2^t) allows the lr that linear warm-up of "
        "about 1.2 / (1 - beta2) steps does, within a quarter.",
        source="Ma and Yarats 1910.04209, section 5: 2 / (1 - beta2) steps need no tuning; the length "
        "here leaves out as much lr in all",
        sql="edge_arms.sql",
        parameters=_network(rule),
        test=ALIKE,
        family="factor",
        gate=BRACKETED,
        controls=(
            Control(
                name="no_warmup",
                statement="No warm-up at all must not pass for the longest.",
                sql="edge_arms.sql",
                parameters=_network(rule),
                test=PairedDifference(arms=("none", "longest"), margin=0.22, sd=0.25),
                expect="refuted",
            ),
        ),
    )


def _sharpness(rule: str, control: Control) -> Claim:
    bound = "2 / lr" if rule == "sgd" else "(2 + 2 beta1) / ((1 - beta1) lr) in Adam's own metric"
    return Claim(
        name=f"sharpness_yields_{rule}",
        statement=f"When a long full-batch warm-up of {_TITLES[rule]} ends, sharpness is below {bound}.",
        source="Cohen et al. 2103.00065, section 3; 2207.14484, section 2: training keeps to what is stable",
        sql="path_end.sql",
        parameters={"rule": rule, "when": "end"},
        test=BELOW,
        family="sharpness",
        gate=ENDED,
        controls=(control,),
    )


SMALL_LR = Control(
    name="small_lr_is_sharper",
    statement="At a sixteenth of the lr the sharpness must not fall below 2 / lr of the peak by then.",
    sql="path_end.sql",
    parameters={"rule": "sgd", "when": "small lr"},
    test=BELOW,
    expect="refuted",
)
SHARP_START = Control(
    name="starts_beyond",
    statement="At the start of warm-up what the peak lr could not bear must be seen.",
    sql="path_end.sql",
    parameters={"rule": "adam", "when": "start"},
    test=BELOW,
    expect="refuted",
)

CLAIMS = (
    _trend("sgd"),
    _trend("adam"),
    _gain("sgd"),
    _gain("adam"),
    _factor("sgd"),
    _factor("adam"),
    _sharpness("sgd", SMALL_LR),
    _sharpness("adam", SHARP_START),
    *DECAYS,
    *SCALINGS,
)
