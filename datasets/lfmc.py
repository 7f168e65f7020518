"""Live fuel moisture content (regression) from radar and optical series.

Rao, Williams, Flefil, Konings 2020, "SAR-enhanced mapping of live fuel moisture content", Remote
Sensing of Environment 245:111797, doi 10.1016/j.rse.2020.111797.

One row of ``training_features.csv`` is a month of a site with the present and the three previous
time steps of its inputs, so that neighbouring months of a site share three of four steps: folds
that do not keep sites whole leak.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from datasets.common import reading
from datasets.common.contract import (
    Adapter,
    Catalogue,
    MissingFilesError,
    Published,
    View,
    register,
)
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

if TYPE_CHECKING:
    import pandas as pd

FILE = "training_features.csv"
TARGET = "percent(t)"
NAMES = ("site", "date")
"""The columns of text."""

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
"""The GlobCover 2009 codes that occur in the published ``forest_cover``."""


class LFMC(Adapter):
    """The table of Rao et al. 2020, the very rows that MDiCo's LFMC benchmark uses."""

    name = "lfmc"
    folder = "lfmc"
    title = "Live fuel moisture content of 150 sites in the western USA, 2015 to 2019."
    citation = "Rao et al. 2020, doi 10.1016/j.rse.2020.111797"
    licence = "CC BY-NC-ND 4.0"
    url = "https://github.com/kkraoj/lfmc_from_sar"
    layout = f"lfmc/\n  {FILE}"
    modalities = (*SERIES, "static", "land_cover")
    default_modalities = ("S1", "S2")
    notes = {"S2": "Landsat-8 in fact; S2 is what the release of MDiCo calls it"}
    group_kind = "site"
    published = Published("regression", "2,578", 5.6e6)
    generated_samples = 2_600

    def source_files(self, root: Path) -> list[str]:
        if not (root / FILE).is_file():
            raise MissingFilesError(f"{root} lacks {FILE}")
        return [FILE]

    def generate(self, root: Path, *, seed: int, samples: int, **structure: Any) -> None:
        table = generate_table(seed, samples, STRUCTURE.changed(**structure))
        table.to_csv(root / FILE)

    def open(self, root: Path, modalities: tuple[str, ...], view: View) -> Catalogue:
        path = root / self.source_files(root)[0]
        table, notices = _read(path)
        y = _targets(path, table)
        task = TaskSpec("regression", 1, unit="%")
        groups, dates = (_names(path, table, column) for column in NAMES)
        rows = map(reading.name, table.index.tolist())
        ids = np.array([" ".join(parts) for parts in zip(rows, groups, dates, strict=True)], str)
        chosen = subsample(task, y, groups, None, view.samples)
        specs, arrays = {}, {}
        for m in modalities:
            specs[m], arrays[m] = _modality(path, table, m)
        return Catalogue(
            modalities=specs,
            task=task,
            y=y[chosen],
            ids=ids[chosen],
            groups=groups[chosen],
            split=None,
            dtypes=dict.fromkeys(specs, np.dtype(np.float32)),
            read=lambda i: {m: array[chosen[i]] for m, array in arrays.items()},
            notices=notices,
        )


