"""All that is shown of one group but its figures, as text: kept from one report to the next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmark.report import leaderboard
from benchmark.report.classes import per_class_csv
from benchmark.report.outline import Outline, from_json, outline_of
from benchmark.report.page import content, document
from benchmark.report.summary import REFERENCE, Summary, in_order
from benchmark.report.tables import as_csv, as_latex, as_markdown
from benchmark.report.text import one_line, plain_table
from benchmark.report.verdict import all_sentences, best_gain
from benchmark.report.wording import (
    OTHER_CODE,
    Formats,
    error_bars,
    heading,
    modality_notes,
    named,
    other_code,
    slug,
    title,
)
from benchmark.terms import ALL


@dataclass(frozen=True)
class Section:
    """One group. name: of its files. tested: whether its tables have tests.

    leaderboard, console, page, choices: what these show of it, the page's as JSON. tables: suffix
    of the file → text. outline: what comparisons across datasets take of it.
    """

    name: str
    tested: bool
    leaderboard: str
    console: str
    page: str
    choices: Mapping[str, Any]
    tables: Mapping[str, str]
    outline: Outline

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), allow_nan=False).encode()


def from_bytes(content: bytes) -> Section:
    """A section that was kept."""
    document = json.loads(content)
    return Section(**{**document, "outline": from_json(document["outline"])})


def section(summary: Summary) -> Section:
    """The section of a group."""
    return Section(
        name=slug(summary.group),
        tested=summary.tested,
        leaderboard=leaderboard.section(summary),
        console=_console_table(summary),
        page=document.encode(content.group_content(summary)),
        choices=content.choices_of(summary.group),
        tables={
            "md": as_markdown(summary),
            "csv": as_csv(summary),
            "classes.csv": per_class_csv(summary),
            "tex": as_latex(summary),
        },
        outline=outline_of(summary),
    )


def _console_table(summary: Summary) -> str:
    group, formats, metric = summary.group, Formats(summary), summary.group.primary
    deployments = [d for d in group.deployments if summary.at(d)]
    rows: dict[str, list[str]] = {
        m: [named(group, m)] + [""] * len(deployments) for m in in_order(summary)
    }
    for place, deployment in enumerate(deployments, start=1):
        for row in summary.at(deployment):
            rows[row.method][place] = formats.cell(metric, row)
    names = ["all (bound)" if d == ALL else d for d in deployments]
    head = [title(group), *modality_notes(group.dataset, group.modalities)]
    head += [f"{heading(metric, group)}; {error_bars(group)}", *all_sentences(summary)]
    table = plain_table(["method", *names], list(rows.values()), text_columns=1)
    foot = [line for d in group.modalities if (line := best_gain(summary, d))]
    if not foot and summary.has_reference:
        why = f" ({summary.why_not})" if summary.why_not else ""
        foot = [f"Gains over {REFERENCE}{why}: leaderboard.md"]
    if marked := other_code(group):
        foot.append(f"{OTHER_CODE} {marked}")
    return "\n".join([*map(one_line, head), table, *foot])
