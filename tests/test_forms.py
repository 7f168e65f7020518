"""Datasets that are distributed in several forms: the same samples give the same arrays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.commands.main import main
from benchmark.errors import UserError
from benchmark.records import read_all
from datasets.common.contract import MissingFilesError
from datasets.treesatai_ts import GENERA
from tests import views
from tests.layouts import ADAPTERS, copied, generated, opened, prepare
from tests.odd import mutated

QUICK = {"samples": 30, "dates": 24, "window": "mean", "image_px": 32}
CROPS = ("cropharvest_binary", "cropharvest_multi")


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("views") / "cropharvest"
    views.cropharvest(generated("cropharvest_binary", 200), folder)
    return folder


@pytest.fixture(scope="module")
def trees(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("views") / "treesatai_ts"
    views.treesat(generated("treesatai_ts", 30), folder, GENERA)
    return folder


def published_table() -> pd.DataFrame:
    """A generated table with all the heights and kinds of land of the published one, and places."""
    table = pd.read_csv(generated("lfmc", 200) / "training_features.csv", index_col=0)
    table = table.sort_index(kind="stable")
    rows, (heights, covers) = np.arange(len(table)), LAND
    for step in views.STEPS:
        table[f"canopy_height({step})"] = np.array(heights)[rows % len(heights)]
        table[f"forest_cover({step})"] = np.array(covers)[rows % len(covers)]
    site = pd.factorize(table["site"])[0]
    return table.copy().assign(latitude=33 + 0.517 * site, longitude=-120 + 0.213 * site)


LAND = ((0, 4, *range(6, 37)), (14, 20, 30, 50, 70, 90, 100, 110, 130, 140, 150, 160))


@pytest.fixture(scope="module")
def fuel(tmp_path_factory) -> dict[str, Path]:
    """Form → a folder that holds one set of rows in it."""
    root = tmp_path_factory.mktemp("fuel")
    table = published_table()
    (root / "table").mkdir()
    table.to_csv(root / "table" / "training_features.csv")
    views.lfmc(table, root / "views")
    folder = root / "catalogue" / "su_sar_moisture_content"
    folder.mkdir(parents=True)
    for number, row in table[~table.index.duplicated(keep="last")].iterrows():
        write_feature(folder / f"feature_{number:04}.geojson", row)
    return {path.name: path for path in root.iterdir()}


def write_feature(path: Path, row: pd.Series) -> None:
    properties = {k: getattr(v, "item", lambda v=v: v)() for k, v in row.items()}
    place = [properties.pop("longitude"), properties.pop("latitude")]
    year, month, day = properties["date"].split("-")
    properties["date"] = f"{int(month)}/{int(day)}/{year[2:]}"
    feature = {"type": "Feature", "properties": properties}
    path.write_text(json.dumps(feature | {"geometry": {"type": "Point", "coordinates": place}}))


@pytest.mark.parametrize("view", [{}, QUICK], ids=["whole", "quick"])
@pytest.mark.parametrize("name", CROPS)
def test_crops_are_the_same_in_the_archive_and_in_views(name, view, crops, tmp_path):
    every = ADAPTERS[name].modalities
    archive, found = (
        prepare(name, root, tmp_path, *every, **view)
        for root in (generated("cropharvest_binary", 200), crops)
    )
    assert found.fingerprint == archive.fingerprint and found.task == archive.task
    assert found.form.startswith("the views of MDiCo's authors (cropharvest_")
    assert archive.form.startswith("its publisher's archive (")


@pytest.mark.parametrize("view", [{}, QUICK], ids=["whole", "quick"])
def test_tiles_are_the_same_in_the_archive_and_in_views(view, trees, tmp_path):
    every = ADAPTERS["treesatai_ts"].modalities
    archive, found = (
        prepare("treesatai_ts", root, tmp_path, *every, **view)
        for root in (generated("treesatai_ts", 30), trees)
    )
    assert found.fingerprint == archive.fingerprint and found.task == archive.task


def test_a_pixel_without_data_is_the_same_in_both(tmp_path):
    native = copied("treesatai_ts", 30, tmp_path)
    (path, *_) = sorted((native / "sentinel-ts").iterdir())
    with h5py.File(path, "r+") as file:
        file["sen-2-data"][3, 1, 2, 3] = -9999
        file["sen-1-asc-data"][2, 0, 2, 3] = np.nan
    views.treesat(native, tmp_path / "views", GENERA)
    archive, found = (
        prepare("treesatai_ts", root, tmp_path / "cache", "S2", "S1_asc")
        for root in (native, tmp_path / "views")
    )
    assert found.fingerprint == archive.fingerprint
    assert [n for n in archive.notices if "no data" in n] == [
        f"{m} has no data or an infinite number in 1 values of 1 of {len(found)} samples: taken as "
        "missing"
        for m in ("S2", "S1_asc")
    ]
    assert set(found.notices) <= set(archive.notices)


def test_fuel_moisture_is_the_same_in_the_table_and_in_the_catalogue(fuel, tmp_path):
    every = ADAPTERS["lfmc"].modalities
    table, catalogue = (
        prepare("lfmc", fuel[form], tmp_path, *every) for form in ("table", "catalogue")
    )
    assert catalogue.fingerprint == table.fingerprint
    assert table.form == "its publisher's table (training_features.csv)"
    assert catalogue.form == f"its publisher's catalogue ({len(table)} files)"


def test_fuel_moisture_is_the_same_in_the_table_and_in_views(fuel, tmp_path):
    """Targets are of 32 bits there, and sites have places instead of names."""
    every = ADAPTERS["lfmc"].modalities
    table, found = (prepare("lfmc", fuel[form], tmp_path, *every) for form in ("table", "views"))
    for m in every:
        np.testing.assert_array_equal(found.x[m], table.x[m])
    assert found.y.tolist() == table.y.astype(np.float32).tolist()
    assert found.ids.tolist() == [name.split()[0] for name in table.ids]
    pairs = set(zip(found.groups.tolist(), table.groups.tolist(), strict=True))
    assert len(pairs) == len(set(found.groups.tolist())) == len(set(table.groups.tolist()))
    assert found.notices == (
        "lfmc_train.nc has no names of sites, no dates, and targets of 32 bits: sites are told "
        "apart by their coordinates",
    )


def test_of_a_feature_that_is_repeated_the_last_counts(fuel, tmp_path):
    root = Path(shutil.copytree(fuel["catalogue"], tmp_path / "lfmc"))
    first, *_ = sorted(root.rglob("*.geojson"))
    content = json.loads(first.read_bytes())
    content["properties"]["percent(t)"] = 123.0
    (root / "feature_90000.geojson").write_text(json.dumps(content))
    catalogue = opened("lfmc", root)
    assert catalogue.notices == (
        "1 of 201 features have the site and date of a later one: left out",
    )
    assert catalogue.y[-1] == 123.0 and catalogue.ids[-1].startswith("90000 ")


def test_screen_and_record_say_which_was_read(fuel, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("benchmark.commands.run.report_all", lambda *given: None)
    shutil.copytree(fuel["views"], tmp_path / "root" / "lfmc")
    places = [f"--{name}={tmp_path / name}" for name in ("cache", "results")]
    run = ["run", "--datasets=lfmc", "--methods=constant", "--folds=0", "--executor=serial"]
    assert main([*run, *places, f"--data-root={tmp_path / 'root'}"]) == 0
    form = "the views of MDiCo's authors (lfmc_train.nc)"
    said = capsys.readouterr().out
    assert f"lfmc: not a known release; read from {form}\n" in said
    assert {record.data["form"] for record in read_all(tmp_path / "results")[0]} == {form}


def test_where_views_are_nothing_is_left_to_do(crops, tmp_path, capsys):
    shutil.copytree(crops, tmp_path / "cropharvest")
    assert main(["data", "status", "cropharvest_binary", f"--data-root={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert "cropharvest_binary: REAL, in " in said and "here: cropharvest_binary.nc (" in said
    assert "to do: nothing\n" in said


def test_the_table_that_is_saved_with_semicolons(fuel, tmp_path):
    plain = pd.read_csv(fuel["table"] / "training_features.csv", index_col=0)
    plain.to_csv(tmp_path / "training_features.csv", sep=";")
    expected = prepare("lfmc", fuel["table"], tmp_path / "cache").fingerprint
    assert prepare("lfmc", tmp_path, tmp_path / "cache").fingerprint == expected
    plain.to_csv(tmp_path / "training_features.csv", sep=";", decimal=",")
    with pytest.raises(UserError, match=r"decimals are written with a point"):
        opened("lfmc", tmp_path)


def test_two_forms_side_by_side_are_refused(fuel, tmp_path):
    root = Path(shutil.copytree(fuel["table"], tmp_path / "lfmc"))
    shutil.copy(fuel["views"] / "lfmc_train.nc", root)
    with pytest.raises(UserError) as told:
        opened("lfmc", root)
    assert str(told.value) == (
        f"{root}: holds lfmc in 2 forms, its publisher's table (training_features.csv) and the "
        "views of MDiCo's authors (lfmc_train.nc); keep one of them there, so that it is known "
        "which is read"
    )
    (root / "training_features.csv").unlink()
    shutil.copy(root / "lfmc_train.nc", root / "lfmc.nc")
    with pytest.raises(UserError, match="has both lfmc_train.nc and lfmc.nc; keep one"):
        opened("lfmc", root)


def test_what_lacks_is_told_of_every_form(trees, tmp_path):
    root = Path(shutil.copytree(trees, tmp_path / "treesatai_ts"))
    (root / "treesat_val.nc").unlink()
    with pytest.raises(MissingFilesError, match=r"lacks labels/\S+, and lacks treesat_val.nc$"):
        opened("treesatai_ts", root)


def remove(*names):
    def edit(path):
        with h5py.File(path, "r+") as file:
            for name in names:
                del file[name]

    return edit


def put(name, make):
    """Another array in the place of a view."""

    def edit(path):
        with h5py.File(path, "r+") as file:
            values = make(file[name][()]) if name in file else make(None)
            file.pop(name, None)
            if values is not None:
                file[name] = values

    return edit


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def objects(values):
    made = np.empty(len(values), dtype=h5py.vlen_dtype(np.float32))
    made[:] = [np.zeros(2, np.float32)] * len(values)
    return made


def attribute(name, value, of=None):
    def edit(path):
        with h5py.File(path, "r+") as file:
            (file[of] if of else file).attrs[name] = value

    return edit


def repeat(values):
    values[1] = values[0]
    return values


def at(index, value):
    def make(values):
        values[index] = value
        return values

    return make


BAD_VIEWS = {
    "cut": (cut, "cannot be read, is it whole?"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read, is it whole?"),
    "no HDF5": (lambda path: path.write_text("a,b\n"), "cannot be read, is it whole?"),
    "classic": (lambda path: path.write_bytes(b"CDF\x01" + bytes(99)), "netCDF of the classic"),
    "no identifiers": (remove("identifier"), "lacks 'identifier', which the views of MDiCo's"),
    "no targets": (remove("target"), "lacks 'target', which the views of MDiCo's authors have"),
    "no view": (remove("S2VI"), "lacks 'S2VI'; get the file again"),
    "no places": (remove("coords"), "lacks 'coords'; get the file again"),
    "fewer samples": (put("S2", lambda x: x[:-1]), r"'S2' is float32 \(\d+, 12, 11\), expected"),
    "fewer targets": (put("target", lambda y: y[:-1]), r"'target' is int8 \(\d+, 1\), expected"),
    "other channels": (put("S2", lambda x: x[..., 1:]), r"'S2' is float32 \(\d+, 12, 10\), exp"),
    "objects": (put("S1", objects), "'S1' holds object; numbers and text can be read"),
    "text": (put("S1", lambda x: ["a"] * len(x)), "'S1' is <U0 .*, expected numbers"),
    "an id twice": (put("identifier", repeat), "sample id '.*' stands twice"),
    "no id": (put("identifier", at(3, "")), "'identifier' of sample 3 is missing"),
    "an unknown class": (put("target", at((2, 0), 9)), "is 9, no class from 0 to 1"),
    "a place in metres": (put("coords", at(2, (5e5, 6e6))), "500000 and 6e.06, no longitude"),
    "not for training": (put("train_mask", at(2, 0)), "train_mask leaves out 1 samples"),
    "packed": (attribute("scale_factor", 10, "S2"), "'S2' has a scale or a fill value"),
}


@pytest.mark.parametrize("what", BAD_VIEWS)
def test_bad_views_are_one_clear_sentence(what, crops, tmp_path):
    edit, message = BAD_VIEWS[what]
    path = tmp_path / "cropharvest_binary.nc"
    shutil.copy(crops / path.name, path)
    edit(path)
    with pytest.raises(UserError, match=message) as told:
        prepare("cropharvest_binary", tmp_path, tmp_path / "cache")
    assert str(tmp_path) in str(told.value) and "\n" not in str(told.value)


@given(st.data())
def test_odd_bytes_are_read_or_refused(crops, data):
    whole = (crops / "cropharvest_binary.nc").read_bytes()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "cropharvest_binary.nc"
        path.write_bytes(data.draw(mutated(whole)))
        try:
            catalogue = opened("cropharvest_binary", path.parent)
            for i in (0, len(catalogue) - 1):
                assert catalogue.read(i)["S2"].shape == (12, 12)
        except UserError as error:
            assert "\n" not in str(error)


BAD_FUEL = {
    "other heights": (
        put("LIDAR", lambda x: x[:, :-1]),
        "'LIDAR' has 32 classes and does not say which; the 33 of the published table",
    ),
    "two kinds of land": (put("landcover", at(4, 1)), "'landcover' is not one-hot"),
    "no target": (
        put("target", at(3, np.nan)),
        "1 of .* targets are missing or not finite",
    ),
}


@pytest.mark.parametrize("what", BAD_FUEL)
def test_bad_views_of_fuel_moisture(what, fuel, tmp_path):
    edit, message = BAD_FUEL[what]
    shutil.copy(fuel["views"] / "lfmc_train.nc", tmp_path)
    edit(tmp_path / "lfmc_train.nc")
    with pytest.raises(UserError, match=message):
        opened("lfmc", tmp_path, *ADAPTERS["lfmc"].modalities)


BAD_TREES = {
    "other genera": (
        attribute("target_names", np.array(GENERA[::-1], object)),
        "its attribute 'target_names' is Tilia, .*, expected Abies",
    ),
    "half a genus": (put("target", at((0, 0), 3)), "its targets are not all 0 or 1"),
    "one mask": (put("S2mask", lambda x: x[..., :1]), "expected 2 masks"),
    "an image of floats": (
        put("aerial", lambda x: x.astype(np.float32)),
        "'aerial' is float32, expected uint8",
    ),
    "negative reflectance": (put("S2", at((0, -1), -5)), "-5 is not in the range from 0"),
}


@pytest.mark.parametrize("what", BAD_TREES)
def test_bad_views_of_tiles(what, trees, tmp_path):
    edit, message = BAD_TREES[what]
    for path in trees.iterdir():
        shutil.copy(path, tmp_path)
    edit(tmp_path / "treesat_val.nc")
    with pytest.raises(UserError, match=message):
        prepare("treesatai_ts", tmp_path, tmp_path / "cache")


def test_a_tile_in_two_parts_is_refused(trees, tmp_path):
    for part in ("train", "val"):
        shutil.copy(trees / f"treesat_{part}.nc", tmp_path)
    shutil.copy(trees / "treesat_val.nc", tmp_path / "treesat_test.nc")
    with pytest.raises(UserError, match=r"stands twice in treesat_train.nc, treesat_val.nc, tre"):
        opened("treesatai_ts", tmp_path)


def change(**values):
    def edit(properties):
        for name, value in values.items():
            if value is None:
                del properties[name]
            else:
                properties[name] = value

    return edit


BAD_FEATURES = {
    "no column": (change(**{"vh(t-2)": None}), r"geojson: lacks the property 'vh\(t-2\)'"),
    "a word": (change(**{"red(t)": "n/k"}), r"geojson: 'red\(t\)': 'n/k' is not a number"),
    "no date": (change(date="soon"), "geojson: 'date': 'soon' is not a date, as in 6/30/15"),
    "no target": (change(**{"percent(t)": "NaN"}), "the first that of .*geojson; remove"),
    "no site": (change(site=""), "geojson, column site: empty"),
}


@pytest.mark.parametrize("what", BAD_FEATURES)
def test_a_bad_feature_is_one_clear_sentence(what, fuel, tmp_path):
    edit, message = BAD_FEATURES[what]
    root = Path(shutil.copytree(fuel["catalogue"], tmp_path / "lfmc"))
    path = sorted(root.rglob("*.geojson"))[7]
    content = json.loads(path.read_bytes())
    edit(content["properties"])
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        opened("lfmc", root)


def test_a_feature_that_is_cut_or_has_no_number(fuel, tmp_path):
    root = Path(shutil.copytree(fuel["catalogue"], tmp_path / "lfmc"))
    path, *_ = sorted(root.rglob("*.geojson"))
    whole = path.read_bytes()
    cut(path)
    with pytest.raises(UserError, match=f"{path.name}: not a whole GeoJSON feature"):
        opened("lfmc", root)
    path.write_bytes(whole)
    path.rename(path.with_name("feature_one.geojson"))
    with pytest.raises(UserError, match=r"feature_one.geojson has no number in its name"):
        opened("lfmc", root)
