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

    Single samples are taken from every stratum in proportion, at least one of each as long as
    ``n`` allows. Whole groups are taken in random order, first those by which no stratum gets more
    than its share, then whatever fits; if none fits, the smallest is taken although it is larger.
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
            chosen.append(_whole_groups(part, label[part], groups[part], size, rng))
    return np.sort(np.concatenate(chosen))


def _proportional(counts: np.ndarray, n: int) -> np.ndarray:
    """``n`` shared out in proportion to ``counts`` by largest remainders, never more than each.

    Every count above 0 gets at least one if ``n`` allows.
    """
    counts = np.asarray(counts)
    n = min(n, counts.sum())
    least = np.minimum(counts, 1) * (n >= np.count_nonzero(counts))
    rest = counts - least
    ideal = rest * (n - least.sum()) / max(rest.sum(), 1)
    sizes = least + np.floor(ideal).astype(int)
    order = np.argsort(np.floor(ideal) - ideal, kind="stable")
    sizes[order[: n - sizes.sum()]] += 1
    return sizes


def _from_strata(
    samples: np.ndarray, label: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    kinds, counts = np.unique(label, return_counts=True)
    taken = [
        rng.choice(samples[label == kind], k, replace=False)
        for kind, k in zip(kinds, _proportional(counts, size), strict=True)
    ]
    return np.concatenate(taken) if taken else samples[:0]


def _whole_groups(
    samples: np.ndarray, label: np.ndarray, groups: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    kinds, kind = np.unique(label, return_inverse=True)
    names, member = np.unique(groups, return_inverse=True)
    members = np.zeros((len(names), len(kinds)), dtype=int)
    np.add.at(members, (member, kind), 1)
    share = np.ceil(members.sum(axis=0) * size / max(len(samples), 1))
    keep, held = np.zeros(len(names), dtype=bool), np.zeros(len(kinds), dtype=int)
    order = rng.permutation(len(names))
    for limit in (share, np.inf):
        for i in order:
            more = held + members[i]
            if not keep[i] and more.sum() <= size and (more <= limit).all():
                keep[i], held = True, more
    if size and not keep.any():
        keep[members.sum(axis=1).argmin()] = True
    return samples[keep[member]]
