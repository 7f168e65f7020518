"""What a report keeps for the next one: the same bytes in less time, and never anything stale."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmark import records
from benchmark.commands.main import main
from benchmark.report import kept as keeping
from benchmark.report import section, write_report
from benchmark.report.kept import Kept, key_of
from tests.made_up import run, runs, write

METHODS = {"single": 1.0, "single_again": 1.0, "kd": 1.1, "mdico": 1.2}
EVIDENCE = {"kind": "regression", "protocol": "standard", "source": "real", "samples": 40}


@pytest.fixture
def results(tmp_path) -> Path:
    """Records of two datasets, and some that are shown nowhere."""
    made_up = runs(METHODS, 3, **EVIDENCE)
    made_up += runs(METHODS, 3, dataset="other", fingerprint="f1", **EVIDENCE)
    made_up += [run("broken", 0, status="failed", reason="no memory", **EVIDENCE)]
    write(made_up, tmp_path / "results")
    vouching = run("vouching", 0, **EVIDENCE)
    records.write(vouching, {"ids": np.arange(3), "S1": np.zeros(3)}, tmp_path / "results")
    (tmp_path / "results/records/toy/single/torn.json").write_text('{"schema": 1')
    return tmp_path / "results"


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def report(results: Path, cache: Path | None, **options) -> dict[str, bytes]:
    """The files of a report into a new folder."""
    out = results.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    write_report(results, out, cache=cache, **{"figures": False, **options})
    return files(out)


@pytest.fixture
def computed(monkeypatch) -> list[str]:
    """The datasets of the groups whose sections were computed."""
    seen: list[str] = []
    section_of = section.section

    def counted(summary):
        seen.append(summary.group.dataset)
        return section_of(summary)

    monkeypatch.setattr(section, "section", counted)
    return seen


def changed(results: Path, dataset: str) -> Path:
    """One record of a dataset, whose cost was another all along."""
    path = sorted((results / "records" / dataset / "kd").glob("*.json"))[0]
    document = json.loads(path.read_text())
    document["cost"]["seconds"] += 100.0
    path.write_text(json.dumps(document))
    return path


def test_a_second_report_has_the_same_bytes_and_computes_nothing(results, tmp_path, computed):
    bare = report(results, None)
    assert report(results, tmp_path / "cache") == bare
    computed.clear()
    assert report(results, tmp_path / "cache") == bare
    assert computed == []


def test_what_has_changed_is_computed_again_and_nothing_else(results, tmp_path, computed):
    before = report(results, tmp_path / "cache")
    changed(results, "other")
    computed.clear()
    after = report(results, tmp_path / "cache")
    assert computed == ["other"]
    assert after == report(results, None) != before


@pytest.mark.parametrize(
    "edit",
    [
        lambda folder: write(runs({"mine": 1.3}, 3, **EVIDENCE), folder),
        lambda folder: shutil.rmtree(folder / "records/toy/kd"),
        lambda folder: (folder / "records/toy/single/torn.json").write_text("{}"),
        lambda folder: write(
            [run("broken", 1, status="failed", reason="lost", **EVIDENCE)], folder
        ),
        lambda folder: next(folder.rglob("*.npz")).write_bytes(b"other"),
    ],
    ids=["a new method", "a method less", "another fault", "a failed run", "other predictions"],
)
def test_nothing_stale_is_shown(results, tmp_path, edit):
    before = report(results, tmp_path / "cache")
    edit(results)
    after = report(results, tmp_path / "cache")
    assert after == report(results, None) != before


def test_an_edit_that_leaves_size_and_time_as_they_were_is_seen(results, tmp_path):
    before = report(results, tmp_path / "cache")
    path = sorted((results / "records/toy/kd").glob("*.json"))[0]
    stat, text = path.stat(), path.read_text()
    other = text.replace('"seconds": 0.5', '"seconds": 0.7')
    assert len(other) == len(text) and other != text
    path.write_text(other)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert report(results, tmp_path / "cache") == report(results, None) != before


def test_a_choice_of_methods_is_not_taken_for_another(results, tmp_path):
    whole = report(results, tmp_path / "cache")
    few = report(results, tmp_path / "cache", methods=["kd"])
    assert few == report(results, None, methods=["kd"]) != whole
    assert report(results, tmp_path / "cache") == whole


def test_other_code_or_another_library_makes_other_keys(monkeypatch):
    before = key_of("section", "x")
    monkeypatch.setattr(keeping, "_makers", lambda: "another version")
    assert key_of("section", "x") != before


@pytest.mark.parametrize("torn", [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: c + b"x"])
def test_what_was_torn_is_computed_again(results, tmp_path, torn):
    before = report(results, tmp_path / "cache")
    for path in (tmp_path / "cache/report").iterdir():
        path.write_bytes(torn(path.read_bytes()))
    assert report(results, tmp_path / "cache") == before


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(results, tmp_path, caplog):
    before = report(results, None)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/report").write_text("a file where a folder should be")
    assert report(results, tmp_path / "cache") == before
    assert [m for m in caplog.messages if "nothing is kept for the next report" in m]


def test_what_was_used_longest_ago_goes_first(tmp_path, monkeypatch):
    kept = Kept(tmp_path)
    keys = [key_of(i) for i in range(4)]
    for age, key in enumerate(keys):
        kept.put(key, bytes(1000))
        os.utime(tmp_path / "report" / key, (1e9 - age, 1e9 - age))
    (tmp_path / "report/mine.txt").write_text("not a report's")
    assert kept.get(keys[3]) == bytes(1000)  # used now
    monkeypatch.setattr(keeping, "LARGEST", 2500)
    kept.finish()
    left = {p.name for p in (tmp_path / "report").iterdir()}
    assert left == {keys[0], keys[3], "mine.txt"}


def test_data_clear_takes_it_away_and_nothing_else(results, tmp_path, capsys):
    cache = tmp_path / "cache"
    report(results, cache)
    (cache / "prepared").mkdir()
    (cache / "report/mine.txt").write_text("not a report's")
    assert main(["data", "clear", "--cache", str(cache)]) == 0
    assert [p.name for p in (cache / "report").iterdir()] == ["mine.txt"]
    assert f"removed {cache / 'report'}" in capsys.readouterr().out


def test_figures_are_kept_and_drawn_again_where_records_changed(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.report.figures.OF_GROUP", ("gap", "cost"))
    options = {**EVIDENCE, "protocol": "quick"}
    for dataset in ("toy", "other"):
        write(runs({"single": 1.0, "kd": 1.1}, 2, dataset=dataset, **options), tmp_path / "results")
    results, cache = tmp_path / "results", tmp_path / "cache"
    first = report(results, cache, figures=True)
    assert any(name.endswith("cost.svg") for name in first)
    assert report(results, cache, figures=True) == first
    changed(results, "other")
    again = report(results, cache, figures=True)
    assert again == report(results, None, figures=True)
    differ = {name for name in first if name.startswith("figures/") and first[name] != again[name]}
    assert not any("toy" in name for name in differ)


def test_a_figure_is_the_same_bytes_in_this_process_and_in_another(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.report.figures.OF_GROUP", ("scores", "cost"))
    write(runs({"single": 1.0, "kd": 1.1}, 2, **EVIDENCE), tmp_path / "results")
    beside = report(tmp_path / "results", None, figures=True)
    monkeypatch.setattr("benchmark.report.figures.cores", lambda: 1)
    assert report(tmp_path / "results", None, figures=True) == beside
