"""Pictures of what lies around constructions: paths, barriers, and where training goes from them."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from gradlaw_studies.modular_addition.draw_solutions import GREY, order_colours

STYLES = ("-", "--", ":", "-.")
ZERO = 1e-20


def draw_paths(rows: pd.DataFrame) -> Canvas:
    """Squared norm and loss along paths between solutions: a colour a path, a style a modulus."""
    canvas, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.2))
    moduli = sorted(rows["modulus"].unique())
    for number, (path, of_path) in enumerate(rows.groupby("path", sort=True)):
        for style, modulus in zip(STYLES, moduli, strict=False):
            found = of_path[of_path["modulus"] == modulus].groupby("position")[["norm2", "loss"]].mean()
            line = {"color": f"C{number}", "linestyle": style, "label": f"{path}, d = {modulus}"}
            left.plot(found.index, found["norm2"] / found["norm2"].iloc[0], **line)
            right.plot(found.index, found["loss"].clip(lower=1e-34), **line)
    left.set(xlabel="position along the path", ylabel="squared norm / that at its start")
    right.set(xlabel="position along the path", ylabel="loss on all pairs", yscale="log", ylim=(1e-35, 10))
    right.axhline(ZERO, color="0.5", linewidth=0.8)
    canvas.tight_layout()
    canvas.legend(*left.get_legend_handles_labels(), loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    return canvas


def draw_barrier(rows: pd.DataFrame) -> Canvas:
    """Loss between two trained networks under several ways to match them; bands over pairs of networks."""
    canvas, ax = plt.subplots(figsize=(5.2, 3.4))
    for number, (matching, part) in enumerate(rows.groupby("matching", sort=True)):
        (line,) = ax.plot(part["position"], part["loss"], STYLES[number % 4], label=matching)
        ax.fill_between(
            part["position"],
            part["loss_low"],
            part["loss_high"],
            color=line.get_color(),
            alpha=0.2,
            linewidth=0,
        )
    ax.set(xlabel="position between two networks", ylabel="loss on all pairs")
    ax.set_yscale("symlog", linthresh=1e-3)
    ax.set_ylim(bottom=0)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return canvas


def draw_starts(rows: pd.DataFrame) -> Canvas:
    """Orders at the start and at the end of training from each construction, and what is left of the norm."""
    starts = rows[["construction", "block", "weight_decay"]].drop_duplicates().itertuples(index=False)
    canvas, (left, right) = plt.subplots(1, 2, figsize=(9.4, 3.8), sharey=True, width_ratios=(2, 1))
    labels, place = [], 0
    for construction, block, decay in starts:
        chosen = (rows["construction"] == construction) & (rows["block"] == block)
        part = rows[chosen & (rows["weight_decay"] == decay)].sort_values("step")
        for row in part.to_dict("records"):
            base = 0.0
            fours, sixes = order_colours().values()
            for counted, colour in (("order_4", fours), ("order_6", sixes), ("other_orders", GREY)):
                width = row[f"num_{counted}"]
                left.barh(place, width, left=base, height=0.8, color=colour)
                base += width
            moment = "start" if row["step"] == 0 else "end"
            labels.append(f"{construction} ({block}), wd {decay:g}, {moment}")
            right.plot(row["norm_ratio"], place, "o" if row["step"] else "|", color="C2")
            place += 1
    left.set_yticks(np.arange(place), labels, fontsize=8)
    left.invert_yaxis()
    left.set_xlabel("frequencies: order 4 blue, 6 orange, others grey", fontsize=9)
    left.grid(visible=False, axis="y")
    right.axvline(1.0, color="0.5", linewidth=0.8)
    right.set_xlabel("squared norm / start's", fontsize=9)
    canvas.tight_layout()
    return canvas
