"""Run records on disk: one JSON a run, committed after the predictions that it vouches for.

    <results>/records/<dataset>/<method>/<id>.json     everything but the predictions
    <results>/records/<dataset>/<method>/<id>.npz      predictions, named with their sha256 above
    <results>/records/<dataset>/<method>/<id>.features.npz   where a run was asked to keep them
    <results>/trials/<dataset>/<method>/<id>.json, .npz      of trials, which are in no table's rows

The predictions are written first; the record follows by an atomic rename, so that a record that
exists is whole. The first to record a run as done is believed; several processes, on several
machines, may write below one folder without locks. Nothing that is shown later comes from
elsewhere.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import random
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypedDict,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from benchmark.errors import UserError, numpy_says
from benchmark.folders import names_below
from benchmark.spec import RunSpec
from benchmark.stopping import finishing
from benchmark.writers import atomic, claim, part_of

if TYPE_CHECKING:
    import numpy as np

SCHEMA = 1
Status = Literal["done", "failed", "not applicable"]


class Entry(TypedDict, total=False):
    """What a record says of its method, so that a report needs no method to exist.

    defaults_for: datasets for which its authors published its defaults; older records lack it.
    pretrained: what the encoder that it brings has seen; methods that bring none lack it.
    """

    family: str
    role: str
    defaults_from: str
    defaults_for: list[str]
    reference: str
    pretrained: str


class Task(TypedDict, total=False):
    """`benchmark.problem.TaskSpec` before it is fitted."""

    kind: str
    outputs: int
    class_names: list[str]
    unit: str


class Data(TypedDict, total=False):
    """Of the dataset, and of this fold's parts: train, val and test are numbers of samples.

    groups: their number, or None. split_of: the dataset of which this is another split, if it is
    one. divided_groups: how many of the groups stand in more than one part of an official split,
    where one does. unseen: part → number of its samples whose class the training part lacks.
    constant_channels: modality → channels without two different values in the training part, which
    are 0 in all parts. form: of those that the dataset is distributed in, the one that was read.
    Older records have none of these five.
    """

    task: Task
    samples: int
    groups: int | None
    group_kind: str | None
    split_of: str
    divided_groups: int
    form: str
    train: int
    val: int
    test: int
    unseen: Mapping[str, int]
    constant_channels: Mapping[str, list[str]]


class Standing(TypedDict, total=False):
    """What a protocol says of the tables of its runs; nothing that decides a number.

    evidence: whether they may carry marks and tests. flags: what a reader has to hold against it.
    rope: region of practical equality, in the unit of the primary metric; None leaves it to the
    report. view: how much of the dataset is looked at.
    """

    title: str
    evidence: bool
    flags: list[str]
    rope: float | None
    view: Mapping[str, Any]


class Cost(TypedDict, total=False):
    """Of all stages, artefacts included; of one prediction by deployment."""

    seconds: float
    steps: int
    training_flops: int | None
    training_parameters: int
    inference_parameters: Mapping[str, int]
    inference_flops: Mapping[str, int]


Number = float | None
Value = Number | list[Number] | list[list[Number]]
"""Of a metric: None where it is undefined; by class or range; a confusion matrix."""


@dataclass(frozen=True)
class Record:
    """All that is known of one run.

    reason: why a run failed or does not apply. metrics: deployment → metric → value. stages: of
    this run and of the artefacts it used, as `benchmark.training.fit.StageLog` tells. environment:
    versions, git revision, device: where it ran, never part of the id. standing: of the protocol.
    code: sha256 of the code of the method and of what its artefacts are made by
    (`benchmark.planning.code`); empty where it is not known.
    predictions_sha256, features_sha256: digests of the ``.npz`` and the ``.features.npz`` beside
    the record. metrics_sha256: `digest` of predictions_sha256 and metrics; None in old records.
    """

    id: str
    spec: RunSpec
    status: Status
    reason: str | None = None
    entry: Entry = field(default_factory=Entry)
    data: Data = field(default_factory=Data)
    metrics: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    environment: Mapping[str, Any] = field(default_factory=dict)
    predictions_sha256: str | None = None
    features_sha256: str | None = None
    metrics_sha256: str | None = None
    standing: Standing = field(default_factory=Standing)
    code: Mapping[str, str] = field(default_factory=dict)
    created: str = ""

    def path(self, results: Path) -> Path:
        """Where the record lies below a results folder."""
        return record_path(results, self.spec)


def record_path(results: Path, spec: RunSpec) -> Path:
    """Where the record of ``spec`` lies below a results folder."""
    return results / _folder(spec) / spec.dataset / spec.method / f"{spec.id}.json"


RECORDS, TRIALS = "records", "trials"
"""Folders of runs, which are scored on test parts, and of trials, which never see one."""


def models_path(results: Path, spec: RunSpec) -> Path:
    """Where a run's kept models lie below a results folder, one folder for each deployment."""
    return results / "models" / spec.id


