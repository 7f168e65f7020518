"""Datasets of torchgeo as adapters: torchgeo reads and checks, a declaration says what is what.

Any `NonGeoDataset` whose sample has several sensors will do. torchgeo takes seconds to import: that
happens when labels and samples are read, and whatever trains on prepared arrays does without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmark.errors import UserError
from benchmark.problem import ModalityKind, ModalitySpec, TaskSpec
from datasets.common import reading
from datasets.common.contract import PARTS, Adapter, Catalogue, MissingFilesError, View
from datasets.common.images import shrink
from datasets.common.subsample import subsample

CHANNEL_AXIS = {"image": 0, "series": 1, "vector": 0}
"""Of torchgeo's tensors: (C, H, W), (T, C) or (T, C, H, W), (C,)."""

ALL = "all"
"""What the samples of a dataset without parts are called in sentences."""


@dataclass(frozen=True)
class Sensor:
    """A modality in a sample of torchgeo.

    key: of the sample. channels: names of those that are taken, ``first`` is the number of the
    first one in the tensor. dtype: in which its array is kept (see `Catalogue`).
    """

    key: str
    channels: tuple[str, ...]
    units: str
    first: int = 0
    kind: ModalityKind = "image"
    dtype: np.dtype = np.dtype(np.float32)

    def of(self, sample: Mapping[str, Any]) -> np.ndarray:
        """The array of a sample, its channels last."""
        array = np.moveaxis(np.asarray(sample[self.key]), CHANNEL_AXIS[self.kind], -1)
        return array[..., self.first : self.first + len(self.channels)]


class TorchgeoAdapter(Adapter):
    """What a declaration fills in, besides the facts of every `Adapter`.

    reads: the class by its full name, "torchgeo.datasets.So2Sat". splits: train, val and test →
    keyword arguments that choose that part; a dataset without a val part leaves it out, and the
    protocol cuts one from the training part. Without splits the class is made once, and the
    protocol cuts folds. options: keyword arguments, of every part. sensors: the modalities. task:
    what ``sample[label]`` is. group: the key in a sample of what must stay in one part of a split,
    a field or a site; None: nothing must. files: names below the dataset's folder, of files or
    folders, without which nothing can be read; the data count as changed when their size or date
    has.
    """

    needed = ("reads", "sensors", "task", "files")
    reads: str
    splits: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    options: Mapping[str, Any] = MappingProxyType({})
    sensors: Mapping[str, Sensor]
    task: TaskSpec
    label: str = "label"
    group: str | None = None
    files: tuple[str, ...]
    by_name_only = True

    @property
    def official_split(self) -> bool:
        return bool(self.splits)

    @property
    def group_kind(self) -> str | None:
        return self.group

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.sensors)

    @property
    def default_modalities(self) -> tuple[str, ...]:
        return tuple(self.sensors)

    def look_at(self, root: Path) -> tuple[str, ...]:
        """Notices on the files. Raises `UserError` that names one which is not whole.

        torchgeo says what is wrong with a file, and often not with which. Whatever has a table or
        lists looks at these here, before it does.
        """
        return ()

    def targets(self, dataset: Any) -> np.ndarray:
        """Targets of one part of the dataset, as in `Catalogue`.

        This one reads every sample; where the labels lie apart, a declaration reads those.
        """
        return np.stack([np.asarray(dataset[i][self.label]) for i in range(len(dataset))])

    def groups(self, dataset: Any) -> list[str] | None:
        """Names of the groups of the samples of one part; None where there are none.

        This one reads every sample; where they lie apart, as in a table of the dataset's, a
        declaration reads those.
        """
        if self.group is None:
            return None
        values = (np.asarray(dataset[i][self.group]).item() for i in range(len(dataset)))
        return [reading.name(value) or "" for value in values]

    def names(self, dataset: Any) -> list[str]:
        """Names of the samples of one part, each once in it."""
        return [str(i) for i in range(len(dataset))]

    def source_files(self, root: Path) -> list[str]:
        for name in self.files:
            if not (root / name).exists():
                raise MissingFilesError(f"{root} lacks {name}")
        return list(self.files)

    def open(self, root: Path, modalities: tuple[str, ...], view: View) -> Catalogue:
        self.source_files(root)
        notices = self.look_at(root)
        _opened.cache_clear()  # files may have changed since
        kinds = {
            part: (self.reads, str(root), part, _arguments(self, part))
            for part in self.splits or (ALL,)
        }
        y, names, groups, split = [], [], [], []
        for part, kind in kinds.items():
            y.append(_column("labels", lambda data: np.asarray(self.targets(data)), kind))
            called = _column("names", self.names, kind)
            names += [f"{part} {name}" for name in called] if self.splits else called
            groups += _column("groups", self.groups, kind) or []
            if not len(_opened(*kind)):
                raise UserError(f"{root}: {part} has no sample; get the files again")
            split += [part] * len(_opened(*kind))
        y, split = np.concatenate(y), np.array(split)
        counts = {"targets": len(y), "names": len(names), "groups": len(groups) or len(split)}
        if set(counts.values()) != {len(split)}:
            told = ", ".join(f"{n} {what}" for what, n in counts.items())
            raise UserError(f"{self.name} in {root}: {len(split)} samples, {told}")
        number = np.concatenate([np.arange((split == part).sum()) for part in kinds])
        grouped = np.array(groups) if groups else None
        official = split if self.splits else None
        chosen = subsample(self.task, y, grouped, official, view.samples)
        sensors = {m: self.sensors[m] for m in modalities}
        parts, numbers = split[chosen], number[chosen]

        def read(i: int) -> dict[str, np.ndarray]:
            part, n = parts[i], int(numbers[i])
            where = f"sample {n} of {part}"
            try:
                sample = _opened(*kinds[part])[n]
                arrays = {m: sensor.of(sample) for m, sensor in sensors.items()}
            except Exception as error:
                raise _unreadable(where, kinds[part][1], kinds[part][0], error) from error
            return {m: _viewed(array, sensors[m].kind, view) for m, array in arrays.items()}

        first = read(0) if len(chosen) else {}
        specs, dtypes = {}, {}
        for m, array in first.items():
            sensor = sensors[m]
            if array.shape[-1] != len(sensor.channels):
                raise UserError(
                    f"{self.name} in {root}: {m} has {array.shape[-1]} channels from number "
                    f"{sensor.first} on, expected {len(sensor.channels)}"
                )
            specs[m] = ModalitySpec(m, sensor.kind, array.shape, sensor.channels, sensor.units)
            thinned = view.image_px and sensor.kind == "image"
            dtypes[m] = np.dtype(np.float32) if thinned else sensor.dtype
        return Catalogue(
            modalities=specs,
            task=self.task,
            y=y[chosen],
            ids=np.array(names)[chosen],
            groups=None if grouped is None else grouped[chosen],
            split=parts if self.splits else None,
            dtypes=dtypes,
            read=read,
            notices=notices,
        )


