"""The report of many records: none of them is lost. What it costs: `make perf`."""

from __future__ import annotations

from benchmark.report import write_report
from tests.multiply import OFFICIAL, multiply


def test_multiplied_records_are_all_shown_and_their_official_split_is_tested(tmp_path):
    options = {"methods": ["single", "kd"], "datasets": ["lfmc", OFFICIAL], "samples": 40}
    made = multiply(tmp_path, 1, **options, with_predictions=True)
    written = write_report(tmp_path, tmp_path / "out", cache=tmp_path / "cache", figures=False)
    assert written.results.files == written.results.shown == made == 2 * 2 * 10
    assert {s.group.dataset: s.group.unit for s in written.summaries}[OFFICIAL] == "seed"
    assert all(summary.tested and not summary.why_not for summary in written.summaries)
