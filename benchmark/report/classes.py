"""Scores by class, genus or range of the target."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from benchmark.metrics import LISTS, TARGET_RANGES
from benchmark.report.frame import Group
from benchmark.report.summary import Summary, in_order
from benchmark.report.text import csv_table, decimals_for, markdown, markdown_table, number
from benchmark.report.wording import Formats, few, heading


def per_class(
    summary: Summary, deployment: str, name: str
) -> dict[str, list[tuple[float | None, int]]]:
    """Method → a list metric's mean over its runs, place by place, and over how many of them.

    None over 0 where it never is.
    """
    values: dict[str, list[list[float | None]]] = {}
    for record in summary.group.runs:
        own = record.metrics.get(deployment, {}).get(name)
        if isinstance(own, list) and record.spec.row not in summary.group.hidden:
            values.setdefault(record.spec.row, []).append(own)
    means = {}
    for method in in_order(summary):
        if method in values:
            places = zip(*values[method], strict=False)
            kept = [[v for v in place if isinstance(v, int | float)] for place in places]
            means[method] = [(math.fsum(v) / len(v) if v else None, len(v)) for v in kept]
    return means


def class_names(group: Group) -> list[str]:
    """What the places of a list metric are: classes, or ranges of the target with their ends.

    Each test part has fifths of its own; the ends are means over the runs.
    """
    if group.kind == "regression":
        found = [v.get("range_edges") for r in group.runs for v in r.metrics.values()]
        edges = [e for e in found if e and len(e) == TARGET_RANGES + 1 and None not in e]
        names = [f"fifth {i}" for i in range(1, TARGET_RANGES + 1)]
        if not edges:
            return names
        means = [math.fsum(own) / len(own) for own in zip(*edges, strict=True)]
        ends = [number(mean, max(0, decimals_for(means) - 1)) for mean in means]
        ranges = zip(names, pairwise(ends), strict=True)
        return [f"{name} ({low} to {high})" for name, (low, high) in ranges]
    outputs = group.data["task"]["outputs"]
    return list(group.data["task"].get("class_names") or ()) or [
        f"class {c}" for c in range(outputs)
    ]


PER_CLASS = {
    "binary": ("f1_per_class",),
    "multiclass": ("f1_per_class",),
    "multilabel": ("ap_per_class",),
    "regression": ("rmse_by_range", "bias_by_range"),
}
"""What tables show by class or range; the CSV file has every list."""


def per_class_lines(summary: Summary) -> list[str]:
    """By class, genus or range of the target: a table for each deployment."""
    group, lines = summary.group, []
    names, most = class_names(group), len(group.planned)
    for metric in LISTS[group.kind]:
        if metric.name not in PER_CLASS[group.kind]:
            continue
        decimals = Formats(summary).decimals["rmse"] if metric.unit == "target" else 3
        for deployment in (d for d in group.deployments if summary.at(d)):
            means = per_class(summary, deployment, metric.name)
            rows = [
                [m, *(number(v, decimals) + few(n, most) for v, n in own)]
                for m, own in means.items()
            ]
            if rows:
                lines += [f"## {markdown(heading(metric, group))} by class: {markdown(deployment)}"]
                lines += ["", markdown_table(["method", *names], rows, 1), ""]
    what = "fifth of the targets of each test part, with the mean of its ends" if lines else ""
    if lines and group.kind == "regression":
        lines = [line.replace(" by class: ", " by range of the target: ") for line in lines]
        lines += [
            f"Means over {most} runs, n where they are fewer. Ranges: the lowest to the "
            f"highest {what}.",
            "",
        ]
    elif lines:
        lines += [f"Means over {most} runs, n where fewer test parts have a class; –: none.", ""]
    return lines


def per_class_csv(summary: Summary) -> str:
    """One row for each method, deployment, list metric and class or range."""
    group, rows = summary.group, []
    names = class_names(group)
    for deployment in group.deployments:
        for metric in LISTS[group.kind]:
            if metric.name in ("confusion_matrix", "range_edges"):
                continue
            for method, own in per_class(summary, deployment, metric.name).items():
                for name, (value, n) in zip(names, own, strict=False):
                    rows.append((deployment, method, metric.name, name, value, n))
    header = ("deployment", "method", "metric", "class", "mean", "n")
    return csv_table([dict(zip(header, row, strict=True)) for row in rows], header)


def confusion(summary: Summary, method: str, deployment: str) -> np.ndarray | None:
    """Confusion matrix [true][predicted] of a method, summed over its runs."""
    found = [
        record.metrics.get(deployment, {}).get("confusion_matrix")
        for record in summary.group.runs_of(method)
    ]
    found = [np.array(matrix) for matrix in found if matrix]
    return np.sum(found, axis=0) if found else None
