"""Figures of the half about memory: each draws the rows of its query and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns  # type: ignore[import-untyped]  # seaborn ships no types
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from scipy import stats

from gradlaw.figure import Figure
from gradlaw_studies.lion_adamw.settings import SETTINGS, SOURCE

ASKED = ",".join(
    f"{item.task} {value!r}" for item in (*SETTINGS.values(), SOURCE) for value in item.thresholds
)
MARKERS = ("o", "s", "^", "D", "v")
COEFFICIENT = r"lr $(c_n(\beta_1) - c_n(\beta_2))$"


def half_widths(errors: pd.Series[float], nums: pd.Series[int]) -> pd.Series[float]:
    """Of 95% t intervals, from standard errors over so many seeds; zero where a single seed has none."""
    found = errors * stats.t.ppf(0.975, np.maximum(nums - 1, 1))
    return found.fillna(0.0)


def _panels(rows: pd.DataFrame, draw: Callable[[Axes, pd.DataFrame], None]) -> Canvas:
    """A panel a task and threshold, of a task in a row."""
    tasks = sorted(rows["task"].unique()) or ["no task"]
    levels = [sorted(rows.loc[rows["task"] == task, "threshold"].unique(), reverse=True) for task in tasks]
    columns = max(1, *map(len, levels))
    canvas, axes = plt.subplots(
        len(tasks),
        columns,
        figsize=(3.2 * columns + 2.6, 2.8 * len(tasks)),
        squeeze=False,
        layout="constrained",
    )
    for ax in axes.flat:
        ax.set_visible(False)
    for line, (task, thresholds) in enumerate(zip(tasks, levels, strict=True)):
        for ax, threshold in zip(axes[line], thresholds, strict=False):
            ax.set_visible(True)
            ax.set_title(f"{task}, loss {threshold:g}", fontsize="medium")
            draw(ax, rows[(rows["task"] == task) & (rows["threshold"] == threshold)])
            if ax is not axes[line][0]:
                ax.set_ylabel("")
    return canvas


def _legend(canvas: Canvas) -> None:
    """One legend for all panels, of every label once."""
    found = {
        label: handle
        for ax in canvas.axes
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    canvas.legend(found.values(), found.keys(), loc="outside right center")


def _draw_against_x(value: str, label: str) -> Callable[[pd.DataFrame], Canvas]:
    """A quantity against the coefficient; beta2 below beta1 hollow."""

    def panel(ax: Axes, part: pd.DataFrame) -> None:
        if part[value].max() > 0.6 and value == "above":
            ax.set_yscale("symlog", linthresh=0.2)
        colours = sns.color_palette("colorblind", n_colors=2)
        arms = part[["lr", "beta1"]].drop_duplicates().to_numpy(dtype=float).tolist()
        for number, (lr, beta1) in enumerate(arms):
            own = part[(part["lr"] == lr) & (part["beta1"] == beta1)]
            for below in (False, True):
                arm = own[(own["beta2"] < own["beta1"]) == below]
                if arm.empty:
                    continue
                colour = colours[int(beta1 > 0.95)]
                side = "beta2 < beta1" if below else "beta2 >= beta1"
                ax.errorbar(
                    arm["x"],
                    arm[value],
                    yerr=half_widths(arm[f"{value}_error"], arm["num_seeds"]),
                    fmt=MARKERS[number % len(MARKERS)] + ("" if below else "-"),
                    color=colour,
                    mfc="white" if below else colour,
                    ms=5,
                    lw=1,
                    label=f"lr {lr:g}, beta1 {beta1:g}, {side}",
                )
        ax.axhline(0, color="0.6", lw=0.8)
        ax.axvline(0, color="0.6", lw=0.8)
        ax.margins(0.1)
        ax.locator_params(axis="x", nbins=4)
        ax.set(xlabel=COEFFICIENT, ylabel=label)

    def draw(rows: pd.DataFrame) -> Canvas:
        canvas = _panels(rows, panel)
        _legend(canvas)
        return canvas

    return draw


def draw_batches(rows: pd.DataFrame) -> Canvas:
    """Slopes against batch size, B_simple as a band from its smallest to its largest estimate."""

    def panel(ax: Axes, part: pd.DataFrame) -> None:
        sizes = sorted(size for size in part["batch_size"].unique() if size > 0)
        places = {size: float(np.log2(size)) for size in sizes}
        places[0] = (max(places.values()) + 2) if places else 0.0
        part = part.assign(place=part["batch_size"].map(places)).sort_values("place")
        halves = half_widths(part["error"], part["num_seeds"])
        ax.errorbar(part["place"], part["slope"], yerr=halves, fmt="o-", color="black", ms=4, label="slope")
        simple = part["simple"].dropna()
        simple = simple[simple > 0]
        if len(simple):
            low, high = np.log2(simple.min()), np.log2(simple.max())
            ax.axvspan(low, high, color="tab:orange", alpha=0.3, label="B_simple")
        ax.axhline(0, color="0.6", lw=0.8)
        names = {place: "all" if size == 0 else f"{size:g}" for size, place in places.items()}
        ax.set_xticks(list(names), list(names.values()))
        ax.set(xlabel="batch size", ylabel="slope of log one-norm")

    canvas = _panels(rows, panel)
    _legend(canvas)
    return canvas


def draw_arms(rows: pd.DataFrame) -> Canvas:
    """A dot an arm, over the same seed's reference."""

    def panel(ax: Axes, part: pd.DataFrame) -> None:
        places = np.arange(len(part))
        halves = half_widths(part["error"], part["num_seeds"])
        ax.errorbar(part["value"], places, xerr=halves, fmt="o", color="black")
        ax.set_yticks(places, list(part["arm"]))
        ax.set_ylim(-0.6, len(part) - 0.4)
        ax.axvline(0, color="0.6", lw=0.8)
        ax.set(xlabel="log one-norm over its reference")

    return _panels(rows, panel)


