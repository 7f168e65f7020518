"""One table for each dataset, source, protocol and deployed modality, in three formats."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from benchmark.metrics import shown
from benchmark.report.classes import per_class_lines
from benchmark.report.colearning import ablation_lines, gap_lines
from benchmark.report.frame import STATUSES, Group, Results
from benchmark.report.placebo import Placebo, placebo_lines, placebos
from benchmark.report.summary import REFERENCE, Summary
from benchmark.report.text import (
    csv_table,
    latex,
    latex_table,
    markdown,
    markdown_table,
    number,
    shortened,
)
from benchmark.report.tuning import CSV_COLUMNS, csv_cells, tuning_lines
from benchmark.report.variance import components_of, variance_lines
from benchmark.report.verdict import sentences
from benchmark.report.wording import (
    EVIDENCE,
    Formats,
    columns,
    coverage,
    deployment_title,
    error_bars,
    evidence_notes,
    facts,
    heading,
    named,
    notes,
    slug,
    title,
    worse_in,
)
from benchmark.terms import ALL


def main_table(summary: Summary, deployment: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a deployment: the shown metrics, the gain and its evidence, coverage."""
    group, formats = summary.group, Formats(summary)
    with_gain = summary.has_reference and deployment != ALL
    with_evidence = with_gain and summary.tested
    header = ["method", "family", "role", *(heading(m, group) for m in shown(group.kind))]
    header += [f"gain over {REFERENCE}", "worse in"] * with_gain
    header += [*EVIDENCE] * with_evidence + [f"{group.unit}s"]
    rows = []
    for row in summary.at(deployment):
        cells = [
            named(group, row.method),
            row.entry["family"],
            row.entry["role"],
            *formats.main(group, row),
        ]
        cells += [formats.gain(group.primary, row), worse_in(row)] * with_gain
        cells += formats.evidence(group.primary, row) * with_evidence
        rows.append([*cells, coverage(summary, row)])
    return header, rows


