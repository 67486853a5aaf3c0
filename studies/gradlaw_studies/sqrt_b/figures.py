"""Figures: each draws the rows of its query and nothing else."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns  # type: ignore[import-untyped]  # seaborn ships no types
from matplotlib.figure import Figure as Canvas

from gradlaw.figure import Figure

PHASES = ["start", "middle", "end"]
QUANTITIES = ["loss", "projection", "total"]
LABELS = {
    "digits_softmax": "digits, softmax",
    "digits_mlp": "digits, MLP",
    "modular_addition": "addition mod 23",
}


def _tasks(rows: pd.DataFrame) -> list[str]:
    known = [name for name in LABELS if name in set(rows["task"])]
    return known + sorted(set(rows["task"]) - set(known))


def _legend_outside(canvas: Canvas, entries: dict[str, Any]) -> None:
    canvas.legend(list(entries.values()), list(entries), loc="center left", bbox_to_anchor=(1.0, 0.5))


def draw_noise(rows: pd.DataFrame) -> Canvas:
    """Std against B with replacement, a panel a task and quantity, beside the exact line."""
    tasks, shown = _tasks(rows), rows[rows["replacement"]]
    canvas, axes = plt.subplots(
        len(QUANTITIES), len(tasks), figsize=(3.1 * len(tasks), 7), sharex="col", squeeze=False
    )
    colours = sns.color_palette(n_colors=len(PHASES))
    entries: dict[str, Any] = {}
    for column, task in enumerate(tasks):
        for row, quantity in enumerate(QUANTITIES):
            ax = axes[row, column]
            for phase, colour in zip(PHASES, colours, strict=True):
                part = shown.query("task == @task and quantity == @quantity and phase == @phase")
                (dots,) = ax.plot(part["batch_size"], part["std"], "o", color=colour, markersize=4)
                (line,) = ax.plot(part["batch_size"], part["std_exact"], "-", color=colour, linewidth=1)
                entries[f"{phase}, measured"], entries[f"{phase}, exact"] = dots, line
            ax.set_xscale("log", base=2)
            ax.set_yscale("log")
            ax.set_title(LABELS.get(task, task) if row == 0 else "")
            ax.set_ylabel(f"std of {quantity}" if column == 0 else "")
            ax.set_xlabel("batch size B" if row == len(QUANTITIES) - 1 else "")
    canvas.tight_layout()
    _legend_outside(canvas, entries)
    return canvas


def draw_residual(rows: pd.DataFrame) -> Canvas:
    """log(std / exact) against B, corrected, with two standard errors; zero is the law."""
    tasks = _tasks(rows)
    canvas, axes = plt.subplots(2, len(tasks), figsize=(3.1 * len(tasks), 5), sharey=True, squeeze=False)
    palette = sns.color_palette(n_colors=len(QUANTITIES))
    styles = dict(zip(PHASES, ("o", "s", "^"), strict=True))
    entries: dict[str, Any] = {}
    for row, replacement in enumerate((True, False)):
        for column, task in enumerate(tasks):
            ax = axes[row, column]
            ax.axhline(0.0, color="0.5", linewidth=0.8)
            for quantity, colour in zip(QUANTITIES, palette, strict=True):
                for phase, marker in styles.items():
                    part = rows.query(
                        "task == @task and quantity == @quantity and phase == @phase "
                        "and replacement == @replacement"
                    )
                    entries[f"{quantity}, {phase}"] = ax.errorbar(
                        part["batch_size"],
                        part["residual"],
                        yerr=2 * part["residual_error"],
                        fmt=f"{marker}-",
                        color=colour,
                        markersize=3.5,
                        linewidth=0.8,
                    )
            ax.set_xscale("log", base=2)
            drawn = "with replacement" if replacement else "without, corrected"
            ax.set_title(f"{LABELS.get(task, task)}\n{drawn}")
            ax.set_xlabel("batch size B" if row else "")
            ax.set_ylabel("log(std / exact)" if column == 0 else "")
    canvas.tight_layout()
    _legend_outside(canvas, entries)
    return canvas


def draw_kurtosis(rows: pd.DataFrame) -> Canvas:
    """B kappa_B / kappa_1 against B, a panel a task; one is the law, the band the margin of the claim."""
    tasks = _tasks(rows)
    canvas, axes = plt.subplots(1, len(tasks), figsize=(3.3 * len(tasks), 3.2), sharey=True, squeeze=False)
    palette = dict(zip(PHASES, sns.color_palette(n_colors=len(PHASES)), strict=True))
    entries: dict[str, Any] = {}
    for ax, task in zip(axes[0], tasks, strict=True):
        ax.axhspan(0.9, 1.1, color="0.5", alpha=0.15)
        for (phase, quantity), part in rows[rows["task"] == task].groupby(["phase", "quantity"]):
            entries[f"{quantity}, {phase}"] = ax.errorbar(
                part["batch_size"],
                part["ratio"],
                yerr=2 * part["ratio_error"],
                fmt="o-" if quantity == "loss" else "s--",
                color=palette[str(phase)],
                markersize=4,
                linewidth=1,
            )
        ax.set_xscale("log", base=2)
        ax.set(title=LABELS.get(task, task), xlabel="batch size B")
    axes[0, 0].set_ylabel(r"$B\,\kappa_B\,/\,\kappa_1$")
    canvas.tight_layout()
    _legend_outside(canvas, entries)
    return canvas


def draw_controls(rows: pd.DataFrame) -> Canvas:
    """What breaks the law: std over sigma / sqrt(B) against B, a panel a control; one is the law."""
    grid = sns.relplot(
        data=rows,
        x="batch_size",
        y="ratio",
        col="control",
        col_wrap=3,
        hue="phase",
        hue_order=PHASES,
        style="quantity",
        style_order=QUANTITIES,
        kind="line",
        markers=True,
        height=2.6,
        aspect=1.2,
    )
    grid.set(yscale="log", xlabel="batch size B", ylabel="std / law")
    for ax in grid.axes.flat:
        ax.set_xscale("log", base=2)
        ax.axhline(1.0, color="0.5", linewidth=0.8)
    grid.set_titles("{col_name}")
    canvas: Canvas = grid.figure
    return canvas


def draw_scale(rows: pd.DataFrame) -> Canvas:
    """B_simple from two batch sizes against the direct one, a dot a trial and phase."""
    canvas, ax = plt.subplots(figsize=(5, 4))
    named = rows.assign(task=rows["task"].map(lambda name: LABELS.get(name, name)))
    sns.scatterplot(
        data=named,
        x="b_simple",
        y="b_simple_two_batch",
        hue="task",
        style="phase",
        style_order=PHASES,
        ax=ax,
    )
    ends = [named["b_simple"].min(), named["b_simple"].max()]
    ax.plot(ends, ends, color="0.5", linewidth=0.8)
    ax.set(
        xscale="log", yscale="log", xlabel=r"tr $\Sigma$ / |G|$^2$, samples", ylabel="from two batch sizes"
    )
    sns.move_legend(ax, "center left", bbox_to_anchor=(1.0, 0.5))
    return canvas


def draw_floor(rows: pd.DataFrame) -> Canvas:
    """Excess loss against B, a line a learning rate and sampling; thin lines fall as 1 / B."""
    canvas, ax = plt.subplots(figsize=(5, 4))
    named = rows.assign(lr=rows["lr"].map("{:g}".format))
    sns.lineplot(
        data=named, x="batch_size", y="floor", hue="lr", style="sampling", style_order=["iid", "epoch"],
        markers=True, ax=ax,
    )  # fmt: skip
    for _, part in rows[rows["sampling"] == "iid"].groupby("lr"):
        first = part.iloc[0]
        law = first["floor"] * first["batch_size"] / part["batch_size"]
        ax.plot(part["batch_size"], law, color="0.5", linewidth=0.8)
    ax.set_xscale("log", base=2)
    ax.set(yscale="log", xlabel="batch size B", ylabel="excess training loss, nats")
    sns.move_legend(ax, "center left", bbox_to_anchor=(1.0, 0.5))
    return canvas


FIGURES = (
    Figure(
        name="noise_against_batch_size",
        caption="Std of the mini-batch loss (nats), of the gradient's projections and of the whole gradient "
        "against B, drawn with replacement: dots measured, lines exactly sigma / sqrt(B).",
        sql="figure_noise.sql",
        draw=draw_noise,
        claims=("noise_with_replacement",),
    ),
    Figure(
        name="residual_from_the_law",
        caption="log(std / exact) with the finite-population factor taken out, two standard errors over "
        "seeds. Zero is the law; nothing bends with B.",
        sql="figure_noise.sql",
        draw=draw_residual,
        claims=("noise_without_replacement", "noise_uncorrected", "noise_straight", "noise_variance"),
    ),
    Figure(
        name="kurtosis",
        caption="B kappa_B / kappa_1 where it can be measured; the band is the claim's margin.",
        sql="figure_kurtosis.sql",
        draw=draw_kurtosis,
        claims=("kurtosis_of_means",),
    ),
    Figure(
        name="what_breaks_the_law",
        caption="Std over sigma / sqrt(B) for five controls on the digits; a flat line at one is the law.",
        sql="figure_control.sql",
        draw=draw_controls,
    ),
    Figure(
        name="noise_scale",
        caption="B_simple (samples) from two batch sizes against tr(Sigma) / |G|^2; the line is equality.",
        sql="figure_scale.sql",
        draw=draw_scale,
        claims=("noise_scale_two_batch",),
    ),
    Figure(
        name="loss_floor",
        caption="Excess training loss (nats) of constant-lr SGD, averaged over the last half of training; "
        "thin lines fall as 1 / B from the first point.",
        sql="figure_floor.sql",
        draw=draw_floor,
        claims=("floor_against_batch_size", "floor_against_lr", "floor_of_epochs"),
    ),
)
