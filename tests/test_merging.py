"""`report` over several results folders."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmark.commands.main import main
from tests.made_up import official, runs, write

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
    return main(["report", *sources, "--out", str(folder / f"{'-'.join(names)}.out")])


def test_several_folders_are_shown_as_one(folders):
    before = sorted((folders / "a").rglob("*")), sorted((folders / "b").rglob("*"))
    assert report(folders, "a", "b") == report(folders, "whole") == 0
    assert (folders / "a-b.out" / "leaderboard.md").read_bytes() == (
        folders / "whole.out" / "leaderboard.md"
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
    text = (folders / "b-a.out" / "leaderboard.md").read_text()
    assert report(folders, "whole") == 0
    assert text == (folders / "whole.out" / "leaderboard.md").read_text()


def test_an_empty_folder_among_several_is_named(folders, capsys):
    (folders / "none").mkdir()
    assert report(folders, "a", "none") == 2
    assert "none: no records there; `run` makes them" in capsys.readouterr().err


def submit(folder, name):
    out = folder / f"{name}.zip"
    return main(["submit", "--results", str(folder / name), "--out", str(out)]), out


def test_a_submission_is_read_like_its_folder_and_is_the_same_bytes_every_time(tmp_path, capsys):
    official(tmp_path / "mine", MADE_UP, "binary")
    done, archive = submit(tmp_path, "mine")
    assert done == 0 and "15 records, 15 of " in capsys.readouterr().out
    before = archive.read_bytes()
    assert submit(tmp_path, "mine")[0] == 0 and archive.read_bytes() == before
    assert report(tmp_path, "mine.zip") == report(tmp_path, "mine") == 0
    shown = [tmp_path / name / "leaderboard.md" for name in ("mine.zip.out", "mine.out")]
    assert shown[0].read_bytes() == shown[1].read_bytes()


def test_what_is_not_whole_is_not_submitted(folders, tmp_path, capsys):
    official(tmp_path / "mine", MADE_UP, "binary")
    path = next((tmp_path / "mine").rglob("*.npz"))
    path.write_bytes(path.read_bytes()[:-1])
    done, archive = submit(tmp_path, "mine")
    assert done == 2 and not archive.exists()
    assert path.name in capsys.readouterr().err
    assert submit(folders, "a")[0] == 2  # without predictions nothing can be verified
    assert "not the predictions of its record" in capsys.readouterr().err


def test_a_file_that_is_no_archive_is_named(folders, capsys):
    (folders / "mine.zip").write_bytes(b"mine")
    assert report(folders, "mine.zip") == 2
    assert "mine.zip: cannot be unpacked, it is damaged, or no archive" in capsys.readouterr().err
