"""What a group's runs say of each method and deployment: means, spreads, gains over `single`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmark.metrics import POOLED_R2, pooled_r2
from benchmark.report.evidence import Evidence, OverFolds
from benchmark.report.frame import Group
from benchmark.report.rows import NOTHING, Row, Spread
from benchmark.report.statistics import best_set, holm
from benchmark.terms import ALL

REFERENCE = "single"
"""The one reference, declared before any number was seen."""

ROLES = ("control", "method", "ablation", "bound")
"""Order of rows in tables of evidence."""


@dataclass(frozen=True)
class Summary:
    """The rows of a group, in the order in which they are shown.

    evidence: what its comparisons rest on; None for a smoke run, and where ``why_not`` says why.
    """

    group: Group
    rows: tuple[Row, ...]
    evidence: Evidence | None = None
    why_not: str = ""

    def at(self, deployment: str) -> list[Row]:
        """The rows that are shown for a deployment."""
        hidden = self.group.hidden
        return [r for r in self.rows if r.deployment == deployment and r.method not in hidden]

    def complete(self, row: Row) -> bool:
        """Whether a row has all the runs that any method has."""
        return row.runs == len(self.group.planned)

    @property
    def units(self) -> int:
        """Number of folds, or seeds, that any method was run on."""
        position = 0 if self.group.unit == "fold" else 1
        return len({pair[position] for pair in self.group.planned})

    @property
    def has_reference(self) -> bool:
        return any(row.gain for row in self.rows)

    @property
    def tested(self) -> bool:
        return any(row.comparison for row in self.rows)

    @property
    def ratio(self) -> float:
        """Size of a test part over that of its training part, averaged over the folds."""
        ratios = {r.spec.fold: r.data["test"] / r.data["train"] for r in self.group.records}
        return math.fsum(ratios.values()) / len(ratios)


def summarise(group: Group, official: Evidence | str = "no predictions were read") -> Summary:
    """Summarise one group. Seeds are averaged within a fold, unless they are the repetitions.

    A smoke run is left as it is; otherwise methods are in the order of their means and are
    compared: over folds, or, on an official split, by the evidence that is given; a text says why
    there is none.
    """
    summary = Summary(group, _rows(group))
    if group.smoke:
        return summary
    if group.unit == "seed":
        evidence = official
    elif summary.units < 2:
        evidence = "it takes at least two folds"
    else:
        evidence = OverFolds(group.primary, summary.units, summary.ratio)
    if isinstance(evidence, str):
        summary = replace(summary, why_not=evidence)
    else:
        summary = replace(summary, evidence=evidence)
    rows: list[Row] = []
    for deployment in group.deployments:
        own = [row for row in summary.rows if row.deployment == deployment]
        if deployment != ALL and summary.evidence:
            own = _with_evidence(summary, own, summary.evidence)
        rows += sorted(own, key=lambda row: _place(summary, [row]))
    summary = replace(summary, rows=tuple(rows))
    if summary.evidence and not summary.tested:
        return replace(summary, why_not=f"no other method and {REFERENCE} have all runs")
    return summary


def in_order(summary: Summary) -> list[str]:
    """The methods that are shown, in an order that serves all deployments."""
    by_method: dict[str, list[Row]] = {}
    for row in summary.rows:
        if row.method not in summary.group.hidden:
            by_method.setdefault(row.method, []).append(row)
    if summary.group.smoke:
        return [method for method in summary.group.entries if method in by_method]
    return sorted(by_method, key=lambda method: _place(summary, by_method[method]))


def _place(summary: Summary, rows: Sequence[Row]) -> tuple:
    """Sort key: roles apart, incomplete rows last, then the mean of the primary metric."""
    role = rows[0].entry["role"]
    known = ROLES.index(role) if role in ROLES else len(ROLES)
    means = [row.metric(summary.group.primary.name).mean for row in rows]
    complete = all(summary.complete(row) for row in rows)
    if None in means:
        return known, rows[0].method != REFERENCE, not complete, math.inf, rows[0].method
    worst_first = summary.group.primary.gain(0.0, math.fsum(means) / len(means))
    return known, rows[0].method != REFERENCE, not complete, worst_first, rows[0].method


def _with_evidence(summary: Summary, rows: Sequence[Row], evidence: Evidence) -> list[Row]:
    """The rows of one deployment with what the evidence says of them.

    Rows with missing runs are not compared. Only methods are a family and compete for the best;
    controls and ablations have an interval and no adjusted p-value.
    """
    whole = [row for row in rows if summary.complete(row)]
    reference = next((row for row in whole if row.method == REFERENCE), None)
    comparisons = {}
    for row in whole:
        if reference and row is not reference:
            comparison = evidence.compare(row, reference)
            if comparison:
                comparisons[row.method] = comparison
    family = [r for r in whole if r.entry["role"] == "method" and r.method in comparisons]
    adjusted = holm([comparisons[row.method].p for row in family])
    p_holm = dict(zip((row.method for row in family), adjusted, strict=True))
    competing = [r for r in whole if r.entry["role"] == "method" and evidence.knows(r)]
    best: set[str] = set()
    if len(competing) > 1:
        sign = summary.group.primary.gain(1.0, 0.0)
        mean = np.array([row.metric(summary.group.primary.name).mean for row in competing])
        inside = best_set(sign * mean, sign * evidence.draws(competing))
        best = {row.method for row, is_in in zip(competing, inside, strict=True) if is_in}
    return [
        replace(
            row,
            comparison=comparisons.get(row.method),
            p_holm=p_holm.get(row.method),
            best=row.method in best,
        )
        for row in rows
    ]


def _rows(group: Group) -> tuple[Row, ...]:
    spreads, runs = _spreads(group)
    rows = []
    for deployment in group.deployments:
        reference = spreads.get((REFERENCE, deployment), {}).get(group.primary.name, NOTHING)
        for method, entry in group.entries.items():
            if (method, deployment) not in spreads and not _expected(entry, deployment):
                continue
            metrics = spreads.get((method, deployment), {})
            gain = None
            if deployment != ALL and method != REFERENCE and reference.n:
                gain = _gain(group, metrics.get(group.primary.name, NOTHING), reference)
            row = Row(method, entry, deployment, metrics, gain, runs.get((method, deployment), 0))
            rows.append(row)
    return tuple(rows)


def _expected(entry: Mapping[str, str], deployment: str) -> bool:
    """Whether a method without scores has a place among the rows of a deployment."""
    return (entry["role"] == "bound") == (deployment == ALL)


def _spreads(group: Group) -> tuple[dict[Any, dict[str, Spread]], dict[Any, int]]:
    """(method, deployment) → metric → values, and → number of runs."""
    scores = group.scores.dropna(subset=["value"])
    values: dict[Any, dict[str, dict[int, list[float]]]] = {}
    runs: dict[Any, set[str]] = {}
    columns = ["method", "deployment", "metric", group.unit, "value", "run"]
    for method, deployment, metric, unit, value, run in zip(
        *(scores[column].tolist() for column in columns), strict=True
    ):
        place = method, deployment
        by_unit = values.setdefault(place, {}).setdefault(metric, {})
        by_unit.setdefault(unit, []).append(value)
        if metric == group.primary.name:
            runs.setdefault(place, set()).add(run)
    spreads = {
        place: {
            metric: Spread({u: math.fsum(v) / len(v) for u, v in sorted(by_unit.items())})
            for metric, by_unit in metrics.items()
        }
        for place, metrics in values.items()
    }
    if group.kind == "regression":
        for place, metrics in spreads.items():
            metrics[POOLED_R2.name] = _pooled(group, *place)
    return spreads, {place: len(ids) for place, ids in runs.items()}


def _pooled(group: Group, method: str, deployment: str) -> Spread:
    """R² over all runs of a method at once, as a single value."""
    runs = [record.metrics.get(deployment) for record in group.runs_of(method)]
    needed = ("samples", "rmse", "target_mean", "target_sd")
    if not runs or not all(run and all(run.get(n) is not None for n in needed) for run in runs):
        return NOTHING
    pooled = pooled_r2(runs)
    return NOTHING if pooled is None else Spread({0: pooled})


def _gain(group: Group, own: Spread, reference: Spread) -> Spread:
    paired = {
        unit: group.primary.gain(value, reference.values[unit])
        for unit, value in own.values.items()
        if unit in reference.values
    }
    return Spread(paired)
