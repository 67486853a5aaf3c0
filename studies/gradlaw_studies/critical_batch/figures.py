"""Figures: each draws the rows of its query and nothing else."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns  # type: ignore[import-untyped]  # seaborn ships no types
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from gradlaw.figure import Figure
from gradlaw_studies.critical_batch.claims import BUDGET, SCALE

RULES = {"sgd@1": "SGD", "adam@1": "Adam"}
MARKS = "os^Dvp"
KINDS = {"power": "2^k", "by_one": "2^k - 1, 2^k + 1", "by_eight": "2^k - 8, 2^k + 8"}
DESCENTS = {1: "single-sample (B = 1)", 32: "mini-batch (B = 32)", 0: "batch (all rows)"}


def _named(rule: str) -> str:
    return RULES.get(rule, rule)


def _colours(num: int) -> list[tuple[float, float, float]]:
    return list(sns.color_palette("colorblind", n_colors=num))


def _batch_axis(ax: Axes) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xlabel("batch size B")


def draw_trade(rows: pd.DataFrame) -> Canvas:
    """Steps against B, and examples against steps; dots with two sds over seeds, lines the fit."""
    canvas, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
    parts = list(rows.groupby("rule"))
    for (rule, part), colour, mark in zip(parts, _colours(len(parts)), MARKS, strict=False):
        low, high = np.exp(-2 * part["spread"]), np.exp(2 * part["spread"])
        error = [part["steps"] * (1 - low), part["steps"] * (high - 1)]
        style = {"color": colour, "marker": mark, "linestyle": "none", "markersize": 5}
        left.errorbar(part["batch_size"], part["steps"], yerr=error, label=_named(str(rule)), **style)
        right.plot(part["steps"], part["examples"], **style)
        if part["s_min"].isna().any():
            continue
        s_min, e_min = float(part["s_min"].iloc[0]), float(part["e_min"].iloc[0])
        sizes = np.geomspace(part["batch_size"].min(), part["batch_size"].max(), 100)
        steps = s_min + e_min / sizes
        left.plot(sizes, steps, color=colour, linewidth=1)
        left.axvline(e_min / s_min, color=colour, linewidth=0.8, linestyle=":")
        right.plot(steps, steps * sizes, color=colour, linewidth=1)
    _batch_axis(left)
    left.set(yscale="log", ylabel="steps to the target")
    left.legend()
    right.set(xscale="log", yscale="log", xlabel="steps to the target", ylabel="examples to the target")
    canvas.tight_layout()
    return canvas


def draw_lrs(rows: pd.DataFrame) -> Canvas:
    """Steps against lr, a line a batch size, a panel a rule; hollow where a seed did not reach the target."""
    rules = sorted(rows["rule"].unique())
    sizes = sorted(rows["batch_size"].unique())
    canvas, axes = plt.subplots(1, len(rules), figsize=(4.2 * len(rules), 4), squeeze=False, sharey=True)
    shades = sns.color_palette("viridis_r", n_colors=len(sizes))
    for ax, rule in zip(axes[0], rules, strict=True):
        for size, shade in zip(sizes, shades, strict=True):
            part = rows[(rows["rule"] == rule) & (rows["batch_size"] == size)]
            whole = part[part["reached"] == 1]
            ax.plot(
                part["lr"],
                part["steps"],
                "o-",
                color=shade,
                markerfacecolor="white",
                markersize=4,
                linewidth=1,
            )
            ax.plot(whole["lr"], whole["steps"], "o", color=shade, markersize=4, label=f"{size:g}")
        ax.set(xscale="log", yscale="log", xlabel="lr", title=_named(rule))
    axes[0, 0].set_ylabel("steps to the target, mean over seeds")
    axes[0, -1].legend(title="B", loc="center left", bbox_to_anchor=(1.0, 0.5))
    canvas.tight_layout()
    return canvas


def draw_scales(rows: pd.DataFrame) -> Canvas:
    """Bcrit against B_simple, a dot a seed and rule; lines: equal, and factors of three and ten."""
    canvas, ax = plt.subplots(figsize=(5, 4))
    critical = rows["e_min"] / rows["s_min"]
    parts = list(rows.assign(critical=critical).groupby("part"))
    for (rule, part), colour, mark in zip(parts, _colours(len(parts)), MARKS, strict=False):
        ax.plot(part["b_simple"], part["critical"], mark, color=colour, label=_named(str(rule)))
    both = pd.concat([rows["b_simple"], critical])
    ends = np.array([both.min() / 2, both.max() * 2])
    for factor, style in ((1, "-"), (3, "--"), (10, ":")):
        for side in {factor, 1 / factor}:
            ax.plot(ends, side * ends, linestyle=style, color="0.5", linewidth=0.8)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    ax.set(xlim=ends, ylim=ends)
    ax.set(xlabel="B_simple, samples", ylabel="Emin / Smin, samples")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")
    ax.legend()
    return canvas


def draw_noise(rows: pd.DataFrame) -> Canvas:
    """B_simple against the loss reached, a line a batch size, a panel a rule; training goes to the right."""
    rules = sorted(rows["rule"].unique())
    sizes = sorted(rows["batch_size"].unique())
    canvas, axes = plt.subplots(1, len(rules), figsize=(4.2 * len(rules), 4), squeeze=False, sharey=True)
    shades = sns.color_palette("viridis_r", n_colors=len(sizes))
    for ax, rule in zip(axes[0], rules, strict=True):
        for number, (size, shade) in enumerate(zip(sizes, shades, strict=True)):
            part = rows[(rows["rule"] == rule) & (rows["batch_size"] == size)]
            mark = MARKS[number % len(MARKS)]
            ax.plot(part["loss"], part["b_simple"], mark + "-", color=shade, markersize=4, label=f"{size:g}")
        ax.set(xscale="log", yscale="log", xlabel="training loss, nats", title=_named(rule))
        ax.invert_xaxis()
    axes[0, 0].set_ylabel("B_simple, samples")
    axes[0, -1].legend(title="B", loc="center left", bbox_to_anchor=(1.0, 0.5))
    canvas.tight_layout()
    return canvas


def draw_descent(rows: pd.DataFrame) -> Canvas:
    """Lowest loss of any lr against steps, and against examples; a line a batch size."""
    canvas, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True)
    colours = _colours(len(DESCENTS))
    for ax, axis in zip(axes, ("step", "examples"), strict=True):
        for number, (size, name) in enumerate(DESCENTS.items()):
            part = rows[rows["batch_size"] == size].sort_values(axis)
            ax.plot(
                part[axis], part["loss"], MARKS[number], linestyle="-", color=colours[number],
                markersize=3, linewidth=1, label=name,
            )  # fmt: skip
        ax.set(xscale="log", yscale="log", xlabel="steps" if axis == "step" else axis)
        budget = BUDGET["steps" if axis == "step" else axis]
        ax.axvline(float(budget), color="0.5", linewidth=0.8, linestyle=":")
    axes[0].set_ylabel("training loss, nats: best lr, mean over seeds")
    axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    canvas.tight_layout()
    return canvas


def draw_time(rows: pd.DataFrame) -> Canvas:
    """Time a sample against B, and its ratio to the mean about the same power of two; a colour a kind."""
    widest = rows[rows["hidden_units"] == rows["hidden_units"].max()]
    canvas, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
    for number, ((kind, name), colour) in enumerate(zip(KINDS.items(), _colours(len(KINDS)), strict=True)):
        part = widest[widest["kind"] == kind]
        for ax, column in ((left, "microseconds"), (right, "ratio")):
            ax.plot(part["batch_size"], part[column], MARKS[number], color=colour, markersize=5, label=name)
    left.set(yscale="log", ylabel="microseconds a sample")
    right.axhline(1.0, color="0.5", linewidth=0.8)
    right.set_ylabel("ratio to the mean about 2^k")
    for ax in (left, right):
        _batch_axis(ax)
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    canvas.tight_layout()
    return canvas


FIGURES = (
    Figure(
        name="trade_off",
        caption="Steps to the target against the batch size, and examples against steps, at the best lr of "
        "each batch size: geometric means over seeds, two sds. Lines: the hyperbola fitted to them; dotted: "
        "its Emin / Smin.",
        sql="figure_steps.sql",
        draw=draw_trade,
        claims=("hyperbola", "inverse_at_small_batches", "level_at_large_batches"),
    ),
    Figure(
        name="tuning",
        caption="Steps to the target (mean over the seeds that reached it) against lr, by batch size; "
        "hollow: not every seed reached it within the horizon.",
        sql="figure_lrs.sql",
        draw=draw_lrs,
        claims=("hyperbola",),
    ),
    Figure(
        name="critical_and_simple",
        caption="Emin / Smin of each seed's hyperbola against B_simple averaged along the same runs; lines: "
        "equal (solid), a factor of three (dashed), of ten (dotted).",
        sql="hyperbola.sql",
        parameters=SCALE,
        draw=draw_scales,
        claims=("noise_scale_order", "noise_scale_factor_three"),
    ),
    Figure(
        name="noise_scale",
        caption="B_simple (samples; numerator and denominator averaged apart) against the training loss at "
        "which it was measured, by batch size: it rises as training goes on, to the right.",
        sql="figure_noise.sql",
        draw=draw_noise,
        claims=("noise_scale_order", "noise_scale_factor_three"),
    ),
    Figure(
        name="descent",
        caption="The lowest training loss that any lr gives after so many steps (left) or examples (right), "
        "mean over seeds; dotted: the budgets of the claims.",
        sql="figure_descent.sql",
        parameters={"num_train": BUDGET["num_train"]},
        draw=draw_descent,
        claims=("equal_examples", "equal_steps"),
    ),
    Figure(
        name="step_time",
        caption="CPU time of a gradient step per sample (median over rounds and seeds) against the batch "
        "size, and its ratio to the mean over the sizes about the same power of two.",
        sql="figure_time.sql",
        draw=draw_time,
        claims=("power_of_two", "power_of_two_among_eights"),
    ),
)
