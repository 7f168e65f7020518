"""What tuning gained and cost: a tuned group beside the same methods by default, and its trials."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmark import records
from benchmark.errors import UserError
from benchmark.planning.scoring import validation_score
from benchmark.records import Record
from benchmark.report.frame import Group, setting_of
from benchmark.report.rows import Row, Spread
from benchmark.report.statistics import Comparison
from benchmark.report.summary import Summary, Trial, Tuning, in_order
from benchmark.report.text import MISSING, markdown, markdown_table, number
from benchmark.report.wording import Formats, heading
from benchmark.spec import settings_text
from benchmark.terms import ONCE


class Trials:
    """The records of trials below a results folder, read where a tuned group needs them."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.known: dict[str, tuple[str, list[Record]]] = {}

    def digest(self, dataset: str) -> str:
        """Of all that is there of a dataset."""
        return self._of(dataset)[0]

    def of(self, dataset: str) -> list[Record]:
        """Those of a dataset that can be read."""
        return self._of(dataset)[1]

    def _of(self, dataset: str) -> tuple[str, list[Record]]:
        if dataset not in self.known:
            self.known.clear()  # groups come one dataset after the other
            digest, found = hashlib.sha256(), []
            for path in records.files(self.results, records.TRIALS):
                if path.parts[-3] != dataset:
                    continue
                with suppress(UserError, OSError):
                    digest.update(path.read_bytes())
                    found.append(records.read(path))
            self.known[dataset] = digest.hexdigest(), [r for r in found if r.spec.trial]
        return self.known[dataset]


def with_tuning(summary: Summary, by_default: Summary | None, trials: Trials) -> Summary:
    """The summary of a tuned group with what there is to compare it with."""
    own = _trials(summary.group, trials.of(summary.group.dataset))
    return replace(summary, tuning=Tuning(by_default, own))


def _trials(group: Group, kept: Iterable[Record]) -> dict[str, list[Trial]]:
    """Method → its trials of the group's budget, in the order of their numbers."""
    setting, own = setting_of(group.spec), {}
    for record in group.runs:
        own.setdefault(record.spec.method, record.spec)
    found: dict[str, list[Trial]] = {}
    for record in kept:
        spec, run = record.spec, own.get(record.spec.method)
        if run is None or setting_of(spec) != setting or spec.version != run.version:
            continue
        if spec.tuned.get("space") != run.tuned["space"] or spec.trial > run.tuned["trials"]:
            continue
        if run.tuned["on"] == ONCE and spec.fold:
            continue
        score = _score(record)
        found.setdefault(spec.method, []).append(
            Trial(
                spec.fold,
                spec.trial,
                score,
                record.cost.get("seconds", 0.0),
            )
        )
    return {m: sorted(ts, key=lambda t: (t.number, t.fold)) for m, ts in found.items()}


def _score(record: Record) -> float | None:
    """The score of a trial, None if it has none or its record is not of this benchmark's making."""
    try:
        score = validation_score(record)
    except (KeyError, TypeError, AttributeError):
        return None
    return score.value if score and math.isfinite(score.value) else None


def own_scores(summary: Summary, method: str) -> dict[int, list[float | None]]:
    """Fold → the validation score of each trial, in the order of their numbers."""
    found: dict[int, list[float | None]] = {}
    for trial in sorted(summary.tuning.trials.get(method, []), key=lambda t: (t.fold, t.number)):
        found.setdefault(trial.fold, []).append(trial.score)
    return found


def best_so_far(summary: Summary, method: str) -> dict[int, list[float | None]]:
    """Fold → the best validation score after each trial; None before the first that has one."""
    metric, found = summary.group.primary, {}
    for fold, scores in own_scores(summary, method).items():
        best, curve = None, []
        for score in scores:
            if score is not None and (best is None or metric.gain(score, best) > 0):
                best = score
            curve.append(best)
        found[fold] = curve
    return found


@dataclass(frozen=True)
class Pair:
    """A method at one deployment, by default and tuned.

    difference: of the primary metric by fold, or seed, positive where tuned is better. comparison:
    of it with 0, where both have all runs and there is evidence.
    """

    default: Row
    tuned: Row
    difference: Spread
    comparison: Comparison | None


def pairs(summary: Summary) -> list[Pair]:
    """What is tuned and was also run by default, in the order of the rows."""
    other = summary.tuning.by_default if summary.tuning else None
    if other is None:
        return []
    metric, found = summary.group.primary, []
    defaults = {(row.method, row.deployment): row for row in other.rows}
    for row in summary.rows:
        default = defaults.get((row.method, row.deployment))
        if default is None or row.method in summary.group.hidden:
            continue
        a, b = (r.metric(metric.name).values for r in (row, default))
        whole = summary.evidence and row.complete and default.complete and a.keys() == b.keys()
        found.append(
            Pair(
                default,
                row,
                Spread({unit: metric.gain(a[unit], b[unit]) for unit in a if unit in b}),
                summary.evidence.compare(row, default, other.evidence) if whole else None,
            )
        )
    return found


