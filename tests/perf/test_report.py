"""What a report of thousands of records takes: `make perf`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.multiply import DATASETS, UNITS, entries, multiply

pytestmark = pytest.mark.perf

ROOT = Path(__file__).parents[2]
SECONDS, GIBIBYTES = 60, 2.0
"""For tables, leaderboard and page of 20,000 records on two cores."""

# Not ru_maxrss, which a process takes over from the one that started it.
MEASURE = """
import sys, time
from pathlib import Path
started = time.perf_counter()
from benchmark.report import write_report
found = write_report(Path(sys.argv[1]), Path(sys.argv[2]), figures=sys.argv[3] == "figures")
peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 2**20
print(found.results.shown, time.perf_counter() - started, peak)
"""


def measured(results: Path, what: str) -> tuple[int, float, float]:
    """Records that are shown, seconds with all imports, and peak memory in GiB."""
    arguments = [sys.executable, "-c", MEASURE, str(results), str(results / "out"), what]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
    shown, seconds, peak = done.stdout.split()
    return int(shown), float(seconds), float(peak)


def test_a_report_of_20_000_records(tmp_path, row):
    per_repeat = len(entries()) * len(DATASETS) * UNITS
    took = {}
    for repeats in (1, 10):
        results = tmp_path / str(repeats)
        records = multiply(results, repeats)
        assert records == repeats * per_repeat
        shown, took[repeats], peak = measured(results, "tables")
        assert shown == records
        target = f"at most {SECONDS} s, {GIBIBYTES:.0f} GiB" if repeats == 10 else "above a tenth"
        row(f"report of {records} records", target, f"{took[repeats]:.1f} s, {peak:.2f} GiB")
    _, with_figures, _ = measured(tmp_path / "1", "figures")
    figures = f"{with_figures - took[1]:.1f} s"
    row(f"figures of {per_repeat} records, {len(DATASETS)} datasets", "timed apart", figures)
    assert took[10] <= SECONDS and peak <= GIBIBYTES
    assert took[10] <= 10 * took[1]  # tests/test_report_scale.py counts, to the line
