"""From a results folder to everything that is shown of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.report import section as sections
from benchmark.report.across import Across, across
from benchmark.report.answers import summary_of
from benchmark.report.evidence import truth_digest
from benchmark.report.frame import (
    COLUMNS,
    Exclusion,
    Group,
    Head,
    Results,
    collect,
    scores_csv,
    setting_of,
)
from benchmark.report.kept import Kept, key_of
from benchmark.report.leaderboard import leaderboard
from benchmark.report.page import content, document
from benchmark.report.section import Section
from benchmark.report.shares import LabelCurve, label_curves
from benchmark.report.summary import Summary
from benchmark.report.tables import exclusion_counts
from benchmark.report.text import csv_line, csv_table
from benchmark.report.tuning import Trials, with_tuning
from benchmark.report.wording import modality_notes
from benchmark.writers import atomic, sweep

if TYPE_CHECKING:
    from benchmark.report.figures import Drawing, Drawn
    from benchmark.report.figures.picture import Picture

LIST = "report-files.txt"
"""Names the files of the last report, so that the next one takes away what it does not renew."""

EXCLUSION_COLUMNS = [field.name for field in fields(Exclusion)]


@dataclass(frozen=True)
class Report:
    """What a report was made of, and the files that it wrote."""

    results: Results
    sections: tuple[Section, ...]
    comparisons: tuple[Across, ...]
    out: Path
    paths: tuple[Path, ...]
    summary: Callable[[Group], Summary]

    @cached_property
    def summaries(self) -> tuple[Summary, ...]:
        """Those of the groups, computed anew."""
        return tuple(map(self.summary, self.results.groups))


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
    not hold. What is computed of a group is kept there for the next report (`kept`).

    Raises `UserError` if there are no records, none of what is asked for, or no way to write.
    """
    kept = Kept(cache)
    with ExitStack() as stack:
        drawing = None
        if figures:
            from benchmark.report.figures import Drawing

            drawing = stack.enter_context(Drawing(kept, results, cache))
        maker = _Maker(results, cache, kept, drawing)
        found = collect(
            results, datasets=datasets, methods=methods, protocol=protocol, kept=kept, show=maker
        )
        shown = maker.sections
        tested = any(own.tested for own in shown)
        comparisons = across([own.outline for own in shown])
        curves = label_curves([own.outline for own in shown])
        if drawing:
            drawing.across([own.outline for own in shown], comparisons, curves)
        files = _Files(out)
        boards = [own.leaderboard for own in shown]
        board = leaderboard(boards, comparisons, curves, found, tested=tested)
        files.text("leaderboard.md", board)
        header = f"{csv_line(COLUMNS)}\n".encode()
        files.binary("scores.csv", header, *maker.scores)
        excluded = csv_table([*map(asdict, found.exclusions)], EXCLUSION_COLUMNS)
        files.text("exclusions.csv", excluded)
        for own in shown:
            for suffix, text in own.tables.items():
                files.text(f"tables/{own.name}.{suffix}", text)
        drawn = drawing.finish(files.binary) if drawing else []
        files.text("report.html", page(shown, comparisons, curves, found, drawn))
    files.finish()
    kept.finish()
    return Report(found, tuple(shown), tuple(comparisons), out, tuple(files.paths), maker.summary)


def summaries(results: Path, cache: Path | None = None) -> list[Summary]:
    """Those of all groups that a report shows; errors and ``cache`` as of `write_report`."""
    maker = _Maker(results, cache, Kept(None), None)
    found = []

    def show(head: Head) -> None:
        maker.note(head)
        found.append(maker.summary(head.group))

    collect(results, show=show)
    return found


