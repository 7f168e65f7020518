"""The report of many records: what it costs grows as they do, and none of them is lost."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark.report import write_report
from tests.made_up import runs, write
from tests.multiply import OFFICIAL, multiply


def operations(results: Path) -> int:
    """Calls that `benchmark` makes in a report without figures, of Python and of C.

    Neither its bytecode instructions nor its lines: Python 3.11 can hang when these are traced.
    """
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        if event in ("call", "c_call"):
            count += "/benchmark/" in frame.f_code.co_filename

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        write_report(results, results / "out", figures=False)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("axis", ["methods", "folds"])
def test_operations_grow_no_faster_than_records(axis, tmp_path):
    """Growth from twice to four times as many records is at most twice that from one to two."""
    counts = []
    for times in (1, 2, 4):
        methods = {f"method_{i}": 1.0 for i in range(3 * (times if axis == "methods" else 1))}
        folds = 2 * (times if axis == "folds" else 1)
        results = tmp_path / str(times)
        options = {"kind": "regression", "protocol": "standard", "source": "real", "samples": 40}
        write(runs({"single": 1.0, **methods}, folds, **options), results)
        write_report(results, results / "out", figures=False)  # what is cached is cached
        counts.append(operations(results))
    first, second = np.diff(counts)
    assert first > 0
    assert second <= 2 * 1.05 * first


def test_multiplied_records_are_all_shown_and_their_official_split_is_tested(tmp_path):
    options = {"methods": ["single", "kd"], "datasets": ["lfmc", OFFICIAL], "samples": 40}
    made = multiply(tmp_path, 1, **options, with_predictions=True)
    written = write_report(tmp_path, tmp_path / "out", cache=tmp_path / "cache", figures=False)
    assert written.results.files == written.results.shown == made == 2 * 2 * 10
    assert {s.group.dataset: s.group.unit for s in written.summaries}[OFFICIAL] == "seed"
    assert all(summary.tested and not summary.why_not for summary in written.summaries)
