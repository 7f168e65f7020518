"""Models by their paths: kept as folders, or exported as ONNX."""

from __future__ import annotations

from pathlib import Path

import methods
from benchmark.deployment import exported, model


def load(path: Path) -> model.Model:
    """A model by its folder, or an exported one by its .onnx file, which needs no method.

    Raises as `model.load` and `exported.load_onnx`.
    """
    if path.suffix == ".onnx":
        return exported.load_onnx(path)
    methods.load()
    return model.load(path)
