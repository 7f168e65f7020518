"""A figure as bytes: what is written, shown in the page, and kept."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """Both formats of a figure. size: width and height in inches. shorter: `in_page`."""

    png: bytes
    svg: bytes
    size: tuple[float, float]
    shorter: tuple[str, str]

    def to_bytes(self) -> bytes:
        head = json.dumps([len(self.png), self.size, self.shorter], allow_nan=False)
        return head.encode() + b"\n" + self.png + self.svg


def from_bytes(content: bytes) -> Picture | None:
    """A figure that was kept, or that there is none."""
    head, _, files = content.partition(b"\n")
    if (found := json.loads(head)) is None:
        return None
    length, size, shorter = found
    return Picture(files[:length], files[length:], tuple(size), tuple(shorter))


def in_page(png: bytes, svg: bytes) -> tuple[str, str]:
    """The compressed SVG or the PNG, whichever is shorter: its kind, and itself in base64."""
    svg = gzip.compress(svg, mtime=0)
    kind, data = ("svg", svg) if len(svg) < len(png) else ("png", png)
    return kind, base64.b64encode(data).decode()
