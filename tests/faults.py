"""What was tried against the project and what came of it: the table at the end of `make soak`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from benchmark import records
from benchmark.errors import UserError

COUNTS = ("tried", "lost", "torn", "doubled")
"""lost: records that were there before and are not, or are others, afterwards. torn: files under
their final name that are not whole. doubled: runs that were recorded and run again, or recorded
twice."""


@dataclass(frozen=True)
class Faults:
    """What one test has tried and measured, kept as properties of the test: they reach the table
    from whatever process the test ran in."""

    properties: list[tuple[str, object]]

    def add(
        self, name: str, tried: int = 1, *, lost: int = 0, torn: int = 0, doubled: int = 0
    ) -> None:
        """Count, then fail the test if anything was lost, torn or doubled."""
        self.properties.append(("fault", [name, tried, lost, torn, doubled]))
        assert not lost + torn + doubled, f"{name}: {lost} lost, {torn} torn, {doubled} doubled"

    def remark(self, text: str) -> None:
        self.properties.append(("remark", text))


def summary(properties: Iterable[tuple[str, object]]) -> Iterator[str]:
    """Of the properties of all tests: the table of faults by name, and the remarks below it."""
    counts: dict[str, Counter] = {}
    remarks = []
    for kind, value in properties:
        if kind == "fault":
            name, *numbers = value
            counts.setdefault(name, Counter()).update(dict(zip(COUNTS, numbers, strict=True)))
        elif kind == "remark":
            remarks.append(value)
    if counts:
        rows = [[name, *(count[each] for each in COUNTS)] for name, count in sorted(counts.items())]
        yield tabulate(rows, headers=["fault", *COUNTS])
        yield f"moments: EO_SOAK_SEED={os.environ['EO_SOAK_SEED']}"
    yield from remarks


def torn(results: Path) -> int:
    """Records, and what lies beside them, that are not whole."""
    bad = 0
    for path in records.files(results):
        try:
            record = records.read(path)
            if record.status == "done":
                records.read_predictions(record, results)
        except UserError:
            bad += 1
    return bad


def lost(before: dict[Path, bytes]) -> int:
    """Records that are not as they were."""
    return sum(not path.exists() or path.read_bytes() != was for path, was in before.items())
