"""What is there of a dataset, and what is not: from the names and sizes of its files alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from benchmark.errors import UserError
from datasets.common.contract import Adapter, Download

State = Literal["real", "incomplete", "absent", "generated"]


@dataclass(frozen=True)
class Files:
    """Files of one folder and one suffix. size: bytes; None of folders, which are not looked into.

    name: of one file or folder, or a pattern.
    """

    name: str
    count: int
    size: int | None


@dataclass(frozen=True)
class Status:
    """What there is of a dataset.

    state: "real" where it can be read, "absent" where there is nothing; "generated" where it always
    is. folder: where it is looked for; None without a data root. here: what is read, or what is
    there of it. lacks: what keeps it from being read, a sentence, or "". to_fetch: what its
    publisher offers and is not there. form: which of several forms is read; "" where there is one.
    """

    state: State
    folder: Path | None
    here: tuple[Files, ...] = ()
    lacks: str = ""
    to_fetch: tuple[Download, ...] = ()
    form: str = ""


def status(adapter: Adapter, data_root: Path | None) -> Status:
    """What there is of a dataset below ``data_root``, its own folder or that of its description."""
    if adapter.control:
        return Status("generated", None)
    if adapter.root is not None:
        folder = adapter.root
    elif data_root is not None:
        folder = data_root / adapter.folder
    else:
        return Status("absent", None, to_fetch=adapter.downloads)
    if not folder.is_dir():
        return Status("absent", folder, to_fetch=adapter.downloads)
    lacks = adapter.lacks(folder)
    try:
        files = adapter.source_files(folder)
    except UserError:
        files = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    try:
        to_fetch = tuple(adapter.to_fetch(folder))
    except UserError:  # as in `lacks`
        to_fetch = ()
    form = "" if lacks else adapter.form_of(folder)
    state = "real" if not lacks else "incomplete" if files else "absent"
    return Status(state, folder, _summed(folder, files), lacks, to_fetch, form)


def _summed(folder: Path, names: Iterable[str]) -> tuple[Files, ...]:
    """Files by folder and suffix, in the order in which each occurs first."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in names:
        path = PurePosixPath(name)
        groups.setdefault((str(path.parent), path.suffix), []).append(name)
    result = []
    for (parent, suffix), found in groups.items():
        folders = [name for name in found if (folder / name).is_dir()]
        result += [Files(f"{name}/", 1, None) for name in folders]
        plain = [name for name in found if name not in folders]
        if plain:
            pattern = plain[0] if len(plain) == 1 else str(PurePosixPath(parent, f"*{suffix}"))
            result.append(Files(pattern, len(plain), sum(map(_size, (folder / n for n in plain)))))
    return tuple(result)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a link that leads nowhere
        return 0
