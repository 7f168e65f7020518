"""What a dataset's numbers rest on, checked on its files: a sentence for whatever is not so."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from benchmark.conformance.finding import Finding, NotCheckedError
from benchmark.errors import UserError
from benchmark.planning.protocol import Protocol
from benchmark.planning.split import Fold, folds
from benchmark.training.data import FoldData, fold_data
from datasets.common import checking, prepared
from datasets.common.contract import Adapter, Catalogue, EODataset, Source, View

FEW = 60
"""Samples that are prepared again and again."""

SOME = 20
"""Samples that are read a second time."""

MANY = 2_000
"""Samples that are prepared as a whole, at most, to see what is said of a damaged file."""

SMALL = 50_000_000
"""Bytes of a native file that is damaged, at most."""

GENERATED = 100
"""Samples of stand-ins that are generated for a check."""

VICTIMS = 6
"""Files that are damaged: one of each folder and suffix, at most so many."""


@dataclass(frozen=True)
class Subject:
    """A dataset that is checked: its adapter, its native files, and a protocol that looks at it.

    scratch: an empty folder that is removed afterwards.
    """

    adapter: Adapter
    native: Path
    source: Source
    protocol: Protocol
    scratch: Path

    @property
    def view(self) -> View:
        return View(**self.protocol.view_for(self.adapter.name))

    @property
    def few(self) -> View:
        return replace(self.view, samples=min(FEW, self.view.samples or FEW))

    def open(self, view: View, modalities: tuple[str, ...] | None = None) -> Catalogue:
        modalities = modalities or self.adapter.modalities
        catalogue = self.adapter.open(self.native, modalities, view)
        checking.check(self.adapter, self.native, modalities, catalogue)
        return catalogue

    def prepare(
        self, view: View, adapter: Adapter | None = None, native: Path | None = None
    ) -> EODataset:
        """Prepared anew, in a cache of its own."""
        cache = Path(tempfile.mkdtemp(dir=self.scratch))
        adapter, native = adapter or self.adapter, native or self.native
        return prepared.prepare(adapter, native, self.source, adapter.modalities, view, cache)[0]

    @cached_property
    def dataset(self) -> EODataset:
        return self.prepare(self.view)

    @cached_property
    def folds(self) -> list[Fold]:
        return folds(self.dataset, self.protocol.values_for(self.adapter.name))


def check(adapter: Adapter, native: Path, source: Source, protocol: Protocol) -> Iterator[Finding]:
    """Put a dataset through all checks, one after the other; what cannot be prepared ends it."""
    with tempfile.TemporaryDirectory() as scratch:
        subject = Subject(adapter, native, source, protocol, Path(scratch))
        for name, one in CHECKS.items():
            try:
                yield Finding(name, tuple(one(subject)))
                continue
            except NotCheckedError as reason:
                yield Finding(name, not_checked=str(reason))
                continue
            except UserError as error:
                said = str(error)
            except Exception as error:  # any error of an adapter is a fault of it
                said = f"{_said(error)}: raise benchmark.errors.UserError, one clear sentence"
            yield Finding(name, (said,))
            if one is samples:
                return


def _said(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


# --- What it says of itself ---------------------------------------------------------------------


def declares(subject: Subject) -> Iterator[str]:
    """Facts about the dataset, and the names of its native files."""
    adapter = subject.adapter
    published = ("citation", "licence", "url") * (adapter.root is None)
    for fact in ("title", "layout", *published):
        if not (isinstance(value := getattr(adapter, fact), str) and value.strip()):
            yield f"its {fact} is {value!r}: say what it is"
    if len(set(adapter.modalities)) < max(2, len(adapter.modalities)):
        yield f"its modalities are {', '.join(adapter.modalities)}: co-learning needs two or more"
    files = adapter.source_files(subject.native)
    if not files:
        yield "source_files() names none: a change of the data would not be noticed"
    if files != adapter.source_files(subject.native) or len(set(files)) < len(files):
        yield "source_files() must give every name once, and the same list each time"
    for name in files:
        if not (subject.native / name).exists():
            yield f"source_files() names {name}, which is not in {subject.native}"


# --- What it gives ------------------------------------------------------------------------------


def samples(subject: Subject) -> Iterator[str]:
    """Shapes, dtypes, ids, targets in range; values that are read twice, and are not standardised.

    What does not fit the contract is raised as `UserError` on the way here.
    """
    data = subject.dataset
    if not data.task.is_classification and data.y.dtype != np.float64 and data.y.ndim == 1:
        yield f"targets of a regression are {data.y.dtype}; give float64"
    for m, values in data.x.items():
        flat = _all(values).reshape(-1, values.shape[-1]).astype(np.float64)
        mean, std = np.nanmean(flat, axis=0), np.nanstd(flat, axis=0)
        if (abs(mean) < 1e-3).all() and (abs(std - 1) < 1e-3).all():
            yield (
                f"{m}: every channel has mean 0 and deviation 1 over all samples: give values as "
                "they were measured; standardising is the harness's, with training rows alone"
            )


def again(subject: Subject) -> Iterator[str]:
    """A sample is the same when it is read again, with other modalities, or among others."""
    whole = subject.open(replace(subject.view, samples=None))
    fewer_view = replace(subject.view, samples=max(2, min(FEW, len(whole) // 2)))
    few = subject.open(fewer_view)
    if len(few) > fewer_view.samples:
        yield (
            f"{len(few)} samples where View.samples asks for at most {fewer_view.samples}: choose "
            "with datasets.common.subsample"
        )
    ids = np.intersect1d(whole.ids, few.ids)
    if len(ids) < len(few):
        yield "ids are others when fewer samples are looked at: an id belongs to a sample"
    place = {name: i for i, name in enumerate(whole.ids.tolist())}
    where = {name: i for i, name in enumerate(few.ids.tolist())}
    for name in ids[:: max(1, len(ids) // SOME)].tolist():
        first, second = whole.read(place[name]), whole.read(place[name])
        among = few.read(where[name])
        for m in subject.adapter.modalities:
            alone = np.asarray(first[m])
            if not np.array_equal(alone, np.asarray(second[m]), equal_nan=alone.dtype.kind == "f"):
                yield f"{m} of '{name}' is another when it is read again"
            elif not np.array_equal(alone, np.asarray(among[m]), equal_nan=alone.dtype.kind == "f"):
                yield f"{m} of '{name}' is another when fewer samples are looked at"
        if not np.array_equal(whole.y[place[name]], few.y[where[name]]):
            yield f"the target of '{name}' is another when fewer samples are looked at"
    for pair in list(combinations(subject.adapter.modalities, 2))[:3]:
        turned = subject.open(fewer_view, pair[::-1])
        common = [name for name in turned.ids.tolist() if name in place]
        at = {name: i for i, name in enumerate(turned.ids.tolist())}
        if any(not np.array_equal(turned.y[at[n]], whole.y[place[n]]) for n in common):
            yield f"targets are others when only {' and '.join(pair)} are looked at"


# --- What training makes of it ------------------------------------------------------------------


def disjoint(subject: Subject) -> Iterator[str]:
    """No sample and no group stands in two parts of a split."""
    data = subject.dataset
    for fold in subject.folds:
        parts = {"training": fold.train, "validation": fold.val, "test": fold.test}
        for (a, first), (b, second) in combinations(parts.items(), 2):
            if np.array_equal(first, second):  # the protocol `paper` validates on the test part
                continue
            if shared := np.intersect1d(first, second).size:
                yield f"fold {fold.number}: {shared} samples in the {a} and the {b} part"
            if data.groups is None:
                continue
            shared = np.intersect1d(data.groups[first], data.groups[second])
            kept_whole = data.split is not None or subject.protocol.split == "grouped"
            if len(shared) and kept_whole:
                yield f"fold {fold.number}: group '{shared[0]}' is in the {a} and the {b} part"


def statistics(subject: Subject) -> Iterator[str]:
    """Other values and targets in test rows leave all that is trained on as it is."""
    if subject.protocol.statistics != "training":
        raise NotCheckedError(f"protocol '{subject.protocol.name}' takes statistics of all samples")
    data, fold = subject.dataset, subject.folds[0]
    other = replace(data, x={m: _all(x) for m, x in data.x.items()}, y=data.y.copy())
    for x in other.x.values():
        x[fold.test] = 100 if x.dtype == np.uint8 else x[fold.test] * 100 + 1e4
    other.y[fold.test] = other.y[fold.train[0]]
    seen, unseen = (_training_part(_standardised(each, fold)) for each in (data, other))
    for what in seen:
        if not torch.equal(seen[what], unseen[what]):
            yield f"{what} of the training part depends on the test rows"


def _standardised(data: EODataset, fold: Fold) -> FoldData:
    return fold_data(data, fold, "training", torch.device("cpu"))


def _training_part(data: FoldData) -> dict[str, torch.Tensor]:
    batch = data.train.batch(torch.arange(min(FEW, len(data.train))))
    weights = torch.tensor(data.task.class_weights or (data.task.target_mean, data.task.target_std))
    return {**batch.x, "target": batch.y, "class weights or target scale": weights}


def fingerprint(subject: Subject) -> Iterator[str]:
    """The same data have the same fingerprint; another value, target or id gives another one."""
    first = subject.prepare(subject.few).fingerprint
    if subject.prepare(subject.few).fingerprint != first:
        yield "the fingerprint is another when the same files are prepared again"
    for what, change in CHANGES.items():
        adapter = copy.copy(subject.adapter)
        adapter.open = lambda *given, change=change: change(subject.adapter.open(*given))
        if subject.prepare(subject.few, adapter).fingerprint == first:
            yield f"the fingerprint stays when {what} changes"


def _other_value(catalogue: Catalogue) -> Catalogue:
    def read(i: int) -> Mapping[str, np.ndarray]:
        arrays = dict(catalogue.read(i))
        if i == 0:
            m = next(iter(arrays))
            arrays[m] = np.where(arrays[m] == 1, 2, 1).astype(arrays[m].dtype)
        return arrays

    return replace(catalogue, read=read)


def _other_target(catalogue: Catalogue) -> Catalogue:
    y = catalogue.y.copy()
    if catalogue.task.kind == "regression":
        y[0] += 1
    elif catalogue.task.kind == "multilabel":
        y[0] = 1 - y[0]
    else:
        y[0] = (y[0] + 1) % catalogue.task.outputs
    return replace(catalogue, y=y)


def _other_id(catalogue: Catalogue) -> Catalogue:
    ids = catalogue.ids.astype(object)
    ids[0] = f"another-{ids[0]}"
    return replace(catalogue, ids=ids.astype(np.str_))


CHANGES: Mapping[str, Callable[[Catalogue], Catalogue]] = {
    "a value": _other_value,
    "a target": _other_target,
    "an id": _other_id,
}


# --- Bad files ----------------------------------------------------------------------------------


def bad_files(subject: Subject) -> Iterator[str]:
    """A file that is gone, empty or cut short is one sentence that names it; never another error.

    Nor are 64 bytes that are overwritten, which may also be values like others.
    """
    subject = _generated(subject)
    whole = replace(subject.view, samples=None)
    view = whole if len(subject.open(whole)) <= MANY else subject.few
    folder = _linked(subject)
    usual = subject.prepare(view, native=folder)
    files = subject.adapter.source_files(subject.native)
    if view is not whole and len(files) > VICTIMS:
        raise NotCheckedError(f"more than {MANY:,} samples in many files, and no stand-in")
    paths = {name: subject.native / name for name in files}
    small = [n for n, path in paths.items() if path.is_file() and path.stat().st_size <= SMALL]
    if not small:
        raise NotCheckedError(f"no file has at most {SMALL:,} bytes")
    alike = {(PurePosixPath(name).parent, PurePosixPath(name).suffix): name for name in small}
    for name in list(alike.values())[:VICTIMS]:
        content = (subject.native / name).read_bytes()
        middle = len(content) // 2
        damages = {
            "is gone": None,
            "is empty": b"",
            "ends in its middle": content[:middle],
            OVERWRITTEN: content[:middle] + b"\xff" * 64 + content[middle + 64 :],
        }
        for damage, now in damages.items():
            (folder / name).unlink(missing_ok=True)  # the link, never what it leads to
            if now is not None:
                (folder / name).write_bytes(now)
            yield from _told(lambda: subject.prepare(view, native=folder), name, damage, usual)
        (folder / name).unlink(missing_ok=True)
        _link(subject, name, folder)


OVERWRITTEN = "has other bytes in its middle"


def _told(
    prepare: Callable[[], EODataset], name: str, damage: str, usual: EODataset
) -> Iterator[str]:
    """What is wrong with what is said of a damaged file; ``usual``: the data without damage.

    What no sample needs may be damaged.
    """
    try:
        found = prepare()
    except UserError as error:
        # A shapefile, for one, is several files of one stem; other bytes may be values like others.
        if PurePosixPath(name).stem not in str(error) and damage not in ("is gone", OVERWRITTEN):
            yield f"where {name} {damage}, the sentence does not name it: {error}"
    except Exception as error:  # whatever libraries make of such files
        yield (
            f"where {name} {damage}: {_said(error)}; raise benchmark.errors.UserError, a sentence "
            "that names the file and says what to do"
        )
    else:
        silent = set(found.notices) <= set(usual.notices)
        if damage != OVERWRITTEN and silent and found.fingerprint != usual.fingerprint:
            yield f"where {name} {damage}, nothing is said"


def _linked(subject: Subject) -> Path:
    """A folder of links to the native files that are named, and of nothing else."""
    files = subject.adapter.source_files(subject.native)
    if any(PurePosixPath(name).is_absolute() or ".." in Path(name).parts for name in files):
        raise NotCheckedError("some of its files lie outside its folder")
    folder = Path(tempfile.mkdtemp(dir=subject.scratch))
    for name in files:
        _link(subject, name, folder)
    return folder


def _link(subject: Subject, name: str, folder: Path) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to((subject.native / name).resolve())


def named(subject: Subject) -> Iterator[str]:
    """The files that `Adapter.source_files` names are all that is read."""
    native = _linked(subject)
    sentence = "a change of that file would not be noticed"
    try:
        found = subject.prepare(subject.few, native=native)
    except Exception as error:
        yield f"source_files() does not name all that is read ({_said(error)}): {sentence}"
        return
    if found.fingerprint != subject.prepare(subject.few).fingerprint:
        yield f"source_files() does not name a file that is read: {sentence}"


def _generated(subject: Subject) -> Subject:
    """With generated native files, which are small, where they can be generated."""
    if not subject.adapter.can_generate:
        return subject
    folder = Path(tempfile.mkdtemp(dir=subject.scratch))
    subject.adapter.generate(folder, seed=0, samples=GENERATED)
    return replace(subject, native=folder, source="generated")


def generated(subject: Subject) -> Iterator[str]:
    """A stand-in is the same for a seed, another for another, and parsed by the same reader."""
    adapter = subject.adapter
    if not adapter.can_generate:
        raise NotCheckedError("it has no generated stand-in: it runs on real files alone")
    prints = []
    for seed in (0, 0, 1):
        folder = Path(tempfile.mkdtemp(dir=subject.scratch))
        adapter.generate(folder, seed=seed, samples=GENERATED)
        prints.append(subject.prepare(subject.few, native=folder).fingerprint)
    if prints[0] != prints[1]:
        yield "generate() writes other data for the same seed"
    if prints[0] == prints[2]:
        yield "generate() writes the same data for another seed"


def _all(values: Any) -> np.ndarray:
    """Prepared values as an array in memory that may be changed."""
    return np.array(values[np.arange(len(values))])


Check = Callable[[Subject], Iterator[str]]

CHECKS: Mapping[str, Check] = {
    "declares": declares,
    "samples": samples,
    "again": again,
    "disjoint": disjoint,
    "statistics": statistics,
    "fingerprint": fingerprint,
    "files named": named,
    "bad files": bad_files,
    "generated": generated,
}
