"""Fewer labels: shares of one setting never share a table, and together they are a curve."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmark import records
from benchmark.commands.main import main
from benchmark.planning import protocol as protocols
from benchmark.records import Record
from benchmark.report import write_report
from benchmark.report.compare import compare
from tests.made_up import runs, write

EVIDENCE = {"protocol": "standard", "source": "real", "kind": "regression", "folds": 10}
SKILLS = {"single": 1.0, "kd": 1.2}


def with_labels(made_up: list[Record], share: float) -> list[Record]:
    """The same runs as if a share of the labels had been there."""
    specs = [replace(r.spec, protocol={**r.spec.protocol, "labels": share}) for r in made_up]
    standing = protocols.load("standard").standing_for("toy")
    return [
        replace(r, spec=s, id=s.id, standing=standing) for r, s in zip(made_up, specs, strict=True)
    ]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Three shares on one dataset, of which one lacks a method; a second dataset has one share."""
    made_up = runs(SKILLS, **EVIDENCE) + runs(SKILLS, dataset="other", **EVIDENCE)
    made_up += with_labels(runs({m: s / 2 for m, s in SKILLS.items()}, **EVIDENCE), 0.25)
    made_up += with_labels(runs({"single": 0.1}, **EVIDENCE), 0.05)
    results = tmp_path_factory.mktemp("labels")
    write(made_up, results)
    write_report(results, results / "out")
    return results


def test_each_share_has_tables_of_its_own_that_say_it(results):
    text = (results / "out/leaderboard.md").read_text()
    titles = re.findall(r"^## toy, .* protocol (.*)$", text, re.MULTILINE)
    assert titles == ["standard", "standard, 25 % of the labels", "standard, 5 % of the labels"]
    assert "25 % of the labels: whole groups of the parts that train and validate, nested" in text
    names = sorted(path.name for path in (results / "out/tables").glob("toy*[0-9].md"))
    assert len(list((results / "out/tables").glob("toy*.tex"))) == 3, names
    scores = pd.read_csv(results / "out/scores.csv")
    counts = scores.query("metric == 'rmse' and deployment == 'S1' and dataset == 'toy'")
    assert counts.groupby("labels").size().to_dict() == {0.05: 10, 0.25: 20, 1.0: 20}
    assert set(scores.query("dataset == 'other'").labels) == {1.0}


def test_scores_stand_against_the_share_with_their_intervals(results):
    text = (results / "out/leaderboard.md").read_text()
    curves = re.findall(r"^## Share of the labels: (\w+), .* (S\d) alone", text, re.MULTILINE)
    assert curves == [("toy", "S1"), ("toy", "S2")], "a dataset with one share has none"
    part = text.partition("## Share of the labels: toy")[2].partition("\n## ")[0]
    header, _, *rows = [line for line in part.splitlines() if line.startswith("|")]
    assert re.findall(r"(\S+) %", header) == ["5", "25", "100"]
    cells = {row.split("|")[1].strip(): row.split("|")[2:-1] for row in rows}
    assert list(cells) == ["single", "kd"]
    assert cells["kd"][0].strip() == "–" and "Without runs: kd at 5 %." in part
    (path,) = (p for p in (results / "out/tables").glob("toy*25*.csv") if "classes" not in p.name)
    table = pd.read_csv(path)
    assert all(re.search(r"\([+−].*: [+−].* to [+−].*\)", cell) for cell in cells["kd"][1:])
    row = table.query("method == 'kd' and deployment == 'S1' and metric == 'rmse'").iloc[0]
    assert f"{row['mean']:.2f}" in cells["kd"][1]


def test_the_figure_and_the_page_show_it_beside_each_share(results):
    figures = {path.name for path in (results / "out/figures").glob("labels-*.png")}
    assert len(figures) == 2 and all("toy" in name for name in figures)
    page = (results / "out/report.html").read_text()
    index = json.loads(re.search(r'id="index">(.*?)</script>', page)[1])
    shown = [entry["dataset"] for entry in index["across"] if "dataset" in entry]
    assert shown == ["toy"] * 2 * 3
    assert {figure["title"] for figure in index["figures"]} >= {
        "Scores against the share of the labels"
    }


def test_another_share_is_no_noise_of_seeds(tmp_path):
    """Of `report --compare`: 25 % of the labels are not another seed of all of them."""
    both = runs(SKILLS, **EVIDENCE)
    write([*both, *with_labels(both, 0.25)], tmp_path / "a")
    write([*both, *with_labels(both, 0.25)], tmp_path / "b")
    places = {c.place[1] for c in compare(tmp_path / "a", tmp_path / "b").methods}
    assert places == {"standard", "standard, 25 % of the labels"}


def test_a_foreign_share_is_no_number_of_a_table(tmp_path):
    write(with_labels(runs(SKILLS, **EVIDENCE), 0.0) + runs(SKILLS, **EVIDENCE), tmp_path)
    written = write_report(tmp_path, tmp_path / "out", figures=False)
    assert len(written.results.groups) == 1
    assert {e.reason for e in written.results.exclusions} == {"a share of the labels that is none"}


@pytest.mark.parametrize("text", ["0", "1.5", "a", "0.1,0.1", "nan", ""])
def test_what_is_no_share_is_one_sentence(text, capsys):
    assert main(["run", "--datasets", "lfmc", "--labels", text]) == 2
    assert "is not a list of shares like 0.05,0.25,1" in capsys.readouterr().err


def test_one_command_runs_several_shares(run, place, capsys):
    assert run("labels", "--labels", "0.25,1", "--folds", "0") == 0
    found, _ = records.read_all(place.folder / "labels")
    by_share = {r.spec.protocol.get("labels", 1.0): r.data for r in found}
    assert by_share.keys() == {0.25, 1.0}
    assert by_share[0.25]["train"] < by_share[1.0]["train"] / 2
    assert by_share[0.25]["test"] == by_share[1.0]["test"]
    assert "(25 % of the labels) steady fold 0 seed 0" in capsys.readouterr().out
