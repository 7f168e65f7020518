"""Native files for tests: generated datasets, and made-up trees of what was published."""

from __future__ import annotations

import atexit
import json
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import h5py
import numpy as np

import datasets
from datasets.common import prepared
from datasets.common.contract import Adapter, Catalogue, EODataset, View

ADAPTERS = datasets.load()
CHANNELS = 18
"""Of a CropHarvest array."""

TILE = "Abies_alba_1_1005_WEFL_NLF"
"""The real tile of TreeSatAI-TS."""


@cache
def generated(name: str, samples: int) -> Path:
    """A dataset's generated native files; tests that change them work on a copy."""
    root = Path(mkdtemp(prefix=f"{name}-"))
    atexit.register(shutil.rmtree, root)
    ADAPTERS[name].generate(root, seed=0, samples=samples)
    return root


def copied(name: str, samples: int, to: Path) -> Path:
    """A copy of `generated`, below ``to`` as below a data root."""
    return Path(shutil.copytree(generated(name, samples), to / ADAPTERS[name].folder))


def opened(name: str, native: Path, *modalities: str, **view: Any) -> Catalogue:
    """What the adapter says of the native files."""
    adapter = ADAPTERS[name]
    return adapter.open(native, modalities or adapter.default_modalities, View(**view))


def prepare(name: str, native: Path, cache: Path, *modalities: str, **view: Any) -> EODataset:
    """The dataset, prepared from native files."""
    return prepare_with(ADAPTERS[name], native, cache, *modalities, **view)[0]


def prepare_with(
    adapter: Adapter, native: Path, cache: Path, *modalities: str, **view: Any
) -> tuple[EODataset, Path]:
    """The dataset that an adapter prepares from native files, and its folder."""
    chosen = modalities or adapter.default_modalities
    return prepared.prepare(adapter, native, "real", chosen, View(**view), cache)


def crop_label(index: int, **changes: Any) -> dict[str, Any]:
    """A feature of labels.geojson with the published properties."""
    properties = {
        "index": index,
        "is_crop": index % 2,
        "lat": 10.5 + index,
        "lon": -3.25,
        "dataset": "togo",
        "collection_date": "2020-10-01T00:00:00",
        "export_end_date": "2021-02-01T00:00:00",
        "is_test": False,
        "label": None,
        "classification_label": ("maize", None, "rice")[index % 3],
        "harvest_date": None,
        "planting_date": None,
        **changes,
    }
    point = {"type": "Point", "coordinates": [properties["lon"], properties["lat"]]}
    return {"type": "Feature", "properties": properties, "geometry": point}


def crop_array(index: int) -> np.ndarray:
    """A (12, 18) array whose value says where it stands: 1000 · sample + 20 · month + channel."""
    return 1000.0 * index + 20.0 * np.arange(12)[:, None] + np.arange(CHANNELS)


def crop_tree(root: Path, labels: list[dict[str, Any]]) -> Path:
    """CropHarvest's layout with one features file a label."""
    arrays = root / "features" / "arrays"
    arrays.mkdir(parents=True)
    collection = {"type": "FeatureCollection", "features": labels}
    (root / "labels.geojson").write_text(json.dumps(collection))
    for label in labels:
        index, dataset = label["properties"]["index"], label["properties"]["dataset"]
        with h5py.File(arrays / f"{index}_{dataset}.h5", "w") as file:
            file["array"] = crop_array(index)
    return root
