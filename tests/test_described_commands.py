"""Data of one's own on the command line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmark.commands.main import main
from benchmark.problem import ModalitySpec
from benchmark.records import read_all
from benchmark.report.dataset import Channel
from benchmark.report.figures.dataset import _sensor
from datasets.described.draft import draft
from tests import own
from tests.own import N, geotiff, save, write
from tests.pages import ROOT, blocks


@pytest.fixture
def mine(tmp_path):
    """The description of a small dataset and the folder where its files are."""
    return write(tmp_path / "data"), tmp_path / "data"


@pytest.fixture
def places(tmp_path):
    return ["--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "results")]


@pytest.mark.parametrize("executor", ["serial", "processes", "dask"])
def test_every_executor_runs_it(mine, tmp_path, places, executor, capsys, monkeypatch):
    """Workers have the prepared arrays alone."""
    monkeypatch.setattr("benchmark.commands.run.report_all", lambda *given: None)
    description, folder = mine
    path = save(description, folder)
    named = ["--datasets", f"{path},lfmc" if executor == "serial" else str(path)]
    how = ["--folds", "0,1", "--methods", "constant", "--executor", executor, "--workers", "2"]
    assert main(["run", *named, *how[: -2 if executor == "serial" else None], *places]) == 0
    assert "vines: REAL data, 60 samples, S1, S2, soil (fingerprint" in capsys.readouterr().out
    records = read_all(tmp_path / "results")[0]
    found = [record for record in records if record.spec.dataset == "vines"]
    assert {(r.status, r.spec.source) for r in found} == {("done", "real")} and len(found) == 2
    assert found[0].data["group_kind"] == "0.5° block"
    assert {r.spec.dataset for r in records} - {"vines"} == set(named[1].split(",")[1:])


def test_the_command_that_tune_prints_runs_what_was_chosen(mine, places, capsys, monkeypatch):
    monkeypatch.setattr("benchmark.commands.run.report_all", lambda *given: None)
    description, folder = mine
    named = ["--datasets", str(save(description, folder, "my vines")), "--methods", "forest"]
    assert main(["tune", *named, "--trials", "2", "--folds", "0", *places]) == 2, "no name for it"
    capsys.readouterr()
    named[1] = str(save({"name": "vines", **description}, folder, "my vines"))
    assert main(["tune", *named, "--trials", "2", "--folds", "0", *places]) == 0
    (command,) = re.findall(r"run them: python -m benchmark (.*)", capsys.readouterr().out)
    assert main(shlex.split(command)) == 0
    records = read_all(Path(places[-1]))[0]
    assert [(r.spec.dataset, r.spec.method, r.status) for r in records] == [
        ("vines", "forest", "done")
    ]


def test_a_report_finds_the_targets_of_an_official_split(
    mine, tmp_path, places, monkeypatch, capsys
):
    monkeypatch.setattr("benchmark.commands.run.report_all", lambda *given: None)
    description, folder = mine
    parts = np.resize(["train", "train", "val", "test"], N)
    pd.DataFrame({"part": parts}).to_csv(folder / "split.csv", index=False)
    description["split"] = {"file": "split.csv", "column": "part"}
    description["target"] = {"file": "plots.csv", "column": "vigour", "kind": "regression"}
    path = str(save(description, folder))
    run = ["--methods", "constant,forest", "--seeds", "0,1", "--protocol", "standard"]
    assert main(["run", "--datasets", path, *run, *places]) == 0
    groups = len(np.unique(own.opened(Path(path)).groups))
    divided = rf"(\d+) of {groups} groups stand in more than one part"
    told = re.search(f"vines: WARNING: official split: {divided}: ", capsys.readouterr().out)
    (folder / "plots.csv").unlink()  # all is prepared
    assert main(["report", "--datasets", path, *places]) == 0
    assert list((tmp_path / "results" / "figures").glob("vines*predicted.png"))
    written = (tmp_path / "results" / "leaderboard.md").read_text()
    assert "vines, real data" in written and "are not in the cache" not in written
    assert f"60 samples in {groups} groups (0.5° block), divided by the split" in written
    assert re.search(f"FLAG: {divided} of the official split", written)[1] == told[1]


def test_preparing_ahead_and_clearing(mine, tmp_path, capsys):
    description, folder = mine
    path, cache = str(save(description, folder)), ["--cache", str(tmp_path / "cache")]
    assert main(["data", "prepare", "--datasets", path, *cache]) == 0
    assert main(["data", "prepare", "--datasets", "lfmc", *cache]) == 0
    assert main(["data", "clear", "--datasets", path, *cache]) == 0
    assert [p.name for p in (tmp_path / "cache" / "prepared").iterdir()][0].startswith("lfmc")
    assert "1 folders" in capsys.readouterr().out
    assert main(["data", "fetch", path, "--data-root", str(tmp_path)]) == 2
    assert "vines: is described by the user; there is nothing to fetch" in capsys.readouterr().err


def test_a_data_root_of_other_data_does_not_matter(mine, tmp_path, capsys):
    description, folder = mine
    (tmp_path / "nothing").mkdir()
    arguments = ["--data-root", str(tmp_path / "nothing"), "--cache", str(tmp_path / "cache")]
    named = ["--datasets", str(save(description, folder))]
    assert main(["data", "prepare", *named, *arguments]) == 0


def test_describe_says_what_was_understood_and_draws_it(mine, tmp_path, capsys):
    description, folder = mine
    soil = np.load(folder / "soil.npy")
    soil[:3, 0] = np.nan
    np.save(folder / "soil.npy", soil)
    description["licence"], description["modalities"]["S2"]["units"] = "CC BY 4.0", "10⁻⁴"
    path = save(description, folder)
    assert main(["data", "describe", str(path), "--cache", str(tmp_path / "cache")]) == 0
    said = capsys.readouterr().out
    s1 = np.load(folder / "s1.npy")[..., 0]
    for expected in (
        "vines: REAL data, 60 samples",
        "soil has no data or an infinite number in 3 values of 3 of 60 samples",
        "vines: Water stress of vines\nlicence: CC BY 4.0",
        "target: multiclass, 3 classes",
        "groups (0.5° block): ",
        "places: latitude 43",
        r"none     20         33\.3%",
        rf"S1 +series +12 × 2 +dB +VV +{s1.min():.6g} to {s1.max():.6g} +0",
        r"soil +vector +4 +1 .* 3 \(5\.0%\)",
        "folds under 'standard':",
        "fold    train    val    test    groups in test    classes in test",
    ):
        assert re.search(expected, said) or expected in said, expected
    picture = folder / "vines-described.png"
    assert picture.read_bytes().startswith(b"\x89PNG") and str(picture) in said
    assert len(re.findall(r"^\d +\d+ +\d+ +\d+ ", said, re.MULTILINE)) == 10


@pytest.mark.parametrize("divided", [True, False])
def test_describe_tells_groups_and_split_and_whether_they_agree(mine, tmp_path, capsys, divided):
    description, folder = mine
    parts = np.resize(["train", "val", "test"], N) if divided else np.repeat(["train", "test"], 30)
    farms = [f"F{i // 15}" for i in range(N)]
    pd.DataFrame({"part": parts, "farm": farms}).to_csv(folder / "split.csv", index=False)
    description["split"] = {"file": "split.csv", "column": "part"}
    description["groups"] = {"file": "split.csv", "column": "farm"}
    path = str(save(description, folder))
    assert main(["data", "describe", path, "--cache", str(tmp_path / "cache")]) == 0
    said = capsys.readouterr().out
    assert ("4 of 4 groups stand in more than one part: scores may be too good" in said) == divided
    assert "official split: train " in said
    more = "; 4 of them in more than one part of the official split" * divided
    assert f"groups (farm): 4, of 15 to 15 samples{more}\n" in said


def test_describe_warns_of_groups_that_keep_nothing_together(mine, tmp_path, capsys):
    description, folder = mine
    description["groups"] = {"file": "plots.csv", "column": "plot"}
    path = str(save(description, folder))
    assert main(["data", "describe", path, "--cache", str(tmp_path / "cache")]) == 0
    assert ": 60, of one sample each. WARNING: such groups" in capsys.readouterr().out


def drawn(values: np.ndarray, units: str, *ends: tuple[float, float]):
    """The panel of one sample of a modality, whose channels have these ranges."""
    from matplotlib.figure import Figure

    names = tuple(f"c{i}" for i in range(len(ends)))
    kind = "vector" if values.ndim == 1 else "series"
    axis = Figure().subplots()
    of = [Channel(name, *span, 0, 1) for name, span in zip(names, ends, strict=True)]
    _sensor(axis, ModalitySpec("S", kind, values.shape, names, units), values, of)
    assert axis.get_title(loc="left").endswith(units) or axis.get_title().endswith(units)
    return axis


def test_the_picture_shows_values_in_their_unit():
    """As they are where one axis can show them; else each between its ends, which are named."""
    radar = np.array([[-8.0, -15.0], [-9.0, -16.0]])
    axis = drawn(radar, "dB", (-20, 0), (-30, -5))
    assert [list(line.get_ydata()) for line in axis.lines] == [[-8, -9], [-15, -16]]
    assert axis.get_ylabel() == "value"
    axis = drawn(np.array([[290.0, 0.1]]), "K, m", (270, 310), (0, 0.2))
    assert [list(line.get_ydata()) for line in axis.lines] == [[0.5], [0.5]]
    legend = [text.get_text() for text in axis.get_legend().get_texts()]
    assert legend == ["c0: 270 to 310", "c1: 0 to 0.2"]
    axis = drawn(np.array([25.0, np.nan]), "%", (0, 100), (0, 1))
    assert [text.get_text() for text in axis.texts] == ["25", "missing"]
    assert axis.get_yticklabels()[0].get_text() == "c0\n0 to 100"


def test_large_numbers_are_read_and_nothing_of_the_picture_is_cut_off(mine, tmp_path, monkeypatch):
    from benchmark.report.figures import drawing

    axis = drawn(np.array([[10_070.0, 0.1]]), "K, m", (270, 10_070.4), (-2.5e6, 0.2))
    legend = [text.get_text() for text in axis.get_legend().get_texts()]
    assert legend == ["c0: 270 to 10,070", "c1: -2,500,000 to 0.2"]
    figures, lay_out = [], drawing.lay_out
    monkeypatch.setattr(drawing, "lay_out", lambda own: lay_out(own) or figures.append(own))
    description, folder = mine
    np.save(folder / "s1.npy", 1e7 * np.load(folder / "s1.npy"))
    path = str(save(description, folder))
    assert main(["data", "describe", path, "--cache", str(tmp_path / "cache")]) == 0
    (figure,) = figures
    box, size = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 > -0.01 and box.y0 > -0.01 and np.all([box.x1, box.y1] < size + 0.01)


def test_describe_shows_the_range_of_what_is_stored_beside_the_values(mine, tmp_path, capsys):
    description, folder = mine
    (folder / "rgb").mkdir()
    for i in range(N):
        image = np.full((3, 4, 4), 100 * i, np.int16)
        tags = {"scales": (1e-4,) * 3, "offsets": (-0.1,) * 3}
        geotiff(folder / "rgb" / f"P{i:02d}.tif", image, **tags)
    description["modalities"]["rgb"] = {"file": "rgb/{id}.tif", "kind": "image"}
    del description["groups"]
    path, out = save(description, folder), tmp_path / "shown.png"
    arguments = ["--cache", str(tmp_path / "cache"), "--out", str(out), "--protocol", "random"]
    assert main(["data", "describe", str(path), *arguments]) == 0
    said = capsys.readouterr().out
    assert re.search(r"rgb +image +4 × 4 × 3 +1 +-0\.1 to 0\.49 +0 to 5900 +0", said)
    assert "groups: none; samples of one place may stand on both sides" in said
    assert "folds under 'random'" in said and out.exists()


@pytest.mark.parametrize("name", ["lfmc", "cropharvest_binary"])
def test_describe_knows_the_shipped_datasets(name, tmp_path, capsys):
    arguments = ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "a.png")]
    assert main(["data", "describe", name, "--protocol", "quick", *arguments]) == 0
    said = capsys.readouterr().out
    assert f"{name}: GENERATED data" in said and "licence: CC BY" in said
    assert ("S2: Landsat-8 in fact" in said) == (name == "lfmc")
    assert ("places: latitude" in said) == (name == "cropharvest_binary")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_what_cannot_be_split_is_described_all_the_same(mine, tmp_path, capsys):
    description, folder = mine
    description["groups"]["block"] = 90
    path = str(save(description, folder))
    assert main(["data", "describe", path, "--cache", str(tmp_path / "cache")]) == 0
    said = capsys.readouterr().out
    assert "folds under 'standard': vines: one group cannot" in said
    assert "make groups smaller" in said and "`run` refuses it under this protocol; --pro" in said


def test_test_parts_of_a_sample_or_two_are_told(mine, tmp_path, places, capsys, caplog):
    description, folder = mine
    parts = ["train"] * (N - 1) + ["test"]
    pd.DataFrame({"part": parts}).to_csv(folder / "split.csv", index=False)
    description["split"] = {"file": "split.csv", "column": "part"}
    del description["groups"]
    path = str(save(description, folder))
    told = "fold 0: tested on 2 samples at most, whose scores say next to nothing; give more"
    assert main(["data", "describe", path, "--cache", str(tmp_path / "cache")]) == 0
    assert f"WARNING: {told}" in capsys.readouterr().out
    run = ["run", "--datasets", path, "--methods", "single", "--dry-run", *places]
    assert main(run) == 0 and f"vines: {told}" in caplog.text


# A first description.


def test_new_guesses_what_files_show_and_leaves_the_rest_to_decide(
    mine, tmp_path, capsys, monkeypatch
):
    _, folder = mine
    (folder / "rgb").mkdir()
    for i in range(N):
        geotiff(folder / "rgb" / f"P{i:02d}.tif", np.ones((3, 4, 4), np.uint8))
    table = pd.read_csv(folder / "plots.csv", keep_default_na=False)
    table = table.rename(columns={"stress": "label"}).replace("none", "no")
    wide = {f"{band}_{month}": 1.5 for band in ("NDVI", "NDWI") for month in range(1, 13)}
    table.assign(**wide).to_csv(folder / "plots.csv", index=False)
    monkeypatch.chdir(folder)
    files = ["s1.npy", "s2.npy", "soil.npy", "rgb", "plots.csv"]
    assert main(["data", "new", "mine", "--from", *files]) == 0
    assert "python -m benchmark data describe mine.yaml" in capsys.readouterr().out
    found = yaml.safe_load((folder / "mine.yaml").read_text())
    kinds = {m: fields["kind"] for m, fields in found["modalities"].items()}
    assert kinds == {
        "s1": "series", "s2": "series", "soil": "vector", "rgb": "image", "series": "series",
    }  # fmt: skip
    assert found["modalities"]["series"]["columns"] == "{channel}_{step}"
    assert found["modalities"]["series"]["channels"] == ["NDVI", "NDWI"]
    assert found["target"] == {"file": "plots.csv", "column": "label", "kind": "multiclass"}
    assert found["ids"] == {"file": "plots.csv", "column": "plot"}
    assert found["groups"] == {
        "file": "plots.csv", "latitude": "lat", "longitude": "lon", "block": 1.0,
    }  # fmt: skip
    data = own.prepare(folder / "mine.yaml", tmp_path / "cache", "s1", "rgb", "series")
    assert data.x["series"].shape == (N, 12, 2) and data.task.class_names == (
        "mild",
        "no",
        "severe",
    )


def test_new_takes_the_only_column_of_a_few_words_for_the_target(mine, monkeypatch):
    _, folder = mine
    table = pd.read_csv(folder / "plots.csv", keep_default_na=False)
    table.replace("none", "no").to_csv(folder / "plots.csv", index=False)
    monkeypatch.chdir(folder)
    assert main(["data", "new", "mine", "--from", "s1.npy", "s2.npy", "plots.csv"]) == 0
    found = yaml.safe_load((folder / "mine.yaml").read_text())
    assert found["target"] == {"file": "plots.csv", "column": "stress", "kind": "multiclass"}


def test_new_asks_whether_none_is_a_class(mine, tmp_path, monkeypatch):
    _, folder = mine
    monkeypatch.chdir(folder)
    assert main(["data", "new", "mine", "--from", "s1.npy", "s2.npy", "plots.csv"]) == 0
    written = (folder / "mine.yaml").read_text()
    assert "# decide: is 'none' a class?" in written
    assert yaml.safe_load(written)["target"] == {
        "file": "plots.csv", "column": "stress", "kind": "multiclass",
        "classes": ["mild", "none", "severe"],
    }  # fmt: skip
    data = own.prepare(folder / "mine.yaml", tmp_path / "cache", "s1", "s2")
    assert len(data) == N and data.task.class_names == ("mild", "none", "severe")


def test_new_leaves_what_stands_beside_a_target_to_be_decided(mine, tmp_path, monkeypatch):
    """It may be another target: a model that saw it would know what it predicts."""
    _, folder = mine
    table = pd.read_csv(folder / "plots.csv", keep_default_na=False).replace("none", "no")
    table.to_csv(folder / "plots.csv", index=False)
    table.drop(columns="stress").to_csv(folder / "rest.csv", index=False)
    monkeypatch.chdir(folder)
    for name in ("plots", "rest"):  # a target is found in the first alone
        assert main(["data", "new", f"a_{name}", "--from", "s1.npy", "s2.npy", f"{name}.csv"]) == 0
        written = (folder / f"a_{name}.yaml").read_text()
        assert yaml.safe_load(written)["modalities"].keys() == {"s1", "s2"}
        assert "these may be targets, too, which no model may see" in written
        taken = written.replace(f"  # {name}: ", f"  {name}: ")
        vector = yaml.safe_load(taken)["modalities"][name]
        assert vector == {
            "file": f"{name}.csv", "kind": "vector", "channels": ["vigour"], "units": "",
        }  # fmt: skip


def test_new_says_which_file_has_another_number_of_samples(mine, monkeypatch, capsys):
    _, folder = mine
    monkeypatch.chdir(folder)
    np.save("soil.npy", np.load("soil.npy")[:50])
    pd.DataFrame({"plot": ["P01"], "rain": [1.0]}).to_csv("rain.csv", index=False)  # has ids
    files = ["s1.npy", "s2.npy", "soil.npy", "plots.csv", "rain.csv"]
    assert main(["data", "new", "mine", "--from", *files]) == 0
    told = "# decide: soil.npy has 50 samples and s1.npy, s2.npy, plots.csv have 60; all must have"
    assert told in capsys.readouterr().out and told in Path("mine.yaml").read_text()


def test_new_refuses_a_name_and_a_file_named_twice_and_quotes_what_is_to_be_typed(
    mine, monkeypatch, capsys
):
    _, folder = mine
    monkeypatch.chdir(folder)
    assert main(["data", "new", "my data", "--from", "s1.npy"]) == 2
    assert "'my data' cannot be the name of a dataset; use letters" in capsys.readouterr().err
    assert main(["data", "new", "mine", "--from", "s1.npy", "./s1.npy"]) == 2
    assert "s1.npy: is named twice with --from" in capsys.readouterr().err
    assert not list(folder.glob("*.yaml"))
    (folder / "my files").mkdir()
    assert main(["data", "new", "my files/mine", "--from", "s1.npy"]) == 0
    assert "data describe 'my files/mine.yaml'\n" in capsys.readouterr().out


def test_new_overwrites_nothing(mine, capsys, monkeypatch):
    _, folder = mine
    monkeypatch.chdir(folder)
    (folder / "mine.yaml").write_text("mine")
    for name in ("mine", "mine.yaml"):
        assert main(["data", "new", name, "--from", "s1.npy"]) == 2
        assert "mine.yaml: is there already, and is not overwritten" in capsys.readouterr().err
    assert (folder / "mine.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("none.npy", "none.npy: there is no such file"),
        ("readme.md", "readme.md: is of no kind that can be read"),
        ("empty", "empty: a folder without .tif or .npy files"),
        ("one.npy", "one.npy: holds a single sample"),
        ("odd.npy", "odd.npy: cannot be read, is it whole?"),
    ],
)
def test_new_refuses_what_cannot_be_looked_at(tmp_path, capsys, monkeypatch, name, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "readme.md").write_text("")
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "one.npy", np.float32(1))
    (tmp_path / "odd.npy").write_bytes(b"odd")
    assert main(["data", "new", "mine", "--from", name]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "mine.yaml").exists()


def test_new_understands_the_keys_of_an_archive_of_arrays(tmp_path):
    views = {"S1": np.ones((9, 4, 2)), "aerial": np.ones((9, 5, 5, 3)), "identifier": np.arange(9)}
    np.savez(tmp_path / "all.npz", target=np.resize([0.5, 1.5, 7], 9), **views)
    found = yaml.safe_load(draft("all", [tmp_path / "all.npz"], tmp_path))
    assert found["modalities"]["aerial"] == {
        "file": "all.npz", "key": "aerial", "kind": "image", "units": "",
    }  # fmt: skip
    assert found["ids"] == {"file": "all.npz", "key": "identifier"}
    assert found["target"]["key"] == "target" and found["target"]["kind"] == "regression"


def test_the_example_of_the_documentation_is_short():
    """That it works as printed: tests/test_docs_executed.py."""
    (block,) = blocks(ROOT / "docs" / "own-data.md", "yaml")
    assert len(block.text.splitlines()) <= 20


def test_a_column_that_differs_everywhere_is_no_group_but_names_samples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("soil.npy", np.zeros((6, 3)))
    table = {"field": [f"F{i}" for i in range(6)], "farm": list("aabbcc"), "label": list("xyxyxy")}
    pd.DataFrame(table).to_csv("fields.csv", index=False)
    assert main(["data", "new", "mine", "--from", "soil.npy", "fields.csv"]) == 0
    drafted = yaml.safe_load(Path("mine.yaml").read_text())
    assert drafted["ids"]["column"] == "field" and drafted["groups"]["column"] == "farm"
