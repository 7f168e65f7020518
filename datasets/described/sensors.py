"""A modality's samples, read one by one from wherever they lie."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec
from datasets.common import arrays, stand_ins, tables
from datasets.described.columns import many
from datasets.described.description import Modality
from datasets.described.files import Found

AXES = {
    "series": "(steps, channels) or (steps, rows, columns, channels)",
    "image": "(rows, columns, channels)",
    "vector": "(channels)",
}
A = {"series": "a series", "image": "an image", "vector": "a vector"}
RANKS = {"series": (2, 4), "image": (3,), "vector": (1,)}


@dataclass(frozen=True)
class Sensor:
    """Reads samples of one modality: from rows of arrays, or from a file each.

    stored: by file, and in each by key. starts: number of the first sample of each file. rows: (N,)
    sample → its number among those of all files; -1 for a sample without one.
    """

    modality: Modality
    stored: Sequence[tuple[arrays.Stored, ...]]
    starts: np.ndarray
    rows: np.ndarray
    spec: ModalitySpec = field(init=False)
    dtype: np.dtype = field(init=False)

    def __post_init__(self) -> None:
        present = np.flatnonzero(self.rows >= 0)
        if not len(present):
            raise UserError(f"{self.modality.name}: no sample has it")
        # uint8 where that is what all files store and mean, else float32.
        plain = not self.modality.no_data and all(
            each.is_plain and each.dtype == np.uint8 for each in self._headers()
        )
        object.__setattr__(self, "dtype", np.dtype(np.uint8 if plain else np.float32))
        shape = self.read(int(present[0])).shape
        channels = self.modality.channels or tuple(str(c) for c in range(1, shape[-1] + 1))
        m = self.modality
        object.__setattr__(self, "spec", ModalitySpec(m.name, m.kind, shape, channels, m.units))

    def _headers(self) -> Iterator[arrays.Stored]:
        """What the headers of all files say."""
        return itertools.chain.from_iterable(self.stored)

    def read(self, sample: int) -> np.ndarray:
        """One sample as it is meant, infinite where it has no value."""
        file, row = self._place(sample)
        keep = self.dtype == np.uint8
        values = []
        for stored in self.stored[file]:
            raw = stored.row(row)
            values.append(arrays.physical(raw, stored, self.modality.no_data, keep))
        return self._arranged(values, self.stored[file])

    def look(self) -> tuple[np.ndarray, np.ndarray]:
        """(N,) which samples have a value at all, and what `stand_ins.count` gives of them.

        `UserError` for a channel that has none in any sample.
        """
        there, found = self.rows >= 0, np.zeros(len(stand_ins.WRITTEN), np.int64)
        if self.dtype == np.uint8:
            return there, found
        filled = np.zeros(len(self.spec.channels), bool)
        for sample in np.flatnonzero(there):
            values = self.read(sample)
            known = np.isfinite(values).reshape(-1, len(filled)).any(axis=0)
            filled |= known
            there[sample] = known.any()
            found += stand_ins.count(values)
        if filled.any() and not filled.all():
            empty = ", ".join(np.array(self.spec.channels)[~filled])
            raise UserError(
                f"{self.stored[0][0].path}: {self.modality.name} has no value at all in channel "
                f"{empty}; leave it out (`columns:` names the others), or correct `no_data:`"
            )
        return there, found

    def scaling(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Scale and offset of each channel, (C,) each; None where values are as stored."""
        stored = self.stored[0]
        if not any(each.is_scaled for each in stored):
            return None
        both = []
        for name in ("scale", "offset"):
            spread = [np.broadcast_to(getattr(s, name), self._shape(s)) for s in stored]
            both.append(self._arranged(spread, stored).reshape(-1, self.spec.shape[-1])[0])
        return both[0], both[1]

    def _shape(self, stored: arrays.Stored) -> tuple[int, ...]:
        """Of one sample, as it is stored."""
        return stored.shape[1:]

    def _place(self, sample: int) -> tuple[int, int]:
        number = int(self.rows[sample])
        file = int(np.searchsorted(self.starts, number, side="right")) - 1
        return file, number - int(self.starts[file])

    def _arranged(self, values: list[np.ndarray], stored: Sequence[arrays.Stored]) -> np.ndarray:
        """What the keys hold of a sample as one array, its channels last; `UserError`."""
        named = [_by_name(v, s, self.modality) for v, s in zip(values, stored, strict=True)]
        return arranged(self.modality, named, stored[0].path)


