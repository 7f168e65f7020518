"""Scores: their distributions, gains, learning curves and ranks across datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmark.report.across import MANY, Across
from benchmark.report.figures.style import (
    at_edge,
    below,
    caption,
    colour,
    family_legend,
    head,
    in_family_order,
    label,
    legend,
    undrawn,
)
from benchmark.report.frame import Group, own_curves
from benchmark.report.outline import Outline
from benchmark.report.rows import Row
from benchmark.report.summary import REFERENCE, Summary, in_order
from benchmark.report.text import MISSING, number, one_line
from benchmark.report.verdict import NOTHING
from benchmark.report.wording import error_bars, few, heading, p_value, tuning_note
from benchmark.terms import ALL, EXTERNAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def distributions(summary: Summary) -> Figure:
    """Scores of every fold by method, a panel for each modality; bounds below a line."""
    from matplotlib import pyplot as plt

    group, metric = summary.group, summary.group.primary
    methods = in_order(summary)
    bounds = {row.method for row in summary.at(ALL)}
    order = [m for m in methods if m not in bounds] + [m for m in methods if m in bounds]
    panels = [d for d in group.deployments if d != ALL and summary.at(d)]
    figure, axes = plt.subplots(
        1,
        max(1, len(panels)),
        figsize=(1.6 + 3.2 * max(1, len(panels)), 1.6 + 0.24 * len(order)),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for axis, deployment in zip(axes[0], panels or [ALL], strict=True):
        rows = {row.method: row for row in (*summary.at(ALL), *summary.at(deployment))}
        for y, method in enumerate(order):
            if method in rows:
                _points(axis, y, rows[method], metric.name, summary.units)
        reference = rows.get(REFERENCE)
        if reference and reference.runs:
            axis.axvline(reference.metric(metric.name).mean, color="0.3", ls="--", lw=1, zorder=1)
        if bounds and len(bounds) < len(order):
            axis.axhline(len(order) - len(bounds) - 0.5, color="0.6", lw=0.8)
        head(axis, label(f"{deployment} alone" if panels else "all modalities"))
        axis.set_xlabel(heading(metric, group).replace("$", r"\$"))
    names = [label(m) + (" (sees all)" if m in bounds else "") for m in order]
    axes[0][0].set_yticks(range(len(order)), names)
    axes[0][0].set_ylim(len(order) - 0.4, -0.6)
    family_legend(figure, [group.entries[m]["family"] for m in order])
    what = f"A point is a {group.unit}; diamond and bar: mean ± sd. Dashed: mean of {REFERENCE}."
    lines = [what, f"{error_bars(group)}.", tuning_note(group)]
    caption(figure, group, *lines)
    return figure


def _points(axis: Axes, y: int, row: Row, metric: str, units: int) -> None:
    """The values of a row on one line, its mean as a diamond, their number where some miss."""
    spread, tint = row.metric(metric), colour(row.entry["family"])
    if not spread.n:
        axis.annotate("–", (0.5, y), xycoords=("axes fraction", "data"), ha="center", va="center")
        return
    values = list(spread.values.values())
    if missing := few(spread.n, units):
        axis.annotate(
            missing,
            (spread.mean, y),
            (0, 4),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=6.5,
        )
    axis.plot(values, [y + 0.25] * spread.n, "o", ms=3.7, mew=0, color=tint, alpha=0.7)
    axis.errorbar(
        spread.mean,
        y,
        xerr=spread.sd,
        fmt="D",
        ms=4.5,
        color=tint,
        mec="black",
        mew=0.6,
        ecolor="0.25",
        elinewidth=1,
        capsize=2,
        zorder=3,
    )


def gain_map(outlines: Sequence[Outline]) -> Figure | None:
    """Gain over `single` by method and dataset/modality, in per cent of `single`'s score."""
    import seaborn as sns
    from matplotlib import pyplot as plt

    columns, gains, missing, order = [], {}, {}, {}
    for outline in outlines:
        for deployment in outline.modalities:
            rows = {row.method: row for row in outline.rows if row.deployment == deployment}
            reference = rows.get(REFERENCE)
            if not (reference and reference.mean):
                continue
            columns.append((outline, deployment))
            level = abs(reference.mean)
            for method, row in rows.items():
                if row.gains is not None and not row.hidden:
                    order.setdefault(method, row.family)
                    if row.gains:
                        gains[method, len(columns) - 1] = 100 * row.gain / level
                        missing[method, len(columns) - 1] = few(len(row.gains), outline.units)
    if not gains:
        return None
    families = in_family_order(order.values())
    methods = sorted(order, key=lambda m: (families.index(order[m]), m))
    values = np.array([[gains.get((m, c), np.nan) for c in range(len(columns))] for m in methods])
    nets = np.array([method != NOTHING for method in methods])  # what learns nothing is far away
    shown = np.abs(values[nets]) if np.isfinite(values[nets]).any() else np.abs(values)
    limit = max(1.0, float(np.nanquantile(shown, 0.95)))
    figure, axis = plt.subplots(figsize=(3.2 + 0.85 * len(columns), 2.4 + 0.24 * len(methods)))
    with undrawn(figure):
        sns.heatmap(
            values,
            ax=axis,
            cmap=sns.color_palette("blend:#b35806,#f7f7f7,#2b6ca8", as_cmap=True),
            vmin=-limit,
            vmax=limit,
            annot=[
                [number(v, 1, signed=True) + missing.get((m, c), "") for c, v in enumerate(row)]
                for m, row in zip(methods, values, strict=True)
            ],
            fmt="",
            annot_kws={"size": 7},
            linewidths=0.5,
            cbar_kws={"label": "gain (%)", "shrink": 0.7},  # short: the bar may be, too
        )
    axis.set_facecolor("0.9")
    axis.grid(False)
    for y, x in np.argwhere(np.isnan(values)):
        axis.text(x + 0.5, y + 0.5, MISSING, ha="center", va="center", fontsize=7)
    axis.set_yticks(np.arange(len(methods)) + 0.5, [label(m) for m in methods], rotation=0)
    ticks = [f"{label(o.dataset)}\n{label(d)} ({o.primary.label})" for o, d in columns]
    axis.set_xticks(np.arange(len(columns)) + 0.5, ticks, rotation=35, ha="right")
    for start in range(1, len(columns)):
        if columns[start][0] is not columns[start - 1][0]:
            axis.axvline(start, color="black", lw=1)
    first = outlines[0]
    what = "real data" if first.source == "real" else f"{first.source.upper()} data"
    smoke = ", SMOKE RUN: no evidence" if first.smoke else ""
    lines = [
        f"Gain over {REFERENCE} in per cent of its score: {what}, protocol {first.protocol}{smoke}",
        "Mean over folds, or over the seeds of an official split. Colours end at "
        f"±{limit:.0f} %. {MISSING}: no score; n: over fewer than the table's.",
        " ".join(dict.fromkeys(outline.tuning for outline in outlines)),
    ]
    below(figure, *lines)
    return figure


