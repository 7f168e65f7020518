"""Live fuel moisture content (regression) from radar and optical series.

Rao, Williams, Flefil, Konings 2020, "SAR-enhanced mapping of live fuel moisture content", Remote
Sensing of Environment 245:111797, doi 10.1016/j.rse.2020.111797.

One row of ``training_features.csv`` is a month of a site with the present and the three previous
time steps of its inputs, so that neighbouring months of a site share three of four steps: folds
that do not keep sites whole leak.

For inputs of one's own: reflectances are × 10⁴; ndvi = (nir - red) / (nir + red), ndwi = (nir -
swir) / (nir + swir) and nirv = ndvi · nir are the table's values to 3e-4 in the median (nirv: to
0.5 of some 900), presumably since the publisher averages scenes afterwards; vh_vv = vh - vv.

The same rows are had in three forms: that table; the publisher's catalogue, a GeoJSON file a row,
as torchgeo's `WesternUSALiveFuelMoisture` reads it; and the views of MDiCo's authors
(`datasets.common.views`). Inputs are the same, but that the catalogue has numbers of ten digits, so
that some differ in the last of their 32 bits, and its rows go by the numbers of their files. Views
have no names of sites, no dates, and targets of 32 bits.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from datasets.common import reading, tables, views
from datasets.common.contract import Catalogue, MissingFilesError, Published, View, register
from datasets.common.forms import Form, SeveralForms
from datasets.common.simulation import (
    CLOUD,
    Latents,
    Structure,
    autoregressive,
    clouds,
    normalised_difference,
    reflectance,
    speckle_db,
)
from datasets.common.subsample import subsample
from datasets.common.views import Views

if TYPE_CHECKING:
    import pandas as pd

FILE = "training_features.csv"
FEATURE = re.compile(r"feature_(\d+)\.geojson")
"""A row of the catalogue; the folders in which it lies have had several names."""

VIEWS = ("lfmc_train.nc", "lfmc.nc")
"""What the scripts of MDiCo call the file that they write, and the one that they read."""

CATALOGUE = (
    'python -c "from torchgeo.datasets import WesternUSALiveFuelMoisture as W; '
    "W('{folder}', download=True)\""
)
"""The command that brings the publisher's catalogue."""

TARGET = "percent(t)"
STEPS = ("t-3", "t-2", "t-1", "t")
"""Oldest first."""

SERIES = {
    "S1": (("vv", "vh", "vh_vv"), "dB, Sentinel-1"),
    "S2": (
        ("red", "green", "blue", "swir", "nir", "ndvi", "ndwi", "nirv"),
        "reflectance × 10⁴ and indices, Landsat-8",
    ),
}
STATIC = ("slope", "elevation", "canopy_height", "silt", "sand", "clay")
STATIC_UNITS = "degrees, m, m, and percent of the soil"
NO_DATA = -999
"""What the publisher writes for no data (49 sites' soils)."""

LAND_COVER = {
    14: "rainfed cropland",
    20: "cropland and vegetation mosaic",
    30: "vegetation and cropland mosaic",
    50: "closed broadleaf deciduous forest",
    70: "closed needleleaf evergreen forest",
    90: "open needleleaf forest",
    100: "mixed forest",
    110: "forest, shrubland and grassland mosaic",
    130: "shrubland",
    140: "grassland",
    150: "sparse vegetation",
    160: "flooded broadleaf forest",
}
"""The GlobCover 2009 codes that occur in the published ``forest_cover``, in order."""

HEIGHTS = (0, 4, *range(6, 37))
"""The canopy heights, in m, that occur in the published table: views have them as classes."""

SERIES_VIEWS = {"S1": {"S1": 2, "S1Ind": 1}, "S2": {"S2": 5, "S2Ind": 3}}
"""Views, and the numbers of their channels, that give a series one after the other."""

DATES = ("%Y-%m-%d", "%m/%d/%y", "%m/%d/%Y")
"""How dates are written in the table, and may be in the catalogue."""


