"""What co-learning asks: how much of the multi-modal gap is closed, and what ablations lose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.report.frame import own_curves
from benchmark.report.rows import Row
from benchmark.report.statistics import Comparison, ratio_interval
from benchmark.report.summary import REFERENCE, Summary, in_order
from benchmark.report.text import MISSING, markdown, markdown_table, number
from benchmark.report.wording import Formats, heading
from benchmark.terms import ALL


@dataclass(frozen=True)
class Gap:
    """What the bound is better than `REFERENCE` at one modality, and who closes how much of it.

    bound: the method that sees all modalities with the lowest validation loss. comparison: of the
    gap with 0. shares: method → mean gain over mean gap, and the ends of its 95 % interval; empty
    if the gap's own interval does not lie above 0.
    """

    modality: str
    bound: str
    comparison: Comparison
    shares: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)

    @property
    def measurable(self) -> bool:
        return self.comparison.low > 0


def best_bound(summary: Summary) -> Row | None:
    """The fusion method that is best on validation, among those that have all runs.

    A bound that trains nothing of its own has no validation loss and is not chosen.
    """
    losses = {}
    for row in summary.rows:
        if row.deployment == ALL and row.entry["role"] == "bound" and row.complete:
            runs = summary.group.runs_of(row.method)
            lowest = [float(c.min()) for r in runs for c in own_curves(r).values()]
            if lowest and all(any(not s["artefact"] for s in r.stages) for r in runs):
                losses[row.method] = math.fsum(lowest) / len(lowest), row
    return min(losses.values(), key=lambda pair: (pair[0], pair[1].method))[1] if losses else None


def gaps(summary: Summary) -> list[Gap]:
    """The gap of each modality; none where there is no evidence, bound or reference."""
    evidence, bound = summary.evidence, best_bound(summary)
    if evidence is None or bound is None:
        return []
    found = []
    for modality in summary.group.modalities:
        rows = {row.method: row for row in summary.rows if row.deployment == modality}
        reference = rows.pop(REFERENCE, None)
        if reference is None or not reference.complete:
            continue
        comparison = evidence.compare(bound, reference)
        if comparison is None:
            continue
        shares = {}
        if comparison.low > 0:
            own = [r for r in rows.values() if r.comparison and evidence.knows(r)]
            drawn = evidence.draws([bound, reference, *own])
            whole = drawn[0] - drawn[1]
            for row, draw in zip(own, drawn[2:], strict=True):
                share = row.comparison.mean / comparison.mean
                shares[row.method] = share, *ratio_interval(draw - drawn[1], whole)
        found.append(Gap(modality, bound.method, comparison, shares))
    return found


@dataclass(frozen=True)
class Ablation:
    """What a variant loses against the whole method at one modality, where all runs are there.

    paired: differences by fold or seed, positive if the variant is better; difference: their mean.
    comparison: of it with 0, where there is evidence.
    """

    method: str
    variant: str
    modality: str
    row: Row
    paired: tuple[float, ...]
    comparison: Comparison | None

    @property
    def difference(self) -> float | None:
        return math.fsum(self.paired) / len(self.paired) if self.paired else None


def ablations(summary: Summary) -> list[Ablation]:
    """Each ablation against the method that its name begins with, in the order of the rows."""
    found = []
    metric = summary.group.primary
    for modality in summary.group.modalities:
        rows = {row.method: row for row in summary.at(modality)}
        for row in rows.values():
            whole = rows.get(_whole(row.method, rows)) if row.entry["role"] == "ablation" else None
            if whole is None:
                continue
            a, b = (r.metric(metric.name).values for r in (row, whole))
            paired = tuple(metric.gain(a[unit], b[unit]) for unit in a if unit in b)
            both = row.complete and whole.complete
            found.append(
                Ablation(
                    whole.method,
                    row.method,
                    modality,
                    row,
                    paired,
                    summary.evidence.compare(row, whole) if summary.evidence and both else None,
                )
            )
    return found


def _whole(variant: str, rows: Mapping[str, Row]) -> str | None:
    """The longest name of a method that ``variant`` begins with."""
    names = [
        name
        for name, row in rows.items()
        if row.entry["role"] == "method" and variant.startswith(f"{name}_")
    ]
    return max(names, key=len, default=None)


def gap_table(summary: Summary, found: Sequence[Gap]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the share of each modality's gap that a method closes, in per cent."""
    shared = [gap for gap in found if gap.measurable]
    rows = []
    for method in in_order(summary):
        shares = [gap.shares.get(method) for gap in shared]
        if any(shares):
            cells = [
                f"{number(100 * s[0], 0)} ({number(100 * s[1], 0)} to {number(100 * s[2], 0)})"
                if s
                else MISSING
                for s in shares
            ]
            rows.append([method, *cells])
    return ["method", *(f"{gap.modality}: share (%)" for gap in shared)], rows


def gap_sentences(summary: Summary, found: Sequence[Gap]) -> list[str]:
    """How large the gap of each modality is, or that none is measurable."""
    decimals = Formats(summary).decimals[summary.group.primary.name]
    lines = []
    for gap in found:
        c = gap.comparison
        size, low, high = (number(v, decimals, signed=True) for v in (c.mean, c.low, c.high))
        verdict = "" if gap.measurable else ": no measurable gap"
        lines.append(f"{gap.modality} alone to {gap.bound}: {size} ({low} to {high}){verdict}")
    return lines


GAP_NOTE = (
    "Share: mean gain over mean gap, with a 95 % bootstrap interval; no ranking. The gap is what "
    "the all-modality method with the lowest validation loss is better than single. A weak sensor "
    "cannot have all of it: what it does not measure, no training gives it."
)


def gap_lines(summary: Summary) -> list[str]:
    found = gaps(summary)
    if not found:
        return []
    lines = ["", "## Share of the multi-modal gap closed", ""]
    lines += [f"- {markdown(line)}" for line in gap_sentences(summary, found)] + [""]
    header, rows = gap_table(summary, found)
    if rows:
        lines += [markdown_table(header, rows, text_columns=1), ""]
    return [*lines, GAP_NOTE]


def ablation_table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Header and rows: every ablation against its whole method, by modality."""
    group, formats = summary.group, Formats(summary)
    decimals = formats.decimals[group.primary.name]
    header = ["method", "without or instead", "modality", heading(group.primary, group)]
    header += ["difference", "95 % interval"]
    rows = []
    for a in ablations(summary):
        if not any(row[0] == a.method and row[2] == a.modality for row in rows):
            (whole,) = (row for row in summary.at(a.modality) if row.method == a.method)
            own = formats.cell(group.primary, whole)
            rows.append([a.method, "(whole)", a.modality, own, MISSING, MISSING])
        c = a.comparison
        interval = MISSING
        if c:
            interval = " to ".join(number(v, decimals, signed=True) for v in (c.low, c.high))
        own = formats.cell(group.primary, a.row)
        difference = number(a.difference, decimals, signed=True) + formats.few(len(a.paired))
        rows.append([a.method, a.variant, a.modality, own, difference, interval])
    return header, rows


def ablation_lines(summary: Summary) -> list[str]:
    header, rows = ablation_table(summary)
    if not rows:
        return []
    return [
        "",
        "## Ablations",
        "",
        markdown_table(header, rows, text_columns=3),
        "",
        "Difference to the whole method, paired; negative: what was taken away helps. Intervals "
        "are not adjusted for their number.",
    ]
