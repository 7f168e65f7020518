"""Folders: the usual ones, what lies below one, links followed, and whether a file has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from benchmark.errors import UserError


def default_cache() -> Path:
    """Where data are prepared and generated, unless the user names another folder."""
    return Path(os.environ.get("EO_COLEARN_CACHE") or "results/cache")


def default_data_root() -> Path | None:
    """Where real data lie, unless the user names another folder."""
    root = os.environ.get("EO_COLEARN_DATA")
    return Path(root) if root else None


def below(folder: Path) -> Iterator[Path]:
    """All that lies below a folder, folders included, each before what lies in it, in any order.

    A link that leads back to a folder above it is given, but not followed. There is nothing below
    what is not there. Raises `OSError` for a folder that cannot be read.
    """
    return map(Path, names_below(os.fspath(folder)))


def names_below(folder: str, above: frozenset[str] = frozenset()) -> Iterator[str]:
    """The same as text, which of very many takes less time; above: as they are really called."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except (FileNotFoundError, NotADirectoryError):  # taken away meanwhile, for one
        return
    for entry in entries:
        yield entry.path
        if entry.is_dir():
            yield from names_below(entry.path, above | {real})


def stamp_of(path: Path) -> tuple[int, int]:
    """When a file was changed last, and its size: as long as they stay, it is not read again.

    Raises `UserError` for a file that cannot be looked at.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return stat.st_mtime_ns, stat.st_size
