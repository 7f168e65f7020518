"""The examples of CONTRIBUTING.md, executed as printed in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from multiprocessing import forkserver
from pathlib import Path

from benchmark import plugins
from benchmark.commands import main as cli
from tests.pages import ROOT, blocks, targets, words_of

PAGE = ROOT / "CONTRIBUTING.md"
METHOD_FILE = "methods/align.py"


def example() -> tuple[str, list[str]]:
    """The method file and the commands after it, as printed."""
    (code,) = blocks(PAGE, "python")
    _, commands, _ = blocks(PAGE, "sh")
    assert code.file == METHOD_FILE and code.line < commands.line
    return code.text, commands.commands


def test_all_that_is_printed_is_executed_here():
    """The first block of the shell is of `make` alone, the others are executed below."""
    makes, *_ = blocks(PAGE, "sh")
    for command in makes.commands:
        make, target = words_of(command)
        assert make == "make" and target in targets()
    assert {block.language for block in blocks(PAGE)} == {"sh", "python", "toml"}
    assert not any(block.not_executed for block in blocks(PAGE))


def test_the_example_is_short():
    code, _ = example()
    assert len(code.splitlines()) <= 40
    assert max(map(len, code.splitlines())) <= 100


def test_the_example_works_as_printed(tmp_path):
    """Written, checked, run and seen in the leaderboard, without touching any other file."""
    for package in ("benchmark", "datasets", "methods"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    code, commands = example()
    (tmp_path / METHOD_FILE).write_text(code, encoding="utf-8")
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("EO_COLEARN")}
    environment["PATH"] = f"{python.parent}{os.pathsep}{environment['PATH']}"
    outputs = []
    for command in commands:
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        outputs.append(done.stdout)
    check, run, leaderboard = outputs
    assert "1 of 1 methods conform" in check
    assert "constant and forest run too: a network that does not beat them has learnt" in run
    assert "12 runs: 12 done" in run
    assert leaderboard.startswith("| align")


def test_the_plug_ins_work_as_printed(tmp_path, monkeypatch, capsys):
    """Written, checked and run; only the number of workers is not the document's."""
    from datasets.common.contract import ADAPTERS
    from methods.common.encoders import BACKBONES

    *_, block = blocks(PAGE, "sh")
    (tmp_path / "benchmark").symlink_to(ROOT / "benchmark")
    monkeypatch.chdir(tmp_path)
    outputs = []
    for command in block.commands:
        python, *arguments = words_of(command)
        if python == "sed":
            subprocess.run(command, shell=True, check=True)
            continue
        one = ["--workers", "1", "--device", "cpu"] if "run" in arguments else []
        assert cli.main([*arguments[2:], *one]) == 0, command
        outputs.append(capsys.readouterr().out)
    plugins.unload([Path("own/meadow.py"), Path("own/dilated.py")], ADAPTERS, BACKBONES)
    forkserver._forkserver._stop()  # it has the project from this folder, and serves later tests
    *_, check, run = outputs
    assert "2 of 2 conform" in check
    assert "9 runs: 9 done" in run
    table = Path("results/runs/leaderboard.md").read_text()
    assert re.search("series: model dilated, width 32, plugin [0-9a-f]{12}", table)
