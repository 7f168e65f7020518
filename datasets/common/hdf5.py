"""Arrays from HDF5 files, of which archives have tens of thousands that are small."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.errors import UserError

if TYPE_CHECKING:
    import h5py


@contextmanager
def new_file(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file to fill; it is made in memory, as on a full disk HDF5 may end the process."""
    import h5py

    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        yield file
    path.write_bytes(content.getbuffer())


@cache
def _without_lock() -> h5py.h5p.PropFAID:
    """How files are opened: there are disks without locks, and who only reads needs none."""
    from h5py import h5p

    access = h5p.create(h5p.FILE_ACCESS)
    access.set_file_locking(False, True)
    return access


def read_numbers(
    path: str | Path, key: str, fits: Callable[[tuple[int, ...]], bool], expected: str
) -> np.ndarray:
    """A whole dataset of numbers whose shape ``fits``; what was ``expected`` is told if not.

    Raises `UserError` naming the file, before anything of a foreign shape is read. This is h5py's
    low-level interface: opening is nearly all that a small file costs, and `h5py.File` makes it
    more than twice as expensive.
    """
    from h5py import h5d, h5f, h5s

    try:
        file = h5f.open(os.fsencode(path), h5f.ACC_RDONLY, _without_lock())
        dataset = h5d.open(file, key.encode())
        shape, dtype = dataset.shape, dataset.dtype
        if dtype.kind in "fiu" and fits(shape):
            array = np.empty(shape, dtype)
            dataset.read(h5s.ALL, h5s.ALL, array)
            return array
    except (OSError, KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: no dataset '{key}' can be read ({error})") from error
    raise UserError(f"{path}: '{key}' is {shape}, expected numbers {expected}")


def rows(path: Path, keys: tuple[str, ...]) -> int:
    """Length of some datasets of a file; `UserError` that names it if they are empty or differ."""
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            lengths = {key: len(file[key]) for key in keys}
    except (OSError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read, is it whole? ({error})") from error
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        told = ", ".join(f"{n:,} in '{key}'" for key, n in lengths.items())
        raise UserError(f"{path}: rows: {told}; get the file again")
    return lengths[keys[0]]
