"""Digital Earth Africa's crop mask (binary): cropland or not, at places in eight regions of Africa.

Digital Earth Africa 2022, the training tables of its cropland extent map of the continent,
https://github.com/digitalearthafrica/crop-mask.

A row is a place: for each half of 2019 the geomedian of nine Sentinel-2 bands, the negative
logarithms of three deviations from it, three indices and the sum of CHIRPS rain; then the slope.
``_S1`` and ``_S2`` in the column names are the two half-years (seasons), not sensors. Rows have no
coordinates: the region is all that is known of where they are, and regions are the groups, so that
every fold is a region (or some) that training has not seen.
"""

from __future__ import annotations

import gzip
import re
import zlib
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
    register,
)
from datasets.common.simulation import (
    Latents,
    Structure,
    independent_latents,
    normalised_difference,
    reflectance,
)
from datasets.common.subsample import subsample

COMMIT = "d19371cd0a723c6730ceebc033edc5ecce9e265e"
RAW = f"https://raw.githubusercontent.com/digitalearthafrica/crop-mask/{COMMIT}/data"
REGIONS = {
    "central": "4a97e9945d7d7824f05c2aa7e694e0dc842c9479f6b50a7598b462eec95e4974",
    "eastern": "e8ad862f86ea38d6237b6c0dbae2d4fbcfd5b6e00759bc367d30cb346e78eab3",
    "indian_ocean": "a7b3e207ba604a2453e5a9257778c95a9f40fd13440312d6298ac497170f7a5c",
    "northern": "f1829bdf1b9ff9c8b811a6618d745f213b26d19bb2ef50f60928890db3230aa7",
    "sahel": "eb0304386b2c189111bae16e7c80100345639d38a29385c3c8e7483255633e42",
    "south_eastern": "3f8fe9e966bfbb00305b6c6fcd55ec648bf46e00c28cb26a9219d1c85c1123ad",
    "southern": "e0fd27a75442b7fe0ff0830e4e197b11fc2d76f05a58c28ba4881e78d07b428d",
    "western": "7cd01791676f980b604147d21c82e2ce4f0b3f1df74185d231e5067a554339f1",
}
"""The published regions, and the sha256 of their tables."""

ROWS = {
    **{"central": 3_509, "eastern": 4_444, "indian_ocean": 1_777, "northern": 3_447},
    **{"sahel": 6_153, "south_eastern": 4_177, "southern": 4_445, "western": 2_113},
}
"""Of the published tables."""

TABLE = re.compile(r"(?P<region>[a-z_]+)[/_]training_data\.txt(\.gz)?")
"""A table below the dataset's folder: as it lies in the repository's ``data``, or by its name."""

HALVES = ("S1", "S2")
"""How column names call January to June and July to December."""

BANDS = {
    **{name: name for name in ("blue", "green", "red", "nir")},
    **{"swir_1": "swir1", "swir_2": "swir2"},
    **{f"red_edge_{i}": f"edge{i}" for i in (1, 2, 3)},
}
"""Column → band of `datasets.common.simulation`."""

DEVIATIONS = {"bcdev": (3.1, 0.6), "edev": (2.6, 0.45), "sdev": (6.6, 1.1)}
"""Column → mean and spread of the published values, for those that are generated."""

INDICES = ("NDVI", "LAI", "MNDWI")
OPTICAL = (*BANDS, *DEVIATIONS, *INDICES)
TARGET = "Class"
COLUMNS = (
    TARGET,
    *(f"{name}_{half}" for half in HALVES for name in (*OPTICAL, "rain")),
    "slope",
)
CLASSES = ("not cropland", "cropland")

MODALITIES = {
    "optical": (
        *("series", tuple(f"{name}_{{half}}" for name in OPTICAL), OPTICAL),
        "reflectance, -log of deviations, and indices, Sentinel-2",
    ),
    "climate": ("series", ("rain_{half}",), ("rain",), "mm in a half-year, CHIRPS"),
    "terrain": ("vector", ("slope",), ("slope",), "percent"),
}
"""Kind, columns, channels and units. Two half-years are a series: they have the same channels, in
which the difference between the seasons stays what it is when each channel is standardised."""


