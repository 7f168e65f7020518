"""What co-learning asks: shares of the gap, ablations, and what a score costs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from benchmark.report.colearning import GAP_NOTE, Ablation, Gap, ablations, gap_sentences, gaps
from benchmark.report.figures.style import caption, colour, family_legend, label
from benchmark.report.frame import ALL
from benchmark.report.summary import REFERENCE, Row, Summary, in_order
from benchmark.report.tables import mean_cost
from benchmark.report.wording import UNTUNED, heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def gap_bars(summary: Summary) -> Figure | None:
    """Share of the multi-modal gap that each method closes, a panel for each modality."""
    from matplotlib import pyplot as plt

    found = gaps(summary)
    measurable = [gap for gap in found if gap.measurable]
    order = [m for m in in_order(summary) if any(m in gap.shares for gap in measurable)]
    if not order:
        return None
    figure, axes = plt.subplots(
        1,
        len(measurable),
        figsize=(1.8 + 3.2 * len(measurable), 2.2 + 0.22 * len(order)),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    ends = [100 * v for gap in measurable for share in gap.shares.values() for v in share]
    low, high = min(0.0, *np.quantile(ends, [0.03])), max(100.0, *np.quantile(ends, [0.97]))
    for axis, gap in zip(axes[0], measurable, strict=True):
        _gap_panel(axis, gap, order, summary)
        axis.set_xlim(low - 8, high + 8)
    axes[0][0].set_yticks(range(len(order)), [label(m) for m in order])
    axes[0][0].set_ylim(len(order) - 0.4, -0.6)
    family_legend(figure, [summary.group.entries[m]["family"] for m in order])
    without = [s for s, gap in zip(gap_sentences(summary, found), found, strict=True)]
    caption(figure, summary.group, "Gap: " + "; ".join(without) + ".", GAP_NOTE, UNTUNED)
    return figure


def _gap_panel(axis: Axes, gap: Gap, order: list[str], summary: Summary) -> None:
    for y, method in enumerate(order):
        if method not in gap.shares:
            continue
        share, low, high = (100 * value for value in gap.shares[method])
        tint = colour(summary.group.entries[method]["family"])
        axis.barh(y, share, height=0.65, color=tint, alpha=0.75, lw=0)
        axis.plot([low, high], [y, y], color="0.2", lw=1)
    axis.axvline(0, color="0.3", lw=1)
    axis.axvline(100, color="0.3", lw=1, ls="--")
    axis.grid(axis="y", visible=False)
    axis.set_title(f"{label(gap.modality)} alone; 100 % is {label(gap.bound)}")
    axis.set_xlabel("share of the gap closed (%), 95 % interval")


def ablation_bars(summary: Summary) -> Figure | None:
    """Each ablation's difference to its whole method: mean, points by fold or seed, interval."""
    from matplotlib import pyplot as plt

    found = ablations(summary)
    if not found:
        return None
    group, metric = summary.group, summary.group.primary
    names = list(dict.fromkeys(a.variant for a in found))
    panels = [m for m in group.modalities if any(a.modality == m for a in found)]
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(2.0 + 3.0 * len(panels), 1.9 + 0.3 * len(names)),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for axis, modality in zip(axes[0], panels, strict=True):
        for a in found:
            if a.modality == modality and a.difference is not None:
                _difference(axis, names.index(a.variant), a, summary)
        axis.axvline(0, color="0.3", lw=1)
        axis.grid(axis="y", visible=False)
        axis.set_title(label(f"{modality} alone"))
        axis.set_xlabel(f"difference in {metric.label} to the whole method".replace("$", r"\$"))
    axes[0][0].set_yticks(range(len(names)), [label(n) for n in names])
    axes[0][0].set_ylim(len(names) - 0.4, -0.6)
    bars = "; line: 95 % interval, not adjusted" if any(a.comparison for a in found) else ""
    caption(
        figure,
        group,
        f"Positive: better than the whole method. Bar: mean; point: a {group.unit}{bars}.",
        UNTUNED,
    )
    return figure


