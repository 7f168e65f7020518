"""Tests, intervals and sets that say how much of a difference is luck.

Everything here works on arrays of paired values, one a fold; nothing here knows a record.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ALPHA = 0.05
POWER = 0.8
DRAWS = 2000
"""Bootstrap samples; their seed is fixed."""


@dataclass(frozen=True)
class Comparison:
    """Paired differences of a method to another over n folds or seeds, positive is better.

    low, high: 95 % interval of the mean. p: two-sided. effect: Cohen's d of the differences, mean
    over sd; None if they do not vary. error: standard error of the mean, 0 if they do not vary;
    df: its degrees of freedom.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float
    effect: float | None
    error: float
    df: float

    def detectable(self, level: float) -> float:
        """The mean difference that a test at ``level`` finds in 80 % of cases, given this error."""
        return power_factor(self.df, level) * self.error

    def practical(self, rope: float) -> Practical:
        """Whether the true mean is beyond, within or below the region of ± ``rope``.

        The posterior is Student's t around the mean, with the error that the test has.
        Source: Corani & Benavoli 2015, Machine Learning 100:285-304,
        doi 10.1007/s10994-015-5486-z.
        """
        from scipy.special import stdtr

        if not self.error:
            return Practical(*(float(x) for x in _side(self.mean, rope)))
        better = float(stdtr(self.df, (self.mean - rope) / self.error))
        worse = float(stdtr(self.df, (-rope - self.mean) / self.error))
        return Practical(better, max(0.0, 1 - better - worse), worse)


@dataclass(frozen=True)
class Practical:
    """Probabilities that sum to 1: better than the other, practically equal to it, worse."""

    better: float
    equal: float
    worse: float


def _side(mean: float, rope: float) -> tuple[bool, bool, bool]:
    return mean > rope, abs(mean) <= rope, mean < -rope


def corrected_t_test(differences: Sequence[float], ratio: float) -> Comparison | None:
    """Paired t-test over folds whose training sets overlap; None for fewer than two folds.

    t = mean / sqrt((1/n + ratio) · s²) with n - 1 degrees of freedom, where ratio is the size of
    a test part over that of its training part. ratio 0 gives the plain paired t-test, which takes
    the folds for independent and finds far too much.
    Source: Nadeau & Bengio 2003, Machine Learning 52:239-281, doi 10.1023/A:1024068626366.
    """

    d = np.asarray(differences, dtype=np.float64)
    n = len(d)
    if n < 2:
        return None
    return _t_test(d, math.sqrt(1 / n + ratio) * float(np.std(d, ddof=1)), n - 1)


def _t_test(d: np.ndarray, error: float, df: float) -> Comparison:
    """The mean of ``d`` against 0, given its standard error and the degrees of freedom of that."""
    from scipy.special import stdtr, stdtrit  # scipy.stats takes longer to import than all else

    n, mean, sd = len(d), math.fsum(d) / len(d), float(np.std(d, ddof=1))
    # Equal differences leave a spread of rounding errors.
    if error <= 1e-12 * max(abs(mean), 1e-300):
        return Comparison(n, mean, mean, mean, 0.0 if mean else 1.0, None, 0.0, df)
    p = float(2 * stdtr(df, -abs(mean / error)))
    half = float(stdtrit(df, 1 - ALPHA / 2)) * error
    effect = mean / sd if sd else None
    return Comparison(n, mean, mean - half, mean + half, p, effect, error, df)


def nested_test(scores: np.ndarray, resampled: np.ndarray, blocks: int) -> Comparison:
    """Paired differences on one test part over S >= 2 seeds, as against other seeds and samples.

    scores: (S,) differences. resampled: (S, draws), on bootstrap samples of the test part, the same
    for every seed. blocks: number of units that were resampled.
    """
    error, df = nested_error(scores, resampled, blocks, len(scores))
    return _t_test(scores, error, df)


def nested_error(
    scores: np.ndarray, resampled: np.ndarray, blocks: int, seeds: float
) -> tuple[float, float]:
    """Standard error of `nested_test` with ``seeds`` seeds like those given, and its df.

    The variance of the mean is V_samples + V_seeds: that over the draws of the mean over seeds, and
    s²/S of the seeds; its degrees of freedom are Welch and Satterthwaite's.
    """
    by_samples = float(np.var(resampled.mean(axis=0), ddof=1))
    by_seeds = float(np.var(scores, ddof=1)) / seeds
    total = by_samples + by_seeds
    rest = by_seeds**2 / max(1, seeds - 1) + by_samples**2 / max(1, blocks - 1)
    return math.sqrt(total), total**2 / rest if rest else max(1, seeds - 1)


def power_factor(df: float, level: float) -> float:
    """The true mean, in standard errors, that a t-test with ``df`` at ``level`` finds with `POWER`.

    By the noncentral t distribution, to 1e-6; what is found with the wrong sign is left out.
    """
    from scipy.special import nctdtrinc, stdtrit

    return float(nctdtrinc(df, 1 - POWER, stdtrit(df, 1 - level / 2)))


@dataclass(frozen=True)
class Components:
    """Variances of values by fold and seed: of the folds, of the seeds, and of both together.

    both: what neither alone explains, a fold's own answer to a seed; with one value a place it
    cannot be told from the noise of a single run.
    """

    fold: float
    seed: float
    both: float

    @property
    def shares(self) -> tuple[float, float, float] | None:
        """Parts of the whole; None if nothing varies."""
        whole = self.fold + self.seed + self.both
        return (self.fold / whole, self.seed / whole, self.both / whole) if whole else None


