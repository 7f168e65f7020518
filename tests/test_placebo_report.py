"""Placebos in tables, on the page and in files: beside the gains, and in nothing else."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from benchmark import records
from benchmark.report import summary_text, write_report
from benchmark.report.compare import compare
from benchmark.report.placebo import placebos
from benchmark.report.statistics import corrected_t_test
from tests.made_up import official, run, runs, write
from tests.test_evidence import scored
from tests.test_page import Parsed
from tests.test_report import report

FOLDS = np.linspace(30, 40, 10)[:, None]
NOISE = np.random.default_rng(0).normal(size=(10, 4))
KD, PLACEBO = FOLDS - 3 + NOISE[:, :1], FOLDS - 1 + NOISE[:, 1:2]


def rows_of(path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def plain():
    return [
        *scored("single", FOLDS),
        *scored("kd", KD),
        *scored("mdico", FOLDS - 2 + NOISE[:, 2:3]),
        *scored("mdico_no_con", FOLDS - 2 + NOISE[:, 3:4]),
    ]


def twins():
    """kd gains 3 on S1, of which 1 needs no other sensor; mdico's gain of 2 is all of it."""
    return [
        *scored("kd", PLACEBO, placebo="S1"),
        *scored("mdico", FOLDS - 2 + NOISE[:, :1], placebo="S1"),
        *scored("kd", FOLDS[:4], placebo="S2"),
    ]


def test_gain_placebo_gain_and_their_difference_stand_side_by_side(tmp_path):
    written = report([*plain(), *twins()], tmp_path)
    (path,) = (tmp_path / "out/tables").glob("*.md")
    section = path.read_text().split("## Placebo\n")[1].split("\n## ")[0]
    expected = corrected_t_test((PLACEBO - KD)[:, 0].tolist(), 60 / 480)
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    kd, few = (next(row for row in cells if row[:2] == ["kd", m]) for m in ("S1", "S2"))
    assert len(cells) == 3
    gain, placebo, difference = (np.mean(v) for v in (FOLDS - KD, FOLDS - PLACEBO, PLACEBO - KD))
    assert kd[2:5] == [f"+{v:.2f}" for v in (gain, placebo, difference)]
    assert kd[5] == f"+{expected.low:.2f} to +{expected.high:.2f}"
    assert few[3] == "0.00 (n = 4)" and few[5] == "–"  # four folds of ten are not compared
    assert "Only the difference says that the other sensor helped" in section
    sentence = (
        "On S1, another sensor is shown to have helped kd (of 2 that were compared with a placebo)."
    )
    for text in (
        path.read_text(),
        summary_text(written),
        (tmp_path / "out/leaderboard.md").read_text(),
    ):
        assert sentence in text
    by_method = {
        (r["method"], r["deployment"]): r
        for r in rows_of(path.with_suffix(".csv"))
        if r["metric"] == "rmse"
    }
    shown = by_method["kd", "S1"]
    names = ("placebo_gain", "placebo_difference", "placebo_low", "placebo_high", "placebo_p")
    values = (placebo, difference, expected.low, expected.high, expected.p)
    assert [float(shown[name]) for name in names] == pytest.approx(values)
    assert by_method["single", "S1"]["placebo_gain"] == ""
    rows = rows_of(tmp_path / "out/scores.csv")
    assert {r["placebo"] for r in rows if r["method"] == "kd"} == {"", "S1", "S2"}
    assert {r["deployment"] for r in rows if r["placebo"] == "S1"} == {"S1"}


def test_placebos_are_in_no_mark_rank_family_or_best_set(tmp_path):
    bare = report(plain(), tmp_path / "bare")
    full = report([*plain(), *twins()], tmp_path / "full")
    assert bare.summaries[0].rows == full.summaries[0].rows
    assert bare.summaries[0].levels == full.summaries[0].levels
    assert full.results.shown == bare.results.shown + len(twins())
    assert not full.results.exclusions

    def without_sentence(results):
        lines = (results / "out/leaderboard.md").read_text().splitlines()
        return [line for line in lines if "placebo" not in line and "records; not" not in line]

    assert without_sentence(tmp_path / "bare") == without_sentence(tmp_path / "full")


