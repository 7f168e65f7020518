"""From records to the tidy frame of scores that everything shown is computed from.

Every record ends up in one place: in a group, as a run whose scores are shown, or in the list of
exclusions with the reason why they are not.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from benchmark import records
from benchmark.errors import UserError, unknown
from benchmark.metrics import LISTS, SCALARS, Metric, primary
from benchmark.planning import protocol as protocols
from benchmark.planning.code import changed
from benchmark.records import Record, Standing
from benchmark.report.text import shortened
from benchmark.spec import FULL
from benchmark.terms import ALL, FAMILIES

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.planning.protocol import Protocol
    from benchmark.problem import TaskKind
    from benchmark.spec import RunSpec

PROTOCOLS = ("standard", "random", "paper", "quick")
"""The order of tables of one dataset; a user's own protocols go last."""

Status = Literal["failed", "not applicable", "unreadable", "invalid", "superseded", "duplicate"]

STATUSES: tuple[str, ...] = get_args(Status)

COLUMNS = (
    "dataset",
    "source",
    "modalities",
    "protocol",
    "precision",
    "fingerprint",
    "method",
    "version",
    "family",
    "role",
    "fold",
    "seed",
    "placebo",
    "deployment",
    "metric",
    "value",
    "run",
)


@dataclass(frozen=True)
class Exclusion:
    """A record, or a file that should be one, whose scores are not shown.

    what: the run, or the file below the results folder.
    """

    what: str
    status: Status
    reason: str
    dataset: str = ""
    method: str = ""
    run: str = ""


