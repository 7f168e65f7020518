"""The table of measured ratios at the end of `make perf`."""

from __future__ import annotations

import os
import random
import statistics
from collections.abc import Callable, Sequence

import pytest

ROWS = pytest.StashKey[list[tuple[str, str, str]]]()


def ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, float, float]:
    """Ratio of medians of rounds that ran in turn, and its 95 % interval (paired bootstrap)."""
    rounds = list(zip(above, below, strict=True))
    draw = random.Random(0)

    def of(sample: Sequence[tuple[float, float]]) -> float:
        a, b = zip(*sample, strict=True)
        return statistics.median(a) / statistics.median(b)

    again = sorted(of(draw.choices(rounds, k=len(rounds))) for _ in range(1000))
    return of(rounds), again[25], again[974]


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[..., float]:
    """Puts a row into the table; gives the ratio back: (figure, target, above, below) → ratio."""
    rows = request.config.stash.setdefault(ROWS, [])

    def add(figure: str, target: str, above: Sequence[float], below: Sequence[float]) -> float:
        value, low, high = ratio(above, below)
        rows.append((figure, target, f"{value:.3f} [{low:.3f}, {high:.3f}]"))
        return value

    return add


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Callable[[str, str, str], None]:
    """Puts a row that is not a ratio into the table: figure, target, what was measured."""
    rows = request.config.stash.setdefault(ROWS, [])
    return lambda *cells: rows.append(cells)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    import platform

    import torch
    from tabulate import tabulate

    rows = terminalreporter.config.stash.get(ROWS, [])
    if not rows:
        return
    capability = torch.backends.cpu.get_cpu_capability()
    machine = (
        f"{platform.machine()} {capability}, {os.cpu_count()} cores, torch {torch.__version__}"
    )
    if torch.cuda.is_available():
        machine += f", {torch.cuda.get_device_name()}"
    terminalreporter.write_line("")
    terminalreporter.write_line(
        tabulate([(*row, machine) for row in rows], ["figure", "target", "measured", "machine"])
    )
