"""TreeSatAI-TS (multi-label): tree genera of 60 m tiles in Lower Saxony, Germany.

Ahlswede et al. 2023, "TreeSatAI Benchmark Archive: a multi-sensor, multi-label dataset for tree
species classification in remote sensing", Earth System Science Data 15:681, doi
10.5194/essd-15-681-2023. Astruc, Gonthier, Mallet, Landrieu 2024, "OmniSat: self-supervised
modality fusion for Earth observation", ECCV, arXiv 2404.08351, for the yearly series and the split.

A genus counts as present from an area fraction above 0.07; a tile without one is left out. The
labels list a genus twice in 1,726 of 50,381 tiles. Each entry counts by itself, as in the release
of MDiCo (`filter_labels_by_threshold` in its data/data_treesat.py) and in OmniSat's: sums of the
fractions would add a genus to 30 tiles. Series are padded on the left to the longest of the
published files; a longer one is an error, since the archive has none.

A pixel of a series that is NaN, infinite or -9999 has no data. It is missing in every view, and so
is the mean of a window with such a pixel.

The views of MDiCo's authors (`datasets.common.views`) hold the same tiles in the same order, padded
already: a series begins with its first date that has a value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import UserError, unknown
from benchmark.problem import ModalitySpec, TaskSpec
from datasets.common import reading, views
from datasets.common.arrays import Stored
from datasets.common.contract import (
    PARTS,
    Catalogue,
    Download,
    MissingFilesError,
    Published,
    View,
    listing,
    register,
)
from datasets.common.forms import Form, SeveralForms
from datasets.common.hdf5 import new_file, read_numbers
from datasets.common.images import read_geotiff, shrink, write_geotiff
from datasets.common.packed import pack
from datasets.common.simulation import (
    Structure,
    independent_latents,
    reflectance,
    speckle_db,
)
from datasets.common.subsample import subsample
from datasets.common.views import Views

REVISION = "aced4a1c35c159cbffefd2c325aa563c95d9c618"
HUB = f"https://huggingface.co/datasets/IGNF/TreeSatAI-Time-Series/resolve/{REVISION}"
LABELS = "labels/TreeSatBA_v9_60m_multi_labels.json"
IMAGE_NAME = re.compile(r"aerial/(?P<tile>.+)\.tif")
SERIES_NAME = re.compile(r"sentinel-ts/(?P<tile>.+)_\d{4}\.h5")
MIN_AREA = 0.07
"""Area fraction above which a genus counts as present."""

NO_DATA = -9999
"""What rasters hold where there is no data."""

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


VIEW_FILES = tuple((f"treesat_{part}.nc",) for part in PARTS)
VIEW_NAMES = {"S1_asc": "S1asc", "S1_des": "S1desc"}
"""What views call radar series."""


class TreeSatAITS(SeveralForms):
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
        f"\nor\n  {', '.join(either[0] for either in VIEW_FILES)}"
    )
    # The checksums are those that the hub shows of its files; that of split.zip is not known.
    downloads = (
        Download(
            f"{HUB}/labels.zip",
            "labels",
            "fb32a4be77c8fbbcd8bd1ad7f47c6fd17d2c0ecfaa6b23e6f4d3c856e54d52a5",
        ),
        Download(f"{HUB}/split.zip", "split"),
        Download(
            f"{HUB}/geojson.zip",
            "geojson",
            "6ac97ab000fabcc9cb4ab9d144f7d0f00479dbfd8d107c8e45ea64ccb0d1c25b",
        ),
        Download(
            f"{HUB}/sentinel-ts.zip",
            "sentinel-ts",
            "06648ae998ec185c39747a06a8957e311e8df854af8a1fa59329b6a2c7db48d7",
        ),
        Download(
            f"{HUB}/aerial.zip",
            "aerial",
            "158bfb707406c9ecf27e3df1b3838d9d3e014b4024fd54bd3a6f692d9938c01c",
        ),
    )
    modalities = (*SERIES, "aerial")
    default_modalities = ("S2", "aerial")
    official_split = True
    published = Published("multilabel", "50,381", 22e9)
    reader_version = 2
    generated_samples = 260

    @property
    def forms(self) -> tuple[Form, ...]:
        files = partial(views.files, names=VIEW_FILES)
        way = views.way(*(name for (name,) in VIEW_FILES))
        return (
            Form("its publisher's archive", _archive_files, partial(_open, _archive)),
            Form(views.TITLE, files, partial(_open, _views), way),
        )

    def generate(self, root: Path, *, seed: int, samples: int, **structure: Any) -> None:
        _generate(root, seed, samples, STRUCTURE.changed(**structure))


@dataclass(frozen=True)
class Tiles:
    """What every form holds.

    names: N tiles. split: (N,) their parts. y: (N, 15). read: number of a tile, modality → the
    image (304, 304, 4), or the series (T, 6, 6, C), a pixel without data infinite.
    """

    names: np.ndarray
    split: np.ndarray
    y: np.ndarray
    read: Callable[[int, str], np.ndarray]
    notices: tuple[str, ...] = ()


def _open(
    reader: Callable[[Path, list[str], tuple[str, ...]], Tiles],
    root: Path,
    files: list[str],
    modalities: tuple[str, ...],
    view: View,
) -> Catalogue:
    tiles = reader(root, files, modalities)
    task = TaskSpec("multilabel", len(GENERA), class_names=GENERA)
    chosen = subsample(task, tiles.y, None, tiles.split, view.samples)
    specs = {m: _spec(m, view) for m in modalities}

    def read(i: int) -> Mapping[str, np.ndarray]:
        arrays = {}
        for m, spec in specs.items():
            raw = tiles.read(int(chosen[i]), m)
            if m == "aerial":
                arrays[m] = shrink(raw, view.image_px) if view.image_px else raw
            else:
                arrays[m] = _pad(_thin(raw, spec.shape[0], view), m, spec.shape)
        return arrays

    return Catalogue(
        modalities=specs,
        task=task,
        y=tiles.y[chosen],
        ids=tiles.names[chosen],
        groups=None,
        split=tiles.split[chosen],
        dtypes={m: _dtype(m, view) for m in specs},
        read=read,
        notices=tiles.notices,
    )


def _archive_files(root: Path) -> list[str]:
    tables = [LABELS, *map(_split_file, PARTS)]
    for name in tables:
        if not (root / name).is_file():
            raise MissingFilesError(f"{root} lacks {name}")
    return tables + listing(root, "aerial", ".tif") + listing(root, "sentinel-ts", ".h5")


def _archive(root: Path, files: list[str], modalities: tuple[str, ...]) -> Tiles:
    tiles, split, y, notices = _labelled_tiles(root)
    images, series = (_by_tile(root, pattern, files) for pattern in (IMAGE_NAME, SERIES_NAME))
    for tile in tiles:
        if "aerial" in modalities and tile not in images:
            raise UserError(f"tile {tile} has no image {root / 'aerial' / tile}.tif")
        if set(SERIES) & set(modalities) and tile not in series:
            expected = root / "sentinel-ts" / f"{tile}_{{year}}.h5"
            raise UserError(f"tile {tile} has no series {expected}")
    image_of, series_of = (
        np.array([found.get(tile, "") for tile in tiles]) for found in (images, series)
    )

    def read(i: int, m: str) -> np.ndarray:
        if m == "aerial":
            return _read_image(root / image_of[i])
        return _read_series(root / series_of[i], m)

    return Tiles(np.array(tiles), split, y, read, notices)


def _views(root: Path, files: list[str], modalities: tuple[str, ...]) -> Tiles:
    parts = [views.load(root / name) for name in files]
    names = np.concatenate([part.ids for part in parts])
    if (twice := reading.repeated(names.tolist())) is not None:
        raise UserError(f"{root}: tile {twice} stands twice in {', '.join(files)}")
    starts = np.cumsum([0, *(len(part.ids) for part in parts)])
    stored = [{m: _stored(part, m) for m in modalities} for part in parts]

    def read(i: int, m: str) -> np.ndarray:
        k = int(np.searchsorted(starts, i, side="right")) - 1
        rows = [each.row(i - int(starts[k])) for each in stored[k][m]]
        if m == "aerial":
            return rows[0]
        where = f"{parts[k].path}: {m} of '{names[i]}'"
        return _known(_unpadded(rows), where, whole=m == "S2")

    split = np.repeat(PARTS, [len(part.ids) for part in parts])
    return Tiles(names, split, np.concatenate([_labels(part) for part in parts]), read)


def _labels(file: Views) -> np.ndarray:
    """(n, 15) uint8 of a file of views."""
    if (names := file.names()) != GENERA:
        raise UserError(
            f"{file.path}: its attribute 'target_names' is {', '.join(names)[:80]}, expected "
            f"{', '.join(GENERA)}"
        )
    y = file.target(len(GENERA))
    if not np.isin(y, (0, 1)).all():
        raise UserError(f"{file.path}: its targets are not all 0 or 1; get the file again")
    return y.astype(np.uint8)


def _stored(file: Views, m: str) -> list[Stored]:
    """The views of a modality: of S2, the masks are another one."""
    if m == "aerial":
        image = file.view("aerial", (AERIAL_PX, AERIAL_PX, len(AERIAL)))
        if image.dtype != np.uint8:
            raise UserError(f"{file.path}: 'aerial' is {image.dtype}, expected uint8")
        return [image]
    length, channels, _ = SERIES[m]
    window = (length, WINDOW, WINDOW)
    if m != "S2":
        return [file.view(VIEW_NAMES[m], (*window, len(channels)))]
    masks = file.view("S2mask", (*window, None))  # some have empty ones behind the two
    if masks.shape[-1] < len(MASKS):
        raise UserError(f"{file.path}: 'S2mask' is {masks.shape}, expected {len(MASKS)} masks")
    return [file.view("S2", (*window, len(BANDS))), masks]


def _unpadded(rows: list[np.ndarray]) -> np.ndarray:
    """(T, 6, 6, C) float32 of padded series of one modality, without the dates before the first."""
    filled = ~np.isnan(rows[0]).all(axis=(1, 2, 3))
    first = int(filled.argmax()) if filled.any() else len(filled)
    masks = [row[..., : len(MASKS)] for row in rows[1:]]
    series = np.concatenate([rows[0], *masks], axis=-1)[first:].astype(np.float32)
    # In memory as in the archive, where channels come before rows: means are rounded alike.
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(series, -1, 1)), 1, -1)


def _split_file(part: str) -> str:
    return f"split/{part}_filenames.lst"


def _by_tile(root: Path, pattern: re.Pattern[str], files: list[str]) -> dict[str, str]:
    """Tile → the file of it whose name matches the pattern."""
    found: dict[str, str] = {}
    for match in filter(None, map(pattern.fullmatch, files)):
        other = found.setdefault(match["tile"], match[0])
        if other != match[0]:
            raise UserError(
                f"{root / other} and {root / match[0]} are of one tile; keep one year of it"
            )
    return found


def _labelled_tiles(root: Path) -> tuple[list[str], np.ndarray, np.ndarray, tuple[str, ...]]:
    """Tiles of the split lists with a genus above `MIN_AREA`, and what the others are.

    Names, (N,) parts, (N, 15) uint8, notices. A tile that stands in two lists, or twice in one, is
    an error also where a view leaves it out.
    """
    labels = _read_labels(root / LABELS)
    tiles, parts, rows, notices = [], [], [], []
    listed: dict[str, Path] = {}
    for part in PARTS:
        path = root / _split_file(part)
        names = reading.read_text(path).split()
        before, unlabelled = len(tiles), 0
        for name in names:
            tile = name.removesuffix(".tif")
            if tile in listed:
                raise UserError(f"{path}: tile {tile} stands in {listed[tile]} already")
            listed[tile] = path
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
            notices.append(
                f"{unlabelled:,} of {len(names):,} tiles for {part} have no genus above "
                f"{MIN_AREA:.0%} of their area: left out"
            )
        parts += [part] * (len(tiles) - before)
    if unlisted := len(labels) - len(listed):
        notices.append(f"{unlisted:,} of {len(labels):,} labelled tiles are in no list: left out")
    return tiles, np.array(parts), np.array(rows), tuple(notices)


def _read_labels(path: Path) -> dict[str, np.ndarray]:
    """Tile → (15,) uint8."""
    try:
        rows = {}
        for name, fractions in reading.read_unique_json(path).items():
            tile = name.removesuffix(".tif")
            if tile in rows:
                raise ValueError(f"'{tile}' stands twice")
            row = rows[tile] = np.zeros(len(GENERA), dtype=np.uint8)
            for genus, area in fractions:
                if genus not in GENERA:
                    raise UserError(f"{path}: tile {tile}: {unknown('genus', str(genus), GENERA)}")
                share = reading.number(area)
                if share is None or not 0 <= share < math.inf:
                    raise ValueError(f"tile {tile}: {area} is not an area fraction")
                row[GENERA.index(genus)] |= share > MIN_AREA
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


def _dtype(m: str, view: View) -> np.dtype:
    """The smallest that keeps what was published: counts, whole numbers, and radar power."""
    if m == "aerial":
        return np.dtype(np.float32 if view.image_px else np.uint8)
    return np.dtype(np.uint16 if m == "S2" and view.window is None else np.float32)


def _read_series(path: Path, m: str) -> np.ndarray:
    """(T, 6, 6, C) float32 of one orbit or of the bands with the two masks.

    A pixel without data is infinite (see `Catalogue.read`).
    """
    length = SERIES[m][0]
    if m == "S2":
        wanted = {"sen-2-data": len(BANDS), "sen-2-masks": len(MASKS)}
    else:
        wanted = {f"sen-1-{m.removeprefix('S1_')}-data": len(RADAR)}
    parts = []
    for key, channels in wanted.items():

        def fits(shape: tuple[int, ...], key: str = key, channels: int = channels) -> bool:
            if len(shape) != 4:
                return False
            dates, found, *window = shape
            # Some files have empty channels behind the two masks.
            right = found >= channels if key == "sen-2-masks" else found == channels
            return right and dates <= length and window == [WINDOW, WINDOW]

        expected = f"(at most {length}, {channels}, {WINDOW}, {WINDOW})"
        array = read_numbers(path, key, fits, expected)[:, :channels].astype(np.float32)
        parts.append(_known(array, f"{path}: '{key}'", whole=m == "S2"))
    if len({len(part) for part in parts}) > 1:
        raise UserError(f"{path}: sen-2-data and sen-2-masks have different numbers of dates")
    return np.moveaxis(np.concatenate(parts, axis=1), 1, -1)


def _known(array: np.ndarray, where: str, *, whole: bool) -> np.ndarray:
    """A series in which all that has no data is infinite; whole: it has whole numbers."""
    absent = ~np.isfinite(array) | (array == NO_DATA)
    array[absent] = np.nan
    if whole:  # what cannot be kept is an error in every view
        pack(array, where)
    array[absent] = np.inf
    return array


def _thin(series: np.ndarray, dates: int, view: View) -> np.ndarray:
    """At most ``dates`` evenly spaced acquisitions, and their window's mean where it is asked."""
    if len(series) > dates:
        series = series[np.linspace(0, len(series) - 1, dates).round().astype(int)]
    if view.window == "mean":
        series = series.mean(axis=(1, 2))
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
    image, expected = read_geotiff(path), (AERIAL_PX, AERIAL_PX, len(AERIAL))
    if image.shape != expected or image.dtype != np.uint8:
        raise UserError(f"{path}: is {image.dtype} {image.shape}, expected uint8 {expected}")
    return image


