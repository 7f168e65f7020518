"""What is left of a gain when the other modalities are those of other samples, and what is not."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.report.rows import NOTHING, Row, Spread
from benchmark.report.statistics import Comparison
from benchmark.report.summary import REFERENCE, Summary
from benchmark.report.text import MISSING, markdown, markdown_table, number
from benchmark.report.wording import Formats, heading

NOTE = (
    "Placebo: the same method, trained with the other modalities of other samples. What it gains "
    "so, no other sensor gave it. Only the difference says that the other sensor helped. Intervals "
    "are not adjusted for their number; placebos are in no family of tests and no best set."
)


@dataclass(frozen=True)
class Placebo:
    """A method at one modality, with right partners and with wrong ones.

    difference: of the primary metric by fold, or seed, positive where right partners are better.
    comparison: of it with 0, where both have all runs and there is evidence.
    """

    own: Row
    twin: Row
    difference: Spread
    comparison: Comparison | None


def placebos(summary: Summary, deployment: str) -> list[Placebo]:
    """All methods with placebos at one modality, in the order of the rows."""
    metric, found = summary.group.primary, []
    twins = {row.method: row for row in summary.placebos if row.deployment == deployment}
    for own in (row for row in summary.rows if row.deployment == deployment):
        if twin := twins.get(own.method):
            a, b = (row.metric(metric.name).values for row in (own, twin))
            difference = Spread({unit: metric.gain(a[unit], b[unit]) for unit in a if unit in b})
            whole = summary.evidence and own.complete and twin.complete
            comparison = summary.evidence.compare(own, twin) if whole else None
            found.append(Placebo(own, twin, difference, comparison))
    return found


def cells(summary: Summary, formats: Formats, placebo: Placebo) -> list[str]:
    """The placebo's gain, the difference to it and the 95 % interval of that, in words."""
    decimals = formats.decimals[summary.group.primary.name]

    def mean(spread: Spread) -> str:
        return number(spread.mean, decimals, signed=True) + formats.few(spread.n)

    c = placebo.comparison
    ends = [number(end, decimals, signed=True) for end in ((c.low, c.high) if c else ())]
    return [
        mean(placebo.twin.gain or NOTHING),
        mean(placebo.difference),
        " to ".join(ends) or MISSING,
    ]


def placebo_table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Header and rows: gain, placebo gain and their difference, by method and modality."""
    formats, metric = Formats(summary), summary.group.primary
    decimals = formats.decimals[metric.name]
    rows = []
    for deployment in summary.group.modalities:
        for placebo in placebos(summary, deployment):
            if placebo.own.method in summary.group.hidden:
                continue
            gain = placebo.own.gain or NOTHING
            own = number(gain.mean, decimals, signed=True) + formats.few(gain.n)
            rows.append([placebo.own.method, deployment, own, *cells(summary, formats, placebo)])
    header = ["method", "modality", f"gain over {REFERENCE}, {heading(metric, summary.group)}"]
    return [*header, "placebo gain", "difference", "95 % interval"], rows


def placebo_sentence(summary: Summary, deployment: str) -> str:
    """Of which methods it is shown that another sensor helped them, or ""."""
    compared = [p for p in placebos(summary, deployment) if p.comparison]
    if not compared:
        return ""
    helped = [p.own.method for p in compared if p.comparison.low > 0]
    harmed = [p.own.method for p in compared if p.comparison.high < 0]
    text = f"On {deployment}, another sensor is shown to have helped "
    text += ", ".join(helped) if helped else "no method"
    text += f" (of {len(compared)} that were compared with a placebo)"
    if harmed:
        text += f"; with it {', '.join(harmed)} did worse than with wrong partners"
    return text + "."


def placebo_lines(summary: Summary) -> list[str]:
    """The section of a group's tables in Markdown; empty where there are no placebos."""
    header, rows = placebo_table(summary)
    if not rows:
        return []
    table = markdown_table(header, rows, text_columns=2)
    return ["", "## Placebo", "", table, "", markdown(NOTE)]
