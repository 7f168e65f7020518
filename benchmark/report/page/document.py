"""The HTML file: template, style, script, data and figures in one, under a strict policy.

Text from records reaches the file only inside JSON, and the screen only as text of an element: the
script never parses HTML. The policy of the file allows this very script and style, images that
are part of it, and nothing else: no network at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from benchmark.report.figures import TITLES, Drawn

PIXELS = 96
"""CSS pixels of an inch."""


def document(index: Mapping[str, Any], blocks: Sequence[str]) -> str:
    """The whole page; the same contents give the same text.

    index: of `content.index`. blocks: of `block` and `picture`.
    """
    style, script = _part("page.css"), _part("page.js")
    parts = {
        "policy": _policy(style, script),
        "style": style,
        "script": script,
        "data": "\n".join([block("index", encode(index)), *blocks]),
    }
    return re.sub(r"<!-- (\w+) -->", lambda found: parts[found[1]], _part("page.html"))


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    )
    return (
        f"default-src 'none'; script-src 'sha256-{script_hash}'; style-src 'sha256-{style_hash}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def encode(value: Any) -> str:
    """JSON that the script reads. Nothing in it can end the element or begin another."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # ASCII alone
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def block(name: str, text: str) -> str:
    """What `encode` gave, as an element of the page."""
    return f'<script type="application/json" id="{name}">{text}</script>'


def figure(drawn: Drawn, size: tuple[float, float]) -> dict[str, Any]:
    """Whose figure it is, what it shows, and its size: inches here, pixels in the page."""
    width, height = (round(PIXELS * inches) for inches in size)
    return {
        "name": drawn.name,
        "title": TITLES[drawn.kind],
        "order": list(TITLES).index(drawn.kind),
        "source": drawn.source,
        "protocol": drawn.protocol,
        "group": drawn.group,
        "width": width,
        "height": height,
    }


def picture(name: str, shorter: tuple[str, str]) -> str:
    """A figure, as `benchmark.report.figures.picture.in_page` has it, for the script to show."""
    kind, text = shorter
    return f'<script type="text/plain" id="{name}" data-kind="{kind}">{text}</script>'
