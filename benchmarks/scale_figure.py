"""Draws what ``scale.py`` found, and writes its numbers into docs/scale.md, between the marks of the table.

Of several lines of one size the last counts. Run ``python benchmarks/scale_figure.py``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import pandas as pd
import seaborn as sns

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
BEGIN, END = "<!-- numbers: begin -->\n", "<!-- numbers: end -->\n"
MIB = float(1 << 20)

Record = Mapping[str, Any]


class Line(NamedTuple):
    """One line of a panel: its label, and its value of a size's two records, ``run`` and ``store``."""

    label: str
    of: Callable[[Record, Record], float]


class Panel(NamedTuple):
    """One panel: its title, the unit of its values, a target or None, and its lines."""

    title: str
    unit: str
    target: float | None
    lines: Sequence[Line]


PANELS = (
    Panel(
        "Before the first pack, and after the last",
        "s",
        None,
        (
            Line("plan", lambda run, store: run["plan_s"]),  # noqa: ARG005
            Line("record, subtract, sum up", lambda run, store: run["beside_s"]),  # noqa: ARG005
        ),
    ),
    Panel(
        "Driver: memory beyond the plan",
        "MiB",
        500.0,
        (
            Line("at most", lambda run, store: run["peak_beyond_plan_bytes"] / MIB),  # noqa: ARG005
            Line("growth while packs run", lambda run, store: growth_bytes(run) / MIB),  # noqa: ARG005
        ),
    ),
    Panel(
        "A pack of 64 in the store",
        "ms",
        None,
        (
            Line("open, median", lambda run, store: 1e3 * run["open_s"]["median"]),  # noqa: ARG005
            Line("commit, median", lambda run, store: 1e3 * run["commit_s"]["median"]),  # noqa: ARG005
            Line("commit, 99%", lambda run, store: 1e3 * run["commit_s"]["p99"]),  # noqa: ARG005
        ),
    ),
    Panel(
        "Fresh answers, compacted",
        "s",
        10.0,
        (
            Line("verdicts", lambda run, store: store["after"]["verdicts"]["wall_s"]),  # noqa: ARG005
            Line("status", lambda run, store: store["after"]["status"]["wall_s"]),  # noqa: ARG005
            Line("group by", lambda run, store: store["after"]["group_by"]["wall_s"]),  # noqa: ARG005
            Line("resolve", lambda run, store: store["after"]["resolve"]["wall_s"]),  # noqa: ARG005
        ),
    ),
    Panel(
        "Before compaction, and compaction",
        "s",
        None,
        (
            Line("compact", lambda run, store: store["compact"]["wall_s"]),  # noqa: ARG005
            Line("status", lambda run, store: store["before"]["status"]["wall_s"]),  # noqa: ARG005
            Line("resolve", lambda run, store: store["before"]["resolve"]["wall_s"]),  # noqa: ARG005
        ),
    ),
    Panel(
        "Bytes a row of metrics",
        "bytes",
        None,
        (
            Line("as committed", lambda run, store: store["bytes_a_row"]),  # noqa: ARG005
            Line("compacted", lambda run, store: store["bytes_a_row_compacted"]),  # noqa: ARG005
        ),
    ),
)


def growth_bytes(run: Record) -> float:
    """What the driver's memory grew by from the launch to the last commit; at least a MiB, to be drawn."""
    marks = run["marks"]
    return max(MIB, float(marks["committed"]["rss_bytes"] - marks["launched"]["rss_bytes"]))


