"""Pictures of the contest and of Lion's box."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns  # type: ignore[import-untyped]  # seaborn ships no types
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from scipy import stats

from gradlaw.figure import Figure
from gradlaw_studies.lion_adamw.best_of import expected_best, median_best, running_best
from gradlaw_studies.lion_adamw.claims_contest import CONTEST_CLAIMS
from gradlaw_studies.lion_adamw.contest_settings import ARMS, AT_RANDOM, GUESS_LOSS

REFERENCE, RIVAL = "adamw", "lion"
LEVEL, BAND = 0.95, 0.9
MEASURES = {
    "digits_mlp": "digits: held-out loss, nats",
    "digits_conv": "digits, convolutional: held-out loss, nats",
    "modular_addition": "modular addition: steps to add held-out pairs",
}
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (6, 3)))
ENDS = {"sound": "C2", "not added": "0.75", "failed": "C1", "diverged": "C3"}


class Ratio(NamedTuple):
    """One arm against the reference, on the same seeds: geometric mean ratio and its interval over seeds."""

    arm: str
    value: float
    ratio: float
    low: float
    high: float
    num_seeds: int


def paired_ratios(rows: pd.DataFrame) -> list[Ratio]:
    """Each arm of one search over the reference: t interval of the mean log ratio over seeds both have run.

    Args:
        rows: Columns ``arm``, ``seed`` and ``value`` > 0.

    Returns:
        Best first; without interval (equal ends) where the arm has fewer than two seeds, or is the reference.
    """
    logs = rows.assign(log=np.log(rows["value"])).pivot(index="seed", columns="arm", values="log")
    found = []
    for arm in logs.columns if REFERENCE in logs.columns else ():
        own = (logs[arm] - logs[REFERENCE]).dropna()
        if own.empty:
            continue
        mean, num = float(own.mean()), len(own)
        error = float(own.std(ddof=1)) / np.sqrt(num) if num > 1 else 0.0
        half = float(stats.t.ppf(0.5 + LEVEL / 2, num - 1)) * error if num > 1 else 0.0
        ratio, low, high = (math.exp(end) for end in (mean, mean - half, mean + half))
        found.append(Ratio(str(arm), math.exp(float(logs[arm].mean())), ratio, low, high, num))
    return sorted(found, key=lambda item: item.ratio)


def draw_field(rows: pd.DataFrame) -> Canvas:
    """Every arm's ratio to AdamW on fresh seeds; filled: as tuned by TPE, open: as tuned at random."""
    tasks = _tasks(rows)
    canvas, axes = plt.subplots(1, len(tasks), figsize=(4.8 * len(tasks), 3.8), squeeze=False)
    for ax, task in zip(axes[0], tasks, strict=True):
        part = rows[rows["task"] == task]
        names: list[str] = []
        for search in sorted(part["search"].unique()):  # the one that learns comes first
            _ratios(ax, part[part["search"] == search], names, learned=not search.endswith(AT_RANDOM))
        ax.axvline(1.0, color="0.5", linewidth=0.8, zorder=0)
        ax.set(title=MEASURES.get(task, task), xlabel=f"ratio to {REFERENCE}, same seeds", xscale="log")
        ax.set_yticks(range(len(names)), labels=names)
        ax.invert_yaxis()
        ax.minorticks_off()
        _plain_ticks(ax)
    canvas.tight_layout()
    return canvas


def _ratios(ax: Axes, rows: pd.DataFrame, names: list[str], *, learned: bool) -> None:
    """One search's arms, each at its name's height; ``names`` grows by those that are new."""
    for item in paired_ratios(rows):
        if item.arm not in names:
            names.append(item.arm)
        height = names.index(item.arm) + (-0.14 if learned else 0.14)
        colour = "C0" if learned else "C1"
        ax.plot([item.low, item.high], [height, height], color=colour, linewidth=1.4)
        face = colour if learned else "none"
        ax.plot(item.ratio, height, "o", color=colour, markerfacecolor=face, markersize=5)
        ax.annotate(
            f"{item.value:.3g}",
            (item.high, height),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )


