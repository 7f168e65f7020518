"""A stack of GeoTIFFs as the input of a model: which band is which channel at which time step.

A band is called by its description: its channel, or its date, a space, and its channel: "B2",
"2018-03 B2". Names that the user gives take the place of descriptions. The bands of a channel are
its time steps: in the order of their dates where they have some, else in that of files and bands.
Names of one band are known in all ways of writing (`methods.common.bands`); what is no channel of
the model is left aside, and that is said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec
from datasets.common.arrays import is_masked
from methods.common.bands import canonical

if TYPE_CHECKING:
    from rasterio import Affine
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader
    from rasterio.windows import Window

DATE = re.compile(r"\d{4}(-?\d\d){0,2}|\d{1,3}")
"""What may stand before a channel: 2018, 2018-03, 2018-03-15, 20180315, or a number."""

ALPHA = "alpha"
"""How a user calls the band that says where there is something."""

APART = 0.01
"""Pixels by which the corners of files that lie on each other may differ."""

MANY = 5
"""Names that a sentence lists at most."""


@dataclass(frozen=True)
class Band:
    """A band of a file, from 1, and what it is called: channel and date, "" where it has none."""

    file: int
    number: int
    channel: str
    date: str = ""


@dataclass(frozen=True)
class Grid:
    """Where the pixels lie: what all files of a stack have in common, and a map inherits."""

    height: int
    width: int
    crs: CRS | None
    transform: Affine

    def differs(self, other: Grid) -> str:
        """In what another one differs, in words, or ""."""
        if (self.height, self.width) != (other.height, other.width):
            sizes = f"{self.width} × {self.height} and {other.width} × {other.height} pixels"
            return f"size ({sizes})"
        if self.crs != other.crs:
            names = (crs.to_string()[:60] if crs else "none" for crs in (self.crs, other.crs))
            return f"CRS ({' and '.join(names)})"
        there = ~self.transform @ other.transform
        corners = [(x, y) for x in (0, self.width) for y in (0, self.height)]
        if any(abs(a - b) > APART for c in corners for a, b in zip(there @ c, c, strict=True)):
            places = (tuple(round(v, 6) for v in g.transform[:6]) for g in (self, other))
            return f"transform ({' and '.join(map(str, places))})"
        return ""


@dataclass(frozen=True)
class Stack:
    """Files that lie on each other, and the bands of them that a model takes.

    bands: for each value of a sample of ``shape`` (T, C) or (C,), in this order, the band that has
    it. dtype: holds the values of all. missing: (bands,) the value that stands for none, in this
    type; NaN where there is none. scale, offset: (bands,) value = stored · scale + offset. masks:
    by file, the number of a band that is 0 where there is nothing, or None. masked: by file,
    whether it has a mask beside its bands. block: height and width of what is stored as a piece.
    block_bytes: of what GDAL unpacks at once. notices: what the user should know, a sentence each.
    """

    paths: tuple[Path, ...]
    shape: tuple[int, ...]
    grid: Grid
    bands: tuple[Band, ...]
    dtype: np.dtype
    missing: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    alphas: tuple[int | None, ...]
    masked: tuple[bool, ...]
    block: tuple[int, int]
    block_bytes: int
    notices: tuple[str, ...] = ()

    @property
    def is_scaled(self) -> bool:
        return bool((self.scale != 1).any() or (self.offset != 0).any())

    def of_file(self, file: int) -> list[int]:
        """Which of `bands` lie in a file."""
        return [i for i, band in enumerate(self.bands) if band.file == file]


def look(
    paths: Sequence[Path], spec: ModalitySpec, names: Sequence[str] = (), where: str = "--bands"
) -> Stack:
    """What the headers of files say, matched with the channels of a modality.

    names: what bands are called, instead of their descriptions: of all bands in the order of files
    and bands, or of some first ones, which repeat. where: what the user gave them as.

    Raises `UserError` in one sentence for a file that is none, for files that do not lie on each
    other, for bands without names, too many and too few, and types that are no numbers.
    """
    if spec.kind == "image" or len(spec.shape) > 2:
        raise UserError(
            f"the model of {spec.name} takes images {spec.shape}, and a map is made of pixels; cut "
            "the images out of the raster, and predict from them as .npy"
        )
    with ExitStack() as stack:
        files = [stack.enter_context(closing(opened(path))) for path in paths]
        grids = [Grid(f.height, f.width, f.crs, f.transform) for f in files]
        for path, grid in zip(paths, grids, strict=True):
            if reason := grids[0].differs(grid):
                raise UserError(
                    f"{paths[0]} and {path} do not lie on each other, they differ in {reason}; "
                    "bring them onto one grid, as with gdalwarp"
                )
        called, alphas = _named(paths, files, names, where)
        bands, notices = _matched(paths, called, spec, where)
        used = [files[band.file] for band in bands]
        kinds = [np.dtype(f.dtypes[b.number - 1]) for f, b in zip(used, bands, strict=True)]
        for kind, band in zip(kinds, bands, strict=True):
            if kind.kind not in "iuf":
                raise UserError(
                    f"{paths[band.file]}: band {band.number} holds {kind}; numbers can be read"
                )
        dtype = np.result_type(*kinds)
        values = [
            _value(f.nodatavals[b.number - 1], k, dtype)
            for f, b, k in zip(used, bands, kinds, strict=True)
        ]
        scaling = np.array(
            [
                (f.scales[b.number - 1], f.offsets[b.number - 1])
                for f, b in zip(used, bands, strict=True)
            ]
        )
        unscaled = ~np.isfinite(scaling).all(axis=1) | (scaling[:, 0] == 0)
        if unscaled.any():
            bad, (scale, offset) = bands[unscaled.argmax()], scaling[unscaled.argmax()]
            raise UserError(
                f"{paths[bad.file]}: band {bad.number} has the scale {scale} and the offset "
                f"{offset}, by which no value can be had; correct its tags"
            )
        if grids[0].crs is None:
            notices.append("the input has no CRS, and so has the map")
        return Stack(
            paths=tuple(paths),
            shape=spec.shape,
            grid=grids[0],
            bands=tuple(bands),
            dtype=dtype,
            missing=np.array(values),
            scale=scaling[:, 0],
            offset=scaling[:, 1],
            alphas=tuple(alphas),
            masked=tuple(map(is_masked, files)),
            block=files[0].block_shapes[0],
            block_bytes=max(map(_block_bytes, files)),
            notices=tuple(notices),
        )


def opened(path: Path) -> DatasetReader:
    """A raster, open for reading, to be closed; `UserError` if it is none.

    It is no context of a `with`: rasterio would end its environment in the thread that leaves it,
    which may be another one than has entered it.
    """
    import rasterio
    from rasterio.errors import RasterioError

    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        return rasterio.open(path)
    except (RasterioError, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as GeoTIFF ({error})") from error


def _named(
    paths: Sequence[Path], files: Sequence[DatasetReader], names: Sequence[str], where: str
) -> tuple[list[Band], list[int | None]]:
    """All bands with what they are called, and by file the one that is its transparency.

    GDAL takes the fourth band of four of bytes for transparency, whatever it is: one that is called
    something else is not.
    """
    total = sum(file.count for file in files)
    if names and total % len(names):
        raise UserError(
            f"{where} has {len(names)} names for {total} bands: name all of them, or so many that "
            "they repeat (the channels of one time step)"
        )
    given = iter(list(names) * (total // len(names)) if names else ())
    found: list[Band] = []
    alphas: list[int | None] = []
    for i, file in enumerate(files):
        alpha = None
        for number, tag in enumerate(file.colorinterp, start=1):
            name = next(given, None) or (file.descriptions[number - 1] or "")
            if name == ALPHA or not name and tag.name == ALPHA:
                alpha = number
            elif name.strip():
                date, _, channel = name.strip().partition(" ")
                if not (channel and DATE.fullmatch(date)):
                    date, channel = "", name
                found.append(Band(i, number, channel.strip(), date))
            else:
                raise UserError(
                    f"{paths[i]}: band {number} has no description, so that it could be any "
                    f"channel; name the bands with {where}"
                )
        alphas.append(alpha)
    return found, alphas


def _matched(
    paths: Sequence[Path], called: Sequence[Band], spec: ModalitySpec, where: str
) -> tuple[list[Band], list[str]]:
    """The bands in the order of the values of a sample, and what is to be said of it."""
    steps = spec.shape[0] if spec.kind == "series" else 1
    by_channel: dict[str, list[Band]] = {canonical(name): [] for name in spec.channels}
    aside = []
    for band in called:
        by_channel.get(canonical(band.channel), aside).append(band)
    lacking = [name for name in spec.channels if not by_channel[canonical(name)]]
    if lacking:
        have = dict.fromkeys(band.channel for band in called)
        raise UserError(
            f"no band is called {_some(lacking)}, of the channels of {spec.name} "
            f"({_some(spec.channels, 15)}); the bands are called {_some(have)}; name them with "
            f"{where}"
        )
    dates: dict[str, list[str]] = {}
    for name in spec.channels:
        own = by_channel[canonical(name)]
        if len(own) != steps:
            wanted = f"{steps} time steps" if spec.kind == "series" else "one value"
            raise UserError(
                f"the model takes {wanted} of each channel, and there are {len(own)} bands of "
                f"{name}: give {'the dates' if spec.kind == 'series' else 'the band'} that the "
                "model was trained with"
            )
        dates[name] = [band.date for band in own]
        if any(dates[name]):
            own.sort(key=lambda band: _when(band.date))
            dates[name] = [band.date for band in own]
            if "" in dates[name] or len({_when(d) for d in dates[name]}) < steps:
                raise UserError(
                    f"the bands of {name} must have a date each, and each another one; they have "
                    f"{_some(dates[name], steps)}"
                )
    first = dates[spec.channels[0]]
    for name in spec.channels:
        if [_when(d) for d in dates[name]] != [_when(d) for d in first]:
            raise UserError(
                f"the bands of {spec.channels[0]} and {name} are of other dates: "
                f"{_some(first, steps)}, and {_some(dates[name], steps)}"
            )
    notices = []
    if steps > 1:
        order = first
        if not any(first):
            own = by_channel[canonical(spec.channels[0])]
            order = [f"{paths[band.file].name} band {band.number}" for band in own]
        notices.append(f"time steps of {spec.name}, oldest first: {_some(order, steps)}")
    if aside:
        left = dict.fromkeys(band.channel for band in aside)
        notices.append(f"not used, as they are no channels of {spec.name}: bands {_some(left)}")
    ordered = [by_channel[canonical(name)][step] for step in range(steps) for name in spec.channels]
    return ordered, notices


def _when(date: str) -> tuple[int, ...]:
    """What dates are ordered by; 20180315 is 2018-03-15."""
    if "-" in date or len(date) < 4:
        return tuple(int(part) for part in date.split("-") if part)
    return tuple(int(part) for part in (date[:4], date[4:6], date[6:]) if part)


def _some(names: Sequence[str] | dict[str, None], most: int = MANY) -> str:
    listed = [str(name) for name in names]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def _value(nodata: float | None, kind: np.dtype, dtype: np.dtype) -> float:
    """What stands for no value in a band of a ``kind``, as it is when it was read as ``dtype``."""
    if nodata is None or not np.isfinite(nodata):
        return np.nan  # what is not finite is never a value
    if kind.kind == "f":
        return float(dtype.type(kind.type(nodata)))
    limits = np.iinfo(kind)
    fits = nodata == int(nodata) and limits.min <= nodata <= limits.max
    return float(nodata) if fits else np.nan


def _block_bytes(file: DatasetReader) -> int:
    """What is unpacked at once: of files that are interleaved by pixel, all bands of a block."""
    height, width = file.block_shapes[0]
    sizes = [np.dtype(kind).itemsize for kind in file.dtypes]
    together = file.interleaving is not None and file.interleaving.name == "pixel"
    return height * width * (sum(sizes) if together else max(sizes))


class Reader:
    """Open files of a stack, of one thread: GDAL's handles are not for several."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._open = ExitStack()
        self._files = [self._open.enter_context(closing(opened(path))) for path in stack.paths]
        self._own = [stack.of_file(i) for i in range(len(stack.paths))]

    def close(self) -> None:
        self._open.close()

    def stored(self, window: Window) -> tuple[np.ndarray, np.ndarray | None]:
        """Values of a window as they are stored: (bands, pixels), and where files say that they
        have something: (files, pixels), or None if none does.

        Raises `UserError`, naming the file, if it cannot be read.
        """
        from rasterio.errors import RasterioError

        stack, size = self.stack, (int(window.height), int(window.width))
        values = np.empty((len(stack.bands), *size), stack.dtype)
        there = None
        for i, (file, own) in enumerate(zip(self._files, self._own, strict=True)):
            numbers = [stack.bands[j].number for j in own]
            try:
                if not own:
                    continue
                if own == list(range(own[0], own[-1] + 1)):
                    file.read(numbers, window=window, out=values[own[0] : own[-1] + 1])
                else:
                    values[own] = file.read(numbers, window=window)
                mask = None
                if stack.alphas[i] is not None:
                    mask = file.read(stack.alphas[i], window=window)
                elif stack.masked[i]:
                    mask = file.read_masks(1, window=window)
            except (RasterioError, OSError) as error:
                raise UserError(
                    f"{stack.paths[i]}: rows {int(window.row_off)} to "
                    f"{int(window.row_off) + size[0] - 1} cannot be read, is it whole? ({error})"
                ) from error
            if mask is not None:
                if there is None:
                    there = np.ones((len(self._files), *size), bool)
                there[i] = mask != 0
        flat = values.reshape(len(values), -1)
        return flat, None if there is None else there.reshape(len(there), -1)


