"""Dataset adapters: one file a publisher's layout. A file put here is found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import plugins as outside

if TYPE_CHECKING:
    from datasets.common.contract import Adapter


def load() -> dict[str, Adapter]:
    """Import every adapter file and what packages offer, and return the adapters by name.

    In the order of the files, whichever was imported first. Raises `UserError` if a package cannot
    be loaded.
    """
    from datasets.common.contract import ADAPTERS

    files = [f"datasets.{m.name}" for m in pkgutil.iter_modules(__path__) if not m.ispkg]
    for name in files:
        importlib.import_module(name)
    outside.load_installed("datasets")
    place = {name: number for number, name in enumerate(files)}
    ordered = sorted(ADAPTERS, key=lambda n: place.get(type(ADAPTERS[n]).__module__, len(files)))
    if ordered != list(ADAPTERS):
        for name in ordered:
            ADAPTERS[name] = ADAPTERS.pop(name)
    return ADAPTERS


def choose(names: Iterable[str] | None) -> list[Adapter]:
    """Adapters by name, or by the path of the YAML file that describes a dataset.

    None: all that run without being named.

    Raises `UserError` that lists the names that nothing has, and the files that describe nothing.
    """
    from benchmark.errors import UserError, unknown
    from datasets.common.contract import NAME

    shipped = load()
    chosen: dict[str, Adapter] = {}
    problems = []
    usual = [name for name, adapter in shipped.items() if not adapter.by_name_only]
    for name in usual if names is None else names:
        try:
            adapter = shipped.get(name)
            if adapter is None and NAME.fullmatch(name):
                wrong = unknown("dataset", name, shipped)
                raise UserError(f"{wrong} One of your own is named by its file, as in {name}.yaml")
            if adapter is None:
                from datasets.described.adapter import Described

                adapter = Described(Path(name))
                if adapter.name in shipped or adapter.name in chosen:
                    raise UserError(
                        f"{name}: another dataset is named '{adapter.name}'; give it another "
                        "`name:`, so that their results are told apart"
                    )
            chosen[adapter.name] = adapter
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return list(chosen.values())


def name_of(name: str) -> str:
    """The name of a dataset in records; ``name`` may be the path of its description."""
    from datasets.common.contract import NAME

    if NAME.fullmatch(name):
        return name
    from datasets.described.description import load

    return load(Path(name)).name
