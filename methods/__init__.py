"""Co-learning methods: one file a publication. A file put here is found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import plugins as outside

if TYPE_CHECKING:
    from methods.common.registry import Entry


def load(plugins: Sequence[Path] = ()) -> dict[str, Entry]:
    """Import every method file, what packages offer, and files that the user names; the registry.

    Encoders come along. Raises `UserError` if a plug-in cannot be loaded.
    """
    from methods.common.registry import REGISTRY

    for module in pkgutil.iter_modules(__path__):
        if not module.ispkg:
            importlib.import_module(f"methods.{module.name}")
    for encoders in ("pixels", "torchgeo", "presto", "galileo"):
        importlib.import_module(f"methods.common.{encoders}")
        importlib.import_module(f"methods.common.{encoders}")
    outside.load_installed("methods")
    outside.load_installed("encoders")
    outside.load(plugins)
    return REGISTRY
