"""`pack`: the records of results folders as one small archive a dataset, for version control."""

from __future__ import annotations

import argparse
import lzma
import tarfile
from collections.abc import Sequence
from pathlib import Path

from benchmark import records
from benchmark.commands.submit import whole_records
from benchmark.merging import PACKED, merged, packs
from benchmark.writers import atomic


def pack(options: argparse.Namespace) -> int:
    """Write ``<out>/packed/<dataset>.tar.xz`` with all that the results folders and ``out`` have.

    Not a byte of a record or of its predictions is changed, so that every digest holds: what makes
    it small is that records repeat each other. Float16 predictions, tried instead, moved scores by
    up to one in a thousand. Records that lie loose in ``out`` are taken away once they are packed.
    Every one is held against its digests first; one that is not whole is named, and nothing is
    written.
    """
    folders = [*options.results, options.out]
    folders = [f for f in dict.fromkeys(folders) if f != options.out or _has_records(f)]
    with merged(folders) as results:
        by_dataset: dict[str, list[Path]] = {}
        for record, files in whole_records(results, shown=False):
            by_dataset.setdefault(record.spec.dataset, []).extend(files)
        total = 0
        for dataset, files in sorted(by_dataset.items()):
            path = options.out / PACKED / f"{dataset}.tar.xz"
            n, predicted = (sum(f.suffix == suffix for f in files) for suffix in (".json", ".npz"))
            _write(path, results, files)
            total += path.stat().st_size
            print(
                f"{path}: {n} records, {predicted} of them with predictions, "
                f"{path.stat().st_size:,} bytes"
            )
        names = [file.relative_to(results) for files in by_dataset.values() for file in files]
    for name in names:
        (options.out / name).unlink(missing_ok=True)
    print(f"{total:,} bytes in all")
    return 0


def _has_records(folder: Path) -> bool:
    return folder.is_dir() and bool(packs(folder) or records.files(folder))


def _write(path: Path, results: Path, files: Sequence[Path]) -> None:
    """The same files are the same archive. Like stands beside like: records, then predictions."""
    order = sorted(files, key=lambda file: (file.suffix, file))
    with (
        atomic(path) as raw,
        lzma.open(raw, "wb", preset=9 | lzma.PRESET_EXTREME) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for file in order:
            info = tarfile.TarInfo(file.relative_to(results).as_posix())
            info.size = file.stat().st_size
            with file.open("rb") as content:
                archive.addfile(info, content)
