"""From a prepared dataset and a fold to standardised tensors, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from benchmark.errors import UserError
from benchmark.planning.protocol import Statistics
from benchmark.planning.split import Fold
from benchmark.problem import TaskSpec
from benchmark.seeds import stream
from datasets.common.contract import EODataset
from datasets.common.packed import Packed
from methods.common.contract import Batch
from methods.common.encoders import Statistics as ChannelStatistics

ON_DEVICE = 1 << 30
"""A modality of at most this many bytes is held by the accelerator that trains on it."""

CHUNK, ELEMENTS = 256, 1 << 23
"""Samples, and numbers, that are read at once at most where a whole modality is passed over."""

EVALUATION_BATCH = 512


def channel_statistics(array: np.ndarray, samples: np.ndarray) -> ChannelStatistics:
    """Mean and population standard deviation of each channel (last axis) over ``samples``.

    Missing values (NaN) are left out. A channel that says nothing there, as it has no value or
    always the same, has an infinite standard deviation: it is 0 in all samples, also in those that
    have other values, which no weight was ever trained for.
    """
    channels = array.shape[-1]
    if array.dtype == np.uint8:
        return _statistics_of_bytes(array, samples)
    n, total = np.zeros(channels), np.zeros(channels)
    for part in map(np.float64, _chunks(array, samples)):
        present = np.isfinite(part)
        n += present.sum(axis=0)
        total += np.where(present, part, 0).sum(axis=0)
    mean = total / np.maximum(n, 1)
    square = np.zeros(channels)
    for part in map(np.float64, _chunks(array, samples)):
        square += np.where(np.isfinite(part), part - mean, 0).__pow__(2).sum(axis=0)
    std = np.sqrt(square / np.maximum(n, 1))
    # A constant channel keeps the rounding error of its mean as a "spread".
    return mean, np.where(std > 1e-7 * np.maximum(np.abs(mean), 1e-30), std, np.inf)


def _statistics_of_bytes(array: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`channel_statistics` from how often each value occurs: exact, in one pass over images."""
    counts = np.zeros((array.shape[-1], 256))
    for part in _chunks(array, samples):
        for channel, values in enumerate(part.T):
            counts[channel] += np.bincount(values, minlength=256)
    n, values = counts.sum(axis=1), np.arange(256)
    mean = counts @ values / n
    std = np.sqrt((counts * (values - mean[:, None]) ** 2).sum(axis=1) / n)
    return mean, np.where(std > 0, std, np.inf)


