"""Datasets that torchgeo reads: So2Sat (LCZ42), BigEarthNet v2 and the TreeSatAI archive.

Each is a declaration (`datasets.common.torchgeo`): which of torchgeo's classes reads it, where in
its samples the sensors are, what is predicted, and how small files of that layout are generated.
The library is `torchgeo`; this module is `datasets.torchgeo`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import UserError
from benchmark.problem import TaskSpec
from datasets.common import reading
from datasets.common.contract import Published, register
from datasets.common.hdf5 import new_file, read_numbers, rows
from datasets.common.images import write_geotiff
from datasets.common.simulation import (
    Latents,
    Structure,
    independent_latents,
    reflectance,
    speckle_db,
)
from datasets.common.torchgeo import Sensor, TorchgeoAdapter

GENERA = "labels/TreeSatBA_v9_60m_multi_labels.json"
"""Of the tiles of TreeSatAI."""

REFLECTANCE = "reflectance × 10⁴, Sentinel-2"


def _brought_by(name: str) -> str:
    """The command by which torchgeo downloads one of its datasets to where it is looked for."""
    return (
        f"python -c \"from torchgeo.datasets import {name}; {name}('{{folder}}', download=True)\""
    )


class So2Sat(TorchgeoAdapter):
    """Version 2: 42 cities to train, the halves of ten others to validate and to test."""

    name = "so2sat"
    folder = "so2sat"
    title = (
        "Local climate zones of 400,673 patches of 320 m in 52 cities (So2Sat LCZ42, version 2)."
    )
    citation = "Zhu et al. 2020, doi 10.1109/MGRS.2020.2964708"
    licence = "CC BY 4.0"
    url = "https://mediatum.ub.tum.de/1483140"
    published = Published("multiclass", "400,673", 59e9)
    layout = "so2sat/\n  training.h5\n  validation.h5\n  testing.h5"
    reads = "torchgeo.datasets.So2Sat"
    files = ("training.h5", "validation.h5", "testing.h5")
    splits = {
        "train": {"split": "train"},
        "val": {"split": "validation"},
        "test": {"split": "test"},
    }
    task = TaskSpec(
        *("multiclass", 17),
        class_names=(
            *("compact high rise", "compact mid rise", "compact low rise", "open high rise"),
            *("open mid rise", "open low rise", "lightweight low rise", "large low rise"),
            *("sparsely built", "heavy industry", "dense trees", "scattered trees"),
            *("bush, scrub", "low plants", "bare rock or paved", "bare soil or sand", "water"),
        ),
    )
    sensors = {
        "S1": Sensor(
            "image",
            (
                *("VH real", "VH imaginary", "VV real", "VV imaginary"),
                *("VH intensity", "VV intensity", "covariance real", "covariance imaginary"),
            ),
            "backscatter, the last four filtered, Sentinel-1",
        ),
        "S2": Sensor(
            "image",
            ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
            "reflectance, Sentinel-2",
            first=8,
        ),
    }
    generated_samples = 240

    def look_at(self, root: Path) -> tuple[str, ...]:
        for name in self.files:
            rows(root / name, ("sen1", "sen2", "label"))
        return ()

    def targets(self, dataset: Any) -> np.ndarray:
        classes = self.task.outputs
        fits = lambda shape: len(shape) == 2 and shape[1] == classes  # noqa: E731
        return read_numbers(dataset.fn, "label", fits, f"(n, {classes})").argmax(axis=1)

    def generate(self, root: Path, *, seed: int, samples: int, **structure: Any) -> None:
        for name, scene in zip(self.files, _parts(self, seed, samples, structure), strict=True):
            radar = np.stack([scene.radar(i, 32) for i in range(len(scene.y))])
            linear = 10 ** (radar / 10)
            phase = np.exp(1j * scene.rng.uniform(0, 2 * np.pi, linear.shape)) * np.sqrt(linear)
            cross = phase[..., 0] * phase[..., 1].conj()
            sen1 = [
                *(phase[..., 1].real, phase[..., 1].imag, phase[..., 0].real, phase[..., 0].imag),
                *(linear[..., 1], linear[..., 0], cross.real, cross.imag),
            ]
            bands = self.sensors["S2"].channels
            with new_file(root / name) as file:
                file["sen1"] = np.stack(sen1, axis=-1)
                file["sen2"] = np.stack([scene.optical(i, 32, bands) for i in range(len(scene.y))])
                file["label"] = np.eye(self.task.outputs)[scene.y]


class BigEarthNet(TorchgeoAdapter):
    """Version 2, with the geographical split and the 19 classes of its authors."""

    name = "bigearthnet"
    folder = "bigearthnet"
    title = "Land cover of 549,488 patches of 1.2 km in ten countries of Europe (BigEarthNet v2)."
    citation = "Clasen et al. 2024, arXiv 2407.03653"
    licence = "CDLA-Permissive-1.0"
    url = "https://bigearth.net"
    published = Published("multilabel", "480,038", 168e9, _brought_by("BigEarthNetV2"))
    layout = (
        "bigearthnet/\n  metadata.parquet\n  BigEarthNet-S1/{scene}/{patch}/{patch}_{band}.tif\n"
        "  BigEarthNet-S2/{scene}/{patch}/{patch}_{band}.tif\n"
        "  Reference_Maps/{scene}/{patch}/{patch}_reference_map.tif"
    )
    notes = {"S1": "in whole decibels, as torchgeo reads its bands as integers"}
    reads = "torchgeo.datasets.BigEarthNetV2"
    files = ("metadata.parquet", "BigEarthNet-S1", "BigEarthNet-S2", "Reference_Maps")
    splits = {part: {"split": part} for part in ("train", "val", "test")}
    task = TaskSpec(
        *("multilabel", 19),
        class_names=(
            *("Urban fabric", "Industrial or commercial units", "Arable land"),
            *("Permanent crops", "Pastures", "Complex cultivation patterns"),
            "Land principally occupied by agriculture, "
            "with significant areas of natural vegetation",
            *("Agro-forestry areas", "Broad-leaved forest", "Coniferous forest", "Mixed forest"),
            "Natural grassland and sparsely vegetated areas",
            "Moors, heathland and sclerophyllous vegetation",
            *("Transitional woodland, shrub", "Beaches, dunes, sands", "Inland wetlands"),
            *("Coastal wetlands", "Inland waters", "Marine waters"),
        ),
    )
    sensors = {
        # torchgeo sorts the files of a patch by name.
        "S1": Sensor("image_s1", ("VH", "VV"), "dB, Sentinel-1"),
        "S2": Sensor(
            "image_s2",
            (
                *("B01", "B02", "B03", "B04", "B05", "B06", "B07"),
                *("B08", "B8A", "B09", "B11", "B12"),
            ),
            REFLECTANCE,
            dtype=np.dtype(np.uint16),
        ),
    }
    generated_samples = 120

    def targets(self, dataset: Any) -> np.ndarray:
        labels = dataset.metadata_df["labels"].explode()
        column = labels.map({name: k for k, name in enumerate(self.task.class_names)})
        y = np.zeros((len(dataset), self.task.outputs), dtype=np.uint8)
        if column.isna().any():
            raise ValueError(f"'{labels[column.isna()].iloc[0]}' is none of the 19 classes")
        y[labels.index.to_numpy(), column.to_numpy(dtype=int)] = 1
        return y

    def names(self, dataset: Any) -> list[str]:
        return dataset.metadata_df["patch_id"].tolist()

    def generate(self, root: Path, *, seed: int, samples: int, **structure: Any) -> None:
        import pandas as pd

        rows = []
        scenes = zip(
            ("train", "validation", "test"), _parts(self, seed, samples, structure), strict=True
        )
        for number, (part, scene) in enumerate(scenes):
            place = f"33UU{'PQR'[number]}"
            for i, labels in enumerate(scene.y):
                tile = f"{place}_{i // 90:02d}_{i % 90:02d}"
                s1 = f"S1A_IW_GRDH_1SDV_20170613T165043_{tile}"
                s2 = f"S2A_MSIL2A_20170613T101031_N9999_R022_T{tile}"
                radar = scene.radar(i, 120).astype(np.float32)
                for k, band in enumerate(("VV", "VH")):
                    _write(_patch(root / "BigEarthNet-S1", s1, 3, band), radar[..., k : k + 1])
                optical = 1e4 * scene.optical(i, 120, self.sensors["S2"].channels)
                for k, band in enumerate(self.sensors["S2"].channels):
                    step = 6 if band in ("B01", "B09") else 1 if band in FINE else 2
                    image = optical[::step, ::step, k : k + 1].round().astype(np.uint16)
                    _write(_patch(root / "BigEarthNet-S2", s2, 2, band), image)
                land = np.full((120, 120, 1), 211, np.uint16)
                _write(_patch(root / "Reference_Maps", s2, 2, "reference_map"), land)
                named = [self.task.class_names[k] for k in np.flatnonzero(labels)]
                rows.append({"patch_id": s2, "labels": named, "split": part, "s1_name": s1})
        table = io.BytesIO()  # and not the file itself: see `write_geotiff`
        pd.DataFrame(rows).to_parquet(table)
        (root / "metadata.parquet").write_bytes(table.getbuffer())


FINE = ("B02", "B03", "B04", "B08")
"""Bands of 10 m; B01 and B09 have 60 m, the others 20 m."""


def _patch(folder: Path, name: str, last: int, band: str) -> Path:
    """Where BigEarthNet keeps a band: a scene is named as its patches without ``last`` parts."""
    scene = "_".join(name.split("_")[:-last])
    return folder / scene / name / f"{name}_{band}.tif"


class TreeSatAI(TorchgeoAdapter):
    """The archive as published first: one image a sensor, no series, no validation part.

    Every genus that the labels name counts, however small its area: torchgeo's rule, and not the
    threshold of `datasets.treesatai_ts`.
    """

    name = "treesatai"
    folder = "treesatai"
    title = (
        "Tree genera of 50,381 tiles of 60 m in Lower Saxony, every genus that is listed: one "
        "image a sensor (treesatai_ts has the series)."
    )
    citation = "Ahlswede et al. 2023, doi 10.5194/essd-15-681-2023"
    licence = "CC BY 4.0"
    url = "https://zenodo.org/records/6780578"
    published = Published("multilabel", "50,381", 16e9, _brought_by("TreeSatAI"))
    layout = (
        "treesatai/\n  aerial/60m/{tile}.tif\n  s1/60m/{tile}.tif\n  s2/60m/{tile}.tif\n"
        f"  {GENERA}\n  train_filenames.lst\n  test_filenames.lst"
    )
    reads = "torchgeo.datasets.TreeSatAI"
    files = (
        *("train_filenames.lst", "test_filenames.lst", GENERA),
        *("aerial/60m", "s1/60m", "s2/60m"),
    )
    splits = {"train": {"split": "train"}, "test": {"split": "test"}}
    task = TaskSpec(
        *("multilabel", 15),
        class_names=(
            *("Abies", "Acer", "Alnus", "Betula", "Cleared", "Fagus", "Fraxinus", "Larix"),
            *("Picea", "Pinus", "Populus", "Prunus", "Pseudotsuga", "Quercus", "Tilia"),
        ),
    )
    sensors = {
        "aerial": Sensor(
            *("image_aerial", ("nir", "green", "blue", "red"), "counts, 0 to 255"),
            dtype=np.dtype(np.uint8),
        ),
        "S1": Sensor("image_s1", ("VV", "VH", "VV/VH"), "backscatter, Sentinel-1"),
        "S2": Sensor(
            "image_s2",
            (
                *("B02", "B03", "B04", "B08", "B05", "B06"),
                *("B07", "B8A", "B11", "B12", "B01", "B09"),
            ),
            REFLECTANCE,
        ),
    }
    generated_samples = 160

    def look_at(self, root: Path) -> tuple[str, ...]:
        labels, listed = _labelled(root / GENERA), {}
        for name in self.files[:2]:
            path = root / name
            for tile in reading.read_text(path).split() or [""]:
                if tile in listed:
                    raise UserError(f"{path}: {tile} stands in {listed[tile]} already")
                if tile not in labels:
                    told = f"{tile} is not in {GENERA}" if tile else "lists no tile"
                    raise UserError(f"{path}: {told}; get the file again")
                listed[tile] = name
        if unlisted := len(labels) - len(listed):
            return (f"{unlisted:,} of {len(labels):,} labelled tiles are in no list: left out",)
        return ()

    def targets(self, dataset: Any) -> np.ndarray:
        y = np.zeros((len(dataset), self.task.outputs), dtype=np.uint8)
        for row, file in zip(y, dataset.files, strict=True):
            row[[self.task.class_names.index(genus) for genus, _ in dataset.labels[file]]] = 1
        return y

    def names(self, dataset: Any) -> list[str]:
        return [file.removesuffix(".tif") for file in dataset.files]

    def generate(self, root: Path, *, seed: int, samples: int, **structure: Any) -> None:
        train, val, test = _parts(self, seed, samples, structure)
        labels = {}
        for part, scenes in (("train", (train, val)), ("test", (test,))):
            files = []
            for scene in scenes:
                for i, row in enumerate(scene.y):
                    genera = [self.task.class_names[k] for k in np.flatnonzero(row)]
                    file = f"{genera[0]}_{len(labels)}_WEFL_NLF.tif"
                    labels[file] = [[genus, round(1 / len(genera), 5)] for genus in genera]
                    files.append(file)
                    radar = scene.radar(i, 6)
                    ratio = radar[..., :1] / radar[..., 1:]
                    images = {
                        "aerial": scene.aerial(i, 304),
                        "s1": np.concatenate([radar, ratio], axis=-1).astype(np.float32),
                        "s2": 1e4 * scene.optical(i, 6, self.sensors["S2"].channels),
                    }
                    images["s2"] = images["s2"].round().astype(np.uint16)
                    for sensor, image in images.items():
                        _write(root / sensor / "60m" / file, image)
            (root / f"{part}_filenames.lst").write_text("".join(f"{file}\n" for file in files))
        path = root / GENERA
        path.parent.mkdir()
        path.write_text(json.dumps(labels, allow_nan=False))


def _labelled(path: Path) -> dict[str, Any]:
    """Tile → its genera; `UserError` for anything but a whole table of them."""
    try:
        return dict(reading.read_unique_json(path).items())
    except (ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a whole table of tiles ({error}); get it again") from error


STRUCTURE = {
    "so2sat": Structure(shared=0.35, specific={"S1": 0.15, "S2": 0.40}),
    "bigearthnet": Structure(shared=0.35, specific={"S1": 0.15, "S2": 0.40}),
    "treesatai": Structure(shared=0.30, specific={"aerial": 0.25, "S1": 0.10, "S2": 0.30}),
}

BANDS = {
    **{"B01": "blue", "B02": "blue", "B03": "green", "B04": "red", "B05": "edge1", "B06": "edge2"},
    **{"B07": "edge3", "B08": "nir", "B8A": "narrow_nir", "B09": "vapour"},
    **{"B11": "swir1", "B12": "swir2"},
}
TRAITS = 3


class Scenes:
    """What places look like to each sensor: traits that all of them see, and some of their own."""

    def __init__(self, rng: np.random.Generator, latents: Latents, y: np.ndarray) -> None:
        self.rng, self.latents, self.y = rng, latents, y

    def optical(self, i: int, side: int, bands: tuple[str, ...]) -> np.ndarray:
        """(side, side, bands) reflectances."""
        c, own = self.latents.shared[i], self.latents.specific["S2"][i]
        cover = 0.5 + 0.15 * c[0] + 0.05 * c[1] + self.rng.normal(0, 0.05, (side, side))
        cover = np.clip(cover, 0.02, 0.98)
        gain = np.exp(0.25 * own[1] + self.rng.normal(0, 0.03, (side, side)))
        layers = [
            reflectance(BANDS[band], cover, own[0] + 0.3 * c[2])
            * (gain if band in ("B05", "B06", "B07", "B08", "B8A") else 1)
            * np.exp(0.1 * own[2])
            for band in bands
        ]
        return np.stack(layers, axis=-1)

    def radar(self, i: int, side: int) -> np.ndarray:
        """(side, side, 2) VV and VH in dB."""
        c, own = self.latents.shared[i], self.latents.specific["S1"][i]
        level = np.array([-11 + 1.2 * c[0] + 1.2 * own[0], -17 + 1.2 * c[1] + 1.2 * own[1]])
        return level + speckle_db(self.rng, (side, side, 2), looks=5)

    def aerial(self, i: int, side: int) -> np.ndarray:
        """(side, side, 4) uint8."""
        c, own = self.latents.shared[i], self.latents.specific["aerial"][i]
        colour = np.array([137.0, 86.0, 82.0, 76.0]) * np.exp(0.1 * np.append(c, own[0]))
        spread = 14 * np.exp(0.4 * own[1:2])
        image = self.rng.normal(colour, spread, (side, side, 4))
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _parts(
    adapter: TorchgeoAdapter, seed: int, samples: int, changes: dict[str, Any]
) -> Iterator[Scenes]:
    """Scenes to train, to validate and to test: seven, one and two tenths of them."""
    rng = np.random.default_rng(seed)
    structure = STRUCTURE[adapter.name].changed(**changes)
    classes = adapter.task.outputs
    directions = np.random.default_rng(classes).normal(size=(TRAITS, classes))
    directions /= np.linalg.norm(directions, axis=0)
    val, test = max(2, samples // 10), max(2, samples // 5)
    for size in (samples - val - test, val, test):
        latents = independent_latents(rng, tuple(structure.specific), (size, TRAITS))
        scores = structure.target(latents, rng) @ directions
        best = scores.argmax(axis=1)
        if adapter.task.kind == "multilabel":
            y = (scores > 1.2) | (np.arange(classes) == best[:, None])
        else:
            y = best
        yield Scenes(rng, latents, y)


def _write(path: Path, image: np.ndarray) -> None:
    write_geotiff(path, image, crs="EPSG:32632", corner=(600_000, 5_800_000), pixel=10)


for declared in (So2Sat, BigEarthNet, TreeSatAI):
    register(declared())
