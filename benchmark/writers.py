"""Files and folders that appear under their name only when they are complete.

Until then they are called after who writes them, so that others can tell whether that process is
alive, and what one that was killed has left is removed by the next. There are no locks.
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

from benchmark.errors import not_writable
from benchmark.folders import below


def part_of(name: str) -> str:
    """What a file or folder is called while it is written: ``.<name>.<machine>-<process>-….part``.

    It is new with every call.
    """
    return f".{name}.{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.part"


def is_abandoned(part: str) -> bool:
    """Whether a `part_of` something was written by a process of this machine that is no more."""
    machine, _, process = part.removesuffix(".part").rpartition("-")[0].rpartition("-")
    if machine.endswith(f".{platform.node()}") and process.isdecimal():
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):  # alive, of another user; or no such number
            pass
    return False


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears under ``path`` only when it is complete and on disk.

    Raises `NotWritableError`, naming the folder, if it cannot be written (a full disk, for one).
    """
    part = path.with_name(part_of(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync(path.parent)
    except OSError as error:
        raise not_writable(path.parent, error) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def claim(own: Path, path: Path) -> bool:
    """Call the file ``own`` ``path`` unless that name is taken: whether it was free.

    Where a file system has no hard links, a file that gets the name at the same moment is replaced.
    """
    try:
        os.link(own, path)
    except FileExistsError:
        return False
    except OSError as error:
        try:
            own.rename(path)
        except OSError:
            raise not_writable(path.parent, error) from error
    own.unlink(missing_ok=True)
    sync(path.parent)
    return True


def sync(path: Path) -> None:
    """Have a file or the names in a folder on disk, so that a power cut takes nothing of them."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        if not path.is_dir():  # some file systems have no such thing for folders
            raise


def sweep(folder: Path, pattern: str | None = None) -> None:
    """Remove what processes of this machine that are dead have left half-written below a folder.

    pattern: where to look, as `Path.glob` has it; everywhere if it is None.
    """
    with suppress(PermissionError):  # what cannot be read is not ours
        for part in list(below(folder) if pattern is None else folder.glob(pattern)):
            if is_abandoned(part.name):
                if part.is_dir():
                    shutil.rmtree(part, ignore_errors=True)  # another process may do the same
                else:
                    part.unlink(missing_ok=True)
