"""`data fetch`, `data prepare` and `data clear`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import UserError, unknown

if TYPE_CHECKING:
    from datasets.common.contract import Adapter


def fetch(options: argparse.Namespace) -> int:
    """Download what the publishers of some datasets offer, compare it, and unpack it."""
    from datasets.common import download

    if options.data_root is None:
        raise UserError("say where to: --data-root DIR, or $EO_COLEARN_DATA")
    if options.mirror is not None:
        download.check_address(options.mirror)
    adapters = _adapters(options.datasets)
    for adapter in adapters:
        if not adapter.downloads:
            raise UserError(
                f"{adapter.name}: no published file is known that could be fetched; see "
                f"{adapter.url} and put it below {options.data_root}:\n{adapter.layout}"
            )
    for adapter in adapters:
        _fetch(adapter, options.data_root / adapter.folder, options.mirror)
    return 0


def _fetch(adapter: Adapter, folder: Path, mirror: str | None) -> None:
    from datasets.common import download
    from datasets.common.contract import MissingFilesError

    print(f"{adapter.name}: {adapter.citation}; licence {adapter.licence}")
    for file in adapter.downloads:
        new = download.fetch(file, folder, mirror)
        print(f"{folder / file.gives}: {'fetched' if new else 'is there already'}")
    try:
        adapter.source_files(folder)
    except MissingFilesError as error:
        raise UserError(f"{error}\nexpected was:\n{adapter.layout}") from error


def prepare(options: argparse.Namespace) -> int:
    """Do what `run` does before it trains: generate what is missing, and prepare the arrays."""
    from benchmark.commands.choosing import prepare_datasets
    from benchmark.planning import protocol

    prepare_datasets(options, protocol.load(options.protocol))
    return 0


def clear(options: argparse.Namespace) -> int:
    """Remove what was prepared and generated."""
    from datasets.common.clearing import clear

    chosen = None if options.datasets is None else _adapters(options.datasets)
    removed = clear(options.cache, chosen)
    for folder, size in removed:
        print(f"removed {folder} ({size:,} bytes)")
    print(f"{len(removed)} folders with {sum(size for _, size in removed):,} bytes were removed")
    return 0


def _adapters(chosen: Sequence[str]) -> list[Adapter]:
    import datasets

    known = datasets.load()
    for name in chosen:
        if name not in known:
            raise unknown("dataset", name, known)
    return [known[name] for name in chosen]
