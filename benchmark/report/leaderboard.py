"""The leaderboard: one short Markdown page, the same bytes wherever it is made."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.metrics import shown
from benchmark.report.across import MANY, Across
from benchmark.report.colearning import gap_sentences, gaps
from benchmark.report.frame import Results
from benchmark.report.rows import Row
from benchmark.report.shares import LabelCurve, label_notes, label_table
from benchmark.report.summary import REFERENCE, Summary, in_order
from benchmark.report.tables import ABSENT_HEADER, absent, exclusion_counts
from benchmark.report.text import MISSING, markdown, markdown_table, number, shortened
from benchmark.report.tuning import leaderboard_lines
from benchmark.report.variance import seeds_line
from benchmark.report.verdict import all_sentences
from benchmark.report.wording import (
    NOT_PREDICTED,
    Formats,
    coverage,
    facts,
    heading,
    named,
    no_test,
    notes,
    p_value,
    rope_note,
    title,
)
from benchmark.terms import ALL

LISTED = 30
"""Rows of exclusions on the page; a file has all of them."""

HOW_TO_READ = """\
## How to read this

Every method is trained with all modalities of a dataset and then predicts from **one** of them:
the column says which. `single` never saw another modality; it is the reference, chosen before any
number was known. `single_again` (another seed), `single_wide` (as many parameters) and `forest`
are yardsticks: what they gain needs no other sensor. Bounds see all modalities also when they
predict: they say what is lost, and do not compete. Real and generated data, protocols and sets of
modalities never share a table.
"""

EVIDENCE = """
▲ and ▼: better or worse than `single`, by the test that is named below each table, corrected for
the number of methods (Holm), at the 5 % level. n.s.: not significant, which is no proof of
equality. Controls and ablations are not in the family and have no mark. Detectable: the gain that
gets a mark in 80 % of cases; a smaller one may be there and stay unseen. Bold: methods that
cannot be told from the best one (bootstrap, 95 %). Intervals, p-values, effect sizes, the
probabilities of better, practically equal and worse, the parts of fold and seed in the variance
and what it costs to train are in the tables.
"""


def leaderboard(
    sections: Sequence[str],
    comparisons: Sequence[Across],
    curves: Sequence[LabelCurve],
    results: Results,
    *,
    tested: bool,
) -> str:
    """The page: a `section` for each group, and whether any of them has tests."""
    lines = ["# Leaderboard", ""]
    if not sections:
        lines += ["No run has scores yet.", ""]
    lines += sections
    for curve in curves:
        lines += _labels(curve)
    for comparison in comparisons:
        lines += _across(comparison)
    lines += [*_exclusions(results), HOW_TO_READ]
    return "\n".join(lines) + EVIDENCE * tested


def section(summary: Summary) -> str:
    """What the page shows of one group."""
    lines = [f"## {markdown(title(summary.group))}", ""]
    lines += [f"- {name}: {markdown(text)}" for name, text in facts(summary.group)]
    answers = [f"{markdown(sentence)}  " for sentence in all_sentences(summary)]
    lines += ["", *answers, *[""] * bool(answers)]
    lines += [markdown_table(*_table(summary), text_columns=1), ""]
    lines += _bounds(summary)
    lines += [f"{markdown(note)}  " for note in footnotes(summary)]
    lines += leaderboard_lines(summary)
    return "\n".join([*lines, *_absent(summary), ""])


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
    for method in in_order(summary):
        own = [places.get((method, deployment)) for deployment in deployments]
        if not any(own):
            continue  # a bound
        cells = [named(group, method)]
        for row in own:
            cells += formats.main(group, row) if row else [MISSING] * len(metrics)
            cells += [formats.gain(group.primary, row) if row else MISSING] * gains
        rows.append([*cells, _folds(summary, own)])
    return [*header, f"{group.unit}s"], rows


def _folds(summary: Summary, rows: Sequence[Row | None]) -> str:
    """On how many folds, by modality where that differs; of which modality there is nothing."""
    found = {row.deployment: coverage(summary, row) for row in rows if row}
    counts = dict.fromkeys(text for text in found.values() if text != NOT_PREDICTED)
    without = ", ".join(d for d, text in found.items() if text == NOT_PREDICTED)
    return ", ".join(counts) + f"; {without} {NOT_PREDICTED}" * bool(without)


def _bounds(summary: Summary) -> list[str]:
    """The bounds in a line of their own, apart from the table."""
    group, formats = summary.group, Formats(summary)
    parts = []
    for row in summary.at(ALL):
        texts = zip(shown(group.kind), formats.main(group, row), strict=True)
        values = ", ".join(f"{metric.label} {text}" for metric, text in texts)
        parts.append(f"{markdown(row.method)} {values}")
    if not parts:
        return []
    lines = [f"Bounds, all modalities at inference, not ranked: {'; '.join(parts)}.  "]
    sentences = gap_sentences(summary, gaps(summary))
    if sentences:
        lines += [f"Multi-modal gap (95 % interval): {markdown('; '.join(sentences))}.  "]
    return lines


def footnotes(summary: Summary) -> list[str]:
    """What stands below a group's table, here and on the page."""
    return [*notes(summary), *_test(summary)]


