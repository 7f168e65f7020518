"""Tuning: validation score against trials, and scores by default and tuned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmark.report.figures.style import at_edge, caption, colour, family_legend, head, label
from benchmark.report.summary import Summary, in_order
from benchmark.report.tuning import best_so_far, own_scores, pairs
from benchmark.report.wording import deployment_title, heading, tuning_note

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS = 5


def validation_against_trials(summary: Summary) -> Figure | None:
    """The validation score of each trial and the best so far, a panel for each method: means over
    folds, and the range of the best."""
    from matplotlib import pyplot as plt
    from matplotlib.ticker import MaxNLocator

    if summary.tuning is None:
        return None
    group, curves, points = summary.group, {}, {}
    for method in in_order(summary):
        best, own = best_so_far(summary, method), own_scores(summary, method)
        folds = [fold for fold, curve in best.items() if None not in curve]
        shortest = min((len(best[fold]) for fold in folds), default=0)
        if shortest:
            curves[method] = np.array([best[fold][:shortest] for fold in folds])
            scores = np.array([own[fold][:shortest] for fold in folds], dtype=float)
            points[method] = scores.mean(axis=0)  # NaN where a trial failed in a fold
    if not curves:
        return None
    across = min(ACROSS, len(curves))
    down = -(-len(curves) // across)
    figure, axes = plt.subplots(
        down, across, figsize=(1.2 + 1.9 * across, 1.5 + 1.5 * down), squeeze=False
    )
    most = np.nanquantile(np.concatenate([*points.values()]), [0.1, 0.9])
    every = np.concatenate([most, *(own.ravel() for own in curves.values())])
    low, high = every.min(), every.max()
    margin = 0.05 * (high - low) or 1.0
    longest = max(own.shape[1] for own in curves.values())
    ticks = MaxNLocator(5, integer=True).tick_values(1, longest)
    ticks = sorted({1, *(int(tick) for tick in ticks if 1 <= tick <= longest)})
    for place, axis in enumerate(axes.flat):
        axis.set_visible(place < len(curves))
        axis.set_xlim(0.5, longest + 0.5)
        axis.set_xticks(ticks)
        axis.set_ylim(low - margin, high + margin)
        axis.tick_params(labelbottom=place + across >= len(curves), labelleft=not place % across)
    for axis, (method, own) in zip(axes.flat, curves.items(), strict=False):
        tint, numbers = colour(group.entries[method]["family"]), np.arange(1, own.shape[1] + 1)
        faint = {"s": 14, "color": tint, "alpha": 0.5, "lw": 0}
        axis.scatter(numbers, points[method], **faint)
        at_edge(axis, numbers, points[method], **faint)
        axis.plot(1, own[:, 0].mean(), "o", ms=4, color=tint)
        numbers = np.append(numbers, numbers[-1] + 0.5)  # a step for the last trial as well
        own = np.append(own, own[:, -1:], axis=1)
        axis.fill_between(
            numbers, own.min(0), own.max(0), color=tint, alpha=0.18, lw=0, step="post"
        )
        axis.step(numbers, own.mean(0), where="post", color=tint, lw=1.5)
        head(axis, label(method), fontsize=8)
        axis.set_xlabel("trial" if axis.xaxis.get_tick_params()["labelbottom"] else "", fontsize=8)
    for axis in axes[:, 0]:
        what = heading(group.primary, group).replace("$", r"\$")
        axis.set_ylabel(f"validation\n{what}", fontsize=8)
    family_legend(figure, [group.entries[method]["family"] for method in curves])
    caption(
        figure,
        group,
        "Line and band: the best of the trials so far, by their number; mean and range over the "
        "folds on which there were trials. Faint points: each trial's own score, mean over these "
        "folds, where it failed in none; triangle: one beyond the edge. Full point: the first "
        "trial, with the defaults.",
        tuning_note(group),
    )
    return figure


def default_and_tuned(summary: Summary) -> Figure | None:
    """The primary metric by default and tuned, joined by a line, a panel for each deployment."""
    from matplotlib import pyplot as plt

    found = [
        pair
        for pair in pairs(summary)
        if pair.tuned.metric(summary.group.primary.name).n
        and pair.default.metric(summary.group.primary.name).n
    ]
    if not found:
        return None
    group, name = summary.group, summary.group.primary.name
    methods = [m for m in in_order(summary) if any(p.tuned.method == m for p in found)]
    panels = list(dict.fromkeys(pair.tuned.deployment for pair in found))
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(1.6 + 3.2 * len(panels), 1.6 + 0.24 * len(methods)),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for axis, deployment in zip(axes[0], panels, strict=True):
        for pair in (pair for pair in found if pair.tuned.deployment == deployment):
            y, tint = methods.index(pair.tuned.method), colour(pair.tuned.entry["family"])
            ends = [row.metric(name).mean for row in (pair.default, pair.tuned)]
            axis.plot(ends, [y, y], color=tint, lw=1.5)
            axis.plot(ends[0], y, "o", ms=5, mfc="white", mec=tint)
            axis.plot(ends[1], y, "o", ms=5, color=tint)
        head(axis, label(deployment_title(deployment)), fontsize=9)
        axis.set_xlabel(heading(group.primary, group).replace("$", r"\$"))
    axes[0][0].set_yticks(range(len(methods)), [label(method) for method in methods])
    axes[0][0].set_ylim(len(methods) - 0.4, -0.6)
    family_legend(figure, [group.entries[method]["family"] for method in methods])
    caption(
        figure,
        group,
        f"Means over the {group.unit}s' test parts. Hollow: by default; filled: tuned.",
        tuning_note(group),
    )
    return figure