def _difference(axis: Axes, y: int, a: Ablation, summary: Summary) -> None:
    tint = colour(a.row.entry["family"])
    axis.barh(y, a.difference, height=0.6, color=tint, alpha=0.55, lw=0)
    axis.scatter(a.paired, [y] * len(a.paired), s=9, color="0.25", alpha=0.6, lw=0, zorder=3)
    if a.comparison:
        ends = [a.comparison.low, a.comparison.high]
        axis.plot(ends, [y + 0.2, y + 0.2], color="black", lw=1.2, zorder=4)


def cost_against_score(summary: Summary) -> Figure | None:
    """Mean score against what training costs, with the Pareto front; a panel for each modality."""
    from matplotlib import pyplot as plt

    group, metric = summary.group, summary.group.primary
    panels = [d for d in group.deployments if d != ALL and summary.at(d)]
    costs = {m: mean_cost(group, m, "training_flops") for m in group.entries}
    unit, what = 1e9, "training GFLOP of a run"
    if not all(costs[row.method] for d in panels for row in summary.at(d) if row.runs):
        costs = {m: mean_cost(group, m, "seconds") for m in group.entries}
        unit, what = 1.0, "training seconds of a run"
    points = {
        d: [
            (costs[row.method] / unit, row.metric(metric.name).mean, row)
            for row in summary.at(d)
            if row.runs and costs[row.method]
        ]
        for d in panels
    }
    panels = [d for d in panels if points[d]]
    if not panels:
        return None
    figure, axes = plt.subplots(
        1, len(panels), figsize=(1.4 + 4.0 * len(panels), 4.6), sharex=True, squeeze=False
    )
    for axis, deployment in zip(axes[0], panels, strict=True):
        _cost_panel(axis, points[deployment], summary)
        axis.set_title(label(f"{deployment} alone"))
        axis.set_xlabel(what)
        axis.set_ylabel(heading(metric, group).replace("$", r"\$"))
    entries = [row.entry["family"] for d in panels for _, _, row in points[d]]
    family_legend(figure, [f for f in group_families(summary) if f in entries])
    caption(
        figure,
        group,
        "A point is a method's mean; all stages and trained teachers count. Line: Pareto front, no "
        f"method is both cheaper and better; its methods, and {REFERENCE}, are named. Ablations "
        "are hollow and not on it.",
        UNTUNED,
    )
    return figure


def group_families(summary: Summary) -> list[str]:
    """Families of a group in their order."""
    return list(dict.fromkeys(e["family"] for e in summary.group.entries.values()))


def pareto(points: list[tuple[float, float, Row]], summary: Summary) -> list[int]:
    """Places of the points than which none is both cheaper and better, the cheapest first.

    Ablations do not compete.
    """
    gain = summary.group.primary.gain
    competing = [i for i, (_, _, row) in enumerate(points) if row.entry["role"] != "ablation"]
    order = sorted(competing, key=lambda i: (points[i][0], -gain(points[i][1], 0.0)))
    front, best = [], -math.inf
    for i in order:
        if gain(points[i][1], 0.0) > best:
            front.append(i)
            best = gain(points[i][1], 0.0)
    return front


def _cost_panel(axis: Axes, points: list[tuple[float, float, Row]], summary: Summary) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for x, y, row in points:
        hollow = row.entry["role"] == "ablation"
        tint = colour(row.entry["family"])
        face = "none" if hollow else tint
        axis.scatter(x, y, s=34, facecolor=face, edgecolor=tint, lw=1.2, alpha=0.9, zorder=3)
    front = pareto(points, summary)
    axis.plot(
        [points[i][0] for i in front],
        [points[i][1] for i in front],
        color="0.35",
        lw=1.2,
        drawstyle="steps-post",
        zorder=2,
    )
    axis.set_xscale("log")
    costs = [x for x, _, _ in points]
    fine = max(costs) < 30 * min(costs)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7) if fine else (1,)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    named = [i for i, (_, _, row) in enumerate(points) if i in front or row.method == REFERENCE]
    better_is_up = summary.group.primary.direction == "higher"
    for place, i in enumerate(sorted(named, key=lambda i: points[i][0])):
        x, y, row = points[i]
        up = (place % 2 == 0) == better_is_up
        axis.annotate(
            label(row.method),
            (x, y),
            xytext=(3, 7 if up else -7),
            textcoords="offset points",
            va="bottom" if up else "top",
            fontsize=7.5,
            zorder=5,
            bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75},
        )
    axis.margins(x=0.12, y=0.1)
