"""The contest's declarations, its pictures, and Lion's box on trained networks."""

import math
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas
from scipy import stats

from gradlaw.claim import PairedDifference
from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.engine.run import run_pack
from gradlaw.planning.plan import make_plan
from gradlaw.rules.sign import Lion
from gradlaw.space import Range
from gradlaw.study import Preset, Study
from gradlaw_analysis.figures.render import draw
from gradlaw_studies.lion_adamw.claims_contest import CONTEST_CLAIMS
from gradlaw_studies.lion_adamw.contest import (
    ADDITION,
    CONTENDERS,
    CONTEST_PRESETS,
    PROBLEMS,
    SMOKE_SEARCHES,
    box,
)
from gradlaw_studies.lion_adamw.contest_settings import ADDED, ARMS, AT_RANDOM, UNTUNED_LR
from gradlaw_studies.lion_adamw.draw_contest import CONTEST_FIGURES, ENDS, paired_ratios

mpl.use("agg")

SEARCHES = [search for preset in CONTEST_PRESETS.values() for search in preset.searches]


@pytest.mark.parametrize("search", [*SEARCHES, *SMOKE_SEARCHES])
def test_arms_differ_in_their_rule_alone_and_ranges_are_equally_wide(search):
    assert tuple(arm.name for arm in search.arms) == tuple(CONTENDERS) == ARMS
    assert len({arm.grid.rule for arm in search.arms}) == len(ARMS)
    assert len({repr(replace(arm.grid, rule=Lion)) for arm in search.arms}) == 1
    for name, decades in (("lr", 2), ("weight_decay", 4)):
        ranges = [arm.space[name] for arm in search.arms]
        assert all(isinstance(item, Range) and item.log for item in ranges)
        assert [math.log10(item.high / item.low) for item in ranges] == pytest.approx([decades] * 7)
    assert len({arm.space["warmup_steps"] for arm in search.arms}) == 1
    assert all(arm.space["lr"].low > UNTUNED_LR for arm in search.arms)
    assert search.sampler == ("random" if search.name.endswith(AT_RANDOM) else "tpe")


def test_everything_that_a_rule_remembers_by_is_searched():
    for name, contender in CONTENDERS.items():
        declared = {item.name for item in contender.rule.hyperparameters if not item.structural}
        fixed = {"eps", "initial_accumulator", "dampening"}
        assert declared - fixed == {"lr", "weight_decay", *contender.memory}, name


def test_each_problem_is_tuned_once_by_tpe_and_once_at_random_with_one_budget():
    for preset in CONTEST_PRESETS.values():
        assert len({search.budget for search in preset.searches}) == 1
        names = {search.name for search in preset.searches}
        problems = ("digits", "addition", "conv")
        assert names == {*problems, *(name + AT_RANDOM for name in problems)}


def test_claims_ask_for_arms_and_searches_that_there_are():
    names = {search.name for search in CONTEST_PRESETS["contest"].searches}
    for claim in CONTEST_CLAIMS:
        for part in (claim, *claim.controls):
            if isinstance(part.test, PairedDifference):
                assert set(part.test.arms) <= {*ARMS, "lion_untuned"}
                assert part.parameters["search"] in names
                asked = {part.parameters["search"]: part.parameters["task"]}
                assert asked.items() <= {name: grid.task.name for name, grid in PROBLEMS.items()}.items()
    assert ADDITION.target is not None
    assert ADDITION.target.value == ADDED
    assert math.ceil(ADDED * 87) == 87  # all pairs held out


def trained(grid, seeds):
    """Rows of metrics by trial, of a grid run as one pack."""
    study = Study(
        name="box",
        question="Is it?",
        source="",
        presets={"demo": Preset(doc="", grids=(grid,), seeds=seeds)},
    )
    for pack in make_plan(study, "demo", explore=True).packs:
        recorder = MemoryRecorder()
        for _ in run_pack(pack, recorder):
            pass
        for member in pack.members:
            yield member.hyperparameters, recorder.rows("metrics", member.trial.trial_id)


