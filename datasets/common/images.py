"""Images from and to GeoTIFF files, and images of fewer pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import UserError


def read_geotiff(path: Path) -> np.ndarray:
    """All bands as (H, W, C), in the file's type; `UserError` naming the file if it is none."""
    import rasterio
    from rasterio.errors import RasterioError

    # Without it, GDAL looks for files that belong to this one among all of the folder, every time.
    alone = rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR")
    try:
        with alone, rasterio.open(path) as file:
            return np.moveaxis(file.read(), 0, -1)
    except (RasterioError, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as GeoTIFF ({error})") from error


def write_geotiff(
    path: Path,
    image: np.ndarray,
    *,
    crs: str,
    corner: tuple[float, float],
    pixel: float,
    names: Sequence[str] = (),
    **form: Any,
) -> None:
    """Write (H, W, C) with its west and north, its pixel in metres, and what else GDAL is told.

    names: descriptions of the bands.

    The file is made in memory: on a full disk GDAL leaves half of one, and raises nothing.
    """
    import rasterio
    from rasterio.io import MemoryFile

    height, width, count = image.shape
    size = {"height": height, "width": width, "count": count, "dtype": image.dtype}
    place = rasterio.Affine(pixel, 0, corner[0], 0, -pixel, corner[1])
    with MemoryFile() as content:
        with content.open(driver="GTiff", crs=crs, transform=place, **size, **form) as file:
            file.write(np.moveaxis(image, -1, 0))
            for band, name in enumerate(names, start=1):
                file.set_band_description(band, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.getbuffer())


def shrink(image: np.ndarray, px: int) -> np.ndarray:
    """(px, px, C) float32 of which each pixel averages exactly its area of a square image.

    What is NaN does not enter an average; an area with an infinite value is infinite.
    """
    edges = np.linspace(0, len(image), px + 1)
    pixel = np.arange(len(image))
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    weights = np.clip(overlap, 0, None) * px / len(image)

    def averaged(values: np.ndarray) -> np.ndarray:
        return np.einsum("yi,xj,ijc->yxc", weights, weights, values, optimize=True)

    there = np.isfinite(image)
    if there.all():
        return averaged(image).astype(np.float32)
    with np.errstate(invalid="ignore"):
        mean = averaged(np.where(there, image, 0)) / averaged(there)
    mean[averaged(np.isinf(image)) > 0] = np.inf
    return mean.astype(np.float32)
