"""The HTML file: template, style, script, data and figures in one, under a strict policy.

Text from records reaches the file only inside JSON, and the screen only as text of an element: the
script never parses HTML. The policy of the file allows this very script and style, images that
are part of it, and nothing else: no network at all.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmark.report.across import Across
from benchmark.report.figures import TITLES, Drawn
from benchmark.report.frame import Results
from benchmark.report.page import content
from benchmark.report.summary import Summary

PIXELS = 96
"""CSS pixels of an inch."""


def document(
    summaries: Sequence[Summary],
    comparisons: Sequence[Across],
    results: Results,
    drawn: Sequence[Drawn] = (),
    folder: Path = Path(),
) -> str:
    """The whole page; the same records give the same text.

    drawn: the figures, of which ``folder`` has both files.
    """
    shown = content.index(summaries, comparisons, results)
    shown["figures"] = [_figure(figure, summaries) for figure in drawn]
    blocks = [_block("index", shown), _block("exclusions", content.exclusions(results))]
    blocks += [_block(f"group-{i}", content.group_content(s)) for i, s in enumerate(summaries)]
    blocks += [_picture(f"figure-{i}", folder / figure.name) for i, figure in enumerate(drawn)]
    style, script = _part("page.css"), _part("page.js")
    parts = {
        "policy": _policy(style, script),
        "style": style,
        "script": script,
        "data": "\n".join(blocks),
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


def _block(name: str, value: Any) -> str:
    """Data that the script reads. Nothing in it can end the element or begin another."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # ASCII alone
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _figure(figure: Drawn, summaries: Sequence[Summary]) -> dict[str, Any]:
    """Whose figure it is, what it shows, and its size in pixels."""
    width, height = (round(PIXELS * inches) for inches in figure.size)
    groups = [i for i, summary in enumerate(summaries) if summary.group is figure.group]
    return {
        "name": figure.name,
        "title": TITLES[figure.kind],
        "order": list(TITLES).index(figure.kind),
        "source": figure.source,
        "protocol": figure.protocol,
        "group": groups[0] if groups else None,
        "width": width,
        "height": height,
    }


def _picture(name: str, path: Path) -> str:
    """A figure's compressed SVG or its PNG, whichever is shorter, for the script to show."""
    svg = gzip.compress(path.with_name(f"{path.name}.svg").read_bytes(), mtime=0)
    png = path.with_name(f"{path.name}.png").read_bytes()
    kind, data = ("svg", svg) if len(svg) < len(png) else ("png", png)
    text = base64.b64encode(data).decode()
    return f'<script type="text/plain" id="{name}" data-kind="{kind}">{text}</script>'
