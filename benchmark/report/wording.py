"""How groups, metrics and evidence are named and written, the same in every table and figure."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmark.metrics import POOLED_R2, SCALARS, Metric, shown
from benchmark.report.frame import Group
from benchmark.report.remarks import fold_remarks
from benchmark.report.rows import NOTHING, Row
from benchmark.report.statistics import ALPHA
from benchmark.report.summary import AGAIN, REFERENCE, Summary
from benchmark.report.text import MISSING, Strong, decimals_for, listed, number
from benchmark.spec import FULL
from benchmark.terms import ALL, EXTERNAL, ONCE, TRAINING


def tuning_note(group: Group) -> str:
    """What was tuned on what, for every table and figure."""
    by_hand = sorted(group.by_hand.keys() - group.hidden)
    if not group.budget:
        note = "Published defaults, untuned: no method was tuned with an equal budget."
        return f"{note} Set by hand: {', '.join(by_hand)}." if by_hand else note
    ranges = {name for record in group.runs for name in record.spec.tuned["space"]}
    shared = [name for name in TRAINING if name in ranges]
    fixed = sorted({r.spec.row for r in group.runs if not r.spec.tuned["space"]} - group.hidden)
    still = f" Nothing to tune: {', '.join(fixed)}." if fixed else ""
    return (
        f"Tuned with {group.budget}, the same number for every method, the first with its "
        f"defaults: of the ranges that a method declares{', and of ' * bool(shared)}"
        f"{listed(shared)}. Chosen by {group.primary.label} on the validation part of the training "
        f"data, mean over what a method deploys; never on a test part.{still}"
    )


def slug(group: Group) -> str:
    """Name of a group's files."""
    parts = [group.dataset, group.source, group.protocol["name"], *group.modalities]
    arithmetic = group.spec.arithmetic
    variant = [hashlib.sha256(group.variant.encode()).hexdigest()[:8]] if group.variant else []
    tuned = ["tuned", *re.findall(r"\w+", group.budget)] if group.budget else []
    labels = re.findall(r"[\w.]+", group.spec.labels)
    return file_name(
        *parts, *labels, *(arithmetic.split(", ") if arithmetic != FULL else []), *tuned, *variant
    )


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
    protocol = f"protocol {group.protocol_title}{smoke}"
    return f"{group.dataset}, {data}, trained on {modalities}, {protocol}"


OTHER_CODE = "†"
"""Marks a method whose runs were made by other code than the project has now."""


def named(group: Group, method: str) -> str:
    """A method's name as tables show it."""
    return f"{method} {OTHER_CODE}" if method in group.other_code else method


def facts(group: Group) -> list[tuple[str, str]]:
    """What has to be known to read a group's numbers, for above its tables."""
    task = group.data["task"]
    what = f"{group.kind}, {len(task.get('class_names') or ()) or task.get('outputs')} classes"
    counts = (values.get("classes_present") for r in group.runs for values in r.metrics.values())
    present = [int(n) for n in counts if n is not None]
    if group.kind == "regression":
        what = f"regression of a value in {task.get('unit') or 'its own unit'}"
    elif present:
        what += f" ({_range(present)} of them present in a test part)"
    return [
        ("Data", f"{_data(group)}; fingerprint {group.spec.fingerprint[:12]}"),
        ("Task", what),
        ("Modalities", ", ".join(group.modalities)),
        ("Protocol", "; ".join(_protocol(group))),
        ("Encoders", _encoders(group.spec.encoders)),
        ("Error bars", error_bars(group)),
    ]


def _protocol(group: Group) -> list[str]:
    """Its name, what is to be held against it, its folds and the sizes of their parts."""
    share, labels = group.spec.labels, []
    if share:
        units = "whole groups" if _cut(group).startswith("grouped") else "samples"
        labels = [f"{share}: {units} of the parts that train and validate, nested"]
    return [group.protocol_name, *flags(group), *labels, _folds(group), _sizes(group)]


