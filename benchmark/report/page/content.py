"""What the page shows, as plain values for JSON.

Every number comes from a summary and every text from the wording of the tables; the page computes
nothing. Scores of single runs are kept column by column, to six significant digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.metrics import SCALARS
from benchmark.report.across import Across
from benchmark.report.colearning import gap_sentences, gaps
from benchmark.report.frame import STATUSES, Group, Results
from benchmark.report.leaderboard import (
    EVIDENCE,
    HOW_TO_READ,
    across_blocks,
    across_notes,
    across_table,
    across_title,
    footnotes,
    why_no_ranks,
)
from benchmark.report.placebo import NOTE as PLACEBO_NOTE
from benchmark.report.placebo import Placebo, cells, placebos
from benchmark.report.rows import Row
from benchmark.report.shares import LabelCurve, label_notes, label_table
from benchmark.report.summary import REFERENCE, Summary
from benchmark.report.tables import exclusion_counts
from benchmark.report.text import MISSING, number
from benchmark.report.tuning import tuning_note_lines
from benchmark.report.variance import seeds_needed
from benchmark.report.verdict import sentences
from benchmark.report.wording import (
    OTHER_CODE,
    Formats,
    columns,
    coverage,
    deployment_title,
    error_bars,
    facts,
    flags,
    heading,
    p_value,
    title,
    worse_in,
    worse_note,
)
from benchmark.terms import ALL

DIGITS = 6
BOUNDS = "all modalities (bounds)"


def index(
    choices: Sequence[Mapping[str, Any]],
    comparisons: Sequence[Across],
    curves: Sequence[LabelCurve],
    results: Results,
    *,
    tested: bool,
) -> dict[str, Any]:
    """What the page has to know before a table is chosen; tested: whether any has tests."""
    return {
        "counts": f"{results.files} records; not shown: {exclusion_counts(results)}",
        "groups": choices,
        "across": [
            *(shown for curve in curves for shown in _labels(curve)),
            *map(_across, comparisons),
        ],
        "how": (HOW_TO_READ + EVIDENCE * tested).split("\n\n")[1:],
    }


def choices_of(group: Group) -> dict[str, Any]:
    """What a reader chooses a table by. The first metric is the primary one."""
    return {
        "dataset": group.dataset,
        "source": group.source,
        "protocol": group.protocol_title,
        "trained": " + ".join(group.modalities),
        "deployments": [
            {"name": d, "label": BOUNDS if d == ALL else f"{d} alone", "bounds": d == ALL}
            for d in group.deployments
        ],
        "metrics": [
            {
                "name": metric.name,
                "label": metric.label,
                "heading": heading(metric, group),
                "direction": metric.direction,
                "note": metric.note,
            }
            for metric in columns(group)
        ],
    }


def group_content(summary: Summary) -> dict[str, Any]:
    """All that is shown of one group: rows by deployment, and the runs behind them."""
    group, formats = summary.group, Formats(summary)
    methods = [method for method in group.entries if method not in group.hidden]
    places = {method: place for place, method in enumerate(methods)}
    twins = {p.own.place: p for m in group.modalities for p in placebos(summary, m)}
    gap = gap_sentences(summary, gaps(summary))
    return {
        "title": title(group),
        "facts": facts(group),
        "flags": flags(group),
        "unit": group.unit,
        "errorBars": error_bars(group),
        "reference": REFERENCE if summary.has_reference else "",
        "primary": group.primary.label,
        "test": summary.evidence.test if summary.tested else "",
        "whyNot": summary.why_not,
        "notes": [
            *footnotes(summary),
            *worse_note(summary),
            *tuning_note_lines(summary),
            *_gap_note(gap),
            *[PLACEBO_NOTE] * bool(twins),
        ],
        "methods": [
            {
                "name": method,
                "mark": OTHER_CODE if method in group.other_code else "",
                **{key: group.entries[method][key] for key in SHOWN_OF_ENTRY},
            }
            for method in methods
        ],
        "rows": {
            d: {
                "title": deployment_title(d),
                "answer": sentences(summary, d),
                "rows": [
                    _row(summary, formats, row, places[row.method], twins.get(row.place))
                    for row in summary.at(d)
                ],
            }
            for d in group.deployments
        },
        **_runs(group, places),
    }


SHOWN_OF_ENTRY = ("family", "role", "reference")


def _gap_note(gap: Sequence[str]) -> list[str]:
    return [f"Multi-modal gap (95 % interval): {'; '.join(gap)}."] if gap else []


def _row(
    summary: Summary, formats: Formats, row: Row, place: int, twin: Placebo | None
) -> dict[str, Any]:
    """A row as the tables word it, with the numbers that it is sorted and drawn by."""
    group, metrics = summary.group, columns(summary.group)
    n = row.metric(group.primary.name).n
    shown: dict[str, Any] = {
        "method": place,
        "texts": [formats.cell(m, row) for m in metrics],
        "means": [_rounded(row.metric(m.name).mean) for m in metrics],
        "coverage": coverage(summary, row),
        "n": n,
    }
    if row.best:
        shown["best"] = True
    if twin is not None:
        gain, difference, interval = cells(summary, formats, twin)
        shown["placebo"] = {
            "gain": gain,
            "difference": difference,
            "interval": interval,
            "runs": [
                record.id
                for record in group.placebos
                if record.spec.row == row.method and row.deployment in record.metrics
            ],
        }
    if row.gain is not None and row.gain.n:
        shown["gain"] = _gain(summary, formats, row)
    return shown


def _gain(summary: Summary, formats: Formats, row: Row) -> dict[str, Any]:
    """The gain over the reference in the primary metric, and its evidence."""
    metric = summary.group.primary
    decimals = formats.decimals[metric.name]
    gain = {
        "text": number(row.gain.mean, decimals, signed=True) + formats.few(row.gain.n),
        "sd": number(row.gain.sd, decimals),
        "mean": _rounded(row.gain.mean),
        "mark": row.mark,
        "worse": row.worse,
        "worseIn": worse_in(row),
        "by": {unit: _rounded(value) for unit, value in row.gain.values.items()},
        "reference": {  # what a value was compared with: the mean over the reference's seeds
            unit: _rounded(value)
            for unit, value in _reference(summary, row).items()
            if unit in row.gain.values
        },
    }
    if row.comparison:
        interval, p_holm, effect, detectable, practical = formats.evidence(metric, row)
        gain |= {
            "interval": interval,
            "low": _rounded(row.comparison.low),
            "high": _rounded(row.comparison.high),
            "p": p_value(row.comparison.p),
            "pHolm": p_holm,
            "effect": effect,
            "detectable": detectable,
            "practical": practical,
            "seedsNeeded": seeds_needed(row).replace(MISSING, "not known with one seed"),
        }
    return gain


def _reference(summary: Summary, row: Row) -> Mapping[int, float]:
    """The reference's scores by fold, or seed, at the deployment of a row."""
    name = summary.group.primary.name
    rows = (other for other in summary.rows if other.deployment == row.deployment)
    return next(other.metric(name).values for other in rows if other.method == REFERENCE)


