"""What a comparison of two methods rests on: folds, or the test samples of an official split."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from benchmark import records
from benchmark.errors import UserError
from benchmark.metrics import Metric
from benchmark.report.statistics import (
    Comparison,
    corrected_t_test,
    fold_draws,
    nested_draws,
    nested_error,
    nested_test,
)

if TYPE_CHECKING:
    from benchmark.problem import TaskKind
    from benchmark.report.frame import Group
    from benchmark.report.rows import Row

Place = tuple[str, str, bool]
"""`Row.place`: method, deployment, whether it is a placebo."""

SAMPLE_DRAWS = 300
"""Bootstrap samples of a test part: a standard error to about 4 %."""


class Evidence(Protocol):
    """Compares rows of one deployment, or of a deployment and the bounds, by the primary metric.

    test: how, in words. units: what was resampled or tested over, in words. left_out: method → why
    it cannot be compared, where its coverage does not say it.
    """

    test: str
    units: str
    left_out: Mapping[str, str]

    def knows(self, row: Row) -> bool:
        """Whether a row has all that `draws` takes."""
        ...

    def compare(self, own: Row, other: Row, of: Evidence | None = None) -> Comparison | None:
        """How much better ``own`` is than ``other``; None if they have too little in common.

        of: the evidence of the group whose row ``other`` is, where it is another group.
        """
        ...

    def mean(self, row: Row) -> Comparison | None:
        """The mean of the primary metric with its interval, by the same errors as `compare`."""
        ...

    def anticipated(self, own: Row, other: Row, seeds: float) -> tuple[float, float] | None:
        """Error and degrees of freedom that `compare` would have with ``seeds`` seeds of each.

        None if it is not known what a seed does, or they cannot be compared.
        """
        ...

    def draws(self, rows: Sequence[Row]) -> np.ndarray:
        """Bootstrap draws (rows, draws) of the mean of the primary metric, in its own direction."""
        ...


@dataclass(frozen=True)
class OverFolds:
    """Folds whose training sets overlap; ratio: size of a test part over that of its training."""

    metric: Metric
    folds: int
    ratio: float
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def test(self) -> str:
        return (
            f"paired t-test over {self.folds} folds, corrected for overlapping training sets "
            f"(Nadeau and Bengio 2003; test/training size {self.ratio:.3f})"
        )

    @property
    def units(self) -> str:
        return "folds"

    def knows(self, row: Row) -> bool:
        return row.metric(self.metric.name).n == self.folds

    def compare(self, own: Row, other: Row, of: Evidence | None = None) -> Comparison | None:
        if not (self.knows(own) and self.knows(other)):
            return None
        a, b = (row.metric(self.metric.name).values for row in (own, other))
        differences = [self.metric.gain(value, b[fold]) for fold, value in a.items()]
        return corrected_t_test(differences, self.ratio)

    def mean(self, row: Row) -> Comparison | None:
        if not self.knows(row):
            return None
        return corrected_t_test([*row.metric(self.metric.name).values.values()], self.ratio)

    def anticipated(self, own: Row, other: Row, seeds: float) -> tuple[float, float] | None:
        """Of the spread over folds, the seeds' part shrinks and the folds' part stays."""
        comparison = self.compare(own, other)
        noise = own.seed_variance, other.seed_variance
        if comparison is None or None in noise:
            return None
        share = 1 / self.folds + self.ratio
        by_folds = comparison.error**2 / share - noise[0] / own.seeds - noise[1] / other.seeds
        variance = max(0.0, by_folds) + sum(noise) / seeds
        return math.sqrt(share * variance), comparison.df

    def draws(self, rows: Sequence[Row]) -> np.ndarray:
        values = [list(row.metric(self.metric.name).values.values()) for row in rows]
        return fold_draws(np.array(values), self.ratio)


@dataclass(frozen=True)
class OverSamples:
    """Test samples of one official split, nested in the seeds of the training.

    scores: `Row.place` → (seeds,) scores; resampled: → (seeds, draws) scores of the same bootstrap
    samples for all. blocks: number of units that were resampled, of ``kind``.
    """

    metric: Metric
    scores: Mapping[Place, np.ndarray]
    resampled: Mapping[Place, np.ndarray]
    blocks: int
    kind: str
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def test(self) -> str:
        seeds = len(next(iter(self.scores.values())))
        return (
            f"paired bootstrap over {self.units}, nested in {seeds} seeds: Student's t on its "
            "standard error, to which the seeds add theirs"
        )

    @property
    def units(self) -> str:
        return f"{self.blocks} {self.kind}s of the test part"

    def knows(self, row: Row) -> bool:
        return row.place in self.scores

    def compare(self, own: Row, other: Row, of: Evidence | None = None) -> Comparison | None:
        theirs = self if of is None else of
        if not (isinstance(theirs, OverSamples) and self.knows(own) and theirs.knows(other)):
            return None
        a, b = own.place, other.place
        if self.resampled[a].shape != theirs.resampled[b].shape:
            return None
        sign = self.metric.gain(1.0, 0.0)
        return nested_test(
            sign * (self.scores[a] - theirs.scores[b]),
            sign * (self.resampled[a] - theirs.resampled[b]),
            self.blocks,
        )

    def mean(self, row: Row) -> Comparison | None:
        if not self.knows(row):
            return None
        return nested_test(self.scores[row.place], self.resampled[row.place], self.blocks)

    def anticipated(self, own: Row, other: Row, seeds: float) -> tuple[float, float] | None:
        """The seeds' part of the error shrinks; that of the test samples stays."""
        if not (self.knows(own) and self.knows(other)):
            return None
        a, b = own.place, other.place
        differences = self.scores[a] - self.scores[b]
        resampled = self.resampled[a] - self.resampled[b]
        return nested_error(differences, resampled, self.blocks, seeds)

    def draws(self, rows: Sequence[Row]) -> np.ndarray:
        places = [row.place for row in rows]
        return nested_draws(
            np.stack([self.scores[place] for place in places]),
            np.stack([self.resampled[place] for place in places]),
        )


