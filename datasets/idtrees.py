"""IDTReeS 2020 (multi-class): tree species of crowns, from hyperspectral, height and RGB images.

Graves et al. 2023, "Data science competition for cross-site individual tree species identification
from airborne remote sensing data", PeerJ 11:e16578, doi 10.7717/peerj.16578; data at Zenodo, doi
10.5281/zenodo.3934932: airborne data of the National Ecological Observatory Network for plots of
20 m in Virginia (MLBS) and Florida (OSBS).

A sample is an outline of a crown in a plot: what the sensors see within the outline's box, in a
window of 8 m around its middle. Everything outside is NaN, so that a sample shows one tree, as
large as it is; of wider crowns it shows the middle. A crown may lie in two plots, and two plots in
one place: these are one group, as the same tree must not stand on both sides of a split. (By plots
alone, trees of the same place make extremely randomised trees look better by up to 0.03 macro F1.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from datasets.common import reading
from datasets.common.contract import (
    Adapter,
    Catalogue,
    Download,
    MissingFilesError,
    Published,
    View,
    listing,
    register,
)
from datasets.common.images import read_geotiff, shrink, write_geotiff
from datasets.common.simulation import Structure, independent_latents, reflectance
from datasets.common.subsample import subsample

ARCHIVE = "IDTREES_competition_train_v2.zip"
LABELS = "Field/train_data.csv"
SPECIES = {
    "ACRU": "Acer rubrum",
    "AMLA": "Amelanchier laevis",
    "NYSY": "Nyssa sylvatica",
    "PIPA2": "Pinus palustris",
    "QUAL": "Quercus alba",
    "QUCO2": "Quercus coccinea",
    "QULA2": "Quercus laevis",
    "QURU": "Quercus rubra",
}
"""``taxonID`` → name of the species with at least 40 outlines in the published plots; 8 of 33."""

NOT_NAMED = "NA"
"""What the table, written by R, has where it has nothing."""

PLOT = 20.0
"""Metres along a side of a plot."""

WINDOW = 8.0
"""Metres along a side of a sample: 19 of 20 crowns fit into it."""

BANDS = 369


@dataclass(frozen=True)
class Sensor:
    """Where a modality lies, its pixel in metres, its channels, how it is kept, what is no data."""

    folder: str
    pixel: float
    channels: tuple[str, ...]
    units: str
    dtype: np.dtype
    no_data: float

    @property
    def side(self) -> int:
        return round(WINDOW / self.pixel)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the raster of a plot."""
        return (round(PLOT / self.pixel), round(PLOT / self.pixel), len(self.channels))


BYTES = np.dtype(np.uint16)  # numbers of which some are missing
FLOATS = np.dtype(np.float32)
SENSORS = {
    "hsi": Sensor(
        *("HSI", 1.0, tuple(f"band {i}" for i in range(1, BANDS + 1))),
        *("reflectance × 10⁴, airborne spectrometer", BYTES, -9999),
    ),
    "chm": Sensor("CHM", 1.0, ("height",), "m, airborne LiDAR", FLOATS, np.finfo(np.float32).min),
    "rgb": Sensor(
        *("RGB", 0.1, ("red", "green", "blue"), "counts, 0 to 255, airborne camera"),
        *(BYTES, np.finfo(np.float32).min),
    ),
}

Box = tuple[float, float, float, float]
"""West, south, east and north in metres."""


@dataclass(frozen=True)
class Crown:
    """An outline in a plot: whose it is, the plot's name, and both of their boxes."""

    individual: str
    plot: str
    outline: Box
    ground: Box


