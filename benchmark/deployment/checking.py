"""Whether what a model is given looks like what it was trained with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmark.deployment.model import Model
from benchmark.errors import UserError
from benchmark.problem import ModalitySpec

BEYOND = 5
"""A value is out of place if it is not even in so many times the range of its channel in training,
around the same middle."""

NARROW, SEVERAL = 0.01, 20
"""Values are of another scale if they span less than this share of the range in every channel, over
at least so many samples."""

SHOWN = 3
"""Channels that a sentence names at most."""


def limits(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`BEYOND` times the range of each channel in training (C,), around its middle; float32."""
    middle, half = (low + high) / 2, (high - low) / 2
    return (middle - BEYOND * half).astype(np.float32), (middle + BEYOND * half).astype(np.float32)


def outside(spec: ModalitySpec, counts: np.ndarray) -> Iterator[str]:
    """A sentence on values that are out of place, by channel (C,), if there are any."""
    if counts.any():
        most = np.argsort(-counts, kind="stable")[:SHOWN]
        named = ", ".join(f"{counts[c]:,} of {spec.channels[c]}" for c in most if counts[c])
        yield (
            f"{spec.name}: {counts.sum():,} values lie outside of {BEYOND} times the range that "
            f"the model was trained with ({named}): is it another unit or scale? The model takes "
            f"{spec.units or 'values as in training'}"
        )


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
        self.limits = {m: limits(*both) for m, both in model.ranges.items()}
        self.spans = {m: high - low for m, (low, high) in model.ranges.items()}
        channels = {m: spec.shape[-1] for m, spec in self.modalities.items()}
        self.samples = 0
        self.beyond = {m: np.zeros(n, np.int64) for m, n in channels.items()}
        self.absent = {m: np.zeros(n, np.int64) for m, n in channels.items()}
        self.empty = dict.fromkeys(channels, 0)
        self.low = {m: np.full(n, np.nan) for m, n in channels.items()}
        self.high = {m: np.full(n, np.nan) for m, n in channels.items()}

    def look(self, m: str, x: np.ndarray) -> None:
        """See some samples (n, *shape) of a modality; NaN where a value is missing."""
        if m == next(iter(self.modalities)):
            self.samples += len(x)
        gone = np.isnan(x)
        self.empty[m] += int(gone.reshape(len(x), -1).all(axis=1).sum())
        rows, low_high = x.reshape(-1, x.shape[-1]), self.limits[m]
        self.absent[m] += gone.reshape(rows.shape).sum(axis=0)
        self.beyond[m] += ((rows < low_high[0]) | (rows > low_high[1])).sum(axis=0)
        self.low[m] = np.fmin(self.low[m], np.fmin.reduce(rows)) if len(rows) else self.low[m]
        self.high[m] = np.fmax(self.high[m], np.fmax.reduce(rows)) if len(rows) else self.high[m]

    def sentences(self) -> list[str]:
        """What the user should know."""
        found = []
        for m, spec in self.modalities.items():
            found += outside(spec, self.beyond[m])
            with np.errstate(invalid="ignore", divide="ignore"):
                share = (self.high[m] - self.low[m]) / self.spans[m]
            known = np.isfinite(share)
            if self.samples >= SEVERAL and known.any() and (share[known] < NARROW).all():
                found.append(
                    f"{m}: no channel spans more than {share[known].max():.2g} of its range in "
                    "training: is it another unit or scale? The model takes "
                    f"{spec.units or 'values as in training'}"
                )
            if n := int(self.absent[m].sum()):
                total = self.samples * int(np.prod(spec.shape))
                found.append(
                    f"{m}: {n:,} of {total:,} values are missing; to the model they are the "
                    "channel's mean"
                )
            if self.empty[m]:
                found.append(
                    f"{m}: {self.empty[m]:,} of {self.samples:,} samples have no value at all: "
                    "their predictions say nothing of them"
                )
        return found


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
