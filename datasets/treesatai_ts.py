"""TreeSatAI-TS (multi-label): tree genera of 60 m tiles in Lower Saxony, Germany.

Ahlswede et al. 2023, "TreeSatAI Benchmark Archive: a multi-sensor, multi-label dataset for tree
species classification in remote sensing", Earth System Science Data 15:681, doi
10.5194/essd-15-681-2023. Astruc, Gonthier, Mallet, Landrieu 2024, "OmniSat: self-supervised
modality fusion for Earth observation", ECCV, arXiv 2404.08351, for the yearly series and the split.

A genus counts as present from an area fraction above 0.07; a tile without one is left out. Series
are padded on the left to the longest of the published files; a longer one is an error, since the
archive has none.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from datasets.common.contract import Adapter, Catalogue, MissingFilesError, View, register
from datasets.common.subsample import subsample

log = logging.getLogger(__name__)

LABELS = Path("labels") / "TreeSatBA_v9_60m_multi_labels.json"
PARTS = ("train", "val", "test")
SERIES_NAME = re.compile(r"(?P<tile>.+)_\d{4}\.h5")
MIN_AREA = 0.07
"""Area fraction above which a genus counts as present."""

GENERA = (
    *("Abies", "Acer", "Alnus", "Betula", "Cleared", "Fagus", "Fraxinus", "Larix"),
    *("Picea", "Pinus", "Populus", "Prunus", "Pseudotsuga", "Quercus", "Tilia"),
)
BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
MASKS = ("snow_prob", "cloud_prob")
RADAR = ("VV", "VH")
SERIES = {
    "S2": (146, (*BANDS, *MASKS), "reflectance × 10⁴ and percent, Sentinel-2"),
    "S1_asc": (151, RADAR, "linear power, Sentinel-1 ascending"),
    "S1_des": (257, RADAR, "linear power, Sentinel-1 descending"),
}
"""Length after padding, channels and units."""

WINDOW = 6
"""Pixels along a side of the series' window."""

AERIAL_PX = 304
# The order on the tiles: the third band has the least contrast and is the brightest in shadow.
AERIAL = ("nir", "green", "blue", "red")


class TreeSatAITS(Adapter):
    """Aerial images and a year of Sentinel-1 and Sentinel-2 series, with the official split."""

    name = "treesatai_ts"
    folder = "treesatai_ts"
    title = "Tree genera of 60 m tiles in Lower Saxony, Germany."
    citation = "Ahlswede et al. 2023, doi 10.5194/essd-15-681-2023; Astruc et al. 2024"
    licence = "CC BY 4.0"
    url = "https://huggingface.co/datasets/IGNF/TreeSatAI-Time-Series"
    layout = (
        "treesatai_ts/\n  aerial/{tile}.tif\n  sentinel-ts/{tile}_{year}.h5\n"
        f"  {LABELS}\n  split/train_filenames.lst, val_filenames.lst, test_filenames.lst"
    )
    modalities = (*SERIES, "aerial")
    default_modalities = ("S2", "aerial")
    official_split = True
    generated_samples = 260

    def source_files(self, root: Path) -> list[Path]:
        files = [root / LABELS, *(_split_file(root, part) for part in PARTS)]
        for path in files:
            if not path.is_file():
                raise MissingFilesError(f"{root} lacks {path.relative_to(root)}")
        return files + _listing(root / "aerial", ".tif") + _listing(root / "sentinel-ts", ".h5")

    def open(self, root: Path, modalities: tuple[str, ...], view: View) -> Catalogue:
        files = self.source_files(root)
        tiles, split, y = _labelled_tiles(root)
        images = {path.stem: path for path in files if path.suffix == ".tif"}
        series: dict[str, Path] = {}
        for path in files:
            if match := SERIES_NAME.fullmatch(path.name):
                other = series.setdefault(match["tile"], path)
                if other != path:
                    raise UserError(f"{other} and {path} are of one tile; keep one year of it")
        for tile in tiles:
            if "aerial" in modalities and tile not in images:
                raise UserError(f"tile {tile} has no image {root / 'aerial' / tile}.tif")
            if set(SERIES) & set(modalities) and tile not in series:
                expected = root / "sentinel-ts" / f"{tile}_{{year}}.h5"
                raise UserError(f"tile {tile} has no series {expected}")
        task = TaskSpec("multilabel", len(GENERA), class_names=GENERA)
        chosen = subsample(task, y, None, split, view.samples)
        specs = {m: _spec(m, view) for m in modalities}

        def read(i: int) -> Mapping[str, np.ndarray]:
            tile = tiles[chosen[i]]
            arrays = {}
            for m, spec in specs.items():
                if m == "aerial":
                    arrays[m] = _shrink(_read_image(images[tile]), view.image_px)
                else:
                    raw = _read_series(series[tile], m)
                    arrays[m] = _pad(_thin(raw, spec.shape[0], view), m, spec.shape)
            return arrays

        return Catalogue(
            modalities=specs,
            task=task,
            y=y[chosen],
            ids=np.array(tiles)[chosen],
            groups=None,
            split=split[chosen],
            dtypes={
                m: np.dtype("u1" if m == "aerial" and not view.image_px else "f4") for m in specs
            },
            read=read,
        )


def _split_file(root: Path, part: str) -> Path:
    return root / "split" / f"{part}_filenames.lst"


