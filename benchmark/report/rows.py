"""Rows of tables: one method at one deployment, with its values by fold or by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from benchmark.report.statistics import ALPHA, Comparison


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
    runs: number of runs in which the primary metric is defined. comparison: of the gain with 0;
    p_holm: its p-value, adjusted for the methods of this deployment; None where no test is made.
    best: not distinguishable from the best method of this deployment.
    """

    method: str
    entry: Mapping[str, str]
    deployment: str
    metrics: Mapping[str, Spread]
    gain: Spread | None
    runs: int
    comparison: Comparison | None = None
    p_holm: float | None = None
    best: bool = False

    def metric(self, name: str) -> Spread:
        return self.metrics.get(name, NOTHING)

    @property
    def worse(self) -> int:
        """Number of folds (or seeds) in which it is worse than the reference."""
        return sum(value < 0 for value in self.gain.values.values()) if self.gain else 0

    @property
    def mark(self) -> str:
        """ "▲" or "▼" for significantly better or worse than the reference, "n.s.", or ""."""
        if self.p_holm is None:
            return ""
        return "n.s." if self.p_holm >= ALPHA else "▲" if self.comparison.mean > 0 else "▼"