@dataclass(frozen=True)
class Group:
    """Runs that may stand in one table: the same data, modalities, protocol, encoders, arithmetic.

    runs: with scores, one for each method, fold and seed. absent: failed or not applicable.
    placebos: one for each method, fold, seed and deployment, of any status; they are in no other
    number than the comparison with their method.
    hidden: methods that are not asked for; they stay in every comparison, so that a table of few
    methods says the same of them as the table of all. variant: what tells it from other groups
    whose protocol has the same name, "" where there are none. other_code: method → number of its
    runs that were made by other code than the project has now.
    """

    runs: tuple[Record, ...]
    absent: tuple[Record, ...] = ()
    placebos: tuple[Record, ...] = ()
    hidden: frozenset[str] = frozenset()
    variant: str = ""
    other_code: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """All records, the newest last."""
        return tuple(sorted((*self.runs, *self.absent), key=_age))

    @cached_property
    def _by_method(self) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {}
        for record in self.runs:
            found.setdefault(record.spec.method, []).append(record)
        return found

    def runs_of(self, method: str) -> list[Record]:
        """The runs of one method."""
        return self._by_method.get(method, [])

    @property
    def spec(self) -> RunSpec:
        """A spec whose data, modalities and protocol are those of all runs."""
        return self.records[-1].spec

    @property
    def dataset(self) -> str:
        return self.spec.dataset

    @property
    def source(self) -> str:
        return self.spec.source

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.spec.modalities

    @property
    def protocol(self) -> Mapping[str, Any]:
        """The values in force, as `benchmark.planning.protocol.Protocol.values_for` gives them."""
        return self.spec.protocol

    @property
    def protocol_name(self) -> str:
        """The protocol's name, and what tells it from others of that name."""
        name = self.protocol["name"]
        return f"{name} ({self.variant})" if self.variant else name

    @property
    def protocol_title(self) -> str:
        """The protocol's name, and how training computed where that was not in full precision."""
        name, arithmetic = self.protocol_name, self.spec.arithmetic
        return name if arithmetic == FULL else f"{name}, trained in {arithmetic}"

    @property
    def data(self) -> Mapping[str, Any]:
        """Facts of the data, as a record has them; the sizes of the parts are those of one run."""
        return self.records[-1].data

    @property
    def kind(self) -> TaskKind:
        return self.data["task"]["kind"]

    @property
    def primary(self) -> Metric:
        return primary(self.kind)

    @cached_property
    def smoke(self) -> bool:
        """Whether the protocol, as any of the records has it, is one that gives no evidence."""
        return not all(record.standing.get("evidence") for record in self.records)

    @cached_property
    def flags(self) -> tuple[str, ...]:
        """What the protocol itself says that a reader has to hold against it."""
        flags = (flag for record in self.records for flag in record.standing.get("flags", ()))
        return tuple(dict.fromkeys(" ".join(flag.split()) for flag in flags))

    @property
    def rope(self) -> float | None:
        """The protocol's region of practical equality, in the unit of the primary metric."""
        rope = self.records[-1].standing.get("rope")
        return rope if rope and rope > 0 else None

    @property
    def no_evidence(self) -> str:
        """Why the numbers prove nothing of methods, whatever they are, or ""."""
        if self.smoke:
            return "a smoke run is no evidence"
        return "" if self.source == "real" else "simulated data are no evidence"

    @cached_property
    def planned(self) -> frozenset[tuple[int, int]]:
        """(fold, seed) that any method was run on."""
        return frozenset((r.spec.fold, r.spec.seed) for r in self.records)

    @cached_property
    def unit(self) -> Literal["fold", "seed"]:
        """What error bars are over; seeds are averaged within a fold where there are folds."""
        folds, seeds = ({pair[i] for pair in self.planned} for i in (0, 1))
        return "seed" if len(folds) == 1 and len(seeds) > 1 else "fold"

    @cached_property
    def entries(self) -> dict[str, Mapping[str, str]]:
        """Method → family, role, defaults_from and reference, as its newest record has them.

        All methods, absent ones included, in the order of their families and names.
        """
        entries = {r.spec.method: {**DEFAULT_ENTRY, **r.entry} for r in self.records}

        def position(method: str) -> tuple[int, str, str]:
            family = entries[method]["family"]
            known = FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)
            return known, family, method

        return {method: entries[method] for method in sorted(entries, key=position)}

    @cached_property
    def deployments(self) -> tuple[str, ...]:
        """What predictors were given: each modality alone, then whatever else there is."""
        found = {deployment for record in self.runs for deployment in record.metrics}
        found |= {ALL for entry in self.entries.values() if entry["role"] == "bound"}
        return (*self.modalities, *sorted(found - set(self.modalities)))

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The tidy scores: a row for each run, deployment and scalar metric."""
        return _tidy(self, self.runs)


MOST_OUTPUTS = 10_000
"""No task has more; each may become a row of a table."""

DEFAULT_ENTRY = {"family": "other", "role": "method", "defaults_from": "", "reference": ""}


@dataclass(frozen=True)
class Results:
    """Groups in the order in which they are shown, and everything that is in none.

    files: number of files that were, or should have been, records.
    """

    groups: tuple[Group, ...]
    exclusions: tuple[Exclusion, ...]
    files: int

    @property
    def shown(self) -> int:
        """Number of records whose scores are shown."""
        return sum(
            r.status == "done" and r.spec.method not in g.hidden
            for g in self.groups
            for r in (*g.runs, *g.placebos)
        )

    @property
    def frame(self) -> pd.DataFrame:
        """The tidy scores of all groups, hidden methods left out."""
        import pandas as pd

        parts = []
        for group in self.groups:
            done = [record for record in group.placebos if record.status == "done"]
            for scores in (group.scores, *([_tidy(group, done)] if done else [])):
                parts.append(scores[~scores["method"].isin(group.hidden)])
        return pd.concat([pd.DataFrame(columns=list(COLUMNS)), *parts], ignore_index=True)


def collect(
    results: Path,
    *,
    datasets: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    protocol: str | None = None,
) -> Results:
    """Read all records below a results folder, sort them into groups, then choose what is shown.

    methods may be patterns. What supersedes what is decided before the choice, so that a table of
    few methods shows the same runs as the table of all.

    Raises `UserError` if there is no record at all, or none of a name that is asked for.
    """
    read: list[Record] = []
    excluded: list[Exclusion] = []
    paths = records.files(results)
    for path in paths:
        try:
            record = records.read(path)
            _check_beside(record, path)
            # Curves of all loss terms of thousands of runs would fill the memory.
            stages = _curves_only(record.stages)
            read.append(replace(record, stages=stages, standing=_standing(record)))
        except (UserError, OSError) as error:
            where = path.relative_to(results).as_posix()
            reason = str(error).removeprefix(f"{path}: ")
            excluded.append(Exclusion(where, "unreadable", reason))
    if not paths:
        raise UserError(
            f"{results}: no records there; `run` makes them, --results names their folder"
        )
    valid, invalid = _validate(read)
    groups, superseded = _sort(valid)
    excluded += invalid + superseded
    absent = (r for g in groups for r in (*g.absent, *g.placebos) if r.status != "done")
    excluded += [_exclusion(record, record.status, record.reason or "") for record in absent]
    return Results(_choose(groups, datasets, methods, protocol), tuple(excluded), len(paths))


def _check_beside(record: Record, path: Path) -> None:
    """Raise `UserError` if predictions or features beside a record are not those of its run.

    They may be elsewhere: scores are in the record.
    """
    for suffix, sha256 in (
        (".npz", record.predictions_sha256),
        (".features.npz", record.features_sha256),
    ):
        beside = path.with_suffix(suffix)
        if sha256 and beside.exists():
            with beside.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != sha256:
                raise UserError(f"{beside.name} is not the file that it vouches for by sha256")


def _standing(record: Record) -> Standing:
    """What the protocol of a record says of its tables.

    Records that are older than this have that of the shipped protocol of the same name and values;
    of others it is not known whether they are evidence, and so they are none.
    """
    if record.standing:
        return record.standing
    values = record.spec.protocol
    name, dataset = values.get("name"), record.spec.dataset
    shipped = _shipped(name) if isinstance(name, str) else None
    if shipped is not None:
        now = shipped.values_for(dataset)
        if {key: now[key] for key in values if key in now} == values:
            return {**shipped.standing_for(dataset), "view": None}
    return {"evidence": False, "flags": [UNKNOWN_STANDING]}


UNKNOWN_STANDING = (
    "its records do not say whether the protocol is evidence (`run --retry all` makes such that do)"
)


@cache
def _shipped(name: str) -> Protocol | None:
    return protocols.load(name) if name in protocols.names() else None


def _curves_only(stages: Any) -> list[dict[str, Any]]:
    """The curves of stages, as small as they can be; none if they cannot be read."""
    try:
        return [
            {
                "method": stage["method"],
                "artefact": stage["artefact"],
                "validation": {
                    name: np.array(curve, dtype=np.float32).reshape(len(curve))
                    for name, curve in stage["validation"].items()
                },
                "training": _total(stage["losses"]),
            }
            for stage in stages
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def _total(losses: Mapping[str, Sequence[float]]) -> np.ndarray:
    """The sum of the loss terms by epoch; empty if a term is not there in every epoch."""
    terms = [np.array(curve, dtype=np.float32).reshape(len(curve)) for curve in losses.values()]
    same = len({len(term) for term in terms}) == 1
    return np.sum(terms, axis=0) if same else np.zeros(0, dtype=np.float32)


def own_curves(record: Record, what: str = "validation") -> dict[str, np.ndarray]:
    """Validation loss by epoch of what is deployed, each from the last stage that trains it.

    what: "training" for the sum of that stage's loss terms instead. A method that deploys nothing
    but artefacts (`single`, `single_again`) has theirs.
    """
    own = [stage for stage in record.stages if not stage["artefact"]]
    curves = [
        (name, curve if what == "validation" else stage["training"])
        for stage in own or record.stages
        for name, curve in stage["validation"].items()
    ]
    return {n: c for n, c in curves if len(c) and (own or n in record.metrics)}


def _validate(read: Iterable[Record]) -> tuple[list[Record], list[Exclusion]]:
    valid, invalid = [], []
    for record in read:
        reason = _defect(record)
        if reason:
            invalid.append(_exclusion(record, "invalid", reason))
        else:
            valid.append(record)
    return valid, invalid


def _defect(record: Record) -> str | None:
    """Why the content of a record cannot be shown, or None."""
    try:
        spec, entry = record.spec, {**DEFAULT_ENTRY, **record.entry}
        texts = [spec.dataset, spec.source, spec.fingerprint, spec.method, *spec.modalities]
        texts += [spec.protocol["name"], spec.arithmetic, record.created, record.reason or ""]
        texts += [entry[name] for name in DEFAULT_ENTRY]
        task = record.data["task"]
        texts += [*(task.get("class_names") or ()), task.get("unit", "")]
        numbers = [spec.fold, spec.seed, record.data["train"], record.data["test"]]
        numbers += [task["outputs"]]
        known = (record.data.get(name) for name in ("val", "samples", "groups"))
        numbers += [number for number in known if number is not None]
        if not all(isinstance(text, str) for text in texts):
            return "a name that is not text"
        if not all(type(number) is int for number in numbers):
            return "a number that is not whole"
        if min(record.data["train"], record.data["test"]) < 1:
            return "an empty training or test part"
        if not 1 <= task["outputs"] <= MOST_OUTPUTS:
            return f"a task of {task['outputs']} outputs"
        if spec.placebo not in ("", *spec.modalities):
            return f"a placebo on '{spec.placebo}', which is none of its modalities"
        options = spec.encoders["options"].values()
        if not {"dim", "layer_norm"} <= spec.encoders.keys() or not all(map(_is_mapping, options)):
            return "encoders of unknown form"
        scalars = {metric.name for metric in SCALARS[record.data["task"]["kind"]]}
        main = primary(record.data["task"]["kind"]).name
        if record.status in ("failed", "not applicable"):
            return None
        if record.status != "done":
            return f"unknown status {record.status!r}"
        if not record.metrics:
            return "done, but without scores"
        for deployment, values in record.metrics.items():
            if main not in values:
                return f"no {main} for {deployment}"
            for name in scalars & values.keys():
                if values[name] is not None and not math.isfinite(values[name]):
                    return f"{name} of {deployment} is {values[name]}"
            for metric in LISTS[record.data["task"]["kind"]]:
                if not _numbers(values.get(metric.name)):
                    return f"{metric.name} of {deployment} is not a list of numbers"
        return records.metrics_fault(record)
    except (KeyError, TypeError, AttributeError) as error:
        return f"incomplete: {type(error).__name__} {error}"


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _numbers(values: Any) -> bool:
    """Whether ``values`` are finite numbers or undefined, in a list or a list of equal lists."""
    if values is None:
        return True
    if not isinstance(values, list):
        return False
    if any(isinstance(value, list) for value in values):
        rows = [value if isinstance(value, list) else [] for value in values]
        return len({len(row) for row in rows}) == 1 and all(_numbers(row) for row in rows)
    return all(v is None or (isinstance(v, int | float) and math.isfinite(v)) for v in values)


def _age(record: Record) -> tuple[str, str]:
    """What decides which of two set-ups is current: the time that a record states, in UTC.

    Nothing else in a record does. It is that of the clock of the machine that made it.
    """
    return record.created, record.id


def _version(record: Record) -> tuple[int, str, str]:
    """What decides which of two recipes of a method is current: its version before any clock."""
    return record.spec.version, *_age(record)


def _key(record: Record) -> tuple[str, str, tuple[str, ...], str, str]:
    """What the heading of a table says."""
    spec = record.spec
    return spec.dataset, spec.source, spec.modalities, spec.protocol["name"], spec.arithmetic


def _values(record: Record) -> dict[str, Any]:
    """The values of a record's protocol, its encoders among them, by name."""
    spec = record.spec
    protocol = {k: v for k, v in spec.protocol.items() if k != "name"}
    return _flat({**protocols.YOUNGER, **protocol, "encoders": dict(spec.encoders)})