def _runs(group: Group, places: Mapping[str, int]) -> dict[str, Any]:
    """Ids, folds and seeds of the shown runs, and their scores: deployment → metric → by run."""
    shown = [record for record in group.runs if record.spec.row in places]
    names = [metric.name for metric in SCALARS[group.kind]]
    values: dict[str, dict[str, list[float | None]]] = {}
    for place, record in enumerate(shown):
        for deployment, found in record.metrics.items():
            if deployment not in values:
                values[deployment] = {name: [None] * len(shown) for name in names}
            for name, column in values[deployment].items():
                column[place] = _rounded(found.get(name))
    return {
        "runs": {
            "id": [record.id for record in shown],
            "method": [places[record.spec.row] for record in shown],
            "fold": [record.spec.fold for record in shown],
            "seed": [record.spec.seed for record in shown],
        },
        "values": values,
    }


def _rounded(value: float | None) -> float | None:
    """Six significant digits, as short as JSON has them; None for what is undefined."""
    if value is None or value != value:
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 10**DIGITS else short


def _across(comparison: Across) -> dict[str, Any]:
    """The comparison across datasets, of which the page shows those of the chosen source."""
    shown: dict[str, Any] = {
        "source": comparison.source,
        "protocol": comparison.protocol,
        "title": across_title(comparison),
    }
    if comparison.ranks is None:
        return {**shown, "before": [why_no_ranks(comparison)]}
    header, rows = across_table(comparison)
    before, after = across_blocks(comparison), across_notes(comparison)
    return {**shown, "before": before, "header": header, "rows": rows, "after": after}


def _labels(curve: LabelCurve) -> list[dict[str, Any]]:
    """The curve, in the same form, beside each group that it is made of."""
    header, rows = label_table(curve)
    texts = {"title": curve.title, "before": [], "after": label_notes(curve)}
    texts |= {"header": header, "rows": rows, "dataset": curve.dataset}
    return [{"source": curve.source, "protocol": p, **texts} for p in curve.protocols]


def exclusions(results: Results) -> list[dict[str, Any]]:
    """What is not shown: equal reasons of one method in one row, with every run or file of it."""
    merged: dict[tuple[int, str, str, str], list[list[str]]] = {}
    for e in results.exclusions:
        place = STATUSES.index(e.status), e.dataset, e.method, e.reason
        merged.setdefault(place, []).append([e.what, e.run])
    return [
        {
            "status": STATUSES[status],
            "dataset": dataset,
            "method": method,
            "reason": reason,
            "what": sorted(what),
        }
        for (status, dataset, method, reason), what in sorted(merged.items())
    ]