def channel_ranges(array: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest value of each channel (C,) over ``samples``; NaN of none."""
    low, high = np.full((2, array.shape[-1]), np.nan)
    for part in map(np.float64, _chunks(array, samples)):
        low = np.fmin(low, np.fmin.reduce(part))
        high = np.fmax(high, np.fmax.reduce(part))
    return low, high


def _chunks(array: np.ndarray, samples: np.ndarray) -> Iterator[np.ndarray]:
    """(n, channels) of some samples at a time; of fewer where they are large."""
    samples = np.sort(samples)
    step = max(1, min(CHUNK, ELEMENTS // math.prod(array.shape[1:])))
    for start in range(0, len(samples), step):
        yield array[samples[start : start + step]].reshape(-1, array.shape[-1])


Values = np.ndarray | Packed | Tensor
"""A modality's values (N, *shape) as they were prepared: a memory map, or a tensor on a device."""


def shared_values(dataset: EODataset, device: torch.device) -> dict[str, Values]:
    """What all folds of a dataset read from, by modality.

    On the CPU that is the memory maps, whose pages all processes share. An accelerator holds the
    modalities of at most `ON_DEVICE` bytes.
    """

    def place(array: np.ndarray) -> Values:
        if isinstance(array, Packed):  # is not unpacked as a whole
            return array
        if device.type == "cpu" or array.nbytes > ON_DEVICE:
            return np.asarray(array)
        return torch.from_numpy(np.array(array)).to(device)

    return {m: place(array) for m, array in dataset.x.items()}


class StandardisedModality:
    """x_m as standardised float32, missing values 0 (the channel's mean); indexed by samples.

    Nothing is kept but the channels' statistics: a batch is gathered, then standardised.
    statistics: those it was made with. constant: numbers of the channels that are 0 everywhere
    (`channel_statistics`).
    """

    def __init__(
        self, values: Values, mean: np.ndarray, std: np.ndarray, device: torch.device
    ) -> None:
        self._values = values
        self.statistics: ChannelStatistics = (mean, std)
        self.constant = np.flatnonzero(np.isinf(std))
        # Repeated along the last axis but one: an operation on rows of a few channels is slow.
        rows = values.shape[1:][-2:]
        self._mean, self._std = (
            torch.as_tensor(each, dtype=torch.float32, device=device).expand(rows).contiguous()
            for each in (mean, std)
        )

    def __getitem__(self, samples: Tensor) -> Tensor:
        """(B, *shape) for sample numbers (B,)."""
        if isinstance(self._values, Tensor):
            x = self._values[samples]
        else:
            x = torch.from_numpy(self._values[samples.cpu().numpy()]).to(self._mean.device)
        # What was gathered is a copy, so that nothing else sees what is done in place.
        standardised = x.float().sub_(self._mean).div_(self._std)
        return standardised if x.dtype == torch.uint8 else standardised.nan_to_num_(nan=0.0)


@dataclass(frozen=True)
class Part:
    """The training, validation or test part of a fold.

    samples: (n,) numbers in the dataset. y: (n, ...) targets as `TaskSpec.loss` takes them.
    groups: (n,) numbers of the samples' groups, the same in all parts; of its own for each sample
    where there are none.
    partners: modality → (n,) numbers of the samples whose x_m stands there instead, if they are
    others.
    """

    x: Mapping[str, StandardisedModality]
    y: Tensor
    samples: Tensor
    groups: Tensor
    partners: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, index: Tensor, epoch: int = 0) -> Batch:
        """The batch of the given positions (B,) within this part."""
        x = {m: x[self.partners.get(m, self.samples)[index]] for m, x in self.x.items()}
        return Batch(x, self.y[index], index, epoch, self.groups[index])

    def in_order(self, size: int = EVALUATION_BATCH, epoch: int = 0) -> Iterator[Batch]:
        """All samples once, in order, in batches of ``size``."""
        positions = torch.arange(len(self), device=self.samples.device)
        for index in positions.split(size):
            yield self.batch(index, epoch)

    def only(self, modalities: tuple[str, ...]) -> Part:
        """This part with some of the modalities."""
        return replace(self, x={m: self.x[m] for m in modalities})

    def with_wrong_partners(self, m: str, seed: int) -> Part:
        """This part with x_m and y as they are, and what else there is from other samples.

        All other modalities of a place come from the same other place, and every place is used
        once: what they look like, alone and together, stays as it is, and all that they tell of
        x_m and y is gone. Nobody is its own partner, but in a part of one.
        """
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        order = order.to(self.samples.device)
        partners = torch.empty_like(self.samples)
        partners[order] = self.samples[order.roll(1)]  # each has the next one's: a single cycle
        return replace(self, partners={j: partners for j in self.x if j != m})


@dataclass(frozen=True)
class FoldData:
    """A fold ready for training, with the task fitted to its training part."""

    task: TaskSpec
    train: Part
    val: Part
    test: Part

    def only(self, modalities: tuple[str, ...]) -> FoldData:
        """This fold with some of the modalities."""
        parts = (part.only(modalities) for part in (self.train, self.val, self.test))
        return FoldData(self.task, *parts)

    def with_wrong_partners(self, m: str, *seed: object) -> FoldData:
        """This fold for a placebo: no part that anything is learnt from or chosen by pairs x_m and
        y with the other modalities as it should. The test part is as it was."""
        train = self.train.with_wrong_partners(m, stream("placebo", m, *seed, "training"))
        val = self.val.with_wrong_partners(m, stream("placebo", m, *seed, "validation"))
        return replace(self, train=train, val=val)