def _test(summary: Summary) -> list[str]:
    """On what the marks of a table rest."""
    lines = no_test(summary)
    if not summary.tested:
        return lines
    name = summary.group.primary.name
    decimals = Formats(summary).decimals[name]
    parts = []
    for modality in summary.group.modalities:
        tested = [r for r in summary.rows if r.deployment == modality and r.p_holm is not None]
        if tested:
            found = [row.detectable for row in tested]
            low, high = number(min(found), decimals), number(max(found), decimals)
            parts.append(f"{modality} {low}" + f" to {high}" * (low != high))
    if parts:
        test = summary.evidence.test
        lines.append(f"Test: {test}. Detectable gain: {', '.join(parts)}.")
        lines += [rope_note(summary), seeds_line(summary)]
    return lines


def _labels(curve: LabelCurve) -> list[str]:
    """Scores against the share of the labels."""
    lines = [f"## {markdown(curve.title)}", ""]
    lines += [markdown_table(*label_table(curve), text_columns=1), ""]
    return [*lines, *(f"{markdown(note)}  " for note in label_notes(curve)), ""]


def _across(comparison: Across) -> list[str]:
    """Average ranks and mean gains over datasets, or why there are none."""
    lines = [f"## {markdown(across_title(comparison))}", ""]
    if comparison.ranks is None:
        return [*lines, markdown(why_no_ranks(comparison)), ""]
    block, *warning = across_blocks(comparison)
    lines += [markdown(block), *(f"**{text}**" for text in warning), ""]
    lines += [markdown_table(*across_table(comparison), text_columns=1), ""]
    test, gain = across_notes(comparison)
    return [*lines, f"{test}  ", gain, ""]


def across_title(comparison: Across) -> str:
    what = "real data" if comparison.source == "real" else f"{comparison.source.upper()} data"
    return f"Across datasets: {what}, protocol {comparison.protocol}"


def why_no_ranks(comparison: Across) -> str:
    return f"No comparison across datasets: {comparison.why_not}."


def across_blocks(comparison: Across) -> list[str]:
    """What is averaged over, and a warning where that is too few."""
    ranks = comparison.ranks
    lines = [
        f"N = {ranks.blocks} blocks. A block is a dataset, its score the mean of the primary "
        f"metric over its modalities: {', '.join(comparison.datasets)}. Only methods with all "
        "runs on all datasets."
    ]
    if ranks.blocks < MANY:
        lines.append(f"Warning: N < {MANY}; with so few datasets ranks prove little.")
    return lines


def across_table(comparison: Across) -> tuple[tuple[str, ...], list[list[str]]]:
    """Header and rows, the best average rank first."""
    ranks, rows = comparison.ranks, []
    for i in sorted(range(len(comparison.methods)), key=lambda i: (ranks.average[i], i)):
        method = comparison.methods[i]
        gain = comparison.gains.get(method)
        cells = [number(value, 1, signed=True) for value in gain] if gain else [MISSING] * 3
        interval = f"{cells[1]} to {cells[2]}" if gain else MISSING
        rows.append([method, number(float(ranks.average[i]), 2), cells[0], interval])
    return ("method", "average rank", "mean gain (%)", "95 % interval"), rows


def across_notes(comparison: Across) -> list[str]:
    """The tests behind the ranks, and what the gains are."""
    ranks = comparison.ranks
    return [
        f"Friedman's test: χ² = {ranks.chi2:.2f}, F = {ranks.f:.2f}, p {p_value(ranks.p, '= ')}. "
        f"Nemenyi: ranks that differ by less than {ranks.critical_difference:.2f} are not "
        "significantly different at the 5 % level.",
        f"Mean gain over {REFERENCE}: in per cent of its score, mean over datasets; interval by a "
        "bootstrap over datasets and folds, made wider because there are few datasets.",
    ]


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
