"""Tests, intervals and sets that say how much of a difference is luck.

Everything here works on arrays of paired values, one a fold; nothing here knows a record.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

ALPHA = 0.05
POWER = 0.8
DRAWS = 2000
"""Bootstrap samples; their seed is fixed."""


@dataclass(frozen=True)
class Comparison:
    """Paired differences of a method to the reference over n folds, positive is better.

    low, high: 95 % interval of the mean. p: two-sided. effect: Cohen's d of the differences, mean
    over sd; None if they do not vary. detectable: the mean difference that a test at the 5 % level
    finds with a probability of 80 %, given this spread.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float
    effect: float | None
    detectable: float


def corrected_t_test(differences: Sequence[float], ratio: float) -> Comparison | None:
    """Paired t-test over folds whose training sets overlap; None for fewer than two folds.

    t = mean / sqrt((1/n + ratio) · s²) with n - 1 degrees of freedom, where ratio is the size of
    a test part over that of its training part. ratio 0 gives the plain paired t-test, which takes
    the folds for independent and finds far too much.
    Source: Nadeau & Bengio 2003, Machine Learning 52:239-281, doi 10.1023/A:1024068626366.
    """
    from scipy import stats

    d = np.asarray(differences, dtype=np.float64)
    n = len(d)
    if n < 2:
        return None
    mean, sd = math.fsum(d) / n, float(np.std(d, ddof=1))
    error = math.sqrt(1 / n + ratio) * sd
    # Equal differences leave a spread of rounding errors.
    if sd <= 1e-12 * max(abs(mean), 1e-300):
        return Comparison(n, mean, mean, mean, 0.0 if mean else 1.0, None, 0.0)
    t = mean / error
    p = float(2 * stats.t.sf(abs(t), n - 1))
    half = float(stats.t.ppf(1 - ALPHA / 2, n - 1)) * error
    return Comparison(n, mean, mean - half, mean + half, p, mean / sd, _power_factor(n) * error)


@cache
def _power_factor(n: int) -> float:
    """The true mean, in standard errors, that a t-test over n values finds with `POWER`."""
    from scipy import optimize, stats

    df = n - 1
    critical = stats.t.ppf(1 - ALPHA / 2, df)
    missing = lambda delta: stats.nct.sf(critical, df, delta) - POWER  # noqa: E731
    return float(optimize.brentq(missing, 0, 20 * critical))


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for the size of the family, in the order given.

    Source: Holm 1979, Scandinavian Journal of Statistics 6:65-70.
    """
    m = len(p)
    adjusted, running = [0.0] * m, 0.0
    for rank, i in enumerate(sorted(range(m), key=lambda i: p[i])):
        running = max(running, (m - rank) * p[i])
        adjusted[i] = min(1.0, running)
    return adjusted


def spread_out(values: np.ndarray, ratio: float) -> np.ndarray:
    """``values`` (..., n folds) moved away from their mean.

    The mean of a bootstrap sample of them has the variance (1/n + ratio) · s² that overlapping
    training sets give it, where one of the values themselves would have s² (n - 1) / n².
    """
    n = values.shape[-1]
    mean = values.mean(axis=-1, keepdims=True)
    return mean + (values - mean) * math.sqrt((1 / n + ratio) * n**2 / (n - 1))


def best_set(values: np.ndarray, ratio: float) -> np.ndarray:
    """Which methods are not distinguishable from the best: (methods,) booleans.

    values: (methods, folds), higher is better. A method stays in the set unless its distance to
    the best mean exceeds the 95 % quantile of the distances that resampling the folds gives to a
    method that is one of the best. So the truly best method is in the set in about 95 % of cases.
    """
    methods, n = values.shape
    if methods < 2 or n < 2:
        return np.ones(methods, dtype=bool)
    draws = np.random.default_rng(0).integers(n, size=(DRAWS, n))
    counts = np.stack([(draws == fold).sum(axis=1) for fold in range(n)], axis=1) / n
    mean = values.mean(axis=1)
    noise = counts @ spread_out(values, ratio).T - mean
    inside = np.empty(methods, dtype=bool)
    for i in range(methods):
        distances = (noise - noise[:, [i]]).max(axis=1)
        inside[i] = mean.max() - mean[i] <= np.quantile(distances, 1 - ALPHA) + 1e-12
    return inside


@dataclass(frozen=True)
class Ranks:
    """Average ranks of k methods over N blocks, 1 is best, and what they prove.

    p: of Friedman's test in the form of Iman and Davenport. critical_difference: Nemenyi's.
    """

    blocks: int
    average: np.ndarray
    chi2: float
    f: float
    p: float
    critical_difference: float


def friedman_nemenyi(values: np.ndarray) -> Ranks:
    """Compare k >= 3 methods over N >= 2 blocks; values: (N, k), higher is better.

    Source: Demšar 2006, Journal of Machine Learning Research 7:1-30.
    """
    from scipy import stats

    N, k = values.shape
    ranks = stats.rankdata(-values, axis=1)
    average = ranks.mean(axis=0)
    chi2 = 12 * N / (k * (k + 1)) * (float(np.sum(average**2)) - k * (k + 1) ** 2 / 4)
    rest = N * (k - 1) - chi2
    f = (N - 1) * chi2 / rest if rest > 1e-9 else math.inf
    p = float(stats.f.sf(f, k - 1, (k - 1) * (N - 1)))
    q = float(stats.studentized_range.ppf(1 - ALPHA, k, math.inf)) / math.sqrt(2)
    return Ranks(N, average, chi2, f, p, q * math.sqrt(k * (k + 1) / (6 * N)))


def hierarchical_interval(blocks: Sequence[np.ndarray], ratios: Sequence[float]) -> np.ndarray:
    """95 % interval (2,) of the mean over blocks, resampling blocks and the folds within them.

    blocks: paired differences of each block by fold, in a unit that all share.
    """
    rng = np.random.default_rng(0)
    means = np.stack(
        [
            spread_out(d, r)[rng.integers(len(d), size=(DRAWS, len(blocks), len(d)))].mean(axis=2)
            for d, r in zip(blocks, ratios, strict=True)
        ],
        axis=2,
    )
    chosen = rng.integers(len(blocks), size=(DRAWS, len(blocks)))
    places = np.arange(len(blocks))
    drawn = means[np.arange(DRAWS)[:, None], places, chosen]
    return np.quantile(drawn.mean(axis=1), [ALPHA / 2, 1 - ALPHA / 2])
