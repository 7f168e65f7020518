"""The shipped records: whole, real, and the only source of the committed leaderboard."""

from __future__ import annotations

from pathlib import Path

from benchmark import records
from benchmark.report import write_report

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "results" / "reference"


def test_every_shipped_record_is_whole_and_of_real_data():
    found, unreadable = records.read_all(REFERENCE)
    assert found and not unreadable
    for record in found:
        assert record.status == "done" and record.spec.source == "real"
        assert len(records.read_predictions(record, REFERENCE)[0]) == record.data["test"]


def test_the_committed_leaderboard_is_made_from_the_shipped_records(tmp_path):
    write_report(REFERENCE, tmp_path, figures=False)
    made = (tmp_path / "leaderboard.md").read_bytes()
    assert made == (ROOT / "leaderboard.md").read_bytes()
