"""Files and folders that appear under their name only when they are complete.

Until then they have the name of a part, which says who writes it: what a process that was killed
leaves behind is removed by the next one on that machine. There are no locks.
"""

from __future__ import annotations

import os
import platform
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from benchmark.errors import NotWritableError


def part_of(path: Path) -> Path:
    """A name beside ``path`` for what is written before it is complete; another at each call."""
    writer = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    return path.with_name(f".{path.name}.{writer}.part")


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears under ``path`` only when it is complete and on disk.

    Raises `NotWritableError`, naming the folder, if it cannot be written (a full disk, for one).
    """
    part = part_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise NotWritableError(
            f"{path.parent}: cannot be written to ({error.strerror or error}); make room or give "
            "the right to write, then run again: all that is recorded stays"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def sweep(folder: Path, pattern: str = "**/.*.part") -> None:
    """Remove what processes of this machine that are dead have left half-written in a folder."""
    for part in folder.glob(pattern):
        machine, _, process = part.name.removesuffix(".part").rpartition("-")[0].rpartition("-")
        if machine.endswith(f".{platform.node()}") and process.isdecimal():
            try:
                os.kill(int(process), 0)
            except ProcessLookupError:
                _remove(part)
            except (PermissionError, OverflowError):  # alive, of another user; or no such number
                pass


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)  # another process may do the same
    else:
        part.unlink(missing_ok=True)
