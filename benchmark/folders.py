"""What lies below a folder: links to folders are followed, everywhere and alike."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def below(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """All that lies below a folder, folders included, each before what lies in it, in any order.

    A link that leads back to a folder above it (above: those, as they are really called) is given,
    but not followed. There is nothing below what is not there. Raises `OSError` for a folder that
    cannot be read.
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except (FileNotFoundError, NotADirectoryError):  # taken away meanwhile, for one
        return
    for entry in entries:
        yield Path(entry.path)
        if entry.is_dir():
            yield from below(Path(entry.path), above | {real})