def _setup(record: Record) -> dict[str, Any]:
    """What all runs of a group must share, by the name it has in a reason."""
    return {
        "fingerprint of the data": record.spec.fingerprint[:12],
        "task": record.data["task"],
    }


def _recipe(record: Record) -> dict[str, Any]:
    """What all runs of a method in a group must share, by the name it has in a reason."""
    spec = record.spec
    return {
        "version of the method": spec.version,
        "code of the plug-in": spec.plugin[:12],
        "hyper-parameters": dict(spec.hyperparameters),
        "artefacts": dict(spec.artefacts),
    }


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    """A value as text by its dotted name; mappings all the way down."""
    if not isinstance(value, Mapping):
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        return {prefix: text}
    found: dict[str, str] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return found


NAMED, LONGEST = 4, 40
"""Changes that a reason names, and characters that it shows of a value."""


def _change(old: Any, new: Any) -> str:
    """What is another, from what to what: "lam 1.0 → 0.5"."""
    before, after = _flat(old), _flat(new)
    parts = []
    for key in [*before, *(key for key in after if key not in before)]:
        if before.get(key) != after.get(key):
            was, now = (shortened(side.get(key, "none"), LONGEST) for side in (before, after))
            parts.append(f"{key} {was or 'none'} → {now or 'none'}".strip())
    more = [f"{len(parts) - NAMED} more"] * (len(parts) > NAMED)
    return ", ".join(parts[:NAMED] + more)


