"""Figures: each draws the rows of its query and nothing else."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns  # type: ignore[import-untyped]  # seaborn ships no types
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from gradlaw.figure import Figure

_TITLES = {
    "sgd": "gradient descent",
    "adam": "Adam",
    "digits_mlp": "network",
    "digits_softmax": "strongly convex loss",
}
_MARKERS = "osD^v<>pX*"


def _panels(names: list[str]) -> tuple[Canvas, dict[str, Axes]]:
    """A panel a name, side by side."""
    canvas, axes = plt.subplots(1, len(names), figsize=(3.6 * len(names), 3.4), squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        ax.set_title(_TITLES.get(name, name), fontsize="medium")
    return canvas, dict(zip(names, axes[0], strict=True))


def _finish(canvas: Canvas, ax: Axes, title: str) -> Canvas:
    """With the legend of one panel beside them all."""
    canvas.tight_layout()
    handles, labels = ax.get_legend_handles_labels()
    canvas.legend(handles, labels, title=title, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return canvas


def draw_edges(rows: pd.DataFrame) -> Canvas:
    """Largest stable lr against the length of warm-up, geometric mean and two standard errors."""
    canvas, ax = plt.subplots(figsize=(6, 4))
    colours = sns.color_palette("colorblind", n_colors=2)
    for rule, colour, marker in zip(("sgd", "adam"), colours, "os", strict=True):
        part = rows[rows["rule"] == rule].assign(log_edge=lambda own: np.log(own["edge"]))
        linear = part[part["schedule"] == "linear_warmup"].groupby("warmup_steps")["log_edge"]
        middle, error = linear.mean(), 2 * linear.sem().fillna(0.0)
        ax.errorbar(
            np.maximum(middle.index.to_numpy(dtype=float), 0.5),
            np.exp(middle),
            yerr=[np.exp(middle) - np.exp(middle - error), np.exp(middle + error) - np.exp(middle)],
            fmt=f"{marker}-",
            color=colour,
            markersize=4,
            label=_TITLES[rule],
        )
        factor = part.loc[part["schedule"] == "moment_warmup", "log_edge"]
        if len(factor):
            level = float(np.exp(factor.mean()))
            ax.axhline(level, color=colour, linestyle="--" if rule == "sgd" else ":", linewidth=1.4,
                       label=f"{_TITLES[rule]}, factor sqrt(1 - beta2^t)")  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="steps of linear warm-up", ylabel="largest stable lr")
    lengths = sorted(rows.loc[rows["schedule"] == "linear_warmup", "warmup_steps"].unique())
    ax.set_xticks([max(length, 0.5) for length in lengths], labels=[f"{length:g}" for length in lengths])
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("{x:g}")
    ax.tick_params(axis="x", which="minor", bottom=False)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return canvas


def draw_paths(rows: pd.DataFrame) -> Canvas:
    """Sharpness times the lr of the step over what is stable, a line a warm-up, a panel a rule."""
    names = [name for name in ("sgd", "adam") if name in set(rows["rule"])]
    canvas, axes = _panels(names)
    lengths = sorted(rows["warmup_steps"].unique())
    shades = sns.color_palette("viridis_r", n_colors=len(lengths))
    for name, ax in axes.items():
        part = rows[rows["rule"] == name]
        peak = part["lr"].max()
        for (lr, length), own in part.groupby(["lr", "warmup_steps"]):
            small = lr < peak
            ax.plot(
                own["step"],
                own["ratio"],
                color="black" if small else shades[lengths.index(length)],
                linestyle=":" if small else "-",
                linewidth=1.4,
                label="none, a sixteenth of the lr" if small else f"{length:g}",
            )
        ax.axhline(1.0, color="grey", linewidth=0.8)
        ax.set(xlabel="step", yscale="log")
    axes[names[0]].set_ylabel("lr x sharpness / stable")
    return _finish(canvas, axes[names[0]], "warm-up, steps")


def draw_decays(rows: pd.DataFrame) -> Canvas:
    """Held-out loss at the end against the peak, a line a shape, a panel a task."""
    canvas, axes = _panels(sorted(rows["task"].unique()))
    shapes = ["constant", "cosine", "step", "inverse time", "rising"]
    colours = sns.color_palette("colorblind", n_colors=len(shapes))
    for name, ax in axes.items():
        part = rows[rows["task"] == name]
        for number, shape in enumerate(shapes):
            own = part[part["shape"] == shape].sort_values("lr")
            ax.plot(
                own["lr"],
                own["loss"],
                f"{_MARKERS[number]}{'--' if shape == 'rising' else '-'}",
                color=colours[number],
                markersize=4,
                label="1/t" if shape == "inverse time" else shape,
            )
        best = part.groupby("shape")["loss"].min()
        # what is told apart, and some of what lies above it
        span = max(best.max() - best.min(), 0.01 * best.min())
        ax.set(
            xscale="log", yscale="log", xlabel="peak lr", ylim=(best.min() - span / 4, best.max() + 8 * span)
        )
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("{x:g}")
        ax.tick_params(axis="y", which="both", labelsize="small")
    first = next(iter(axes.values()))
    first.set_ylabel("held-out loss at the end, nats")
    return _finish(canvas, first, "lr")


def draw_scaling(rows: pd.DataFrame) -> Canvas:
    """Distance from the base's curve against the factor, a line a rule, a panel an optimizer."""
    names = [name for name in ("sgd", "adam") if name in set(rows["rule"])]
    canvas, axes = _panels(names)
    powers = ["none", "root", "linear", "square"]
    colours = dict(zip(powers, sns.color_palette("colorblind", n_colors=len(powers)), strict=True))
    for name, ax in axes.items():
        part = rows[rows["rule"] == name]
        middle = part.groupby(["arm", "factor"])["distance"].mean()
        for arm in part.loc[part["arm"] != "repeat", "arm"].unique():
            own, betas = middle[arm], arm.endswith(" with betas")
            power = arm.removesuffix(" with betas")
            ax.plot(
                own.index,
                own,
                f"{_MARKERS[powers.index(power)]}{'--' if betas else '-'}",
                color=colours[power],
                markerfacecolor="white" if betas else colours[power],
                markersize=5,
                label=arm,
            )
        noise = part.loc[part["arm"] == "repeat", "distance"].mean()
        ax.axhline(noise, color="grey", linestyle=":", label="base again")
        factors = sorted(part.loc[part["arm"] != "repeat", "factor"].unique())
        ax.set(xscale="log", yscale="log", xlabel="batch size over the base's")
        ax.set_xticks(factors, labels=[f"{factor:g}" for factor in factors])
        ax.minorticks_off()
        ax.yaxis.set_major_formatter("{x:g}")
    axes[names[0]].set_ylabel("mean distance of log loss")
    return _finish(canvas, axes[names[-1]], "lr scaled by")


