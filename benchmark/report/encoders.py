"""What other encoders change: the same methods on the same folds, under protocols that differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmark.report.rows import Row
from benchmark.report.summary import Summary
from benchmark.report.text import MISSING
from benchmark.report.wording import Formats, heading

SPLIT = (
    "split",
    "folds",
    "split_seed",
    "validation",
    "validation_piece",
    "target_quantiles",
    "labels",
)
"""Values of a protocol that say who trains, who validates and who is tested."""


class EncoderTable(NamedTuple):
    """title: the data and the metric. rows: sensor, method, and its score under each protocol."""

    title: str
    header: list[str]
    rows: list[list[str]]


def encoder_tables(
    summaries: Sequence[Summary], methods: Sequence[str] = ()
) -> Iterator[EncoderTable]:
    """One for each dataset, modalities and folds on which several encoders were run.

    A method stands in it whose row is complete under two protocols or more; bounds do not.
    methods: these alone, where there are any.
    """
    places: dict[tuple, list[Summary]] = {}
    for summary in summaries:
        group = summary.group
        split = tuple(group.protocol.get(name) for name in SPLIT)
        place = (group.dataset, group.source, group.modalities, split)
        places.setdefault(place, []).append(summary)
    for alike in places.values():
        if len({repr(summary.group.spec.encoders) for summary in alike}) > 1:
            table = _table(alike, methods)
            if table.rows:
                yield table


def _table(alike: Sequence[Summary], methods: Sequence[str]) -> EncoderTable:
    group, formats = alike[0].group, Formats(alike[0])
    found: dict[tuple[str, str], list[Row | None]] = {}
    for number, summary in enumerate(alike):
        for row in summary.rows:
            named = not methods or row.method in methods
            if named and row.complete and row.deployment in group.modalities:
                place = (row.deployment, row.method)
                found.setdefault(place, [None] * len(alike))[number] = row
    rows = [
        [
            modality,
            method,
            *(formats.cell(group.primary, r, sd=False) if r else MISSING for r in own),
        ]
        for (modality, method), own in sorted(
            found.items(), key=lambda item: group.modalities.index(item[0][0])
        )
        if sum(r is not None for r in own) > 1
    ]
    title = f"{group.dataset} ({' + '.join(group.modalities)}), {heading(group.primary, group)}"
    return EncoderTable(title, ["sensor", "method", *(s.group.protocol_title for s in alike)], rows)
