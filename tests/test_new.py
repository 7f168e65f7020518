"""`new`: what it writes conforms, as a user runs it; nothing is ever overwritten."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmark.commands import main as cli
from tests.survival import ROOT

WHAT = {
    "my_data": ("dataset",),
    "my_encoder": ("encoder",),
    "my_method": ("method",),
    "my_teacher": ("method", "--like", "ema"),
}


@pytest.mark.parametrize(
    "names",
    [("my_data", "my_encoder"), pytest.param(("my_method", "my_teacher"), marks=pytest.mark.soak)],
)
def test_what_is_written_passes_its_own_test_and_the_linter(names, tmp_path, capsys):
    """In a process of its own, from another folder; `check` of a method takes a minute."""
    own = tmp_path / "own"
    for name in names:
        kind, *more = WHAT[name]
        assert cli.main(["new", kind, name, *more, "--out", str(own)]) == 0
        assert f"wrote {own / name}.py" in capsys.readouterr().out
    settings = ["--config", ROOT / "pyproject.toml"]
    ruff = [sys.executable, "-m", "ruff"]
    for command in ([*ruff, "check", *settings], [*ruff, "format", "--check", *settings]):
        subprocess.run([*command, own], check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", own],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_nothing_is_overwritten(tmp_path, capsys):
    own = tmp_path / "test_mine.py"
    own.write_text("# mine")
    assert cli.main(["new", "encoder", "mine", "--out", str(tmp_path)]) == 2
    assert f"{own}: is there already, and is not overwritten" in capsys.readouterr().err
    assert own.read_text() == "# mine" and not (tmp_path / "mine.py").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dataset", "lfmc"), "a dataset named 'lfmc' is there already: choose another name"),
        (("method", "kd"), "a method named 'kd' is there already"),
        (("encoder", "tempcnn"), "an encoder named 'tempcnn' is there already"),
        (
            ("method", "../up"),
            "the file of a plug-in cannot be named '../up': use lower-case",
        ),
        (("method", "Mine"), "the file of a plug-in cannot be named 'Mine'"),
        (("method", "mine", "--like", "emma"), "unknown example 'emma': did you mean ema"),
        (("dataset", "mine", "--like", "ema"), "--like is for `new method`"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(arguments, message, tmp_path, capsys):
    assert cli.main(["new", *arguments, "--out", str(tmp_path / "own")]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "own").exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["new", "method", "mine", "--out", str(tmp_path / "file" / "own")]) == 2
    assert "choose another --out" in capsys.readouterr().err
