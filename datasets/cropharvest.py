"""CropHarvest (binary and multi-class): monthly radar and optical series of points in the world.

Tseng, Zvonkov, Nakalembe, Kerner 2021, "CropHarvest: a global dataset for crop-type
classification", NeurIPS Datasets and Benchmarks.

Points lie in clusters, so that folds keep blocks of 1° of latitude and longitude whole. Samples
are in the order of the publisher's package: crops, then the rest, each in the order of the labels.
Kinds of crop are numbered as they appear in it. So are they in the views of MDiCo's authors
(`datasets.common.views`), which are read, too, with places of 32 bits.

The last channel, which the publisher calls NDVI, is (B7 − B3) / (B7 + B3): its package (cropharvest
0.6.0 and 0.7.0) computes it before it removes B1 and B10, by the positions that B8 and B4 have
afterwards. It is read as published, and named as what it is.

A label without features may have a raw export from Earth Engine instead, where that package puts
it: features are made of it as the package makes them (`datasets.common.exports`), so that places
of one's own are read as the published ones.
"""

from __future__ import annotations

import gc
import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import UserError, number_of
from benchmark.problem import ModalitySpec, TaskSpec
from datasets.common import exports, reading, views
from datasets.common.contract import (
    Catalogue,
    Download,
    MissingFilesError,
    Published,
    Unlabelled,
    View,
    listing,
    register,
)
from datasets.common.forms import Form, SeveralForms
from datasets.common.hdf5 import new_file, read_numbers
from datasets.common.images import write_geotiff
from datasets.common.simulation import (
    CLOUD,
    Latents,
    Structure,
    clouds,
    independent_latents,
    normalised_difference,
    reflectance,
    speckle_db,
)
from datasets.common.subsample import subsample
from datasets.common.views import Views

ZENODO = "https://zenodo.org/records/7257688/files"
LABELS = "labels.geojson"
ARRAYS = "features/arrays"
EXPORTS = "eo_data"
EXPORT = re.compile(rf"{EXPORTS}/(?P<index>\d+)-(?P<dataset>.+?)(_\d{{4}}-\d\d-\d\d){{0,2}}\.tif")
"""A raw export, by label and, as the package calls it, the first and last day of its months."""

MONTHS = 12
STEP = 30
"""Days of a time step, which the publisher calls a month."""

OPTICAL = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")
INDEX = "(B7-B3)/(B7+B3)"
"""What the publisher calls NDVI."""

BANDS = (
    *("VV", "VH", *OPTICAL),
    *("temperature_2m", "total_precipitation", "elevation", "slope", INDEX),
)
"""Channels of the published arrays, in their order."""

SHAPE = (MONTHS, len(BANDS))
"""Of the published arrays."""

MODALITIES = {
    "S1": ("series", ("VV", "VH"), "dB, Sentinel-1"),
    "S2": ("series", (*OPTICAL, INDEX), "reflectance × 10⁴ and an index, Sentinel-2"),
    "weather": ("series", ("temperature_2m", "total_precipitation"), "K, m"),
    "dem": ("vector", ("elevation", "slope"), "m, degrees"),
}
VIEWS = {
    "S1": {"S1": (MONTHS, 2)},
    "S2": {"S2": (MONTHS, len(OPTICAL)), "S2VI": (MONTHS, 1)},
    "weather": {"weather": (MONTHS, 2)},
    "dem": {"DEM": (2,)},
}
"""Views, and the shapes of their samples, that give a modality one after the other."""

NEEDED = ("index", "dataset", "lat", "lon", "is_crop", "is_test")
"""Properties of a label that every reader needs, besides the target's own."""

LAYOUT = (
    f"cropharvest/\n  {LABELS}\n  {ARRAYS}/{{index}}_{{dataset}}.h5, or raw exports:\n"
    f"  {EXPORTS}/{{index}}-{{dataset}}_{{first day}}_{{last day}}.tif"
)
EXPORTED = (
    f"{LABELS} and {EXPORTS}/*.tif in {{folder}}, as EarthEngineExporter of its package writes them"
)
"""How to get raw exports, as in `datasets.common.forms.Form`."""

