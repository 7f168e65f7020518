"""From records to the groups of scores that everything shown is computed from.

Every record ends up in one place: in a group, as a run whose scores are shown, or in the list of
exclusions with the reason why they are not.
"""

from __future__ import annotations

import gc
import hashlib
import json
import marshal
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, field, replace
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
from benchmark.report.kept import NOTHING_KEPT, Kept, code_digest, key_of
from benchmark.report.text import csv_line, csv_number, shortened
from benchmark.spec import FULL, settings_text
from benchmark.terms import ALL, FAMILIES

if TYPE_CHECKING:
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
    "labels",
    "precision",
    "fingerprint",
    "method",
    "version",
    "family",
    "role",
    "differs",
    "tuned",
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
            found.setdefault(record.spec.row, []).append(record)
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
    def block(self) -> str:
        """The dataset as which it counts among others: another split of one is none of its own."""
        return self.data.get("split_of", self.dataset)

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
        """The protocol's name, and what is not as usual: labels, arithmetic, chosen values."""
        return self._with_labels(self.spec.labels)

    @property
    def curve_title(self) -> str:
        """The same without the share of the labels: groups that differ in it are a curve."""
        return self._with_labels("")

    def _with_labels(self, labels: str) -> str:
        arithmetic = self.spec.arithmetic
        parts = [self.protocol_name, labels, arithmetic != FULL and f"trained in {arithmetic}"]
        parts += [self.budget and f"tuned with {self.budget}"]
        return ", ".join(filter(None, parts))

    @property
    def budget(self) -> str:
        """By what the values of all its methods were chosen, or "" if by no trials."""
        return self.spec.budget

    @property
    def data(self) -> Mapping[str, Any]:
        """Facts of the data, as a record has them; the sizes of the parts are those of one run."""
        return self.records[-1].data

    @cached_property
    def kind(self) -> TaskKind:
        return self.data["task"]["kind"]

    @cached_property
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
        entries = {r.spec.row: {**DEFAULT_ENTRY, **r.entry} for r in self.records}

        def position(method: str) -> tuple[int, str, str]:
            family = entries[method]["family"]
            known = FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)
            return known, family, method

        return {method: entries[method] for method in sorted(entries, key=position)}

    @cached_property
    def by_hand(self) -> dict[str, str]:
        """Row → what was set by hand for its runs, in words; rows by default are not there."""
        specs = (record.spec for record in self.records)
        return {s.row: settings_text(s.differs) for s in specs if s.differs and not s.tuned}

    @cached_property
    def deployments(self) -> tuple[str, ...]:
        """What predictors were given: each modality alone, then whatever else there is."""
        found = {deployment for record in self.runs for deployment in record.metrics}
        found |= {ALL for entry in self.entries.values() if entry["role"] == "bound"}
        return (*self.modalities, *sorted(found - set(self.modalities)))


MOST_OUTPUTS = 10_000
"""No task has more; each may become a row of a table."""

DEFAULT_ENTRY = {"family": "other", "role": "method", "defaults_from": "", "reference": ""}


@dataclass(frozen=True)
class Head:
    """What is known of a group when its records need not be looked at again.

    protocol: its name. done: method → number of records with scores, placebos too; all methods are
    among them. digest: of all that the group is made of. budget: as a group has it. setting: what
    tuned runs and those by default have in common (`setting_of`). make: the group, whatever is
    hidden.
    """

    dataset: str
    protocol: str
    fingerprint: str
    modalities: Sequence[str]
    done: Mapping[str, int]
    digest: str
    budget: str
    setting: str
    make: Callable[[], Group] = field(compare=False, repr=False)
    hidden: frozenset[str] = frozenset()

    @property
    def group(self) -> Group:
        return replace(self.make(), hidden=self.hidden)

    @property
    def shown(self) -> int:
        """Number of records whose scores are shown."""
        return sum(n for method, n in self.done.items() if method not in self.hidden)


@dataclass(frozen=True)
class Results:
    """Groups in the order in which they are shown, and everything that is in none.

    files: number of files that were, or should have been, records.
    """

    heads: tuple[Head, ...]
    exclusions: tuple[Exclusion, ...]
    files: int

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        return tuple(head.group for head in self.heads)

    @property
    def shown(self) -> int:
        """Number of records whose scores are shown."""
        return sum(head.shown for head in self.heads)


