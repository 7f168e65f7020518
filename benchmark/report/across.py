"""Methods across datasets: only where there are enough datasets of one source to say anything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmark.report.rows import Row
from benchmark.report.statistics import Ranks, friedman_nemenyi, hierarchical_interval
from benchmark.report.summary import REFERENCE, Summary
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
    score, and the ends of its interval. why_not: why there is no comparison.
    """

    source: str
    protocol: str
    datasets: tuple[str, ...]
    methods: tuple[str, ...] = ()
    families: Mapping[str, str] = field(default_factory=dict)
    ranks: Ranks | None = None
    gains: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    why_not: str = ""


def across(summaries: Sequence[Summary]) -> list[Across]:
    """One comparison for each source and protocol that may be evidence."""
    by_kind: dict[tuple[str, str], dict[str, Summary]] = {}
    for summary in summaries:
        group = summary.group
        if not group.no_evidence:
            blocks = by_kind.setdefault((group.source, group.protocol_title), {})
            # Sets of modalities of one dataset are no further datasets: the one with most runs.
            other = blocks.get(group.dataset)
            if other is None or len(group.runs) > len(other.group.runs):
                blocks[group.dataset] = summary
    return [_compare(*kind, blocks) for kind, blocks in by_kind.items()]


def _compare(source: str, protocol: str, blocks: dict[str, Summary]) -> Across:
    names = tuple(blocks)
    if len(names) < FEWEST:
        return Across(source, protocol, names, why_not=f"too few datasets ({len(names)})")
    complete = [_complete(summary) for summary in blocks.values()]
    shared = set.intersection(*(set(rows) for rows in complete))
    methods = tuple(m for m in complete[0] if m in shared)
    if len(methods) < FEWEST or REFERENCE not in methods:
        why_not = "too few methods with all runs on all datasets"
        return Across(source, protocol, names, why_not=why_not)
    values = np.array(
        [
            [summary.group.primary.gain(_mean(summary, rows[method]), 0.0) for method in methods]
            for summary, rows in zip(blocks.values(), complete, strict=True)
        ]
    )
    gains = {}
    for method in methods:
        if method != REFERENCE:
            pairs = zip(blocks.values(), complete, strict=True)
            relative = [_relative(s, rows[method], rows[REFERENCE]) for s, rows in pairs]
            mean = math.fsum(float(np.mean(part)) for part in relative) / len(relative)
            ratios = [summary.ratio for summary in blocks.values()]
            low, high = hierarchical_interval(relative, ratios)
            gains[method] = mean, float(low), float(high)
    families = {method: complete[0][method][0].entry["family"] for method in methods}
    return Across(source, protocol, names, methods, families, friedman_nemenyi(values), gains)


def _complete(summary: Summary) -> dict[str, list[Row]]:
    """Competing methods and the reference that have all runs at all modalities."""
    by_method: dict[str, list[Row]] = {}
    for row in summary.rows:
        if row.deployment != ALL and (row.entry["role"] == "method" or row.method == REFERENCE):
            by_method.setdefault(row.method, []).append(row)
    modalities = len(summary.group.modalities)
    return {
        method: rows
        for method, rows in by_method.items()
        if len(rows) == modalities and all(row.complete for row in rows)
    }


def _mean(summary: Summary, rows: Sequence[Row]) -> float:
    name = summary.group.primary.name
    return math.fsum(row.metric(name).mean for row in rows) / len(rows)


def _relative(summary: Summary, rows: Sequence[Row], reference: Sequence[Row]) -> np.ndarray:
    """Gain by fold, mean over the modalities, in per cent of the reference's mean score."""
    gains = np.array([list(row.gain.values.values()) for row in rows])
    return 100 * gains.mean(axis=0) / abs(_mean(summary, reference))