def _data(group: Group) -> str:
    """Real or not, of which release, how many samples in how many groups."""
    import datasets
    from datasets.common import releases

    data, spec = group.data, group.spec
    samples = f"{data.get('samples', 'unknown number of')} samples"
    if group.source != "real":
        text = f"{group.source.upper()}: simulated stand-in files; {samples}"
    else:
        datasets.load()
        said = releases.named(
            spec.dataset, spec.modalities, spec.fingerprint, data.get("samples", 0)
        )
        known = {None: f"real; {samples}", releases.UNKNOWN: f"real, {said}; {samples}"}
        text = known.get(said, f"real: {said}")
    if data.get("groups"):
        kind = f" ({data['group_kind']})" if data.get("group_kind") else ""
        divided = ", divided by the split" if data.get("divided_groups") else ""
        text += f" in {data['groups']} groups{kind}{divided}"
    return text


def _encoders(values: Mapping[str, Any]) -> str:
    """The size of the features, and the settings of the encoder of each kind of modality, and of
    modalities that have another than their kind."""
    parts = [f"D = {values['dim']}{', LayerNorm' if values['layer_norm'] else ''}"]
    for name, options in {**values["options"], **values.get("modalities", {})}.items():
        options = dict(options)
        more = ["month and place given"] if options.pop("context", "") else []
        more += ["frozen"] if options.pop("frozen", False) else []
        if "pretrained" in options:
            options["weights"] = "pretrained" if options.pop("pretrained") else "random"
        if options.get("weights", "") is None:
            options["weights"] = "random"
        for digest in ("plugin", "sha256"):  # of its code, and of the file of its weights
            if digest in options:
                options[digest] = str(options[digest])[:12]
        said = [f"{key} {_plain(value)}" for key, value in options.items()]
        parts.append(f"{name}: {', '.join(said + more)}")
    return "; ".join(parts)