def collect(
    results: Path,
    *,
    datasets: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    protocol: str | None = None,
    kept: Kept = NOTHING_KEPT,
    show: Callable[[Head], None] = lambda head: None,
) -> Results:
    """Read all records below a results folder, sort them into groups, then choose what is shown.

    methods may be patterns. What supersedes what is decided before the choice, so that a table of
    few methods shows the same runs as the table of all. show: is called with each group that is
    chosen while its records are at hand, which are then let go: all at once would fill the memory.

    Raises `UserError` if there is no record at all, or none of a name that is asked for.
    """
    paths = records.files(results)
    if not paths:
        raise records.none_there(results)
    by_dataset: dict[str, list[Path]] = {}
    for path in paths:
        by_dataset.setdefault(path.parts[-3], []).append(path)
    choice = _Choice(datasets, methods, protocol)
    heads: list[Head] = []
    excluded: dict[str, list[Exclusion]] = {}
    for dataset in sorted(by_dataset):
        with _no_collection():
            part = _Part(results, by_dataset[dataset], kept)
            for head in filter(None, map(choice, part.heads)):
                show(head)
                heads.append(head)
            part.groups = None
        for kind, found in part.excluded.items():
            excluded.setdefault(kind, []).extend(found)
    choice.check()
    exclusions = (
        e for kind in ("unreadable", "invalid", "superseded", "absent") for e in excluded[kind]
    )
    return Results(tuple(heads), tuple(exclusions), len(paths))


PLAIN = ("dataset", "protocol", "fingerprint", "modalities", "done", "digest", "budget", "setting")
"""What JSON can hold of a head, in order."""


class _Part:
    """The records of one dataset: the heads of its groups, and what is in none, by kind.

    groups: as long as they are at hand.
    """

    def __init__(self, results: Path, paths: Sequence[Path], kept: Kept) -> None:
        self.results, self.paths, self.kept = results, paths, kept
        self.groups: list[Group] | None = None
        found = kept.get(self._key(self._digests())) if kept.folder else None
        if found is None:
            digests = self._collect()
            content = [
                [[getattr(head, name) for name in PLAIN] for head in self.heads],
                {kind: list(map(astuple, found)) for kind, found in self.excluded.items()},
            ]
            if kept.folder:
                kept.put(self._key(digests), json.dumps(content, allow_nan=False).encode())
            return
        heads, excluded = json.loads(found)
        self.heads = [Head(*head, self._maker(place)) for place, head in enumerate(heads)]
        self.excluded = {kind: [Exclusion(*e) for e in found] for kind, found in excluded.items()}

    def _digests(self) -> list[str]:
        """Of each record and what lies beside it; "" for what cannot be read."""
        folders, digests = _Folders(), []
        for path in self.paths:
            digests.append("")
            with suppress(OSError):
                digests[-1] = folders.digests(_read(path), path)[0]
        return digests

    def _key(self, digests: Sequence[str]) -> str:
        beyond = len(os.path.join(self.results, ""))
        files = (
            f"{path}"[beyond:] + f" {own}" for path, own in zip(self.paths, digests, strict=True)
        )
        return key_of("part", "\n".join(files), code_digest(*CODE_OF_RUNS))

    def _maker(self, place: int) -> Callable[[], Group]:
        def make() -> Group:
            if self.groups is None:
                self._collect()
            return self.groups[place]

        return make

    def _collect(self) -> list[str]:
        """Look at the records; the digests of what they were made of."""
        read: list[Record] = []
        unreadable: list[Exclusion] = []
        of_record: dict[int, str] = {}
        digests = []
        share, folders = _Shared(), _Folders()
        whole = _Whole(self.paths[0].parts[-3], self.kept)
        for path in self.paths:
            digest = ""
            try:
                content = _read(path)
                digest, beside = folders.digests(content, path)
                record = records.parse(content, path, whole=digest in whole.before)
                _check_beside(record, path, beside)
                read.append(share(record))
                of_record[id(read[-1])] = digest
            except (UserError, OSError) as error:
                where = path.relative_to(self.results).as_posix()
                reason = str(error).removeprefix(f"{path}: ")
                unreadable.append(Exclusion(where, "unreadable", reason))
            digests.append(digest)
        valid, invalid = [], []
        for record in read:
            digest = of_record[id(record)]
            if digest not in whole.before and (reason := _defect(record)):
                invalid.append(_exclusion(record, "invalid", reason))
            else:
                valid.append(record)
                whole.now.append(digest)
        whole.keep()
        self.groups, superseded = _sort(valid)
        absent = [r for g in self.groups for r in (*g.absent, *g.placebos) if r.status != "done"]
        self.excluded = {
            "unreadable": unreadable,
            "invalid": invalid,
            "superseded": superseded,
            "absent": [_exclusion(record, record.status, record.reason or "") for record in absent],
        }
        self.heads = [
            _head(group, of_record, self._maker(place)) for place, group in enumerate(self.groups)
        ]
        return digests


