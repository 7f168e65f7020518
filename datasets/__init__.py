"""Dataset adapters: one file a publisher's layout. A file put here is found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets.common.contract import Adapter


def load() -> dict[str, Adapter]:
    """Import every adapter file and return the adapters by name."""
    from datasets.common.contract import ADAPTERS

    for module in pkgutil.iter_modules(__path__):
        if not module.ispkg:
            importlib.import_module(f"datasets.{module.name}")
    return ADAPTERS