class LFMC(SeveralForms):
    """The table of Rao et al. 2020, the very rows that MDiCo's LFMC benchmark uses."""

    name = "lfmc"
    folder = "lfmc"
    title = "Live fuel moisture content of 150 sites in the western USA, 2015 to 2019."
    citation = "Rao et al. 2020, doi 10.1016/j.rse.2020.111797"
    licence = "CC BY-NC-ND 4.0"
    url = "https://github.com/kkraoj/lfmc_from_sar/tree/master/input_data"
    layout = f"lfmc/\n  {FILE}\nor\n  .../feature_{{number}}.geojson\nor\n  {VIEWS[0]}"
    modalities = (*SERIES, "static", "land_cover")
    default_modalities = ("S1", "S2")
    notes = {"S2": "Landsat-8 in fact; S2 is what the release of MDiCo calls it"}
    group_kind = "site"
    published = Published("regression", "2,578", 5.6e6)
    generated_samples = 2_600

    @property
    def forms(self) -> tuple[Form, ...]:
        return (
            Form("its publisher's table", _table_files, partial(_open, _read_table)),
            Form(
                "its publisher's catalogue",
                _feature_files,
                partial(_open, _read_features),
                f"a GeoJSON file a row, by {CATALOGUE}",
            ),
            Form(
                views.TITLE,
                partial(views.files, names=[VIEWS]),
                partial(_open, _read_views),
                views.way(VIEWS[0]),
            ),
        )

    def generate(self, root: Path, *, seed: int, samples: int, **structure: Any) -> None:
        table = generate_table(seed, samples, STRUCTURE.changed(**structure))
        table.to_csv(root / FILE)


@dataclass(frozen=True)
class Rows:
    """What every form holds.

    ids, groups: (n,) strings. y: (n,) float64. array: modality → (n, *shape) numbers, NaN where
    there is none. places: as in `Catalogue`.
    """

    ids: np.ndarray
    groups: np.ndarray
    y: np.ndarray
    array: Callable[[str], np.ndarray]
    notices: tuple[str, ...] = ()
    places: np.ndarray | None = None


def _open(
    reader: Callable[[Path, list[str]], Rows],
    root: Path,
    files: list[str],
    modalities: tuple[str, ...],
    view: View,
) -> Catalogue:
    rows = reader(root, files)
    task = TaskSpec("regression", 1, unit="%")
    chosen = subsample(task, rows.y, rows.groups, None, view.samples)
    arrays = {m: rows.array(m).astype(np.float32) for m in modalities}
    return Catalogue(
        modalities={m: _spec(m) for m in modalities},
        task=task,
        y=rows.y[chosen],
        ids=rows.ids[chosen],
        groups=rows.groups[chosen],
        split=None,
        dtypes=dict.fromkeys(modalities, np.dtype(np.float32)),
        read=lambda i: {m: array[chosen[i]] for m, array in arrays.items()},
        notices=rows.notices,
        places=None if rows.places is None else rows.places[chosen],
    )


def _spec(m: str) -> ModalitySpec:
    if m in SERIES:
        channels, units = SERIES[m]
        return ModalitySpec(m, "series", (len(STEPS), len(channels)), channels, units)
    if m == "static":
        return ModalitySpec(m, "vector", (len(STATIC),), STATIC, STATIC_UNITS)
    return ModalitySpec(m, "vector", (len(LAND_COVER),), tuple(LAND_COVER.values()), "one-hot")


@dataclass(frozen=True)
class Columns:
    """The published columns, wherever their rows lie.

    path: of all. where: number of a row → what to call it. numbers: columns → (n, columns) float64,
    NaN where there is none. values: column → what is written there.
    """

    path: Path
    where: Callable[[int], str]
    numbers: Callable[[list[str]], np.ndarray]
    values: Callable[[str], list[Any]]

    def rows(self, numbers: list[str], dates: list[str], notices: tuple[str, ...]) -> Rows:
        """What `Rows` wants; ``numbers`` and ``dates`` become a part of the ids."""
        groups, y = self.names("site"), self.known([TARGET])[:, 0]
        _check_targets(self.path, y, self.where)
        ids = [" ".join(parts) for parts in zip(numbers, groups, dates, strict=True)]
        return Rows(np.array(ids, str), groups, y, self.array, notices)

    def names(self, column: str) -> np.ndarray:
        """A column of text as (n,) strings; an empty cell is an error."""
        names = []
        for i, value in enumerate(self.values(column)):
            try:
                names.append(reading.name(value))
            except ValueError as error:
                raise UserError(f"{self.where(i)}, column {column}: {error}") from error
            if names[-1] is None:
                raise UserError(f"{self.where(i)}, column {column}: empty")
        return np.array(names, dtype=np.str_)

    def known(self, columns: list[str]) -> np.ndarray:
        """As `numbers`, NaN also where the publisher writes that there is none."""
        values = self.numbers(columns)
        values[values == NO_DATA] = np.nan
        return values

    def array(self, m: str) -> np.ndarray:
        """(n, *shape) of a modality."""
        if m in SERIES:
            channels = SERIES[m][0]
            columns = [f"{channel}({step})" for step in STEPS for channel in channels]
            return self.known(columns).reshape(-1, len(STEPS), len(channels))
        if m == "static":
            return self.known([f"{channel}(t)" for channel in STATIC])
        codes = self.known(["forest_cover(t)"])
        foreign = np.setdiff1d(codes[~np.isnan(codes)], list(LAND_COVER))
        if len(foreign):
            raise UserError(f"{self.path}: forest_cover(t) has the unknown code {foreign[0]:g}")
        return np.where(np.isnan(codes), np.nan, codes == np.array(list(LAND_COVER)))