def _by_values(valid: Iterable[Record]) -> list[list[Record]]:
    """Records of the same heading, protocol values and view; none of them supersedes another's.

    Old records do not say what view of the dataset they had: they go with the newest that do.
    """
    found: dict[tuple, list[Record]] = {}
    for record in sorted(valid, key=_age):
        values = json.dumps(_values(record), sort_keys=True)
        found.setdefault((_key(record), values), []).append(record)
    parts = []
    for same in found.values():
        views = [r.standing.get("view") for r in same]
        newest = next((view for view in reversed(views) if view is not None), None)
        by_view: dict[str, list[Record]] = {}
        for record, view in zip(same, views, strict=True):
            text = json.dumps(newest if view is None else view, sort_keys=True)
            by_view.setdefault(text, []).append(record)
        parts += by_view.values()
    return parts


def _with_variants(groups: Sequence[Group]) -> list[Group]:
    """Groups of one heading get what tells them apart."""
    by_key: dict[tuple, list[Group]] = {}
    for group in groups:
        by_key.setdefault(_key(group.records[-1]), []).append(group)
    named = []
    for same in by_key.values():
        settings = []
        for group in same:
            views = (r.standing.get("view") for r in reversed(group.records))
            view = next((view for view in views if view is not None), {})
            settings.append({**_values(group.records[-1]), **_flat({"view": view})})
        keys = dict.fromkeys(key for each in settings for key in each)
        differ = [key for key in keys if len({each.get(key) for each in settings}) > 1]
        for group, own in zip(same, settings, strict=True):
            text = ", ".join(f"{key} {own.get(key, 'none')}" for key in differ)
            named.append(replace(group, variant=text))
    return named