def test_the_page_shows_them_behind_the_gain_with_their_runs(tmp_path):
    made_up = [*plain(), *twins()]
    report(made_up, tmp_path)
    (group,) = Parsed(tmp_path / "out/report.html").groups
    names = [method["name"] for method in group["methods"]]
    rows = {names[row["method"]]: row for row in group["rows"]["S1"]["rows"]}
    own = [r.id for r in made_up if r.spec.method == "kd" and r.spec.placebo == "S1"]
    assert sorted(rows["kd"]["placebo"]["runs"]) == sorted(own)
    assert rows["kd"]["placebo"]["difference"] == f"+{np.mean(PLACEBO - KD):.2f}"
    assert "placebo" not in rows["single"] and "placebo" not in rows["mdico_no_con"]
    assert any(note.startswith("Placebo: the same method") for note in group["notes"])


def test_generated_data_show_them_without_interval_and_sentence(tmp_path):
    simulated = [
        *runs({"single": 1.0, "kd": 2.0}),
        *runs({"kd": 1.0}, placebo="S1"),
        run("kd", 0, placebo="S2", status="failed", reason="out of memory"),
    ]
    report(simulated, tmp_path)
    (path,) = (tmp_path / "out/tables").glob("*.md")
    text = path.read_text()
    row = next(line for line in text.split("## Placebo")[1].splitlines() if "| kd" in line)
    assert row.rstrip("| ").endswith("–") and "shown to have helped" not in text
    assert "kd (placebo on S2)" in text and "out of memory" in text
    (excluded,) = rows_of(tmp_path / "out/exclusions.csv")
    assert excluded["what"] == "toy kd (placebo on S2) fold 0 seed 0"


def test_a_placebo_alone_and_one_of_a_foreign_modality_are_named(tmp_path):
    alone = run("mdico", placebo="S1")
    foreign = run("kd", placebo="S9")
    written = report([*runs({"single": 1.0, "kd": 2.0}), alone, foreign], tmp_path)
    reasons = {e.run: (e.status, e.reason) for e in written.results.exclusions}
    assert reasons == {
        alone.id: ("invalid", "a placebo of a method that has no other run to compare it with"),
        foreign.id: ("invalid", "a placebo on 'S9', which is none of its modalities"),
    }


def test_on_an_official_split_they_are_compared_over_the_test_samples(tmp_path):
    skills = {"single": 0.5, "kd": 4.0, "mdico": 1.0}
    cache = official(tmp_path, skills, placebos={"kd": 0.5, "mdico": 1.0})
    written = write_report(tmp_path, tmp_path / "out", figures=False, cache=cache)
    (summary,) = written.summaries
    kd, mdico = sorted(placebos(summary, "S1"), key=lambda found: found.own.method)
    assert kd.comparison.low > 0 and kd.comparison.mean == pytest.approx(kd.difference.mean)
    assert mdico.comparison.low < 0 < mdico.comparison.high
    assert placebos(summary, "S2") == []
    (path,) = (tmp_path / "out/tables").glob("*.md")
    assert "On S1, another sensor is shown to have helped kd (of 2" in path.read_text()


def test_records_that_are_older_than_placebos_are_read_as_what_they_are(tmp_path):
    write(runs({"single": 1.0}, folds=1), tmp_path)
    (path,) = records.files(tmp_path)
    document = json.loads(path.read_text())
    assert document["spec"].pop("placebo") == ""
    path.write_text(json.dumps(document))
    assert records.read(path).spec.placebo == ""


def test_two_folders_are_compared_placebo_by_placebo(tmp_path):
    for folder in ("here", "there"):
        write([*runs({"kd": 1.0}), *runs({"kd": 1.0}, placebo="S1")], tmp_path / folder)
    found = compare(tmp_path / "here", tmp_path / "there")
    assert [(c.method, c.runs, c.same) for c in found.methods] == [
        ("kd", 3, 3),
        ("kd (placebo on S1)", 3, 3),
    ]