def physical(stack: Stack, stored: np.ndarray, there: np.ndarray | None) -> np.ndarray:
    """Stored values (bands, n) as what they mean: (n, bands) float32, NaN where there is none.

    there: (files, n), as `Reader.stored` gives it. Values become floating point before they are
    scaled: whole numbers would wrap.
    """
    x = np.empty((stored.shape[1], len(stored)), np.float32)
    rows = x.T  # as the files have it
    with np.errstate(invalid="ignore", over="ignore"):  # what is no value, or no float32
        if stack.is_scaled:
            scaled = stored * stack.scale[:, None]
            scaled += stack.offset[:, None]
            np.copyto(rows, scaled, casting="same_kind")
        else:
            np.copyto(rows, stored, casting="same_kind" if stored.dtype.kind == "f" else "unsafe")
    known = ~np.isnan(stack.missing)
    if known.all() and (stack.missing == stack.missing[0]).all():
        rows[stored == stored.dtype.type(stack.missing[0])] = np.nan
    elif known.any():
        for i in np.flatnonzero(known):
            rows[i, stored[i] == stored.dtype.type(stack.missing[i])] = np.nan
    if stored.dtype.kind == "f" or stack.is_scaled:
        rows[~np.isfinite(rows)] = np.nan
    if there is not None:
        of_band = [band.file for band in stack.bands]
        rows[~there[of_band]] = np.nan
    return x
