"""Whether what a model is given looks like what it was trained with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from benchmark.deployment.model import Model
from benchmark.errors import UserError, number_of
from benchmark.problem import CONTEXT, ModalitySpec
from datasets.common import stand_ins

BEYOND = 5
"""A value is out of place if it is not even in so many times the range of its channel in training,
around the same middle."""

SMALL, SEVERAL = 50, 30
"""A channel is too small if the root mean square of its values is less than 1/`SMALL` of that in
training. That is said if such channels have the values of `SEVERAL` samples, added up over the
channels of a modality: 30 samples of one channel, 3 of ten. One that may truly be near 0, such as
slope or rain, is thus not called odd from a few samples."""

SHOWN = 3
"""Channels that a sentence names at most, before it counts the others."""


LEAVE = "leave those cells empty, or write NaN"
"""What to do about a number that stands for no value, in a table or an array."""


class Trained:
    """The range of a modality's channels in training, least and largest value (C,) each.

    It finds the values that are out of place: those outside of `BEYOND` times the range around its
    middle, and the numbers of `stand_ins` that are outside of the range itself. A number that
    training had, such as -999 of a channel that goes down to -2000, is a value like others.
    """

    def __init__(self, low: np.ndarray, high: np.ndarray) -> None:
        middle, half = (low + high) / 2, (high - low) / 2
        self.range = low.astype(np.float32), high.astype(np.float32)
        self.limits = tuple((middle + way * BEYOND * half).astype(np.float32) for way in (-1, 1))

    def look(self, x: np.ndarray, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many values of each channel (C,) are out of place, but for stand-ins; and of those
        `stand_ins.count`.

        x: (n, ..., C), NaN where a value is missing. stored: the same before scale and offset.
        """
        low, high = self.limits
        marked = stand_ins.may_be_in(stored)
        # If none is out of place, as in most of a map, that is soon seen.
        if not marked and not ((np.fmin.reduce(x) < low) | (np.fmax.reduce(x) > high)).any():
            return np.zeros(len(low), np.int64), stand_ins.count(stored[:0])
        beyond, marks = _outside(x, *self.limits), _outside(x, *self.range)
        marks[marks] = stand_ins.are(stored[marks])
        beyond &= ~marks
        return beyond.reshape(-1, len(low)).sum(axis=0), stand_ins.count(stored[marks])


