"""Live fuel moisture (regression) from three months of radar, optics, weather and terrain.

Rao, Williams, Flefil, Konings 2020, Remote Sensing of Environment 245:111797, doi
10.1016/j.rse.2020.111797 (targets), with inputs as Tseng et al. 2023, arXiv 2304.14065, prepared
them for Presto: github.com/nasaharvest/presto, ``data/fuel_moisture/npy``.

The targets of `lfmc`, with Sentinel-2 in place of Landsat, months of 30 days before the sample in
place of time steps, and places. Their last channel, which they call NDVI, is (B7 − B3) / (B7 + B3),
as in `cropharvest`, and is left out, as is the land cover of Dynamic World.

Two datasets are one set of files: `fuel_moisture` keeps sites whole in its folds, and
`fuel_moisture_split` has the publisher's split of a third of the sites for testing.
Presto's publication, table 10, has RMSE under that split from all channels, month and place:
linear regression 28.20, random forest 23.84 ± 0.42, Presto fine-tuned 25.28 ± 0.30. scikit-learn's
forest has 23.8 on these arrays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import UserError, numpy_says
from benchmark.problem import ModalitySpec, TaskSpec
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

COMMIT = "13173d028f035abcbcc3b13829314323a5c15d02"
RAW = f"https://raw.githubusercontent.com/nasaharvest/presto/{COMMIT}/data/fuel_moisture/npy"
FILES = {
    "s1_s2_era5_srtm": "588e25049e68cb9c64572649518badab49ae418e130144c3b47a67797507da3e",
    "month": "173f17192cb2dcd7bc7fc3c8dfba2c0690aa3ce023a90f94d9c2d4e5ccdfdf91",
    "latlon": "a31dc1f4c68c8614ac1cfa0e1cdf24d6ac9448e4a16e977605b0e563cb92595f",
    "site": "7f7e8f73f2b2ccd4a84a5d5cd7213d6b63807616ca9750038125d94b62f25494",
    "is_test": "e6b98035b21df025b38ebe80c315592f4484250c2f044e8e782682dbba23182b",
    "target": "c0a178b8521481d85fd4fede1ebbb01e475d7c05c7b5162c0c6029afb54e11d4",
}
"""Name without .npy → sha256 of the published file."""

STEPS = 3
OPTICAL = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")
MODALITIES = {
    "S1": ("series", ("VV", "VH"), "dB, Sentinel-1"),
    "S2": ("series", OPTICAL, "reflectance × 10⁴, Sentinel-2"),
    "weather": ("series", ("temperature_2m", "total_precipitation"), "K, m"),
    "terrain": ("vector", ("elevation", "slope"), "m, degrees"),
}
BANDS = tuple(channel for _, channels, _ in MODALITIES.values() for channel in channels)
"""Channels of the published array, in their order, but for its last one."""

SHAPES = {"s1_s2_era5_srtm": (STEPS, len(BANDS) + 1), "month": (STEPS,), "latlon": (2,)}
"""Of a sample in the files that hold more than one value of it."""

TASK = TaskSpec("regression", 1, unit="%")


class FuelMoisture(Adapter):
    """All sites; folds keep each of them whole."""

    name = "fuel_moisture"
    folder = "fuel_moisture"
    title = "Live fuel moisture content of 150 sites in the western USA, 2015 to 2019."
    citation = "Rao et al. 2020, doi 10.1016/j.rse.2020.111797; Tseng et al. 2023, arXiv 2304.14065"
    licence = "CC BY-NC-ND 4.0, MIT"
    url = "https://github.com/nasaharvest/presto/tree/main/data/fuel_moisture"
    layout = "fuel_moisture/\n  " + "\n  ".join(f"{name}.npy" for name in FILES)
    modalities = tuple(MODALITIES)
    default_modalities = ("S1", "S2")
    group_kind = "site"
    downloads = tuple(Download(f"{RAW}/{n}.npy", f"{n}.npy", sha256) for n, sha256 in FILES.items())
    published = Published("regression", "2,313", 1.4e6)
    by_name_only = True
    generated_samples = 1_200

    def source_files(self, root: Path) -> list[str]:
        names = [f"{name}.npy" for name in FILES]
        lacking = [name for name in names if not (root / name).is_file()]
        if lacking:
            raise MissingFilesError(f"{root} lacks {', '.join(lacking)}")
        return names

    def open(self, root: Path, modalities: tuple[str, ...], view: View) -> Catalogue:
        self.source_files(root)
        files = _read(root)
        sites, y = files["site"].astype(str), files["target"].astype(np.float64)
        parts = np.where(files["is_test"] == 1, "test", "train") if self.official_split else None
        chosen = subsample(TASK, y, sites, parts, view.samples)
        inputs, months = files["s1_s2_era5_srtm"][chosen], files["month"][chosen] + 1
        specs, arrays = {}, {}
        for m in modalities:
            kind, channels, units = MODALITIES[m]
            array = inputs[..., [BANDS.index(channel) for channel in channels]].astype(np.float32)
            arrays[m] = array if kind == "series" else array[:, 0]
            specs[m] = ModalitySpec(m, kind, arrays[m].shape[1:], channels, units)
        return Catalogue(
            modalities=specs,
            task=TASK,
            y=y[chosen],
            ids=np.array([f"{i} {sites[i]}" for i in chosen]),
            groups=sites[chosen],
            split=None if parts is None else parts[chosen],
            dtypes=dict.fromkeys(specs, np.dtype(np.float32)),
            read=lambda i: {m: array[i] for m, array in arrays.items()},
            places=files["latlon"][chosen].astype(np.float64),
            months={m: months for m, spec in specs.items() if spec.kind == "series"},
        )

    def generate(self, root: Path, *, seed: int, samples: int, **structure: Any) -> None:
        for name, array in _generated(seed, samples, STRUCTURE.changed(**structure)).items():
            np.save(root / f"{name}.npy", array, allow_pickle=False)


class FuelMoistureSplit(FuelMoisture):
    """The publisher's split; a tenth of its training sites validates."""

    name = "fuel_moisture_split"
    title = "Live fuel moisture content, with Presto's publishers' split of the sites."
    official_split = True
    split_of = FuelMoisture.name
    reader_version = 2  # what is prepared says whose split it is