@dataclass(frozen=True)
class SensorOfFiles(Sensor):
    """The same where each sample has a file of its own: `stored` describes the first of them.

    paths: of all files; `rows` numbers them.
    """

    paths: Sequence[str] = ()

    def _shape(self, stored: arrays.Stored) -> tuple[int, ...]:
        return stored.shape

    def _headers(self) -> Iterator[arrays.Stored]:
        for row in self.rows[self.rows >= 0].tolist():
            yield from in_file(self.paths[row], self.modality)

    def read(self, sample: int) -> np.ndarray:
        stored = in_file(self.paths[int(self.rows[sample])], self.modality)
        no_data, keep = self.modality.no_data, self.dtype == np.uint8
        values = [arrays.physical(each.whole(), each, no_data, keep) for each in stored]
        return self._arranged(values, stored)


@dataclass(frozen=True)
class Held:
    """Columns of a table as an array of samples: what `arrays.Stored` is for files of arrays."""

    path: str
    array: np.ndarray
    is_plain, is_scaled, missing, bands = True, False, (), ()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    def row(self, number: int) -> np.ndarray:
        return self.array[number]


def stored_in(found: Found, modality: Modality) -> tuple[arrays.Stored | Held, ...]:
    """The arrays of a modality in a file of many samples; `UserError` for one that cannot be."""
    if found.path.endswith(tables.SUFFIXES):
        return (Held(found.path, _from_columns(found.path, modality)),)
    stored = tuple(many(each) for each in in_file(found.path, modality))
    for each in stored:
        if each.shape[0] != stored[0].shape[0]:
            raise UserError(
                f"{found.path}: '{each.key}' has {each.shape[0]} samples and '{stored[0].key}' "
                f"{stored[0].shape[0]}"
            )
    return stored


def in_file(path: str, modality: Modality) -> tuple[arrays.Stored, ...]:
    """The arrays of a modality in a file, one a key; `UserError` for text and truths."""
    if isinstance(modality.where.columns, str) or any(
        isinstance(c, str) for c in modality.where.columns
    ):
        raise UserError(f"{path}: an array's columns are numbers, from 0")
    stored = tuple(arrays.look(path, key) for key in modality.where.keys or (None,))
    for each in stored:
        if each.dtype.kind not in "biuf":
            raise UserError(
                f"{path}: {modality.name} is text there, not numbers; save numbers, as in "
                "np.save(file, array.astype(float)), or name another file"
            )
    return stored


def _from_columns(path: str, modality: Modality) -> np.ndarray:
    """(n, channels) or (n, steps, channels) float64."""
    columns = modality.table_columns
    if not columns:
        raise UserError(f"{path}: say which columns {modality.name} has, with `channels:`")
    _check_order(path, modality)
    return tables.numbers(path, columns)


def _check_order(path: str, modality: Modality) -> None:
    """`UserError` if the names of listed columns say another order of steps and channels than the
    one in which they are read.
    """
    m, listed = modality, modality.where.columns
    if not m.steps or not m.channels or isinstance(listed, str):
        return
    words = [re.split(r"[^0-9a-z]+", str(column).lower()) for column in listed]
    said = [[c for c in m.channels if c.lower() in each] for each in words]
    if len(said) != len(m.steps) * len(m.channels) or any(len(each) != 1 for each in said):
        return  # names that do not say it, or another number, which is told later
    by_step = [c for _ in m.steps for c in m.channels]
    by_channel = [c for c in m.channels for _ in m.steps]
    found, wanted = [c for (c,) in said], by_channel if m.channels_first else by_step
    if found != wanted:
        advice = "list them so"
        if found in (by_step, by_channel):
            advice = f"say `channels_first: {str(not m.channels_first).lower()}`"
        order = "all steps of the first channel" if m.channels_first else "all channels of a step"
        raise UserError(
            f"{path}: {m.name} lists its columns as {', '.join(map(str, listed[:3]))}, …, and they "
            f"are read {order} first; {advice}"
        )