BINARY = TaskSpec("binary", 2, class_names=("non-crop", "crop"))

LIMITS = {"lat": 90.0, "lon": 180.0}
"""Degrees to both sides of 0."""


@dataclass(frozen=True)
class Label:
    """A label with a target and features: name of its features file, its place, its target.

    end: the day on which its series ends, as it is written; it may be none.
    """

    name: str
    lat: float
    lon: float
    target: Any
    is_crop: bool
    end: str


class CropHarvest(SeveralForms):
    """What the two tasks share: files, modalities, groups, and rows left out."""

    folder = "cropharvest"
    citation = "Tseng et al. 2021, doi 10.5281/zenodo.5021762"
    licence = "CC BY-SA 4.0"
    url = "https://github.com/nasaharvest/cropharvest"
    # Zenodo publishes md5 sums alone, as torchgeo has them, too.
    downloads = (
        Download(
            f"{ZENODO}/labels.geojson?download=1", LABELS, md5="bf7bae6812fc7213481aff6a2e34517d"
        ),
        Download(
            f"{ZENODO}/features.tar.gz?download=1",
            "features",
            md5="cad4df655c75caac805a80435e46ee3e",
        ),
    )
    modalities = tuple(MODALITIES)
    default_modalities = ("S1", "S2")
    notes = {"S2": f"the last channel, published as NDVI, is {INDEX}"}
    group_kind = "1° block"
    reader_version = 4
    generated_samples = 1_500
    generator_version = 2
    target: str
    """The property that holds the target."""
    parse: Callable[[Any], Any]
    """How it is read; None where it is missing."""
    view_files: tuple[str, ...]
    """Names that the file of MDiCo's authors may have."""

    @property
    def forms(self) -> tuple[Form, ...]:
        files = partial(views.files, names=[self.view_files])
        return (
            Form("its publisher's archive", _archive_files, self._open_archive),
            Form("raw exports", _export_files, self._open_archive, EXPORTED),
            Form(views.TITLE, files, self._open_views, views.way(self.view_files[0])),
        )

    def _open_archive(
        self, root: Path, files: list[str], modalities: tuple[str, ...], view: View
    ) -> Catalogue:
        path = root / LABELS
        labels, notices = self._labels(path, set(files))
        y, task = self._targets(path, [label.target for label in labels])
        places = np.array([(label.lat, label.lon) for label in labels])
        groups = _blocks(places)
        chosen = subsample(task, y, groups, None, view.samples)
        names = np.array([labels[i].name for i in chosen])
        raw = _exports(root, files)
        export_of = np.array([raw.get(name, "") for name in names.tolist()])
        specs = {m: _spec(m) for m in modalities}
        months = np.array([_months(labels[i].end) for i in chosen])
        folder, columns = os.fspath(root / ARRAYS), {m: _columns(s) for m, s in specs.items()}

        def read(i: int) -> dict[str, np.ndarray]:
            if export_of[i]:
                array = exports.features(root / export_of[i], *places[chosen[i]].tolist())
            else:
                path = f"{folder}/{names[i]}.h5"
                array = read_numbers(path, "array", SHAPE.__eq__, str(SHAPE))
            return {m: array[months, channels] for m, (months, channels) in columns.items()}

        return Catalogue(
            modalities=specs,
            task=task,
            y=y[chosen],
            ids=names,
            groups=groups[chosen],
            split=None,
            dtypes=dict.fromkeys(specs, np.dtype(np.float32)),
            read=read,
            notices=notices,
            places=places[chosen],
            months={m: months for m, spec in specs.items() if spec.kind == "series"},
        )

    def _open_views(
        self, root: Path, files: list[str], modalities: tuple[str, ...], view: View
    ) -> Catalogue:
        file = views.load(root / files[0])
        y, task = self._targets_of_views(file)
        places = file.places()
        groups = _blocks(places)
        chosen = subsample(task, y, groups, None, view.samples)
        specs = {m: _spec(m) for m in modalities}
        stored = {m: [file.view(name, shape) for name, shape in VIEWS[m].items()] for m in specs}

        def read(i: int) -> dict[str, np.ndarray]:
            row = int(chosen[i])
            return {
                m: np.concatenate([part.row(row) for part in parts], axis=-1)
                for m, parts in stored.items()
            }

        return Catalogue(
            modalities=specs,
            task=task,
            y=y[chosen],
            ids=file.ids[chosen],
            groups=groups[chosen],
            split=None,
            dtypes=dict.fromkeys(specs, np.dtype(np.float32)),
            read=read,
            places=places[chosen],
        )

    def open_unlabelled(self, files: Sequence[Path]) -> Unlabelled | None:
        """Raw exports: the place is the pixel in the middle, and the file's name is its id."""
        if not any(map(exports.is_export, files)):
            return None
        specs = {m: _spec(m) for m in MODALITIES}
        places = np.array([exports.middle(file) for file in files])
        arrays = np.stack(
            [exports.features(f, *at) for f, at in zip(files, places.tolist(), strict=True)]
        ).astype(np.float32)
        at = {m: _columns(spec) for m, spec in specs.items()}
        months = np.array([_months(_end(file)) for file in files])
        return Unlabelled(
            name=self.name,
            modalities=specs,
            x={m: arrays[:, steps][..., channels] for m, (steps, channels) in at.items()},
            ids=np.array([file.stem for file in files]),
            notices=(
                f"features of {number_of(len(files), 'raw export')} are made as cropharvest 0.7.0 "
                "makes them, each of the pixel in the middle",
            ),
            places=places,
            months={m: months for m, spec in specs.items() if spec.kind == "series"},
        )

    def _labels(self, path: Path, files: set[str]) -> tuple[list[Label], tuple[str, ...]]:
        """The labels that have a target and features and are not for testing, and what is not.

        One that does not say whether it is for testing is left out: it must not be trained on.
        """
        labels, left_out = [], Counter()
        features, raw = _features(path), _exports(path.parent, files)
        for position, properties in enumerate(features):
            where = f"{path}: feature {position}"
            for key in (*NEEDED, self.target):
                if key not in properties:
                    raise UserError(f"{where} lacks the property '{key}'")
            is_test = _parsed(where, properties, "is_test", reading.truth)
            if is_test is None:
                left_out["do not say whether they are for testing"] += 1
            elif is_test:
                left_out["are for testing"] += 1
            elif (target := _parsed(where, properties, self.target, self.parse)) is None:
                left_out[f"have no '{self.target}'"] += 1
            else:
                index = _needed(where, properties, "index", reading.whole)
                file = f"{index}_{_needed(where, properties, 'dataset', reading.name)}"
                if f"{ARRAYS}/{file}.h5" not in files and file not in raw:
                    left_out["have no features file"] += 1
                    continue
                lat, lon = (_degrees(where, properties, key) for key in LIMITS)
                is_crop = bool(_parsed(where, properties, "is_crop", reading.truth))
                end = str(properties.get("export_end_date"))
                labels.append(Label(file, lat, lon, target, is_crop, end))
        if not labels:
            hint = _without_labels(path.parent) if raw else ""
            raise UserError(
                f"{path}: no label has both a '{self.target}' and a features file{hint}"
            )
        if (twice := reading.repeated(label.name for label in labels)) is not None:
            raise UserError(f"{path}: sample id '{twice}' stands twice")
        labels.sort(key=lambda label: not label.is_crop)
        counts = left_out.items()
        total = f"{len(features):,}"
        notices = [f"{n:,} of {total} labels {why}: left out" for why, n in counts]
        if made := sum(label.name in raw for label in labels):
            notices.append(
                f"{made:,} of {total} labels have a raw export and no features file: features are "
                "made of it, as cropharvest 0.7.0 makes them"
            )
        return labels, tuple(notices)

    def _targets(self, path: Path, values: list[Any]) -> tuple[np.ndarray, TaskSpec]:
        raise NotImplementedError

    def _targets_of_views(self, file: Views) -> tuple[np.ndarray, TaskSpec]:
        raise NotImplementedError

    def generate(self, root: Path, *, seed: int, samples: int, **structure: Any) -> None:
        _generate(root, seed, samples, STRUCTURE.changed(**structure))


