"""Arrays in files (.npy, .npz, .nc, .h5, GeoTIFF): known by their headers, read sample by sample.

Scale, offset and values that stand for none are taken from the file (netCDF attributes, GeoTIFF
tags). Values become floating point before they are scaled: whole numbers would wrap.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.errors import UserError, numpy_says, unknown

if TYPE_CHECKING:
    import h5py
    from rasterio.io import DatasetReader

HDF5 = (".nc", ".nc4", ".h5", ".hdf5")
TIFF = (".tif", ".tiff")
SUFFIXES = (".npy", ".npz", *HDF5, *TIFF)

OPEN = 64
"""Files that a process keeps open, of those that hold many samples."""

CHUNKS = 1 << 26
"""Bytes of an HDF5 file's compressed chunks that are kept, so that not each row unpacks its own."""


@dataclass(frozen=True)
class Stored:
    """An array in a file, as its header describes it.

    shape: with the samples' axis in front where the file holds many. missing: stored values that
    stand for none. scale, offset: stored · scale + offset is the value; one for all, or one a band.
    masked: whether a GeoTIFF says within itself which pixels have values. bands: what it calls its
    bands, "" where it does not.
    """

    path: str
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    missing: tuple[float, ...] = ()
    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    masked: bool = False
    bands: tuple[str, ...] = ()

    @property
    def is_scaled(self) -> bool:
        return any(s != 1 for s in self.scale) or any(o != 0 for o in self.offset)

    @property
    def is_plain(self) -> bool:
        """Whether what is stored is what it means."""
        return not self.missing and not self.is_scaled and not self.masked

    def row(self, number: int) -> np.ndarray:
        """One sample of many, as it is stored; `UserError` if it cannot be read."""
        with _readable(self.path):
            return self._meant(np.asarray(_opened(self.path, self.key)[number]))

    def whole(self) -> np.ndarray:
        """All of it, as it is stored, text as str, under its mask if it has one; `UserError` if it
        cannot be read.
        """
        with _readable(self.path):
            if self.path.endswith(TIFF):
                return _read_tiff(self.path, self.masked)
            values = np.asarray(_opened.__wrapped__(self.path, self.key)[()])
            if values.dtype.kind == "S":
                values = np.char.decode(values, "utf-8")
            elif values.dtype.kind == "U":
                _check_characters(values)
        return self._meant(values)

    def _meant(self, values: np.ndarray) -> np.ndarray:
        """Whole numbers with the sign, or without it, that netCDF's ``_Unsigned`` gives them."""
        is_other = {values.dtype.kind, self.dtype.kind} == {"i", "u"}
        return values.astype(self.dtype) if is_other else values


@contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # whatever the libraries make of files that are not whole
        reason = numpy_says(error)
        if reason.startswith("holds"):
            raise UserError(f"{path}: {reason}") from error
        raise UserError(f"{path}: cannot be read, is it whole? ({reason})") from error


def _check_characters(text: np.ndarray) -> None:
    """Raise ValueError for numbers that stand for no character, of which numpy makes text."""
    native = np.ascontiguousarray(text, dtype=text.dtype.newbyteorder("="))
    if native.dtype.itemsize and (native.view(np.uint32) > sys.maxunicode).any():
        raise ValueError("its text has characters that there are not")


def keys(path: str) -> tuple[str, ...]:
    """Names of the arrays in a file that has several; () for one that has one without a name."""
    with _readable(path):
        if path.endswith(".npz"):
            with np.load(path, allow_pickle=False) as file:
                return tuple(file.files)
        if path.endswith(HDF5):
            with _hdf5(path) as file:
                return tuple(_datasets(file))
    return ()


def texts(path: str, attribute: str) -> tuple[str, ...]:
    """An attribute of an HDF5 file as a whole: its text or texts, () where it is not there."""
    with _readable(path), _hdf5(path) as file:
        values = np.ravel(file.attrs.get(attribute, ()))
        return tuple(v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist())


def look(path: str, key: str | None) -> Stored:
    """What the header of a file says of an array in it. Raises `UserError`, naming the file."""
    have = keys(path)
    if have and key is None:
        if len(have) > 1:
            raise UserError(f"{path}: holds {', '.join(have)}; say which with `key:`")
        (key,) = have
    if have and key not in have:
        raise UserError(f"{path}: {unknown('key', key, have)}")
    if key is not None and not have:
        raise UserError(f"{path}: has no keys; leave `key: {key}` out")
    with _readable(path):
        if path.endswith(TIFF):
            return _look_at_tiff(path)
        if path.endswith(HDF5):
            return _look_at_hdf5(path, key)
        array = _opened(path, key or "")
        stored = Stored(path, key or "", array.shape, array.dtype)
    return _checked(stored)


def _checked(stored: Stored) -> Stored:
    if not np.isfinite((*stored.scale, *stored.offset)).all() or 0 in stored.scale:
        raise UserError(f"{stored.path}: its scale and offset are {stored.scale}, {stored.offset}")
    if stored.dtype.kind not in "biufUS":
        raise UserError(f"{stored.path}: holds {stored.dtype}; numbers and text can be read")
    return stored


@lru_cache(maxsize=OPEN)
def _opened(path: str, key: str) -> Any:
    """Something that is indexed by samples: a memory map where the format allows."""
    if path.endswith(".npy"):
        return np.lib.format.open_memmap(path, mode="r")
    if path.endswith(".npz"):
        with np.load(path, allow_pickle=False) as file:
            return file[key]
    dataset = _hdf5(path)[key]
    return dataset.asstr() if _is_text(dataset) else dataset


def forget() -> None:
    """Close the files that are kept open."""
    _opened.cache_clear()