class IDTReeS(Adapter):
    """Crowns of the competition's training set."""

    name = "idtrees"
    folder = "idtrees"
    title = "Tree species of crowns in 85 plots in Virginia and Florida."
    citation = "Graves et al. 2023, doi 10.7717/peerj.16578; data: doi 10.5281/zenodo.3934932"
    licence = "CC BY 4.0"
    url = "https://zenodo.org/records/3934932"
    layout = (
        "idtrees/train/\n  RemoteSensing/{HSI,CHM,RGB}/{plot}.tif\n  ITC/train_{site}.shp, with "
        f".shx, .dbf and .prj\n  {LABELS}\nor the same without the folder train"
    )
    # Zenodo publishes md5 sums alone, as torchgeo has them, too.
    downloads = (
        Download(
            f"https://zenodo.org/records/3934932/files/{ARCHIVE}?download=1",
            "train",
            md5="5ddfa76240b4bb6b4a7861d1d31c299c",
        ),
    )
    modalities = tuple(SENSORS)
    default_modalities = tuple(SENSORS)
    group_kind = "plot"
    published = Published("multiclass", "1,034", 43e6)
    by_name_only = True
    generated_samples = 400

    def source_files(self, root: Path) -> list[str]:
        below = _below(root)
        if not (root / below / LABELS).is_file():
            raise MissingFilesError(f"{root} lacks {LABELS}")
        outlines = [
            name for end in (".shp", ".shx", ".dbf") for name in listing(root, f"{below}ITC", end)
        ]
        rasters = [
            name
            for sensor in SENSORS.values()
            for name in listing(root, f"{below}RemoteSensing/{sensor.folder}", ".tif")
        ]
        return [f"{below}{LABELS}", *outlines, *rasters]

    def to_fetch(self, root: Path) -> list[Download]:
        return super().to_fetch(root) if self.lacks(root) else []

    def generate(self, root: Path, *, seed: int, samples: int, **structure: Any) -> None:
        _generate(root / "train", seed, samples, STRUCTURE.changed(**structure))

    def open(self, root: Path, modalities: tuple[str, ...], view: View) -> Catalogue:
        files = self.source_files(root)
        root = root / _below(root)
        species = _species(root / LABELS)
        outlines = _outlines([root / name for name in _ending(files, ".shp")])
        plots = _plots(root, modalities)
        crowns, notices = _crowns(outlines, plots, species)
        if not crowns:
            raise UserError(f"{root}: no outline of a known species lies in a plot")
        place = _places(plots, outlines)
        y = np.array([list(SPECIES).index(species[crown.individual]) for crown in crowns])
        groups = np.array([place[crown.plot] for crown in crowns])
        task = TaskSpec("multiclass", len(SPECIES), class_names=tuple(SPECIES.values()))
        chosen = subsample(task, y, groups, None, view.samples)
        looked_at = [crowns[i] for i in chosen]
        sides = {m: min(view.image_px or SENSORS[m].side, SENSORS[m].side) for m in modalities}

        def read(i: int) -> dict[str, np.ndarray]:
            arrays = {}
            for m, side in sides.items():
                window = _window(root, m, looked_at[i])
                arrays[m] = window if side == len(window) else shrink(window, side)
            return arrays

        specs, dtypes = {}, {}
        for m, side in sides.items():
            sensor = SENSORS[m]
            shape = (side, side, len(sensor.channels))
            specs[m] = ModalitySpec(m, "image", shape, sensor.channels, sensor.units)
            dtypes[m] = sensor.dtype if side == sensor.side else FLOATS
        return Catalogue(
            modalities=specs,
            task=task,
            y=y[chosen],
            ids=np.array(_names(crowns))[chosen],
            groups=groups[chosen],
            split=None,
            dtypes=dtypes,
            read=read,
            notices=notices,
        )


def _below(root: Path) -> str:
    """The folder of the archive, if what it holds lies in there."""
    return "train/" if (root / "train").is_dir() else ""


def _ending(names: Iterable[str], suffix: str) -> list[str]:
    """File names, without the folder that the archive may have been unpacked to."""
    return [name.removeprefix("train/") for name in names if name.endswith(suffix)]


def _species(path: Path) -> dict[str, str]:
    """Individual → ``taxonID``, "" where the table has none; it may name an individual again."""
    import csv

    text = reading.read_text(path)
    found: dict[str, str] = {}
    try:
        rows = csv.DictReader(text.splitlines(), strict=True)
        lacking = {"indvdID", "taxonID"} - set(rows.fieldnames or ())
        if lacking:
            raise UserError(f"{path}: lacks the column(s) {', '.join(sorted(lacking))}")
        for row in rows:
            if None in row or None in row.values():
                raise ValueError(f"line {rows.line_num} has not as many cells as the header")
            individual = reading.name(row["indvdID"])
            if individual is None:
                raise ValueError(f"line {rows.line_num} names no individual")
            taxon = "" if row["taxonID"] == NOT_NAMED else reading.name(row["taxonID"]) or ""
            if found.setdefault(individual, taxon) != taxon:
                raise ValueError(f"'{individual}' is both {found[individual]} and {taxon}")
    except (csv.Error, ValueError) as error:
        raise UserError(f"{path}: {error}; get the file again") from error
    return found