def _folder(spec: RunSpec) -> str:
    return TRIALS if spec.trial else RECORDS


def digest(record: Record) -> str:
    """sha256 over the metrics of a record and the digest of the predictions that they belong to.

    It shows that one of the two was changed afterwards by hand or by accident. It is no signature:
    whoever computes it anew is not found out by it, but by `verify`, which has the targets.
    """
    text = json.dumps([record.predictions_sha256, record.metrics], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def metrics_fault(record: Record) -> str | None:
    """What is wrong if the metrics of a record are not those that it was committed with."""
    if record.metrics_sha256 is None or record.metrics_sha256 == digest(record):
        return None
    return (
        "its metrics do not belong to its predictions: one of the two was changed after the run "
        "(`verify` says which numbers)"
    )


LARGEST = 1 << 32
"""Bytes of all arrays in a file beside a record; no run of the datasets has a tenth of it."""

ATTEMPTS = 10
"""To commit a record while other processes commit the same one with other bytes."""


def write(
    record: Record,
    predictions: Mapping[str, np.ndarray] | None,
    results: Path,
    features: Mapping[str, np.ndarray] | None = None,
    replaces: str | None = None,
) -> Record:
    """Commit a record and return it with the digests of what lies beside it.

    If the run is recorded as done already, that record stays and is returned, unless it was made
    at ``replaces``: it gives way to another that is done, and stays where the run fails now.
    predictions: deployment → (n_test, C) or (n_test,), and the sample ids (n_test,) under "ids".
    features: "<deployment>/<part>" → (n_test, D), or None if they are not kept.
    """
    import numpy as np

    path = record.path(results)
    beside: dict[Path, bytes] = {}
    for arrays, suffix, vouched in (
        (predictions, ".npz", "predictions_sha256"),
        (features, ".features.npz", "features_sha256"),
    ):
        if arrays:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **arrays)
            content = beside[path.with_suffix(suffix)] = buffer.getvalue()
            record = replace(record, **{vouched: hashlib.sha256(content).hexdigest()})
    if record.metrics:
        record = replace(record, metrics_sha256=digest(record))
    document = {"schema": SCHEMA, **asdict(record)}
    text = _encode(document) + b"\n"
    with finishing():
        for attempt in range(ATTEMPTS):
            found = find(record.spec, results)
            if found is not None and found.status == "done":
                if found.created != replaces:
                    return found
                if record.status != "done":
                    return record
            if attempt:  # not in step with whoever else writes it
                time.sleep(random.SystemRandom().uniform(0, 0.01 * 2**attempt))
            if not beside:
                own = path.with_name(part_of(path.name))
                with atomic(own) as file:
                    file.write(text)
                _take_away_unless_done(path, results)
                if claim(own, path):
                    return record
                own.unlink(missing_ok=True)
                continue
            with ExitStack() as files:  # all are on disk before the first gets its name
                for place, content in ((path, text), *beside.items()):
                    file = files.enter_context(atomic(place))
                    file.write(content)
                    file.flush()
            if not features:  # those of a record that gave way
                path.with_suffix(".features.npz").unlink(missing_ok=True)
        # Each time, another process has put something else in between.
        raise UserError(f"{path}: other processes keep writing it; stop all but one, run again")


