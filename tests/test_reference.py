"""The shipped records: whole, real, and the only source of the committed leaderboard."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from benchmark import records
from benchmark.planning import protocol
from benchmark.report import summary_text, write_report
from benchmark.report.figures.drawing import draw
from tests.shipped import REFERENCE, shipped

ROOT = Path(__file__).parents[1]
PROTOCOLS = ROOT / "results" / "protocols"
LARGEST = 60_000_000
"""Bytes of all that ships of records."""


def test_every_shipped_record_is_whole_and_of_real_data():
    found, unreadable = records.read_all(shipped())
    assert found and not unreadable
    for record in found:
        assert record.status != "failed" and record.spec.source == "real"
        if record.path(shipped()).with_suffix(".npz").exists():
            assert len(records.read_predictions(record, shipped())[0]) == record.data["test"]


def test_what_they_were_run_under_is_there_to_run_them_again():
    """A shipped protocol, or a file beside the records; `--labels` alone is another value."""
    for record in records.read_all(shipped())[0]:
        spec, values = record.spec, record.spec.protocol
        there = replace(_protocol(values["name"]), labels=values.get("labels", 1.0))
        assert there.values_for(spec.dataset) == values
        for kind, options in spec.encoders["options"].items():
            assert _asked(options) == _asked(there.encoders[kind])
        for options in spec.encoders.get("modalities", {}).values():  # series, so far
            assert _asked(options) == _asked(there.encoders["series"])
            assert ("context" in options) == there.encoders["series"].get("context", True)


@cache
def _protocol(name: str) -> protocol.Protocol:
    own = PROTOCOLS / f"{name}.yaml"
    return protocol.load(str(own) if own.is_file() else name)


def _asked(options: dict) -> dict:
    """Of an encoder, without which weights and places it was given."""
    return {name: v for name, v in options.items() if name not in ("sha256", "context")}


def test_they_are_small():
    files = [path for path in REFERENCE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LARGEST


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The report of the shipped records."""
    return write_report(shipped(), tmp_path_factory.mktemp("reference"), figures=False)


def test_the_committed_leaderboard_is_made_from_the_shipped_records(written):
    made = (written.out / "leaderboard.md").read_bytes()
    assert made == (ROOT / "leaderboard.md").read_bytes()


def test_a_table_says_whether_its_encoders_are_given_more_than_the_sensor(written):
    lines = (written.out / "leaderboard.md").read_text(encoding="utf-8").splitlines()
    frozen = [line for line in lines if line.startswith("- Encoders") and "frozen" in line]
    assert len(frozen) > 1
    assert {"month and place given" in line for line in frozen} == {True, False}


def test_the_readme_shows_what_the_screen_does(written):
    """From the first line of a table to the last, without the sentences between."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```text\n(lfmc, real data.*?)```", readme, re.DOTALL)
    title = shown.partition("\n")[0]
    (own,) = [t for t in summary_text(written).split("\n\n") if t.startswith(f"{title}\n")]
    printed = [line.rstrip() for line in own.splitlines() if not line.startswith("On S")]
    assert shown.splitlines() == printed


def test_the_figure_of_the_readme_is_made_from_the_shipped_records(written):
    """Where it is not, `make leaderboard` makes it. Coordinates may differ by rounding."""
    outlines = [s.outline for s in written.sections if s.outline.protocol == "standard"]
    name = "docs/gains-real-standard.svg"
    assert f"]({name})" in (ROOT / "README.md").read_text(encoding="utf-8")
    made = draw("gains", outlines, shipped(), None).svg.decode()
    committed = (ROOT / name).read_text(encoding="utf-8")
    texts = [re.findall(r"<!-- (.*?) -->", svg) for svg in (made, committed)]
    assert texts[0] == texts[1] and "mdico" in texts[0]
    numbers = [
        [float(n) for a in re.findall(r' (?:d|x|y)="([^"]*)"', svg) for n in re.findall(NUMBER, a)]
        for svg in (made, committed)
    ]
    assert numbers[0] == pytest.approx(numbers[1], abs=0.01)


NUMBER = r"-?\d+(?:\.\d+)?"