class CropHarvestBinary(CropHarvest):
    """Crop against everything else (property ``is_crop``)."""

    name = "cropharvest_binary"
    title = "Crop or not, for points in the whole world."
    published = Published("binary", "70,213", 0.3e9)
    target = "is_crop"
    parse = staticmethod(reading.truth)
    view_files = ("cropharvest_binary.nc",)
    layout = f"{LAYOUT}\nor\n  {view_files[0]}"

    def _targets(self, path: Path, values: list[Any]) -> tuple[np.ndarray, TaskSpec]:
        return np.array(values, dtype=np.int64), BINARY

    def _targets_of_views(self, file: Views) -> tuple[np.ndarray, TaskSpec]:
        return file.classes(BINARY.outputs), BINARY


class CropHarvestMulti(CropHarvest):
    """Kind of crop (property ``classification_label``, where there is one)."""

    name = "cropharvest_multi"
    title = "Kind of crop, for points in the whole world."
    published = Published("multiclass", "at most 33,205", 0.3e9)
    target = "classification_label"
    parse = staticmethod(reading.name)
    view_files = ("cropharvest_multi_train.nc", "cropharvest_multi.nc")
    layout = f"{LAYOUT}\nor\n  {view_files[0]}"

    def _targets(self, path: Path, values: list[Any]) -> tuple[np.ndarray, TaskSpec]:
        # The class index is the order of first appearance, as published.
        classes: dict[str, int] = {}
        y = np.array([classes.setdefault(value, len(classes)) for value in values])
        if len(classes) < 2:
            raise UserError(f"{path}: fewer than two different 'classification_label's")
        return y, TaskSpec("multiclass", len(classes), class_names=tuple(classes))

    def _targets_of_views(self, file: Views) -> tuple[np.ndarray, TaskSpec]:
        names = file.names()
        if len(names) < 2 or len(set(names)) < len(names):
            raise UserError(
                f"{file.path}: its attribute 'target_names' has {len(set(names))} different names "
                "of classes; get the file again"
            )
        task = TaskSpec("multiclass", len(names), class_names=names)
        return file.classes(task.outputs), task


