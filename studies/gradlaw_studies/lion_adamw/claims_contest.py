"""The claims of the contest and of Lion's box, with margins fixed before any confirming run.

"On par" has a margin: 10% of the held-out loss, one image in a hundred, a quarter more steps. Lion is on par
or better where the difference lies on the good side of it, and the claim is refuted where it lies beyond. On
exploratory seeds differences within a seed, on the same rows, had sds over seeds of 0.07 to 0.25 in log loss,
0.005 in accuracy and 0.2 in log steps.

A difference is that of two tuned configurations over seeds. Its interval holds the seeds' noise alone: that
another tuning would have found other configurations is in no interval. A second tuning, at random, is in the
figures beside the one that decides.
"""

from __future__ import annotations

import math
from typing import Literal

from gradlaw.claim import AllBelow, Claim, Control, Gate, PairedDifference, Scalar
from gradlaw_studies.lion_adamw.contest_settings import GUESS_LOSS, UNTUNED_LR

Expected = Literal["supported", "refuted"]
Quantity = Literal["loss", "accuracy", "steps"]

SOURCE = "Chen et al., arXiv 2302.06675: Lion does better than AdamW or comparably, with lr and decay tuned"
BOX_SOURCE = "Chen et al., arXiv 2310.05898: Lion with weight decay solves min f in max |theta| <= 1 / decay"

LEFT = 5e-5
"""Of the box's half-width: what may be left outside of it in the runs that are asked."""
BOX = AllBelow(bound=1.0 + 2 * LEFT)
"""Beyond what is left, the same again for float32: a rounding error of 6e-8 a step, forgotten at the rate
lr * weight_decay, comes to 6e-6 at the smallest."""

TASKS = {"digits": "digits_mlp", "addition": "modular_addition", "conv": "digits_conv"}
"""Of each search. The convolutional network came later, after the other two had been seen, and before any
of its own runs on confirming seeds: its claims have the margins of the digits', and a family of their own."""

DECAYED: dict[str, Scalar] = {"rule": "lion", "part": "decayed", "nominal": 1.0}
FREE: dict[str, Scalar] = {"rule": "lion", "part": "free", "nominal": 10.0}
ADAMW: dict[str, Scalar] = {**DECAYED, "rule": "adamw"}


def _below(first: str, second: str, *, target: float, sd: float) -> PairedDifference:
    """The first arm is at most ``target`` above the second: where small values are good."""
    return PairedDifference(arms=(first, second), target=target, margin=0.0, direction="less", sd=sd)


def _above(first: str, second: str, *, target: float, sd: float) -> PairedDifference:
    """The first arm is at most ``-target`` below the second: where large values are good."""
    return PairedDifference(arms=(first, second), target=target, margin=0.0, direction="greater", sd=sd)


def _sample(task: str, search: str, quantity: Quantity) -> dict[str, Scalar]:
    return {
        "task": task,
        "search": search,
        "quantity": quantity,
        "guess": GUESS_LOSS,
        "untuned": UNTUNED_LR,
    }


def _on_par(quantity: Quantity, search: str, statement: str, *, target: float, sd: float) -> Claim:
    """One comparison of Lion and AdamW as tuned, with Lion untuned as what must lose to either."""
    sample, test = _sample(TASKS[search], search, quantity), _above if quantity == "accuracy" else _below
    suffix = "_conv" if search == "conv" else ""

    def control(name: str, statement: str, first: str, second: str, expect: Expected) -> Control:
        return Control(
            name=name,
            statement=statement,
            sql="contest_pairs.sql",
            parameters=sample,
            test=test(first, second, target=target, sd=sd),
            expect=expect,
        )

    return Claim(
        name=f"lion_on_par_{quantity}{suffix}",
        statement=statement,
        source=SOURCE,
        sql="contest_pairs.sql",
        parameters=sample,
        test=test("lion", "adamw", target=target, sd=sd),
        family=f"contest{suffix}",
        controls=(
            control(
                "untuned_loses",
                "Lion at its declared lr, never tuned, must not be on par with AdamW tuned.",
                "lion_untuned",
                "adamw",
                "refuted",
            ),
            control(
                "tuned_beats_untuned",
                "Lion tuned must be on par with itself untuned, or better.",
                "lion",
                "lion_untuned",
                "supported",
            ),
        ),
    )


def _box(name: str, statement: str, expect: Expected, bound: AllBelow, sample: dict[str, Scalar]) -> Control:
    return Control(
        name=name, statement=statement, sql="contest_box.sql", parameters=sample, test=bound, expect=expect
    )


CONTEST_CLAIMS = (
    _on_par(
        "loss",
        "digits",
        "On digits Lion tuned has a held-out loss at most 10% above that of AdamW tuned.",
        target=math.log(1.1),
        sd=0.25,
    ),
    _on_par(
        "accuracy",
        "digits",
        "On digits Lion tuned is right on held-out images at most 1 in 100 less often than AdamW tuned.",
        target=-0.01,
        sd=0.008,
    ),
    _on_par(
        "steps",
        "addition",
        "Lion tuned adds all held-out pairs in at most a quarter more steps than AdamW tuned.",
        target=math.log(1.25),
        sd=0.3,
    ),
    _on_par(
        "loss",
        "conv",
        "Of the convolutional network Lion tuned has a held-out loss at most 10% above AdamW tuned.",
        target=math.log(1.1),
        sd=0.25,
    ),
    _on_par(
        "accuracy",
        "conv",
        "Of the convolutional network Lion tuned is right at most 1 in 100 less often than AdamW tuned.",
        target=-0.01,
        sd=0.008,
    ),
    Claim(
        name="lion_in_its_box",
        statement="At the end of a run of Lion that is long enough weight_decay * max |theta| is at most 1.",
        source=BOX_SOURCE,
        sql="contest_box.sql",
        parameters=DECAYED,
        test=BOX,
        gate=Gate(
            statement="Lion with weight decay, lr * weight_decay at most 1, and a run so long that of the "
            "start's excess over the box at most 5e-5 of its half-width can be left.",
            sql="contest_box_gate.sql",
            parameters={"left": LEFT},
        ),
        controls=(
            _box(
                "half_the_box",
                "That half the box would hold them must be refuted: parameters reach its faces.",
                "refuted",
                AllBelow(bound=0.5),
                DECAYED,
            ),
            _box(
                "no_decay_no_box",
                "Runs without weight decay must leave the box that a weight decay of 10 would set.",
                "refuted",
                BOX,
                FREE,
            ),
            _box(
                "adamw_leaves_it",
                "AdamW with the same lr and weight decays must leave the box, its steps being longer.",
                "refuted",
                BOX,
                ADAMW,
            ),
        ),
    ),
    Claim(
        name="lion_enters_its_box",
        statement="From outside, Lion's excess over the box falls by 1 - lr * weight_decay a step or faster.",
        source=BOX_SOURCE,
        sql="contest_box_rate.sql",
        parameters={"speed": 1.0},
        test=AllBelow(bound=LEFT),
        controls=(
            Control(
                name="twice_as_fast",
                statement="That it falls at twice that rate must be refuted.",
                sql="contest_box_rate.sql",
                parameters={"speed": 2.0},
                test=AllBelow(bound=LEFT),
                expect="refuted",
            ),
        ),
    ),
)