@dataclass(frozen=True)
class Truth:
    """Targets of a prepared dataset by sample id, and the groups that its samples are in."""

    y: np.ndarray
    ids: np.ndarray
    groups: np.ndarray | None

    def places(self, ids: np.ndarray) -> np.ndarray:
        """Where ``ids`` stand here; KeyError if one is unknown."""
        order = np.argsort(self.ids)
        found = order[np.minimum(np.searchsorted(self.ids, ids, sorter=order), len(order) - 1)]
        if not np.array_equal(self.ids[found], ids):
            raise KeyError("sample ids that the prepared data do not have")
        return found


def truth(cache: Path | None, fingerprint: str) -> Truth | None:
    """The targets of the data with a fingerprint, if they lie prepared in a cache.

    Records hold no targets: licences of datasets differ.
    """
    from datasets.common import prepared

    found = prepared.find(cache, fingerprint) if cache else None
    return Truth(found.y, found.ids, found.groups) if found is not None else None


def truth_digest(cache: Path | None, fingerprint: str) -> str:
    """Of all that `truth` finds; "" for nothing."""
    known = truth(cache, fingerprint)
    if known is None:
        return ""
    digest = hashlib.sha256()
    for array in (known.y, known.ids, known.groups):
        if array is not None:
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def over_samples(group: Group, results: Path, cache: Path | None) -> OverSamples | str:
    """Evidence from the predictions on an official split, or why there is none."""
    seeds = sorted({seed for _, seed in group.planned})
    if len(seeds) < 2:
        return "seeds repeat the training, and there is one"
    known = truth(cache, group.spec.fingerprint)
    if known is None:
        return "the targets of the test samples are not in the cache (--cache names its folder)"
    first_ids = None
    scores: dict[Place, dict[int, float]] = {}
    drawn: dict[Place, dict[int, np.ndarray]] = {}
    left_out: dict[str, str] = {}
    for record in (*group.runs, *(r for r in group.placebos if r.status == "done")):
        try:
            ids, predictions = records.read_predictions(record, results)
            if first_ids is None:
                places = known.places(ids)
                y, first_ids = known.y[places], ids
                groups = None if known.groups is None else known.groups[places]
                weights, blocks = _weights(len(ids), groups)
                weights = np.vstack([np.ones(len(ids), np.float32), weights])  # the sample itself
            elif not np.array_equal(ids, first_ids):
                raise ValueError("predictions of other test samples than the others'")
        except UserError:
            left_out[record.spec.title] = "not all its predictions are there"
            continue
        except (KeyError, ValueError) as error:
            left_out[record.spec.title] = str(error.args[0])
            continue
        for deployment, prediction in predictions.items():
            place = record.spec.row, deployment, bool(record.spec.placebo)
            both = resampled_scores(group.kind, y, prediction, weights)
            scores.setdefault(place, {})[record.spec.seed] = both[0]
            drawn.setdefault(place, {})[record.spec.seed] = both[1:]
    complete = [place for place, by_seed in scores.items() if set(by_seed) == set(seeds)]
    if not complete:
        return "no method has the predictions of all seeds"
    kind = "sample" if groups is None else group.data.get("group_kind") or "group"
    return OverSamples(
        group.primary,
        {place: np.array([scores[place][seed] for seed in seeds]) for place in complete},
        {place: np.array([drawn[place][seed] for seed in seeds]) for place in complete},
        blocks,
        kind,
        left_out,
    )