@dataclass(frozen=True)
class Outline:
    """A crown's box as the shapefiles have it."""

    individual: str
    box: Box


def _outlines(paths: list[Path]) -> list[Outline]:
    import geopandas

    outlines = []
    for path in paths:
        try:
            table = geopandas.read_file(path)
            named = table["indvdID"].map(reading.name)
        except Exception as error:  # whatever GDAL and pandas make of files that are not theirs
            reason = str(error).partition("\n")[0]
            raise UserError(f"{path}: cannot be read as outlines by indvdID ({reason})") from error
        boxes = table.bounds.to_numpy()
        bad = named.isna().to_numpy() | ~np.isfinite(boxes).all(axis=1)
        if bad.any():
            raise UserError(
                f"{path}: outline {bad.argmax()} has no indvdID or no shape; get the file again"
            )
        outlines += [
            Outline(name, tuple(box)) for name, box in zip(named, boxes.tolist(), strict=True)
        ]
    return outlines


def _plots(root: Path, modalities: tuple[str, ...]) -> dict[str, Box]:
    """Plot → its ground, for the plots of which all ``modalities`` are there."""
    import rasterio
    from rasterio.errors import RasterioError

    names = {m: {Path(name).stem for name in listing(root, _folder(m), ".tif")} for m in modalities}
    every = set.union(*names.values())
    for m, found in names.items():
        if found != every:
            lacking = sorted(every - found)[0]
            raise UserError(f"{_raster_path(root, m, lacking)}: is not there; get the set again")
    plots: dict[str, Box] = {}
    for plot in sorted(every):
        for m in modalities:
            path = _raster_path(root, m, plot)
            try:
                with rasterio.open(path) as file:
                    ground, shape = tuple(file.bounds), (file.height, file.width, file.count)
            except (RasterioError, OSError, ValueError) as error:
                raise UserError(f"{path}: cannot be read as GeoTIFF ({error})") from error
            if shape != SENSORS[m].shape:
                raise UserError(f"{path}: is {shape}, expected {SENSORS[m].shape}")
            if not np.allclose(plots.setdefault(plot, ground), ground, rtol=0, atol=0.5):
                raise UserError(f"{path}: lies elsewhere than the plot's other images")
    return plots


def _folder(m: str) -> str:
    return f"RemoteSensing/{SENSORS[m].folder}"


def _raster_path(root: Path, m: str, plot: str) -> Path:
    return root / _folder(m) / f"{plot}.tif"


def _shared(a: Box, b: Box) -> Box | None:
    """Where two boxes overlap."""
    west, south, east, north = (*map(max, a[:2], b[:2]), *map(min, a[2:], b[2:]))
    return (west, south, east, north) if west < east and south < north else None


def _crowns(
    outlines: list[Outline], plots: dict[str, Box], species: dict[str, str]
) -> tuple[list[Crown], tuple[str, ...]]:
    """The outlines in plots, by plot, of species that are predicted; and what is left out."""
    left_out, rare = Counter(), set()
    crowns = []
    for outline in outlines:
        taxon = species.get(outline.individual, "")
        if not taxon:
            left_out["have no species in the table"] += 1
        elif taxon not in SPECIES:
            left_out["are of species with fewer than 40 of them"] += 1
            rare.add(taxon)
        else:
            grounds = {p: g for p, g in plots.items() if _shared(outline.box, g)}
            left_out["lie in no plot"] += not grounds
            crowns += [
                Crown(outline.individual, plot, outline.box, ground)
                for plot, ground in grounds.items()
            ]
    total = f"{len(outlines):,}"
    notices = [f"{n:,} of {total} outlines {why}: left out" for why, n in left_out.items() if n]
    wide = sum(
        max(c.outline[2] - c.outline[0], c.outline[3] - c.outline[1]) > WINDOW for c in crowns
    )
    if wide:
        notices.append(
            f"{wide:,} of {len(crowns):,} crowns are wider than {WINDOW:g} m: their middle is seen"
        )
    return sorted(crowns, key=lambda crown: crown.plot), tuple(notices)


def _names(crowns: list[Crown]) -> list[str]:
    """Plot and individual; further outlines of the same are numbered."""
    names, times = [], Counter()
    for crown in crowns:
        name = f"{crown.plot} {crown.individual}"
        times[name] += 1
        names.append(name if times[name] == 1 else f"{name} ({times[name]})")
    return names