def _check_targets(path: Path, y: np.ndarray, where: Callable[[int], str]) -> None:
    """A target that is missing is an error also where a view leaves its row out."""
    bad = ~np.isfinite(y)
    if bad.any():
        raise UserError(
            f"{path}: {bad.sum():,} of {len(y):,} targets are missing or not finite, the first "
            f"that of {where(int(bad.argmax()))}; remove those rows"
        )


def _last_of_each(keys: list[Any]) -> tuple[np.ndarray, int]:
    """Where the last of each key stands, in order, and the number of those before it."""
    last = {key: i for i, key in enumerate(keys)}
    return np.array(sorted(last.values()), dtype=int), len(keys) - len(last)


def _table_files(root: Path) -> list[str]:
    if not (root / FILE).is_file():
        raise MissingFilesError(f"{root} lacks {FILE}")
    return [FILE]


def _read_table(root: Path, files: list[str]) -> Rows:
    path = root / FILE
    name = str(path)
    first, *have = tables.columns(name)
    if not reading.read_text(path).endswith("\n"):
        raise UserError(f"{path}: truncated, its last line has no end; get the file again")
    number = tables.numbers(name, [first])[:, 0]
    if (empty := np.isnan(number)).any():
        raise UserError(
            f"{path}: row {empty.argmax() + 2} has no number in its first cell; get the file again"
        )
    # The published file repeats some 30 row numbers; the last of each is the valid one.
    kept, stale = _last_of_each(number.tolist())

    def found(columns: list[str]) -> list[str]:
        if lacking := [column for column in columns if column not in have]:
            raise UserError(
                f"{path}: lacks the column(s) {', '.join(lacking)}; get the published file"
            )
        return columns

    columns = Columns(
        path,
        lambda i: f"row {kept[i] + 2}",
        lambda columns: tables.numbers(name, found(columns))[kept],
        lambda column: np.array(tables.values(name, *found([column])), object)[kept].tolist(),
    )
    notice = f"{stale} of {len(number):,} rows have the number of a later one: left out"
    numbers = [str(reading.name(n)) for n in number[kept].tolist()]
    return columns.rows(numbers, columns.names("date").tolist(), (notice,) * bool(stale))


def _feature_files(root: Path) -> list[str]:
    found = [path.relative_to(root).as_posix() for path in root.rglob("feature_*.geojson")]
    if not found:
        raise MissingFilesError(f"{root} has no feature_*.geojson")
    return sorted(found, key=lambda name: (_number(name), name))


def _number(name: str) -> int:
    """Of a row of the catalogue."""
    match = FEATURE.fullmatch(Path(name).name)
    if match is None:
        raise UserError(f"{name} has no number in its name, as in feature_0001.geojson; rename it")
    return int(match[1])


def _read_features(root: Path, files: list[str]) -> Rows:
    every = [(root / name, _feature(root / name)) for name in files]
    # The catalogue repeats what the table does, under numbers of its own.
    sites, dates = _cells(every, "site", reading.name), _cells(every, "date", _iso)
    kept, stale = _last_of_each(list(zip(sites, dates, strict=True)))
    features = [every[i] for i in kept]

    def numbers(columns: list[str]) -> np.ndarray:
        cells = [_cells(features, column, reading.number) for column in columns]
        return np.array(cells, dtype=np.float64).T  # None is NaN

    columns = Columns(
        root,
        lambda i: files[kept[i]],
        numbers,
        lambda column: _cells(features, column, lambda value: value),
    )
    notice = f"{stale} of {len(files):,} features have the site and date of a later one: left out"
    return columns.rows(
        [str(_number(files[i])) for i in kept], [dates[i] for i in kept], (notice,) * bool(stale)
    )