class _Whole:
    """The digests of records of a dataset in which an earlier report has found no fault."""

    def __init__(self, dataset: str, kept: Kept) -> None:
        self.key, self.kept = key_of("whole", dataset), kept
        self.before = frozenset((kept.get(self.key) or b"").decode().split("\n"))
        self.now: list[str] = []

    def keep(self) -> None:
        if self.before != (now := frozenset(self.now)):
            self.kept.put(self.key, "\n".join(sorted(now)).encode())


@contextmanager
def _no_collection() -> Iterator[None]:
    """While very many objects come and stay: Python would look through all again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _head(group: Group, of_record: Mapping[int, str], make: Callable[[], Group]) -> Head:
    counts = Counter(r.spec.row for r in (*group.runs, *group.placebos) if r.status == "done")
    made_of = [[of_record[id(r)] for r in of] for of in (group.runs, group.absent, group.placebos)]
    digest = key_of("group", made_of, group.variant, group.other_code)
    done = {method: counts[method] for method in group.entries}
    spec = group.spec
    return Head(
        spec.dataset,
        spec.protocol["name"],
        spec.fingerprint,
        list(spec.modalities),
        done,
        digest,
        group.budget,
        setting_of(spec),
        make,
    )


def setting_of(spec: RunSpec, *without: str) -> str:
    """What a run, the same when it is tuned, and its trials have in common, as a digest.

    without: values of the protocol that may be others.
    """
    parts = [spec.dataset, spec.fingerprint, list(spec.modalities), spec.arithmetic]
    protocol = {name: value for name, value in spec.protocol.items() if name not in without}
    values = [parts, protocol, dict(spec.encoders)]
    return hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode()).hexdigest()


BESIDE = (".npz", ".features.npz")


class _Folders:
    """What lies where, listed once."""

    def __init__(self) -> None:
        self.known: dict[str, frozenset[str]] = {}

    def digests(self, content: bytes, path: Path) -> tuple[str, list[str | None]]:
        """One digest of a record and all beside it, and that of each, None where it is not."""
        folder, name = os.path.split(path)
        if folder not in self.known:
            self.known[folder] = frozenset(os.listdir(folder))
        beside: list[str | None] = []
        for suffix in BESIDE:
            other = name.removesuffix(".json") + suffix
            beside.append(None)
            if other in self.known[folder]:
                with open(os.path.join(folder, other), "rb") as file:
                    beside[-1] = hashlib.file_digest(file, "sha256").hexdigest()
        return f"{hashlib.sha256(content).hexdigest()} {beside[0]} {beside[1]}", beside


def _read(path: Path) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


class _Shared:
    """Makes records smaller: equal values become one, and curves are all that is left of stages."""

    def __init__(self) -> None:
        self.known: dict[bytes, Any] = {}

    def __call__(self, record: Record) -> Record:
        spec = record.spec
        spec = replace(spec, **{name: self._one(getattr(spec, name)) for name in OF_SPEC})
        own = {name: self._one(getattr(record, name)) for name in OF_RECORD}
        own["standing"] = self._one(_standing(record))
        return replace(record, spec=spec, stages=_curves_only(record.stages), **own)

    def _one(self, value: Any) -> Any:
        # Not by equality: 1 and 1.0 are, and are written differently.
        return self.known.setdefault(marshal.dumps(value, 2), value)


CODE_OF_RUNS = tuple(
    Path(__file__).parents[2] / name for name in ("benchmark", "datasets", "methods")
)
"""Of which some is known to a record, which says so where it is not what it was."""

OF_SPEC = ("fingerprint", "modalities", "hyperparameters", "artefacts", "encoders", "protocol")
OF_RECORD = ("entry", "data", "environment", "code")


def _check_beside(record: Record, path: Path, beside: Sequence[str | None]) -> None:
    """Raise `UserError` if predictions or features beside a record are not those of its run.

    They may be elsewhere: scores are in the record.
    """
    vouched = record.predictions_sha256, record.features_sha256
    for suffix, sha256, found in zip(BESIDE, vouched, beside, strict=True):
        if sha256 and found not in (None, sha256):
            name = path.with_suffix(suffix).name
            raise UserError(f"{name} is not the file that it vouches for by sha256")


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
        if not 0 < spec.protocol.get("labels", 1.0) <= 1:
            return "a share of the labels that is none"
        if spec.trial:
            return "a trial, which no table shows: it was scored on the validation part"
        if spec.tuned and not {"space", "trials", "on"} <= spec.tuned.keys():
            return "values that were chosen in an unknown way"
        if spec.placebo not in ("", *spec.modalities):
            return f"a placebo on '{spec.placebo}', which is none of its modalities"
        options = [spec.encoders["options"], spec.encoders.get("modalities", {})]
        options += [own for each in options for own in each.values()]
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
    """Whether a value that `benchmark.records` has read is a list of numbers, or of equal lists."""
    if values is None:
        return True
    if not isinstance(values, list):
        return False
    return len({len(row) if isinstance(row, list) else None for row in values}) <= 1


def _age(record: Record) -> tuple[str, str]:
    """What decides which of two set-ups is current: the time that a record states, in UTC.

    Nothing else in a record does. It is that of the clock of the machine that made it.
    """
    return record.created, record.id


def _version(record: Record) -> tuple[int, str, str]:
    """What decides which of two recipes of a method is current: its version before any clock."""
    return record.spec.version, *_age(record)


def _key(record: Record) -> tuple[str, str, tuple[str, ...], str, float, str, str]:
    """What the heading of a table says."""
    spec = record.spec
    name, share = spec.protocol["name"], spec.protocol.get("labels", 1.0)
    return spec.dataset, spec.source, spec.modalities, name, share, spec.arithmetic, spec.budget


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
    """What all runs of a method in a group must share, by the name it has in a reason.

    Values that trials have chosen may be others in every fold.
    """
    spec = record.spec
    shared = {"version of the method": spec.version, "code of the plug-in": spec.plugin[:12]}
    if spec.tuned:
        return {**shared, "space of the trials": spec.tuned["space"]}
    hyperparameters = {**spec.hyperparameters, **spec.training}
    return {
        **shared,
        "hyper-parameters": hyperparameters,
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
    texts: dict[tuple[int, int], str] = {}
    for record in sorted(valid, key=_age):
        same = id(record.spec.protocol), id(record.spec.encoders)
        if same not in texts:
            texts[same] = json.dumps(_values(record), sort_keys=True)
        found.setdefault((_key(record), texts[same]), []).append(record)
    parts = []
    for same in found.values():
        standings = {id(r.standing): r.standing for r in same}
        views = {
            key: json.dumps(standing.get("view"), sort_keys=True)
            for key, standing in standings.items()
        }
        own = [views[id(r.standing)] for r in same]
        newest = next((view for view in reversed(own) if view != "null"), "null")
        by_view: dict[str, list[Record]] = {}
        for record, view in zip(same, own, strict=True):
            by_view.setdefault(newest if view == "null" else view, []).append(record)
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


def _other_code(runs: Iterable[Record], known: dict[tuple, bool]) -> dict[str, int]:
    """Method → number of runs whose code, as far as it is known, is not that at hand.

    known: what was found out of each code, of other groups as well.
    """
    counts: Counter[str] = Counter()
    for record in runs:
        code = tuple(record.code.items())
        if code not in known:
            known[code] = bool(changed(record.code))
        counts[record.spec.row] += known[code]
    return {method: n for method, n in counts.items() if n}


def _sort(valid: Iterable[Record]) -> tuple[list[Group], list[Exclusion]]:
    """Groups of the newest data, of the newest recipe of each method; the rest is superseded."""
    groups, excluded = [], []
    known: dict[tuple, bool] = {}
    for same_key in _by_values(valid):
        current, old = _newest_only(same_key, _setup, _age)
        excluded += old
        by_method: dict[str, list[Record]] = {}
        for record in current:
            by_method.setdefault(record.spec.row, []).append(record)
        kept: list[Record] = []
        for same_method in by_method.values():
            current, old = _newest_only(same_method, _recipe, _version)
            single, double = _no_duplicates(current)
            kept += single
            excluded += old + double
        plain = [r for r in kept if not r.spec.placebo]
        methods = {r.spec.row for r in plain}
        placebos = [r for r in kept if r.spec.placebo]
        reason = "a placebo of a method that has no other run to compare it with"
        excluded += [
            _exclusion(r, "invalid", reason) for r in placebos if r.spec.row not in methods
        ]
        if plain:
            runs = tuple(r for r in plain if r.status == "done")
            absent = tuple(r for r in plain if r.status != "done")
            placebos = tuple(r for r in placebos if r.spec.row in methods)
            other_code = _other_code((*runs, *placebos), known)
            groups.append(Group(runs, absent, placebos, other_code=other_code))
    newest_first = sorted(_with_variants(groups), key=lambda g: _age(g.records[-1]), reverse=True)
    return sorted(newest_first, key=_order), excluded


def _order(group: Group) -> tuple:
    dataset, source, modalities, name, share, arithmetic, budget = _key(group.records[-1])
    known = PROTOCOLS.index(name) if name in PROTOCOLS else len(PROTOCOLS)
    other = "" if arithmetic == FULL else arithmetic
    place = dataset, source != "real", source, known, name, other, modalities, budget
    return *place, -share


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
    return Exclusion(str(spec), status, reason, str(spec.dataset), spec.row, record.id)


class _Choice:
    """What of the groups is asked for, and whether each name that is asked for is one of theirs."""

    def __init__(
        self,
        datasets: Sequence[str] | None,
        methods: Sequence[str] | None,
        protocol: str | None,
    ) -> None:
        self.datasets, self.methods, self.protocol = datasets, methods, protocol
        self.known: dict[str, set[str]] = {"dataset": set(), "protocol": set(), "method": set()}

    def __call__(self, head: Head) -> Head | None:
        """The group as it is shown, or None."""
        self.known["dataset"].add(head.dataset)
        self.known["protocol"].add(head.protocol)
        self.known["method"].update(head.done)
        shown = set(head.done)
        if self.methods is not None:
            shown = {row for row in shown if any(_is_asked(row, p) for p in self.methods)}
        if (
            shown
            and (self.datasets is None or head.dataset in self.datasets)
            and self.protocol in (None, head.protocol)
        ):
            return replace(head, hidden=frozenset(set(head.done) - shown))
        return None

    def check(self) -> None:
        """Raise `UserError` for a name that no group has."""
        known = self.known
        for name in self.datasets or ():
            if name not in known["dataset"]:
                raise unknown("dataset among the records", name, known["dataset"])
        if self.protocol is not None and self.protocol not in known["protocol"]:
            raise unknown("protocol among the records", self.protocol, known["protocol"])
        for pattern in self.methods or ():
            if not any(_is_asked(row, pattern) for row in known["method"]):
                raise unknown("method among the records", pattern, known["method"])


def _is_asked(row: str, pattern: str) -> bool:
    """Whether a pattern means a row: by its whole name, or by that of its method."""
    return fnmatchcase(row, pattern) or fnmatchcase(row.partition(" (")[0], pattern)


def scores_csv(group: Group) -> str:
    """The scores of a group in rows of `COLUMNS`, those of placebos last, without the header."""
    names = [metric.name for metric in SCALARS[group.kind]]
    placebos = [record for record in group.placebos if record.status == "done"]
    cell, lines = cache(lambda text: csv_line([text])), []
    for record in (*group.runs, *placebos):
        spec = record.spec
        if spec.row in group.hidden:
            continue
        entry = group.entries[spec.row]
        head = (spec.dataset, spec.source, "+".join(spec.modalities), group.protocol_name)
        head += (spec.protocol.get("labels", 1.0), spec.arithmetic)
        head += (spec.fingerprint, spec.row, spec.version)
        head += (entry["family"], entry["role"], settings_text(spec.differs), spec.budget)
        head += (spec.fold, spec.seed, spec.placebo)
        line = csv_line(head)
        for deployment, values in record.metrics.items():
            place = f"{line},{cell(deployment)}"
            lines += [f"{place},{n},{csv_number(values.get(n))},{record.id}\n" for n in names]
    return "".join(lines)