def _outside(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return (x < low) | (x > high)


def outside(spec: ModalitySpec, counts: np.ndarray) -> Iterator[str]:
    """A sentence on values that are out of place, by channel (C,), if there are any."""
    if counts.any():
        most = np.argsort(-counts, kind="stable")
        named = _first([f"{counts[c]:,} of {spec.channels[c]}" for c in most if counts[c]])
        yield (
            f"{spec.name} has values outside of {BEYOND} times the range that the model was "
            f"trained with, {counts.sum():,} in all ({named}): {_asked(spec)}"
        )


def unmarked(spec: ModalitySpec, counts: np.ndarray, advice: str) -> Iterator[str]:
    """A sentence on each number that looks as if it stood for no value, by `stand_ins.count`."""
    for value, n in stand_ins.named(counts):
        yield (
            f"{spec.name} has {n:,} × {value}, outside of the range that the model was trained "
            f"with: if it stands for no value, {advice}"
        )


def sums(x: np.ndarray) -> np.ndarray:
    """(2, C): how many values of samples (n, ..., C) are finite, and the sum of their squares."""
    flat = x.reshape(len(x), -1)  # sums over long rows are much faster than over channels
    there = np.isfinite(flat)
    squares = np.square(np.where(there, flat, 0), dtype=np.float64)
    both = np.stack([there.sum(axis=0), squares.sum(axis=0)])
    return both.reshape(2, -1, x.shape[-1]).sum(axis=1)


def too_small(spec: ModalitySpec, found: np.ndarray, trained: np.ndarray) -> Iterator[str]:
    """A sentence on channels that are too small (`SMALL`), if there are any.

    found: the `sums` of all samples (2, C). trained: root mean square of each channel in training
    (C,), NaN of one that is not compared. A place or a month may be near 0 anywhere, and zeros are
    the same in every unit: such channels are left out, zeros unless there is nothing else.
    """
    values, squares = found
    small = squares < values * (trained / SMALL) ** 2
    if squares.any():
        small &= squares > 0
    small &= [name not in CONTEXT for name in spec.channels]
    if values[small].sum() >= SEVERAL * math.prod(spec.shape[:-1]):
        named = _first([spec.channels[c] for c in np.flatnonzero(small)])
        yield (
            f"{spec.name}: the values of {named} are on average less than 1/{SMALL} of those that "
            f"the model was trained with (root mean square): {_asked(spec)}"
        )


def _asked(spec: ModalitySpec) -> str:
    takes = spec.units or "values as in training"
    return f"is it another unit or scale? The model takes {takes}"


def check_names(spec: ModalitySpec, found: Sequence[str], where: str) -> None:
    """Raise `UserError` if channels are not those of a model, in the same order."""
    wanted = spec.channels
    if tuple(found) == wanted:
        return
    needs = f"{where}: {spec.name} has the channels {_some(found)}, and the model takes"
    if sorted(found) == sorted(wanted):
        raise UserError(f"{needs} the same in another order: {_some(wanted)}")
    lacking = [name for name in wanted if name not in found]
    more = [name for name in found if name not in wanted]
    parts = [f"{_some(lacking)} lack"] * bool(lacking) + [f"{_some(more)} are others"] * bool(more)
    raise UserError(f"{needs} {_some(wanted)}: {' and '.join(parts)}")


def check_shape(spec: ModalitySpec, shape: tuple[int, ...], where: str) -> None:
    """Raise `UserError` if an array of samples (N, ...) is none of a model's."""
    wanted = spec.shape
    if shape[1:] == wanted:
        return
    axes = f"(N, {', '.join(map(str, wanted))})"
    found = f"{where}: an array of shape {shape}, and the model takes {axes} of {spec.name}"
    if shape == wanted:
        raise UserError(f"{found}: one sample without an axis for several; add it in front")
    if len(shape) == len(wanted) + 1:
        if sorted(shape[1:]) == sorted(wanted):
            raise UserError(f"{found}: its axes are in another order; channels come last")
        if shape[1:-1] == wanted[:-1]:
            raise UserError(
                f"{found}: {shape[-1]} channels instead of {wanted[-1]} ({_some(spec.channels)})"
            )
        if spec.kind == "series" and shape[2:] == wanted[1:]:
            raise UserError(f"{found}: {shape[1]} steps instead of {wanted[0]}")
    raise UserError(found)


class Seen:
    """What of a model's inputs has been seen so far, to say in the end what is odd about it."""

    def __init__(self, model: Model) -> None:
        self.modalities = model.modalities
        self.trained = {m: Trained(*both) for m, both in model.ranges.items()}
        self.sizes = model.sizes
        channels = {m: spec.shape[-1] for m, spec in self.modalities.items()}
        self.samples = 0
        self.beyond = {m: np.zeros(n, np.int64) for m, n in channels.items()}
        self.marks = {m: stand_ins.count(np.empty(0)) for m in channels}
        self.absent = {m: np.zeros(n, np.int64) for m, n in channels.items()}
        self.empty = dict.fromkeys(channels, 0)
        self.sums = {m: np.zeros((2, n)) for m, n in channels.items()}

    def look(self, m: str, x: np.ndarray) -> None:
        """See some samples (n, *shape) of a modality; NaN where a value is missing."""
        if m == next(iter(self.modalities)):
            self.samples += len(x)
        gone = np.isnan(x)
        self.empty[m] += int(gone.reshape(len(x), -1).all(axis=1).sum())
        self.absent[m] += gone.reshape(-1, x.shape[-1]).sum(axis=0)
        beyond, marks = self.trained[m].look(x, x)
        self.beyond[m] += beyond
        self.marks[m] += marks
        self.sums[m] += sums(x)

    def sentences(self) -> list[str]:
        """What the user should know."""
        found = []
        for m, spec in self.modalities.items():
            found += unmarked(spec, self.marks[m], LEAVE)
            found += outside(spec, self.beyond[m])
            found += too_small(spec, self.sums[m], self.sizes[m])
            if n := int(self.absent[m].sum()):
                total = self.samples * int(np.prod(spec.shape))
                found.append(
                    f"{m} lacks {n:,} of {number_of(total, 'value')}; to the model they are the "
                    "channel's mean"
                )
            if self.empty[m]:
                found.append(
                    f"{m} lacks every value in {self.empty[m]:,} of "
                    f"{number_of(self.samples, 'sample')}: what is predicted there says nothing of "
                    "them"
                )
        return found


def _first(words: Sequence[str]) -> str:
    """At most `SHOWN` of them, and how many more there are."""
    more = len(words) - SHOWN
    *others, last = [*words[:SHOWN], *([f"{more} more"] if more > 0 else [])]
    return f"{', '.join(others)} and {last}" if others else last


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