ENDS = re.compile(r"_(\d{4}-\d\d-\d\d)$")
"""The last day of a raw export's months, in its file's name."""


def _end(file: Path) -> str:
    match = ENDS.search(file.stem)
    return match[1] if match else ""


def _blocks(places: np.ndarray) -> np.ndarray:
    """(n,) names of the blocks of 1° that places lie in."""
    return np.array([f"{math.floor(lat)},{math.floor(lon)}" for lat, lon in places])


def _months(end: str) -> list[int]:
    """The month, 1 to 12, in which the middle of each time step lies, of a series that ends so; 0s
    where that is no date."""
    try:
        last = np.datetime64(end[:10], "D")
    except ValueError:
        last = np.datetime64("NaT")
    if np.isnat(last):
        return [0] * MONTHS
    middles = last - STEP * np.arange(MONTHS, 0, -1) + STEP // 2
    return (middles.astype("M8[M]").astype(int) % 12 + 1).tolist()


def _features(path: Path) -> list[dict[str, Any]]:
    """The properties of every feature of a GeoJSON file."""
    collecting = gc.isenabled()
    gc.disable()  # it would look at a million new objects time and again, more than linearly
    try:
        features = json.loads(reading.read_text(path))["features"]
        properties = [feature["properties"] for feature in features]
        if not all(isinstance(p, dict) for p in properties):
            raise TypeError("a feature without properties")
        return properties
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not a whole GeoJSON feature collection ({error})") from error
    finally:
        if collecting:
            gc.enable()


