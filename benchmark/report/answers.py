"""Questions to the records, and their answers in Markdown: what the pages of results/ are made of.

Every answer is a function of the records alone, and names the command that prints it. A document
holds answers between two marks, which `rewritten` fills in:

    <!-- answer: versus mdico --protocol standard -->
    ... whatever stands here is replaced ...
    <!-- end -->
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmark.errors import UserError, unknown
from benchmark.report.encoders import encoder_tables
from benchmark.report.evidence import over_samples
from benchmark.report.frame import Group, collect
from benchmark.report.outline import outline_of
from benchmark.report.placebo import placebo_table
from benchmark.report.rows import Row
from benchmark.report.shares import label_curves, label_notes, label_table
from benchmark.report.statistics import Comparison
from benchmark.report.summary import REFERENCE, Summary, summarise
from benchmark.report.text import MISSING, listed, markdown, markdown_table, number
from benchmark.report.variance import components_of
from benchmark.report.verdict import SURE
from benchmark.report.wording import Formats, heading, p_value, title

CONTROLS = ("single", "single_wide", "single_ensemble")
"""What a co-learning method has to be better than: it needs no other sensor."""

TINY = 1e-9
"""A part of a variance that is 0 but for rounding."""

FLATTERED = ("random", "paper")
"""Protocols that are held against `HONEST`: usual folds, and the released selection."""

HONEST = "standard"


@dataclass(frozen=True)
class Evidence:
    """summaries: of the groups of some records that may be evidence, without those that were tuned.

    groups: all that there are, in the order in which they are shown.
    """

    summaries: tuple[Summary, ...]
    groups: tuple[Group, ...]

    def under(self, protocol: str) -> Evidence:
        """What there is under one protocol, by its name in the tables; `UserError` for none."""
        groups = tuple(g for g in self.groups if g.protocol_title == protocol)
        if not groups:
            raise unknown("protocol", protocol, {g.protocol_title for g in self.groups})
        return Evidence(tuple(s for s in self.summaries if s.group in groups), groups)


def evidence_of(results: Path, cache: Path | None) -> Evidence:
    """Read the records of a results folder; cache: for the targets of official splits."""
    groups: list[Group] = []
    collect(results, show=lambda head: groups.append(head.group))
    plain = [g for g in groups if not (g.no_evidence or g.budget)]
    return Evidence(tuple(summary_of(group, results, cache) for group in plain), tuple(groups))


def summary_of(group: Group, results: Path, cache: Path | None) -> Summary:
    """The summary of a group; an official split needs the predictions and the targets."""
    if group.unit != "seed" or group.no_evidence:
        return summarise(group)
    return summarise(group, over_samples(group, results, cache))


def answer(
    question: Sequence[str], found: Evidence, results: Path | str, protocol: str | None = None
) -> str:
    """The answer to a question, and the command that prints it.

    protocol: of this one alone, by its name in the tables. Raises `UserError` for a question or a
    protocol that there is none of.
    """
    name, *words = question or [""]
    if name not in QUESTIONS:
        raise unknown("question", name, QUESTIONS)
    if len(words) > METHODS.get(name, 0):
        about = "one method" if name in METHODS else "all methods at once"
        raise UserError(f"{name}: it is asked of {about}, not of {', '.join(words)}")
    known = dict.fromkeys(method for group in found.groups for method in group.entries)
    for word in words:
        if word not in known:
            raise unknown("method", word, known)
    asked = found.under(protocol) if protocol else found
    lines = list(QUESTIONS[name](asked, *words)) or ["The records do not say."]
    only = ["--protocol", protocol] if protocol else []
    command = shlex.join(["answer", *question, *only, "--results", str(results)])
    return "\n".join([*lines, "", f"`python -m benchmark {command}`"])


BLOCK = re.compile(
    r"(<!-- answer: ([\w ]+?)(?: --protocol ([^\n]+?))? -->\n).*?(<!-- end -->)", re.DOTALL
)


def rewritten(document: str, found: Evidence, results: Path | str) -> str:
    """A document with its answers as the records have them."""

    def filled(block: re.Match[str]) -> str:
        return f"{block[1]}{answer(block[2].split(), found, results, block[3])}\n{block[4]}"

    if not BLOCK.search(document):
        raise UserError(
            "the document has no place for an answer: <!-- answer: runs -->, <!-- end -->"
        )
    return BLOCK.sub(filled, document)


def _place(group: Group) -> str:
    """Data, what was trained on and protocol, for a cell."""
    return f"{group.dataset} ({' + '.join(group.modalities)}), {group.protocol_title}"


def _runs(found: Evidence) -> Iterator[str]:
    """What was run: groups, and how much of each."""
    rows = []
    for group in found.groups:
        done = [*group.runs, *(r for r in group.placebos if r.status == "done")]
        folds, seeds = ({pair[i] for pair in group.planned} for i in (0, 1))
        rows.append(
            [
                _place(group),
                group.source,
                *map(str, (len(group.entries), len(folds), len(seeds), len(done))),
                str(len(group.absent)),
            ]
        )
    total = sum(int(row[5]) for row in rows)
    real = {group.block for group in found.groups if group.source == "real"}
    yield f"{total} runs with scores; real data of {len(real)}: {listed(sorted(real))}."
    yield ""
    header = ("data, protocol", "source", "methods", "folds", "seeds", "runs", "without scores")
    yield markdown_table(header, rows, text_columns=2)


def _versus(found: Evidence, method: str = "mdico") -> Iterator[str]:
    """A method against each control, on every sensor."""
    rows, tally = [], {control: [0, 0, 0, 0] for control in CONTROLS}
    for summary in found.summaries:
        group, formats = summary.group, Formats(summary)
        decimals = formats.decimals[group.primary.name]
        for modality in group.modalities:
            at = {row.method: row for row in summary.rows if row.deployment == modality}
            for control in CONTROLS:
                compared = _compared(summary, at.get(method), at.get(control))
                if compared is None:
                    continue
                rope = summary.ropes.get(modality)
                practical = None if rope is None else compared.practical(rope)
                if group.protocol_title == HONEST:
                    counts = tally[control]
                    counts[0] += 1
                    counts[1] += compared.low > 0
                    counts[2] += compared.high < 0
                    counts[3] += practical is not None and practical.equal >= SURE
                rows.append(
                    [
                        _place(group),
                        modality,
                        control,
                        _seeds_of(at[method], at[control]),
                        formats.cell(group.primary, at[method], sd=False),
                        formats.cell(group.primary, at[control], sd=False),
                        number(compared.mean, decimals, signed=True),
                        _interval(compared, decimals),
                        p_value(compared.p),
                        _per_cent(practical),
                    ]
                )
    if not rows:
        return
    for control, (lines, better, worse, equal) in tally.items():
        if lines:
            yield (
                f"{method} against {control}, protocol {HONEST}: shown to be better in {better} of "
                f"{lines} lines, worse in {worse}; practically equal with at least "
                f"{100 * SURE:.0f} % in {equal}.  "
            )
    yield ""
    header = ("data, protocol", "sensor", "against", "seeds", method, "it has", "gain")
    ends = ("95 % interval", "p", "better/equal/worse (%)")
    yield markdown_table([*header, *ends], rows, text_columns=3)
    yield ""
    yield (
        "Gain in the primary metric of the dataset, positive is better; intervals and p are those "
        "of the report's tests, not adjusted for their number. The lines of a dataset share its "
        f"samples, and a sensor may stand in several. Seeds: of {method} and of what it is "
        "against, on every fold."
    )


def _compared(summary: Summary, own: Row | None, other: Row | None) -> Comparison | None:
    if not (summary.evidence and own and other and own.complete and other.complete):
        return None
    return summary.evidence.compare(own, other)


def _seeds_of(own: Row, other: Row) -> str:
    return f"{own.seeds} and {other.seeds}"


def _interval(compared: Comparison, decimals: int) -> str:
    return " to ".join(number(v, decimals, signed=True) for v in (compared.low, compared.high))


def _per_cent(practical: object) -> str:
    if practical is None:
        return MISSING
    parts = (practical.better, practical.equal, practical.worse)
    return "/".join(number(100 * part, 0) for part in parts)


def _placebo(found: Evidence) -> Iterator[str]:
    """What of each gain is left with wrong partners."""
    for summary in found.summaries:
        header, rows = placebo_table(summary)
        if rows:
            yield f"{markdown(title(summary.group))}:"
            yield ""
            yield markdown_table(header, rows, text_columns=2)
            yield ""


def _baseline(found: Evidence) -> Iterator[str]:
    """The best of what needs no other sensor, and the best method, on every sensor."""
    rows = []
    for summary in found.summaries:
        group, formats = summary.group, Formats(summary)
        decimals = formats.decimals[group.primary.name]
        for modality in group.modalities:
            at = [r for r in summary.rows if r.deployment == modality and r.complete]
            control, method = (_best(summary, at, role) for role in ("control", "method"))
            if control and method:
                compared = _compared(summary, method, control)
                rows.append(
                    [
                        _place(group),
                        modality,
                        f"{control.method} {formats.cell(group.primary, control, sd=False)}",
                        f"{method.method} {formats.cell(group.primary, method, sd=False)}",
                        _seeds_of(method, control),
                        number(compared.mean, decimals, signed=True) if compared else MISSING,
                        _interval(compared, decimals) if compared else MISSING,
                    ]
                )
    if rows:
        header = ("data, protocol", "sensor", "best control", "best method", "seeds", "gain")
        yield markdown_table([*header, "95 % interval"], rows, text_columns=4)
        yield ""
        yield (
            "Both were chosen for their scores here, of several: the gain flatters the method that "
            "is the best of more. Seeds: of the method and of the control."
        )


def _best(summary: Summary, rows: Sequence[Row], role: str) -> Row | None:
    metric = summary.group.primary
    own = [r for r in rows if r.entry["role"] == role and r.metric(metric.name).mean is not None]
    score = lambda row: metric.gain(row.metric(metric.name).mean, 0.0)  # noqa: E731
    return max(own, key=score, default=None)


def _folds(found: Evidence) -> Iterator[str]:
    """Scores and gains under the usual folds and the released selection beside the honest ones."""
    rows = []
    for summary in found.summaries:
        if summary.group.protocol_title != HONEST:
            continue
        for other in found.summaries:
            name = other.group.protocol_title
            same = (other.group.dataset, other.group.modalities)
            if name in FLATTERED and same == (summary.group.dataset, summary.group.modalities):
                rows += _beside(summary, other)
    if rows:
        header = ("data", "other protocol", "method", "sensor", HONEST, "other", "gain", "its gain")
        yield markdown_table(header, rows, text_columns=4)
        yield ""
        yield f"Gain: over {REFERENCE} under the same protocol."


def _beside(summary: Summary, other: Summary) -> Iterator[list[str]]:
    metric, formats = summary.group.primary, Formats(summary)
    theirs = {row.place: row for row in other.rows}
    for row in summary.rows:
        twin = theirs.get(row.place)
        if twin and row.deployment in summary.group.modalities and row.complete and twin.complete:
            gains = [
                number(r.gain.mean, formats.decimals[metric.name], signed=True)
                if r.gain and r.gain.n
                else MISSING
                for r in (row, twin)
            ]
            scores = [formats.cell(metric, r, sd=False) for r in (row, twin)]
            data = f"{summary.group.dataset} ({' + '.join(summary.group.modalities)})"
            place = [data, other.group.protocol_title, row.method, row.deployment]
            yield [*place, *scores, *gains]


def _encoders(found: Evidence, *methods: str) -> Iterator[str]:
    """Scores with other encoders, on the same folds; of these methods, or of all."""
    for table in encoder_tables(found.summaries, methods):
        yield f"{table.title}:"
        yield ""
        yield markdown_table(table.header, table.rows, text_columns=2)
        yield ""
        yield "Means over the same folds, of as many seeds as the tables of each protocol say."
        yield ""


def _seeds(found: Evidence) -> Iterator[str]:
    """How much of the spread over folds and seeds is which, the median over methods."""
    rows = []
    for summary in found.summaries:
        for modality in summary.group.modalities:
            own = [components_of(r) for r in summary.rows if r.deployment == modality]
            # What gives the same with every seed, such as a constant, has no part to be told.
            shares = [c.shares for c in own if c and c.shares and sum(c.shares[1:]) > TINY]
            if shares:
                middle = [number(100 * median(s[i] for s in shares), 0) for i in range(3)]
                rows.append([_place(summary.group), modality, str(len(shares)), *middle])
    if rows:
        header = ("data, protocol", "sensor", "methods", "fold (%)", "seed (%)", "both (%)")
        yield markdown_table(header, rows, text_columns=2)
        yield ""
        yield (
            "Parts of the variance of the primary metric, the median over the methods that draw "
            "from a seed."
        )


def _labels(found: Evidence) -> Iterator[str]:
    """Scores against the share of the labels."""
    for curve in label_curves([outline_of(summary) for summary in found.summaries]):
        yield f"{markdown(curve.title)}:"
        yield ""
        yield markdown_table(*label_table(curve), text_columns=1)
        yield ""
        yield from label_notes(curve)
        yield ""


def _power(found: Evidence) -> Iterator[str]:
    """The gains that could have been found, and those that do not matter."""
    rows = []
    for summary in found.summaries:
        group = summary.group
        decimals = Formats(summary).decimals[group.primary.name]
        for modality in group.modalities:
            family = [
                row for row in summary.rows if row.deployment == modality and row.p_holm is not None
            ]
            if family:
                ends = [f(row.detectable for row in family) for f in (min, max)]
                rope = summary.ropes.get(modality)
                rows.append(
                    [
                        f"{_place(group)}, {heading(group.primary, group)}",
                        modality,
                        str(len(family)),
                        " to ".join(number(end, decimals) for end in ends),
                        number(rope, decimals),
                    ]
                )
    if rows:
        header = ("data, protocol, metric", "sensor", "methods", "detectable gain")
        yield markdown_table([*header, "practically nothing, up to"], rows, text_columns=2)


QUESTIONS: dict[str, Callable[..., Iterator[str]]] = {
    "runs": _runs,
    "versus": _versus,
    "placebo": _placebo,
    "baseline": _baseline,
    "encoders": _encoders,
    "folds": _folds,
    "seeds": _seeds,
    "labels": _labels,
    "power": _power,
}
METHODS = {"versus": 1, "encoders": math.inf}
"""How many methods a question may name; any other is asked of all."""
