"""From a results folder to everything that is shown of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.report.across import across
from benchmark.report.classes import per_class_frame
from benchmark.report.evidence import over_samples
from benchmark.report.frame import Exclusion, Group, Results, collect
from benchmark.report.leaderboard import leaderboard
from benchmark.report.page import document
from benchmark.report.summary import Summary, in_order, summarise
from benchmark.report.tables import as_frame, as_latex, as_markdown, exclusion_counts
from benchmark.report.text import one_line, plain_table
from benchmark.report.verdict import all_sentences
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
from benchmark.writers import atomic, sweep

if TYPE_CHECKING:
    import pandas as pd

LIST = "report-files.txt"
"""Names the files of the last report, so that the next one takes away what it does not renew."""

EXCLUSION_COLUMNS = [field.name for field in fields(Exclusion)]


@dataclass(frozen=True)
class Report:
    """What a report was made of, and the files that it wrote."""

    results: Results
    summaries: tuple[Summary, ...]
    out: Path
    paths: tuple[Path, ...]


def write_report(
    results: Path,
    out: Path,
    *,
    datasets: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    protocol: str | None = None,
    cache: Path | None = None,
    figures: bool = True,
) -> Report:
    """Write leaderboard, page, tables, figures and scores below ``out``, from the records alone.

        <out>/leaderboard.md, report.html, scores.csv, exclusions.csv
        <out>/tables/<group>.md, .csv, .classes.csv, .tex
        <out>/figures/<group>-<figure>.png, .svg

    cache: where `run` prepares data; an official split is tested on its targets, which records do
    not hold.

    Raises `UserError` if there are no records, none of what is asked for, or no way to write.
    """
    import pandas as pd

    found = collect(results, datasets=datasets, methods=methods, protocol=protocol)
    summaries = tuple(_summarised(group, results, cache) for group in found.groups)
    comparisons = across(summaries)
    files = _Files(out)
    files.text("leaderboard.md", leaderboard(summaries, comparisons, found))
    files.text("scores.csv", _csv(found.frame))
    files.text("exclusions.csv", _csv(pd.DataFrame(found.exclusions, columns=EXCLUSION_COLUMNS)))
    for summary in summaries:
        name = slug(summary.group)
        files.text(f"tables/{name}.md", as_markdown(summary))
        files.text(f"tables/{name}.csv", _csv(as_frame(summary)))
        files.text(f"tables/{name}.classes.csv", _csv(per_class_frame(summary)))
        files.text(f"tables/{name}.tex", as_latex(summary))
    drawn = []
    if figures:
        from benchmark.report.figures import draw_all

        drawn = draw_all(summaries, comparisons, files.binary, results=results, cache=cache)
    files.text("report.html", document(summaries, comparisons, found, drawn, out / "figures"))
    files.finish()
    return Report(found, summaries, out, tuple(files.paths))


def _summarised(group: Group, results: Path, cache: Path | None) -> Summary:
    official = group.unit == "seed" and not group.no_evidence
    return summarise(group, over_samples(group, results, cache)) if official else summarise(group)


def summary_text(report: Report) -> str:
    """The end of a run on the console: scores by method and modality, what failed, what is where.

    One column a modality, mean ± sd of the primary metric; bounds in the last column.
    """
    blocks = [_console_table(summary) for summary in report.summaries]
    results = report.results
    blocks.append(
        f"{results.files} records; not shown: {exclusion_counts(results)}\n"
        f"leaderboard: {report.out / 'leaderboard.md'}\n"
        f"page: {report.out / 'report.html'}\n"
        f"tables: {report.out / 'tables'}\n"
        f"figures: {report.out / 'figures'}"
    )
    return "\n\n".join(blocks)


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
    head = [title(group), *modality_notes(group), f"{heading(metric, group)}; {error_bars(group)}"]
    head += all_sentences(summary)
    table = plain_table(["method", *names], list(rows.values()), text_columns=1)
    marked = other_code(group)
    foot = [f"{OTHER_CODE} {marked}"] if marked else []
    return "\n".join([*map(one_line, head), table, *foot])


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, lineterminator="\n")


class _Files:
    """Writes the files of a report, and takes away those of the last one that it does not renew."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.paths: list[Path] = []

    def text(self, name: str, content: str) -> None:
        self.binary(name, content.encode("utf-8", "replace"))

    def binary(self, name: str, content: bytes) -> None:
        path = self.out / name
        with atomic(path) as file:
            file.write(content)
        self.paths.append(path)

    def finish(self) -> None:
        try:
            old = (self.out / LIST).read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            old = []
        written = [path.relative_to(self.out).as_posix() for path in self.paths]
        for name in set(old) - set(written):
            if re.fullmatch(r"(tables|figures)/[^/]+\.(md|csv|tex|png|svg)", name):
                (self.out / name).unlink(missing_ok=True)
        self.text(LIST, "\n".join(written) + "\n")
        for pattern in (".*.part", "*/.*.part"):
            sweep(self.out, pattern)
