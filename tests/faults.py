"""What was tried against the project and what came of it: the table at the end of `make soak`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tabulate import tabulate

from benchmark import records
from benchmark.errors import UserError


@dataclass
class Fault:
    """lost: records that were there before and are not, or are others, afterwards. torn: files
    under their final name that are not whole. doubled: runs that were recorded and run again, or
    recorded twice."""

    tried: int = 0
    lost: int = 0
    torn: int = 0
    doubled: int = 0

    @property
    def harm(self) -> int:
        return self.lost + self.torn + self.doubled


@dataclass
class Faults:
    """By what was done, and what was measured beside it."""

    by_name: dict[str, Fault] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def add(
        self, name: str, tried: int = 1, *, lost: int = 0, torn: int = 0, doubled: int = 0
    ) -> None:
        """Count, then fail the test if anything was lost, torn or doubled."""
        fault = self.by_name.setdefault(name, Fault())
        fault.tried += tried
        fault.lost += lost
        fault.torn += torn
        fault.doubled += doubled
        assert not lost + torn + doubled, f"{name}: {lost} lost, {torn} torn, {doubled} doubled"

    def show(self, write: Callable[[str], None]) -> None:
        if self.by_name:
            rows = [[n, f.tried, f.lost, f.torn, f.doubled] for n, f in self.by_name.items()]
            write(tabulate(rows, headers=["fault", "tried", "lost", "torn", "doubled"]))
        for remark in self.remarks:
            write(remark)


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
