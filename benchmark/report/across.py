"""Methods across datasets: only where there are enough datasets of one source to say anything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmark.report.outline import Outline, OutlineRow
from benchmark.report.statistics import Ranks, friedman_nemenyi, hierarchical_interval
from benchmark.report.summary import REFERENCE
from benchmark.terms import ALL

FEWEST = 3
"""Datasets, and methods, that a comparison takes."""

MANY = 10
"""Datasets from which on the tests across datasets are worth their name (Demšar 2006)."""


@dataclass(frozen=True)
class Across:
    """The comparison of a source and protocol over N datasets, one block each.

    A block's score is the mean of the primary metric over the dataset's modalities. methods: those
    with all runs on all datasets, `REFERENCE` among them; ranks has them in this order. families:
    method → family. gains: method → mean over datasets of its gain in per cent of the reference's
    score, and the ends of its interval. why_not: why there is no comparison. tuning: what was
    tuned on what.
    """

    source: str
    protocol: str
    datasets: tuple[str, ...]
    methods: tuple[str, ...] = ()
    families: Mapping[str, str] = field(default_factory=dict)
    ranks: Ranks | None = None
    gains: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    why_not: str = ""
    tuning: str = ""


def across(outlines: Sequence[Outline]) -> list[Across]:
    """One comparison for each source and protocol that may be evidence."""
    by_kind: dict[tuple[str, str], dict[str, Outline]] = {}
    for outline in outlines:
        if not outline.no_evidence:
            blocks = by_kind.setdefault((outline.source, outline.protocol), {})
            # Sets of modalities and splits of one dataset are no further ones: that with most runs.
            other = blocks.get(outline.block)
            if other is None or outline.runs > other.runs:
                blocks[outline.block] = outline
    return [_compare(*kind, blocks) for kind, blocks in by_kind.items()]


def _compare(source: str, protocol: str, blocks: dict[str, Outline]) -> Across:
    names = tuple(outline.dataset for outline in blocks.values())
    if len(names) < FEWEST:
        return Across(source, protocol, names, why_not=f"too few datasets ({len(names)})")
    complete = [_complete(outline) for outline in blocks.values()]
    shared = set.intersection(*(set(rows) for rows in complete))
    methods = tuple(m for m in complete[0] if m in shared)
    if len(methods) < FEWEST or REFERENCE not in methods:
        why_not = "too few methods with all runs on all datasets"
        return Across(source, protocol, names, why_not=why_not)
    values = np.array(
        [
            [outline.primary.gain(_mean(rows[method]), 0.0) for method in methods]
            for outline, rows in zip(blocks.values(), complete, strict=True)
        ]
    )
    gains = {}
    for method in methods:
        if method != REFERENCE:
            relative = [_relative(rows[method], rows[REFERENCE]) for rows in complete]
            mean = math.fsum(float(np.mean(part)) for part in relative) / len(relative)
            ratios = [outline.ratio for outline in blocks.values()]
            low, high = hierarchical_interval(relative, ratios)
            gains[method] = mean, float(low), float(high)
    families = {method: complete[0][method][0].family for method in methods}
    tuning = " ".join(dict.fromkeys(outline.tuning for outline in blocks.values()))
    ranks = friedman_nemenyi(values)
    return Across(source, protocol, names, methods, families, ranks, gains, tuning=tuning)


def _complete(outline: Outline) -> dict[str, list[OutlineRow]]:
    """Competing methods and the reference that have all runs at all modalities."""
    by_method: dict[str, list[OutlineRow]] = {}
    for row in outline.rows:
        if row.deployment != ALL and (row.role == "method" or row.method == REFERENCE):
            by_method.setdefault(row.method, []).append(row)
    return {
        method: rows
        for method, rows in by_method.items()
        if len(rows) == len(outline.modalities) and all(row.complete for row in rows)
    }


def _mean(rows: Sequence[OutlineRow]) -> float:
    return math.fsum(row.mean for row in rows) / len(rows)


def _relative(rows: Sequence[OutlineRow], reference: Sequence[OutlineRow]) -> np.ndarray:
    """Gain by fold, mean over the modalities, in per cent of the reference's mean score."""
    gains = np.array([row.gains for row in rows])
    return 100 * gains.mean(axis=0) / abs(_mean(reference))