def _places(plots: dict[str, Box], outlines: list[Outline]) -> dict[str, str]:
    """Plot → its group: the plots that overlap, or in which the same individual lies, joined."""
    by_individual: dict[str, set[str]] = {}
    for outline in outlines:
        seen = {plot for plot, ground in plots.items() if _shared(outline.box, ground)}
        by_individual.setdefault(outline.individual, set()).update(seen)
    names = list(plots)
    overlaps = [{a, b} for a in names for b in names if a < b and _shared(plots[a], plots[b])]
    groups = {plot: frozenset({plot}) for plot in plots}
    for tied in (*by_individual.values(), *overlaps):
        joined = frozenset().union(*(groups[plot] for plot in tied))
        groups |= dict.fromkeys(joined, joined)
    return {plot: "+".join(sorted(group)) for plot, group in groups.items()}


@lru_cache(maxsize=8)
def _raster(path: Path, m: str) -> np.ndarray:
    """(H, W, C) float32 of a plot, infinite where there is no data."""
    sensor = SENSORS[m]
    raster = read_geotiff(path)
    if raster.shape != sensor.shape:
        raise UserError(f"{path}: is {raster.shape}, expected {sensor.shape}")
    raster = raster.astype(np.float32)
    raster[~np.isfinite(raster) | (raster == np.float32(sensor.no_data))] = np.inf
    return raster