def _archive_files(root: Path) -> list[str]:
    """Labels, the features of some, and raw exports of others where there are any."""
    _check_labels(root)
    return [LABELS, *listing(root, ARRAYS, ".h5"), *_raw(root)]


def _export_files(root: Path) -> list[str]:
    """Labels and their raw exports; with features beside them they are files of the archive."""
    raw = listing(root, EXPORTS, ".tif")
    _check_labels(root)
    if any((root / ARRAYS).glob("*.h5")):
        raise MissingFilesError(f"{root} has more than raw exports")
    return [LABELS, *raw]


def _raw(root: Path) -> list[str]:
    return listing(root, EXPORTS, ".tif") if any((root / EXPORTS).glob("*.tif")) else []


def _check_labels(root: Path) -> None:
    if not (root / LABELS).is_file():
        raise MissingFilesError(
            f"{root} lacks {LABELS}{_without_labels(root) if _raw(root) else ''}"
        )


def _without_labels(root: Path) -> str:
    """What to do about raw exports that no label belongs to."""
    return f" (a kept model predicts raw exports without labels: predict MODEL {root / EXPORTS})"


def _exports(root: Path, files: set[str]) -> dict[str, str]:
    """What the features file that a label lacks would be called → name of its raw export.

    Raises `UserError` if a label has two.
    """
    found: dict[str, str] = {}
    for match in filter(None, map(EXPORT.fullmatch, sorted(files))):
        label = f"{int(match['index'])}_{match['dataset']}"
        if (other := found.setdefault(label, match[0])) != match[0]:
            raise UserError(f"{root / other} and {root / match[0]} are of one label; keep one")
    return {label: name for label, name in found.items() if f"{ARRAYS}/{label}.h5" not in files}


def _parsed(where: str, properties: dict[str, Any], key: str, parse: Callable[[Any], Any]) -> Any:
    """A property, None where it is missing."""
    try:
        return parse(properties[key])
    except ValueError as error:
        raise UserError(f"{where}: '{key}': {error}") from error


def _needed(where: str, properties: dict[str, Any], key: str, parse: Callable[[Any], Any]) -> Any:
    """A property that must not be missing."""
    value = _parsed(where, properties, key, parse)
    if value is None:
        raise UserError(f"{where}: '{key}' is missing; give it, or remove the feature")
    return value


def _degrees(where: str, properties: dict[str, Any], key: str) -> float:
    value = _needed(where, properties, key, reading.number)
    if not abs(value) <= LIMITS[key]:
        raise UserError(f"{where}: '{key}' is {value:g}, beyond {LIMITS[key]:g} degrees")
    return value


def _spec(m: str) -> ModalitySpec:
    kind, channels, units = MODALITIES[m]
    shape = (MONTHS, len(channels)) if kind == "series" else (len(channels),)
    return ModalitySpec(m, kind, shape, channels, units)


def _columns(spec: ModalitySpec) -> tuple[slice | int, list[int]]:
    """Where a modality's channels stand in an array; static ones are the same in every month."""
    months = slice(None) if spec.kind == "series" else 0
    return months, [BANDS.index(channel) for channel in spec.channels]


STRUCTURE = Structure(shared=0.28, specific={"S1": 0.30, "S2": 0.40})
SCORES = 3
"""Latent scores of a point: is it a crop, and the two that tell the kinds of crop apart."""