def _arguments(adapter: TorchgeoAdapter, part: str) -> tuple[tuple[str, Any], ...]:
    if adapter.splits and part not in PARTS:
        raise UserError(f"{adapter.name}: '{part}' is no part of a split; {', '.join(PARTS)} are")
    return tuple({**adapter.options, **adapter.splits.get(part, {})}.items())


@lru_cache(maxsize=16)
def _opened(reads: str, root: str, part: str, arguments: tuple[tuple[str, Any], ...]) -> Any:
    """A part of a dataset, open once in a process."""
    module, _, name = reads.rpartition(".")
    try:
        return getattr(import_module(module), name)(root=root, **dict(arguments))
    except Exception as error:  # torchgeo's own, of its libraries, and assertions
        raise _unreadable(part, root, reads, error) from error


def _column(what: str, of: Callable[[Any], Any], kind: tuple[Any, ...]) -> Any:
    """What a declaration says of each sample of a part; ``what`` that is, for sentences."""
    reads, root, part, _ = kind
    dataset = _opened(*kind)
    try:
        return of(dataset)
    except Exception as error:  # whatever torchgeo makes of files that are not whole
        raise _unreadable(f"{what} of {part}", root, reads, error) from error


def _unreadable(what: str, root: str | Path, reads: str, error: Exception) -> UserError:
    if isinstance(error, UserError):
        return error
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return UserError(f"{root}: {what} cannot be read by {reads} ({reason})")


def _viewed(array: np.ndarray, kind: ModalityKind, view: View) -> np.ndarray:
    """The array, or an image of fewer pixels where that is asked."""
    small = kind == "image" and view.image_px and view.image_px < len(array)
    return shrink(array, view.image_px) if small else array