def _window(root: Path, m: str, crown: Crown) -> np.ndarray:
    """(side, side, C) float32: the pixels of a crown's box, or of its middle, amid NaN."""
    sensor = SENSORS[m]
    raster, side = _raster(_raster_path(root, m, crown.plot), m), sensor.side
    window = np.full((side, side, raster.shape[-1]), np.nan, dtype=np.float32)
    west, south, east, north = _shared(crown.outline, crown.ground)
    left, top = crown.ground[0], crown.ground[3]
    rows = _pixels(top - north, top - south, sensor)
    columns = _pixels(west - left, east - left, sensor)
    y, x = ((side - (part.stop - part.start)) // 2 for part in (rows, columns))
    seen = raster[rows, columns]
    window[y : y + seen.shape[0], x : x + seen.shape[1]] = seen
    return window


def _pixels(start: float, stop: float, sensor: Sensor) -> slice:
    """The pixels that a stretch of a plot touches, at most the middle ones that fit a window."""
    count = sensor.shape[0]
    first = min(int(np.floor(start / sensor.pixel)), count - 1)
    last = min(max(int(np.ceil(stop / sensor.pixel)), first + 1), count)
    spare = max(last - first - sensor.side, 0)
    first += spare // 2
    return slice(first, min(last, first + sensor.side))


STRUCTURE = Structure(shared=0.30, specific={"hsi": 0.30, "chm": 0.10, "rgb": 0.20})
"""Heights are the weakest, the spectrometer is the strongest of the three."""

TRAITS = 3
CROWNS = 10
"""In a plot."""

CORNER = (542_000, 4_136_000)
"""West and north of the generated plots, EPSG:32617."""


def _generate(root: Path, seed: int, samples: int, structure: Structure) -> None:
    """Write the table, the outlines, and three rasters a plot, for about ``samples`` crowns."""
    import geopandas

    rng = np.random.default_rng(seed)
    latents = independent_latents(rng, tuple(structure.specific), (samples, TRAITS))
    directions = np.random.default_rng(8).normal(size=(TRAITS, len(SPECIES)))
    scores = structure.target(latents, rng) @ (directions / np.linalg.norm(directions, axis=0))
    taxa = np.array(list(SPECIES))[scores.argmax(axis=1)]
    plots = -(-samples // CROWNS)
    for folder in ("ITC", "Field"):
        (root / folder).mkdir(parents=True)
    names = [f"MLBS{i:05d}" for i in range(samples)]
    boxes = []
    for plot in range(plots):
        corner = (CORNER[0] + 100 * (plot % 10), CORNER[1] - 100 * (plot // 10))
        members = np.arange(samples)[plot * CROWNS : (plot + 1) * CROWNS]
        middles = 2 + 16 * rng.random((len(members), 2))
        halves = np.exp(rng.normal(np.log(2.1), 0.35, (len(members), 2)))
        sides = np.clip([middles - halves, middles + halves], 0, PLOT)
        for m, sensor in SENSORS.items():
            image = _ground(rng, m)
            own = latents.specific[m]
            # The tallest crown is drawn last: it is what is seen from above.
            for k in np.argsort(latents.shared[members, 0], kind="stable"):
                (x0, y0), (x1, y1) = sides[:, k]
                crown = _pixels(y0, y1, sensor), _pixels(x0, x1, sensor)
                i = members[k]
                image[crown] = _crown(rng, m, image[crown].shape, latents.shared[i], own[i])
            _write(
                root / "RemoteSensing" / sensor.folder / f"MLBS_{plot + 1}.tif", m, image, corner
            )
        boxes += [
            _polygon(corner[0] + x0, corner[1] - y1, corner[0] + x1, corner[1] - y0)
            for (x0, y0), (x1, y1) in zip(sides[0].tolist(), sides[1].tolist(), strict=True)
        ]
    features = [
        {"properties": {"id": i, "indvdID": name}, "geometry": box}
        for i, (name, box) in enumerate(zip(names, boxes, strict=True))
    ]
    outlines = geopandas.GeoDataFrame.from_features(features, crs="EPSG:32617")
    outlines.to_file(root / "ITC" / "train_MLBS.shp")
    rows = [
        f"{n},MLBS,{t},{SPECIES[t]},species,17N" for n, t in zip(names, taxa.tolist(), strict=True)
    ]
    header = "indvdID,siteID,taxonID,scientificName,taxonRank,utmZone"
    (root / LABELS).write_text("\n".join([header, *rows]) + "\n")


def _polygon(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    ring = [[west, south], [west, north], [east, north], [east, south], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _ground(rng: np.random.Generator, m: str) -> np.ndarray:
    """(H, W, C) of a plot without trees."""
    shape = SENSORS[m].shape
    if m == "chm":
        return rng.gamma(1.0, 0.5, shape)
    if m == "rgb":
        return rng.normal((110, 100, 80), 12, shape)
    return 1e4 * _spectrum(0.3, np.zeros(TRAITS)) * np.exp(rng.normal(0, 0.1, (*shape[:2], 1)))


def _spectrum(cover: float, own: np.ndarray) -> np.ndarray:
    """(369,) reflectances along the knots of `datasets.common.simulation.reflectance`."""
    knots = ("blue", "green", "red", "edge1", "edge2", "nir", "swir1", "swir2")
    values = np.array([reflectance(band, np.array(cover), own[0]) for band in knots])
    values[1] *= np.exp(0.15 * own[1])
    values[5] *= np.exp(0.15 * own[2])
    return np.interp(np.linspace(0, len(knots) - 1, BANDS), np.arange(len(knots)), values)


def _crown(
    rng: np.random.Generator, m: str, shape: tuple[int, ...], c: np.ndarray, own: np.ndarray
) -> np.ndarray:
    """What a sensor sees of a crown with shared traits c and traits that it alone observes."""
    if m == "chm":
        height = 16 * np.exp(0.25 * c[0] + 0.2 * own[0])
        return height * np.exp(0.12 * np.exp(0.4 * own[1] + 0.3 * c[1]) * rng.normal(size=shape))
    if m == "rgb":
        colour = np.array([85, 105, 70]) * np.exp(0.12 * c + 0.14 * own)
        return colour + 18 * np.exp(0.3 * own[0]) * rng.normal(size=(*shape[:2], 1))
    cover = np.clip(0.65 + 0.12 * c[0] + 0.05 * c[1], 0.05, 0.98)
    spectrum = _spectrum(float(cover), 0.8 * own + np.array([0.4 * c[2], 0, 0]))
    shade = np.exp(rng.normal(0, 0.12, (*shape[:2], 1)))
    return 1e4 * spectrum * shade * np.exp(rng.normal(0, 0.03, shape))


def _write(path: Path, m: str, image: np.ndarray, corner: tuple[int, int]) -> None:
    if m != "chm":
        image = np.clip(np.rint(image), 0, 255 if m == "rgb" else None)
    image = image.astype(np.int16 if m == "hsi" else np.float32)
    place = {"crs": "EPSG:32617", "corner": corner, "pixel": SENSORS[m].pixel}
    write_geotiff(path, image, **place, interleave="pixel")


register(IDTReeS())
