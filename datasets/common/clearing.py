"""Removes prepared and generated data, and nothing else."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from benchmark.errors import UserError
from benchmark.writers import part_of
from datasets.common.contract import Adapter

HEX = "[0-9a-f]"
SUFFIX = rf"(\.part|\.damaged-{HEX}{{8}})?(\.{HEX}{{32}})?(\.\S+-\d+-{HEX}{{8}}\.part)*"
NAMES = {
    "prepared": re.compile(rf"\.*(?P<of>[\w-]+)-{HEX}{{16}}{SUFFIX}"),
    "features": re.compile(rf"\.*(?P<of>[\w-]+)-{HEX}{{16}}{SUFFIX}"),
    "generated": re.compile(rf"\.*(?P<of>[\w-]+)-\d+-v\d+(-{HEX}{{16}})?{SUFFIX}"),
}
"""What the folders of a cache are called (see `datasets.common.prepared`), and of which dataset.

Features are those of frozen encoders: made from prepared data by what trains on them.

They are parts (`benchmark.writers.part_of`) while they are made or removed; earlier versions
put 32 digits behind their names.
"""


def clear(cache: Path, adapters: Iterable[Adapter] | None = None) -> list[tuple[Path, int]]:
    """Remove what was prepared, generated or encoded, of all datasets or of some: folders with
    their bytes.

    Only folders that are named as those of a cache are; links are not followed. Each becomes
    a part first, so that nobody reads half of one. Raises `UserError` if ``cache`` is no cache, or
    cannot be written to.
    """
    if not any((cache / kind).is_dir() for kind in NAMES):
        raise UserError(f"{cache}: is no cache; it has neither 'prepared' nor 'generated' in it")
    wanted = None
    if adapters is not None:
        adapters = list(adapters)
        names, folders = {a.name for a in adapters}, {a.folder for a in adapters}
        wanted = {"prepared": names, "features": names, "generated": folders}
    removed = []
    for kind, pattern in NAMES.items():
        for folder in sorted((cache / kind).glob("*")):
            match = pattern.fullmatch(folder.name)
            if not match or folder.is_symlink() or not folder.is_dir():
                continue
            if wanted is None or match["of"] in wanted[kind]:
                removed.append((folder, _remove(folder)))
    return removed


def _remove(folder: Path) -> int:
    size = sum(p.lstat().st_size for p in folder.rglob("*") if p.is_symlink() or p.is_file())
    aside = folder.with_name(part_of(folder.name))
    try:
        folder.rename(aside)
        shutil.rmtree(aside)
    except OSError as error:
        raise UserError(f"{folder}: cannot be removed ({error.strerror or error})") from error
    return size
