"""What there is of a dataset and how to get the rest, in words; and README's table of datasets."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tabulate import tabulate

if TYPE_CHECKING:
    from datasets.common.contract import Adapter
    from datasets.common.status import Files, Status

WIDTH = 100


def paragraph(adapter: Adapter, status: Status) -> str:
    """All that `data status` says of one dataset."""
    lines = [f"{adapter.name}: {_state(adapter, status)}"]
    for what, told in _facts(adapter, status):
        for line in f"{what}: {told}".splitlines():
            lines += textwrap.wrap(
                line,
                WIDTH,
                initial_indent="    ",
                subsequent_indent="        ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    lines += [f"    {line}" for line in _origins(adapter, status)]
    return "\n".join([*lines, f"    to do: {_to_do(adapter, status)}"])


def _state(adapter: Adapter, status: Status) -> str:
    stand_in = "; generated data stand in" if adapter.can_generate else ""
    if status.state == "generated":
        return "always generated"
    if status.folder is None:
        return f"not looked for, as there is no --data-root{stand_in}"
    if status.state == "absent":
        return f"not in {status.folder}{stand_in}"
    if status.state == "incomplete":
        return f"INCOMPLETE in {status.folder}, cannot be read"
    return f"REAL, in {status.folder}"


def _facts(adapter: Adapter, status: Status) -> Iterator[tuple[str, str]]:
    yield "what", adapter.title
    if status.here:
        yield "here", ", ".join(map(_files, status.here))
    if status.form:
        yield "form", status.form
    if status.state in ("incomplete", "absent") and status.lacks:
        yield "lacks", status.lacks
    if published := adapter.published:
        samples, size = published.samples, in_bytes(published.size)
        yield "published", f"{samples} samples, {published.task}, {size}"
    for what in ("licence", "citation"):
        if fact := getattr(adapter, what):
            yield what, fact


def _origins(adapter: Adapter, status: Status) -> Iterator[str]:
    """Where each part comes from; addresses are not broken."""
    if not adapter.downloads and adapter.url:
        yield f"from: {adapter.url}"
    for file in adapter.downloads:
        there = "not here" if file in status.to_fetch else "here"
        if status.form in adapter.ways and not (status.folder / file.folder / file.gives).exists():
            there = "not here, and not needed"
        name = f"{file.folder}/{file.gives}" if file.folder else file.gives
        yield f"{name} ({there}) from: {file.url.partition('?')[0]}"
    for title, way in adapter.ways.items():
        yield f"or {title}: {way.replace('{folder}', _folder(adapter, status))}"


def _to_do(adapter: Adapter, status: Status) -> str:
    if status.state == "generated" or (status.state == "real" and not status.to_fetch):
        return "nothing"
    if adapter.root is not None:
        return f"have the files where {adapter.layout.removeprefix('as ')}"
    root = "DIR" if status.folder is None else status.folder.parent
    if adapter.downloads:
        return f"python -m benchmark data fetch {adapter.name} --data-root {root}"
    if adapter.published and adapter.published.how:
        return adapter.published.how.format(folder=_folder(adapter, status))
    return f"get it from {adapter.url} to {_folder(adapter, status)}"


def _folder(adapter: Adapter, status: Status) -> str:
    """Where a dataset is looked for, or would be."""
    return f"DIR/{adapter.folder}" if status.folder is None else str(status.folder)


def _files(files: Files) -> str:
    if files.size is None:
        return f"{files.name} (a folder)"
    count = f"{files.count:,} files, " if files.count > 1 else ""
    return f"{files.name} ({count}{in_bytes(files.size)})"


def in_bytes(size: float) -> str:
    """A size with a unit: 5.6 MB."""
    units = ("bytes", "kB", "MB", "GB", "TB")
    power = 0
    while size >= 1_000 and power + 1 < len(units):
        size, power = size / 1_000, power + 1
    digits = 0 if power == 0 or size >= 9.95 else 1
    return f"{size:.{digits}f} {units[power]}"


def table(adapters: Iterable[Adapter]) -> str:
    """Markdown of the published datasets, as it stands in the README."""
    rows = []
    for adapter in adapters:
        if (published := adapter.published) is None:
            continue
        modalities = [
            f"**{m}**" if m in adapter.default_modalities else m
            for m in sorted(adapter.modalities, key=lambda m: m not in adapter.default_modalities)
        ]
        how = f"[its publisher]({adapter.url})"
        if adapter.downloads or published.how:
            how = f"`data {'fetch' if adapter.downloads else 'status'} {adapter.name}`"
        rows.append(
            {
                "dataset": f"`{adapter.name}`" + "\\*" * adapter.by_name_only,
                "sensors": ", ".join(modalities),
                "task": published.task,
                "samples": published.samples,
                "size": in_bytes(published.size),
                "licence": adapter.licence,
                "how to get it": how,
            }
        )
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)
