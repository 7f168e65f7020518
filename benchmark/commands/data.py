"""`data fetch`, `status`, `prepare`, `describe`, `new` and `clear`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import UserError, not_writable

if TYPE_CHECKING:
    from datasets.common.contract import Adapter


def fetch(options: argparse.Namespace) -> int:
    """Download what the publishers of some datasets offer, compare it, and unpack it."""
    import datasets
    from datasets.common import download

    if options.data_root is None:
        raise UserError("say where to: --data-root DIR, or $EO_COLEARN_DATA")
    if options.mirror is not None:
        download.check_address(options.mirror)
    adapters = datasets.choose(options.datasets)
    for adapter in adapters:
        if adapter.root is not None:
            raise UserError(f"{adapter.name}: is described by the user; there is nothing to fetch")
        if adapter.control:
            raise UserError(f"{adapter.name}: always generated, so that nothing can be fetched")
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
    lacking = adapter.to_fetch(folder)
    for file in adapter.downloads:
        new = file in lacking and download.fetch(file, folder, mirror)
        where = folder / file.folder / file.gives
        as_what = "" if where.exists() else ", in another layout"
        print(f"{where}: {'fetched' if new else f'is there already{as_what}'}")
    try:
        adapter.source_files(folder)
    except MissingFilesError as error:
        raise UserError(f"{error}\nexpected was:\n{adapter.layout}") from error


def status(options: argparse.Namespace) -> int:
    """Say what is there of each dataset, where it comes from, and how to get what is not."""
    import datasets
    from benchmark.commands.status import paragraph
    from datasets.common.status import status as status_of

    known = datasets.load().values()
    adapters = known if options.datasets is None else datasets.choose(options.datasets)
    paragraphs = [paragraph(each, status_of(each, options.data_root)) for each in adapters]
    print("\n\n".join(paragraphs))
    return 0


def prepare(options: argparse.Namespace) -> int:
    """Do what `run` does before it trains: generate what is missing, and prepare the arrays."""
    from benchmark.commands.choosing import prepare_datasets
    from benchmark.planning import protocol

    prepare_datasets(options, protocol.load(options.protocol))
    return 0


def clear(options: argparse.Namespace) -> int:
    """Remove what was prepared and generated."""
    import datasets
    from benchmark.report import kept
    from datasets.common.clearing import clear

    chosen = None if options.datasets is None else datasets.choose(options.datasets)
    removed = clear(options.cache, chosen)
    if chosen is None and (options.cache / "report").is_dir():
        removed.append(kept.clear(options.cache))
    for folder, size in removed:
        print(f"removed {folder} ({size:,} bytes)")
    print(f"{len(removed)} folders with {sum(size for _, size in removed):,} bytes were removed")
    return 0


def describe(options: argparse.Namespace) -> int:
    """Say what is understood of a dataset, and draw it."""
    import datasets
    from benchmark.commands.choosing import prepare_datasets
    from benchmark.planning import protocol as protocols
    from benchmark.report.dataset import described
    from benchmark.report.figures.dataset import picture
    from benchmark.writers import atomic
    from datasets.common import prepared
    from datasets.common.contract import View

    (adapter,) = datasets.choose([options.dataset])
    protocol = protocols.load(options.protocol)
    options.datasets = (options.dataset,)
    ((dataset, _),) = prepare_datasets(options, protocol)
    folder, _, _ = prepared.resolve(adapter, options.data_root, options.cache, named=True)
    view = View(**protocol.view_for(adapter.name))
    catalogue = adapter.open(folder, tuple(dataset.modalities), view)
    for paragraph in described(adapter, dataset, catalogue, protocol):
        print(f"\n{paragraph}")
    out = options.out or (adapter.root or Path()) / f"{adapter.name}-described.png"
    with atomic(out) as file:
        file.write(picture(dataset, catalogue))
    print(f"\npicture: {out}")
    return 0


def new(options: argparse.Namespace) -> int:
    """Write a first description of what lies in some files."""
    import datasets
    from benchmark.writers import claim, part_of
    from datasets.common.contract import NAME
    from datasets.described.draft import draft

    path = Path(options.name)
    path = path if path.suffix in (".yaml", ".yml") else path.with_name(f"{path.name}.yaml")
    if not NAME.fullmatch(path.stem):
        raise UserError(
            f"'{path.stem}' cannot be the name of a dataset; use letters, digits, '_' and '-'"
        )
    if path.exists():
        raise UserError(f"{path}: is there already, and is not overwritten; give another name")
    text = draft(path.stem, options.files, path.parent)
    part = path.with_name(part_of(path.name))
    try:
        part.write_text(text, encoding="utf-8")
        if not claim(part, path):
            raise UserError(f"{path}: is there already, and is not overwritten")
    except OSError as error:
        raise not_writable(path.parent, error, "choose another folder") from error
    finally:
        part.unlink(missing_ok=True)
    print(f"wrote {path}:\n\n{text}")
    try:
        datasets.choose([str(path)])
    except UserError as error:
        print(f"to be decided before it can be used:\n{error}")
    print(f"look at each line, then: python -m benchmark data describe {shlex.quote(str(path))}")
    return 0
