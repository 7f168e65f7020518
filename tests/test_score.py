"""`folds export` and `score`: results of another framework, on our folds and by our metrics."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from benchmark import records
from benchmark.commands.main import main
from tests import own


@pytest.fixture
def place(tmp_path):
    """A described dataset; where its cache and the results go; options for them."""
    description = own.save(own.write(tmp_path / "data"), tmp_path / "data")
    cache, results = ["--cache", str(tmp_path / "cache")], ["--results", str(tmp_path / "runs")]
    return str(description), cache, results


@pytest.fixture
def folds(place, tmp_path):
    description, cache, _ = place
    out = tmp_path / "folds.csv"
    assert main(["folds", "export", description, *cache, "--out", str(out)]) == 0
    return pd.read_csv(out, dtype=str)


def predictions(folds: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Of all test samples, probabilities that add up to 1 but for rounding."""
    rows = folds[folds["part"] == "test"]
    ids = rows["id"].to_numpy()
    raw = np.random.default_rng(seed).dirichlet(np.ones(3), len(ids)).round(4)
    return pd.DataFrame(
        {"fold": rows["fold"].to_numpy(), "id": ids, **dict(zip(own.CLASSES, raw.T, strict=True))}
    )


def score(place, tmp_path, table: pd.DataFrame, *more: str) -> int:
    description, cache, results = place
    file = tmp_path / "predictions.csv"
    table.to_csv(file, index=False)
    return main(["score", str(file), description, "--as", "theirs", *cache, *results, *more])


def test_folds_are_those_that_every_method_has(folds):
    assert list(folds.columns) == ["fold", "part", "id", "group"]
    tested = folds[folds["part"] == "test"]
    assert sorted(tested["id"]) == [f"P{i:02d}" for i in range(own.N)]
    for _, fold in folds.groupby("fold"):
        assert sorted(fold["id"]) == sorted(tested["id"])
        assert set(fold["part"]) == {"train", "val", "test"}
        assert not fold.groupby("group")["part"].nunique().gt(1).any()


def test_predictions_from_elsewhere_stand_in_the_tables_and_are_called_so(
    place, tmp_path, folds, capsys
):
    table = predictions(folds).sample(frac=1, random_state=0)  # in any order
    table["predicted"] = table[own.CLASSES].idxmax(axis=1)  # as `predict` writes it
    assert score(place, tmp_path, table, "--modality", "S2", "--reference", "Doe 2026") == 0
    found, unreadable = records.read_all(tmp_path / "runs")
    assert len(found) == folds["fold"].nunique() and not unreadable
    assert {record.entry["family"] for record in found} == {"external"}
    assert all(list(record.metrics) == ["S2"] for record in found)
    text = (tmp_path / "runs" / "leaderboard.md").read_text()
    assert "| theirs " in text and "External, not trained here: of theirs the predictions" in text
    row = next(line for line in text.splitlines() if line.startswith("| theirs "))
    assert row.endswith(f" {len(found)}; S1, soil not predicted |") and " 0 of " not in row
    # The score is that of the predictions that were handed in.
    record = found[0]
    right = folds[(folds["part"] == "test") & (folds["fold"] == str(record.spec.fold))]["id"]
    rows = table.set_index("id").loc[list(right), own.CLASSES]
    plots = pd.read_csv(tmp_path / "data" / "plots.csv").set_index("plot")
    named = np.array(own.CLASSES)[rows.to_numpy().argmax(axis=1)]
    right = f1_score(plots.loc[list(right), "stress"], named, average="macro", zero_division=0)
    assert record.metrics["S2"]["macro_f1"] == pytest.approx(right)
    capsys.readouterr()
    places = [*place[1], *place[2]]
    assert main(["verify", *places]) == 0
    assert f"{len(found)} verified, 0 wrong" in capsys.readouterr().out


def test_seeds_and_modalities_may_be_columns_and_other_predictions_supersede(
    place, tmp_path, folds
):
    parts = [
        predictions(folds, seed).assign(seed=seed, modality=m)
        for seed in (0, 1)
        for m in ("S1", "S2")
    ]
    assert score(place, tmp_path, pd.concat(parts)) == 0
    assert score(place, tmp_path, pd.concat([*parts[:2], parts[3], parts[2]])) == 0
    found, _ = records.read_all(tmp_path / "runs")
    assert len(found) == 2 * 2 * folds["fold"].nunique()
    assert all(sorted(record.metrics) == ["S1", "S2"] for record in found)
    text = (tmp_path / "runs" / "leaderboard.md").read_text()
    assert "newer records have another code of the plug-in" in text