def _check_arrays(dataset: EODataset) -> None:
    """Raise `UserError` for arrays of other shapes than the specs', and classes that no output has.

    Else they would be errors of torch, somewhere in a method.
    """
    n, task = len(dataset), dataset.task
    shapes = {m: (x.shape, (n, *dataset.modalities[m].shape)) for m, x in dataset.x.items()}
    shapes["target"] = dataset.y.shape, (n, task.outputs) if task.kind == "multilabel" else (n,)
    for name, (found, expected) in shapes.items():
        if tuple(found) != expected:
            raise UserError(
                f"{dataset.name}: {name} is an array of shape {tuple(found)} where its "
                f"specification says {expected}; correct the adapter, and prepare the data again"
            )
    if task.is_classification:
        bad = np.flatnonzero((dataset.y < 0) | (dataset.y >= task.outputs))
        if len(bad):
            raise UserError(
                f"{dataset.name}: sample '{dataset.ids[bad[0]]}' is of class {dataset.y[bad[0]]}, "
                f"and the task has classes 0 to {task.outputs - 1}; correct the adapter, and "
                "prepare the data again"
            )


def unseen(dataset: EODataset, fold: Fold) -> dict[str, int]:
    """Part → number of its samples whose class the training part lacks; none without such.

    They weigh nothing in a validation loss, and no method can get them right in a test part.
    """
    if not dataset.task.is_classification:
        return {}
    known = np.unique(dataset.y[fold.train])
    found = {
        part: int((~np.isin(dataset.y[numbers], known)).sum())
        for part, numbers in (("val", fold.val), ("test", fold.test))
    }
    return {part: n for part, n in found.items() if n}


def fold_data(
    dataset: EODataset,
    fold: Fold,
    statistics: Statistics,
    device: torch.device,
    shared: Mapping[str, Values] | None = None,
    own: Mapping[str, ChannelStatistics] = MappingProxyType({}),
) -> FoldData:
    """Standardise a fold with the statistics of its training part, or of all samples.

    A fold is indices and statistics; shared: `shared_values`, given where several folds use them.
    own: modality → the statistics of its encoder's weights, which take the place of the training
    part's; those of channels that these weights do not see (NaN) stay.

    Nothing of the test part enters: with ``statistics="training"`` neither its inputs nor its
    targets can move a mean, a class weight or the target scale.

    Raises `UserError` if arrays are not what specs and task say, and if the validation part has no
    class that the training part has: all others weigh nothing in the loss, which would be 0 in
    every epoch, and the first one "the best".
    """
    _check_arrays(dataset)
    if unseen(dataset, fold).get("val") == len(fold.val):
        raise UserError(
            f"{dataset.name} {fold.title}: the validation part ({len(fold.val)} samples) has "
            "no class that the training part has, so that it cannot tell which epoch is best; give "
            "more data, or a protocol with fewer folds, a larger validation or another split_seed"
        )
    samples = fold.train if statistics == "training" else np.arange(len(dataset))
    task = dataset.task.fitted(dataset.y[fold.train])
    if statistics == "all" and task.kind == "regression":
        task = dataset.task.fitted(dataset.y)
    shared = shared or shared_values(dataset, device)
    x = {}
    for m, array in dataset.x.items():
        mean, std = channel_statistics(array, samples)
        if m in own:
            left = np.isnan(own[m][0])
            mean, std = np.where(left, mean, own[m][0]), np.where(left, std, own[m][1])
        x[m] = StandardisedModality(shared[m], mean, std, device)

    groups = np.arange(len(dataset))
    if dataset.groups is not None:
        groups = np.unique(dataset.groups, return_inverse=True)[1]

    def part(numbers: np.ndarray) -> Part:
        y = task.targets(dataset.y[numbers]).to(device)
        own = torch.as_tensor(groups[numbers], device=device)
        return Part(x, y, torch.as_tensor(numbers, device=device), own)

    return FoldData(task, part(fold.train), part(fold.val), part(fold.test))