def learning_curves(summary: Summary) -> Figure | None:
    """Validation loss by epoch, a panel for each method that was trained here by epochs: mean and
    range over the runs."""
    from matplotlib import pyplot as plt

    group = summary.group
    shown = [m for m in group.entries if m not in group.hidden and group.runs_of(m)]
    trained = [m for m in shown if any(run.cost.get("steps") for run in group.runs_of(m))]
    curves = {m: by_name for m in trained if (by_name := _curves(group, m))}
    if not curves:
        return None
    found = {name for by_name in curves.values() for name in by_name}
    names = sorted(found, key=lambda n: (n not in group.modalities, n))
    styles = dict(zip(names, ["-", "--", ":", "-."] * len(names), strict=False))
    across = min(5, len(curves))
    down = -(-len(curves) // across)
    # Above and below few panels, legend and caption have more lines.
    text = 2.3 if across < 3 else 1.5
    figure, axes = plt.subplots(
        down,
        across,
        figsize=(1.2 + 1.9 * max(2, across), text + 1.5 * down),
        squeeze=False,
    )
    every = np.concatenate([run for by in curves.values() for runs in by.values() for run in runs])
    low, high = np.quantile(every, [0, 0.98])
    margin = 0.05 * (high - low) or 1.0
    longest = max(_common(runs) for by in curves.values() for runs in by.values())
    # The same scale for all; axes that matplotlib shares take long to draw when they are many.
    for place, axis in enumerate(axes.flat):
        axis.set_visible(place < len(curves))
        axis.set_xlim(0, longest + 1)
        axis.set_ylim(low - margin, high + margin)
        axis.tick_params(labelbottom=place + across >= len(curves), labelleft=not place % across)
    for axis, (method, by_name) in zip(axes.flat, curves.items(), strict=False):
        tint = colour(group.entries[method]["family"])
        for name, runs in by_name.items():
            shortest = _common(runs)
            common = np.array([run[:shortest] for run in runs])
            epochs = np.arange(1, shortest + 1)
            axis.fill_between(epochs, common.min(0), common.max(0), color=tint, alpha=0.18, lw=0)
            dot = "o" if shortest == 1 else ""  # a single epoch has no line
            axis.plot(epochs, common.mean(0), ls=styles[name], marker=dot, ms=3, color=tint, lw=1.5)
            at_edge(axis, epochs, common.mean(0), color=tint, s=12)
        _training(axis, _curves(group, method, "training"), styles)
        runs = len(group.runs_of(method))
        head(axis, label(method) + few(runs, len(group.planned)), fontsize=8)
        axis.set_xlabel("epoch" if axis.xaxis.get_tick_params()["labelbottom"] else "", fontsize=8)
    figure.supylabel("validation loss ℓ", fontsize=9)
    handles = [
        plt.Line2D([], [], color="0.2", ls=styles[name], label=label(f"{name}")) for name in names
    ]
    handles.append(plt.Line2D([], [], color="0.2", lw=0.8, alpha=0.7, label="training (own scale)"))
    legend(figure, handles)
    caption(
        figure,
        group,
        "By epoch of the last stage that trains the predictor; line and band: mean and range "
        f"over {len(group.planned)} runs, n where they are fewer, as far as the shortest of them "
        "goes; triangle: a mean beyond the edge. Thin line: sum of the loss terms in training, "
        "from its lowest to its highest mean, on a scale of each panel's own.",
        *_left_out(group, [m for m in shown if m not in trained]),
    )
    return figure


def _left_out(group: Group, methods: Sequence[str]) -> list[str]:
    """Why some methods have no panel, if there are such."""
    why = {True: "was trained elsewhere", False: "no network was trained"}
    found: dict[str, list[str]] = {}
    for method in methods:
        found.setdefault(why[group.entries[method]["family"] == EXTERNAL], []).append(method)
    told = [f"{', '.join(own)} ({reason})" for reason, own in found.items()]
    return [f"Without a curve: {'; '.join(told)}."] * bool(told)


def _training(
    axis: Axes, curves: Mapping[str, Sequence[np.ndarray]], styles: Mapping[str, str]
) -> None:
    """The training loss behind a panel, stretched to its height: terms are weighted."""
    means: dict[str, np.ndarray] = {}
    longest = int(axis.get_xlim()[1])
    for name, runs in curves.items():
        mean = np.array([run[: min(longest, _common(runs))] for run in runs]).mean(0)
        if len(mean) > 1 and not any(np.array_equal(mean, other) for other in means.values()):
            means[name] = mean  # deployments that one stage trains have one curve
    if not means:
        return
    low, high = (end(map(end, means.values())) for end in (min, max))
    bottom, top = axis.get_ylim()
    for name, mean in means.items():
        share = 0.04 + 0.92 * (mean - low) / ((high - low) or 1.0)
        style = styles[name] if len(means) > 1 else "-"
        epochs = np.arange(1, len(mean) + 1)
        axis.plot(epochs, bottom + share * (top - bottom), ls=style, color="0.2", lw=0.8, alpha=0.7)


def _common(runs: Sequence[np.ndarray]) -> int:
    """How many epochs all runs have."""
    return min(len(run) for run in runs)


def _curves(group: Group, method: str, what: str = "validation") -> dict[str, list[np.ndarray]]:
    """Watched quantity → loss by epoch of each run of a method, as `own_curves` has it."""
    by_name: dict[str, list[np.ndarray]] = {}
    for record in group.runs_of(method):
        for name, curve in own_curves(record, what).items():
            by_name.setdefault(name, []).append(curve)
    return by_name


def critical_difference(comparison: Across) -> Figure:
    """Average ranks; methods under one bar are not significantly different (Demšar 2006)."""
    import pandas as pd
    import scikit_posthocs as sp
    from matplotlib import pyplot as plt

    ranks = comparison.ranks
    names = [label(method) for method in comparison.methods]
    if len(set(names)) < len(names):  # cut to the same beginning
        names = [one_line(method).replace("$", r"\$") for method in comparison.methods]
    average = pd.Series(ranks.average, index=names)
    apart = np.abs(ranks.average[:, None] - ranks.average) >= ranks.critical_difference
    significance = pd.DataFrame(np.where(apart, 0.0, 1.0), index=names, columns=names)
    figure, axis = plt.subplots(figsize=(7, 1.9 + 0.16 * len(names)))
    families = (comparison.families[method] for method in comparison.methods)
    tints = dict(zip(names, map(colour, families), strict=True))
    sp.critical_difference_diagram(
        average,
        significance,
        ax=axis,
        label_props={"fontsize": 8},
        color_palette=tints,
        label_fmt_left="{label} ({rank:.2f})",
        label_fmt_right="({rank:.2f}) {label}",
    )
    axis.grid(False)
    start, above = average.min(), axis.get_xaxis_transform()
    end = start + ranks.critical_difference
    lift = 1 + 0.4 / figure.get_figheight()
    axis.plot([start, end], [lift, lift], "|-k", lw=1, transform=above, clip_on=False)
    text = f"CD = {ranks.critical_difference:.2f}"
    middle = (start + end) / 2
    axis.annotate(
        text, (middle, lift), (0, 3), above, "offset points", ha="center", va="bottom", fontsize=8
    )
    what = "real data" if comparison.source == "real" else f"{comparison.source.upper()} data"
    warning = f" N < {MANY}: ranks of so few datasets prove little." if ranks.blocks < MANY else ""
    below(
        figure,
        f"Average rank over N = {ranks.blocks} datasets (blocks), 1 is best; {what}, protocol "
        f"{comparison.protocol}.{warning}",
        f"CD: Nemenyi's critical difference at 5 %. Friedman p {p_value(ranks.p, '= ')}. "
        f"{comparison.tuning}",
    )
    return figure
