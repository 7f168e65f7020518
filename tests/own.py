"""A small dataset of a user's own, in files of every kind, with its description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
import yaml

import datasets
from datasets.common import prepared
from datasets.common.checking import check
from datasets.common.contract import Catalogue, EODataset, View

N = 60
"""Samples."""

CLASSES = ["none", "mild", "severe"]


def write(folder: Path) -> dict[str, Any]:
    """Three sensors as arrays and a table of plots in ``folder``; what describes them."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    z = rng.normal(size=N)
    noisy = lambda *shape: z.reshape(-1, *[1] * len(shape)) + rng.normal(size=(N, *shape))  # noqa: E731
    np.save(folder / "s1.npy", noisy(12, 2).astype(np.float32))
    np.save(folder / "s2.npy", noisy(12, 11).astype(np.float32))
    np.save(folder / "soil.npy", noisy(4))
    table = {
        "plot": [f"P{i:02d}" for i in range(N)],
        "lat": 43 + rng.random(N) * 3,
        "lon": 2 + rng.random(N) * 3,
        "stress": np.array(CLASSES)[np.argsort(np.argsort(z)) * 3 // N],
        "vigour": z,
    }
    pd.DataFrame(table).to_csv(folder / "plots.csv", index=False)
    return {
        "title": "Water stress of vines",
        "modalities": {
            "S1": {"file": "s1.npy", "kind": "series", "channels": ["VV", "VH"], "units": "dB"},
            "S2": {"file": "s2.npy", "kind": "series"},
            "soil": {"file": "soil.npy", "kind": "vector"},
        },
        "target": {
            "file": "plots.csv",
            "column": "stress",
            "kind": "multiclass",
            "classes": CLASSES,
        },
        "ids": {"file": "plots.csv", "column": "plot"},
        "groups": {"file": "plots.csv", "latitude": "lat", "longitude": "lon", "block": 0.5},
    }


def save(description: dict[str, Any], folder: Path, name: str = "vines") -> Path:
    """The description as a YAML file in ``folder``."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(description, sort_keys=False))
    return path


def opened(path: Path, *modalities: str, **view: Any) -> Catalogue:
    """What is understood of a description, held against the contract; inputs are not read yet."""
    (adapter,) = datasets.choose([str(path)])
    chosen = modalities or adapter.modalities
    catalogue = adapter.open(adapter.root, chosen, View(**view))
    check(adapter, adapter.root, chosen, catalogue)
    return catalogue


def prepare(path: Path, cache: Path, *modalities: str) -> EODataset:
    """The described dataset, prepared."""
    (adapter,) = datasets.choose([str(path)])
    chosen = modalities or adapter.modalities
    return prepared.prepare(adapter, adapter.root, "real", chosen, View(), cache)[0]


def geotiff(path: Path, array: np.ndarray, **tags: Any) -> None:
    """(bands, H, W) with a place on the map; tags: nodata, scales and offsets."""
    bands, height, width = array.shape
    size = {"count": bands, "height": height, "width": width, "dtype": array.dtype}
    place = rasterio.Affine(10, 0, 500_000, 0, -10, 5_800_000)
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:32631", transform=place, **size
    ) as file:
        file.write(array)
        if "nodata" in tags:
            file.nodata = tags["nodata"]
        if "scales" in tags:
            file.scales, file.offsets = tags["scales"], tags["offsets"]
