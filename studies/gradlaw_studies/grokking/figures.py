"""Figures: each draws the rows of its query and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns  # type: ignore[import-untyped]  # seaborn ships no types
from matplotlib.figure import Figure as Canvas

from gradlaw.claim import Scalar
from gradlaw.figure import Figure
from gradlaw_studies.grokking.law import ACCURACY, CONSTANT

SEEN: dict[str, Scalar] = {"accuracy": ACCURACY}
RULE: dict[str, Scalar] = {**SEEN, "weight_decay": 5e-4}

Colour = tuple[float, float, float]


def _decay_colours(decays: Sequence[float]) -> dict[float, Colour]:
    """Grey for none, then from light to dark with the weight decay; told apart in grey, too."""
    positive = sorted(value for value in set(decays) if value > 0)
    shades = sns.color_palette("viridis_r", n_colors=max(len(positive), 1))
    return {0.0: (0.5, 0.5, 0.5), **dict(zip(positive, shades, strict=False))}


def draw_survival(rows: pd.DataFrame) -> Canvas:
    """Kaplan-Meier curves, a step line an arm."""
    canvas, ax = plt.subplots(figsize=(6, 4))
    colours = _decay_colours(rows["weight_decay"].tolist())
    arms = rows[["labels", "weight_decay"]].drop_duplicates().sort_values(["labels", "weight_decay"])
    for labels, decay in zip(arms["labels"], arms["weight_decay"].astype(float), strict=True):
        part = rows[(rows["labels"] == labels) & (rows["weight_decay"] == decay)]
        shuffled = labels == "shuffled"
        ax.step(
            part["time"],
            part["survival"],
            where="post",
            color="black" if shuffled else colours[decay],
            linestyle=":" if shuffled else "--" if decay == 0 else "-",
            linewidth=1.6 if shuffled or decay > 0 else 2.8,
            zorder=4 if shuffled else 3 if decay == 0 else 2,
            label=f"shuffled labels, {decay:g}" if shuffled else f"{decay:g}",
        )
    ax.set(xlabel="steps", ylabel="share of seeds not yet there", ylim=(-0.03, 1.05))
    ax.legend(title="weight decay", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return canvas


def draw_curves(rows: pd.DataFrame) -> Canvas:
    """Accuracy on training and held-out rows against the step, a panel a weight decay."""
    decays = sorted(rows["weight_decay"].unique())
    columns = min(3, len(decays))
    lines = -(-len(decays) // columns)
    canvas, axes = plt.subplots(
        lines, columns, figsize=(2.6 * columns, 2.4 * lines), sharex=True, sharey=True, squeeze=False
    )
    colours = sns.color_palette("colorblind", n_colors=2)
    for ax in axes.flat[len(decays) :]:
        ax.set_visible(False)
    for ax, decay in zip(axes.flat, decays, strict=False):
        part = rows[(rows["weight_decay"] == decay) & (rows["step"] > 0)]
        ax.plot(part["step"], part["train_accuracy"], "--", color=colours[0], label="training rows")
        ax.plot(part["step"], part["test_accuracy"], "-", color=colours[1], label="held-out rows")
        ax.set(title=f"weight decay {decay:g}", xscale="log", ylim=(-0.03, 1.03))
    canvas.supxlabel("steps", fontsize="medium")
    canvas.supylabel("accuracy, mean over seeds", fontsize="medium")
    canvas.tight_layout()
    canvas.legend(*axes[0, 0].get_legend_handles_labels(), loc="center left", bbox_to_anchor=(1.0, 0.5))
    return canvas


def draw_phase(rows: pd.DataFrame) -> Canvas:
    """A dot a modulus and share, dark where all seeds get there; the line is the published law."""
    canvas, ax = plt.subplots(figsize=(6, 4.2))
    dots = ax.scatter(
        rows["modulus"],
        rows["train_share"],
        c=rows["added"],
        cmap="cividis_r",
        vmin=0.0,
        vmax=1.0,
        s=90,
        edgecolors="black",
        linewidths=0.6,
    )
    moduli = np.geomspace(rows["modulus"].min() * 0.92, rows["modulus"].max() * 1.08, 100)
    law = CONSTANT * np.log(moduli) / moduli
    ax.plot(moduli, law, color="black", linewidth=1.2, label=f"{CONSTANT} ln(d) / d")
    ax.legend(loc="upper right")
    ax.set(xlabel="modulus d", ylabel="share of the pairs trained on", xscale="log", yscale="log")
    known = sorted(rows["modulus"].unique())
    ax.set_xticks(known, labels=[f"{modulus:g}" for modulus in known])
    ax.minorticks_off()
    ticks = [tick for tick in (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0) if tick > rows["train_share"].min() * 0.8]
    ax.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    canvas.colorbar(dots, label="share of seeds that add held-out pairs")
    return canvas


def draw_critical(rows: pd.DataFrame) -> Canvas:
    """Critical rows against d ln d, geometric mean and two standard errors, a line a budget; and the law."""
    logs = rows.assign(log_rows=np.log(rows["critical_rows"]))
    found = logs.groupby(["budget", "modulus"])["log_rows"].agg(["mean", "std", "count"]).reset_index()
    found["scale"] = found["modulus"] * np.log(found["modulus"])
    error = 2 * found["std"].fillna(0.0) / np.sqrt(found["count"])
    canvas, ax = plt.subplots(figsize=(6, 4.2))
    budgets = sorted(found["budget"].unique())
    shades = sns.color_palette("viridis_r", n_colors=len(budgets))
    for number, (budget, shade) in enumerate(zip(budgets, shades, strict=True)):
        part, spread = found[found["budget"] == budget], error[found["budget"] == budget]
        middle = np.exp(part["mean"])
        ax.errorbar(
            part["scale"] * 1.01**number,
            middle,
            yerr=[middle - np.exp(part["mean"] - spread), np.exp(part["mean"] + spread) - middle],
            fmt="osD^"[number % 4] + "-",
            color=shade,
            markersize=4,
            label=f"{budget:,.0f}",
        )
    ends = np.array([found["scale"].min() * 0.9, found["scale"].max() * 1.1])
    ax.plot(ends, CONSTANT * ends, color="black", linewidth=1.2, label=f"{CONSTANT} d ln d")
    ax.set(xlabel="d ln d", ylabel="critical number of training rows", xscale="log", yscale="log")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
    ax.legend(title="steps allowed", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return canvas


FIGURES = (
    Figure(
        name="time_to_generalise",
        caption="Kaplan-Meier: share of seeds whose held-out rows are not yet added (accuracy 0.99), by "
        "weight decay; a line that ends above 0 holds seeds censored at the budget. Times are logged steps.",
        sql="figure_survival.sql",
        parameters=SEEN,
        draw=draw_survival,
        claims=("decay_generalises",),
    ),
    Figure(
        name="accuracy",
        caption="Accuracy on training and held-out rows against steps (log scale), mean over seeds; a seed "
        "that has added its held-out rows has ended and counts on as it ended.",
        sql="figure_curves.sql",
        draw=draw_curves,
        claims=("delay_falls_with_decay",),
    ),
    Figure(
        name="phases",
        caption="Share of the seeds that add their held-out pairs within the budget, by modulus and share "
        "trained on, at weight decay 5e-4; the line is the published critical share.",
        sql="figure_phase.sql",
        parameters=RULE,
        draw=draw_phase,
        claims=("published_constant",),
    ),
    Figure(
        name="critical_rows",
        caption="Critical number of training rows against d ln d (geometric mean over seeds, two standard "
        "errors), were the budget an eighth, a quarter, a half or all of what it is, of the seeds whose "
        "threshold lies within the shares tried by then; the line is the published law.",
        sql="figure_critical.sql",
        parameters=RULE,
        draw=draw_critical,
        claims=("data_law", "threshold_settled"),
    ),
)
