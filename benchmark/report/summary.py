"""What a group's runs say of each method and deployment: means, spreads, gains over `single`."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmark.metrics import POOLED_R2, SCALARS, pooled_r2
from benchmark.report.evidence import Evidence, OverFolds
from benchmark.report.frame import Group
from benchmark.report.rows import NOTHING, Row, Spread
from benchmark.report.statistics import ALPHA, best_set, holm, power_factor
from benchmark.terms import ALL

REFERENCE = "single"
"""The one reference, declared before any number was seen."""

AGAIN = "single_again"
"""The reference from another initialisation: how much a difference of nothing varies."""

MOST_SEEDS = 1000
"""A fold; who would need more needs something else."""

ROLES = ("control", "method", "ablation", "bound")
"""Order of rows in tables of evidence."""


@dataclass(frozen=True)
class Trial:
    """What is kept of a trial: its score on the validation part, None if it failed."""

    fold: int
    number: int
    score: float | None
    seconds: float


@dataclass(frozen=True)
class Tuning:
    """Of a tuned group: its methods by default, and the trials by which their values were chosen.

    by_default: the summary of the same data, protocol and arithmetic, or None. trials: method →
    trials; empty where their records are not below the results folder.
    """

    by_default: Summary | None
    trials: Mapping[str, Sequence[Trial]] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """The rows of a group, in the order in which they are shown.

    evidence: what its comparisons rest on; None where ``why_not`` says why. levels: deployment →
    that of the first step of Holm's correction, which a gain has to pass. ropes: deployment → half
    the width of the region in which a difference does not matter, where that is known. placebos:
    rows of the runs with wrong partners; they are in nothing else. tuning: of a tuned group, what
    it is shown beside.
    """

    group: Group
    rows: tuple[Row, ...]
    evidence: Evidence | None = None
    why_not: str = ""
    levels: Mapping[str, float] = field(default_factory=dict)
    ropes: Mapping[str, float] = field(default_factory=dict)
    placebos: tuple[Row, ...] = ()
    tuning: Tuning | None = None

    def at(self, deployment: str) -> list[Row]:
        """The rows that are shown for a deployment."""
        hidden = self.group.hidden
        return [r for r in self.rows if r.deployment == deployment and r.method not in hidden]

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

    What is no evidence is left as it is; otherwise methods are in the order of their means and are
    compared: over folds, or, on an official split, by the evidence that is given; a text says why
    there is none.
    """
    summary = Summary(group, _rows(group), why_not=group.no_evidence, placebos=_placebo_rows(group))
    if summary.why_not:
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
    levels, ropes = {}, {}
    for deployment in group.deployments:
        own = [row for row in summary.rows if row.deployment == deployment]
        if deployment != ALL and summary.evidence:
            family = _family(group, own, summary.evidence)
            levels[deployment] = ALPHA / max(1, len(family))
            rope = group.rope or _rope(group, own)
            if rope is not None:
                ropes[deployment] = rope
            own = _compared(own, summary.evidence, family, levels[deployment], rope)
            own = _with_best(group, own, summary.evidence)
        rows += sorted(own, key=lambda row: _place(summary, [row]))
    summary = replace(summary, rows=tuple(rows), levels=levels, ropes=ropes)
    if summary.evidence and not summary.tested:
        return replace(summary, why_not=f"no other method and {REFERENCE} have all runs")
    return summary


def in_order(summary: Summary) -> list[str]:
    """The methods that are shown, in an order that serves all deployments."""
    by_method: dict[str, list[Row]] = {}
    for row in summary.rows:
        if row.method not in summary.group.hidden:
            by_method.setdefault(row.method, []).append(row)
    if summary.group.no_evidence:
        return [method for method in summary.group.entries if method in by_method]
    return sorted(by_method, key=lambda method: _place(summary, by_method[method]))


def _place(summary: Summary, rows: Sequence[Row]) -> tuple:
    """Sort key: roles apart, incomplete rows last, then the mean of the primary metric."""
    role = rows[0].entry["role"]
    known = ROLES.index(role) if role in ROLES else len(ROLES)
    means = [row.metric(summary.group.primary.name).mean for row in rows]
    complete = all(row.complete for row in rows)
    if None in means:
        return known, rows[0].method != REFERENCE, not complete, math.inf, rows[0].method
    worst_first = summary.group.primary.gain(0.0, math.fsum(means) / len(means))
    return known, rows[0].method != REFERENCE, not complete, worst_first, rows[0].method


def reference_of(rows: Sequence[Row]) -> Row | None:
    """The reference among the rows of a deployment, if it has all its runs."""
    return next((row for row in rows if row.method == REFERENCE and row.complete), None)


def _family(group: Group, rows: Sequence[Row], evidence: Evidence) -> list[list[str]]:
    """The methods that are compared with the reference, those that are one and the same together.

    Controls and ablations are in no family. The same predictions in all runs are one method.
    """
    reference, alike = reference_of(rows), {}
    for row in rows:
        of_family = reference and row.entry["role"] == "method" and row.complete
        if of_family and evidence.compare(row, reference):
            runs = group.runs_of(row.method)
            own = {(r.spec.fold, r.spec.seed): r.predictions_sha256 for r in runs}
            key = tuple(sorted(own.items())) if all(own.values()) else row.method
            alike.setdefault(key, []).append(row.method)
    return list(alike.values())


def _rope(group: Group, rows: Sequence[Row]) -> float | None:
    """Half the standard deviation of the differences of the reference from its own repetition."""
    again = next((row for row in rows if row.method == AGAIN and row.complete), None)
    if again is None or again.gain is None or again.gain.sd is None:
        return None
    return again.gain.sd / 2