CROP = -0.2
"""The score above which a point is a crop."""

REGIONS = (
    ("generated-sahel", 12.0, 2.0),
    ("generated-rift", -1.0, 36.0),
    ("generated-plains", 47.0, 3.0),
)
CROPS = ("cereals", "oilseeds", "leguminous", "root_tuber")
BAND_NAMES = {
    "B2": "blue", "B3": "green", "B4": "red", "B5": "edge1", "B6": "edge2", "B7": "edge3",
    "B8": "nir", "B8A": "narrow_nir", "B9": "vapour", "B11": "swir1", "B12": "swir2",
}  # fmt: skip


def _generate(root: Path, seed: int, samples: int, structure: Structure) -> None:
    """Write labels.geojson and one .h5 a point, some labels without features and some for tests."""
    rng = np.random.default_rng(seed)
    latents = independent_latents(rng, ("S1", "S2"), (samples, SCORES))
    scores = structure.target(latents, rng)
    region = rng.integers(len(REGIONS), size=samples)
    block = np.array([(lat, lon) for _, lat, lon in REGIONS])[region]
    block = block + rng.integers(0, 4, (samples, 2))
    place = block + rng.uniform(0, 1, (samples, 2))
    arrays = _arrays(rng, latents, np.unique(block, axis=0, return_inverse=True)[1].ravel())
    (root / ARRAYS).mkdir(parents=True)
    features = []
    for i in range(samples):
        name = REGIONS[region[i]][0]
        features.append(_label(rng, i, name, place[i], scores[i]))
        if rng.random() > 0.02:
            with new_file(root / ARRAYS / f"{i}_{name}.h5") as file:
                file["array"] = arrays[i]
    collection = {"type": "FeatureCollection", "features": features}
    (root / LABELS).write_text(json.dumps(collection, allow_nan=False))


def _label(
    rng: np.random.Generator, index: int, dataset: str, place: np.ndarray, score: np.ndarray
) -> dict[str, Any]:
    is_crop = bool(score[0] > CROP)
    kind = CROPS[2 * int(score[1] > 0.2) + int(score[2] > 0)] if is_crop else "non_crop"
    # Most contributors only tell crops from the rest.
    kind = kind if rng.random() < 0.8 else None
    lat, lon = (round(float(v), 6) for v in place)
    properties = {
        "index": index,
        "is_crop": int(is_crop),
        "lat": lat,
        "lon": lon,
        "dataset": dataset,
        "collection_date": "2020-10-01T00:00:00",
        "export_end_date": "2021-02-01T00:00:00",
        "is_test": bool(rng.random() < 0.03),
        "label": kind,
        "classification_label": kind,
        "harvest_date": None,
        "planting_date": None,
    }
    geometry = {"type": "Point", "coordinates": [lon, lat]}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def _arrays(rng: np.random.Generator, latents: Latents, block: np.ndarray) -> np.ndarray:
    """(n, 12, 18) arrays: a growing season seen by radar and optics, weather and terrain."""
    c, radar, optical = (z.T[..., None] for z in (latents.shared, *latents.specific.values()))
    n, month = c.shape[1], np.arange(MONTHS)
    # The growing season is what both sensors see: its height, its peak and its length.
    season = np.exp(-(((month - 6.5 - 0.9 * c[1]) / (2.2 + 0.5 * np.tanh(c[2]))) ** 2))
    cover = np.clip(0.15 + (0.5 + 0.14 * c[0]) * season + rng.normal(0, 0.03, (n, MONTHS)), 0, 1)
    # Radar alone sees roughness (VV), canopy structure (VH) and the drop of both after tillage.
    drop = (1.0 + 2.0 * radar[2]) * (month >= 9)
    vv = -13.5 + 5 * cover + 1.2 * radar[0] + speckle_db(rng, (n, MONTHS), looks=20) - drop
    vh = -22.5 + 10 * cover + 1.8 * radar[1] + speckle_db(rng, (n, MONTHS), looks=20) - drop
    # Optics alone sees water, pigments and the brightness of the canopy.
    cloud = clouds(rng, (n, MONTHS), often=0.12)
    soil = rng.normal(0, 0.08, block.max() + 1)[block, None]
    bands = {}
    for band, name in BAND_NAMES.items():
        clean = reflectance(name, cover, optical[0])
        if name in ("edge1", "edge2"):
            clean = clean * np.exp(0.14 * optical[1])
        if name in ("nir", "narrow_nir", "vapour"):
            clean = clean * np.exp(0.12 * optical[2])
        noisy = clean * np.exp(soil + rng.normal(0, 0.03, (n, MONTHS)))
        bands[band] = 1e4 * ((1 - cloud) * noisy + cloud * CLOUD)
    warm = 288 + 9 * np.cos(2 * np.pi * (month - 6) / 12) + rng.normal(0, 3, (n, 1))
    static = [np.repeat(rng.gamma(2, scale, (n, 1)), MONTHS, axis=1) for scale in (300, 2)]
    columns = {
        "VV": vv,
        "VH": vh,
        **bands,
        "temperature_2m": warm + rng.normal(0, 1, (n, MONTHS)),
        "total_precipitation": rng.gamma(1.5, 0.002, (n, MONTHS)),
        "elevation": static[0],
        "slope": static[1],
        INDEX: normalised_difference(bands["B7"], bands["B3"]),
    }
    return np.stack([columns[band] for band in BANDS], axis=-1)


