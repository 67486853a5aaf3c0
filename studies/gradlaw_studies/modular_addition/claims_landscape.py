"""The claims around constructions: paths between them, whether they are recognised, and barriers."""

from __future__ import annotations

from gradlaw.claim import AllBelow, Claim, Control, Gate, Mean, Proportion, Statistic

PAPER = "Tian, arXiv 2410.01779"

ZERO = AllBelow(bound=1e-20)  # squares of rounding errors of weights near 1
NO_RISE = AllBelow(bound=1e-12)
RECOGNISED = Proportion(target=0.95, margin=0.05, direction="greater", sd=0.02)
EXACT = AllBelow(bound=0.0)
NO_BARRIER = Mean(target=0.01, margin=0.005, direction="less", sd=0.0038)
"""One percent of the loss of a network that says nothing, 1 - 1/d; sd from three exploratory seeds."""
LOWER = Mean(target=-0.01, margin=0.005, direction="less", sd=0.002)
"""A fall that no rounding or late noise makes; sd of three exploratory seeds, at most 0.0006, rounded up."""
DISSOLVED = Proportion(target=0.8, margin=0.1, direction="greater", sd=0.05)
"""One frequency of five (d = 11) may be left over; sd of a quarter of one, where three seeds showed none."""
DECAY = 5e-4  # the sweep's largest

FINISHED = Gate(statement="The measurement, or the training, came to its end.", sql="finished_gate.sql")


def _path(name: str, sql: str, statement: str, test: Statistic, *, paths: str, contrary: Control) -> Claim:
    return Claim(
        name=name,
        statement=statement,
        source=f"{PAPER}, the theorem on connectivity by ring multiplication",
        sql=sql,
        parameters={"path": paths},
        test=test,
        gate=FINISHED,
        controls=(contrary,),
    )


_PATHS = tuple(
    _path(
        f"loss_stays_zero_on_{name}",
        "path_loss.sql",
        f"The loss is zero all along the path {name!r} between two solutions.",
        ZERO,
        paths=name,
        contrary=Control(
            name="straight_line",
            statement="On the straight line between two solutions the loss must not be zero.",
            sql="path_loss.sql",
            parameters={"path": "straight"},
            test=ZERO,
            expect="refuted",
        ),
    )
    for name in ("factor", "balance", "blend")
) + tuple(
    _path(
        f"norm_falls_on_{name}",
        "path_norm.sql",
        f"The weight norm falls all along the path {name!r}.",
        NO_RISE,
        paths=name,
        contrary=Control(
            name="blend",
            statement="While one solution is exchanged for another, side by side, the norm must rise.",
            sql="path_norm.sql",
            parameters={"path": "blend"},
            test=NO_RISE,
            expect="refuted",
        ),
    )
    for name in ("factor", "balance")
)

_RECOGNISED = Claim(
    name="constructions_are_recognised",
    statement="Of the frequencies of constructions with 1% of noise 95% or more are recognised.",
    source="The measurement itself, on networks whose solutions are known",
    sql="recognised.sql",
    parameters={"construction": "order%"},
    test=RECOGNISED,
    family="recognised",
    gate=FINISHED,
    controls=tuple(
        Control(
            name=name,
            statement=statement,
            sql="recognised.sql",
            parameters={"construction": name},
            test=RECOGNISED,
            expect="refuted",
        )
        for name, statement in (
            ("memorising", "A solution that memorises must not pass for a construction."),
            ("random", "Random weights must not pass for a construction."),
        )
    ),
)

_BARRIER = Claim(
    name="one_solution_up_to_symmetry",
    statement="Between two trained networks, once matched, the loss rises by less than 0.01.",
    source="Conjecture of Entezari et al., arXiv 2110.06296, with the symmetries of the residues besides",
    sql="barrier_height.sql",
    parameters={"matching": "all"},
    test=NO_BARRIER,
    family="barrier",
    gate=FINISHED,
    controls=(
        Control(
            name="disguised_copy",
            statement="A network and its own disguised copy must be found to be one.",
            sql="barrier_height.sql",
            parameters={"matching": "copy_all"},
            test=NO_BARRIER,
            expect="supported",
        ),
        Control(
            name="copy_not_matched",
            statement="The same copy, not matched, must not.",
            sql="barrier_height.sql",
            parameters={"matching": "copy_none"},
            test=NO_BARRIER,
            expect="refuted",
        ),
    ),
)

_FLAT = Claim(
    name="flat_directions_are_counted",
    statement="At z_F6 the Hessian has exactly as many null directions as counting conditions gives.",
    source="Counting the conditions that a change of the weights must meet to first order",
    sql="nullity.sql",
    parameters={"less_free": False},
    test=EXACT,
    gate=FINISHED,
    controls=(
        Control(
            name="free_directions",
            statement="The symmetries and free phases of the construction alone must not account for them.",
            sql="nullity.sql",
            parameters={"less_free": True},
            test=EXACT,
            expect="refuted",
        ),
    ),
)

_DESCENTS = tuple(
    Claim(
        name=f"norm_falls_from_{construction}",
        statement=f"From {solution} weight decay leads to a squared norm lower by more than 1%.",
        source=f"{PAPER}: regularised descent goes on to the simplest solution",
        sql="norm_descent.sql",
        parameters={"construction": construction, "weight_decay": DECAY},
        test=LOWER,
        family="descent",
        gate=FINISHED,
        controls=(
            Control(
                name="no_decay",
                statement="Without weight decay the norm of z_F6 must not fall.",
                sql="norm_descent.sql",
                parameters={"construction": "order_6", "weight_decay": 0.0},
                test=LOWER,
                expect="refuted",
            ),
        ),
    )
    for construction, solution in (("order_6", "z_F6"), ("order_4_6", "z_F4/6"))
)

_DISSOLVED = Claim(
    name="memorising_dissolves",
    statement="Under weight decay memorising ends with order 4 or 6 at 80% of frequencies or more.",
    source=f"{PAPER}: regularised descent goes on to the simplest solution",
    sql="dissolved.sql",
    parameters={"construction": "memorising", "weight_decay": DECAY, "moment": "end"},
    test=DISSOLVED,
    family="descent",
    gate=FINISHED,
    controls=(
        Control(
            name="at_the_start",
            statement="Before training the same networks must not have such orders.",
            sql="dissolved.sql",
            parameters={"construction": "memorising", "weight_decay": DECAY, "moment": "start"},
            test=DISSOLVED,
            expect="refuted",
        ),
    ),
)

LANDSCAPE_CLAIMS = (*_PATHS, _FLAT, _RECOGNISED, _BARRIER, *_DESCENTS, _DISSOLVED)