def read(path: Path) -> dict[tuple[str, int], Record]:
    """The last line of each case and size."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    names = {"schedule": "packs"}
    return {(item["case"], item[names.get(item["case"], "trials")]): item for item in records}


def frame(records: Mapping[tuple[str, int], Record]) -> pd.DataFrame:
    """One row: panel, line and size."""
    sizes = sorted(size for case, size in records if case == "store" and ("run", size) in records)
    rows = [
        {
            "panel": panel.title,
            "line": line.label,
            "trials": size,
            "value": line.of(records["run", size], records["store", size]),
        }
        for size in sizes
        for panel in PANELS
        for line in panel.lines
    ]
    return pd.DataFrame(rows)


def draw(values: pd.DataFrame, out: Path) -> None:
    """The panels, both axes logarithmic."""
    sns.set_theme(style="whitegrid", context="paper", palette="colorblind")
    figure, axes = plt.subplots(2, 3, figsize=(11, 6.2), layout="constrained")
    for panel, axis in zip(PANELS, axes.flat, strict=True):
        _draw(panel, values.loc[values["panel"] == panel.title], axis)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)
    plt.close(figure)


def _draw(panel: Panel, values: pd.DataFrame, axis: Axes) -> None:
    sns.lineplot(
        values,
        x="trials",
        y="value",
        hue="line",
        style="line",
        markers=True,
        dashes=False,
        ax=axis,
        hue_order=[line.label for line in panel.lines],
        style_order=[line.label for line in panel.lines],
    )
    axis.set(xscale="log", title=panel.title, xlabel="trials (100 rows each)", ylabel=panel.unit)
    if panel.unit == "bytes":
        axis.set_ylim(0, 1.5 * values["value"].max())
    else:
        axis.set_yscale("log")
    if panel.target is not None:
        axis.axhline(panel.target, color="0.3", linestyle="--", linewidth=1)
        low, high = axis.get_ylim()
        axis.set_ylim(low, max(high, 3 * panel.target))
        edge = values["trials"].min()
        axis.annotate(f"target {panel.target:g}", (edge, panel.target), (0, 3), textcoords="offset points")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.legend(title=None, fontsize=8)


def table(records: Mapping[tuple[str, int], Record], values: pd.DataFrame) -> str:
    """The numbers as Markdown: a row a measure, a column a size; then those of the schedule."""
    sizes = sorted(values["trials"].unique())
    lines = [
        f"| | unit | {' | '.join(f'{size:,} trials' for size in sizes)} |",
        f"|---|---|{'---|' * len(sizes)}",
        f"| rows of `metrics` | | {' | '.join(_rows(records['run', size]) for size in sizes)} |",
        f"| packs, open at once | | {' | '.join(_packs(records['run', size]) for size in sizes)} |",
    ]
    for panel in PANELS:
        for line in panel.lines:
            own = values.loc[(values["panel"] == panel.title) & (values["line"] == line.label)]
            cells = [f"{value:.3g}" for value in own.sort_values("trials")["value"]]
            lines.append(f"| {panel.title}: {line.label} | {panel.unit} | {' | '.join(cells)} |")
    lines += ["", *_schedule(records)]
    return "\n".join(lines) + "\n"


def _rows(run: Record) -> str:
    return f"{run['rows']:,}"


def _packs(run: Record) -> str:
    return f"{run['packs']:,}, {run['open_packs']:,}"


def _schedule(records: Mapping[tuple[str, int], Record]) -> list[str]:
    lines = [
        "| packs of 64 through Ray | ms a trial | ms a pack | driver's CPU, ms a pack | driver grows, MiB |",
        "|---|---|---|---|---|",
    ]
    for (case, packs), item in sorted(records.items()):
        if case == "schedule":
            cpu = 1e3 * item["driver_cpu_s"] / packs
            beyond = item["peak_beyond_plan_bytes"] / MIB
            measured = (item["ms_a_trial"], item["ms_a_pack"], cpu, beyond)
            lines.append(f"| {packs:,} | {' | '.join(f'{value:.3g}' for value in measured)} |")
    return lines


def write(page: Path, numbers: str) -> None:
    """Puts the numbers between the page's marks."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}{numbers}{END}{after}", encoding="utf-8")


def main() -> None:
    """Draws and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "scale.jsonl")
    parser.add_argument("--figure", type=Path, default=DOCS / "images" / "scale.png")
    parser.add_argument("--page", type=Path, default=DOCS / "scale.md")
    options = parser.parse_args()
    records = read(options.results)
    values = frame(records)
    draw(values, options.figure)
    write(options.page, table(records, values))


if __name__ == "__main__":
    main()
