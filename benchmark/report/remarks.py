"""What is odd about some folds of a group, for below its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.report.frame import Group


def fold_remarks(group: Group) -> list[str]:
    """A sentence each for what training parts lack: classes of other parts, values of a channel.

    All methods share folds, and with them what is said here. Older records do not tell.
    """
    facts = {r.spec.fold: r.data for r in group.records}
    facts |= {r.spec.fold: r.data for r in group.runs}  # what failed tells less
    return [*_unseen(facts), *_constant(facts)]


def _unseen(facts: Mapping[int, Mapping[str, Any]]) -> Iterator[str]:
    for part, name, meaning in (
        ("test", "test", "no method can get them right"),
        ("val", "validation", "they weigh nothing when epochs are compared"),
    ):
        counts = [
            f"{n} of {data.get(part, '?')} in fold {fold}"
            for fold, data in sorted(facts.items())
            if (n := data.get("unseen", {}).get(part))
        ]
        if counts:
            yield (
                f"Some {name} samples are of a class that the training part lacks, and {meaning}: "
                f"{', '.join(counts)}."
            )


def _constant(facts: Mapping[int, Mapping[str, Any]]) -> Iterator[str]:
    folds: dict[str, list[int]] = {}
    for fold, data in sorted(facts.items()):
        for m, channels in data.get("constant_channels", {}).items():
            for channel in channels:
                folds.setdefault(f"{m} {channel}", []).append(fold)
    if folds:
        told = (
            f"{channel} (fold{'s' * (len(where) > 1)} {', '.join(map(str, where))})"
            for channel, where in folds.items()
        )
        yield (
            "Channels without two different values in the training part are 0 in all parts: "
            f"{', '.join(told)}."
        )