FIGURES = (
    Figure(
        name="largest_stable_lr",
        caption="Largest lr at which full-batch training ends better than chance, by bisection, against the "
        "length of linear warm-up (geometric mean over seeds, two standard errors); level lines: the factor "
        "sqrt(1 - beta2^t) instead, matched to the longest.",
        sql="figure_edges.sql",
        draw=draw_edges,
        claims=(
            "edge_rises_sgd",
            "edge_rises_adam",
            "edge_gain_sgd",
            "edge_gain_adam",
            "factor_is_warmup_sgd",
            "factor_is_warmup_adam",
        ),
    ),
    Figure(
        name="sharpness_along_the_way",
        caption="The lr of a step times the sharpness there (for Adam in its own metric), over what is "
        "stable on a quadratic: 2, for Adam 38. Geometric mean over seeds.",
        sql="figure_paths.sql",
        draw=draw_paths,
        claims=("sharpness_yields_sgd", "sharpness_yields_adam"),
    ),
    Figure(
        name="decays",
        caption="Held-out loss after training against the peak lr, by the shape of the lr (geometric mean "
        "over seeds; diverged ones count as a loss of a million and lie above the panel).",
        sql="figure_decays.sql",
        draw=draw_decays,
        claims=tuple(
            f"{shape}_beats_constant_{where}"
            for where in ("convex", "network")
            for shape in ("cosine", "step", "inverse_time")
        ),
    ),
    Figure(
        name="scaling_rules",
        caption="Mean distance of log training loss from the base batch's at the same examples, against the "
        "factor of the batch size; dashed: betas and eps scaled, too; dotted: the base on other batches.",
        sql="figure_scaling.sql",
        draw=draw_scaling,
        claims=("sgd_scales_linearly", "adam_scales_by_root", "adam_betas_matter"),
    ),
)
