"""A page for each method, dataset, protocol and encoder: `make docs` puts them into the site.

python -m benchmark.commands.pages FOLDER
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.commands.describing import (
    Description,
    of_dataset,
    of_encoder,
    of_method,
    of_protocol,
)
from benchmark.commands.methods import in_order
from benchmark.planning import protocol
from benchmark.report.text import markdown, shortened

if TYPE_CHECKING:
    from datasets.common.contract import Adapter

SAMPLES = 20
"""Generated to see what a reader makes of a dataset's files."""

CHANNELS = 20
"""Names of channels that a page lists."""


def write(folder: Path) -> list[Path]:
    """Write `descriptions`, a page each, and an index of each kind; returns all paths."""
    paths = []
    for kind, found in descriptions().items():
        own = folder / kind
        own.mkdir(parents=True, exist_ok=True)
        pages = {own / f"{_file(each.name)}.md": each for each in found}
        for path, each in pages.items():
            path.write_text(each.as_markdown(), encoding="utf-8")
        index = folder / f"{kind}.md"
        index.write_text(_index(kind, pages), encoding="utf-8")
        paths += [*pages, index]
    return paths


def descriptions() -> dict[str, list[Description]]:
    """Kind → what this project has of it; plug-ins are their owners'."""
    import datasets
    import methods
    from methods.common.encoders import BACKBONES

    entries = [entry for entry in methods.load().values() if entry.plugin is None]
    adapters = [adapter for adapter in datasets.load().values() if adapter.plugin is None]
    return {
        "methods": [of_method(entry) for entry in in_order(entries)],
        "datasets": [of_dataset(adapter, sensors(adapter)) for adapter in adapters],
        "protocols": [of_protocol(name) for name in protocol.names()],
        "encoders": [
            of_encoder(backbone)
            for name, backbone in BACKBONES.items()
            if name not in BACKBONES.plugins
        ],
    }


def sensors(adapter: Adapter) -> dict[str, str]:
    """Modality → kind, shape, channels and units, as read from generated files."""
    from datasets.common.contract import View

    if not adapter.can_generate:
        return {}
    view = View(**protocol.load("standard").view_for(adapter.name))
    with tempfile.TemporaryDirectory() as folder:
        adapter.generate(Path(folder), seed=0, samples=SAMPLES)
        found = adapter.open(Path(folder), tuple(adapter.modalities), view).modalities
    said = {}
    for m, spec in found.items():
        shape, names = " × ".join(map(str, spec.shape)), ", ".join(spec.channels[:CHANNELS])
        more = f", … ({len(spec.channels)})" * (len(spec.channels) > CHANNELS)
        said[m] = f"{spec.kind} of {shape}: {names}{more}; {spec.units}"
    return said


def _file(name: str) -> str:
    return name.replace("/", "-")


def _index(kind: str, pages: Mapping[Path, Description]) -> str:
    lines = [f"# All {kind}", "", "Made from the code: `describe NAME` prints the same.", ""]
    lines += [_entry(f"{kind}/{path.name}", each) for path, each in pages.items()]
    return "\n".join(lines) + "\n"


def _entry(link: str, what: Description) -> str:
    return f"- [{what.name}]({link}): {markdown(shortened(what.what))}"


def main(arguments: Iterable[str]) -> None:
    """Write the pages into the folder that is given."""
    (folder,) = arguments
    print(f"{len(write(Path(folder)))} pages in {folder}")


if __name__ == "__main__":
    main(sys.argv[1:])
