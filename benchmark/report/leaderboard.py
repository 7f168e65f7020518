"""The leaderboard: one short Markdown page, the same bytes wherever it is made."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.metrics import shown
from benchmark.report.frame import ALL, Results
from benchmark.report.summary import NOTHING, Summary
from benchmark.report.tables import (
    ABSENT_HEADER,
    Formats,
    absent,
    coverage,
    exclusion_counts,
    facts,
    heading,
    notes,
    title,
)
from benchmark.report.text import markdown, markdown_table, shortened

LISTED = 30
"""Rows of exclusions on the page; a file has all of them."""

HOW_TO_READ = """
## How to read this

Every method is trained with all modalities of a dataset and then predicts from **one** of them:
the column says which. `single` never saw another modality; it is the reference, chosen before any
number was known. Bounds see all modalities also when they predict: they say what is lost, and do
not compete. Real and generated data, protocols and sets of modalities never share a table.
"""


def leaderboard(summaries: Sequence[Summary], results: Results) -> str:
    """The page for all groups that are shown."""
    lines = ["# Leaderboard", ""]
    if not summaries:
        lines += ["No run has scores yet.", ""]
    for summary in summaries:
        lines += [f"## {markdown(title(summary.group))}", ""]
        lines += [f"- {name}: {markdown(text)}" for name, text in facts(summary.group)]
        lines += ["", markdown_table(*_table(summary), text_columns=1), ""]
        lines += _bounds(summary)
        lines += [f"{markdown(note)}  " for note in notes(summary)]
        lines += [*_absent(summary), ""]
    lines += _exclusions(results)
    return "\n".join(lines) + HOW_TO_READ


def _table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """A row for each method, the shown metrics and the gain of each deployment side by side."""
    group, formats = summary.group, Formats(summary)
    metrics, gains = shown(group.kind), summary.has_reference
    deployments = [d for d in group.deployments if d != ALL]
    header = ["method"]
    for deployment in deployments:
        header += [f"{deployment}: {heading(metric, group)}" for metric in metrics]
        header += [f"{deployment}: gain"] * gains
    places = {(row.method, row.deployment): row for d in deployments for row in summary.at(d)}
    rows = []
    for method in dict.fromkeys(method for method, _ in places):
        own = [places.get((method, deployment)) for deployment in deployments]
        cells = [method]
        for row in own:
            n = row.metric(group.primary.name).n if row else 0
            spreads = [row.metric(metric.name) if row else NOTHING for metric in metrics]
            cells += [formats.spread(m, s, n) for m, s in zip(metrics, spreads, strict=True)]
            cells += [formats.gain(group.primary, row.gain if row else None)] * gains
        folds = [coverage(summary, row) if row else f"0 of {summary.units}" for row in own]
        rows.append([*cells, ", ".join(dict.fromkeys(folds))])
    return [*header, f"{group.unit}s"], rows


def _bounds(summary: Summary) -> list[str]:
    """The bounds in a line of their own, apart from the table."""
    group, formats = summary.group, Formats(summary)
    parts = []
    for row in summary.at(ALL):
        n = row.metric(group.primary.name).n
        values = (
            f"{m.label} {formats.spread(m, row.metric(m.name), n)}" for m in shown(group.kind)
        )
        parts.append(f"{markdown(row.method)} {', '.join(values)}")
    if not parts:
        return []
    return [f"Bounds, all modalities at inference, not ranked: {'; '.join(parts)}.  "]


def _absent(summary: Summary) -> list[str]:
    rows = absent(summary.group)
    if not rows:
        return []
    return ["", markdown_table(ABSENT_HEADER, rows, text_columns=4)]


def _exclusions(results: Results) -> list[str]:
    """How many records are not shown and, for those that no table names, why."""
    lines = ["## Records that are not shown", ""]
    left_out = exclusion_counts(results)
    lines += [f"{results.files} records; not shown: {left_out}.", ""]
    merged: dict[tuple[str, ...], int] = {}
    for e in results.exclusions:
        if e.status in ("failed", "not applicable"):
            continue
        what = e.what if e.status == "unreadable" else f"{e.dataset} {e.method}"
        place = e.status, what, shortened(e.reason)
        merged[place] = merged.get(place, 0) + 1
    rows = [[status, str(n), what, reason] for (status, what, reason), n in sorted(merged.items())]
    if rows:
        header = ("status", "records", "what", "reason")
        lines += [markdown_table(header, rows[:LISTED], text_columns=4), ""]
    if len(rows) > LISTED:
        lines += [f"… and {len(rows) - LISTED} rows more: exclusions.csv has them all.", ""]
    return lines