def test_a_fold_may_lack_and_the_table_says_so(place, tmp_path, folds, capsys):
    table = predictions(folds)
    first = folds[(folds["part"] == "test") & (folds["fold"] == "0")]["id"]
    assert score(place, tmp_path, table[~table["id"].isin(first)], "--modality", "S1") == 0
    assert "none for fold 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "more", "sentence"),
    [
        (lambda t: t.drop(columns="mild"), ("--modality", "S1"), "lacks the column mild"),
        (lambda t: t.rename(columns={"mild": "midl"}), ("--modality", "S1"),
         "unknown column 'midl': did you mean mild"),
        (lambda t: t, (), "say which modality was deployed, by a column 'modality' or by --mod"),
        (lambda t: t.assign(modality="S1"), ("--modality", "S1"), "and not by both"),
        (lambda t: t, ("--modality", "S3"), "unknown modality of vines 'S3'"),
        (lambda t: t.assign(mild=0.9), ("--modality", "S1"), "do not add up to 1; the first are"),
        (lambda t: t.assign(mild="x"), ("--modality", "S1"), "60 of 60 values of 'mild' are no"),
        (lambda t: t.assign(mild=-0.1), ("--modality", "S1"), "the first is '-0.1' in row 2"),
        (lambda t: t.assign(mild=""), ("--modality", "S1"), "values of 'mild' are no probability"),
        (lambda t: t.assign(seed="1.5"), ("--modality", "S1"), "a seed is a whole number from 0"),
        (lambda t: t.assign(id="Q" + t["id"]), ("--modality", "S1"),
         "60 of 60 ids are in no test part of vines; .*`folds export .*/vines.yaml --protocol st"),
        (lambda t: t[:0], ("--modality", "S1"), "predictions.csv: has no rows; give one for each"),
        (lambda t: t.drop(columns="fold"), ("--modality", "S1"), "lacks the column fold"),
        (lambda t: t, ("--modality", "S1", "--protocol", "random"),
         "tests it in fold .; --protocol names the one whose folds the predictions were made on"),
        (lambda t: pd.concat([t, t[:1]]), ("--modality", "S1"), "stands twice for one modality"),
        (lambda t: t[1:], ("--modality", "S1"), "samples of fold . have no prediction from S1"),
        (lambda t: pd.concat([t.assign(modality="S1", seed=0), t.assign(modality="S2", seed=1)]),
         (), "not every fold and seed has predictions from the same modalities (S1 / S2)"),
        (lambda t: t, ("--modality", "S1", "--as", "kd"), "--as kd: is a method of this benchmark"),
        (lambda t: t, ("--modality", "S1", "--as", "../up"), "--as ../up: it names a folder"),
    ],
)  # fmt: skip
def test_what_cannot_be_scored_is_one_sentence(
    place, tmp_path, folds, capsys, change, more, sentence
):
    capsys.readouterr()
    assert score(place, tmp_path, change(predictions(folds)), *more) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and told.startswith("error: ")
    assert re.search(sentence.replace("(", r"\(").replace(")", r"\)"), told)
    assert not list((tmp_path / "runs").rglob("*.json"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "cannot be read"), (b"", "is no CSV file"), (b"\x80\x04\x95", "is no CSV file")],
)
def test_a_file_that_is_none(place, tmp_path, capsys, content, sentence):
    description, cache, results = place
    file = tmp_path / "x.csv"
    if content is not None:
        file.write_bytes(content)
    arguments = ["score", str(file), description, "--as", "theirs", "--modality", "S1"]
    assert main([*arguments, *cache, *results]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("given", [("lfmc", "own.csv"), ("vines.yaml", "own.csv"), ("lfmc", "x")])
def test_which_argument_is_which_is_told(tmp_path, capsys, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    for name in given:
        (tmp_path / name).touch()
    assert main(["score", *given, "--as", "theirs"]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert f"score {' '.join(given)}: the CSV file of predictions goes first, and the" in sentence
