"""Co-learning methods: one file a publication. A file put here is found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from methods.common.registry import Entry


def load() -> dict[str, Entry]:
    """Import every method file and return the registry, key → entry."""
    from methods.common.registry import REGISTRY

    for module in pkgutil.iter_modules(__path__):
        if not module.ispkg:
            importlib.import_module(f"methods.{module.name}")
    return REGISTRY
