"""Choosing fewer samples: stratified, of all groups, the parts of a split in proportion."""

from __future__ import annotations

import numpy as np

from benchmark.problem import TaskSpec

QUANTILES = 5

VERSION = 2
"""Raised when other samples are chosen: what was prepared before is prepared anew."""


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

    They are taken from every stratum in proportion, at least one of each as long as ``n`` allows,
    and within it from as many groups as there are. A model learns to generalise from groups (sites,
    fields) rather than from samples: of a quarter of the samples of LFMC, as whole sites, nets and
    forests learn less from S1 than the mean tells; as samples of all sites, about as much as from
    all there are.
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
        own = None if groups is None else groups[part]
        chosen.append(_from_strata(part, label[part], own, size, rng))
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
    samples: np.ndarray,
    label: np.ndarray,
    groups: np.ndarray | None,
    size: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """From every stratum its share, a first sample of each group before a second of any."""
    kinds, counts = np.unique(label, return_counts=True)
    taken = [samples[:0]]
    for kind, k in zip(kinds, _proportional(counts, size), strict=True):
        own = np.flatnonzero(label == kind)
        if groups is None:
            own = rng.choice(own, k, replace=False)
        else:
            own = rng.permutation(own)
            own = own[np.argsort(_turns(groups[own]), kind="stable")[:k]]
        taken.append(samples[own])
    return np.concatenate(taken)


def _turns(groups: np.ndarray) -> np.ndarray:
    """How many samples of its group stand before each: (n,)."""
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    turns = np.empty(len(groups), dtype=int)
    turns[np.argsort(member, kind="stable")] = np.arange(len(groups)) - np.repeat(
        sizes.cumsum() - sizes, sizes
    )
    return turns
