"""Pictures of networks: their spectra, accuracy, convergence, and what late noise does to them."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns  # type: ignore[import-untyped]  # seaborn ships no types
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

LIVE = 0.05  # the authors' threshold on an amplitude
SHOWN_NODES = 120


def draw_spectra(rows: pd.DataFrame) -> Canvas:
    """Amplitudes |z_a| of one network's nodes over frequencies, before and after training.

    Shown are the nodes that are live at the last step, sorted by their top frequency then; the same nodes in
    the same order at every step.
    """
    first = rows[rows["name"] == "W_a"].sort_values("step")
    amplitudes = {int(row["step"]): _amplitudes(row) for row in first.to_dict("records")}
    last = amplitudes[max(amplitudes)]
    live = np.flatnonzero(last[1:].max(axis=0) > LIVE)
    order = live[np.lexsort((-last[1:, live].max(axis=0), last[1:, live].argmax(axis=0)))][:SHOWN_NODES]
    canvas, axes = plt.subplots(
        1, len(amplitudes), figsize=(4.6 * len(amplitudes), 3.4), sharey=True, squeeze=False
    )
    for ax, (step, values) in zip(axes[0], amplitudes.items(), strict=True):
        image = ax.imshow(
            values[:, order], aspect="auto", origin="lower", cmap="cividis", interpolation="nearest", vmin=0.0
        )
        canvas.colorbar(image, ax=ax, label=r"$|z_{akj}|$")
        name = "before training" if step == 0 else f"after {step:,} steps"
        ax.set(title=name, xlabel="node, sorted by its frequency at the end")
        ax.grid(visible=False)
    axes[0, 0].set_ylabel("frequency k")
    canvas.tight_layout()
    return canvas


def _amplitudes(row: dict[Any, Any]) -> NDArray[np.float64]:
    """|z_akj| of one stored W_a, shape [n + 1, q]."""
    shape = [int(size) for size in row["shape"].split(",")]
    stored = np.frombuffer(bytes(row["bytes"]), np.dtype(row["dtype"]).newbyteorder("<")).reshape(shape)
    amplitudes: NDArray[np.float64] = np.abs(np.fft.rfft(stored.astype(np.float64), axis=0)) / shape[0]
    return amplitudes


def draw_accuracy(rows: pd.DataFrame) -> Canvas:
    """Accuracy against steps on pairs trained on and held out; bands from the worst network to the best."""
    panels = (
        rows[["labels", "modulus"]]
        .drop_duplicates()
        .sort_values(["labels", "modulus"], ascending=[False, True])
    )
    canvas, axes = plt.subplots(
        1, len(panels), figsize=(3.5 * len(panels) + 1.2, 3.0), sharey=True, squeeze=False
    )
    palette = sns.color_palette()
    for ax, (labels, modulus) in zip(axes[0], panels.itertuples(index=False), strict=True):
        part = rows[(rows["labels"] == labels) & (rows["modulus"] == modulus)]
        for pairs, style, colour in (("train", "-", palette[0]), ("test", "--", palette[1])):
            name = "trained on" if pairs == "train" else "held out"
            ax.plot(part["step"], part[pairs], style, color=colour, label=name)
            ax.fill_between(
                part["step"],
                part[f"{pairs}_low"],
                part[f"{pairs}_high"],
                color=colour,
                alpha=0.2,
                linewidth=0,
            )
        title = f"d = {modulus}" + ("" if labels == "sum" else f", {labels} sums")
        ax.set_xscale("symlog", linthresh=10)
        ax.set(title=title, xlabel="step", ylim=(-0.03, 1.03))
    axes[0, 0].set_ylabel("accuracy")
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return canvas


def draw_converged(rows: pd.DataFrame) -> Canvas:
    """How many networks converged, of how many: a panel a modulus, width against weight decay."""
    panels = (
        rows[["labels", "modulus"]]
        .drop_duplicates()
        .sort_values(["labels", "modulus"], ascending=[False, True])
    )
    canvas, axes = plt.subplots(1, len(panels), figsize=(3.9 * len(panels), 3.2), squeeze=False)
    for ax, (labels, modulus) in zip(axes[0], panels.itertuples(index=False), strict=True):
        part = rows[(rows["labels"] == labels) & (rows["modulus"] == modulus)]
        part = part.assign(
            share=part["num_converged"] / part["num_networks"],
            text=part["num_converged"].astype(str) + "/" + part["num_networks"].astype(str),
        )
        cells = part.pivot_table(index="width", columns="weight_decay", values="share")
        texts = part.pivot_table(index="width", columns="weight_decay", values="text", aggfunc="first")
        sns.heatmap(
            cells, annot=texts.fillna(""), fmt="", vmin=0, vmax=1, cmap="cividis", cbar=False, ax=ax,
            linewidths=0.5,
        )  # fmt: skip
        title = f"d = {modulus}" + ("" if labels == "sum" else f", {labels} sums")
        ax.set(title=title, xlabel="weight decay", ylabel="width q")
    canvas.tight_layout()
    return canvas


LATE = {
    "order_4_or_6": "order 4 or 6",
    "factorable": "factorable",
    "construction": "a construction",
}


def draw_late(rows: pd.DataFrame) -> Canvas:
    """What the noise of a constant lr does: shares before the lr falls and at the end, and residuals."""
    moduli = sorted(rows["modulus"].unique())
    canvas, axes = plt.subplots(1, 2, figsize=(8.4, 3.2), width_ratios=(3, 1))
    left, right = axes
    palette = sns.color_palette()
    names = [f"{name}\nd = {modulus}" for name in LATE.values() for modulus in moduli]
    moments = rows.assign(moment=rows["at_end"].map({True: "at the end", False: "before the lr falls"}))
    for number, (moment, part) in enumerate(moments.groupby("moment", sort=False)):
        latest = part.sort_values("step").groupby("modulus").last().reindex(moduli)
        heights = [latest[column].loc[modulus] for column in LATE for modulus in moduli]
        places = np.arange(len(heights)) + 0.4 * number - 0.2
        left.bar(places, heights, 0.4, color=palette[number], label=moment, hatch="" if number else "//")
        right.plot(
            [str(modulus) for modulus in moduli], latest["residual"], "so"[number], color=palette[number]
        )
    left.set_xticks(range(len(names)), names, fontsize=8)
    left.set(ylabel="share", ylim=(0, 1))
    left.grid(visible=False, axis="x")
    left.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    right.set(xlabel="modulus d", ylabel="median residual of factors")
    right.margins(x=0.3, y=0.2)
    right.set_ylim(bottom=0)
    canvas.tight_layout()
    return canvas
