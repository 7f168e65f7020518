"""What a table says, in words: who is better than the reference, who may be the best."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.report.placebo import placebo_sentence
from benchmark.report.rows import Row
from benchmark.report.statistics import ALPHA
from benchmark.report.summary import REFERENCE, Summary, reference_of
from benchmark.report.text import listed, number
from benchmark.report.wording import Formats, p_value
from benchmark.terms import ALL

NOTHING = "constant"
"""The control that sees no input: who is not better than it has learnt nothing from any."""

SURE = 0.95
"""Probability from which on a method is called practically equal to the reference."""


def sentences(summary: Summary, deployment: str) -> list[str]:
    """The answer of a deployment's table; for bounds there is none."""
    if deployment == ALL:
        return []
    rows = [row for row in summary.rows if row.deployment == deployment]
    found = [_of_nothing(summary, deployment, rows), _of_methods(summary, deployment, rows)]
    found.append(placebo_sentence(summary, deployment))
    return [sentence for sentence in found if sentence]


def all_sentences(summary: Summary) -> list[str]:
    """Those of all modalities, in their order."""
    return [text for d in summary.group.modalities for text in sentences(summary, d)]


def _of_methods(summary: Summary, deployment: str, rows: Sequence[Row]) -> str:
    family = [row for row in rows if row.p_holm is not None]
    if not family:
        return ""
    of_mark = {mark: [r.method for r in family if r.mark == mark] for mark in ("▲", "n.s.", "▼")}
    better, open_, worse = of_mark.values()
    text = f"On {deployment}, "
    if better:
        text += f"{listed(better)} {_are(better)} better than {REFERENCE}"
    else:
        text += f"no method is better than {REFERENCE}"
    decimals = Formats(summary).decimals[summary.group.primary.name]
    sizes = [row.detectable for row in family if row.method in open_]
    text += f" ({len(family)} compared"
    if sizes:
        low, high = number(min(sizes), decimals), number(max(sizes), decimals)
        text += f"; a gain of {low}" + f" to {high}, by method," * (low != high)
        text += " would have had a mark in 80 % of cases"
    text += ")"
    if worse:
        text += f"; {listed(worse)} {_are(worse)} worse"
    equal = [r.method for r in family if r.practical and r.practical.equal >= SURE]
    if equal:
        text += f"; {listed(equal)} {_are(equal)} practically equal to it"
    best = [row.method for row in family if row.best]
    if best:
        text += f"; the best set holds {listed(best)}"
    return text + "."


def _of_nothing(summary: Summary, deployment: str, rows: Sequence[Row]) -> str:
    """Where the reference does not beat a constant."""
    group, reference = summary.group, reference_of(rows)
    nothing = next((row for row in rows if row.method == NOTHING and row.complete), None)
    if not (reference and nothing):
        return ""
    own, other = (row.metric(group.primary.name).mean for row in (reference, nothing))
    decimals = Formats(summary).decimals[group.primary.name]
    scores = f"{group.primary.label} {number(own, decimals)} against {number(other, decimals)}"
    if group.primary.gain(own, other) <= 0:
        return (
            f"On {deployment}, {REFERENCE} does not beat {NOTHING} ({scores}): gains over it mean "
            "nothing."
        )
    comparison = summary.evidence.compare(reference, nothing) if summary.evidence else None
    if comparison is None or comparison.p < ALPHA:
        return ""
    return (
        f"On {deployment}, {REFERENCE} is not shown to beat {NOTHING} ({scores}, p "
        f"{p_value(comparison.p, '= ')}): gains over it may mean nothing."
    )


def best_gain(summary: Summary, deployment: str) -> str:
    """Of the methods at a deployment, the one with the largest gain, in one line; "" without any.

    The largest of several is flattered by chance: its mark is corrected for their number, its
    interval is not, and the line says of how many it is the largest.
    """
    rows = [row for row in summary.at(deployment) if row.entry["role"] == "method"]
    compared = [row for row in rows if row.comparison]
    if not compared:
        return ""
    best = max(compared, key=lambda row: row.comparison.mean)
    formats, metric = Formats(summary), summary.group.primary
    interval, *_ = formats.evidence(metric, best)
    several = len(compared) > 1
    what = (
        f"largest gain over {REFERENCE} of {len(compared)} methods"
        if several
        else f"gain over {REFERENCE}"
    )
    gain = f"{best.method} {formats.gain(metric, best)} (95 % interval {interval})"
    return f"{deployment}: {what}: {gain}"


def _are(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"
