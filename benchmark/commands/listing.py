"""`list` and `describe`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tabulate import tabulate

from benchmark.commands.browsing import browse
from benchmark.commands.describing import (
    Description,
    of_dataset,
    of_encoder,
    of_method,
    of_protocol,
    published_first,
    settings,
)
from benchmark.errors import UserError, unknown
from benchmark.planning import protocol
from benchmark.terms import FAMILIES


def show(options: argparse.Namespace) -> int:
    """Print a table of the methods, datasets, protocols or encoders."""
    if options.family and options.what != "methods":
        raise UserError("--family is for `list methods`")
    if options.family and options.family not in FAMILIES:
        raise unknown("family", options.family, FAMILIES)
    tables: dict[str, Callable[[], list[dict[str, str]]]] = {
        "methods": lambda: browse(lambda: _methods(options.family)),
        "datasets": _datasets,
        "protocols": _protocols,
        "encoders": lambda: browse(_encoders),
    }
    rows = tables[options.what]()
    print(
        tabulate(
            rows, headers="keys", tablefmt="simple", maxcolwidths=[*[None] * (len(rows[0]) - 1), 70]
        )
    )
    return 0


def _methods(family: str | None) -> list[dict[str, str]]:
    from methods.common.registry import REGISTRY

    return [
        {
            "method": entry.key,
            "family": entry.family,
            "defaults from": entry.defaults_from,
            "what it is": entry.summary,
        }
        for entry in sorted(REGISTRY.values(), key=lambda e: (FAMILIES.index(e.family), e.key))
        if family in (None, entry.family)
    ]


def _datasets() -> list[dict[str, str]]:
    import datasets

    return [
        {
            "dataset": adapter.name,
            "modalities (published pair first)": ", ".join(published_first(adapter)),
            "what it is": " ".join(
                [
                    adapter.title,
                    *(f"{m}: {note}." for m, note in adapter.notes.items()),
                    *([] if adapter.control else [f"Folder: {adapter.folder}/."]),
                    f"Licence: {adapter.licence}.",
                    *("Runs where --datasets names it.",) * adapter.by_name_only,
                ]
            ),
        }
        for adapter in sorted(datasets.load().values(), key=lambda a: a.control)
    ]


def _protocols() -> list[dict[str, str]]:
    loaded = [protocol.load(name) for name in protocol.names()]
    return [{"protocol": p.name, "title": p.title, "what it is for": p.purpose} for p in loaded]


def _encoders() -> list[dict[str, str]]:
    from methods.common.encoders import BACKBONES, UNNAMED

    rows = []
    for backbone in BACKBONES.values():
        unnamed = [kind for kind, name in UNNAMED.items() if name == backbone.name]
        rows.append(
            {
                "encoder": backbone.name,
                "encodes": ", ".join(backbone.kinds),
                "where none is named": ", ".join(unnamed),
                "settings": settings(backbone),
                "what it is": backbone.summary,
            }
        )
    return rows


def describe(options: argparse.Namespace) -> int:
    """Print all that is known of one method, dataset, protocol or encoder."""
    *kind, name = options.name
    if len(kind) > 1 or not set(kind) <= {*KINDS}:
        raise UserError(
            f"describe takes one name, or what it is of ({', '.join(KINDS)}) and a name; got "
            f"'{' '.join(options.name)}'"
        )
    if name.endswith((".yaml", ".yml")):
        raise UserError(f"{name}: describe takes names; of data of your own: data describe {name}")
    texts, known = browse(lambda: _find(name, kind or KINDS))
    if not texts:
        raise unknown(kind[0] if kind else "name", name, known)
    if len(texts) > 1:
        raise UserError(
            f"'{name}' is a {' and a '.join(texts)}: say "
            + " or ".join(f"describe {kind} {name}" for kind in texts)
        )
    print(*texts.values())
    return 0


def _find(name: str, kinds: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Kind → the text about what has the name there; and all names."""
    texts, known = {}, []
    for kind in kinds:
        things, description = KINDS[kind]()
        known += things
        if name in things:
            texts[kind] = description(things[name]).as_text()
    return texts, known


Kind = tuple[Mapping[str, Any], Callable[[Any], Description]]


def _kind_methods() -> Kind:
    from methods.common.registry import REGISTRY

    return REGISTRY, of_method


def _kind_datasets() -> Kind:
    import datasets

    return datasets.load(), of_dataset


def _kind_protocols() -> Kind:
    return {name: name for name in protocol.names()}, of_protocol


def _kind_encoders() -> Kind:
    from methods.common.encoders import BACKBONES

    return BACKBONES, of_encoder


KINDS: Mapping[str, Callable[[], Kind]] = {
    "method": _kind_methods,
    "dataset": _kind_datasets,
    "protocol": _kind_protocols,
    "encoder": _kind_encoders,
}
"""What can be described: its names, and what is known of one."""
