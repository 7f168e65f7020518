"""CropHarvest's raw exports from Earth Engine, as the features that its package makes of them.

Tseng, Zvonkov, Nakalembe, Kerner 2021; cropharvest 0.7.0 (`Engineer.process_single_file`), whose
steps are followed in its order:

1. A GeoTIFF of 12 × 17 bands, month by month, then elevation and slope, shows a square of a few
   pixels; that whose middle is nearest to the label is taken, elevation and slope in every month.
2. What it calls NDVI is appended. It takes B8 and B4 by the positions that they have without B1 and
   B10, before those are removed: it is (B7 − B3) / (B7 + B3), and 0 where that sum is not above 0
   or one of the two lacks.
3. B1 and B10 are removed.
4. A month without a value gets the band's mean over the other months; a pixel without a slope the
   mean slope of the square.

Of an export with a band that has no value in any month it makes no features. Here such a band is
infinite (`Catalogue.read`): it is missing, and counted; so is the index of one.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.errors import UserError
from datasets.common.arrays import alone

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

MONTHS = 12
OPTICAL = (
    *("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A"),
    *("B9", "B10", "B11", "B12"),
)
MONTHLY = ("VV", "VH", *OPTICAL, "temperature_2m", "total_precipitation")
STATIC = ("elevation", "slope")
RAW = (*MONTHLY, *STATIC)
REMOVED = ("B1", "B10")
INDEX = ("B7", "B3")
"""The bands of what the package calls NDVI."""

COUNT = MONTHS * len(MONTHLY) + len(STATIC)
"""Bands of an export."""


def features(path: Path, latitude: float, longitude: float) -> np.ndarray:
    """(12, 18) float64 of a place, in the published order of channels: what the module says.

    latitude, longitude: degrees. Raises `UserError`, naming the file, if it is no such export or
    does not show the place.
    """
    pixel, slopes = _pixel(path, latitude, longitude)
    monthly = pixel[: -len(STATIC)].reshape(MONTHS, len(MONTHLY))
    raw = np.concatenate([monthly, np.tile(pixel[-len(STATIC) :], (MONTHS, 1))], axis=1)
    high, low = (raw[:, RAW.index(band)] for band in INDEX)
    total = high + low
    index = np.divide(high - low, total, out=np.zeros(MONTHS), where=total > 0)
    if np.isnan(high).all() or np.isnan(low).all():
        index[:] = np.nan
    kept = raw[:, [RAW.index(band) for band in RAW if band not in REMOVED]]
    array = np.column_stack([kept, index])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of what has no value at all
        means = np.nanmean(array, axis=0)
        slope = len(kept[0]) - 1
        if np.isnan(means[slope]):
            means[slope] = np.nanmean(slopes)
    means[np.isnan(means)] = np.inf
    return np.where(np.isnan(array), means, array)


def is_export(path: Path) -> bool:
    """Whether a file is a raw export, as its bands tell; what cannot be read is none."""
    try:
        with _opened(path):
            return True
    except UserError:
        return False


def middle(path: Path) -> tuple[float, float]:
    """Latitude and longitude of the pixel in the middle of an export, which is made around a place.

    Raises `UserError` as `features`.
    """
    with _opened(path) as file:
        longitude, latitude = file.xy(file.height // 2, file.width // 2)
    return latitude, longitude


def _pixel(path: Path, latitude: float, longitude: float) -> tuple[np.ndarray, np.ndarray]:
    """(206,) float64 of the pixel of a place, and the slopes of all pixels; NaN: no value."""
    with _opened(path) as file:
        row, column = file.index(longitude, latitude)
        if not (0 <= row < file.height and 0 <= column < file.width):
            raise UserError(
                f"{path}: does not show {latitude:g}, {longitude:g} (latitude, longitude); "
                "is it of another label?"
            )
        raster = file.read().astype(np.float64)
    raster[~np.isfinite(raster)] = np.nan
    return raster[:, row, column], raster[-1]


@contextmanager
def _opened(path: Path) -> Iterator[DatasetReader]:
    """An export that is open. Raises `UserError`, naming the file, if it is none."""
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with alone(), rasterio.open(path) as file:
            if problem := _other_than_an_export(file.count, file.descriptions):
                raise UserError(f"{path}: {problem}; it is no raw export of CropHarvest")
            if file.crs is None or not file.crs.is_geographic:
                raise UserError(f"{path}: is not in degrees (EPSG:4326), so that no place is found")
            yield file
    except (RasterioError, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as GeoTIFF ({error})") from error


@cache
def _other_than_an_export(count: int, names: tuple[str | None, ...]) -> str | None:
    """What is wrong with the bands of a file; Earth Engine numbers those of later months."""
    if count != COUNT:
        return f"has {count} bands, not {MONTHS} × {len(MONTHLY)} + {len(STATIC)}"
    if any(names):
        called = zip(names, MONTHLY * MONTHS + STATIC, strict=True)
        for number, (name, expected) in enumerate(called, start=1):
            if re.sub(r"_\d+$", "", name or "") != expected:
                return f"its band {number} is called '{name}', expected {expected}"
    return None