def _other_code(runs: Iterable[Record]) -> dict[str, int]:
    """Method → number of runs whose code, as far as it is known, is not that at hand."""
    known: dict[tuple, bool] = {}
    counts: Counter[str] = Counter()
    for record in runs:
        code = tuple(record.code.items())
        if code not in known:
            known[code] = bool(changed(record.code))
        counts[record.spec.method] += known[code]
    return {method: n for method, n in counts.items() if n}


def _sort(valid: Iterable[Record]) -> tuple[list[Group], list[Exclusion]]:
    """Groups of the newest data, of the newest recipe of each method; the rest is superseded."""
    groups, excluded = [], []
    for same_key in _by_values(valid):
        current, old = _newest_only(same_key, _setup, _age)
        excluded += old
        by_method: dict[str, list[Record]] = {}
        for record in current:
            by_method.setdefault(record.spec.method, []).append(record)
        kept: list[Record] = []
        for same_method in by_method.values():
            current, old = _newest_only(same_method, _recipe, _version)
            single, double = _no_duplicates(current)
            kept += single
            excluded += old + double
        plain = [r for r in kept if not r.spec.placebo]
        methods = {r.spec.method for r in plain}
        placebos = [r for r in kept if r.spec.placebo]
        reason = "a placebo of a method that has no other run to compare it with"
        excluded += [
            _exclusion(r, "invalid", reason) for r in placebos if r.spec.method not in methods
        ]
        if plain:
            runs = tuple(r for r in plain if r.status == "done")
            absent = tuple(r for r in plain if r.status != "done")
            placebos = tuple(r for r in placebos if r.spec.method in methods)
            other_code = _other_code((*runs, *placebos))
            groups.append(Group(runs, absent, placebos, other_code=other_code))
    newest_first = sorted(_with_variants(groups), key=lambda g: _age(g.records[-1]), reverse=True)
    return sorted(newest_first, key=_order), excluded