def _plain(value: Any) -> str:
    """A setting as a protocol file has it, without quotes."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items()) + "}"
    return "null" if value is None else str(value)


def error_bars(group: Group) -> str:
    """What the ± is over."""
    folds, seeds = (len({pair[i] for pair in group.planned}) for i in (0, 1))
    if group.unit == "seed":
        return f"± is the standard deviation over {seeds} seeds on one split"
    if folds == 1:
        return "one fold and one seed: no spread is known"
    by_method = {m: {r.spec.seed for r in group.runs_of(m)} for m in group.entries}
    several = _range([len(own) for own in by_method.values() if own] or [1])
    averaged = f", {several} seeds averaged within each" if seeds > 1 else ""
    made = _folds_made(group)
    of = f"{folds} of the {made}" if folds < made else folds
    return f"± is the standard deviation over {of} folds{averaged}"


def flags(group: Group) -> list[str]:
    """What a reader has to hold against a protocol: by its values, and by what it says itself."""
    values, found = group.protocol, []
    if group.smoke:
        found.append("SMOKE RUN: shows that everything works, is no evidence")
    if divided := group.data.get("divided_groups"):
        found.append(
            f"FLAG: {divided} of {group.data['groups']} groups stand in more than one part of the "
            "official split"
        )
    elif values.get("split") != "grouped" and group.data.get("groups"):
        found.append("FLAG: groups stand on both sides of a split")
    if values.get("validation") == "test":
        found.append("FLAG: validation is the test fold")
    if values.get("statistics") == "all":
        found.append("FLAG: statistics over all samples, test included")
    if group.spec.tuned.get("on") == ONCE and len({fold for fold, _ in group.planned}) > 1:
        found.append("FLAG: values were chosen on fold 0, whose training part has test samples")
    return found + [f"FLAG: {flag}" for flag in group.flags if flag not in BY_VALUES]


BY_VALUES = (
    "smoke run",
    "ungrouped folds",
    "validation is the test fold",
    "statistics over all samples",
)
"""Flags of shipped protocols, which their values decide on each dataset."""


def _folds(group: Group) -> str:
    folds = len({fold for fold, _ in group.planned})
    if group.unit == "seed":
        return "one split"
    asked, made = group.protocol.get("folds", folds), _folds_made(group)
    text = f"{folds} of {made} {_cut(group)} folds"
    return text if made == asked else f"{text}, one group each ({asked} were asked for)"


def _folds_made(group: Group) -> int:
    """How many folds there are of the data: no more than groups, where these are kept whole."""
    asked = group.protocol.get("folds", len({fold for fold, _ in group.planned}))
    return min(asked, group.data["groups"]) if _cut(group).startswith("grouped") else asked


def _cut(group: Group) -> str:
    """How folds were made, which may be less than the protocol asks for."""
    values = group.protocol
    split, quantiles = str(values.get("split", "")), values.get("target_quantiles")
    if split == "grouped" and group.data.get("groups"):
        by_class = group.kind in ("binary", "multiclass")
        return "grouped, class-balanced" if by_class else "grouped"
    if split not in ("grouped", "stratified"):
        return split
    if group.kind in ("binary", "multiclass"):
        return "stratified"
    if group.kind == "regression" and quantiles:
        per_fold = group.data.get("samples", math.inf) // values.get("folds", 1)
        quantiles = max(1, int(min(quantiles, per_fold)))  # as `benchmark.planning.split` has it
        return f"stratified (by {quantiles} quantiles of the target)"
    return "shuffled (not stratified)"


def _sizes(group: Group) -> str:
    parts = ((part, [r.data.get(part) for r in group.records]) for part in ("train", "val", "test"))
    return ", ".join(f"{_range(sizes)} {part}" for part, sizes in parts if None not in sizes)


def _range(values: Iterable[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


class Formats:
    """Fixed decimals for each metric of a group; a mean over fewer units than it has is marked."""

    def __init__(self, summary: Summary) -> None:
        self.units, self.primary = summary.units, summary.group.primary.name
        self.decimals = {}
        for metric in columns(summary.group):
            means = [row.metric(metric.name).mean for row in summary.rows]
            self.decimals[metric.name] = decimals_for(means) if metric.unit == "target" else 3

    def cell(self, metric: Metric, row: Row, *, sd: bool = True) -> str:
        """mean ± sd of a row, and the number of values where some are missing."""
        spread, decimals = row.metric(metric.name), self.decimals[metric.name]
        if metric.name in COUNTS and spread.n and float(spread.mean).is_integer():
            decimals = 0
        text = number(spread.mean, decimals)
        if sd and spread.sd is not None:
            text += f" ± {number(spread.sd, decimals)}"
        n = row.metric(self.primary).n if metric == POOLED_R2 else spread.n  # one value over all
        return text + self.few(n)

    def few(self, n: int) -> str:
        """ " (n = 2)" after a mean over fewer units than there are, or ""."""
        return few(n, self.units)

    def main(self, group: Group, row: Row) -> list[str]:
        """The metrics that every table shows; the primary one is bold if it is in the best set."""
        cells = [self.cell(metric, row) for metric in shown(group.kind)]
        return [Strong(cells[0]) if row.best else cells[0], *cells[1:]]

    def gain(self, metric: Metric, row: Row) -> str:
        """The gain with its mark."""
        gain = row.gain or NOTHING
        text = number(gain.mean, self.decimals[metric.name], signed=True) + self.few(gain.n)
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
            number(row.detectable, decimals),
            practical(row),
        ]


EVIDENCE = ("95 % interval", "p (Holm)", "d", "detectable", "better/equal/worse (%)")


def practical(row: Row) -> str:
    """ "31/66/3": better than the reference, practically equal to it, worse; in per cent."""
    p = row.practical
    parts = (p.better, p.equal, p.worse) if p else ()
    return "/".join(number(100 * part, 0) for part in parts) or MISSING


def few(n: int, units: int) -> str:
    """ " (n = 2)" after a mean over fewer than ``units`` values, or ""."""
    return f" (n = {n})" if 0 < n < units else ""


def p_value(p: float, equals: str = "") -> str:
    """ "< 0.001", or three decimals after ``equals``."""
    return "< 0.001" if p < 0.001 else f"{equals}{p:.3f}"


COUNTS = ("samples", "classes_present")


def columns(group: Group) -> tuple[Metric, ...]:
    """All metrics that are one number, those over all folds at once included."""
    pooled = (POOLED_R2,) if group.kind == "regression" else ()
    return SCALARS[group.kind] + pooled


def with_unit(metric: Metric, group: Group) -> str:
    """A metric's label with its unit."""
    unit = group.data["task"].get("unit") if metric.unit == "target" else ""
    return f"{metric.label} ({unit})" if unit else metric.label


