"""What was predicted: confusion matrices, and values against their targets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark import records
from benchmark.errors import UserError
from benchmark.metrics import POOLED_R2
from benchmark.report.classes import class_names, confusion
from benchmark.report.colearning import best_bound
from benchmark.report.evidence import truth
from benchmark.report.figures.style import at_edge, caption, colour, head, label, undrawn
from benchmark.report.rows import Row
from benchmark.report.summary import REFERENCE, Summary
from benchmark.report.text import number, shortened
from benchmark.report.wording import tuning_note
from benchmark.terms import ALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEATURED = 4
"""Methods in a figure that has room for few."""

WIDEST = 12.0
"""Inches that panels side by side may take: wider figures are unreadable on a page."""


def featured(summary: Summary) -> list[str]:
    """The first `FEATURED` of: the reference, the proposed method, the best bound, other methods,
    controls and ablations, each in the order of families.

    So what a method is decides, and not its scores; one more takes the place of one at most.
    """
    entries = {m: e for m, e in summary.group.entries.items() if m in _there(summary)}
    methods = [m for m, entry in entries.items() if entry["role"] == "method"]
    proposed = [m for m in methods if entries[m]["family"] == "proposed"]
    bound = best_bound(summary)
    ranked = [REFERENCE, *proposed[:1], bound.method if bound else "", *methods, *entries]
    return [m for m in dict.fromkeys(ranked) if m in entries][:FEATURED]


def _there(summary: Summary) -> set[str]:
    """The methods that could be shown."""
    return {row.method for row in summary.rows if row.runs} - set(summary.group.hidden)


def _rule(summary: Summary) -> str:
    """By what methods were chosen, where some are left out."""
    there = len(_there(summary))
    if there <= FEATURED:
        return ""
    return (
        f" {FEATURED} of {there} methods: {REFERENCE}, the proposed one, the bound that is best on "
        "validation, then other methods before controls and ablations, in the order of families; "
        "no test score chooses."
    )


def _columns(summary: Summary) -> list[Row]:
    """The rows of the featured methods: at each modality, and a bound at all of them."""
    rows = {(row.method, row.deployment): row for row in summary.rows if row.runs}
    return [
        rows[method, deployment]
        for method in featured(summary)
        for deployment in summary.group.deployments
        if (method, deployment) in rows
    ]


def _name(row: Row) -> str:
    where = "all modalities" if row.deployment == ALL else f"{row.deployment} alone"
    return label(row.method) + "\n" + label(where)


def confusion_matrices(summary: Summary) -> Figure | None:
    """Where the test samples of each class went, in per cent of the class; a few methods."""
    import seaborn as sns

    if summary.group.kind not in ("binary", "multiclass"):
        return None
    found = [(row, confusion(summary, row.method, row.deployment)) for row in _columns(summary)]
    found = [(row, matrix) for row, matrix in found if matrix is not None]
    if not found:
        return None
    names = [shortened(name, 18).replace("$", r"\$") for name in class_names(summary.group)]
    side = max(1.7, 0.34 * len(names))
    figure, axes = _grid(len(found), side, side + 0.6, edge=(1.4, 1.3))
    for axis, (row, matrix) in zip(axes, found, strict=True):
        total = matrix.sum(axis=1, keepdims=True)
        share = np.where(total > 0, 100 * matrix / np.maximum(total, 1), np.nan)
        with undrawn(figure):
            sns.heatmap(
                share,
                ax=axis,
                cmap="Blues",
                vmin=0,
                vmax=100,
                annot=True,
                fmt=".0f",
                annot_kws={"size": 7},
                cbar=False,
                square=True,
                xticklabels=names,
                yticklabels=names,
                linewidths=0.5,
            )
        head(axis, _name(row), fontsize=8)
        axis.tick_params(axis="x", rotation=60)
        axis.tick_params(axis="y", rotation=0)
        if axis.xaxis.get_tick_params()["labelbottom"]:
            axis.set_xlabel("predicted class", fontsize=8)
    figure.supylabel("true class", fontsize=9)
    caption(
        figure,
        summary.group,
        "Per cent of the test samples of a true class, all runs together." + _rule(summary),
        tuning_note(summary.group),
    )
    return figure


def predicted_against_true(summary: Summary, results: Path, cache: Path | None) -> Figure | None:
    """Predicted values against targets of all test samples; a few methods.

    None without predictions, or where the targets are not in the cache.
    """
    group = summary.group
    known = truth(cache, group.spec.fingerprint) if group.kind == "regression" else None
    if known is None:
        return None
    found: list[tuple[Row, np.ndarray, np.ndarray]] = []
    missing: set[str] = set()
    for row in _columns(summary):
        parts = []
        for record in group.runs_of(row.method):
            try:
                ids, predictions = records.read_predictions(record, results)
                parts.append((known.y[known.places(ids)], predictions[row.deployment]))
            except (UserError, KeyError):
                missing.add(record.id)  # elsewhere, or of other data
        if parts:
            y, value = (np.concatenate(part) for part in zip(*parts, strict=True))
            found.append((row, y, value))
    if not found:
        return None
    unit = group.data["task"].get("unit") or "its own unit"
    figure, axes = _grid(len(found), 2.2, 2.7, edge=(0.9, 1.0))
    ends = np.quantile(np.concatenate([v for _, *both in found for v in both]), [0.002, 0.998])
    for axis, (row, y, value) in zip(axes, found, strict=True):
        _against(axis, row, y, value, ends, unit)
    figure.supylabel(f"predicted ({unit})".replace("$", r"\$"), fontsize=9)
    caption(
        figure,
        group,
        "Test samples of all runs"
        + f" but {len(missing)} whose predictions are not there" * bool(missing)
        + ". Line: equal. Triangle at an edge: a point beyond it."
        + _rule(summary),
        tuning_note(group),
    )
    return figure


def _against(
    axis: Axes, row: Row, y: np.ndarray, value: np.ndarray, ends: np.ndarray, unit: str
) -> None:
    alpha = float(np.clip(10 / np.sqrt(len(y)), 0.08, 0.6))
    tint = colour(row.entry["family"])
    axis.scatter(y, value, s=7, color=tint, alpha=alpha, lw=0, rasterized=True)
    axis.plot(ends, ends, color="0.15", lw=1)
    pooled = row.metric(POOLED_R2.name).mean
    axis.set_xlim(ends)
    axis.set_ylim(ends)
    head(axis, f"{_name(row)}, pooled R² {number(pooled, 2)}", fontsize=8)
    axis.set_aspect("equal")
    at_edge(axis, y, value, s=9, color=tint, alpha=0.8, lw=0)
    if axis.xaxis.get_tick_params()["labelbottom"]:
        axis.set_xlabel(f"target ({unit})".replace("$", r"\$"), fontsize=8)


def _grid(panels: int, width: float, height: float, *, edge: tuple[float, float]) -> tuple:
    """A figure of ``panels`` panels in rows that fit on a page, and its axes in order."""
    from matplotlib import pyplot as plt

    across = min(panels, max(1, int(WIDEST / width)))
    down = -(-panels // across)
    figure, axes = plt.subplots(
        down,
        across,
        figsize=(edge[0] + width * across, edge[1] + height * down),
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    for number_, axis in enumerate(axes.flat):
        axis.set_visible(number_ < panels)
        axis.tick_params(labelbottom=number_ + across >= panels)
    return figure, list(axes.flat[:panels])