def all_metrics(summary: Summary, deployment: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a deployment: the means of all scalar metrics."""
    group, formats = summary.group, Formats(summary)
    metrics = columns(group)
    rows = []
    for row in summary.at(deployment):
        rows.append([row.method, *(formats.cell(m, row, sd=False) for m in metrics)])
    return ["method", *(heading(m, group) for m in metrics)], rows


def costs(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Header and rows of what a method costs to train and to use."""
    group = summary.group
    header = ["method", "seconds", "steps", "training GFLOP", "trained parameters"]
    header += [f"{d}: {what}" for d in group.deployments for what in ("parameters", "MFLOP")]
    header += ["runs"]
    with_runs = {record.spec.row for record in group.runs}
    rows = []
    for method in group.entries:
        if method in with_runs and method not in group.hidden:
            training = mean_cost(group, method, "training_flops", unit=1e9)
            cells = [
                number(mean_cost(group, method, "seconds"), 1),
                number(mean_cost(group, method, "steps"), 0),
                number(training, 1),
                number(mean_cost(group, method, "training_parameters"), 0),
            ]
            for d in group.deployments:
                cells.append(number(mean_cost(group, method, "inference_parameters", d), 0))
                flops = mean_cost(group, method, "inference_flops", d, unit=1e6)
                # A record that does not know the one has nothing but zeros for the other.
                cells.append(number(None if training is None and not flops else flops, 3))
            runs = len(group.runs_of(method))
            of = f" of {len(group.planned)}" if runs < len(group.planned) else ""
            rows.append([method, *cells, f"{runs}{of}"])
    return header, rows


def mean_cost(group: Group, method: str, *keys: str, unit: float = 1.0) -> float | None:
    """Mean of a cost over the runs of a method, None if one does not state it."""
    found = []
    for record in group.runs_of(method):
        value: Any = record.cost
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if not isinstance(value, int | float) or not math.isfinite(value):
            return None
        found.append(value / unit)
    return math.fsum(found) / len(found) if found else None


def absent(group: Group) -> list[list[str]]:
    """Failed and not-applicable runs: method, status, where, reason; equal reasons in one row."""
    merged: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    failed = (record for record in group.placebos if record.status != "done")
    for record in (*group.absent, *failed):
        if record.spec.row not in group.hidden:
            place = record.spec.title, record.status, shortened(record.reason or "")
            merged.setdefault(place, []).append((record.spec.fold, record.spec.seed))
    return [
        [method, status, f"{len(runs)} of {len(group.planned)}", reason]
        for (method, status, reason), runs in sorted(merged.items())
    ]


ABSENT_HEADER = ("method", "status", "runs", "reason")


def as_markdown(summary: Summary) -> str:
    """All tables of a group with the facts above them, as a Markdown document."""
    group = summary.group
    lines = [f"# {markdown(title(group))}", ""]
    lines += [f"- {name}: {markdown(text)}" for name, text in facts(group)]
    deployments = [d for d in group.deployments if summary.at(d)]
    for deployment in deployments:
        lines += ["", f"## {markdown(deployment_title(deployment))}", ""]
        for sentence in sentences(summary, deployment):
            lines += [markdown(sentence), ""]
        lines += [markdown_table(*main_table(summary, deployment), text_columns=3)]
    footnotes = [*notes(summary), *evidence_notes(summary)]
    lines += ["", *(f"{markdown(note)}  " for note in footnotes)]
    lines += tuning_lines(summary)
    lines += [*placebo_lines(summary), *gap_lines(summary), *ablation_lines(summary)]
    lines += variance_lines(summary)
    missing = absent(group)
    if missing:
        lines += ["", "## Failed and not applicable", ""]
        lines += [markdown_table(ABSENT_HEADER, missing, text_columns=4)]
    lines += ["", "## All metrics, means", ""]
    for deployment in deployments:
        lines += [f"### {markdown(deployment_title(deployment))}", ""]
        lines += [markdown_table(*all_metrics(summary, deployment), text_columns=1), ""]
    lines += [f"- {markdown(m.label)}: {markdown(m.note)}" for m in columns(group) if m.note]
    lines += ["", *per_class_lines(summary), "## Cost of a run", ""]
    lines += [markdown_table(*costs(summary), text_columns=1), ""]
    lines += [
        "Means over runs; seconds, steps and FLOPs of all stages, trained teachers and other "
        "artefacts included. FLOPs by torch's counter: a training step forward and backward, as "
        "the first of its stage, without validation; an inference of one sample. Of what learns "
        "without gradients, an estimate of its additions and comparisons; –: its records have none."
    ]
    return "\n".join(lines) + "\n"


def as_latex(summary: Summary) -> str:
    """One booktabs table for each deployment of a group."""
    group = summary.group
    head = "% needs \\usepackage{booktabs,graphicx,textcomp,amssymb} and T1 fonts"
    tables = [head, *(f"% {name}: {latex(text)}" for name, text in facts(group))]
    for deployment in group.deployments:
        header, rows = main_table(summary, deployment)
        if not rows:
            continue
        # A page is narrow: what the caption says of all rows has no column.
        spare = ["family", "role"]
        if len({row[-1] for row in rows}) == 1 and all(r.complete for r in summary.at(deployment)):
            spare.append(header[-1])
        keep = [i for i, name in enumerate(header) if name not in spare]
        header = [name.removesuffix(f" over {REFERENCE}") for name in header]
        cut = lambda cells, keep=keep: [cells[i] for i in keep]  # noqa: E731
        caption = f"{title(group)}. {deployment_title(deployment)}. {error_bars(group)}. "
        words = [*sentences(summary, deployment), *notes(summary), *evidence_notes(summary)]
        tables += [
            "",
            latex_table(
                cut(header),
                [cut(row) for row in rows],
                text_columns=1,
                caption=caption + " ".join(words),
                label=f"{slug(group)}-{deployment}",
            ),
        ]
        scored = {row.method for row in summary.at(deployment)}
        missing = [row for row in absent(group) if row[0] in scored]
        tables += [f"% {latex(': '.join(row))}" for row in missing]
    return "\n".join(tables) + "\n"


def as_csv(summary: Summary) -> str:
    """One row for each method, deployment and scalar metric of a group."""
    group = summary.group
    twins = {p.own.place: p for m in group.modalities for p in placebos(summary, m)}
    tuned = csv_cells(summary)
    rows: list[dict[str, Any]] = []
    for row in summary.rows:
        if row.method in group.hidden:
            continue
        for metric in columns(group):
            spread = row.metric(metric.name)
            cells: dict[str, Any] = {
                "dataset": group.dataset,
                "source": group.source,
                "modalities": "+".join(group.modalities),
                "protocol": group.protocol_name,
                "labels": group.spec.protocol.get("labels", 1.0),
                "precision": group.spec.arithmetic,
                "fingerprint": group.spec.fingerprint,
                "deployment": row.deployment,
                "method": row.method,
                "family": row.entry["family"],
                "role": row.entry["role"],
                "differs": group.by_hand.get(row.method, ""),
                "tuned": group.budget,
                "metric": metric.name,
                "mean": spread.mean,
                "sd": spread.sd,
                "sd_over": group.unit,
                "n": spread.n,
                "planned": summary.units,
            }
            if metric == group.primary:
                cells["gain"] = row.gain.mean if row.gain else None
                cells["gain_sd"] = row.gain.sd if row.gain else None
                cells["gain_n"] = row.gain.n if row.gain else None
                cells["worse_in"] = row.worse if row.gain else None
                comparison = row.comparison
                for name in ("low", "high", "p", "effect"):
                    cells[name] = getattr(comparison, name) if comparison else None
                cells["p_holm"] = row.p_holm
                cells["level"] = summary.levels.get(row.deployment) if comparison else None
                cells["detectable"] = row.detectable
                cells["rope"] = summary.ropes.get(row.deployment) if comparison else None
                for name in ("better", "equal", "worse"):
                    cells[f"p_{name}"] = getattr(row.practical, name) if row.practical else None
                shares = (found := components_of(row)) and found.shares
                for name, place in (("fold", 0), ("seed", 1), ("both", 2)):
                    cells[f"variance_{name}"] = shares[place] if shares else None
                cells["seeds"] = row.seeds
                cells["seeds_needed"] = row.seeds_needed
                cells["best_set"] = row.best
                cells |= _placebo_cells(twins.get(row.place))
                cells |= tuned.get((row.method, row.deployment), dict.fromkeys(CSV_COLUMNS))
            rows.append(cells)
    return csv_table(rows)


def _placebo_cells(found: Placebo | None) -> dict[str, float | None]:
    """Of one row: its placebo's gain, the difference to it, and the evidence of that."""
    comparison = found and found.comparison
    return {
        "placebo_gain": found.twin.gain.mean if found and found.twin.gain else None,
        "placebo_difference": found.difference.mean if found else None,
        **{
            f"placebo_{name}": getattr(comparison, name) if comparison else None
            for name in ("low", "high", "p")
        },
    }


def exclusion_counts(results: Results) -> str:
    """What is not shown in words: "3 failed, 1 unreadable", or "none"."""
    counts = Counter(exclusion.status for exclusion in results.exclusions)
    parts = [f"{counts[status]} {status}" for status in STATUSES if counts[status]]
    not_asked_for = results.files - results.shown - len(results.exclusions)
    return ", ".join(parts + [f"{not_asked_for} not asked for"] * bool(not_asked_for)) or "none"