def draw_budget(rows: pd.DataFrame) -> Canvas:
    """Expected best of k configurations drawn at random; for the rivals a band, and TPE's own path."""
    tasks = _tasks(rows)
    canvas, axes = plt.subplots(1, len(tasks), figsize=(4.6 * len(tasks), 3.8), squeeze=False)
    colours = dict(zip(ARMS, sns.color_palette("colorblind", n_colors=len(ARMS)), strict=True))
    for ax, task in zip(axes[0], tasks, strict=True):
        for (search, arm), part in rows[rows["task"] == task].groupby(["search", "arm"], sort=True):
            if arm not in colours:
                continue
            values = np.log(part.sort_values("number")["value"].to_numpy(dtype=np.float64))
            if str(search).endswith(AT_RANDOM):
                _expected(ax, values, str(arm), colours[arm])
            elif arm in (REFERENCE, RIVAL):
                ax.step(
                    range(1, len(values) + 1), np.exp(running_best(values)),
                    where="post", color=colours[arm], linewidth=0.9, alpha=0.8,
                )  # fmt: skip
        ax.set(title=MEASURES.get(task, task), xlabel="configurations tried", yscale="log")
        ax.minorticks_off()
        _plain_ticks(ax)
    canvas.tight_layout()
    handles, labels = axes[0, -1].get_legend_handles_labels()
    order = [labels.index(arm) for arm in ARMS if arm in labels]
    canvas.legend(
        [handles[place] for place in order], [labels[place] for place in order],
        loc="center left", bbox_to_anchor=(1.0, 0.5),
    )  # fmt: skip
    return canvas


def _expected(ax: Axes, values: np.ndarray, arm: str, colour: tuple[float, float, float]) -> None:
    """The curve of one arm, and a band for the rivals; a side that nothing bounds runs to the best value."""
    budgets = range(1, len(values) + 1)
    curve = np.exp([expected_best(values, k) for k in budgets])
    rival = arm in (REFERENCE, RIVAL)
    style = STYLES[ARMS.index(arm)]
    ax.plot(budgets, curve, linestyle=style, color=colour, linewidth=2.0 if rival else 1.2, label=arm)
    if rival:
        ends = np.array([median_best(values, k, BAND) for k in budgets])
        low, high = np.exp(np.maximum(ends[:, 0], values.min())), np.exp(np.minimum(ends[:, 1], values.max()))
        ax.fill_between(budgets, low, high, color=colour, alpha=0.15, linewidth=0)


def draw_ends(rows: pd.DataFrame) -> Canvas:
    """How each arm's configurations ended while tuning: a bar an arm, a panel a search."""
    searches = sorted(rows["search"].unique())
    canvas, axes = plt.subplots(
        1, len(searches), figsize=(2.7 * len(searches) + 1.2, 2.9), sharey=True, squeeze=False
    )
    known = [arm for arm in ARMS if arm in set(rows["arm"])]
    for ax, search in zip(axes[0], searches, strict=True):
        counts = rows[rows["search"] == search].groupby(["arm", "ended"]).size().unstack(fill_value=0)
        counts = counts.reindex(known, fill_value=0)
        left = np.zeros(len(known))
        for end, colour in ENDS.items():
            width = counts[end].to_numpy(dtype=np.float64) if end in counts else np.zeros(len(known))
            ax.barh(known, width, left=left, color=colour, label=end)
            left += width
        ax.set(title=search, xlabel="configurations")
        ax.grid(visible=False, axis="y")
    axes[0, 0].invert_yaxis()
    canvas.tight_layout()
    canvas.legend(
        *axes[0, 0].get_legend_handles_labels(), title="ended", loc="center left", bbox_to_anchor=(1.0, 0.5)
    )
    return canvas