PERSISTENT = 0.9
"""Share of a field's variance in its pixels: the rest differs from one to the next."""

SCENE_MONTHS = (*(f"2020-{month:02d}" for month in range(2, 13)), "2021-01")
SCENE = {"crs": "EPSG:32736", "corner": (2e5, 9.9e6), "pixel": 10.0, "compress": "deflate"}


def generate_scene(folder: Path, *, seed: int, side: int, fields: int) -> np.ndarray:
    """Write a square scene as a GeoTIFF a sensor, S1.tif and S2.tif, in the dataset's units.

    It is simulated as the samples are, but that neighbouring pixels belong to one field. Bands are
    called by month and channel, "2020-02 VV"; a corner lies outside of the satellites' swath (NaN).
    Returns where crops are (side, side), which `CropHarvestBinary` asks for.
    """
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(seed)
    of_fields = independent_latents(rng, ("S1", "S2"), (fields, SCORES))
    crop = STRUCTURE.target(of_fields, rng)[:, 0] > CROP
    row, column = np.indices((side, side)).reshape(2, -1)
    places = np.stack([row, column], axis=1) + rng.normal(0, 0.6, (side * side, 2))
    field = cKDTree(rng.uniform(0, side, (fields, 2))).query(places)[1]

    def of_pixels(z: np.ndarray) -> np.ndarray:
        own = rng.normal(size=(side * side, SCORES))
        return np.sqrt(PERSISTENT) * z[field] + np.sqrt(1 - PERSISTENT) * own

    latents = Latents(
        of_pixels(of_fields.shared), {m: of_pixels(z) for m, z in of_fields.specific.items()}
    )
    arrays = _arrays(rng, latents, np.zeros(side * side, int)).astype(np.float32)
    arrays[row + 2 * column < side // 3] = np.nan
    for m in ("S1", "S2"):
        months, channels = _columns(_spec(m))
        names = [f"{month} {BANDS[c]}" for month in SCENE_MONTHS for c in channels]
        image = arrays[:, months, channels].reshape(side, side, -1)
        form = {"nodata": np.nan, "tiled": True, "blockxsize": 128, "blockysize": 128}
        write_geotiff(folder / f"{m}.tif", image, names=names, **SCENE, **form)
    return crop[field].reshape(side, side)


register(CropHarvestBinary())
register(CropHarvestMulti())
