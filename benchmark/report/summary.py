"""What a group's runs say of each method and deployment: means, spreads, gains over `single`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmark.metrics import POOLED_R2, pooled_r2
from benchmark.report.frame import ALL, Group

REFERENCE = "single"
"""The one reference, declared before any number was seen."""


@dataclass(frozen=True)
class Spread:
    """Values by fold, or by seed. Sums are exact, so that the result is the same everywhere."""

    values: Mapping[int, float]

    @property
    def n(self) -> int:
        return len(self.values)

    @cached_property
    def mean(self) -> float | None:
        return math.fsum(self.values.values()) / self.n if self.n else None

    @cached_property
    def sd(self) -> float | None:
        """Sample standard deviation; None for fewer than two values."""
        if self.n < 2:
            return None
        squares = ((value - self.mean) ** 2 for value in self.values.values())
        return math.sqrt(math.fsum(squares) / (self.n - 1))


NOTHING = Spread({})


@dataclass(frozen=True)
class Row:
    """One method at one deployment.

    metrics: metric → values. gain: over `REFERENCE` in the primary metric, positive is better,
    paired; None for the reference itself, for bounds, and where there is no reference.
    runs: number of runs in which the primary metric is defined.
    """

    method: str
    entry: Mapping[str, str]
    deployment: str
    metrics: Mapping[str, Spread]
    gain: Spread | None
    runs: int

    def metric(self, name: str) -> Spread:
        return self.metrics.get(name, NOTHING)

    @property
    def worse(self) -> int:
        """Number of folds (or seeds) in which it is worse than the reference."""
        return sum(value < 0 for value in self.gain.values.values()) if self.gain else 0


@dataclass(frozen=True)
class Summary:
    """The rows of a group, in the order in which they are shown."""

    group: Group
    rows: tuple[Row, ...]

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


def summarise(group: Group) -> Summary:
    """Summarise one group. Seeds are averaged within a fold, unless they are the repetitions."""
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
    return Summary(group, tuple(rows))


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
    runs = [r.metrics.get(deployment) for r in group.runs if r.spec.method == method]
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