def test_lion_stays_in_its_box_or_enters_it_at_the_rate_of_its_decay():
    """The bound step by step, (1 - lr decay)^n of the excess at the start, which the claims' exp is above."""
    outside = 0
    for values, rows in trained(replace(box(Lion, steps=80), log_every=10), seeds=1):
        decay, shrink = values["weight_decay"], 1 - values["lr"] * values["weight_decay"]
        if decay == 0:
            continue
        reach = decay * np.asarray(rows["parameter_max"], dtype=np.float64)
        excess = max(reach[0] - 1, 0.0)
        outside += excess > 0
        allowed = 1 + excess * shrink ** np.asarray(rows["step"], dtype=np.float64)
        assert (reach <= allowed + 5e-5).all()
        assert reach[-1] > 0.5  # and the box is needed
    assert outside == 2


def field(num_seeds=6):
    """Fresh runs of two searches: Lion 20% above AdamW on digits, as tuned by TPE."""
    rng, rows = np.random.default_rng(1), []
    for task, searches in (("digits_mlp", ("digits", "digits_random")), ("modular_addition", ("addition",))):
        for search in searches:
            for seed in range(num_seeds):
                level = rng.normal()
                for number, arm in enumerate(ARMS):
                    factor = 1.2 if (search, arm) == ("digits", "lion") else 1 + 0.05 * number
                    noise = 0.0 if arm == "adamw" else 0.01 * rng.normal()
                    value = factor * math.exp(level + noise)
                    rows.append({"task": task, "search": search, "arm": arm, "seed": seed, "value": value})
    return pd.DataFrame(rows)


def test_ratios_are_paired_by_seed():
    rows = field()
    part = rows[rows["search"] == "digits"]
    found = {item.arm: item for item in paired_ratios(part)}
    assert set(found) == set(ARMS)
    logs = part.assign(value=np.log(part["value"])).pivot(index="seed", columns="arm", values="value")
    expected = stats.ttest_rel(logs["lion"], logs["adamw"]).confidence_interval(0.95)
    assert np.log([found["lion"].low, found["lion"].high]) == pytest.approx(list(expected))
    assert found["adamw"].low == found["adamw"].high == found["adamw"].ratio == 1.0
    assert found["lion"].ratio == pytest.approx(1.2 / 1.05, rel=0.02)  # adamw is the second arm


def test_without_the_reference_or_a_second_seed_there_is_no_interval():
    rows = field(num_seeds=1)
    (only, *_) = paired_ratios(rows[rows["search"] == "digits"])
    assert only.low == only.ratio == only.high
    assert paired_ratios(rows[(rows["search"] == "digits") & (rows["arm"] == "lion")]) == []


def tuning(num=9):
    """Configurations of two searches on one task, with every kind of end."""
    rng = np.random.default_rng(2)
    ends = [*ENDS, "sound"]
    return pd.DataFrame(
        {"task": "digits_mlp", "search": search, "arm": arm, "number": number,
         "value": float(rng.exponential()), "ended": ends[number % len(ends)]}
        for search in ("digits", "digits_random") for arm in ARMS for number in range(num)
    )  # fmt: skip


def reach():
    steps = np.arange(0, 200, 20)
    return pd.concat(
        pd.DataFrame({"rule": rule, "weight_decay": decay, "step": steps, "time": 0.01 * decay * steps,
                      "reach": 1 + decay * np.exp(-0.01 * decay * steps)})
        for rule in ("lion", "adamw") for decay in (1.0, 30.0)
    )  # fmt: skip


FRAMES = {"contest_field": field, "contest_budget": tuning, "contest_ends": tuning, "lion_box": reach}


@pytest.mark.parametrize("figure", CONTEST_FIGURES, ids=lambda figure: figure.name)
def test_figures_draw(figure):
    rows = FRAMES[figure.name]()
    assert draw(figure.draw, rows).uri.startswith("data:image/")
    assert set(figure.claims) <= {claim.name for claim in CONTEST_CLAIMS}


def test_bars_of_ends_add_up_to_the_budget():
    canvas = CONTEST_FIGURES[2].draw(tuning())
    assert isinstance(canvas, Canvas)
    for ax in canvas.axes:
        widths = [bar.get_width() for container in ax.containers for bar in container]
        assert sum(widths) == 9 * len(ARMS)


def test_the_budget_picture_begins_at_the_mean_and_ends_at_the_best():
    rows = tuning()
    canvas = CONTEST_FIGURES[1].draw(rows)
    part = rows[(rows["search"] == "digits_random") & (rows["arm"] == "lion")]["value"]
    (line,) = [line for line in canvas.axes[0].lines if line.get_label() == "lion"]
    drawn = line.get_ydata()
    assert drawn[0] == pytest.approx(np.exp(np.log(part).mean()))
    assert drawn[-1] == pytest.approx(part.min())
