"""Pictures of what was found: orders, kinds, the conjecture, and how much of it hangs on a threshold."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns  # type: ignore[import-untyped]  # seaborn ships no types
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from gradlaw_studies.modular_addition.published import KINDS, MODULI, NOT_FACTORABLE, published_shares

TABLE_WIDTH = 512
LARGEST_ORDER = 10  # stands for itself and all above
GREY = "0.6"
NAMES = {
    "nu_i*xi": r"$z_{\nu=i} * z_\xi$" "\n(order 4)",
    "nu_i*syn_ab": r"$z_{\nu=i} * z_{syn,\alpha\beta}$" "\n(order 6)",
    "nu*syn": r"$z_\nu * z_{syn}$" "\n(order 6)",
    "other": "other",
    NOT_FACTORABLE: "order 4, not\nfactorable",
}


def order_colours() -> dict[int, Any]:
    """Colours of orders 4 and 6; all others are grey."""
    palette = sns.color_palette()
    return {4: palette[0], 6: palette[1]}


def draw_orders_by_decay(rows: pd.DataFrame) -> Canvas:
    """Histograms of orders: a row of panels a modulus, a column a weight decay."""
    return _histograms(rows, "weight_decay", "weight decay {:g}")


def draw_orders_by_width(rows: pd.DataFrame) -> Canvas:
    """Histograms of orders: a row of panels a modulus, a column a width."""
    return _histograms(rows, "width", "q = {:g}")


def _histograms(rows: pd.DataFrame, column: str, title: str) -> Canvas:
    moduli, levels = sorted(rows["modulus"].unique()), sorted(rows[column].unique())
    canvas, axes = plt.subplots(
        len(moduli),
        len(levels),
        figsize=(2.3 * len(levels) + 0.6, 1.9 * len(moduli) + 0.5),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for row, modulus in enumerate(moduli):
        for place, level in enumerate(levels):
            ax = axes[row, place]
            part = rows[(rows["modulus"] == modulus) & (rows[column] == level)]
            _histogram(ax, part)
            seen = part[["num_converged", "num_networks"]].head(1).to_numpy().ravel()
            counts = f"{seen[0]:.0f} of {seen[1]:.0f} converged" if len(seen) else "no networks"
            ax.set_title(f"{title.format(level)}\n{counts}" if row == 0 else counts, fontsize=9)
        axes[row, 0].set_ylabel(f"d = {modulus}\nshare of frequencies")
    for ax in axes[-1]:
        ax.set_xlabel("order")
    canvas.tight_layout()
    return canvas


def _histogram(ax: Axes, part: pd.DataFrame) -> None:
    colours = order_colours()
    ax.bar(part["order"], part["share"], width=0.85, color=[colours.get(o, GREY) for o in part["order"]])
    ticks = range(0, LARGEST_ORDER + 1, 2)
    ax.set_xticks(ticks, [f"{tick}+" if tick == LARGEST_ORDER else str(tick) for tick in ticks])
    ax.set(ylim=(0, 1), xlim=(-0.7, LARGEST_ORDER + 0.7))
    ax.grid(visible=False, axis="x")


def draw_orders_by_modulus(rows: pd.DataFrame) -> Canvas:
    """Shares of orders 4, 6 and all others, stacked, a bar a modulus, at one width each."""
    chosen = rows[rows["width"] == rows["modulus"].map(_shown_widths(rows))]
    moduli = sorted(chosen["modulus"].unique())
    table = chosen.assign(order=chosen["order"].where(chosen["order"].isin([4, 6]), -1)).pivot_table(
        index="modulus", columns="order", values="share", aggfunc="sum", fill_value=0.0
    )
    canvas, ax = plt.subplots(figsize=(max(4.0, 0.42 * len(moduli) + 2.2), 3.4))
    places, base = np.arange(len(moduli)), np.zeros(len(moduli))
    for order, name in ((4, "order 4"), (6, "order 6"), (-1, "others")):
        heights = table[order].to_numpy() if order in table else np.zeros(len(moduli))
        ax.bar(places, heights, bottom=base, width=0.8, color=order_colours().get(order, GREY), label=name)
        base += heights
    ax.set_xticks(places, [str(modulus) for modulus in moduli])
    ax.set(xlabel="modulus d", ylabel="share of frequencies", ylim=(0, 1))
    ax.grid(visible=False, axis="x")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return canvas


def _shown_widths(rows: pd.DataFrame) -> dict[int, int]:
    """The width of the published table where there is one, else the largest of a modulus."""
    widths = rows.groupby("modulus")["width"].agg(
        lambda seen: TABLE_WIDTH if TABLE_WIDTH in set(seen) else seen.max()
    )
    return {int(str(modulus)): int(width) for modulus, width in widths.items()}


def draw_kinds(rows: pd.DataFrame) -> Canvas:
    """Shares of kinds beside the published ones, a panel a modulus; bars of two standard errors."""
    moduli = sorted(rows["modulus"].unique())
    canvas, axes = plt.subplots(
        1, len(moduli), figsize=(4.6 * len(moduli) + 0.8, 3.6), sharey=True, squeeze=False
    )
    categories, palette = [*KINDS, NOT_FACTORABLE], sns.color_palette()
    places = np.arange(len(categories))
    for ax, modulus in zip(axes[0], moduli, strict=True):
        part = rows[rows["modulus"] == modulus].set_index("kind").reindex(categories)
        label = f"here, {part['num_networks'].max():.0f} networks"
        ax.bar(
            places - 0.2, part["share"], 0.4, yerr=2 * part["share_error"], color=palette[0], label=label,
            error_kw={"elinewidth": 1.2, "capsize": 2},
        )  # fmt: skip
        if modulus in MODULI:
            shares = list(published_shares(modulus).values())
            ax.bar(places + 0.2, shares, 0.4, color=palette[1], hatch="//", label="published, 5 networks")
        ax.set_xticks(places, [NAMES[kind] for kind in categories], fontsize=8)
        ax.set(title=f"d = {modulus}", ylim=(0, 1))
        ax.grid(visible=False, axis="x")
        ax.legend(loc="upper right", fontsize=8)
    axes[0, 0].set_ylabel("share of factorable frequencies")
    canvas.tight_layout()
    return canvas


def draw_conjecture(rows: pd.DataFrame) -> Canvas:
    """Order-6 frequencies against all, beside 1.148 sqrt(n); and the norm over its formula."""
    canvas, (left, right) = plt.subplots(1, 2, figsize=(9.4, 3.6))
    palette = sns.color_palette()
    n = np.array(sorted({*rows["num_frequencies"], *((d - 1) / 2 for d in MODULI)}), dtype=float)
    means = rows.groupby("num_frequencies")["num_order_6"].mean()
    left.plot(rows["num_frequencies"], rows["num_order_6"], "o", color=palette[0], alpha=0.3, markersize=4)
    left.plot(means.index, means, "o-", color=palette[0], markersize=5, label="mean over networks")
    six = [(1 - shares["nu_i*xi"] - shares["other"] - shares[NOT_FACTORABLE]) * (d - 1) / 2
           for d in MODULI for shares in [published_shares(d)]]  # fmt: skip
    left.plot(
        [(d - 1) / 2 for d in MODULI], six, "X", color=palette[1], markersize=8, label="published table"
    )
    left.plot(n, 1.148 * np.sqrt(n), "--", color="0.4", label=r"conjecture, $1.148\sqrt{n}$")
    left.set(xscale="log", yscale="log", xlabel="frequencies n = (d - 1) / 2", ylabel="of order 6")
    right.axhspan(0.99, 1.01, color="0.5", alpha=0.15)
    right.axhline(1.0, color="0.5", linewidth=0.8)
    for column, mark, colour, name in (
        ("norm_ratio", "o", palette[0], "the conjecture's"),
        ("balanced_ratio", "^", palette[2], "every node at its least norm"),
    ):
        right.plot(
            rows["num_frequencies"], rows[column], mark, color=colour, alpha=0.5, markersize=4, label=name
        )
    right.set(xscale="log", xlabel="frequencies n = (d - 1) / 2", ylabel="squared norm / formula")
    for ax in (left, right):
        ax.set_xticks(n, [f"{value:g}" for value in n])
        ax.minorticks_off()
    left.set_yticks([1, 2, 3, 5, 10, 20], ["1", "2", "3", "5", "10", "20"])
    left.legend(fontsize=8, loc="lower right")
    right.legend(fontsize=8)
    canvas.tight_layout()
    return canvas


def draw_thresholds(rows: pd.DataFrame) -> Canvas:
    """Shares of orders 4 and 6 against the threshold that decides which nodes count."""
    kinds = [flag for flag in (False, True) if flag in set(rows["relative"])]
    canvas, axes = plt.subplots(
        1, len(kinds), figsize=(4.2 * len(kinds) + 1.4, 3.2), sharey=True, squeeze=False
    )
    styles = dict(zip(sorted(rows["modulus"].unique()), ("-", "--", ":", "-."), strict=False))
    for ax, relative in zip(axes[0], kinds, strict=True):
        for modulus, style in styles.items():
            part = rows[(rows["relative"] == relative) & (rows["modulus"] == modulus)]
            for order, colour in order_colours().items():
                ax.plot(
                    part["threshold"], part[f"share_{order}"], f"o{style}", color=colour, markersize=4,
                    label=f"order {order}, d = {modulus}",
                )  # fmt: skip
        name = "relative to the network's largest" if relative else "absolute"
        ax.set(xscale="log", xlabel=f"threshold, {name}", ylim=(0, 1))
        ticks = sorted(rows.loc[rows["relative"] == relative, "threshold"].unique())
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
    axes[0, 0].set_ylabel("share of frequencies")
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return canvas