def side_by_side(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the primary metric by default and tuned, and the difference."""
    group, formats = summary.group, Formats(summary)
    decimals = formats.decimals[group.primary.name]
    rows = []
    for pair in pairs(summary):
        c = pair.comparison
        ends = [number(end, decimals, signed=True) for end in ((c.low, c.high) if c else ())]
        rows.append(
            [
                pair.tuned.method,
                pair.tuned.deployment,
                formats.cell(group.primary, pair.default),
                formats.cell(group.primary, pair.tuned),
                number(pair.difference.mean, decimals, signed=True)
                + formats.few(pair.difference.n),
                " to ".join(ends) or MISSING,
            ]
        )
    what = heading(group.primary, group)
    header = ["method", "inference on", f"default: {what}", f"tuned: {what}"]
    return [*header, "difference", "95 % interval"], rows


PAIR_NOTE = (
    "Difference: positive where tuned is better, mean of the paired differences; intervals are not "
    "adjusted for their number. A gain over single in the tables above is over single tuned with "
    "as many trials."
)


def cost_of_trials(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Header and rows: what was tried of each method, what it took, and what it gained there."""
    group = summary.group
    decimals = Formats(summary).decimals[group.primary.name]
    rows = []
    for method in in_order(summary):
        trials = summary.tuning.trials.get(method)
        if not trials:
            continue
        curves = [c for c in best_so_far(summary, method).values() if c and c[0] is not None]
        ends = [_mean([curve[place] for curve in curves]) for place in (0, -1)]
        seconds = math.fsum(trial.seconds for trial in trials)
        runs = [r.cost.get("seconds") for r in group.runs_of(method)]
        own = math.fsum(runs) if runs and None not in runs else 0.0
        failed = sum(trial.score is None for trial in trials)
        rows.append(
            [
                method,
                str(len(trials)),
                str(failed),
                number(seconds, 1),
                number(seconds / own, 1) if own else MISSING,
                *(number(end, decimals) for end in ends),
            ]
        )
    header = ["method", "trials, all folds", "failed", "seconds", "× of its runs here"]
    label = group.primary.label
    return [*header, f"validation {label}: default", "best"], rows


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def chosen_values(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Header and rows: what each method was run with, by fold; equal values in one row."""
    merged: dict[tuple[str, str], list[int]] = {}
    for method in in_order(summary):
        for record in summary.group.runs_of(method):
            text = settings_text(record.spec.differs) or "its defaults"
            merged.setdefault((method, text), []).append(record.spec.fold)
    rows = [
        [method, ", ".join(map(str, sorted(set(folds)))), text]
        for (method, text), folds in merged.items()
    ]
    return ["method", "folds", "values in place of the defaults"], rows


def tuning_lines(summary: Summary) -> list[str]:
    """The section of a group's tables in Markdown; empty where nothing was tuned."""
    if summary.tuning is None:
        return []
    lines = ["", "## Default and tuned", ""]
    header, rows = side_by_side(summary)
    if rows:
        lines += [markdown_table(header, rows, text_columns=2), "", PAIR_NOTE]
    else:
        lines += ["No method was also run by default."]
    header, rows = cost_of_trials(summary)
    lines += ["", "### Trials", ""]
    lines += [markdown_table(header, rows, text_columns=1)] if rows else [NO_TRIALS]
    lines += ["", "### Chosen values", ""]
    return [*lines, markdown_table(*chosen_values(summary), text_columns=3)]


NO_TRIALS = "Their records are not in this results folder: what tuning cost is not known here."


def tuning_note_lines(summary: Summary) -> list[str]:
    """The same in a sentence for each deployment, and what it cost; for the page."""
    if summary.tuning is None:
        return []
    decimals = Formats(summary).decimals[summary.group.primary.name]
    by_place: dict[str, list[str]] = {}
    for pair in pairs(summary):
        ends = [
            number(row.metric(summary.group.primary.name).mean, decimals)
            for row in (pair.default, pair.tuned)
        ]
        by_place.setdefault(pair.tuned.deployment, []).append(
            f"{pair.tuned.method} {' → '.join(ends)}"
        )
    label = summary.group.primary.label
    lines = [f"{d}, {label} by default → tuned: {', '.join(t)}." for d, t in by_place.items()]
    trials = [trial for own in summary.tuning.trials.values() for trial in own]
    if trials:
        seconds = math.fsum(trial.seconds for trial in trials)
        lines.append(f"Tuning took {len(trials)} trials and {number(seconds, 0)} seconds.")
    return lines


def leaderboard_lines(summary: Summary) -> list[str]:
    """The table of both for the leaderboard."""
    rows = side_by_side(summary)[1] if summary.tuning else []
    if not rows:
        return []
    table = markdown_table(*side_by_side(summary), text_columns=2)
    return ["", "Default and tuned:", "", table, "", markdown(PAIR_NOTE)]


def csv_cells(summary: Summary) -> dict[tuple[str, str], dict[str, Any]]:
    """(method, deployment) → columns of its row in the CSV, for the primary metric."""
    found = {}
    for pair in pairs(summary):
        c = pair.comparison
        trials = summary.tuning.trials.get(pair.tuned.method, [])
        found[pair.tuned.method, pair.tuned.deployment] = {
            "default_mean": pair.default.metric(summary.group.primary.name).mean,
            "tuned_difference": pair.difference.mean,
            "tuned_low": c.low if c else None,
            "tuned_high": c.high if c else None,
            "tuning_trials": len(trials) or None,
            "tuning_seconds": math.fsum(t.seconds for t in trials) if trials else None,
        }
    return found


CSV_COLUMNS = (
    "default_mean",
    "tuned_difference",
    "tuned_low",
    "tuned_high",
    "tuning_trials",
    "tuning_seconds",
)