def draw_reached(rows: pd.DataFrame) -> Canvas:
    """A cell a setting and threshold: trials that crossed, of those that ended soundly."""
    if rows.empty:
        canvas, _ = plt.subplots()
        return canvas
    sizes = ["all rows" if size == 0 else f"B = {size}" for size in rows["batch_size"].astype(int)]
    lines = rows["task"] + ", " + rows["rule"] + ", " + pd.Series(sizes, index=rows.index)
    ranks = rows.groupby("task")["threshold"].rank(method="dense", ascending=False).astype(int)
    texts = [
        f"{level:g}: {crossed} of {num}"
        for level, crossed, num in zip(
            rows["threshold"], rows["num_crossed"], rows["num_trials"], strict=True
        )
    ]
    told = pd.DataFrame(
        {"line": lines, "rank": ranks, "text": texts, "share": rows["num_crossed"] / rows["num_trials"]}
    )
    shares, labels = (told.pivot(index="line", columns="rank", values=name) for name in ("share", "text"))
    canvas, ax = plt.subplots(figsize=(7, 0.4 * len(shares) + 1), layout="constrained")
    sns.heatmap(
        shares,
        annot=labels.fillna(""),
        fmt="",
        cmap="Greys",
        vmin=0,
        vmax=1.6,
        cbar=False,
        linewidths=1,
        ax=ax,
    )
    ax.set(xlabel="threshold, falling: trials that crossed it", ylabel="", xticks=[])
    return canvas


MEMORY_FIGURES = (
    Figure(
        name="memory_norms",
        caption=(
            "Log one-norm of the gradient at matched training loss, over that of the same seed at beta2 = "
            "beta1, against the coefficient. The formula: falling, through the origin. 95% intervals."
        ),
        sql="figure_memory_norms.sql",
        parameters={"rule": "adamw"},
        draw=_draw_against_x("above", "excess log one-norm"),
        claims=tuple(f"{name}_{task}" for task in SETTINGS for name in ("one_norm", "trend")),
    ),
    Figure(
        name="memory_accuracy",
        caption=(
            "Test accuracy at matched training loss, less that of the same seed at beta2 = beta1, in "
            "percent. The source: rising with the coefficient. 95% intervals."
        ),
        sql="figure_memory_norms.sql",
        parameters={"rule": "adamw"},
        draw=_draw_against_x("accuracy", "test accuracy, %"),
        claims=tuple(f"accuracy_{task}" for task in SETTINGS),
    ),
    Figure(
        name="memory_lion",
        caption="As the first figure, of Lion, against the coefficient that AdamW would have at its betas.",
        sql="figure_memory_norms.sql",
        parameters={"rule": "lion"},
        draw=_draw_against_x("above", "excess log one-norm"),
        claims=tuple(f"lion_none_{task}" for task in SETTINGS),
    ),
    Figure(
        name="memory_batches",
        caption=(
            "Slope of the log one-norm in the coefficient against batch size, at beta1 = .9, and the noise "
            "scale B_simple near the crossing, of the seeds that crossed. Below zero: as the formula gives. "
            "95% intervals."
        ),
        sql="figure_memory_batches.sql",
        draw=draw_batches,
        claims=tuple(f"{name}_{task}" for task in SETTINGS for name in ("reversal", "crossover")),
    ),
    Figure(
        name="memory_arms",
        caption=(
            "One-norm of AdamW and of its memoryless twin with the term over the twin without, and of Lion "
            "with the one-norm rewarded or penalized over Lion without, at matched loss. 95% intervals."
        ),
        sql="figure_memory_arms.sql",
        draw=draw_arms,
        claims=tuple(f"{name}_{task}" for task in SETTINGS for name in ("twin_follows", "memory_raises")),
    ),
    Figure(
        name="memory_reached",
        caption="How many trials that ended soundly ever crossed each threshold.",
        sql="figure_memory_reached.sql",
        parameters={"asked": ASKED},
        draw=draw_reached,
    ),
)