def _hdf5(path: str) -> h5py.File:
    import h5py

    with open(path, "rb") as file:
        if file.read(3) == b"CDF":
            raise UserError(
                f"{path}: netCDF of the classic format; convert it, as in `nccopy -k nc4 OLD NEW`"
            )
    # There are disks without locks, and who only reads needs none.
    return h5py.File(path, "r", locking=False, rdcc_nbytes=CHUNKS)


def _datasets(file: h5py.File) -> Iterator[str]:
    import h5py

    found: list[str] = []
    file.visititems(lambda name, it: found.append(name) if isinstance(it, h5py.Dataset) else None)
    # A dimension without values is an array to HDF5, and nothing to netCDF; h5py leaves names in
    # another encoding than UTF-8 as bytes.
    named = (name for name in found if isinstance(name, str))
    return (name for name in named if b"This is a netCDF dim" not in _name_of(file[name]))


def _name_of(dataset: h5py.Dataset) -> bytes:
    name = dataset.attrs.get("NAME", b"")
    return name if isinstance(name, bytes) else str(name).encode()


def _is_text(dataset: h5py.Dataset) -> bool:
    import h5py

    return h5py.check_string_dtype(dataset.dtype) is not None


def _look_at_hdf5(path: str, key: str) -> Stored:
    with _hdf5(path) as file:
        dataset = file[key]
        if _is_text(dataset):
            return Stored(path, key, dataset.shape, np.dtype(str))
        dtype, attributes = dataset.dtype, dataset.attrs
        if dtype.kind == "O":
            raise UserError(f"{path}: '{key}' holds {dtype}; numbers and text can be read")
        meant = _signed_or_not(dtype, attributes)
        missing = [
            np.ravel(attributes[name])
            for name in ("_FillValue", "missing_value")
            if name in attributes
        ]
        # What netCDF's library writes where nothing was written, unless a file says otherwise.
        if path.endswith((".nc", ".nc4")) and "_FillValue" not in attributes and dataset.fillvalue:
            missing.append(np.ravel(dataset.fillvalue))
        scale, offset = (
            tuple(np.ravel(attributes.get(name, default)).astype(float).tolist())
            for name, default in (("scale_factor", 1), ("add_offset", 0))
        )
        if meant != dtype:  # the attributes have the type that is stored
            missing = [each.astype(dtype).astype(meant) for each in missing]
        values = [float(v) for v in np.concatenate([[], *missing]).tolist() if np.isfinite(v)]
        return _checked(Stored(path, key, dataset.shape, meant, tuple(values), scale, offset))


def _signed_or_not(dtype: np.dtype, attributes: Mapping[str, Any]) -> np.dtype:
    """The type that whole numbers have by the attribute ``_Unsigned``, a convention of netCDF
    (its User Guide, "Attribute Conventions"): formats before netCDF-4 had no unsigned types.
    """
    said = attributes.get("_Unsigned", "")
    said = (said.decode() if isinstance(said, bytes) else str(said)).lower()
    kind = {"true": "u", "false": "i"}.get(said)
    if kind is None or dtype.kind not in "iu":
        return dtype
    return np.dtype(f"{dtype.byteorder}{kind}{dtype.itemsize}")


def _look_at_tiff(path: str) -> Stored:
    import rasterio

    with alone(), rasterio.open(path) as file:
        kinds = set(file.dtypes)
        if len(kinds) > 1:
            raise UserError(f"{path}: its bands are {', '.join(sorted(kinds))}; save one type")
        missing = {v for v in file.nodatavals if v is not None and np.isfinite(v)}
        return _checked(
            Stored(
                path,
                "",
                (file.height, file.width, file.count),
                np.dtype(file.dtypes[0]),
                tuple(sorted(missing)),
                tuple(file.scales),
                tuple(file.offsets),
                is_masked(file),
                tuple(name or "" for name in file.descriptions),
            )
        )


def is_masked(file: DatasetReader) -> bool:
    """Whether a file says beside its bands where there is something, other than by transparency."""
    from rasterio.enums import MaskFlags

    return any(flags == [MaskFlags.per_dataset] for flags in file.mask_flag_enums)


def _read_tiff(path: str, masked: bool) -> np.ndarray:
    """(H, W, bands), under the file's mask if it is ``masked``."""
    import rasterio

    with alone(), rasterio.open(path) as file:
        values = file.read()
        if masked:
            values = np.ma.masked_array(values, file.read_masks() == 0)
        return np.moveaxis(values, 0, -1)


@contextmanager
def alone() -> Iterator[None]:
    """Reading a GeoTIFF by itself: without it, GDAL looks for files that belong to it among all of
    its folder, every time. That a picture has no place on the map is no fault here.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings(), rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def physical(
    raw: np.ndarray, stored: Stored, no_data: tuple[float, ...], keep_bytes: bool
) -> np.ndarray:
    """Stored values (..., bands) as what they mean, infinite where there is none.

    keep_bytes: leave uint8 as it is, where nothing is missing and nothing is scaled.
    """
    if keep_bytes and raw.dtype == np.uint8 and stored.is_plain and not no_data:
        return raw
    gone, raw = np.ma.getmaskarray(raw), np.ma.getdata(raw)
    if raw.dtype.kind == "f":
        gone = gone | ~np.isfinite(raw)
    for value in (*stored.missing, *no_data):
        # A float32 is compared with the number as a float32 has it.
        gone |= raw == (raw.dtype.type(value) if raw.dtype.kind == "f" else value)
    with np.errstate(invalid="ignore"):  # a signalling NaN is among what is gone
        values = raw.astype(np.float64)
    if stored.is_scaled:
        values = values * np.array(stored.scale) + np.array(stored.offset)
    values[gone] = np.inf
    return values