def _by_name(value: np.ndarray, stored: arrays.Stored, modality: Modality) -> np.ndarray:
    """The bands of a GeoTIFF that are called like the channels, in their order; if not, as it is.

    A pattern, a list or steps say by themselves what the bands are.
    """
    called, wanted = ([n.lower() for n in names] for names in (stored.bands, modality.channels))
    if modality.steps or modality.where.columns or any(called.count(name) != 1 for name in wanted):
        return value
    return value[..., [called.index(name) for name in wanted]] if wanted else value


def arranged(modality: Modality, values: list[np.ndarray], path: str) -> np.ndarray:
    """What the keys hold of one sample as one array with its channels last; `UserError`."""
    m, kind = modality.name, modality.kind
    parts = []
    for value in values:
        flat = bool(modality.steps)
        ranks = tuple(rank - 1 for rank in RANKS[kind]) if flat else RANKS[kind]
        expected = f"a sample of {m} is {value.shape}, {A[kind]} is {AXES[kind]}"
        if value.ndim + 1 in ranks and value.ndim not in ranks:
            # (12, 2) may be steps and channels as well as a picture: only a name tells.
            if value.ndim > 1 and len(modality.channels) != 1:
                raise UserError(
                    f"{path}: {expected}; is it another kind? A single channel without an axis for "
                    "it needs its name, as in `channels: [height]`"
                )
            value = value[..., None]
        elif value.ndim not in ranks:
            raise UserError(f"{path}: {expected}")
        elif modality.channels_first:
            value = np.moveaxis(value, 1 if value.ndim == 4 else 0, -1)
        parts.append(value)
    if len({part.shape[:-1] for part in parts}) > 1:
        shapes = " and ".join(str(part.shape) for part in parts)
        raise UserError(f"{path}: the keys of {m} cannot be joined, their samples are {shapes}")
    picked = modality.where.columns
    if picked and not path.endswith(tables.SUFFIXES):
        array = np.concatenate(parts, axis=-1)
        wrong = [c for c in picked if not -1 < c < array.shape[-1]]
        if wrong:
            raise UserError(f"{path}: {m} has columns 0 to {array.shape[-1] - 1}, not {wrong[0]}")
        parts = [array[..., list(picked)]]
    if modality.steps:
        parts = [_unfolded(modality, part, path) for part in parts]
    array = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
    if 0 in array.shape:
        raise UserError(f"{path}: a sample of {m} is {array.shape}: there is nothing in it")
    wanted = len(modality.channels)
    if wanted and array.shape[-1] != wanted:
        advice = ""
        if wanted in array.shape[:-1] and not modality.channels_first:
            advice = "; `channels_first: true` says that they do not come last"
        raise UserError(
            f"{path}: a sample of {m} is {array.shape}, and {wanted} channels are named{advice}"
        )
    return array


def _unfolded(modality: Modality, values: np.ndarray, path: str) -> np.ndarray:
    """(…, columns) → (steps, …, channels): steps outermost in the columns, or channels, if these
    are said to come first and there are no other axes, which this is about then.
    """
    steps, columns = len(modality.steps), values.shape[-1]
    if columns % steps:
        raise UserError(
            f"{path}: {modality.name} has {columns} columns, no multiple of {steps} steps"
        )
    if modality.channels_first and values.ndim == 1:
        return values.reshape(-1, steps).T
    return np.moveaxis(values.reshape(*values.shape[:-1], steps, -1), -2, 0)