def _cells(
    features: list[tuple[Path, dict[str, Any]]], column: str, parse: Callable[[Any], Any]
) -> list[Any]:
    values = []
    for path, properties in features:
        try:
            values.append(parse(properties[column]))
        except KeyError as error:
            raise UserError(f"{path}: lacks the property '{column}'; get the file again") from error
        except ValueError as error:
            raise UserError(f"{path}: '{column}': {error}") from error
    return values


def _feature(path: Path) -> dict[str, Any]:
    """The columns of one row."""
    try:
        properties = json.loads(reading.read_text(path))["properties"]
        if not isinstance(properties, dict):
            raise TypeError("its properties are no object")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not a whole GeoJSON feature ({error})") from error
    return properties


def _iso(date: Any) -> str:
    """A date as the table writes it."""
    for form in DATES:
        with suppress(ValueError, TypeError):
            return datetime.datetime.strptime(date, form).date().isoformat()
    raise ValueError(f"{date!r:.80} is not a date, as in 6/30/15 or 2015-06-30")


def _read_views(root: Path, files: list[str]) -> Rows:
    file = views.load(root / files[0])
    places, y = file.places(), file.target()[:, 0].astype(np.float64)
    _check_targets(Path(file.path), y, lambda i: f"'{file.ids[i]}'")

    def array(m: str) -> np.ndarray:
        if m in SERIES:
            sizes = SERIES_VIEWS[m].items()
            parts = [file.view(name, (len(STEPS), size)).whole() for name, size in sizes]
            return np.concatenate(parts, axis=-1)
        if m == "land_cover":
            return _one_hot(file, "landcover", len(LAND_COVER))
        height = _one_hot(file, "LIDAR", len(HEIGHTS)) @ np.array(HEIGHTS, dtype=np.float64)
        soil = _present(file, "soil", 3).astype(np.float64)
        soil[soil == NO_DATA] = np.nan
        return np.column_stack([_present(file, "DEM", 2), height, soil])

    notice = (
        f"{files[0]} has no names of sites, no dates, and targets of 32 bits: sites are told apart "
        "by their coordinates"
    )
    groups = np.array([f"{latitude:.6f} {longitude:.6f}" for latitude, longitude in places])
    return Rows(file.ids, groups, y, array, (notice,), places)


def _present(file: Views, name: str, size: int | None) -> np.ndarray:
    """(n, size) of a view of what does not change, which may have all steps, the present first."""
    array = file.view(name, (size,), (len(STEPS), size)).whole()
    return array if array.ndim == 2 else array[:, 0]


def _one_hot(file: Views, name: str, size: int) -> np.ndarray:
    """The same of a view that tells classes apart and does not say which: those that occur in the
    published table, in order, as long as there are as many.
    """
    array = _present(file, name, None)
    if array.shape[1] != size:
        raise UserError(
            f"{file.path}: '{name}' has {array.shape[1]} classes and does not say which; the "
            f"{size} of the published table are known; choose other modalities, or get the table"
        )
    if not np.isin(array, (0, 1)).all() or (array.sum(axis=1) != 1).any():
        raise UserError(f"{file.path}: '{name}' is not one-hot; get the file again")
    return array


STRUCTURE = Structure(shared=0.25, specific={"S1": 0.20, "S2": 0.30})
FIRST_MONTH = "2015-06-30"
MONTHS = 44
DUPLICATES = 30
RATIO_BANDS = SERIES["S2"][0]


