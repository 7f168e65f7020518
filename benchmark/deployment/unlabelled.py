"""Samples for a model from its dataset's own kind of files, of places that have no label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import datasets
from benchmark.deployment.inputs import RASTERS, Samples, of_dataset
from benchmark.deployment.model import Model


def of_native_files(paths: Sequence[Path], model: Model) -> Samples | None:
    """Samples of GeoTIFFs, or of folders of them, that the model's dataset reads without a label.

    None where it reads none of them so: then they are something else, such as a map. Raises
    `UserError`, naming the file, for one that is not like the others.
    """
    adapter = datasets.load().get(model.about["dataset"]["name"])
    files = [file for path in paths for file in _files(path)]
    found = adapter.open_unlabelled(files) if adapter and files else None
    return None if found is None else of_dataset(found, model)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix.lower() in RASTERS)
