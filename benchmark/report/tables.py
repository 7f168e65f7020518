"""One table for each dataset, source, protocol and deployed modality, in three formats."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.metrics import POOLED_R2, SCALARS, Metric, shown
from benchmark.report.frame import ALL, STATUSES, Group, Results
from benchmark.report.summary import REFERENCE, Row, Spread, Summary
from benchmark.report.text import (
    MISSING,
    Strong,
    decimals_for,
    latex,
    latex_table,
    markdown,
    markdown_table,
    number,
    shortened,
)

if TYPE_CHECKING:
    import pandas as pd

UNTUNED = "Published defaults, untuned: no method was tuned with an equal budget."


def slug(group: Group) -> str:
    """Name of a group's files."""
    return file_name(group.dataset, group.source, group.protocol["name"], *group.modalities)


def file_name(*parts: str) -> str:
    """Parts that make a file name; what cannot stand in one is told apart by a digest."""
    name = "-".join(re.sub(r"[^A-Za-z0-9_+.]", "_", part) for part in parts).lstrip(".")[:120]
    if any(part not in name.split("-") for part in parts):
        name += "-" + hashlib.sha256(repr(parts).encode()).hexdigest()[:8]
    return name


def title(group: Group) -> str:
    """The group in one line."""
    modalities = " + ".join(group.modalities)
    data = "real data" if group.source == "real" else f"{group.source.upper()} data"
    smoke = " (smoke run)" if group.smoke else ""
    return f"{group.dataset}, {data}, trained on {modalities}, protocol {_name(group)}{smoke}"


def _name(group: Group) -> str:
    return group.protocol["name"]


def facts(group: Group) -> list[tuple[str, str]]:
    """What has to be known to read a group's numbers, for above its tables."""
    task = group.data["task"]
    what = f"{group.kind}, {len(task.get('class_names') or ()) or task.get('outputs')} classes"
    present = group.scores.loc[group.scores["metric"] == "classes_present", "value"]
    if group.kind == "regression":
        what = f"regression of a value in {task.get('unit') or 'its own unit'}"
    elif len(present):
        what += f" ({_range(present.astype(int))} of them present in a test part)"
    data = "real" if group.source == "real" else f"{group.source.upper()}: simulated stand-in files"
    return [
        ("Data", f"{data}; {_samples(group)}; fingerprint {group.spec.fingerprint[:12]}"),
        ("Task", what),
        ("Modalities", ", ".join(group.modalities)),
        ("Protocol", "; ".join([_name(group), *_flags(group), _folds(group), _sizes(group)])),
        ("Error bars", error_bars(group)),
    ]


def error_bars(group: Group) -> str:
    """What the ± is over."""
    folds, seeds = (len({pair[i] for pair in group.planned}) for i in (0, 1))
    if group.unit == "seed":
        return f"± is the standard deviation over {seeds} seeds on one split"
    if folds == 1:
        return "one fold and one seed: no spread is known"
    averaged = f", {seeds} seeds averaged within each" if seeds > 1 else ""
    return f"± is the standard deviation over {folds} folds{averaged}"


def _samples(group: Group) -> str:
    data = group.data
    text = f"{data.get('samples', 'unknown number of')} samples"
    if data.get("groups"):
        kind = f" ({data['group_kind']})" if data.get("group_kind") else ""
        text += f" in {data['groups']} groups{kind}"
    return text


def _flags(group: Group) -> list[str]:
    """What a reader has to hold against a protocol, from the values that were in force."""
    values, flags = group.protocol, []
    if group.smoke:
        flags.append("SMOKE RUN: shows that everything works, is no evidence")
    if values.get("split") != "grouped" and group.data.get("groups"):
        flags.append("FLAG: groups stand on both sides of a split")
    if values.get("validation") == "test":
        flags.append("FLAG: validation is the test fold")
    if values.get("statistics") == "all":
        flags.append("FLAG: statistics over all samples, test included")
    return flags


def _folds(group: Group) -> str:
    folds = len({fold for fold, _ in group.planned})
    if group.unit == "seed":
        return "one split"
    return (
        f"{folds} of {group.protocol.get('folds', folds)} {group.protocol.get('split', '')} folds"
    )