def heading(metric: Metric, group: Group) -> str:
    """A metric's label with its unit and an arrow for what is better."""
    arrow = {"higher": " ↑", "lower": " ↓", None: ""}[metric.direction]
    return with_unit(metric, group) + arrow


NOT_PREDICTED = "not predicted"


def coverage(summary: Summary, row: Row) -> str:
    """Number of folds, or seeds; "2 of 3" where some are missing; "3 × 2 seeds" with several.

    A modality that the runs of a method say nothing of is `NOT_PREDICTED`.
    """
    runs = summary.group.runs_of(row.method)
    if runs and not any(row.deployment in record.metrics for record in runs):
        return NOT_PREDICTED
    n = row.metric(summary.group.primary.name).n
    text = f"{n} of {summary.units}" if n < summary.units else str(n)
    if summary.group.unit == "fold" and any(other.seeds > 1 for other in summary.rows):
        text += f" × {row.seeds} seed{'s' * (row.seeds != 1)}"
    if n == summary.units and not row.complete:
        text += f" ({row.runs} of {row.planned} runs)"
    return text


def worse_in(row: Row) -> str:
    """Negative transfer: in how many folds, or seeds, a row is worse than the reference."""
    return f"{row.worse} of {row.gain.n}" if row.gain and row.gain.n else MISSING


def worse_note(summary: Summary) -> list[str]:
    """What a column of `worse_in` says, where a group has one."""
    unit = summary.group.unit
    return [f"Worse in: {unit}s with a negative gain (negative transfer)."] * summary.has_reference


def deployment_title(deployment: str) -> str:
    if deployment == ALL:
        return "Bounds: all modalities at inference, not to be ranked with the others"
    return f"Inference on {deployment} alone"


def modality_notes(dataset: str, modalities: Sequence[str]) -> list[str]:
    """What the names of modalities do not say, or say wrongly: see `Adapter.notes`."""
    import datasets

    adapter = datasets.load().get(dataset)
    known = adapter.notes if adapter else {}
    return [f"{m}: {known[m]}." for m in modalities if m in known]


def notes(summary: Summary) -> list[str]:
    """Footnotes of every table of a group."""
    group = summary.group
    lines = [
        *modality_notes(group.dataset, group.modalities),
        tuning_note(group),
        *_defaults(summary),
        *_pretrained(summary),
    ]
    if summary.has_reference:
        lines.append(
            f"Gain over {REFERENCE}: mean over {group.unit}s of the paired difference in "
            f"{group.primary.label}; positive is better."
        )
    if any(row.runs and not row.complete for row in summary.rows):
        lines.append(
            f"A row with missing {group.unit}s is not comparable with the others; n: over how many "
            "a mean is, where they are fewer than the table's."
        )
    elsewhere = [m for m, entry in group.entries.items() if entry["family"] == EXTERNAL]
    if elsewhere := [m for m in elsewhere if m not in group.hidden]:
        lines.append(
            f"External, not trained here: of {', '.join(elsewhere)} the predictions were handed in "
            "and scored; what they were trained on and chosen by is not known."
        )
    if marked := other_code(group):
        lines.append(f"{OTHER_CODE} {marked}")
    return lines + fold_remarks(group)


def _levels(summary: Summary) -> str:
    """5 % over the number of methods, "by modality" where that differs."""
    found = sorted({summary.levels[d] for d in summary.group.modalities})
    return " or ".join(f"{ALPHA:g}/{ALPHA / level:.0f}" for level in found)


def rope_note(summary: Summary) -> str:
    """What counts as practically equal, and by which test."""
    decimals = Formats(summary).decimals[summary.group.primary.name]
    ropes = [f"{d} ±{number(rope, decimals)}" for d, rope in summary.ropes.items()]
    if not ropes:
        return (
            "What is practically equal is not known: it takes all runs of "
            f"{AGAIN}, on two {summary.group.unit}s or more."
        )
    origin = (
        "as the protocol says"
        if summary.group.rope
        else f"half the standard deviation of {REFERENCE} − {AGAIN} over {summary.group.unit}s"
    )
    return (
        f"Better, equal, worse: probabilities that the gain is above, within or below "
        f"{', '.join(ropes)}, {origin}; correlated Bayesian t-test (Corani and Benavoli 2015)."
    )