class DEACropMask(Adapter):
    """The training tables of the continental crop mask, one of a region."""

    name = "dea_cropmask"
    folder = "dea_cropmask"
    title = "Cropland at places of eight regions of Africa, from the two halves of 2019."
    citation = "Digital Earth Africa 2022, github.com/digitalearthafrica/crop-mask"
    licence = "CC BY 4.0"
    url = "https://github.com/digitalearthafrica/crop-mask/tree/main/data"
    layout = (
        "dea_cropmask/\n  {region}/training_data.txt   as the folder data of the repository has it"
        "\nor\n  {region}_training_data.txt   each may be packed with gzip (.txt.gz); regions: "
        + ", ".join(REGIONS)
    )
    downloads = tuple(
        Download(f"{RAW}/{region}/training_data.txt", "training_data.txt", sha256, folder=region)
        for region, sha256 in REGIONS.items()
    )
    modalities = tuple(MODALITIES)
    default_modalities = tuple(MODALITIES)
    notes = {"optical": "Sentinel-2; _S1 and _S2 of its columns are half-years, not sensors"}
    group_kind = "region"
    published = Published("binary", f"{sum(ROWS.values()):,}", 9.4e6)
    by_name_only = True
    generated_samples = 960

    def source_files(self, root: Path) -> list[str]:
        files = _tables(root)
        if not files:
            raise MissingFilesError(f"{root} has no {{region}}/training_data.txt")
        return list(files.values())

    def to_fetch(self, root: Path) -> list[Download]:
        here = _tables(root)
        return [file for file in self.downloads if file.folder not in here]

    def generate(self, root: Path, *, seed: int, samples: int, **structure: Any) -> None:
        _generate(root, seed, samples, STRUCTURE.changed(**structure))

    def open(self, root: Path, modalities: tuple[str, ...], view: View) -> Catalogue:
        self.source_files(root)
        files = _tables(root)
        tables = {region: _read(root / file) for region, file in files.items()}
        ids = np.array([f"{r} {i}" for r, rows in tables.items() for i in range(1, len(rows) + 1)])
        groups = np.repeat(list(tables), [len(rows) for rows in tables.values()])
        rows = np.concatenate(list(tables.values()))
        y = rows[:, 0].astype(np.int64)
        task = TaskSpec("binary", 2, class_names=CLASSES)
        chosen = subsample(task, y, groups, None, view.samples)
        specs, arrays = {}, {}
        for m in modalities:
            specs[m], arrays[m] = _modality(m, rows[chosen])
        return Catalogue(
            modalities=specs,
            task=task,
            y=y[chosen],
            ids=ids[chosen],
            groups=groups[chosen],
            split=None,
            dtypes=dict.fromkeys(specs, np.dtype(np.float32)),
            read=lambda i: {m: array[i] for m, array in arrays.items()},
            notices=_lacking(tables),
        )


def _tables(root: Path) -> dict[str, str]:
    """Region → name of its table below ``root``, in the order of their names."""
    found: dict[str, str] = {}
    for path in sorted([*root.glob("*training_data.txt*"), *root.glob("*/training_data.txt*")]):
        name = path.relative_to(root).as_posix()
        match = TABLE.fullmatch(name)
        if match is None or not path.is_file():
            continue
        region = match["region"]
        if region in found:
            raise UserError(f"{root}: has both {found[region]} and {name}; keep one of them")
        found[region] = name
    return dict(sorted(found.items()))


def _lacking(tables: dict[str, np.ndarray]) -> tuple[str, ...]:
    """Regions that are not there, and tables that are not of the published length.

    One that was cut at the end of a line reads as any other.
    """
    notices = []
    lacking = [region for region in REGIONS if region not in tables]
    if lacking:
        found = len(REGIONS) - len(lacking)
        names = ", ".join(lacking)
        notices.append(f"{found} of {len(REGIONS)} published regions are there: {names} lack")
    here = {region: len(rows) for region, rows in tables.items() if region in ROWS}
    others = {region: n for region, n in here.items() if n != ROWS[region]}
    if len(others) < len(here):
        notices += [f"{region} has {n:,} of {ROWS[region]:,} rows" for region, n in others.items()]
    elif others:
        published = sum(ROWS[region] for region in others)
        notices.append(f"{sum(others.values()):,} of {published:,} published rows are there")
    return tuple(notices)


def _read(path: Path) -> np.ndarray:
    """(n, len(COLUMNS)) float64 of a region, NaN where there is no value, classes 0 and 1."""
    text = _text(path)
    lines = text.splitlines()
    header = lines[0].removeprefix("#").split() if lines else []
    if header != list(COLUMNS):
        lacking = ", ".join(sorted(set(COLUMNS) - set(header))[:5]) or "none, but in another order"
        raise UserError(
            f"{path}: its first line must be '# {' '.join(COLUMNS[:3])} ...'; columns that lack: "
            f"{lacking}; get the published file"
        )
    if not text.endswith("\n"):
        raise UserError(f"{path}: truncated, its last line has no end; get the file again")
    if len(lines) == 1:
        raise UserError(f"{path}: has no rows; get the file again")
    rows = np.array([_row(path, i, line) for i, line in enumerate(lines[1:], start=2)])
    wrong = ~np.isin(rows[:, 0], (0, 1))
    if wrong.any():
        raise UserError(
            f"{path}: line {2 + wrong.argmax()}: the class is {rows[wrong.argmax(), 0]:g}, neither "
            "0 nor 1"
        )
    return rows


