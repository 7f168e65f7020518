"""How the C library gives memory back."""

from __future__ import annotations

import ctypes
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""From glibc's malloc.h."""

KEEP = 1 << 30
"""Blocks up to this many bytes, and as much at the end of the heap, stay with the process."""

MOST_OF_OLD = 1 << 25
"""The largest block that glibc lets stay up to its version 2.34."""


def keep_large_blocks() -> None:
    """Have blocks of memory used again that glibc would return to the system when they are freed.

    It returns large ones, as batches of images and activations are, and the pages that are then
    taken anew cost many times the arithmetic on them. Other C libraries are left as they are.
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        if not mallopt(M_MMAP_THRESHOLD, KEEP):
            mallopt(M_MMAP_THRESHOLD, MOST_OF_OLD)
        mallopt(M_TRIM_THRESHOLD, KEEP)