def _take_away_unless_done(path: Path, results: Path) -> None:
    """Make room for another record; one that is done by now, of another process, stays."""
    aside = path.with_name(part_of(path.name))
    with suppress(FileNotFoundError):  # there is none, or another process was quicker
        if _is_done(path, results):
            return
        path.rename(aside)
        if _is_done(aside, results) and not claim(aside, path) and not _is_done(path, results):
            aside.replace(path)
        aside.unlink(missing_ok=True)


def _is_done(path: Path, results: Path) -> bool:
    """Whether a whole record of a run that is done is there, with its predictions."""
    with suppress(UserError):
        record = read(path)
        if record.status == "done":
            read_predictions(record, results)
            return True
    return False


def _encode(document: Any) -> bytes:
    """JSON in UTF-8. Raises ValueError for what has none: infinite numbers, lone surrogates."""
    return json.dumps(document, allow_nan=False, ensure_ascii=False).encode()


def _decode(content: bytes) -> Any:
    """The inverse of `_encode`. Raises ValueError for what that would not have written."""
    text = content.decode("utf-8-sig")
    document = _DECODER.decode(text)
    if "\\u" in text:  # the only way to write half a character
        _encode(document)
    return document


def _finite(number: str) -> float:
    if math.isfinite(value := float(number)):
        return value
    raise ValueError(f"{number:.60} is not JSON compliant")


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)
"""nan and the infinite in letters, and numbers too large for a float, are refused."""


def load(spec: RunSpec, results: Path) -> Record | None:
    """The record of ``spec``, or None if there is none.

    Raises `UserError`, naming the file, if there is something else in its place, if its metrics
    were changed, or if it is done and its predictions are not those that it vouches for.
    """
    path = record_path(results, spec)
    if not os.path.lexists(path):
        return None
    record = read(path)
    if record.id != spec.id:
        raise UserError(f"{path}: the record of another run")
    if fault := metrics_fault(record):
        raise UserError(f"{path}: {fault}")
    if record.status == "done":
        read_predictions(record, results)
    return record


def find(spec: RunSpec, results: Path) -> Record | None:
    """The whole record of ``spec``, or None if there is no such."""
    with suppress(UserError):
        return load(spec, results)
    return None


def read(path: Path) -> Record:
    """Read one record.

    Raises `UserError`, naming the file, if it is not a whole record of this benchmark.
    """
    try:
        return parse(path.read_bytes(), path)
    except OSError as error:
        raise _not_whole(path, error) from error


def parse(content: bytes, path: Path, *, whole: bool = False) -> Record:
    """The record that the file at ``path`` holds; errors as `read`.

    whole: the same content has been read before without an error, and is not looked through again.
    """
    try:
        document = json.loads(content) if whole else _decode(content)
        if document.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        record = Record(**{**document, "spec": RunSpec(**document["spec"])})
        if not whole:
            check_types(record.spec)
            check_types(record)
            if record.spec.id != record.id:
                raise ValueError("its id is not that of its spec")
        # No name that a file gives may lead elsewhere.
        if path.parts[-3:-1] != (record.spec.dataset, record.spec.method):
            raise ValueError("its folders are not those of its spec")
        return record
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _not_whole(path, error) from error


def _not_whole(path: Path, error: Exception) -> UserError:
    reason = str(error).encode("utf-8", "backslashreplace").decode()
    return UserError(f"{path}: not a whole record of this benchmark ({reason})")


def check_types(value: Any) -> None:
    """Raise TypeError if a field of a dataclass is not of the type that it is declared with."""
    for name, fits in _fields(type(value)):
        found = getattr(value, name)
        if not fits(found):
            raise TypeError(f"'{name}' cannot be {found!r:.60}")


Fits = Callable[[Any], bool]


@cache
def _fields(kind: type) -> list[tuple[str, Fits]]:
    return [(name, _fits(hint)) for name, hint in get_type_hints(kind).items()]


