"""`report` over several results folders."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmark.commands.main import main
from tests.made_up import runs, write

MADE_UP = {"single": 1.0, "kd": 1.0, "mdico": 2.0}


@pytest.fixture
def folders(tmp_path):
    """Two results folders, half of the runs in each."""
    made_up = runs(MADE_UP)
    write(made_up[::2], tmp_path / "a")
    write(made_up[1::2], tmp_path / "b")
    write(made_up, tmp_path / "whole")
    return tmp_path


def report(folder, *names):
    sources = [word for name in names for word in ("--results", str(folder / name))]
    return main(["report", *sources, "--out", str(folder / "-".join(names))])


def test_several_folders_are_shown_as_one(folders):
    before = sorted((folders / "a").rglob("*")), sorted((folders / "b").rglob("*"))
    assert report(folders, "a", "b") == report(folders, "whole") == 0
    assert (folders / "a-b" / "leaderboard.md").read_bytes() == (
        folders / "whole" / "leaderboard.md"
    ).read_bytes()
    assert before == (sorted((folders / "a").rglob("*")), sorted((folders / "b").rglob("*")))


def test_a_run_that_two_folders_have_otherwise_is_named_and_the_first_is_believed(folders, capsys):
    record = runs(MADE_UP)[1]
    other = replace(
        record, metrics={m: {**v, "macro_f1": 0.123} for m, v in record.metrics.items()}
    )
    write([other], folders / "a")
    assert report(folders, "b", "a") == 0
    out = capsys.readouterr().out
    assert "a: 1 of its records are recorded otherwise in a folder named before it" in out
    assert record.id in out
    text = (folders / "b-a" / "leaderboard.md").read_text()
    assert report(folders, "whole") == 0
    assert text == (folders / "whole" / "leaderboard.md").read_text()


def test_an_empty_folder_among_several_is_named(folders, capsys):
    (folders / "none").mkdir()
    assert report(folders, "a", "none") == 2
    assert "none: no records there; --results names their folder" in capsys.readouterr().err
