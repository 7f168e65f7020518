"""Choosing fewer samples: stratified, groups kept whole, the parts of a split in proportion."""

from __future__ import annotations

import numpy as np

from benchmark.problem import TaskSpec

QUANTILES = 5


def strata(task: TaskSpec, y: np.ndarray) -> np.ndarray:
    """A label (n,) to stratify by: the class, the rarest class present, the target's quintile."""
    if task.is_classification:
        return y
    if task.kind == "multilabel":
        rarity = np.argsort(np.argsort(-y.sum(axis=0), kind="stable"), kind="stable")
        return np.where(y > 0, rarity, -1).max(axis=1)
    edges = np.quantile(y, np.linspace(0, 1, QUANTILES + 1)[1:-1])
    return np.searchsorted(edges, y)


def subsample(
    task: TaskSpec,
    y: np.ndarray,
    groups: np.ndarray | None,
    split: np.ndarray | None,
    n: int | None,
    seed: int = 0,
) -> np.ndarray:
    """Sorted sample numbers, at most ``n`` of them; all if ``n`` is None or not smaller.

    Whole groups are taken in random order as long as they fit; single samples are taken from every
    stratum in proportion, at least one of each as long as ``n`` allows.
    """
    if n is None or n >= len(y):
        return np.arange(len(y))
    rng = np.random.default_rng(seed)
    parts = [np.arange(len(y))]
    if split is not None:
        parts = [np.flatnonzero(split == part) for part in ("train", "val", "test")]
    sizes = _proportional([len(part) for part in parts], n)
    label = strata(task, y)
    chosen = []
    for part, size in zip(parts, sizes, strict=True):
        if groups is None:
            chosen.append(_from_strata(part, label[part], size, rng))
        else:
            chosen.append(_whole_groups(part, groups[part], size, rng))
    return np.sort(np.concatenate(chosen))


def _proportional(counts: list[int], n: int) -> list[int]:
    """``n`` shared out in proportion to ``counts`` by largest remainders, never more than each.

    Every count above 0 gets at least one while ``n`` lasts.
    """
    counts_ = np.asarray(counts)
    ideal = counts_ * n / max(counts_.sum(), 1)
    sizes = np.minimum(np.floor(ideal).astype(int), counts_)
    order = np.lexsort((-(ideal - sizes), sizes > 0))
    for i in order:
        if sizes.sum() < n and sizes[i] < counts_[i]:
            sizes[i] += 1
    return sizes.tolist()


def _from_strata(
    samples: np.ndarray, label: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    kinds, counts = np.unique(label, return_counts=True)
    taken = [
        rng.choice(samples[label == kind], k, replace=False)
        for kind, k in zip(kinds, _proportional(counts.tolist(), size), strict=True)
    ]
    return np.concatenate(taken) if taken else samples[:0]


def _whole_groups(
    samples: np.ndarray, groups: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    names, member, counts = np.unique(groups, return_inverse=True, return_counts=True)
    keep, total = np.zeros(len(names), dtype=bool), 0
    for i in rng.permutation(len(names)):
        if total + counts[i] <= size:
            keep[i] = True
            total += counts[i]
    return samples[keep[member]]