def _listing(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder with this suffix, sorted; it holds tens of thousands."""
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    files = [folder / name for name in names if name.endswith(suffix)]
    if not files:
        raise MissingFilesError(f"{folder.parent} has no {suffix} files in {folder.name}")
    return files


def _labelled_tiles(root: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Tiles of the split lists with a genus above `MIN_AREA`: names, (N,) parts, (N, 15) uint8."""
    labels = _read_labels(root / LABELS)
    tiles, parts, rows = [], [], []
    for part in PARTS:
        path = _split_file(root, part)
        try:
            names = path.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read as a list of names ({error})") from error
        before, unlabelled = len(tiles), 0
        for name in names:
            tile = name.removesuffix(".tif")
            if tile not in labels:
                raise UserError(f"{path}: tile {tile} is not in {root / LABELS}")
            if labels[tile].any():
                tiles.append(tile)
                rows.append(labels[tile])
            else:
                unlabelled += 1
        if len(tiles) == before:
            raise UserError(f"{path}: lists no tile with a genus above {MIN_AREA:.0%} of its area")
        if unlabelled:
            log.info("%s: %d tiles without a genus above the area are left out", path, unlabelled)
        parts += [part] * (len(tiles) - before)
    return tiles, np.array(parts), np.array(rows)


def _read_labels(path: Path) -> dict[str, np.ndarray]:
    """Tile → (15,) uint8."""
    try:
        table = json.loads(path.read_bytes())
        rows = {}
        for name, fractions in table.items():
            row = np.zeros(len(GENERA), dtype=np.uint8)
            # A few tiles list a genus twice.
            for genus, area in fractions:
                row[GENERA.index(genus)] |= float(area) > MIN_AREA
            rows[name.removesuffix(".tif")] = row
        return rows
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path}: not a whole table of tiles and [genus, area fraction] pairs ({error})"
        ) from error


def _spec(m: str, view: View) -> ModalitySpec:
    if m == "aerial":
        px = view.image_px or AERIAL_PX
        return ModalitySpec(m, "image", (px, px, len(AERIAL)), AERIAL, "counts, 0 to 255")
    length, channels, units = SERIES[m]
    window = () if view.window == "mean" else (WINDOW, WINDOW)
    shape = (min(length, view.dates or length), *window, len(channels))
    return ModalitySpec(m, "series", shape, channels, units)


def _read_series(path: Path, m: str) -> np.ndarray:
    """(T, 6, 6, C) float32 of one orbit or of the bands with the two masks."""
    import h5py

    length = SERIES[m][0]
    if m == "S2":
        wanted = {"sen-2-data": len(BANDS), "sen-2-masks": len(MASKS)}
    else:
        wanted = {f"sen-1-{m.removeprefix('S1_')}-data": len(RADAR)}
    parts = []
    for key, channels in wanted.items():
        try:
            with h5py.File(path, "r") as file:
                array = file[key][()]
        except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"{path}: no dataset '{key}' can be read ({error})") from error
        shape = np.shape(array)
        # Some files have empty channels behind the two masks.
        found = shape[1] if len(shape) == 4 else 0
        right = found >= channels if key == "sen-2-masks" else found == channels
        if not right or shape[2:] != (WINDOW, WINDOW) or array.dtype.kind not in "fiu":
            expected = f"numbers (T, {channels}, {WINDOW}, {WINDOW})"
            raise UserError(f"{path}: '{key}' is {shape}, expected {expected}")
        if len(array) > length:
            raise UserError(f"{path}: '{key}' has {len(array)} dates, published are {length}")
        parts.append(array[:, :channels].astype(np.float32))
    if len({len(part) for part in parts}) > 1:
        raise UserError(f"{path}: sen-2-data and sen-2-masks have different numbers of dates")
    return np.moveaxis(np.concatenate(parts, axis=1), 1, -1)


def _thin(series: np.ndarray, dates: int, view: View) -> np.ndarray:
    """At most ``dates`` evenly spaced acquisitions, and their window's mean where it is asked."""
    if len(series) > dates:
        series = series[np.linspace(0, len(series) - 1, dates).round().astype(int)]
    if view.window == "mean":
        known = np.isfinite(series).sum(axis=(1, 2))
        total = np.where(np.isfinite(series), series, 0).sum(axis=(1, 2))
        series = np.where(known > 0, total / np.maximum(known, 1), np.nan)
    return series


def _pad(series: np.ndarray, m: str, shape: tuple[int, ...]) -> np.ndarray:
    """The series at the end of an array of NaN; masks begin with 0, as published."""
    padded = np.full(shape, np.nan, dtype=np.float32)
    if m == "S2":
        padded[..., len(BANDS) :] = 0
    padded[shape[0] - len(series) :] = series
    return padded


def _read_image(path: Path) -> np.ndarray:
    """(304, 304, 4) uint8."""
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(path) as file:
            image = file.read()
    except (RasterioError, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as GeoTIFF ({error})") from error
    expected = (len(AERIAL), AERIAL_PX, AERIAL_PX)
    if image.shape != expected or image.dtype != np.uint8:
        raise UserError(f"{path}: is {image.dtype} {image.shape}, expected uint8 {expected}")
    return np.moveaxis(image, 0, -1)


def _shrink(image: np.ndarray, px: int | None) -> np.ndarray:
    """The image itself, or (px, px, C) float32 of which each pixel averages exactly its area."""
    if px is None:
        return image
    edges = np.linspace(0, len(image), px + 1)
    pixel = np.arange(len(image))
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    weights = np.clip(overlap, 0, None) * px / len(image)
    return np.einsum("yi,xj,ijc->yxc", weights, weights, image, optimize=True).astype(np.float32)


register(TreeSatAITS())
