"""Bad data on the command line: one clear sentence, exit code 2, nothing trained, no traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.commands.main import main
from benchmark.errors import UserError
from tests.layouts import copied, crop_label, crop_tree, generated, opened
from tests.odd import ANYTHING, mutated

LABELS = "TreeSatBA_v9_60m_multi_labels.json"


@pytest.fixture
def run(tmp_path, capsys):
    """Runs `run` on the data root ``tmp_path / "data"``; gives the exit code and what it said."""
    (tmp_path / "data").mkdir()

    def run(*arguments: str) -> tuple[int, str]:
        code = main(
            [
                *("run", "--methods", "single", "--results", str(tmp_path / "results")),
                *("--data-root", str(tmp_path / "data"), "--cache", str(tmp_path / "cache")),
                *arguments,
            ]
        )
        output = capsys.readouterr()
        assert not list((tmp_path / "results").rglob("*.json")), "nothing is recorded"
        return code, output.err

    run.data = tmp_path / "data"
    return run


def refused(result: tuple[int, str], *parts: str) -> None:
    code, said = result
    assert code == 2
    assert said.startswith("error: ") and "Traceback" not in said
    for part in parts:
        assert part in said


def test_an_empty_data_root(run):
    refused(run("--datasets", "lfmc"), "has none of the folders", "lfmc", "treesatai_ts")


def test_a_data_root_that_does_not_exist(run):
    run.data.rmdir()
    refused(run("--datasets", "lfmc"), "does not exist")


@pytest.mark.parametrize(
    ("name", "lacks"),
    [
        ("lfmc", "lfmc lacks training_features.csv"),
        ("cropharvest_multi", "cropharvest lacks labels.geojson"),
        ("treesatai_ts", f"treesatai_ts lacks labels/{LABELS}"),
    ],
)
def test_a_folder_without_its_files_shows_the_tree_that_is_expected(run, name, lacks):
    from tests.layouts import ADAPTERS

    (run.data / ADAPTERS[name].folder).mkdir()
    refused(run("--datasets", name), lacks, "expected below the data root:", ADAPTERS[name].layout)


@pytest.mark.parametrize(
    ("gone", "lacks"),
    [
        ("split/val_filenames.lst", "lacks split/val_filenames.lst"),
        ("aerial", "has no .tif files in aerial"),
        ("sentinel-ts", "has no .h5 files in sentinel-ts"),
    ],
)
def test_a_tree_that_lacks_a_part_names_it(run, gone, lacks):
    native = copied("treesatai_ts", 12, run.data)
    path = native / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    refused(run("--datasets", "treesatai_ts"), lacks, "expected below the data root:")


def test_features_that_are_not_there_are_named(run):
    native = copied("cropharvest_binary", 60, run.data)
    shutil.rmtree(native / "features")
    refused(run("--datasets", "cropharvest_binary"), "has no .h5 files in features/arrays")


def test_everything_that_is_wrong_is_told_at_once(run):
    (copied("lfmc", 60, run.data) / "training_features.csv").write_text("a,b\n1,2\n")
    (copied("cropharvest_binary", 60, run.data) / "labels.geojson").write_text("{")
    refused(
        run("--datasets", "lfmc,cropharvest_binary"),
        "training_features.csv: lacks the column",
        "labels.geojson: not a whole GeoJSON",
    )


def edit_table(change):
    def edit(data: Path) -> None:
        import pandas as pd

        path = copied("lfmc", 60, data) / "training_features.csv"
        change(pd.read_csv(path, index_col=0)).to_csv(path)

    return edit


def edit_row(change):
    def edit(data: Path) -> None:
        path = copied("lfmc", 60, data) / "training_features.csv"
        rows = path.read_text().splitlines()
        rows[3] = ",".join(change(rows[3].split(",")))
        path.write_text("\n".join(rows) + "\n")

    return edit


def edit_crops(**changes):
    def edit(data: Path) -> None:
        crop_tree(data / "cropharvest", [crop_label(i, **changes) for i in range(40)])

    return edit


def one_genus_short(data: Path) -> None:
    native = copied("treesatai_ts", 12, data)
    (native / "split" / "val_filenames.lst").write_text("")


WRONG = {
    "NaN targets": (
        "lfmc",
        edit_table(lambda t: t.assign(**{"percent(t)": np.nan})),
        "targets are missing or not finite",
    ),
    "a row that was cut": (
        "lfmc",
        edit_row(lambda cells: cells[:7]),
        "row 4 has 7 cells and the header",
    ),
    "a row without its number": (
        "lfmc",
        edit_row(lambda cells: ["", *cells[1:]]),
        "row 4 has no number in its first cell",
    ),
    "a constant target": (
        "lfmc",
        edit_table(lambda t: t.assign(**{"percent(t)": 80.0})),
        "the target is constant",
    ),
    "too few sites": (
        "lfmc",
        edit_table(lambda t: t.assign(site="one")),
        "one group cannot be trained and tested on",
    ),
    "too few samples": (
        "lfmc",
        edit_table(lambda t: t.tail(1)),
        "one group cannot be trained and tested on",
    ),
    "one class": (
        "cropharvest_binary",
        edit_crops(is_crop=1),
        "fewer than two classes in the training part",
    ),
    "one kind of crop": (
        "cropharvest_multi",
        edit_crops(classification_label="maize"),
        "fewer than two different",
    ),
    "one block": ("cropharvest_binary", edit_crops(lat=1.5), "one group cannot be trained"),
    "an empty part of the split": ("treesatai_ts", one_genus_short, "lists no tile with a genus"),
}


@pytest.mark.parametrize("what", WRONG)
def test_data_that_cannot_be_trained_on(run, what):
    name, make, message = WRONG[what]
    make(run.data)
    refused(run("--datasets", name), message)


def test_a_target_that_is_missing_is_told_also_where_a_view_leaves_its_row_out(tmp_path):
    import pandas as pd

    path = copied("lfmc", 60, tmp_path) / "training_features.csv"
    table = pd.read_csv(path, index_col=0)
    valid = np.flatnonzero(~table.index.duplicated(keep="last"))
    for row in valid[[0, 20, 40, -1]]:
        hole = np.arange(len(table)) == row
        table.assign(**{"percent(t)": table["percent(t)"].mask(hole)}).to_csv(path)
        with pytest.raises(
            UserError, match="1 of [0-9,]+ targets are missing or not finite, the first that of row"
        ):
            opened("lfmc", path.parent, samples=12)


@pytest.mark.parametrize("name", ["lfmc", "cropharvest_binary", "treesatai_ts"])
def test_a_modality_that_is_not_there_is_named_with_the_nearest(run, name):
    copied(name, 60, run.data)
    refused(run("--datasets", name, "--modalities", "S2,S1_ascc"), "unknown modality of", "S1")


def test_one_modality_is_too_few(run):
    refused(run("--datasets", "lfmc", "--modalities", "S1"), "at least two modalities")


# Odd label files: whatever they hold, a reader reads them or raises `UserError`.


def read_or_refuse(name: str, native: Path, *modalities: str) -> None:
    try:
        catalogue = opened(name, native, *modalities)
    except UserError as error:
        assert str(native) in str(error), "the file is named"
    else:
        assert len(catalogue.y) == len(catalogue.ids)


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> Path:
    return crop_tree(tmp_path_factory.mktemp("crops"), [crop_label(i) for i in range(4)])


@given(st.data())
def test_odd_properties_of_crop_labels(crops, data):
    rows = [crop_label(i) for i in range(4)]
    for _ in range(data.draw(st.integers(1, 3))):
        properties = data.draw(st.sampled_from(rows))["properties"]
        if isinstance(properties, dict):
            properties[data.draw(st.sampled_from(sorted(properties)))] = data.draw(ANYTHING)
    (crops / "labels.geojson").write_text(json.dumps({"features": rows}))
    for name in ("cropharvest_binary", "cropharvest_multi"):
        read_or_refuse(name, crops)


@given(mutated(json.dumps({"features": [crop_label(i) for i in range(4)]}).encode()))
def test_odd_bytes_of_crop_labels(crops, content):
    (crops / "labels.geojson").write_bytes(content)
    read_or_refuse("cropharvest_multi", crops)


@given(ANYTHING)
def test_any_json_for_labels(crops, document):
    (crops / "labels.geojson").write_text(json.dumps({"features": document}))
    read_or_refuse("cropharvest_binary", crops)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory) -> Path:
    return copied("treesatai_ts", 12, tmp_path_factory.mktemp("tiles"))


TILE_LABELS = (generated("treesatai_ts", 12) / "labels" / LABELS).read_bytes()
TILE_LIST = (generated("treesatai_ts", 12) / "split" / "train_filenames.lst").read_bytes()


@given(mutated(TILE_LABELS) | st.builds(lambda d: json.dumps(d).encode(), ANYTHING))
def test_odd_labels_of_tiles(tiles, content):
    (tiles / "labels" / LABELS).write_bytes(content)
    read_or_refuse("treesatai_ts", tiles)


@given(mutated(TILE_LIST))
def test_odd_lists_of_tiles(tiles, content):
    (tiles / "labels" / LABELS).write_bytes(TILE_LABELS)
    (tiles / "split" / "train_filenames.lst").write_bytes(content)
    read_or_refuse("treesatai_ts", tiles)


TABLE = (
    b"\n".join((generated("lfmc", 20) / "training_features.csv").read_bytes().splitlines()[:6])
    + b"\n"
)


@given(mutated(TABLE))
def test_odd_tables_of_moisture(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "odd_table"
    folder.mkdir(exist_ok=True)
    (folder / "training_features.csv").write_bytes(content)
    read_or_refuse("lfmc", folder, "S1", "S2", "static", "land_cover")


@given(
    mutated(
        (lambda path: path.read_bytes())(
            next((generated("cropharvest_binary", 60) / "features" / "arrays").iterdir())
        )
    )
)
def test_odd_arrays_of_crops(crops, content):
    (crops / "labels.geojson").write_text(
        json.dumps({"features": [crop_label(i) for i in range(4)]})
    )
    path = crops / "features" / "arrays" / "2_togo.h5"
    path.write_bytes(content)
    try:
        arrays = opened("cropharvest_binary", crops).read(3)  # behind the two that are crops
        assert arrays["S1"].shape == (12, 2)
    except UserError as error:
        assert "2_togo" in str(error)
    finally:
        path.unlink()
        with h5py.File(path, "w") as file:
            file["array"] = np.zeros((12, 18))