STRUCTURE = Structure(shared=0.28, specific={"aerial": 0.26, "S2": 0.46})
"""The aerial image is the weaker of the default pair; radar sees the shared part alone."""

TRAITS = 3
YEARS = (2017, 2018, 2019, 2020)
MINOR_EVERY = 130
"""One tile in so many has no genus above `MIN_AREA`, as happens in the published labels."""

BAND_NAMES = (
    *("blue", "green", "red", "edge1", "edge2", "edge3"),
    *("nir", "narrow_nir", "swir1", "swir2"),
)
AERIAL_MEAN = np.array([137.0, 86.0, 82.0, 76.0])
AERIAL_CONTRAST = np.array([24.0, 13.0, 9.0, 13.0])


def _affinity() -> np.ndarray:
    """(TRAITS, 15): the direction in which a stand's traits favour each genus, of length 1."""
    directions = np.random.default_rng(15).normal(size=(TRAITS, len(GENERA)))
    return directions / np.linalg.norm(directions, axis=0)


def _generate(root: Path, seed: int, samples: int, structure: Structure) -> None:
    """Write labels, split lists, boxes, and for every tile a GeoTIFF and a file of series.

    A stand has a few traits, observed by all sensors or by one alone, and each genus prefers a
    direction among them: its score is the projection of the stand's traits.
    """
    import h5py

    rng = np.random.default_rng(seed)
    latents = independent_latents(rng, tuple(structure.specific), (samples, TRAITS))
    scores = structure.target(latents, rng) @ _affinity()
    fractions = [_fractions(rng, s, minor=i % MINOR_EVERY == 1) for i, s in enumerate(scores)]
    ages, numbers = rng.integers(1, 7, samples), rng.permutation(90_000)[:samples] + 10_000
    tiles = [
        f"{genera[0][0]}_{age}_{number}_WEFL_NLF"
        for genera, age, number in zip(fractions, ages, numbers, strict=True)
    ]
    corners = np.array([500_000, 5_800_000]) + 60 * rng.integers(0, 1_000, (samples, 2))
    years = rng.choice(YEARS, samples)
    for folder in ("labels", "split", "geojson", "aerial", "sentinel-ts"):
        (root / folder).mkdir(parents=True)
    labels = {f"{tile}.tif": genera for tile, genera in zip(tiles, fractions, strict=True)}
    (root / LABELS).write_text(json.dumps(labels, allow_nan=False))
    sizes = [max(1, samples // 10), max(1, samples // 5)]
    val, test, train = np.split(rng.permutation(samples), np.cumsum(sizes))
    for part, members in zip(PARTS, (train, val, test), strict=True):
        lines = "".join(f"{tiles[i]}.tif\n" for i in members)
        (root / _split_file(part)).write_text(lines)
    boxes = [_box(*row) for row in zip(tiles, corners.tolist(), years.tolist(), strict=True)]
    collection = {"type": "FeatureCollection", "name": "bb_60m", "features": boxes}
    (root / "geojson" / "bb_60m.GeoJSON").write_text(json.dumps(collection, allow_nan=False))
    c, aerial, optical = latents.shared, latents.specific["aerial"], latents.specific["S2"]
    for i, tile in enumerate(tiles):
        image, file = _image(rng, c[i], aerial[i]), root / "aerial" / f"{tile}.tif"
        place = {"crs": "EPSG:25832", "corner": corners[i], "pixel": 0.2}
        write_geotiff(file, image, **place, interleave="pixel")
        with new_file(root / "sentinel-ts" / f"{tile}_{years[i]}.h5") as file:
            for name, array in _series(rng, years[i], c[i], optical[i]).items():
                text = h5py.string_dtype() if array.dtype == object else None
                file.create_dataset(name, data=array, dtype=text)


def _fractions(rng: np.random.Generator, scores: np.ndarray, minor: bool) -> list[list[Any]]:
    """One to three genera above `MIN_AREA` (none if ``minor``), and often one below."""
    order = np.argsort(-scores)
    present = [g for g in order[:3] if g == order[0] or scores[g] > 1.2]
    weight = np.exp(scores[present])
    # What is shared out below the best genus leaves every one above the threshold.
    area = 0.08 + (0.92 - 0.08 * len(present)) * weight / weight.sum()
    area = area * (MIN_AREA if minor else rng.uniform(0.95, 1.0))
    pairs = [[GENERA[g], round(float(a), 5)] for g, a in zip(present, area, strict=True)]
    if rng.random() < 0.3:
        pairs.append([GENERA[order[3]], round(float(rng.uniform(0.005, 0.06)), 5)])
    return pairs


def _box(tile: str, corner: list[int], year: int) -> dict[str, Any]:
    west, north = corner
    east, south = west + 60, north - 60
    ring = [[west, north], [east, north], [east, south], [west, south], [west, north]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {
        "type": "Feature",
        "properties": {"IMG_ID": tile, "YEAR": year},
        "geometry": geometry,
    }


def _series(
    rng: np.random.Generator, year: int, c: np.ndarray, s: np.ndarray
) -> dict[str, np.ndarray]:
    """All datasets of one file: arrays (T, C, 6, 6) and the names of their products."""
    days = {
        "sen-1-asc": _days(rng, 50, 122),
        "sen-1-des": _days(rng, 60, 240),
        "sen-2": _days(rng, 60, 146),
    }
    arrays = {}
    for name, day in days.items():
        if name == "sen-2":
            arrays["sen-2-data"], arrays["sen-2-masks"] = _optical(rng, day, c, s)
        else:
            arrays[f"{name}-data"] = _radar(rng, day, c)
        dates = np.datetime64(f"{year}-01-01") + day
        stamps = [str(date).replace("-", "") for date in dates]
        form = "S2A_MSIL2A_{}T103421_N0213_R108_T32UNC_{}T120935"
        if name != "sen-2":
            form = "S1A_IW_GRDH_1SDV_{}T170841_{}T170906_030639_0382D5_360A"
        arrays[f"{name}-products"] = np.array([form.format(t, t) for t in stamps], dtype=object)
    return arrays


def _days(rng: np.random.Generator, low: int, high: int) -> np.ndarray:
    """Sorted days of the year of ``low`` to ``high`` acquisitions; two may share a day."""
    return np.sort(rng.integers(0, 365, rng.integers(low, high + 1)))


def _cover(day: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Green cover by day; the shared traits move winter green, season and closure."""
    winter = 0.38 + 0.20 * np.tanh(0.7 * c[0])
    summer = 0.78 + 0.14 * np.tanh(0.7 * c[2])
    leaf_out = 1 / (1 + np.exp(-(day - 118 - 20 * c[1]) / 8))
    leaf_fall = 1 / (1 + np.exp((day - 288 - 22 * c[1]) / 10))
    return winter + (summer - winter) * leaf_out * leaf_fall


def _optical(
    rng: np.random.Generator, day: np.ndarray, c: np.ndarray, s: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(T, 10, 6, 6) reflectances × 10⁴, and (T, 2, 6, 6) snow and cloud probabilities."""
    shape = (len(day), WINDOW, WINDOW)
    cover = _cover(day, c)[:, None, None] + rng.normal(0, 0.03, (1, WINDOW, WINDOW))
    cover = np.clip(cover + rng.normal(0, 0.02, shape), 0, 1)
    # Optics alone sees water, pigments of the red edge and leaf structure.
    own = dict.fromkeys(("edge1", "edge2", "edge3"), 0.25 * s[1])
    own |= dict.fromkeys(("nir", "narrow_nir"), 0.2 * s[2])
    clean = [reflectance(b, cover, 1.5 * s[0]) * np.exp(own.get(b, 0.0)) for b in BAND_NAMES]
    bands = np.stack(clean, axis=1) * np.exp(rng.normal(0, 0.03, (len(day), 10, 1, 1)))
    bright = rng.uniform(0.25, 0.8, (len(day), 1, 1))
    cloud = _patches(rng, rng.random(len(day)) < 0.25, 0.6)
    cold = (day < 60) | (day > 340)
    snow = _patches(rng, cold & (rng.random(len(day)) < 0.25), 0.7)
    white = np.array([0.8] * 8 + [0.12, 0.08])[:, None, None]
    bands = (1 - snow[:, None]) * bands + snow[:, None] * white
    bands = (1 - cloud[:, None]) * bands + (cloud * bright)[:, None]
    probability = np.stack([snow, cloud], axis=1) * 100 + rng.uniform(-6, 6, (len(day), 2, 1, 1))
    data = np.clip(1e4 * bands, 1, None).round().astype(np.float32)
    return data, np.clip(probability, 0, 100).round().astype(np.float32)


def _patches(rng: np.random.Generator, on: np.ndarray, least: float) -> np.ndarray:
    """(T, 6, 6) of shares that are 0 or, on some dates, at least ``least`` but for thin edges."""
    share = rng.uniform(least, 1.0, (len(on), 1, 1)) + rng.normal(0, 0.1, (len(on), WINDOW, WINDOW))
    return np.clip(share, 0, 1) * on[:, None, None]


def _radar(rng: np.random.Generator, day: np.ndarray, c: np.ndarray) -> np.ndarray:
    """(T, 2, 6, 6) linear power: the canopy's attenuation and volume, with speckle."""
    speckle = speckle_db(rng, (len(day), 2, WINDOW, WINDOW), looks=5)
    season = _cover(day, c)
    vv = -9.5 + 0.6 * c[0] - 2.0 * season
    vh = -16.0 + 0.6 * c[2] + 2.0 * season
    power = 10 ** ((np.stack([vv, vh], axis=1)[..., None, None] + speckle) / 10)
    return power.astype(np.float32)


def _image(rng: np.random.Generator, c: np.ndarray, s: np.ndarray) -> np.ndarray:
    """(304, 304, 4) uint8: crowns of some size, colour and contrast.

    Colours follow the shared traits; the size of the crowns and the contrast of the bands are what
    the aerial image alone sees.
    """
    size = 28 * np.exp(0.3 * s[0])
    crowns = _texture(rng, size)
    understorey = _texture(rng, 60.0)
    colour = AERIAL_MEAN * np.exp(
        0.08 * np.array([c[0], c[1], c[2], c[1]]) + rng.normal(0, 0.06, 4)
    )
    red, nir, visible = 0.45 * s
    contrast = AERIAL_CONTRAST * np.exp(np.array([nir, visible, visible, red]))
    field = crowns + 0.4 * understorey
    image = colour.astype(np.float32) + contrast.astype(np.float32) * field[..., None]
    image += rng.integers(-2, 3, image.shape, dtype=np.int8)
    return np.rint(np.clip(image, 0, 255)).astype(np.uint8)


def _texture(rng: np.random.Generator, size: float) -> np.ndarray:
    """(304, 304) smooth noise of unit variance whose bumps are ``size`` pixels apart."""
    along = np.fft.fftfreq(AERIAL_PX)[:, None]
    across = np.fft.rfftfreq(AERIAL_PX)[None, :]
    distance = np.hypot(along, across) * size
    noise = np.fft.rfft2(rng.standard_normal((AERIAL_PX, AERIAL_PX), dtype=np.float32))
    ring = np.exp(-((distance - 1) ** 2) * 4).astype(np.float32)
    field = np.fft.irfft2(noise * ring, s=(AERIAL_PX, AERIAL_PX))
    return field / field.std()


register(TreeSatAITS())
