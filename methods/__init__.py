"""Co-learning methods: one file a publication. A file put here is found by itself."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import UserError

if TYPE_CHECKING:
    from methods.common.registry import Entry


def load(plugins: Sequence[Path] = ()) -> dict[str, Entry]:
    """Import every method file, and those that the user names; return the registry.

    Raises `UserError` if a named file is missing or cannot be imported.
    """
    from methods.common.registry import REGISTRY

    for module in pkgutil.iter_modules(__path__):
        if not module.ispkg:
            importlib.import_module(f"methods.{module.name}")
    for plugin in plugins:
        _load_plugin(plugin.resolve())
    return REGISTRY


def _load_plugin(path: Path) -> None:
    """Import a method file from outside, once a process; its entries say where they come from."""
    from methods.common.registry import REGISTRY

    name = f"methods.plugins.{path}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UserError(f"{path}: no Python file to load methods from")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    before = set(REGISTRY)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        told = isinstance(error, UserError)
        reason = str(error) if told else f"cannot be loaded ({type(error).__name__}: {error})"
        raise UserError(f"{path}: {reason}") from error
    for key in REGISTRY.keys() - before:
        REGISTRY[key] = replace(REGISTRY[key], plugin=path)
