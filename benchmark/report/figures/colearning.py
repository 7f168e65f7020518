"""What co-learning asks: shares of the gap, ablations, and what a score costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from benchmark.report.colearning import GAP_NOTE, Ablation, Gap, ablations, gap_sentences, gaps
from benchmark.report.figures.labels import name_points
from benchmark.report.figures.style import (
    at_edge,
    caption,
    colour,
    family_legend,
    head,
    label,
    marker,
)
from benchmark.report.rows import Row
from benchmark.report.summary import REFERENCE, Summary, in_order
from benchmark.report.tables import mean_cost
from benchmark.report.text import number
from benchmark.report.wording import Formats, few, heading, tuning_note, with_unit
from benchmark.terms import ALL

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
        axis.set_xlim(low - 8, high + 8)
        axis.set_ylim(len(order) - 0.4, -0.6)
        _gap_panel(axis, gap, order, summary)
    axes[0][0].set_yticks(range(len(order)), [label(m) for m in order])
    family_legend(figure, [summary.group.entries[m]["family"] for m in order])
    without = [s for s, gap in zip(gap_sentences(summary, found), found, strict=True)]
    sizes = (
        "Gap: "
        + "; ".join(without)
        + ". A number stands in a bar that ends outside, a triangle where an interval goes on."
    )
    caption(figure, summary.group, sizes, GAP_NOTE, tuning_note(summary.group))
    return figure


def _gap_panel(axis: Axes, gap: Gap, order: list[str], summary: Summary) -> None:
    for y, method in enumerate(order):
        if method not in gap.shares:
            continue
        share, low, high = (100 * value for value in gap.shares[method])
        tint = colour(summary.group.entries[method]["family"])
        axis.barh(y, share, height=0.65, color=tint, alpha=0.75, lw=0)
        axis.plot([low, high], [y, y], color="0.2", lw=1)
        at_edge(axis, [low, high], [y, y], s=14, color="0.2")
        start, end = axis.get_xlim()
        if not start <= share <= end:
            edge, side = (start, "left") if share < start else (end, "right")
            axis.annotate(
                f"    {number(share, 0)}    ",  # beside the triangle of its interval
                (edge, y),
                ha=side,
                va="center",
                fontsize=7,
                bbox={"boxstyle": "square,pad=0", "fc": "white", "ec": "none", "alpha": 0.85},
            )
    axis.axvline(0, color="0.3", lw=1)
    axis.axvline(100, color="0.3", lw=1, ls="--")
    axis.grid(axis="y", visible=False)
    head(axis, f"{label(gap.modality)} alone; 100 % is {label(gap.bound)}")
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
        head(axis, label(f"{modality} alone"))
        what = with_unit(metric, group).replace("$", r"\$")
        axis.set_xlabel(f"difference in {what} to the whole method")
    axes[0][0].set_yticks(range(len(names)), [label(n) for n in names])
    axes[0][0].set_ylim(len(names) - 0.4, -0.6)
    bars = "; line: 95 % interval, not adjusted" if any(a.comparison for a in found) else ""
    caption(
        figure,
        group,
        f"Positive: better than the whole method. Bar: mean; point: a {group.unit}{bars}.",
        tuning_note(group),
    )
    return figure


def _difference(axis: Axes, y: int, a: Ablation, summary: Summary) -> None:
    tint = colour(a.row.entry["family"])
    axis.barh(y, a.difference, height=0.6, color=tint, alpha=0.55, lw=0)
    if missing := few(len(a.paired), summary.units):
        axis.annotate(missing, (a.difference, y), ha="left", va="center", fontsize=6.5)
    dots = {"ms": 3, "mew": 0, "color": "0.25", "alpha": 0.6}
    axis.plot(a.paired, [y] * len(a.paired), "o", zorder=3, **dots)
    if a.comparison:
        ends = [a.comparison.low, a.comparison.high]
        axis.plot(ends, [y + 0.2, y + 0.2], color="black", lw=1.2, zorder=4)


def cost_against_score(summary: Summary) -> Figure | None:
    """Mean score against what training costs, with the Pareto front; a panel for each modality."""
    from matplotlib import pyplot as plt

    group, metric = summary.group, summary.group.primary
    panels = [d for d in group.deployments if d != ALL and summary.at(d)]
    costs = {m: mean_cost(group, m, "training_flops", unit=1e9) for m in group.entries}
    with_runs = {d: [row for row in summary.at(d) if row.runs] for d in panels}
    points = {
        d: [(costs[r.method], r.metric(metric.name).mean, r) for r in rows if costs[r.method]]
        for d, rows in with_runs.items()
    }
    unknown = [m for m in in_order(summary) if not costs[m] and m in _methods(with_runs)]
    panels = [d for d in panels if points[d]]
    if not panels:
        return None
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(1.4 + 4.0 * len(panels), 4.6),
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for axis in axes[0]:
        axis.set_xlabel("training GFLOP of a run")
        axis.set_ylabel(heading(metric, group).replace("$", r"\$"))
    found = [row.entry["family"] for d in panels for _, _, row in points[d]]
    family_legend(figure, found, shapes=True)
    caption(
        figure,
        group,
        f"A point is a method's mean over {group.unit}s, n where they are fewer than the table's; "
        "all stages and trained teachers count; of trees, comparisons and additions. "
        "Line: Pareto front, no method is both cheaper and better; its methods, and "
        f"{REFERENCE}, are named. Ablations are hollow and not on it, nor is what stands at an "
        "edge with its score: a method far worse than the others."
        + f" Not drawn, as their records state no operations: {', '.join(unknown)}."
        * bool(unknown),
        tuning_note(group),
    )
    for axis, deployment in zip(axes[0], panels, strict=True):
        _cost_panel(axis, points[deployment], summary)
        head(axis, label(f"{deployment} alone"))
    figure.get_layout_engine().execute(figure)  # names go where it leaves room
    for axis, deployment in zip(axes[0], panels, strict=True):
        _name_methods(axis, points[deployment], summary)
    return figure


def _methods(rows: Mapping[str, Sequence[Row]]) -> set[str]:
    return {row.method for of_deployment in rows.values() for row in of_deployment}


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


def _fence(points: list[tuple[float, float, Row]], summary: Summary) -> float:
    """The score beyond which a method is far worse than the others."""
    gain = summary.group.primary.gain
    better = np.array([gain(score, 0.0) for _, score, _ in points])
    low, high = np.quantile(better, [0.1, 0.9])
    inside = better[better >= low - (high - low)]
    fence = inside.min() - 0.08 * np.ptp(inside)
    return float(gain(fence, 0.0))  # back to the metric's own direction


def _cost_panel(axis: Axes, points: list[tuple[float, float, Row]], summary: Summary) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    group, fence = summary.group, _fence(points, summary)
    gain = group.primary.gain
    for x, y, row in points:
        tint = colour(row.entry["family"])
        style = {"s": 34, "edgecolor": tint, "lw": 1.2, "zorder": 3, "clip_on": False}
        if gain(y, fence) < 0:
            axis.scatter(x, fence, marker="$\u2193$" if y < fence else "$\u2191$", **style)
            continue
        face = "none" if row.entry["role"] == "ablation" else tint
        shape = marker(row.entry["family"])
        axis.scatter(x, y, facecolor=face, alpha=0.9, marker=shape, **style)
    front = [i for i in pareto(points, summary) if gain(points[i][1], fence) >= 0]
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
    axis.margins(x=0.12, y=0.1)


def _name_methods(axis: Axes, points: list[tuple[float, float, Row]], summary: Summary) -> None:
    """Names of the front's methods, of the reference and of what lies beyond the edge."""
    metric, fence = summary.group.primary, _fence(points, summary)
    decimals = Formats(summary).decimals[metric.name]
    shown, names = [], {}
    front = [i for i in pareto(points, summary) if metric.gain(points[i][1], fence) >= 0]
    for i, (x, y, row) in enumerate(points):
        outside = metric.gain(y, fence) < 0
        shown.append((x, fence if outside else y))
        missing = few(row.metric(metric.name).n, summary.units)
        if outside:
            names[i] = f"{label(row.method)} {number(y, decimals)}{missing}"
        elif i in front or row.method == REFERENCE or missing:
            names[i] = label(row.method) + missing
    line = []
    for (x, y, _), (next_x, next_y, _) in pairwise([points[i] for i in front]):
        line += [(place, y) for place in np.geomspace(x, next_x, 30)]
        line += [(next_x, place) for place in np.linspace(y, next_y, 30)]
    name_points(axis, shown, names, avoid=line)
