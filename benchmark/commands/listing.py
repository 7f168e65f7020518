"""`list` and `describe`."""

from __future__ import annotations

import argparse
import inspect
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate

from benchmark.errors import UserError, unknown
from benchmark.planning import protocol

if TYPE_CHECKING:
    from methods.common.registry import Entry


def show(options: argparse.Namespace) -> int:
    """Print a table of the methods, datasets or protocols."""
    for name, given in (("--family", options.family), ("--plugin", options.plugin)):
        if given and options.what != "methods":
            raise UserError(f"{name} is for `list methods`")
    tables = {"methods": _methods, "datasets": _datasets, "protocols": _protocols}
    rows = tables[options.what](options)
    print(
        tabulate(
            rows, headers="keys", tablefmt="simple", maxcolwidths=[*[None] * (len(rows[0]) - 1), 70]
        )
    )
    return 0


def _methods(options: argparse.Namespace) -> list[dict[str, str]]:
    import methods
    from benchmark.terms import FAMILIES

    if options.family and options.family not in FAMILIES:
        raise unknown("family", options.family, FAMILIES)
    entries = sorted(
        methods.load(options.plugin).values(), key=lambda e: (FAMILIES.index(e.family), e.key)
    )
    return [
        {
            "method": entry.key,
            "family": entry.family,
            "defaults from": entry.defaults_from,
            "what it is": entry.summary,
        }
        for entry in entries
        if options.family in (None, entry.family)
    ]


def _datasets(options: argparse.Namespace) -> list[dict[str, str]]:
    import datasets

    return [
        {
            "dataset": adapter.name,
            "modalities (published pair first)": ", ".join(
                sorted(adapter.modalities, key=lambda m: m not in adapter.default_modalities)
            ),
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


def _protocols(options: argparse.Namespace) -> list[dict[str, str]]:
    loaded = [protocol.load(name) for name in protocol.names()]
    return [{"protocol": p.name, "title": p.title, "what it is for": p.purpose} for p in loaded]


def describe(options: argparse.Namespace) -> int:
    """Print one method's entry with its losses, hyper-parameters and what its file says of it."""
    import methods

    registry = methods.load(options.plugin)
    if options.method not in registry:
        raise unknown("method", options.method, registry)
    entry = registry[options.method]
    facts = {
        "family": entry.family,
        "role": entry.role,
        "publication": entry.publication or "none",
        "loss": entry.losses,
        "hyper-parameters": ", ".join(f"{k}={v!r}" for k, v in entry.hyperparameters.items()),
        "defaults from": "; ".join(filter(None, [_origin(entry), entry.defaults_note])),
        "runs": "one student per modality" if entry.per_modality else "one model for all",
        "never trained": ", ".join(entry.never_trained) or "nothing",
        "version": entry.version,
        "file": _source(entry.method),
    }
    print(f"{entry.key}: {entry.summary}\n")
    for name, value in facts.items():
        print(textwrap.fill(f"{name}: {value or 'none'}", 100, subsequent_indent="    "))
    for text in (entry.method.__doc__, sys.modules[entry.method.__module__].__doc__):
        if text:
            print("\n" + inspect.cleandoc(text))
    return 0


def _origin(entry: Entry) -> str:
    named = f" ({', '.join(entry.defaults_for)})" if entry.defaults_for else ""
    return entry.defaults_from + named


def _source(method: type) -> str:
    """Path of a method's file, from the project's root where it lies in there."""
    path, root = Path(inspect.getfile(method)), Path(__file__).parents[2]
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