def draw_box(rows: pd.DataFrame) -> Canvas:
    """The largest parameter in units of the box's half-width against time, a panel a rule, a line a decay."""
    rules = sorted(rows["rule"].unique(), reverse=True)
    canvas, axes = plt.subplots(1, len(rules), figsize=(3.6 * len(rules), 3.2), sharey=True, squeeze=False)
    decays = sorted(rows["weight_decay"].unique())
    shades = sns.color_palette("viridis_r", n_colors=len(decays))
    for ax, rule in zip(axes[0], rules, strict=True):
        for decay, shade in zip(decays, shades, strict=True):
            part = rows[(rows["rule"] == rule) & (rows["weight_decay"] == decay)]
            ax.plot(part["time"], part["reach"], color=shade, label=f"{decay:g}")
        ax.axhline(1.0, color="0.3", linestyle="--", linewidth=1.0)
        ax.set(title=rule, xlabel="lr * weight_decay * step", yscale="log")
        ax.set_xscale("symlog", linthresh=0.1)
        ax.set_xlim(left=0.0)
        ax.minorticks_off()
        _plain_ticks(ax)
    axes[0, 0].set_ylabel("weight_decay * max |theta|")
    canvas.tight_layout()
    handles = axes[0, 0].get_legend_handles_labels()
    canvas.legend(*handles, title="weight decay", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return canvas


def _tasks(rows: pd.DataFrame) -> list[str]:
    return sorted(str(task) for task in rows["task"].unique())


def _plain_ticks(ax: Axes) -> None:
    """Numbers as they are read on logarithmic axes; at 1, 2 and 5 where there is a decade or more."""
    for axis, bounds in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        if axis.get_scale() != "log":
            continue
        inside = [tick for tick in _decimals(sorted(bounds)) if min(bounds) <= tick <= max(bounds)]
        axis.set_ticks(inside, labels=[f"{tick:g}" for tick in inside])


def _decimals(bounds: Iterable[float]) -> list[float]:
    low, high = np.log10(list(bounds))
    digits = (1, 2, 5) if high - low >= 1 else (1, 1.2, 1.5, 2, 3, 5, 7)
    powers = range(int(np.floor(low)), int(np.floor(high)) + 1)
    return [digit * 10.0**power for power in powers for digit in digits]


CONTEST_FIGURES = (
    Figure(
        name="contest_field",
        caption="Best configuration of each optimizer on seeds that no tuning has seen, as a ratio to "
        "AdamW's on the same seeds (geometric mean, 95% interval over seeds; beside it the mean itself). "
        "Filled: tuned by TPE, which decides; open: tuned anew at random, with the same budget. The "
        "intervals hold the noise of seeds given each configuration; what another tuning would find is "
        "seen from the two tunings alone.",
        sql="figure_contest_field.sql",
        parameters={"guess": GUESS_LOSS},
        draw=draw_field,
        claims=tuple(claim.name for claim in CONTEST_CLAIMS if claim.name.startswith("lion_on_par")),
    ),
    Figure(
        name="contest_budget",
        caption="Expected best of k configurations drawn at random (exact over all subsets of those "
        "tried, geometric), against the budget k. Bands, for Lion and AdamW: 90% distribution-free "
        "interval of the median of the best of k; where too few were tried to bound it, it is drawn to "
        "the best that was found. Thin steps: the best so far of TPE in the order it asked.",
        sql="figure_contest_tuning.sql",
        parameters={"guess": GUESS_LOSS},
        draw=draw_budget,
        claims=("lion_on_par_loss", "lion_on_par_loss_conv", "lion_on_par_steps"),
    ),
    Figure(
        name="contest_ends",
        caption="How the configurations ended that each optimizer was tuned over. What diverged or "
        "failed ranks last and counts against the optimizer's budget; on modular addition many end "
        "without adding the held-out pairs.",
        sql="figure_contest_tuning.sql",
        parameters={"guess": GUESS_LOSS},
        draw=draw_ends,
        claims=("lion_on_par_loss", "lion_on_par_loss_conv", "lion_on_par_steps"),
    ),
    Figure(
        name="lion_box",
        caption="Largest parameter in units of 1 / weight_decay, the largest over seeds, with constant lr. "
        "Lion's come into the box and stay there, whatever the gradients; AdamW has no such bound, since "
        "its step may be longer than lr.",
        sql="figure_contest_box.sql",
        draw=draw_box,
        claims=("lion_in_its_box", "lion_enters_its_box"),
    ),
)