def other_code(group: Group) -> str:
    """Which of the shown methods have runs of other code than there is now; "" if none has."""
    counts = {m: n for m, n in group.other_code.items() if m not in group.hidden}
    if not counts:
        return ""
    parts = (f"{m} ({n} of {len(group.runs_of(m))} runs)" for m, n in sorted(counts.items()))
    return (
        f"Made by other code than there is now: {', '.join(parts)}. `run --retry changed` runs "
        "them again; a method whose numbers are meant to change has a new `version` as well."
    )


def _defaults(summary: Summary) -> list[str]:
    """Where defaults come from: its authors' own, for this very dataset, give a method an edge."""
    group = summary.group
    scored = {row.method for row in summary.rows} - set(group.hidden)
    # A method with a value set by hand has a row of its own, and the same defaults in all else.
    method_of = {record.spec.row: record.spec.method for record in group.records}
    own: dict[str, dict[str, None]] = {words: {} for words in ORIGINS}
    for m, entry in group.entries.items():
        if m in scored and (words := _origin(entry, group.dataset)):
            own[words][method_of[m]] = None
    parts = [f"{words}: {', '.join(methods)}" for words, methods in own.items() if methods]
    return [f"Defaults {'; '.join(parts)}; all others chosen here."] if parts else []


def _pretrained(summary: Summary) -> Iterator[str]:
    """What methods that bring a frozen encoder with them have seen that the others have not."""
    group = summary.group
    scored = {row.method for row in summary.rows} - set(group.hidden)
    for m, entry in group.entries.items():
        if m not in scored or not (seen := entry.get("pretrained")):
            continue
        settings = group.runs_of(m)[-1].spec.brought if group.runs_of(m) else {}
        given = [name for name, options in settings.items() if "context" in options]
        more = f" It is given month and place beside {', '.join(given)}." if given else ""
        yield f"{m}: a frozen encoder in place of the protocol's, pre-trained on {seen}.{more}"


AUTHORS = "taken from their authors' configurations"
AUTHORS_SOMEWHERE = f"{AUTHORS} (for which datasets is not recorded)"
ELSEWHERE = "carried over from elsewhere"
ORIGINS = (AUTHORS, AUTHORS_SOMEWHERE, ELSEWHERE)


def _origin(entry: Mapping[str, Any], dataset: str) -> str | None:
    """Where the defaults of a record's entry come from, or None if they were chosen here."""
    origin = entry["defaults_from"]
    if origin != "these datasets":
        return ELSEWHERE if origin == "elsewhere" else None
    if "defaults_for" not in entry:
        return AUTHORS_SOMEWHERE
    return AUTHORS if dataset in entry["defaults_for"] else ELSEWHERE


def no_test(summary: Summary) -> list[str]:
    """Why a group that should have a test has none, or which of its methods."""
    lines = [f"No test: {summary.why_not}."] if summary.why_not else []
    left_out = summary.evidence.left_out if summary.evidence else {}
    shown = sorted(left_out.keys() - summary.group.hidden)
    if shown:
        parts = (f"{method} ({left_out[method]})" for method in shown)
        lines.append(f"Not compared: {', '.join(parts)}.")
    return lines


def evidence_notes(summary: Summary) -> list[str]:
    """How to read the evidence in a group's tables, each of which may stand alone."""
    group, lines = summary.group, [*worse_note(summary), *no_test(summary)]
    if summary.tested:
        families = {d: [r for r in summary.rows if r.deployment == d] for d in group.modalities}
        sizes = [sum(r.p_holm is not None for r in rows) for rows in families.values()]
        lines.append(
            f"▲ better, ▼ worse than {REFERENCE}, n.s. not significant (no proof of equality): "
            f"{summary.evidence.test}; Holm over the {_range(sizes)} methods of a modality, 5 % "
            "level. Controls and ablations are in no "
            "family and have no mark. Interval: not adjusted. d: mean over sd of the paired "
            "differences. Detectable: the gain that gets a mark in 80 % of cases, at the level of "
            f"Holm's first step ({_levels(summary)})."
        )
        lines.append(rope_note(summary))
    if any(row.best for row in summary.rows):
        lines.append(
            "Bold: methods not distinguishable from the best one (bootstrap over "
            f"{summary.evidence.units}, 95 %, corrected likewise)."
        )
    return lines