def _read(root: Path) -> dict[str, np.ndarray]:
    """The files by name. Raises `UserError`, naming the file, for one that is not as published."""
    found: dict[str, np.ndarray] = {}
    for name in FILES:
        path = root / f"{name}.npy"
        try:
            array = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(
                f"{path}: not a whole array of numpy ({numpy_says(error)}); get it again"
            ) from error
        n = len(found["s1_s2_era5_srtm"]) if found else len(array) if array.ndim else 0
        wanted = (n, *SHAPES.get(name, ()))
        kinds, what = ("U", "text") if name == "site" else ("iuf", "numbers")
        if array.shape != wanted or array.dtype.kind not in kinds:
            found_so = f"{array.dtype} {array.shape}"
            raise UserError(f"{path}: is {found_so}, not {what} {wanted}; get the published file")
        found[name] = array
    for name, allowed in (("month", range(12)), ("is_test", (0, 1))):
        if not np.isin(found[name], allowed).all():
            raise UserError(f"{root / name}.npy: has other numbers than 0 to {max(allowed)}")
    return found


STRUCTURE = Structure(shared=0.25, specific={"S1": 0.15, "S2": 0.25, "weather": 0.1})
SITES = 60
BAND_NAMES = {
    "B2": "blue", "B3": "green", "B4": "red", "B5": "edge1", "B6": "edge2", "B7": "edge3",
    "B8": "nir", "B8A": "narrow_nir", "B9": "vapour", "B11": "swir1", "B12": "swir2",
}  # fmt: skip


def _generated(seed: int, samples: int, structure: Structure) -> dict[str, np.ndarray]:
    """Every file: sites with visits in a row, of which each is a sample."""
    rng = np.random.default_rng(seed)
    visits = -(-samples // SITES)
    order = np.arange(SITES * visits)[:samples]
    site, visit = order // visits, order % visits

    def latent() -> np.ndarray:
        return autoregressive(rng, SITES, visits, persistence=0.5, between=0.4).ravel()[:samples]

    latents = Latents(latent(), {m: latent() for m in structure.specific})
    score = structure.target(latents, rng)
    ending = (visit + rng.integers(12, size=SITES)[site]) % 12
    months = (ending[:, None] + np.arange(1 - STEPS, 1)) % 12
    places = np.stack([rng.uniform(32, 48, SITES), rng.uniform(-123, -104, SITES)], axis=1)
    return {
        "s1_s2_era5_srtm": _signals(rng, latents, months, site),
        "month": months,
        "latlon": places[site],
        "site": np.array([f"generated {i}" for i in site]),
        "is_test": (site % 3 == 0).astype(np.int64),
        "target": np.clip(105 + 35 * score, 30, 330),
    }


def _signals(
    rng: np.random.Generator, latents: Latents, months: np.ndarray, site: np.ndarray
) -> np.ndarray:
    """(n, 3, 18), what is seen of a sample the clearer the nearer the month."""
    n, near = len(site), np.array([0.5, 0.8, 1.0])
    c, radar, optical, warm = (
        near * z[:, None] for z in (latents.shared, *latents.specific.values())
    )
    noise = rng.normal(0, 0.02, (n, STEPS))
    cover = np.clip(0.4 + 0.1 * c + 0.08 * optical + noise, 0.02, 0.98)
    cloud = clouds(rng, (n, STEPS), often=0.1)
    soil = rng.normal(0, 0.08, SITES)[site, None]
    bands = {}
    for band, name in BAND_NAMES.items():
        clean = reflectance(name, cover, optical) * np.exp(soil)
        bands[band] = 1e4 * ((1 - cloud) * clean + cloud * CLOUD)
    season = np.cos(2 * np.pi * (months - 6) / 12)
    looks = [speckle_db(rng, (n, STEPS), looks=20) for _ in range(2)]
    terrain = [np.repeat(rng.gamma(2, scale, SITES)[site, None], STEPS, 1) for scale in (500, 4)]
    columns = {
        "VV": -12 + 1.2 * c + radar + looks[0],
        "VH": -18 + 1.8 * c + 1.4 * radar + looks[1],
        **bands,
        "temperature_2m": 289 + 9 * season + 3 * warm + rng.normal(0, 1, (n, STEPS)),
        "total_precipitation": rng.gamma(1.2, 0.001, (n, STEPS)) * np.exp(-0.5 * warm),
        **dict(zip(("elevation", "slope"), terrain, strict=True)),
    }
    index = normalised_difference(bands["B7"], bands["B3"])
    return np.stack([*(columns[band] for band in BANDS), index], axis=-1)


register(FuelMoisture())
register(FuelMoistureSplit())
