"""What a report of thousands of records takes: `make perf`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.machine import cores
from tests.multiply import DATASETS, UNITS, entries, multiply

pytestmark = pytest.mark.perf

ROOT = Path(__file__).parents[2]
SECONDS, GIBIBYTES = 30, 0.9
"""For tables, leaderboard and page of 20,000 records on two cores."""

ONE_MORE = 0.2
"""Of the time of a report: another one after one record of very many has changed."""

UNCHANGED = 3
"""Seconds for a report with figures after which nothing has changed."""

# Not ru_maxrss, which a process takes over from the one that started it.
MEASURE = """
import sys, time
from pathlib import Path
started, processor = time.perf_counter(), time.process_time()
from benchmark.report import write_report
results, cache = Path(sys.argv[1]), Path(sys.argv[1], "cache")
found = write_report(results, results / "out", cache=cache, figures=sys.argv[2] == "figures")
peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 2**20
took = time.perf_counter() - started, time.process_time() - processor
print(found.results.shown, *took, peak)
"""


def measured(results: Path, what: str) -> tuple[int, float, float, float]:
    """Records that are shown, seconds with all imports, those of this process's processor, GiB."""
    arguments = [sys.executable, "-c", MEASURE, str(results), what]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
    shown, *rest = map(float, done.stdout.split())
    return int(shown), *rest


def test_a_report_of_20_000_records(tmp_path, row):
    per_repeat = len(entries()) * len(DATASETS) * UNITS
    took = {}
    for repeats in (1, 10):
        results = tmp_path / str(repeats)
        records = multiply(results, repeats)
        assert records == repeats * per_repeat
        shown, took[repeats], _, peak = measured(results, "tables")
        assert shown == records
        target = f"at most {SECONDS} s, {GIBIBYTES} GiB" if repeats == 10 else "above a tenth"
        row(f"report of {records} records", target, f"{took[repeats]:.1f} s, {peak:.2f} GiB")
    assert took[10] <= SECONDS and peak <= GIBIBYTES
    assert took[10] <= 10 * took[1]  # tests/test_report_scale.py counts


def test_a_report_computes_only_what_has_changed(tmp_path, report):
    records = multiply(tmp_path, 10)
    rounds = []
    for again in range(3):
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        *_, first, _ = measured(tmp_path, "tables")
        path = next((tmp_path / "records" / "lfmc" / "kd").glob("*.json"))
        document = json.loads(path.read_text())
        document["cost"]["seconds"] += 1 + again
        path.write_text(json.dumps(document))
        *_, second, _ = measured(tmp_path, "tables")
        rounds.append((second, first))
    figure = f"report of {records} records again, one of them new / all of them new"
    assert report(figure, f"at most {ONE_MORE}", *zip(*rounds, strict=True)) <= ONE_MORE


def test_figures_are_drawn_once(tmp_path, row):
    records = multiply(tmp_path)
    measured(tmp_path, "tables")
    _, drawn, *_ = measured(tmp_path, "figures")
    _, again, *_ = measured(tmp_path, "figures")
    figure = f"figures of {records} records, {len(DATASETS)} datasets, {cores()} cores"
    row(figure, "timed", f"{drawn:.1f} s")
    row("the same report again", f"at most {UNCHANGED} s", f"{again:.1f} s")
    assert again <= UNCHANGED


def test_process_seconds_of_a_first_report(tmp_path, row, monkeypatch):
    monkeypatch.setattr("tests.multiply.UNITS", 3)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # all in one process, whose seconds are counted
    records = multiply(tmp_path, methods=list(entries())[:44], with_predictions=True)
    *_, tables, _ = measured(tmp_path, "tables")
    shutil.rmtree(tmp_path / "cache" / "report")
    *_, whole, _ = measured(tmp_path, "figures")
    figure = f"first report of {records} records, as many as of a `run --all`"
    share = f"{1 - tables / whole:.0%} of them for figures"
    row(figure, "timed", f"{whole:.1f} s of processes, {share}")
