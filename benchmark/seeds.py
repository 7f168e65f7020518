"""Seed streams: every use of randomness draws from a stream of its own."""

from __future__ import annotations

import hashlib


def stream(*parts: object) -> int:
    """A seed in [0, 2^63) that depends on all ``parts`` and on nothing else."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
