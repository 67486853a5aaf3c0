"""Figures: each draws the rows of its query and nothing else."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns  # type: ignore[import-untyped]  # seaborn ships no types
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from gradlaw.figure import Figure
from gradlaw_studies.memory_identity.claims import MIN_EPS

LABELS = {"digits_mlp": "digits, tanh network", "modular_addition": "addition mod 7, squares"}
OPTIMIZERS = {
    "heavy_ball": "heavy ball",
    "nesterov": "Nesterov",
    "adamw": "AdamW",
    "nadam": "NAdam",
    "lion": "Lion, smooth sign",
}
KERNEL_LABELS = {
    "exponential": "exponential",
    "power_3": "$(k+1)^{-3}$",
    "power_2": "$(k+1)^{-2}$",
    "power_1.5": "$(k+1)^{-1.5}$",
    "uniform": "uniform",
}
LONG_HORIZON = 1.0  # lr times steps of the runs whose memory is as long as they are


def _names(rows: pd.Series[str], known: dict[str, str]) -> list[str]:
    """The versions of tasks are cut off where they are looked up; what is not known comes last."""
    seen = set(rows)
    first = [name for label in known for name in sorted(seen) if name.split("@")[0] == label]
    return first + sorted(seen - set(first))


def _label(name: str, known: dict[str, str]) -> str:
    return known.get(name.split("@")[0], name)


def _guide(ax: Axes, group: pd.DataFrame, power: int) -> None:
    """A line of slope ``power`` through the gap at the smallest lr, where theory should hold best."""
    lrs = group["lr"].sort_values()
    smallest = float(group["gap"].loc[lrs.index[0]])
    ends = np.array([lrs.iloc[0], lrs.iloc[-1]])
    ax.plot(ends, smallest * (ends / ends[0]) ** power, color="0.6", linewidth=0.8, linestyle=":")


def draw_order(rows: pd.DataFrame) -> Canvas:
    """The largest gap against lr, a panel a task and optimizer; filled: corrected. Dotted: slopes 1 and 2."""
    tasks, optimizers = _names(rows["task"], LABELS), _names(rows["optimizer"], OPTIMIZERS)
    canvas, axes = plt.subplots(
        len(tasks), len(optimizers), figsize=(2.6 * len(optimizers), 2.9 * len(tasks)), squeeze=False
    )
    for row, task in enumerate(tasks):
        for column, optimizer in enumerate(optimizers):
            ax = axes[row, column]
            part = rows.query("task == @task and optimizer == @optimizer")
            settings = sorted(part["settings"].unique())
            for name, colour in zip(settings, sns.color_palette(n_colors=len(settings)), strict=True):
                for corrected, group in part[part["settings"] == name].groupby("corrected"):
                    ax.plot(
                        group["lr"],
                        group["gap"],
                        marker="o",
                        markersize=4,
                        color=colour,
                        fillstyle="full" if corrected else "none",
                        linestyle="-" if corrected else "--",
                        linewidth=1,
                        label=name if corrected else None,
                    )
                    _guide(ax, group, 2 if corrected else 1)
            ax.set(xscale="log", yscale="log", xlabel="lr" if row == len(tasks) - 1 else "")
            ax.set_title(_label(optimizer, OPTIMIZERS) if row == 0 else "")
            ax.set_ylabel(f"largest gap\n{_label(task, LABELS)}" if column == 0 else "")
            if settings:
                ax.legend(fontsize=6, loc="lower right")
    canvas.tight_layout()
    return canvas


def draw_outside(rows: pd.DataFrame) -> Canvas:
    """AdamW's gaps: left without, right with the correction; a colour an eps, grey the long memory."""
    tasks = _names(rows["task"], LABELS)
    canvas, axes = plt.subplots(len(tasks), 2, figsize=(8.4, 3.4 * len(tasks)), squeeze=False, sharey="row")
    epsilons = sorted(rows["eps"].unique(), reverse=True)
    colours = dict(zip(epsilons, sns.color_palette("viridis_r", n_colors=len(epsilons)), strict=True))
    for row, task in enumerate(tasks):
        for column, corrected in enumerate((False, True)):
            ax = axes[row, column]
            part = rows[(rows["task"] == task) & (rows["corrected"] == corrected)]
            for key, group in part.groupby(["beta1", "beta2", "eps", "horizon"], sort=True):
                beta1, beta2, eps, horizon = (float(str(value)) for value in key)
                far = horizon >= LONG_HORIZON
                ax.plot(
                    group["lr"],
                    group["gap"],
                    "s-" if far else "o-",
                    color="0.4" if far else colours[eps],
                    markersize=4,
                    linewidth=1,
                    label=f"{beta1:g}, {beta2:g}; eps {eps:g}; T = {horizon:g}",
                )
                _guide(ax, group, 2 if corrected else 1)
            ax.set(xscale="log", yscale="log", xlabel="lr" if row == len(tasks) - 1 else "")
            ax.set_title("with the correction" if corrected else "without")
            ax.set_ylabel(f"largest gap\n{_label(task, LABELS)}" if column == 0 else "")
        axes[row, 1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    canvas.tight_layout()
    return canvas


def draw_limit(rows: pd.DataFrame) -> Canvas:
    """Relative difference of AdamW's and Lion's corrections against steps, a line a pair of betas."""
    canvas, ax = plt.subplots(figsize=(5.6, 3.6))
    for key, group in rows.groupby(["beta1", "beta2"], sort=True):
        beta1, beta2 = (float(str(value)) for value in key)
        style = "o-" if beta1 == beta2 else "s--"
        ax.plot(group["n"], group["difference"], style, markersize=4, label=f"{beta1:g}, {beta2:g}")
    ax.set(xscale="log", yscale="log", xlabel="steps n", ylabel="largest difference / AdamW's largest")
    ax.legend(title="betas of both", loc="center left", bbox_to_anchor=(1.0, 0.5))
    canvas.tight_layout()
    return canvas


def draw_kernels(rows: pd.DataFrame) -> Canvas:
    """The largest gap against lr, a line a kernel; dotted: what theory leaves out, set to it."""
    canvas, axes = plt.subplots(1, 2, figsize=(8.6, 3.8), sharey=True)
    kernels = _names(rows["kernel"], KERNEL_LABELS)
    colours = sns.color_palette(n_colors=len(kernels))
    for ax, corrected in zip(axes, (False, True), strict=True):
        for kernel, colour in zip(kernels, colours, strict=True):
            part = rows.query("kernel == @kernel and corrected == @corrected").sort_values("lr")
            ax.plot(
                part["lr"], part["gap"], "o-", color=colour, markersize=4, label=_label(kernel, KERNEL_LABELS)
            )
            scale = (part["gap"] / part["left_out"]).iloc[0]
            ax.plot(part["lr"], scale * part["left_out"], ":", color=colour, linewidth=1.2)
        ax.set(
            xscale="log", yscale="log", xlabel="lr", title="with the correction" if corrected else "without"
        )
    axes[0].set_ylabel("largest gap")
    axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    canvas.tight_layout()
    return canvas


def draw_noise(rows: pd.DataFrame) -> Canvas:
    """Distance of heavy ball's mean end in units of what the noise term moves, with two errors."""
    canvas, ax = plt.subplots(figsize=(6.2, 3.6))
    compared = {"past_batches": "the twin on the past batches", "full_batch": "heavy ball on the full batch"}
    momenta = sorted(rows["momentum"].unique())
    colours = sns.color_palette(n_colors=len(momenta))
    for momentum, colour in zip(momenta, colours, strict=True):
        for name, style in zip(compared, ("o-", "s--"), strict=True):
            part = rows.query("momentum == @momentum and compared == @name")
            if name == "full_batch":  # at smaller lr its error is far beyond the picture
                part = part[part["effective_lr"] == part["effective_lr"].max()]
            ax.errorbar(
                part["effective_lr"],
                part["share"],
                yerr=2 * part["error"].fillna(0.0),
                fmt=style,
                color=colour,
                markersize=4,
                linewidth=1,
                label=f"b = {momentum:g}: from {compared[name]}",
            )
    for level in (0.0, 1.0):
        ax.axhline(level, color="0.6", linewidth=0.8, linestyle=":")
    ax.set(xscale="log", xlabel="lr / (1 - b)", ylabel="distance / what the noise term moves")
    known = sorted(rows["effective_lr"].unique())
    ax.set_xticks(known, labels=[f"{lr:.2g}" for lr in known])
    ax.minorticks_off()
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    canvas.tight_layout()
    return canvas


FIGURES = (
    Figure(
        name="orders",
        caption="Largest distance of any coordinate between an optimizer and its memoryless twin over a "
        "fixed horizon against lr: open, without the correction; filled, with it. Dotted: slopes 1 and 2.",
        sql="figure_order.sql",
        parameters={"eps": MIN_EPS, "horizon": LONG_HORIZON},
        draw=draw_order,
        claims=("order_without", "order_with"),
    ),
    Figure(
        name="where_it_breaks",
        caption="The same for AdamW as eps falls, and (squares) where lr |c(beta1) - c(beta2)| is near 1 at "
        "every lr. Dotted lines have the slopes that the theory would give.",
        sql="figure_outside.sql",
        parameters={"eps": MIN_EPS, "horizon": LONG_HORIZON},
        draw=draw_outside,
        claims=("order_with",),
    ),
    Figure(
        name="adamw_and_lion",
        caption="Largest coordinate of the difference between AdamW's and Lion's corrections at one point of "
        "the digits' network, in units of AdamW's largest, against the number of steps behind them.",
        sql="figure_limit.sql",
        draw=draw_limit,
        claims=("adamw_is_lion",),
    ),
    Figure(
        name="kernels",
        caption="Largest gap for kernels of memory that decay at different speeds; dotted, what the theory "
        "leaves out (h m1, or h^2 m2 with the correction), set equal at the smallest lr.",
        sql="figure_kernels.sql",
        draw=draw_kernels,
        claims=("order_by_kernel",),
    ),
    Figure(
        name="noise",
        caption="How far the mean end of mini-batch heavy ball lies from that of its memoryless twin, and "
        "from full batch, in units of what the noise term moves; two standard errors. As lr falls: 1 and 0.",
        sql="figure_noise.sql",
        draw=draw_noise,
        claims=("noise_term", "noise_in_the_mean"),
    ),
)