def _read(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The table by row number, and what was left out of it.

    Numbers are parsed where a whole column has nothing else; anything else stays text, to be read
    by the rule of `datasets.common.reading`.
    """
    import pandas as pd

    text = reading.read_text(path)
    _check_rows(path, text)
    try:
        table = pd.read_csv(
            io.StringIO(text),
            index_col=0,
            low_memory=False,
            keep_default_na=False,
            na_values=[""],
            converters=dict.fromkeys(NAMES, str),
        )
    except (ValueError, OSError, OverflowError) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error})") from error
    if not text.endswith("\n"):
        raise UserError(f"{path}: truncated, its last line has no end; get the file again")
    empty = [row for row, number in enumerate(table.index, start=2) if reading.is_missing(number)]
    if empty:
        raise UserError(
            f"{path}: row {empty[0]} has no number in its first cell; get the file again"
        )
    # The published file repeats some 30 row numbers; the last of each is the valid one.
    stale = table.index.duplicated(keep="last")
    notice = f"{stale.sum()} of {len(table):,} rows have the number of a later one: left out"
    return table[~stale], (notice,) * bool(stale.any())


def _check_rows(path: Path, text: str) -> None:
    """Every row has as many cells as the header; pandas would take those that lack for missing."""
    try:
        widths = [len(row) for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error as error:
        raise UserError(f"{path}: cannot be read as CSV ({error})") from error
    header = text.partition("\n")[0]
    if widths and widths[0] == 1 and (";" in header or "\t" in header):
        raise UserError(
            f"{path}: its cells are not separated by commas; save it as CSV with ',' between cells "
            "and '.' in numbers"
        )
    for number, width in enumerate(widths, start=1):
        if width != widths[0]:
            raise UserError(
                f"{path}: row {number} has {width} cells and the header {widths[0]}; "
                "get the file again"
            )


def _need_columns(path: Path, table: pd.DataFrame, columns: list[str]) -> None:
    lacking = [column for column in columns if column not in table.columns]
    if lacking:
        raise UserError(f"{path}: lacks the column(s) {', '.join(lacking)}; get the published file")


def _names(path: Path, table: pd.DataFrame, column: str) -> np.ndarray:
    """A column of text as (n,) strings; an empty cell is an error."""
    _need_columns(path, table, [column])
    names = _cells(path, table, column, reading.name)
    if None in names:
        raise UserError(f"{path}: row {table.index[names.index(None)]}, column {column}: empty")
    return np.array(names, dtype=np.str_)


def _numbers(path: Path, table: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Columns as (n, len(columns)) float64, NaN where there is none; `UserError` for a word."""
    _need_columns(path, table, columns)
    result = np.empty((len(table), len(columns)))
    for k, column in enumerate(columns):
        cells = table[column]
        if cells.dtype.kind not in "iuf":
            cells = _cells(path, table, column, reading.number)
        result[:, k] = np.array(cells, dtype=np.float64)  # None is NaN
    result[result == NO_DATA] = np.nan
    return result


def _cells(path: Path, table: pd.DataFrame, column: str, parse: Callable[[Any], Any]) -> list[Any]:
    values = []
    for row, cell in zip(table.index, table[column].tolist(), strict=True):
        try:
            values.append(parse(cell))
        except ValueError as error:
            raise UserError(f"{path}: row {row}, column {column}: {error}") from error
    return values


def _targets(path: Path, table: pd.DataFrame) -> np.ndarray:
    """(n,) float64; a target that is missing is an error also where a view leaves its row out."""
    y = _numbers(path, table, [TARGET])[:, 0]
    bad = ~np.isfinite(y)
    if bad.any():
        raise UserError(
            f"{path}: {bad.sum()} targets are missing or not finite, the first in row "
            f"{table.index[bad][0]}; remove those rows"
        )
    return y


def _modality(path: Path, table: pd.DataFrame, m: str) -> tuple[ModalitySpec, np.ndarray]:
    """Spec and (n, *shape) float32 array of one modality."""
    if m in SERIES:
        channels, units = SERIES[m]
        columns = [f"{channel}({step})" for step in STEPS for channel in channels]
        array = _numbers(path, table, columns).reshape(-1, len(STEPS), len(channels))
        spec = ModalitySpec(m, "series", array.shape[1:], channels, units)
    elif m == "static":
        array = _numbers(path, table, [f"{channel}(t)" for channel in STATIC])
        spec = ModalitySpec(m, "vector", array.shape[1:], STATIC, STATIC_UNITS)
    else:
        codes = _numbers(path, table, ["forest_cover(t)"])
        foreign = np.setdiff1d(codes[~np.isnan(codes)], list(LAND_COVER))
        if len(foreign):
            raise UserError(f"{path}: forest_cover(t) has the unknown code {foreign[0]:g}")
        array = np.where(np.isnan(codes), np.nan, codes == np.array(list(LAND_COVER)))
        names = tuple(LAND_COVER.values())
        spec = ModalitySpec(m, "vector", array.shape[1:], names, "one-hot")
    return spec, array.astype(np.float32)


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
