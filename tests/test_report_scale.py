"""The report of many records: none of them is lost, and its cost grows as they do.

What it costs: `make perf`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark.report import write_report
from tests.made_up import runs, write
from tests.multiply import OFFICIAL, multiply

ROOT = Path(__file__).parents[1]


def test_multiplied_records_are_all_shown_and_their_official_split_is_tested(tmp_path):
    options = {"methods": ["single", "kd"], "datasets": ["lfmc", OFFICIAL], "samples": 40}
    made = multiply(tmp_path, 1, **options, with_predictions=True)
    written = write_report(tmp_path, tmp_path / "out", cache=tmp_path / "cache", figures=False)
    assert written.results.files == written.results.shown == made == 2 * 2 * 10
    assert {s.group.dataset: s.group.unit for s in written.summaries}[OFFICIAL] == "seed"
    assert all(summary.tested and not summary.why_not for summary in written.summaries)


@pytest.mark.parametrize("axis", ["methods", "folds"])
def test_operations_grow_no_faster_than_records(axis, tmp_path):
    """Growth from twice to four times as many records is at most twice that from one to two."""
    folders = []
    for times in (1, 2, 4):
        methods = {f"method_{i}": 1.0 for i in range(3 * (times if axis == "methods" else 1))}
        folds = 2 * (times if axis == "folds" else 1)
        options = {"kind": "regression", "protocol": "standard", "source": "real", "samples": 40}
        write(runs({"single": 1.0, **methods}, folds, **options), tmp_path / str(times))
        folders.append(str(tmp_path / str(times)))
    command = [sys.executable, "-m", "tests.operations", *folders]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first, second = np.diff([int(count) for count in done.stdout.split()])
    assert first > 0
    assert second <= 2 * 1.05 * first
