"""Datasets of torchgeo as adapters: torchgeo reads and checks, a declaration says what is what.

Any `NonGeoDataset` whose sample has several sensors will do. torchgeo takes seconds to import: that
happens when labels and samples are read, and whatever trains on prepared arrays does without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmark.errors import UserError
from benchmark.problem import ModalityKind, ModalitySpec, TaskSpec
from datasets.common.contract import PARTS, Adapter, Catalogue, MissingFilesError, View
from datasets.common.images import shrink
from datasets.common.subsample import subsample

CHANNEL_AXIS = {"image": 0, "series": 1, "vector": 0}
"""Of torchgeo's tensors: (C, H, W), (T, C) or (T, C, H, W), (C,)."""


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
    protocol cuts one from the training part. options: keyword arguments of every part.
    sensors: the modalities. task: what ``sample[label]`` is. files: names below the dataset's
    folder, of files or folders, without which nothing can be read; the data count as changed when
    their size or date has.
    """

    needed = ("reads", "splits", "sensors", "task", "files")
    reads: str
    splits: Mapping[str, Mapping[str, Any]]
    options: Mapping[str, Any] = MappingProxyType({})
    sensors: Mapping[str, Sensor]
    task: TaskSpec
    label: str = "label"
    files: tuple[str, ...]
    official_split = True
    by_name_only = True

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
            part: (self.reads, str(root), part, _arguments(self, part)) for part in self.splits
        }
        y, names, split = [], [], []
        for part, kind in kinds.items():
            dataset = _opened(*kind)
            try:
                y.append(np.asarray(self.targets(dataset)))
                names += [f"{part} {name}" for name in self.names(dataset)]
            except UserError:
                raise
            except Exception as error:  # whatever torchgeo makes of files that are not whole
                raise _unreadable(f"labels of {part}", root, self.reads, error) from error
            if not len(dataset):
                raise UserError(f"{root}: {part} has no sample; get the files again")
            split += [part] * len(dataset)
        y, split = np.concatenate(y), np.array(split)
        if len(y) != len(split) or len(names) != len(split):
            raise UserError(
                f"{self.name} in {root}: {len(split)} samples, {len(y)} targets, {len(names)} names"
            )
        number = np.concatenate([np.arange((split == part).sum()) for part in self.splits])
        chosen = subsample(self.task, y, None, split, view.samples)
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
            groups=None,
            split=parts,
            dtypes=dtypes,
            read=read,
            notices=notices,
        )


def _arguments(adapter: TorchgeoAdapter, part: str) -> tuple[tuple[str, Any], ...]:
    if part not in PARTS:
        raise UserError(f"{adapter.name}: '{part}' is no part of a split; {', '.join(PARTS)} are")
    return tuple({**adapter.options, **adapter.splits[part]}.items())


@lru_cache(maxsize=16)
def _opened(reads: str, root: str, part: str, arguments: tuple[tuple[str, Any], ...]) -> Any:
    """A part of a dataset, open once in a process."""
    module, _, name = reads.rpartition(".")
    try:
        return getattr(import_module(module), name)(root=root, **dict(arguments))
    except Exception as error:  # torchgeo's own, of its libraries, and assertions
        raise _unreadable(part, root, reads, error) from error


def _unreadable(what: str, root: str | Path, reads: str, error: Exception) -> UserError:
    if isinstance(error, UserError):
        return error
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return UserError(f"{root}: {what} cannot be read by {reads} ({reason})")


def _viewed(array: np.ndarray, kind: ModalityKind, view: View) -> np.ndarray:
    """The array, or an image of fewer pixels where that is asked."""
    small = kind == "image" and view.image_px and view.image_px < len(array)
    return shrink(array, view.image_px) if small else array