def _row(path: Path, number: int, line: str) -> list[float]:
    cells = line.split()
    if len(cells) != len(COLUMNS):
        raise UserError(
            f"{path}: line {number} has {len(cells)} values and the header {len(COLUMNS)}; "
            "get the file again"
        )
    try:
        return [np.nan if (v := reading.number(cell)) is None else v for cell in cells]
    except ValueError as error:
        raise UserError(f"{path}: line {number}: {error}") from error


def _text(path: Path) -> str:
    if path.suffix != ".gz":
        return reading.read_text(path)
    try:
        with gzip.open(path, "rt", encoding="utf-8-sig") as file:
            return file.read()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{path}: cannot be unpacked as text ({error}); get it again") from error


def _modality(m: str, rows: np.ndarray) -> tuple[ModalitySpec, np.ndarray]:
    """Spec and (n, *shape) float32 array of one modality."""
    kind, names, channels, units = MODALITIES[m]
    steps = [[name.format(half=half) for name in names] for half in HALVES]
    if kind == "vector":
        steps = steps[:1]
    columns = [[COLUMNS.index(name) for name in step] for step in steps]
    array = rows[:, columns if kind == "series" else columns[0]].astype(np.float32)
    return ModalitySpec(m, kind, array.shape[1:], channels, units), array


STRUCTURE = Structure(shared=0.15, specific={"optical": 0.30, "climate": 0.10, "terrain": 0.05})


def _generate(root: Path, seed: int, samples: int, structure: Structure) -> None:
    """Write a table a region; regions differ in their soils and their rain."""
    rng = np.random.default_rng(seed)
    latents = independent_latents(rng, tuple(structure.specific), (samples,))
    scores = structure.target(latents, rng)
    region = np.arange(samples) % len(REGIONS)
    columns = {TARGET: (scores > 0.2).astype(float), **_signals(rng, region, latents)}
    table = np.stack([columns[name] for name in COLUMNS], axis=1)
    for i, name in enumerate(REGIONS):
        (root / name).mkdir()
        header = " ".join(COLUMNS)
        np.savetxt(root / name / "training_data.txt", table[region == i], "%f", header=header)


def _signals(
    rng: np.random.Generator, region: np.ndarray, latents: Latents
) -> dict[str, np.ndarray]:
    """Every column of inputs, (n,)."""
    c, n, optical = latents.shared, len(region), latents.specific["optical"]
    wet = rng.normal(0, 0.4, len(REGIONS))[region]
    columns = {}
    for half, sign in zip(HALVES, (1, -1), strict=True):
        # Fields are green in one half-year and bare in the other.
        cover = 0.4 + 0.12 * c + 0.15 * sign * optical + 0.08 * wet + rng.normal(0, 0.05, n)
        cover = np.clip(cover, 0.02, 0.98)
        bands = {
            name: reflectance(band, cover, 0.5 * wet) * np.exp(rng.normal(0, 0.04, n))
            for name, band in BANDS.items()
        }
        columns |= {f"{name}_{half}": values for name, values in bands.items()}
        for name, (mean, spread) in DEVIATIONS.items():
            noise = rng.normal(size=n)
            columns[f"{name}_{half}"] = mean + spread * (0.9 * noise - 0.4 * optical)
        ndvi = normalised_difference(bands["nir"], bands["red"])
        columns[f"NDVI_{half}"] = ndvi
        columns[f"LAI_{half}"] = 3.6 * (2.5 * ndvi * bands["nir"]) - 0.1
        columns[f"MNDWI_{half}"] = normalised_difference(bands["green"], bands["swir_1"])
        rain = 5.8 + 0.5 * wet + 0.3 * c + 0.3 * latents.specific["climate"]
        columns[f"rain_{half}"] = np.exp(rain + rng.normal(0, 0.1, n))
    slope = 1.2 - 0.5 * c - 0.7 * latents.specific["terrain"] + rng.normal(0, 0.4, n)
    return {**columns, "slope": np.exp(slope)}


register(DEACropMask())
