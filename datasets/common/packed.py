"""Whole numbers kept in two bytes and read as float32, for archives of reflectances."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark.errors import UserError

MISSING = np.iinfo(np.uint16).max
"""What stands for a missing value and for the steps before a series that is shorter than others."""


class Packed:
    """An array of whole numbers, 0 to 65534, stored as uint16 and seen as float32.

    What is read by indexing is float32 with NaN where a value is missing, so that it is used like
    any other array of a dataset.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, stored: np.ndarray) -> None:
        self.stored = stored
        self.shape, self.ndim, self.size = stored.shape, stored.ndim, stored.size

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, index: Any) -> np.ndarray:
        stored = self.stored[index]
        values = stored.astype(np.float32)
        values[stored == MISSING] = np.nan
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


def pack(values: np.ndarray, where: str) -> np.ndarray:
    """``values`` rounded to uint16, NaN as `MISSING`; `UserError` if one is out of range.

    Rounding takes away what resampling has left: published masks have a 1e-9 in place of a 0.
    """
    missing = np.isnan(values)
    whole = np.rint(np.where(missing, 0, values))
    wrong = (whole < 0) | (whole >= MISSING)
    if wrong.any():
        raise UserError(f"{where}: {whole[wrong][0]:g} is not in the range from 0 to {MISSING - 1}")
    packed = whole.astype(np.uint16)
    packed[missing] = MISSING
    return packed
