"""The tables of methods that stand in README and in docs/methods.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tabulate import tabulate

from benchmark.terms import FAMILIES

if TYPE_CHECKING:
    from methods.common.registry import Entry


def table(entries: Iterable[Entry]) -> str:
    """Markdown of all methods, a row each, in the order of `list methods`."""
    rows = [
        {
            "method": f"`{entry.key}`",
            "family": entry.family,
            "publication": str(entry.publication or "–"),
            "what it is": entry.summary,
        }
        for entry in in_order(entries)
    ]
    return _markdown(rows)


def by_family(entries: Iterable[Entry]) -> str:
    """Markdown of all methods, a row a family."""
    found: dict[str, list[str]] = {}
    for entry in in_order(entries):
        found.setdefault(entry.family, []).append(f"`{entry.key}`")
    return _markdown(
        [{"family": family, "methods": ", ".join(keys)} for family, keys in found.items()]
    )


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """By family, then by name."""
    return sorted(entries, key=lambda entry: (FAMILIES.index(entry.family), entry.key))


def _markdown(rows: list[Mapping[str, str]]) -> str:
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)
