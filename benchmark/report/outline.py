"""What comparisons across datasets take of one group: few numbers, which JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.metrics import Metric, primary
from benchmark.problem import TaskKind
from benchmark.report.frame import setting_of
from benchmark.report.statistics import Comparison
from benchmark.report.summary import Summary
from benchmark.report.wording import heading, tuning_note


@dataclass(frozen=True)
class OutlineRow:
    """One method at one deployment: its mean in the primary metric, None without runs.

    gains: over the reference, by fold or seed; None where there is nothing to compare. interval,
    of_gain: ends of the 95 % intervals of the mean and of the mean gain; None without evidence.
    hidden: it was not asked for, and is in comparisons alone.
    """

    method: str
    family: str
    role: str
    deployment: str
    hidden: bool
    complete: bool
    mean: float | None
    gains: list[float] | None
    interval: list[float] | None
    of_gain: list[float] | None

    @property
    def gain(self) -> float | None:
        """The mean gain."""
        return math.fsum(self.gains) / len(self.gains) if self.gains else None


@dataclass(frozen=True)
class Outline:
    """One group: whose it is, and its rows in their order.

    block: as in `benchmark.report.frame.Group`. protocol: as titles have it. labels: the share of
    them that there is. curve: protocol as titles have it, and digest, of what groups have in common
    that differ in that share. heading: of the primary metric. tuning: what was tuned on what. runs:
    their number. units: number of folds, or seeds. ratio: size of a test part over that of its
    training part.
    """

    dataset: str
    block: str
    source: str
    protocol: str
    labels: float
    curve: list[str]
    heading: str
    tuning: str
    kind: TaskKind
    modalities: list[str]
    smoke: bool
    no_evidence: str
    runs: int
    units: int
    ratio: float
    rows: list[OutlineRow]

    @property
    def primary(self) -> Metric:
        return primary(self.kind)

    @property
    def has_scores(self) -> bool:
        return any(row.mean is not None for row in self.rows)


def outline_of(summary: Summary) -> Outline:
    """The outline of a group."""
    group, name = summary.group, summary.group.primary.name
    rows = [
        OutlineRow(
            row.method,
            row.entry["family"],
            row.entry["role"],
            row.deployment,
            row.method in group.hidden,
            row.complete,
            row.metric(name).mean,
            None if row.gain is None else list(row.gain.values.values()),
            _ends(summary.evidence.mean(row)) if summary.evidence and row.complete else None,
            _ends(row.comparison),
        )
        for row in summary.rows
    ]
    return Outline(
        group.dataset,
        group.block,
        group.source,
        group.protocol_title,
        group.protocol.get("labels", 1.0),
        [group.curve_title, setting_of(group.spec, "labels")],
        heading(group.primary, group),
        tuning_note(group),
        group.kind,
        list(group.modalities),
        group.smoke,
        group.no_evidence,
        len(group.runs),
        summary.units,
        summary.ratio,
        rows,
    )


def _ends(comparison: Comparison | None) -> list[float] | None:
    return [comparison.low, comparison.high] if comparison else None


def from_json(document: Mapping[str, Any]) -> Outline:
    """An outline that was kept as `dataclasses.asdict` of it."""
    return Outline(**{**document, "rows": [OutlineRow(**row) for row in document["rows"]]})