def _order(group: Group) -> tuple:
    dataset, source, modalities, name, arithmetic = _key(group.records[-1])
    known = PROTOCOLS.index(name) if name in PROTOCOLS else len(PROTOCOLS)
    other = "" if arithmetic == FULL else arithmetic
    return dataset, source != "real", source, known, name, other, modalities


def _newest_only(
    candidates: Sequence[Record], aspects: Any, rank: Any
) -> tuple[list[Record], list[Exclusion]]:
    """The records that agree in all aspects with the newest, and the others as superseded."""
    newest = aspects(max(candidates, key=rank))
    kept, old = [], []
    for record in candidates:
        own = aspects(record)
        other = [
            f"{name} ({_change(own[name], value)})"
            for name, value in newest.items()
            if own[name] != value
        ]
        if other:
            reason = f"newer records have another {' and another '.join(other)}"
            old.append(_exclusion(record, "superseded", reason))
        else:
            kept.append(record)
    return kept, old


def _no_duplicates(candidates: Sequence[Record]) -> tuple[list[Record], list[Exclusion]]:
    """One record for each fold, seed and placebo, the newest."""
    best: dict[tuple[int, int, str], Record] = {}
    excluded = []
    for record in sorted(candidates, key=_age, reverse=True):
        place = record.spec.fold, record.spec.seed, record.spec.placebo
        if place in best:
            reason = f"the same run as {best[place].id}, which is shown"
            excluded.append(_exclusion(record, "duplicate", reason))
        else:
            best[place] = record
    return [best[place] for place in sorted(best)], excluded


def _exclusion(record: Record, status: Status, reason: str) -> Exclusion:
    spec = record.spec
    return Exclusion(str(spec), status, reason, str(spec.dataset), str(spec.method), record.id)


def _choose(
    groups: Sequence[Group],
    datasets: Sequence[str] | None,
    methods: Sequence[str] | None,
    protocol: str | None,
) -> tuple[Group, ...]:
    known = {group.dataset for group in groups}
    for name in datasets or ():
        if name not in known:
            raise unknown("dataset among the records", name, known)
    known = {group.protocol["name"] for group in groups}
    if protocol is not None and protocol not in known:
        raise unknown("protocol among the records", protocol, known)
    known = {method for group in groups for method in group.entries}
    for pattern in methods or ():
        if not any(fnmatchcase(method, pattern) for method in known):
            raise unknown("method among the records", pattern, known)
    chosen = []
    for group in groups:
        shown = set(group.entries)
        if methods is not None:
            shown = {m for m in shown if any(fnmatchcase(m, pattern) for pattern in methods)}
        if (
            shown
            and (datasets is None or group.dataset in datasets)
            and protocol in (None, group.protocol["name"])
        ):
            chosen.append(replace(group, hidden=frozenset(set(group.entries) - shown)))
    return tuple(chosen)


def _tidy(group: Group, runs: Iterable[Record]) -> pd.DataFrame:
    import pandas as pd

    names = [metric.name for metric in SCALARS[group.kind]]
    rows = []
    for record in runs:
        spec, entry = record.spec, group.entries[record.spec.method]
        head = (spec.dataset, spec.source, "+".join(spec.modalities), group.protocol_name)
        head += (spec.arithmetic,)
        head += (spec.fingerprint, spec.method, spec.version, entry["family"], entry["role"])
        head += (spec.fold, spec.seed, spec.placebo)
        for deployment, values in record.metrics.items():
            for name in names:
                rows.append((*head, deployment, name, values.get(name), record.id))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({"value": "float64"})
