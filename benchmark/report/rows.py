"""Rows of tables: one method at one deployment, with its values by fold or by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmark.report.statistics import ALPHA, Comparison, Practical


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
    by_seed: the primary metric, fold → seed → value. planned: number of runs that a whole row has.
    comparison: of the gain with 0; p_holm: its p-value, adjusted for the methods of this
    deployment; None where no test is made. practical: whether the gain matters, where it is known
    what does. detectable: the gain that gets a mark in 80 % of cases, whichever method has it.
    seeds_needed: a fold, of method and reference, for the gain that was seen to be as detectable;
    infinite if no number would do, None if it cannot be known.
    best: not distinguishable from the best method of this deployment. placebo: of the runs in
    which the other modalities were those of other samples.
    """

    method: str
    entry: Mapping[str, str]
    deployment: str
    metrics: Mapping[str, Spread]
    gain: Spread | None
    by_seed: Mapping[int, Mapping[int, float]]
    planned: int
    comparison: Comparison | None = None
    p_holm: float | None = None
    practical: Practical | None = None
    detectable: float | None = None
    seeds_needed: float | None = None
    best: bool = False
    placebo: bool = False

    @property
    def place(self) -> tuple[str, str, bool]:
        """What tells it from the other rows of its group."""
        return self.method, self.deployment, self.placebo

    @property
    def runs(self) -> int:
        """Number of runs in which the primary metric is defined."""
        return sum(len(seeds) for seeds in self.by_seed.values())

    @property
    def complete(self) -> bool:
        """Whether it has all runs of its seeds on all folds that any method was run on."""
        return self.runs == self.planned

    @property
    def seeds(self) -> int:
        """Number of seeds that it has on every fold, at most."""
        return max(map(len, self.by_seed.values()), default=0)

    @cached_property
    def seed_variance(self) -> float | None:
        """Variance over the seeds within a fold, pooled; None if no fold has two."""
        several = [list(v.values()) for v in self.by_seed.values() if len(v) > 1]
        if not several:
            return None
        squares = (np.var(values) * len(values) for values in several)
        return math.fsum(squares) / sum(len(values) - 1 for values in several)

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