@cache
def _fits(hint: Any) -> Fits:
    """Tells of a value that was read from JSON whether it is of a type, all the way down."""
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind is Any:
        return lambda value: True
    if kind in (int, float):
        most, types = sys.float_info.max, (int, kind)
        return lambda value: type(value) in types and -most <= value <= most
    if kind is Literal:
        return lambda value: value in arguments
    if kind in (UnionType, Union):
        return _any_of([*map(_fits, arguments)])
    if kind in (list, tuple):
        item = _fits(arguments[0])
        return lambda value: isinstance(value, kind) and all(map(item, value))
    if kind is Mapping:
        item = _fits(arguments[1])
        return lambda value: isinstance(value, dict) and all(map(item, value.values()))
    if is_typeddict(kind):
        fields = {name: _fits(own) for name, own in get_type_hints(kind).items()}
        return lambda value: (
            isinstance(value, dict)
            and all(name not in fields or fields[name](own) for name, own in value.items())
        )
    return lambda value: isinstance(value, kind)


def _any_of(alternatives: list[Fits]) -> Fits:
    def fits(value: Any) -> bool:
        for alternative in alternatives:  # noqa: SIM110, of a comprehension twice as slow
            if alternative(value):
                return True
        return False

    return fits


def files(results: Path, folder: str = RECORDS) -> list[Path]:
    """The files that should be records below a results folder, in the order of their paths.

    folder: `TRIALS` for those of trials. Raises `UserError` for a folder that cannot be read.
    """
    try:
        names = [n for n in names_below(os.fspath(results / folder)) if n.endswith(".json")]
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error
    names.sort(key=lambda name: name.split(os.sep))
    return [Path(name) for name in names if not os.path.basename(name).startswith(".")]


def none_there(results: Path, *parts: Path) -> UserError:
    """The error for a results folder without runs; parts: what it was unpacked to, if it was."""
    if any(files(part, TRIALS) for part in parts or (results,)):
        return UserError(
            f"{results}: there are trials of `tune` and no runs; `run --hparams FILE`, with the "
            "file that `tune` has written, makes the records that tables and figures of tuning "
            "are made from"
        )
    return UserError(f"{results}: no records there; `run` makes them, --results names their folder")


def read_all(results: Path, folder: str = RECORDS) -> tuple[list[Record], list[str]]:
    """All records below a results folder in the order of their paths, and what was unreadable.

    folder: as in `files`.
    """
    records, unreadable = [], []
    for path in files(results, folder):
        try:
            records.append(read(path))
        except UserError as error:
            unreadable.append(str(error))
    return records, unreadable


def read_predictions(record: Record, results: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Sample ids (n,) and deployment → predictions of a record that is done.

    Raises `UserError` if the file is missing, damaged, or not the one that the record vouches for.
    """
    path = record.path(results).with_suffix(".npz")
    predictions = _read_arrays(path, record.predictions_sha256, "predictions")
    if "ids" not in predictions:
        raise _not_those(path, "predictions", "it has no sample ids")
    return predictions.pop("ids"), predictions


def read_features(record: Record, results: Path) -> dict[str, np.ndarray]:
    """ "<deployment>/<part>" → features (n_test, D) that a run kept; errors as above."""
    path = record.path(results).with_suffix(".features.npz")
    return _read_arrays(path, record.features_sha256, "features")


def _read_arrays(path: Path, sha256: str | None, what: str) -> dict[str, np.ndarray]:
    import numpy as np

    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError("its sha256 is not the one in the record")
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            if sum(member.file_size for member in file.infolist()) > LARGEST:
                raise ValueError("it holds more than any run predicts")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        if not all(isinstance(array, np.ndarray) for array in found.values()):
            raise ValueError("it holds something else than arrays")
        return found
    except Exception as error:  # whatever numpy makes of a file that it has not written
        raise _not_those(path, what, numpy_says(error)) from error


def _not_those(path: Path, what: str, reason: str) -> UserError:
    return UserError(f"{path}: not the {what} of its record ({reason})")
