"""What earlier reports computed, by a digest of all that it was computed from.

    <cache>/report/<key>      sha256 of the content, then the content

It lies in the cache and not beside the records: a results folder may come from somebody else, and
nothing is shown of it that was not computed from its records here. What is torn or cannot be read
is as good as absent; what cannot be written is not kept, and that is said. Several reports may
share a folder: a key stands for one content, whoever writes it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmark.writers import part_of, sweep

log = logging.getLogger(__name__)

LARGEST = 1 << 30
"""Bytes that are kept; what was used longest ago goes first."""

LIBRARIES = (
    *("numpy", "scipy", "tabulate", "matplotlib", "seaborn", "pandas", "pillow", "scikit-learn"),
    "scikit-posthocs",
)
"""Whose versions decide what a report looks like."""

HERE = Path(__file__).parents[1]
CODE = [HERE / "report", HERE / "planning", *sorted(HERE.glob("*.py"))]
CODE += sorted((HERE.parent / "datasets" / "common").glob("releases.*"))
"""What a report is made by."""

SUFFIXES = {".py", ".yaml", ".html", ".js", ".css"}

KEY = re.compile("[0-9a-f]{64}")


def key_of(*parts: Any) -> str:
    """The key of what is computed from parts that JSON can hold, by this code, in this place."""
    text = json.dumps([_makers(), *parts], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@cache
def _makers() -> str:
    """Digest of code and libraries."""
    versions = [platform.python_version(), code_digest(*CODE)]
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    return hashlib.sha256("\n".join(versions).encode()).hexdigest()


@cache
def code_digest(*places: Path) -> str:
    """Of the project's own files in folders, and of files."""
    digest = hashlib.sha256()
    for place in places:
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.suffix in SUFFIXES:
                digest.update(f"\0{path.relative_to(HERE.parent)}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


class Kept:
    """Contents by key in a folder of the cache; without a cache, nothing is ever there."""

    def __init__(self, cache: Path | None) -> None:
        self.folder = cache and cache / "report"

    def get(self, key: str) -> bytes | None:
        """The content of a key, or None."""
        if self.folder is None:
            return None
        path = self.folder / key
        try:
            content = path.read_bytes()
            if content[:32] != hashlib.sha256(memoryview(content)[32:]).digest():
                return None
            os.utime(path)
        except OSError:
            return None
        return content[32:]

    def put(self, key: str, content: bytes) -> None:
        """Keep the content of a key, if that is possible."""
        if self.folder is None:
            return
        part = self.folder / part_of(key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Not forced to the disk: what a power cut tears is not taken for whole.
            with part.open("wb") as file:
                file.write(hashlib.sha256(content).digest())
                file.write(content)
            part.replace(self.folder / key)
        except OSError as error:
            log.warning(
                "%s: nothing is kept for the next report (%s)", self.folder, error.strerror or error
            )
            with suppress(OSError):
                part.unlink(missing_ok=True)
            self.folder = None

    def finish(self) -> None:
        """Take away what was used longest ago, as far as there is too much, and what is half."""
        if self.folder is None:
            return
        with suppress(OSError):
            sweep(self.folder, ".*.part")
            total = 0
            for _, size, path in sorted(self._files(), reverse=True):
                total += size
                if total > LARGEST:
                    path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """When each was used last, its bytes and its path; nothing else that lies there."""
        with os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # another report was quicker
                    if KEY.fullmatch(entry.name):
                        stat = entry.stat()
                        yield stat.st_mtime, stat.st_size, Path(entry.path)


NOTHING_KEPT = Kept(None)


def clear(cache: Path) -> tuple[Path, int]:
    """Remove all that reports keep in a cache, and nothing else; the folder, and its bytes."""
    folder, size = Kept(cache).folder, 0
    with suppress(FileNotFoundError):
        sweep(folder, ".*.part")
        for _, own, path in Kept(cache)._files():
            path.unlink(missing_ok=True)
            size += own
        with suppress(OSError):  # something else is in it
            folder.rmdir()
    return folder, size