def _sizes(group: Group) -> str:
    parts = ((part, [r.data.get(part) for r in group.records]) for part in ("train", "val", "test"))
    return ", ".join(f"{_range(sizes)} {part}" for part, sizes in parts if None not in sizes)


def _range(values: Iterable[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


class Formats:
    """Fixed decimals for each metric of a group."""

    def __init__(self, summary: Summary) -> None:
        self.decimals = {}
        for metric in columns(summary.group):
            means = [row.metric(metric.name).mean for row in summary.rows]
            self.decimals[metric.name] = decimals_for(means) if metric.unit == "target" else 3

    def spread(self, metric: Metric, spread: Spread, n: int) -> str:
        """mean ± sd, and the number of values if it is not ``n``."""
        decimals = self.decimals[metric.name]
        if metric.name in COUNTS and spread.n and float(spread.mean).is_integer():
            decimals = 0
        text = number(spread.mean, decimals)
        if spread.sd is not None:
            text += f" ± {number(spread.sd, decimals)}"
        return text if spread.n in (n, 0) else f"{text} (n = {spread.n})"

    def main(self, group: Group, row: Row) -> list[str]:
        """The metrics that every table shows; the primary one is bold if it is in the best set."""
        n = row.metric(group.primary.name).n
        cells = [self.spread(m, row.metric(m.name), n) for m in shown(group.kind)]
        return [Strong(cells[0]) if row.best else cells[0], *cells[1:]]

    def gain(self, metric: Metric, row: Row) -> str:
        """The gain with its mark."""
        mean = row.gain.mean if row.gain else None
        text = number(mean, self.decimals[metric.name], signed=True)
        return f"{text} {row.mark}".rstrip()

    def evidence(self, metric: Metric, row: Row) -> list[str]:
        """What `EVIDENCE` names, of one row."""
        c, decimals = row.comparison, self.decimals[metric.name]
        if c is None:
            return [MISSING] * len(EVIDENCE)
        return [
            f"{number(c.low, decimals, signed=True)} to {number(c.high, decimals, signed=True)}",
            MISSING if row.p_holm is None else p_value(row.p_holm),
            number(c.effect, 2, signed=True),
            f"{row.worse} of {c.n}",
            number(c.detectable, decimals),
        ]


EVIDENCE = ("95 % interval", "p (Holm)", "d", "worse in", "detectable")


def p_value(p: float, equals: str = "") -> str:
    """ "< 0.001", or three decimals after ``equals``."""
    return "< 0.001" if p < 0.001 else f"{equals}{p:.3f}"


COUNTS = ("samples", "classes_present")


def columns(group: Group) -> tuple[Metric, ...]:
    """All metrics that are one number, those over all folds at once included."""
    pooled = (POOLED_R2,) if group.kind == "regression" else ()
    return SCALARS[group.kind] + pooled


def heading(metric: Metric, group: Group) -> str:
    """A metric's label with its unit and an arrow for what is better."""
    unit = group.data["task"].get("unit") if metric.unit == "target" else ""
    arrow = {"higher": " ↑", "lower": " ↓", None: ""}[metric.direction]
    return f"{metric.label}{f' ({unit})' if unit else ''}{arrow}"


def coverage(summary: Summary, row: Row) -> str:
    """Number of folds, or seeds; "2 of 3" where some are missing."""
    group, n = summary.group, row.metric(summary.group.primary.name).n
    if n < summary.units:
        return f"{n} of {summary.units}"
    if not summary.complete(row):
        return f"{n} ({row.runs} of {len(group.planned)} runs)"
    return str(n)


def main_table(summary: Summary, deployment: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a deployment: the shown metrics, the gain and its evidence, coverage."""
    group, formats = summary.group, Formats(summary)
    with_gain = summary.has_reference and deployment != ALL
    with_evidence = with_gain and summary.tested
    header = ["method", "family", "role", *(heading(m, group) for m in shown(group.kind))]
    header += [f"gain over {REFERENCE}"] * with_gain
    header += [*EVIDENCE] * with_evidence + [f"{group.unit}s"]
    rows = []
    for row in summary.at(deployment):
        cells = [row.method, row.entry["family"], row.entry["role"], *formats.main(group, row)]
        cells += [formats.gain(group.primary, row)] * with_gain
        cells += formats.evidence(group.primary, row) * with_evidence
        rows.append([*cells, coverage(summary, row)])
    return header, rows


def all_metrics(summary: Summary, deployment: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a deployment: the means of all scalar metrics."""
    group, formats = summary.group, Formats(summary)
    metrics = columns(group)
    rows = []
    for row in summary.at(deployment):
        means = (Spread({0: s.mean} if s.n else {}) for s in (row.metric(m.name) for m in metrics))
        cells = [formats.spread(m, s, 1) for m, s in zip(metrics, means, strict=True)]
        rows.append([row.method, *cells])
    return ["method", *(heading(m, group) for m in metrics)], rows


def costs(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Header and rows of what a method costs to train and to use."""
    group = summary.group
    by_method: dict[str, list[Mapping[str, Any]]] = {}
    for record in group.runs:
        by_method.setdefault(record.spec.method, []).append(record.cost)
    header = ["method", "seconds", "steps", "trained parameters"]
    header += [f"{d}: {what}" for d in group.deployments for what in ("parameters", "MFLOP")]
    rows = []
    for method in group.entries:
        if method in by_method and method not in group.hidden:
            own = by_method[method]
            cells = [number(_mean(own, "seconds"), 1), number(_mean(own, "steps"), 0)]
            cells.append(number(_mean(own, "training_parameters"), 0))
            for d in group.deployments:
                cells.append(number(_mean(own, "inference_parameters", d), 0))
                flops = _mean(own, "inference_flops", d)
                cells.append(number(flops / 1e6 if flops is not None else None, 3))
            rows.append([method, *cells])
    return header, rows


def _mean(costs: Sequence[Mapping[str, Any]], *keys: str) -> float | None:
    """Mean of a cost over the runs that state it."""
    found = []
    for value in costs:
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, int | float) and math.isfinite(value):
            found.append(value)
    return math.fsum(found) / len(found) if found else None


def deployment_title(deployment: str) -> str:
    if deployment == ALL:
        return "Bounds: all modalities at inference, not to be ranked with the others"
    return f"Inference on {deployment} alone"


def notes(summary: Summary) -> list[str]:
    """Footnotes of every table of a group."""
    group = summary.group
    lines = [UNTUNED]
    if summary.has_reference:
        lines.append(
            f"Gain over {REFERENCE}: mean over {group.unit}s of the paired difference in "
            f"{group.primary.label}; positive is better."
        )
    if any(0 < row.runs < len(group.planned) for row in summary.rows):
        lines.append(f"A row with missing {group.unit}s is not comparable with the others.")
    return lines


def no_test(summary: Summary) -> list[str]:
    """Why a group that should have a test has none."""
    if summary.group.smoke or summary.tested:
        return []
    if summary.group.unit == "seed":
        return ["No test: seeds repeat the training on one split, not the sample."]
    if summary.units < 2:
        return ["No test: it takes at least two folds."]
    return [f"No test: no other method and {REFERENCE} have all runs."]


def evidence_notes(summary: Summary) -> list[str]:
    """How to read the evidence in a group's tables, each of which may stand alone."""
    group, lines = summary.group, no_test(summary)
    if summary.tested:
        families = {d: [r for r in summary.rows if r.deployment == d] for d in group.modalities}
        sizes = [sum(r.p_holm is not None for r in rows) for rows in families.values()]
        lines.append(
            f"▲ better, ▼ worse than {REFERENCE}, n.s. not significant (no proof of equality): "
            f"paired t-test over {summary.units} folds, corrected for overlapping training sets "
            f"(Nadeau and Bengio 2003; test/training size {summary.ratio:.3f}), Holm over the "
            f"{_range(sizes)} methods of a modality, 5 % level. Controls and ablations are in no "
            "family and have no mark. Interval: not adjusted. d: mean over sd of the paired "
            "differences. Detectable: the gain that this test finds in 80 % of cases, not adjusted."
        )
    if any(row.best for row in summary.rows):
        lines.append(
            "Bold: methods not distinguishable from the best one (bootstrap over folds, 95 %, "
            "corrected likewise)."
        )
    return lines


def absent(group: Group) -> list[list[str]]:
    """Failed and not-applicable runs: method, status, where, reason; equal reasons in one row."""
    merged: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for record in group.absent:
        if record.spec.method not in group.hidden:
            place = record.spec.method, record.status, shortened(record.reason or "")
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
        lines += [markdown_table(*main_table(summary, deployment), text_columns=3)]
    footnotes = [*notes(summary), *evidence_notes(summary)]
    lines += ["", *(f"{markdown(note)}  " for note in footnotes)]
    missing = absent(group)
    if missing:
        lines += ["", "## Failed and not applicable", ""]
        lines += [markdown_table(ABSENT_HEADER, missing, text_columns=4)]
    lines += ["", "## All metrics, means", ""]
    for deployment in deployments:
        lines += [f"### {markdown(deployment_title(deployment))}", ""]
        lines += [markdown_table(*all_metrics(summary, deployment), text_columns=1), ""]
    lines += [f"- {markdown(m.label)}: {markdown(m.note)}" for m in columns(group) if m.note]
    lines += ["", "## Cost of a run", ""]
    lines += [markdown_table(*costs(summary), text_columns=1), ""]
    lines += ["Means over runs, trained teachers and other artefacts included."]
    return "\n".join(lines) + "\n"


def as_latex(summary: Summary) -> str:
    """One booktabs table for each deployment of a group."""
    group = summary.group
    head = "% needs \\usepackage{booktabs,textcomp,amssymb} and T1 fonts"
    tables = [head, *(f"% {name}: {latex(text)}" for name, text in facts(group))]
    for deployment in group.deployments:
        header, rows = main_table(summary, deployment)
        if not rows:
            continue
        keep = [i for i, name in enumerate(header) if name not in ("family", "role")]
        cut = lambda cells, keep=keep: [cells[i] for i in keep]  # noqa: E731
        caption = f"{title(group)}. {deployment_title(deployment)}. {error_bars(group)}. "
        tables += [
            "",
            latex_table(
                cut(header),
                [cut(row) for row in rows],
                text_columns=1,
                caption=caption + " ".join([*notes(summary), *evidence_notes(summary)]),
                label=f"{slug(group)}-{deployment}",
            ),
        ]
        missing = [row for row in absent(group) if row[0] in {r[0] for r in rows}]
        tables += [f"% {latex(': '.join(row))}" for row in missing]
    return "\n".join(tables) + "\n"


def as_frame(summary: Summary) -> pd.DataFrame:
    """One row for each method, deployment and scalar metric of a group; for CSV."""
    import pandas as pd

    group = summary.group
    rows = []
    for row in summary.rows:
        if row.method in group.hidden:
            continue
        for metric in columns(group):
            spread = row.metric(metric.name)
            cells: dict[str, Any] = {
                "dataset": group.dataset,
                "source": group.source,
                "modalities": "+".join(group.modalities),
                "protocol": group.protocol["name"],
                "fingerprint": group.spec.fingerprint,
                "deployment": row.deployment,
                "method": row.method,
                "family": row.entry["family"],
                "role": row.entry["role"],
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
                cells["worse_in"] = row.worse if row.gain else None
                comparison = row.comparison
                for name in ("low", "high", "p", "effect", "detectable"):
                    cells[name] = getattr(comparison, name) if comparison else None
                cells["p_holm"] = row.p_holm
                cells["best_set"] = row.best
            rows.append(cells)
    return pd.DataFrame(rows)


def exclusion_counts(results: Results) -> str:
    """What is not shown in words: "3 failed, 1 unreadable", or "none"."""
    counts = Counter(exclusion.status for exclusion in results.exclusions)
    parts = [f"{counts[status]} {status}" for status in STATUSES if counts[status]]
    not_asked_for = results.files - results.shown - len(results.exclusions)
    return ", ".join(parts + [f"{not_asked_for} not asked for"] * bool(not_asked_for)) or "none"