def generate_table(seed: int, samples: int, structure: Structure) -> pd.DataFrame:
    """A table of the published columns, in their order, with about ``samples`` valid rows."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    sites = max(2, round(samples / 17))
    steps = MONTHS + len(STEPS) - 1
    latents = Latents(
        autoregressive(rng, sites, steps, persistence=0.6, between=0.15),
        {m: autoregressive(rng, sites, steps, persistence=0.6, between=0.15) for m in ("S1", "S2")},
    )
    target = structure.target(latents, rng)[:, len(STEPS) - 1 :]
    percent = np.clip(104 + 39 * (target + 0.12 * (target**2 - 1)), 16, 320)
    signals = _signals(rng, latents)
    static = _static(rng, sites)

    cells = np.stack(np.meshgrid(np.arange(sites), np.arange(MONTHS), indexing="ij"), -1)
    rows = cells.reshape(-1, 2)[np.sort(rng.permutation(sites * MONTHS)[:samples])]
    site, month = rows[np.argsort(rows[:, 1], kind="stable")].T
    dates = pd.date_range(FIRST_MONTH, periods=MONTHS, freq="ME").strftime("%Y-%m-%d")
    columns: dict[str, np.ndarray] = {
        TARGET: percent[site, month],
        "date": dates.to_numpy()[month],
        "site": np.array([f"Generated site {i:03d}" for i in range(sites)])[site],
    }
    columns |= {f"{name}(t)": values[site] for name, values in static.items()}
    for lag, step in enumerate(STEPS):
        columns |= {f"{n}({step})": values[site, month + lag] for n, values in signals.items()}
    for step in STEPS[:-1]:
        columns |= {f"{name}({step})": values[site] for name, values in static.items()}
    index = rng.permutation(4 * samples)[:samples]
    table = pd.DataFrame(columns, index=index)
    # The published file repeats some row numbers; the earlier rows are stale.
    stale = table.iloc[: min(DUPLICATES, samples // 4)].copy()
    stale[TARGET] += 5.0
    return pd.concat([stale, table])


def _signals(rng: np.random.Generator, latents: Latents) -> dict[str, np.ndarray]:
    """Every monthly column, (sites, months): radar in dB, reflectances × 10⁴, indices, ratios."""
    c, radar, optical = latents.shared, latents.specific["S1"], latents.specific["S2"]
    sites, steps = c.shape
    # Wet canopies and rough soils scatter more; the canopy's structure moves the cross ratio.
    vv = -11.5 + rng.normal(0, 0.5, (sites, 1)) + 1.2 * c + speckle_db(rng, c.shape, looks=40)
    vh_vv = -7.5 + rng.normal(0, 0.4, (sites, 1)) + 1.2 * radar + speckle_db(rng, c.shape, looks=40)
    season = 0.06 * np.cos(2 * np.pi * (np.arange(steps) + 2) / 12)
    cover = 0.45 + 0.12 * c + season + rng.normal(0, 0.03, (sites, 1))
    cover = np.clip(cover + rng.normal(0, 0.04, c.shape), 0.02, 0.98)
    names = ("red", "green", "blue", "swir", "nir")
    sources = {"swir": "swir1"}
    bands = {}
    # Open, shaded canopies are darker than a closed one.
    brightness = 0.8 * np.exp(rng.normal(0, 0.05, c.shape))
    cloud = clouds(rng, c.shape, often=0.03)
    for name in names:
        clean = reflectance(sources.get(name, name), cover, 1.2 * optical)
        clean = clean * brightness * np.exp(rng.normal(0, 0.03, c.shape))
        bands[name] = 1e4 * ((1 - cloud) * clean + cloud * CLOUD)
    bands["ndvi"] = normalised_difference(bands["nir"], bands["red"])
    bands["ndwi"] = normalised_difference(bands["nir"], bands["swir"])
    bands["nirv"] = bands["ndvi"] * bands["nir"]
    signals = {"vv": vv, "vh": vv + vh_vv, **bands}
    signals |= {f"vv_{band}": vv / bands[band] for band in RATIO_BANDS}
    signals |= {f"vh_{band}": signals["vh"] / bands[band] for band in RATIO_BANDS}
    return {**signals, "vh_vv": vh_vv}


def _static(rng: np.random.Generator, sites: int) -> dict[str, np.ndarray]:
    """Columns that do not change with time, (sites,); a few soils are missing."""
    sand = rng.uniform(15, 75, sites).round()
    clay = rng.uniform(5, 95 - sand).round()
    soil = {"silt": 100 - sand - clay, "sand": sand, "clay": clay}
    missing = rng.random(sites) < 0.02
    return {
        "slope": rng.gamma(1.3, 1.9, sites),
        "elevation": rng.gamma(2.2, 530, sites).round(),
        "canopy_height": rng.integers(0, 37, sites),
        "forest_cover": rng.choice(list(LAND_COVER), sites),
        **{name: np.where(missing, NO_DATA, values) for name, values in soil.items()},
    }


register(LFMC())
