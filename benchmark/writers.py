"""Names for what is being written, from which others can tell whether its writer is alive."""

from __future__ import annotations

import os
import platform
import uuid


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