def components(values: np.ndarray) -> Components | None:
    """Components of ``values`` (folds, seeds), all there; None for fewer than two of a kind.

    Two-way layout with random effects and one value a place, estimated by mean squares; negative
    estimates are 0. Source: Searle, Casella & McCulloch 1992, Variance Components, chapter 4.
    """
    F, S = values.shape
    if min(F, S) < 2:
        return None
    mean, by_fold, by_seed = values.mean(), values.mean(axis=1), values.mean(axis=0)
    rest = values - by_fold[:, None] - by_seed + mean
    both = float((rest**2).sum()) / ((F - 1) * (S - 1))
    fold = float(np.var(by_fold, ddof=1)) - both / S
    seed = float(np.var(by_seed, ddof=1)) - both / F
    return Components(max(0.0, fold), max(0.0, seed), both)


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


def fold_draws(values: np.ndarray, ratio: float) -> np.ndarray:
    """Bootstrap draws (methods, draws) of the means of ``values`` (methods, folds).

    The same folds are drawn for all methods; `spread_out` makes up for overlapping training sets.
    """
    n = values.shape[-1]
    drawn = np.random.default_rng(0).integers(n, size=(DRAWS, n))
    counts = np.stack([(drawn == fold).sum(axis=1) for fold in range(n)], axis=1) / n
    return spread_out(values, ratio) @ counts.T


def nested_draws(scores: np.ndarray, resampled: np.ndarray) -> np.ndarray:
    """Draws (methods, draws) of the mean over seeds, from samples and seeds that vary.

    scores: (methods, S). resampled: (methods, S, draws), as in `nested_test`.
    """
    S, draws = resampled.shape[-2:]
    drawn = np.random.default_rng(0).integers(S, size=(draws, S))
    counts = np.stack([(drawn == seed).sum(axis=1) for seed in range(S)], axis=1) / S
    seeds = spread_out(scores, 0.0) @ counts.T - scores.mean(axis=1, keepdims=True)
    return resampled.mean(axis=1) + seeds


def best_set(mean: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Which methods are not distinguishable from the best: (methods,) booleans.

    mean: (methods,), higher is better. draws: (methods, draws) of these means. A method stays in
    the set unless its distance to the best mean exceeds the 95 % quantile of the distances that
    resampling gives to a method that is one of the best. So the truly best method is in the set in
    about 95 % of cases.
    """
    noise = (draws - draws.mean(axis=1, keepdims=True)).T
    inside = np.empty(len(mean), dtype=bool)
    for i in range(len(mean)):
        distances = (noise - noise[:, [i]]).max(axis=1)
        inside[i] = mean.max() - mean[i] <= np.quantile(distances, 1 - ALPHA) + 1e-12
    return inside


def ratio_interval(part: np.ndarray, whole: np.ndarray) -> tuple[float, float]:
    """95 % interval of mean(part) / mean(whole), from draws (draws,) of both means."""
    low, high = np.quantile(part / whole, [ALPHA / 2, 1 - ALPHA / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Ranks:
    """Average ranks of k methods over N blocks, 1 is best, and what they prove.

    chi2: Friedman's statistic, corrected for ties. p: of his test in the form of Iman and
    Davenport. critical_difference: Nemenyi's.
    """

    blocks: int
    average: np.ndarray
    chi2: float
    f: float
    p: float
    critical_difference: float


def friedman_nemenyi(values: np.ndarray) -> Ranks:
    """Compare k >= 3 methods over N >= 2 blocks; values: (N, k), higher is better.

    Source: Demšar 2006, Journal of Machine Learning Research 7:1-30; the correction for ties:
    Hollander & Wolfe 1999, Nonparametric Statistical Methods, section 7.1.
    """
    from scipy import stats

    N, k = values.shape
    average = stats.rankdata(-values, axis=1).mean(axis=0)
    tied = (np.ptp(values, axis=1) == 0).all()
    chi2 = 0.0 if tied else float(stats.friedmanchisquare(*values.T).statistic)
    rest = N * (k - 1) - chi2
    f = (N - 1) * chi2 / rest if rest > 1e-9 else math.inf
    p = float(stats.f.sf(f, k - 1, (k - 1) * (N - 1)))
    q = float(stats.studentized_range.ppf(1 - ALPHA, k, math.inf)) / math.sqrt(2)
    return Ranks(N, average, chi2, f, p, q * math.sqrt(k * (k + 1) / (6 * N)))


def hierarchical_interval(blocks: Sequence[np.ndarray], ratios: Sequence[float]) -> np.ndarray:
    """95 % interval (2,) of the mean over blocks, resampling blocks and the folds within them.

    blocks: paired differences of each of N >= 2 blocks by fold, in a unit that all share.

    A bootstrap of few blocks is too narrow: their spread lacks a factor N / (N - 1), and its
    quantiles are a normal distribution's, not Student's t. Both are made up for, or the interval of
    three blocks would cover the true mean in three of four cases (tested by simulation).
    Source: Hesterberg 2015, The American Statistician 69:371-386,
    doi 10.1080/00031305.2015.1089789.
    """
    from scipy.special import ndtri, stdtrit

    N = len(blocks)
    rng = np.random.default_rng(0)
    means = np.stack(
        [
            spread_out(d, r)[rng.integers(len(d), size=(DRAWS, N, len(d)))].mean(axis=2)
            for d, r in zip(blocks, ratios, strict=True)
        ],
        axis=2,
    )
    chosen = rng.integers(N, size=(DRAWS, N))
    drawn = means[np.arange(DRAWS)[:, None], np.arange(N), chosen].mean(axis=1)
    centre = np.mean([np.mean(d) for d in blocks])
    quantile = 1 - ALPHA / 2
    wider = math.sqrt(N / (N - 1)) * stdtrit(N - 1, quantile) / ndtri(quantile)
    return centre + wider * (np.quantile(drawn, [ALPHA / 2, quantile]) - centre)