def _weights(n: int, groups: np.ndarray | None) -> tuple[np.ndarray, int]:
    """How often each sample is in each bootstrap sample (draws, n); whole groups are drawn."""
    rng = np.random.default_rng(0)
    _, block = np.unique(np.arange(n) if groups is None else groups, return_inverse=True)
    blocks = int(block.max()) + 1
    counts = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=SAMPLE_DRAWS)
    return counts[:, block].astype(np.float32), blocks


def resampled_scores(
    kind: TaskKind, y: np.ndarray, prediction: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """The primary metric (draws,) with each sample counted as often as ``weights`` (draws, n) say.

    y, prediction: as `benchmark.metrics.score` takes them. Macro means are over the classes that
    a draw has.
    """
    if kind == "regression":
        error = (np.asarray(prediction, np.float64) - y) ** 2
        return np.sqrt(weights @ error / weights.sum(axis=1))
    if kind == "multilabel":
        by_sample = np.ascontiguousarray(weights.T)
        per_class = [
            _average_precision(y[:, c], prediction[:, c], by_sample) for c in range(y.shape[1])
        ]
    else:
        label = prediction.argmax(axis=1)
        per_class = [_f1(y == c, label == c, weights) for c in range(prediction.shape[1])]
    with np.errstate(all="ignore"):
        return np.nanmean(np.stack(per_class), axis=0)


def _f1(true: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    both = np.stack([true & predicted, true, predicted], axis=1).astype(np.float64)
    hit, support, called = (weights @ both).T
    return np.where(support > 0, 2 * hit / np.maximum(support + called, 1), np.nan)


def _average_precision(true: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ_k (R_k - R_k-1) P_k over the distinct scores; NaN for a draw without a positive sample.

    weights: (n, draws). Only scores that a positive sample has add to the sum, so that samples
    between two of them are counted at once.
    """
    order = np.argsort(-score, kind="stable")
    level = np.cumsum(np.diff(score[order], prepend=score[order[:1]]) != 0)
    positive = true[order].astype(bool)
    if not positive.any():
        return np.full(weights.shape[1], math.nan)
    levels, first = np.unique(level[positive], return_index=True)
    ends = np.searchsorted(level, levels, side="right")
    called = _sums(weights, order[: ends[-1]], np.append(0, ends))
    gained = _sums(weights, order[positive], np.append(first, positive.sum()))
    called, hit = (np.cumsum(part, axis=0, dtype=np.float64) for part in (called, gained))
    with np.errstate(all="ignore"):
        ap = (gained * hit / np.maximum(called, 1)).sum(axis=0) / hit[-1]
    return np.where(hit[-1] > 0, ap, math.nan)


def _sums(weights: np.ndarray, samples: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Sums of the rows of ``weights`` that ``samples`` name, between one bound and the next."""
    from scipy.sparse import csr_array

    ones = np.ones(len(samples), dtype=weights.dtype)
    return csr_array((ones, samples, bounds), shape=(len(bounds) - 1, len(weights))) @ weights