def page(
    shown: Sequence[Section],
    comparisons: Sequence[Across],
    curves: Sequence[LabelCurve],
    results: Results,
    drawn: Sequence[tuple[Drawn, Picture]] = (),
) -> str:
    """The report page."""
    tested = any(own.tested for own in shown)
    choices = [own.choices for own in shown]
    index = content.index(choices, comparisons, curves, results, tested=tested)
    index["figures"] = [document.figure(what, picture.size) for what, picture in drawn]
    excluded = document.encode(content.exclusions(results))
    blocks = [document.block("exclusions", excluded)]
    blocks += [document.block(f"group-{i}", own.page) for i, own in enumerate(shown)]
    blocks += [document.picture(f"figure-{i}", own.shorter) for i, (_, own) in enumerate(drawn)]
    return document.document(index, blocks)


class _Maker:
    """Makes what is shown of each group while its records are at hand, or finds it kept."""

    def __init__(
        self, results: Path, cache: Path | None, kept: Kept, drawing: Drawing | None
    ) -> None:
        self.results, self.cache, self.kept, self.drawing = results, cache, kept, drawing
        self.trials = Trials(results)
        self.by_default: dict[str, Head] = {}
        self.sections: list[Section] = []
        self.scores: list[bytes] = []

    def __call__(self, head: Head) -> None:
        """Make the section, the scores and the figures of the next group.

        That of a tuned group comes after the one by default, whose records are at hand as well.
        """
        notes = modality_notes(head.dataset, head.modalities)
        targets = truth_digest(self.cache, head.fingerprint)
        of = [head.digest, sorted(head.hidden), notes, targets]
        if head.budget:
            other = self.by_default.get(head.setting)
            of += [other and other.digest, self.trials.digest(head.dataset)]
        self.note(head)
        summary = cache(lambda: self.summary(head.group))
        own = self._kept("section", of, lambda: sections.section(summary()).to_bytes())
        section = sections.from_bytes(own)
        self.sections.append(section)
        self.scores.append(self._kept("scores", of, lambda: scores_csv(summary().group).encode()))
        if self.drawing and section.outline.has_scores:
            place = len(self.sections) - 1
            self.drawing.group(place, section.name, section.outline, of, summary)

    def note(self, head: Head) -> None:
        """Keep a group by default in mind, for the tuned one that comes after it."""
        if not head.budget:
            self.by_default[head.setting] = head

    def _kept(self, what: str, of: Sequence[Any], make: Callable[[], bytes]) -> bytes:
        key = key_of(what, of)
        content = self.kept.get(key)
        if content is None:
            content = make()
            self.kept.put(key, content)
        return content

    def summary(self, group: Group) -> Summary:
        """The summary of a group; a tuned one's beside the same methods by default."""
        summary = self._alone(group)
        if not group.budget:
            return summary
        other = self.by_default.get(setting_of(group.spec))
        return with_tuning(summary, other and self._alone(other.group), self.trials)

    def _alone(self, group: Group) -> Summary:
        return summary_of(group, self.results, self.cache)


def summary_text(report: Report) -> str:
    """The end of a run on the console: scores by method and modality, what failed, what is where.

    One column a modality, mean ± sd of the primary metric; bounds in the last column.
    """
    results = report.results
    paths = (
        f"{results.files} records; not shown: {exclusion_counts(results)}\n"
        f"leaderboard: {report.out / 'leaderboard.md'}\n"
        f"page: {report.out / 'report.html'}\n"
        f"tables: {report.out / 'tables'}\n"
        f"figures: {report.out / 'figures'}"
    )
    return "\n\n".join([*(section.console for section in report.sections), paths])


class _Files:
    """Writes the files of a report, and takes away those of the last one that it does not renew."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.paths: list[Path] = []

    def text(self, name: str, content: str) -> None:
        self.binary(name, content.encode("utf-8", "replace"))

    def binary(self, name: str, *parts: bytes) -> None:
        path = self.out / name
        if not _holds(path, parts):
            with atomic(path) as file:
                file.writelines(parts)
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


def _holds(path: Path, parts: Sequence[bytes]) -> bool:
    """Whether a file has these contents already."""
    try:
        if path.is_symlink() or path.stat().st_size != sum(map(len, parts)):
            return False
        with path.open("rb") as file:
            return all(file.read(len(part)) == part for part in parts)
    except OSError:
        return False