def _compared(
    rows: Sequence[Row],
    evidence: Evidence,
    family: Sequence[Sequence[str]],
    level: float,
    rope: float | None,
) -> list[Row]:
    """The rows of one deployment with the comparisons of their gains; incomplete ones have none."""
    reference, compared = reference_of(rows), {}
    for row in rows:
        if reference and row is not reference and row.complete:
            comparison = evidence.compare(row, reference)
            if comparison:
                compared[row.method] = replace(
                    row,
                    comparison=comparison,
                    practical=None if rope is None else comparison.practical(rope),
                    detectable=comparison.detectable(level),
                    seeds_needed=_seeds_needed(row, reference, evidence, level),
                )
    adjusted = holm([compared[methods[0]].comparison.p for methods in family])
    for methods, p in zip(family, adjusted, strict=True):
        for method in methods:
            compared[method] = replace(compared[method], p_holm=p)
    return [compared.get(row.method, row) for row in rows]


def _seeds_needed(row: Row, reference: Row, evidence: Evidence, level: float) -> float | None:
    """`Row.seeds_needed`: the error that so many seeds leave makes the gain a detectable one."""

    def enough(seeds: float) -> bool:
        error, df = evidence.anticipated(row, reference, seeds)
        return power_factor(df, level) * error <= abs(row.gain.mean)

    if evidence.anticipated(row, reference, 1) is None:
        return None
    needed = 1 + bisect_left(range(1, MOST_SEEDS + 1), True, key=enough)
    return needed if needed <= MOST_SEEDS else math.inf


def _with_best(group: Group, rows: Sequence[Row], evidence: Evidence) -> list[Row]:
    """The rows of one deployment, those marked that are in the best set; only methods compete."""
    whole = (row for row in rows if row.complete and row.entry["role"] == "method")
    competing = [row for row in whole if evidence.knows(row)]
    if len(competing) < 2:
        return list(rows)
    sign = group.primary.gain(1.0, 0.0)
    mean = np.array([row.metric(group.primary.name).mean for row in competing])
    inside = best_set(sign * mean, sign * evidence.draws(competing))
    best = {row.method for row, is_in in zip(competing, inside, strict=True) if is_in}
    return [replace(row, best=row.method in best) for row in rows]


def _rows(group: Group) -> tuple[Row, ...]:
    spreads, by_seed = _spreads(group)
    planned, rows = _planned(group), []
    for deployment in group.deployments:
        reference = spreads.get((REFERENCE, deployment), {}).get(group.primary.name, NOTHING)
        for method, entry in group.entries.items():
            if (method, deployment) not in spreads and not _expected(entry, deployment):
                continue
            metrics = spreads.get((method, deployment), {})
            gain = None
            if deployment != ALL and method != REFERENCE and reference.n:
                gain = _gain(group, metrics.get(group.primary.name, NOTHING), reference)
            own = by_seed.get((method, deployment), {})
            rows.append(Row(method, entry, deployment, metrics, gain, own, planned[method]))
    return tuple(rows)


def _placebo_rows(group: Group) -> tuple[Row, ...]:
    """The rows of the placebos beside the same reference, over the same folds and seeds."""
    done = [record for record in group.placebos if record.status == "done"]
    places = {(record.spec.row, record.spec.placebo) for record in group.placebos}
    # A placebo is whole with its own seeds, which may be fewer than those of its method.
    apart = {REFERENCE, *(row for row, _ in places)}
    others = [r for r in (*group.runs, *group.absent) if r.spec.row not in apart]
    beside = replace(group, runs=(*group.runs_of(REFERENCE), *done), absent=tuple(others))
    rows = _rows(beside) if places else ()
    return tuple(
        replace(row, placebo=True) for row in rows if (row.method, row.deployment) in places
    )


def _planned(group: Group) -> dict[str, int]:
    """Method → number of runs if it is whole: its own seeds, on every fold of the group.

    On an official split seeds are the repetitions, and all methods need the same.
    """
    if group.unit == "seed":
        return dict.fromkeys(group.entries, len(group.planned))
    seeds: dict[str, set[int]] = {}
    for record in group.records:
        seeds.setdefault(record.spec.row, set()).add(record.spec.seed)
    folds = len({fold for fold, _ in group.planned})
    return {method: len(own) * folds for method, own in seeds.items()}


def _expected(entry: Mapping[str, str], deployment: str) -> bool:
    """Whether a method without scores has a place among the rows of a deployment."""
    return (entry["role"] == "bound") == (deployment == ALL)


def _spreads(group: Group) -> tuple[dict[Any, dict[str, Spread]], dict[Any, dict[int, Any]]]:
    """(method, deployment) → metric → values, and → fold → seed → primary metric."""
    names = [metric.name for metric in SCALARS[group.kind]]
    values: dict[Any, dict[str, dict[int, list[float]]]] = {}
    by_seed: dict[Any, dict[int, dict[int, float]]] = {}
    for record in group.runs:
        fold, seed = record.spec.fold, record.spec.seed
        unit = fold if group.unit == "fold" else seed
        for deployment, found in record.metrics.items():
            place = record.spec.row, deployment
            of_place = values.setdefault(place, {})
            for name in names:
                value = found.get(name)
                if value is not None:
                    of_place.setdefault(name, {}).setdefault(unit, []).append(float(value))
            value = found.get(group.primary.name)
            if value is not None:
                by_seed.setdefault(place, {}).setdefault(fold, {})[seed] = float(value)
    spreads = {
        place: {
            metric: Spread({u: math.fsum(v) / len(v) for u, v in sorted(by_unit.items())})
            for metric, by_unit in metrics.items()
        }
        for place, metrics in values.items()
        if metrics
    }
    if group.kind == "regression":
        for place, metrics in spreads.items():
            metrics[POOLED_R2.name] = _pooled(group, *place)
    return spreads, by_seed


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
