"""Datasets without code: what a description says becomes the very arrays that its files hold."""

from __future__ import annotations

import gzip
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml

import datasets
from benchmark.errors import UserError
from benchmark.planning import protocol
from benchmark.planning.split import folds
from datasets.common.contract import EODataset, View
from tests import own
from tests.layouts import prepare as prepare_shipped
from tests.own import N, geotiff, opened, save, write
from tests.views import views_file


@pytest.fixture
def mine(tmp_path):
    """The description of a small dataset and the folder where its files are."""
    return write(tmp_path / "data"), tmp_path / "data"


def values(catalogue, m):
    return np.stack([catalogue.read(i)[m] for i in range(len(catalogue))])


def test_arrays_ids_targets_and_groups_are_those_of_the_files(mine, tmp_path):
    description, folder = mine
    data = own.prepare(save(description, folder), tmp_path / "cache")
    table = pd.read_csv(folder / "plots.csv", keep_default_na=False)
    assert data.name == "vines" and data.source == "real" and data.group_kind == "0.5° block"
    for m, file in {"S1": "s1.npy", "S2": "s2.npy", "soil": "soil.npy"}.items():
        np.testing.assert_array_equal(data.x[m], np.load(folder / file).astype(np.float32))
    assert data.ids.tolist() == table["plot"].tolist()
    assert data.modalities["S1"].channels == ("VV", "VH") and data.modalities["S1"].units == "dB"
    assert data.modalities["S2"].channels == tuple(map(str, range(1, 12)))
    lat, lon = (np.floor(table[axis] / 0.5).astype(int) for axis in ("lat", "lon"))
    assert data.groups.tolist() == [f"{a},{b}" for a, b in zip(lat, lon, strict=True)]


def test_a_class_may_be_called_none_if_it_is_named(mine):
    """Else it is a missing label, as everywhere."""
    description, folder = mine
    classes = description["target"].pop("classes")
    with pytest.raises(
        UserError, match="20 of 60 samples without target .'none' stands for none; "
    ):
        opened(save(description, folder))
    description["target"]["classes"] = classes
    catalogue = opened(save(description, folder))
    assert catalogue.task.class_names == ("none", "mild", "severe")
    assert np.bincount(catalogue.y).tolist() == [20, 20, 20]


def test_the_description_may_lie_elsewhere_and_names_are_relative_to_it(mine, tmp_path):
    description, folder = mine
    here = own.prepare(save(description, folder), tmp_path / "cache")
    moved = yaml.safe_load(yaml.safe_dump(description))
    for part in (*moved["modalities"].values(), moved["target"], moved["ids"], moved["groups"]):
        part["file"] = f"../data/{part['file']}"
    (tmp_path / "other").mkdir()
    there = own.prepare(save(moved, tmp_path / "other", "moved"), tmp_path / "cache")
    assert there.fingerprint == here.fingerprint and there.name == "moved"


def test_a_changed_file_and_a_changed_meaning_are_other_data_a_comment_is_not(mine, tmp_path):
    description, folder = mine
    path = save(description, folder)
    first = own.prepare(path, tmp_path / "cache").fingerprint
    path.write_text(path.read_text() + "# a comment\n")
    assert own.prepare(path, tmp_path / "cache").fingerprint == first
    description["target"]["classes"] = own.CLASSES[::-1]
    assert own.prepare(save(description, folder), tmp_path / "cache").fingerprint != first
    description["target"]["classes"] = own.CLASSES
    for field, value in (("units", "1"), ("channels", ["VH", "VV"])):
        sensor = {**description["modalities"]["S1"], field: value}
        corrected = {**description, "modalities": {**description["modalities"], "S1": sensor}}
        assert own.prepare(save(corrected, folder), tmp_path / "cache").fingerprint != first
    assert own.prepare(save(description, folder), tmp_path / "cache").fingerprint == first
    array = np.load(folder / "s1.npy")
    array[3, 2, 1] += 1
    np.save(folder / "s1.npy", array)
    assert own.prepare(save(description, folder), tmp_path / "cache").fingerprint != first


# Formats.


def as_npz(folder, s1):
    np.savez(folder / "s.npz", s1=s1, other=np.zeros(3))
    return {"file": "s.npz", "key": "s1"}


def as_h5(folder, s1):
    with h5py.File(folder / "s.h5", "w") as file:
        file.create_dataset("sensors/s1", data=s1, chunks=(7, 12, 2), compression="gzip")
    return {"file": "s.h5", "key": "sensors/s1"}


def as_wide_table(folder, s1):
    columns = {
        f"{c}_{t + 1:02d}": s1[:, t, i] for i, c in enumerate(("VV", "VH")) for t in range(12)
    }
    pd.DataFrame(columns).to_csv(folder / "s.csv", index=False)
    return {
        "file": "s.csv",
        "columns": "{channel}_{step}",
        "steps": [f"{t:02d}" for t in range(1, 13)],
    }


def as_listed_columns(folder, s1):
    names = [f"c{k}" for k in range(24)]
    table = pd.DataFrame(s1.reshape(N, 24), columns=names)
    table.to_csv(folder / "s.tsv.gz", index=False, sep="\t")
    return {"file": "s.tsv.gz", "columns": names, "steps": 12}


def as_channels_first(folder, s1):
    np.save(folder / "s.npy", np.moveaxis(s1, 2, 1))
    return {"file": "s.npy", "channels_first": True}


def as_two_keys(folder, s1):
    np.savez(folder / "s.npz", vv=s1[..., 0], vh=s1[..., 1])
    return {"file": "s.npz", "key": ["vv", "vh"]}


def as_a_part_of_an_array(folder, s1):
    np.save(folder / "s.npy", np.concatenate([np.zeros((N, 12, 3)), s1[..., ::-1]], axis=-1))
    return {"file": "s.npy", "columns": [4, 3]}


def as_several_files(folder, s1):
    for part, rows in enumerate((slice(0, 10), slice(10, 35), slice(35, N))):
        np.save(folder / f"part{part}.npy", s1[rows])
    return {"file": "part{number}.npy"}


def as_a_file_each(folder, s1):
    (folder / "each").mkdir()
    for i, sample in enumerate(s1):
        np.save(folder / "each" / f"P{i:02d}.npy", sample)
    return {"file": "each/{id}.npy"}


def as_big_endian_columns_of_fortran(folder, s1):
    np.save(folder / "s.npy", np.asfortranarray(s1).astype(">f4"))
    return {"file": "s.npy"}


def as_flat_channels_first(folder, s1):
    np.save(folder / "s.npy", np.moveaxis(s1, 2, 1).reshape(N, 24))
    return {"file": "s.npy", "steps": 12, "channels_first": True}


def as_two_flat_keys(folder, s1):
    np.savez(folder / "s.npz", vv=s1[..., 0], vh=s1[..., 1])
    return {"file": "s.npz", "key": ["vv", "vh"], "steps": 12}


def as_columns_listed_by_channel(folder, s1):
    names = [f"{c}_{t}" for c in ("VV", "VH") for t in range(1, 13)]
    table = pd.DataFrame(np.moveaxis(s1, 2, 1).reshape(N, 24), columns=names)
    table.sample(frac=1, axis=1, random_state=0).to_csv(folder / "s.csv", index=False)
    return {"file": "s.csv", "columns": names, "steps": 12, "channels_first": True}


def as_wide_table_channels_first(folder, s1):
    return {**as_wide_table(folder, s1), "channels_first": True}


FORMS = {make.__name__.removeprefix("as_"): make for make in (
    as_npz, as_h5, as_wide_table, as_listed_columns, as_channels_first, as_two_keys,
    as_a_part_of_an_array, as_several_files, as_a_file_each, as_big_endian_columns_of_fortran,
    as_flat_channels_first, as_two_flat_keys, as_columns_listed_by_channel,
    as_wide_table_channels_first,
)}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_series_gives_the_same_array(mine, form):
    description, folder = mine
    s1 = np.load(folder / "s1.npy")
    sensor = FORMS[form](folder, s1)
    description["modalities"]["S1"] = {"kind": "series", "channels": ["VV", "VH"], **sensor}
    catalogue = opened(save(description, folder))
    np.testing.assert_allclose(values(catalogue, "S1"), s1, rtol=1e-7)
    assert catalogue.modalities["S1"].shape == (12, 2)


def test_parquet_is_read_or_one_sentence_says_what_to_install(mine):
    description, folder = mine
    description["modalities"]["soil"] = {
        "file": "soil.parquet",
        "kind": "vector",
        "channels": ["a"],
    }
    if "pyarrow" in sys.modules or __import__("importlib").util.find_spec("pyarrow"):
        pd.DataFrame({"a": range(N)}).to_parquet(folder / "soil.parquet")
        assert values(opened(save(description, folder)), "soil")[3] == [3]
    else:
        (folder / "soil.parquet").write_bytes(b"PAR1")
        with pytest.raises(UserError, match="soil.parquet: .*pip install pyarrow"):
            opened(save(description, folder))


def test_columns_whose_names_say_another_order_than_is_read_are_refused(mine):
    description, folder = mine
    sensor = as_columns_listed_by_channel(folder, np.load(folder / "s1.npy"))
    wrong = {"kind": "series", "channels": ["VV", "VH"], **sensor, "channels_first": False}
    description["modalities"]["S1"] = wrong
    with pytest.raises(UserError, match="S1 lists .* VV_1, VV_2, .*say `channels_first: true`"):
        opened(save(description, folder))


def tiles(folder, lengths):
    """An array and a table of labels for each tile, whose names are sorted otherwise; `y` is x."""
    folder.mkdir()
    start = 0
    for tile, n in lengths.items():
        y = np.arange(start, start + n)
        np.save(folder / f"{tile}.npy", np.stack([y, -y], axis=1))
        pd.DataFrame({"y": y}).to_csv(folder / f"{tile}_labels.csv", index=False)
        start += n
    return {
        "modalities": {m: {"file": "{tile}.npy", "kind": "vector"} for m in ("S1", "S2")},
        "target": {"file": "{tile}_labels.csv", "column": "y", "kind": "regression"},
        "groups": {"file": "{tile}_labels.csv", "column": "tile"},
    }


def test_files_are_matched_by_the_words_in_their_names(tmp_path):
    description = tiles(tmp_path / "t", {f"t{number}": number for number in range(1, 13)})
    catalogue = opened(save(description, tmp_path / "t"))
    np.testing.assert_array_equal(values(catalogue, "S1")[:, 0], catalogue.y)
    order = (1, 10, 11, 12, *range(2, 10))
    assert catalogue.groups.tolist() == [f"t{n}" for n in order for _ in range(n)]


def lacking_in_one(folder):
    (folder / "t3.npy").unlink()
    (folder / "t4_labels.csv").unlink()


def lacking(folder):
    (folder / "t2.npy").unlink()


def too_many(folder):
    (folder / "t2_labels.csv").unlink()


def of_other_lengths(folder):
    for tile in ("t1", "t3"):
        np.save(folder / f"{tile}.npy", np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lacking_in_one, "S1: there is no file of tile 't3', of which .*t3_labels.csv has samples"),
        (lacking, "S1: there is no file of tile 't2', of which .*t2_labels.csv has samples"),
        (too_many, "S1: .*t2.npy is of tile 't2', of which there are no samples"),
        (of_other_lengths, "S1: .*t1_labels.csv has 1 .*t1.npy, has 2"),
    ],
)
def test_files_of_other_words_or_lengths_are_refused(tmp_path, change, told):
    """The first and the last have as many samples in sum."""
    description = tiles(tmp_path / "t", {"t1": 1, "t2": 2, "t3": 3, "t4": 3})
    change(tmp_path / "t")
    with pytest.raises(UserError, match=told):
        opened(save(description, tmp_path / "t"))


def test_files_of_other_kinds_of_words_are_refused(tmp_path):
    description = tiles(tmp_path / "t", {"t1": 1, "t2": 2})
    description["modalities"]["S1"]["file"] = "{area}.npy"
    with pytest.raises(UserError, match="S1: .*t1.npy is of area 't1', and .* of tile 't1'; put"):
        opened(save(description, tmp_path / "t"))


def test_several_files_beside_one_are_said_to_be_matched_by_order(tmp_path):
    description = tiles(tmp_path / "t", {"t1": 1, "t2": 2})
    pd.DataFrame({"y": [0, 1, 2]}).to_csv(tmp_path / "t" / "all.csv", index=False)
    description["target"]["file"] = "all.csv"
    (notice, *_) = opened(save(description, tmp_path / "t")).notices
    assert "S1 is matched by order alone, 2 files from" in notice and "give ids" in notice


def test_ids_that_one_of_several_files_lacks_are_told(mine):
    description, folder = mine
    clay = pd.DataFrame({"plot": [f"P{i:02d}" for i in range(N)], "clay": range(N)})[::-1]
    clay[:30].to_csv(folder / "a.csv", index=False)
    clay[30:].rename(columns={"plot": "Plot"}).to_csv(folder / "b.csv", index=False)
    sensor = {"file": ["a.csv", "b.csv"], "kind": "vector", "channels": ["clay"]}
    description["modalities"]["soil"] = sensor
    with pytest.raises(UserError, match="b.csv: has no ids .plot., and .*a.csv has"):
        opened(save(description, folder))


def test_ids_that_are_the_index_of_a_table_in_parquet_are_ids(mine):
    pytest.importorskip("pyarrow")
    description, folder = mine
    clay = pd.DataFrame({"plot": [f"P{i:02d}" for i in range(N)], "clay": range(N)})
    clay.sample(frac=1, random_state=0).set_index("plot").to_parquet(folder / "soil.parquet")
    sensor = {"file": "soil.parquet", "kind": "vector", "channels": ["clay"]}
    description["modalities"]["soil"] = sensor
    assert values(opened(save(description, folder)), "soil")[:, 0].tolist() == list(range(N))


def test_an_empty_line_is_a_missing_value_in_a_table_of_one_column(mine):
    description, folder = mine
    cells = [str(i) for i in range(N)]
    cells[3], cells[7] = "", " "
    (folder / "soil.csv").write_text("\n".join(["clay", *cells]) + "\n\n")
    description["modalities"]["soil"] = {"file": "soil.csv", "kind": "vector", "channels": ["clay"]}
    description["incomplete"] = "drop"
    catalogue = opened(save(description, folder))
    kept = [i for i in range(N) if i not in (3, 7)]
    assert values(catalogue, "soil")[:, 0].tolist() == kept
    (folder / "stress.csv").write_text("\n".join(["v", *cells]))
    description["target"] = {"file": "stress.csv", "column": "v", "kind": "regression"}
    assert opened(save(description, folder)).y.tolist() == kept


@pytest.mark.parametrize("text", ['"plot";"clay, dry"', "plot\tclay, dry"])
def test_the_separator_is_what_stands_outside_quotes(mine, text):
    description, folder = mine
    between = ";" if ";" in text else "\t"
    rows = [f"P{i:02d}{between}{i}" for i in range(N)]
    (folder / "soil.csv").write_text("\n".join([text, *rows]) + "\n")
    sensor = {"file": "soil.csv", "kind": "vector", "columns": ["clay, dry"]}
    description["modalities"]["soil"] = sensor
    assert values(opened(save(description, folder)), "soil")[:, 0].tolist() == list(range(N))


def test_rows_are_matched_by_id_where_a_file_has_the_ids_column(mine):
    description, folder = mine
    clay = pd.DataFrame({"plot": [f"P{i:02d}" for i in range(N)], "clay": range(N)})
    more = pd.DataFrame({"plot": ["X1", "X2"], "clay": [-1, -2]})
    shuffled = pd.concat([clay.sample(frac=1, random_state=0), more])
    shuffled.to_csv(folder / "soil.csv", index=False)
    description["modalities"]["soil"] = {"file": "soil.csv", "kind": "vector", "channels": ["clay"]}
    catalogue = opened(save(description, folder))
    assert values(catalogue, "soil")[:, 0].tolist() == list(range(N))
    assert catalogue.notices == ("soil has 2 of 62 rows of other ids: left out",)


def test_samples_that_lack_something_are_an_error_or_left_out_and_counted(mine):
    description, folder = mine
    clay = pd.DataFrame({"plot": [f"P{i:02d}" for i in range(N)], "clay": range(N)})
    clay.iloc[5:].to_csv(folder / "soil.csv", index=False)
    description["modalities"]["soil"] = {"file": "soil.csv", "kind": "vector", "channels": ["clay"]}
    with pytest.raises(UserError, match="5 of 60 samples without soil, the first 'P00'; add them"):
        opened(save(description, folder))
    description["incomplete"] = "drop"
    catalogue = opened(save(description, folder))
    assert len(catalogue) == 55 and catalogue.ids[0] == "P05" and len(catalogue.y) == 55
    assert catalogue.notices == ("5 of 60 samples without soil, the first 'P00': left out",)
    assert values(catalogue, "soil")[0] == [5] and catalogue.places.shape == (55, 2)


@pytest.mark.parametrize("nothing", [np.nan, -999.0])
def test_a_sample_of_which_a_sensor_has_no_value_lacks_it(mine, nothing):
    description, folder = mine
    soil = np.load(folder / "soil.npy")
    soil[[4, 9]], soil[5, :2] = nothing, nothing
    np.save(folder / "soil.npy", soil)
    description["modalities"]["soil"]["no_data"] = -999
    with pytest.raises(UserError, match="2 of 60 samples without soil, the first 'P04'; add them"):
        opened(save(description, folder))
    description["incomplete"] = "drop"
    catalogue = opened(save(description, folder))
    assert len(catalogue) == 58 and "P04" not in catalogue.ids and "P05" in catalogue.ids


@pytest.mark.parametrize(
    "written", [-9999.0, -999.0, 1e20, 15 * 2.0**119, -np.finfo(np.float32).max]
)
def test_a_number_that_may_stand_for_no_value_is_told(mine, written):
    description, folder = mine
    soil = np.load(folder / "soil.npy").astype(np.float32)
    soil[:7, 1] = written
    np.save(folder / "soil.npy", soil)
    (notice,) = opened(save(description, folder)).notices
    assert notice.startswith("soil has 7 × ") and notice.endswith("`")
    said = yaml.safe_load(notice.partition("`")[2].rstrip("`"))  # as the user would copy it
    assert np.float32(said["no_data"]) == np.float32(written)
    description["modalities"]["soil"] |= said
    assert opened(save(description, folder)).notices == ()


@pytest.mark.parametrize("kind", ["regression", "multiclass", "multilabel"])
@pytest.mark.parametrize("stored", ["y.npy", "y.csv"])
def test_a_number_that_stands_for_no_target_is_told_and_can_be_declared(mine, kind, stored):
    description, folder = mine
    y = np.arange(N, dtype=np.float32) % 2
    y[:7] = -9999
    if stored == "y.npy":
        np.save(folder / "y.npy", np.stack([y, y], axis=1) if kind == "multilabel" else y)
        where = {"file": "y.npy"}
    else:
        pd.DataFrame({"a": y, "b": y}).to_csv(folder / "y.csv", index=False)
        names = {"columns": ["a", "b"]} if kind == "multilabel" else {"column": "a"}
        where = {"file": "y.csv"} | names
    description["target"] = {**where, "kind": kind}
    if kind != "multilabel":  # labels are 0 or 1: refused
        (notice,) = opened(save(description, folder)).notices
        assert notice == "target has 7 × -9999: if it stands for no value, say `no_data: -9999`"
    description["target"]["no_data"] = -9999
    with pytest.raises(UserError, match="7 of 60 samples without target, the first 'P00'"):
        opened(save(description, folder))
    catalogue = opened(save(description | {"incomplete": "drop"}, folder))
    assert len(catalogue) == 53 and set(np.unique(catalogue.y)) == {0, 1}
    assert catalogue.notices == ("7 of 60 samples without target, the first 'P00': left out",)


def test_a_view_of_some_samples_keeps_all_columns_together(mine):
    description, folder = mine
    path = save(description, folder)
    whole, part = opened(path), opened(path, samples=25)
    at = [whole.ids.tolist().index(name) for name in part.ids]
    assert 0 < len(part) <= 25
    assert part.y.tolist() == whole.y[at].tolist()
    assert part.groups.tolist() == whole.groups[at].tolist()
    np.testing.assert_array_equal(part.places, whole.places[at])
    np.testing.assert_array_equal(values(part, "S2"), values(whole, "S2")[at])


# Numbers as they are meant.


def test_whole_numbers_are_scaled_in_floating_point_and_fill_values_are_missing(mine):
    """5000 · 10 does not fit into the int16 that a file holds."""
    description, folder = mine
    stored = np.full((N, 4), 5000, np.int16)
    stored[0] = [-32768, -1, -9999, 0]
    with h5py.File(folder / "soil.nc", "w") as file:
        soil = file.create_dataset("soil", data=stored)
        soil.attrs["scale_factor"] = np.int16(10)
        soil.attrs["add_offset"] = np.int16(7)
        soil.attrs["_FillValue"] = np.int16(-32768)
    sensor = {"file": "soil.nc", "key": "soil", "kind": "vector", "no_data": -9999}
    description["modalities"]["soil"] = sensor
    catalogue = opened(save(description, folder))
    assert catalogue.read(1)["soil"].tolist() == [50_007] * 4
    assert catalogue.read(0)["soil"].tolist() == [np.inf, -3, np.inf, 7]
    scale, offset = catalogue.scaling["soil"]
    assert scale.tolist() == [10] * 4 and offset.tolist() == [7] * 4


def test_missing_values_are_nan_and_counted_on_the_screen(mine, tmp_path):
    description, folder = mine
    soil = np.load(folder / "soil.npy")
    soil[:3, 0], soil[2, 1], soil[7, 2] = np.nan, -999, np.inf
    np.save(folder / "soil.npy", soil)
    description["modalities"]["soil"]["no_data"] = [-999, -1]
    data = own.prepare(save(description, folder), tmp_path)
    assert np.isnan(data.x["soil"]).sum(axis=0).tolist() == [3, 1, 1, 0]
    (notice,) = data.notices
    assert "soil" in notice and "5 values of 4 of 60 samples" in notice


def test_a_folder_of_geotiffs_by_id_with_the_tags_of_the_files(mine):
    description, folder = mine
    (folder / "rgb").mkdir()
    rng = np.random.default_rng(1)
    images = rng.integers(1, 255, (N, 4, 5, 6)).astype(np.uint8)
    reflectance = rng.integers(1, 9000, (N, 2, 3, 3)).astype(np.int16)
    reflectance[0, 1, 2, 0] = 0
    for i in range(N):
        geotiff(folder / "rgb" / f"P{i:02d}_2023.tif", images[i])
        tags = {"nodata": 0, "scales": (1e-4, 2.0), "offsets": (0.0, -1.0)}
        geotiff(folder / "rgb" / f"P{i:02d}.tiff", reflectance[i], **tags)
    description["modalities"]["rgb"] = {"file": "rgb/{id}_2023.tif", "kind": "image"}
    description["modalities"]["swir"] = {"file": "rgb/{id}.tiff", "kind": "image"}
    catalogue = opened(save(description, folder))
    assert catalogue.dtypes["rgb"] == np.uint8 and catalogue.modalities["rgb"].shape == (5, 6, 4)
    np.testing.assert_array_equal(values(catalogue, "rgb"), np.moveaxis(images, 1, -1))
    expected = np.moveaxis(reflectance * np.array([1e-4, 2]).reshape(2, 1, 1), 1, -1)
    expected[..., 1] -= 1
    expected[0, 2, 0, 1] = np.inf
    np.testing.assert_allclose(values(catalogue, "swir"), expected)
    assert catalogue.scaling["swir"][0].tolist() == [1e-4, 2]


def test_bands_that_are_called_like_channels_are_these_and_masks_are_missing_values(mine):
    description, folder = mine
    images = np.random.default_rng(1).integers(1, 255, (N, 2, 5, 6)).astype(np.uint8)
    (folder / "rgb").mkdir()
    for i in range(N):
        path = folder / "rgb" / f"P{i:02d}.tif"
        geotiff(path, images[i])
        with rasterio.open(path, "r+") as file:
            file.descriptions = ("b8", "B4")
    sensor = {"file": "rgb/{id}.tif", "kind": "image", "channels": ["B4", "B8"]}
    description["modalities"]["rgb"] = sensor
    catalogue = opened(save(description, folder))
    swapped = np.moveaxis(images[:, ::-1], 1, -1)
    assert catalogue.dtypes["rgb"] == np.uint8
    np.testing.assert_array_equal(values(catalogue, "rgb"), swapped)
    # One file that is not as the first one is: all are numbers then, and what it hides is missing.
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.arange(30).reshape(5, 6) > 9)
    catalogue = opened(save(description, folder))
    assert catalogue.dtypes["rgb"] == np.float32
    expected = swapped.astype(np.float64)
    expected[-1].reshape(30, 2)[:10] = np.inf
    np.testing.assert_array_equal(values(catalogue, "rgb"), expected)


def test_files_of_other_types_are_read_as_numbers(mine):
    description, folder = mine
    soil = np.arange(N * 2).reshape(N, 2)
    np.save(folder / "soil_a.npy", soil[:30].astype(np.uint8))
    np.save(folder / "soil_b.npy", soil[30:] - 100.5)
    description["modalities"]["soil"] = {"file": ["soil_a.npy", "soil_b.npy"], "kind": "vector"}
    found = values(opened(save(description, folder)), "soil")
    np.testing.assert_array_equal(found, np.concatenate([soil[:30], soil[30:] - 100.5]))


# Tasks.


@pytest.mark.parametrize(
    ("column", "classes", "names", "y"),
    [
        ([0, 1, 1, 0], None, ("0", "1"), [0, 1, 1, 0]),
        ([2.0, 10.0, 2.0, 10.0], None, ("2", "10"), [0, 1, 0, 1]),
        (["rye", "oat", "oat", "rye"], None, ("oat", "rye"), [1, 0, 0, 1]),
        (["rye", "oat", "oat", "rye"], ["rye", "oat"], ("rye", "oat"), [0, 1, 1, 0]),
        ([0, 1, 1, 0], ["rye", "oat"], ("rye", "oat"), [0, 1, 1, 0]),
        ([20, 7, 7, 20], {20: "rye", 7: "oat"}, ("rye", "oat"), [0, 1, 1, 0]),
        (["True", "False", "False", "True"], {False: "a", True: "b"}, None, "quotes"),
        ([False, True, True, False], ["rye", "oat"], None, "unknown class 'False'"),
        ([0, 1, 2, 0], ["rye", "oat"], None, "unknown class '2'"),
        ([0, 1, 1, 0], [1, 2], None, "unknown class '0'"),
        (["rye", "oaT", "oat", "rye"], ["rye", "oat"], None, "'oaT': did you mean oat"),
        ([0, 0, 0, 0], None, None, "1 different value;"),
        ([0, 1, 2, 0], None, None, "3 classes .0, 1, 2.; binary tasks have 2"),
    ],
)
def test_classes_by_name_by_number_and_by_what_is_written(mine, column, classes, names, y):
    description, folder = mine
    pd.DataFrame({"crop": np.resize(np.array(column), N)}).to_csv(folder / "crop.csv", index=False)
    description["target"] = {"file": "crop.csv", "column": "crop", "kind": "binary"}
    if classes is not None:
        description["target"]["classes"] = classes
    path = save(description, folder)
    if names is None:
        with pytest.raises(UserError, match=y):
            opened(path)
    else:
        catalogue = opened(path)
        assert catalogue.task.class_names == names and catalogue.y[:4].tolist() == y


def test_several_labels_from_columns_and_from_an_array(mine):
    description, folder = mine
    labels = np.random.default_rng(2).integers(0, 2, (N, 3))
    pd.DataFrame(labels, columns=["oak", "pine", "fir"]).to_csv(folder / "t.csv", index=False)
    np.save(folder / "t.npy", labels.astype(bool))
    table = {"file": "t.csv", "columns": ["oak", "pine", "fir"], "kind": "multilabel"}
    array = {"file": "t.npy", "classes": ["oak", "pine", "fir"], "kind": "multilabel"}
    for description["target"] in (table, array):
        catalogue = opened(save(description, folder))
        assert catalogue.task.class_names == ("oak", "pine", "fir") and catalogue.task.outputs == 3
        np.testing.assert_array_equal(catalogue.y, labels)


def test_a_class_of_one_sample_and_one_of_none_are_told(mine):
    description, folder = mine
    crops = pd.DataFrame({"crop": ["rye"] * (N - 1) + ["oat"]})
    crops.to_csv(folder / "crop.csv", index=False)
    target = {"file": "crop.csv", "column": "crop", "kind": "multiclass"}
    description["target"] = target | {"classes": ["rye", "oat", "maize"]}
    assert opened(save(description, folder)).notices == (
        "no sample is of class maize",
        "a single sample is of class oat: it is trained on or tested, never both",
    )


def test_an_image_of_one_channel_needs_no_axis_for_it_where_that_is_named(mine):
    description, folder = mine
    np.save(folder / "height.npy", np.ones((N, 4, 5)))
    height = {"file": "height.npy", "kind": "image", "channels": ["height"]}
    description["modalities"]["height"] = height
    assert opened(save(description, folder)).read(3)["height"].shape == (4, 5, 1)


def test_classes_that_are_numbers_with_decimals_may_be_a_regression(mine):
    description, folder = mine
    pd.DataFrame({"y": np.arange(N) // 2 / 4}).to_csv(folder / "y.csv", index=False)
    description["target"] = {"file": "y.csv", "column": "y", "kind": "multiclass"}
    (told,) = opened(save(description, folder)).notices
    assert told == "its 30 classes are numbers like 7.25: is it `kind: regression`?"


def test_an_official_split_is_kept_and_may_be_called_otherwise(mine, tmp_path):
    description, folder = mine
    parts = np.resize(["Training", "validation", "test"], N)
    pd.DataFrame({"part": parts}).to_csv(folder / "split.csv", index=False)
    description["split"] = {"file": "split.csv", "column": "part"}
    data = own.prepare(save(description, folder), tmp_path)
    assert data.split[:3].tolist() == ["train", "val", "test"]
    (fold,) = folds(data, protocol.load("standard").values_for(data.name))
    assert fold.test.tolist() == list(range(2, N, 3))


# Published data, described.

LFMC = """
name: my_lfmc
file: {root}/lfmc/training_features.csv
ids: {{columns: ["", site, date]}}
groups: site
target: {{column: percent(t), kind: regression, unit: "%"}}
modalities:
  S1:
    kind: series
    columns: "{{channel}}({{step}})"
    steps: [t-3, t-2, t-1, t]
    channels: [vv, vh, vh_vv]
  S2:
    kind: series
    columns: "{{channel}}({{step}})"
    steps: [t-3, t-2, t-1, t]
    channels: [red, green, blue, swir, nir, ndvi, ndwi, nirv]
  static:
    kind: vector
    columns: "{{channel}}(t)"
    channels: [slope, elevation, canopy_height, silt, sand, clay]
    no_data: -999
"""


def test_the_table_of_lfmc_is_the_same_as_by_its_adapter(real_data, tmp_path):
    path = tmp_path / "lfmc.yaml"
    path.write_text(LFMC.format(root=real_data))
    for modalities in (("S1", "S2"), ("S2", "static")):
        mine = own.prepare(path, tmp_path, *modalities)
        theirs = prepare_shipped("lfmc", real_data / "lfmc", tmp_path, *modalities)
        for name in ("y", "ids", "groups"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
        for m in modalities:
            np.testing.assert_array_equal(mine.x[m], theirs.x[m])
            assert mine.modalities[m].channels == theirs.modalities[m].channels
    assert mine.task.unit == theirs.task.unit and mine.group_kind == theirs.group_kind


DEA = """
file: "{root}/dea_cropmask/{{region}}_training_data.txt.gz"
groups: region
target: {{column: Class, kind: binary, classes: {{0: other, 1: crop}}}}
modalities:
  optical:
    kind: series
    columns: "{{channel}}_{{step}}"
    steps: [S1, S2]
    channels: [blue, green, red, nir, swir_1, swir_2, bcdev, edev, sdev, NDVI, LAI, MNDWI]
  climate: {{kind: vector, channels: [rain_S1, rain_S2], units: mm}}
  terrain: {{kind: vector, channels: [slope], units: degrees}}
"""


def test_the_crop_mask_of_africa_leaves_one_region_out(real_data, tmp_path):
    path = tmp_path / "dea.yaml"
    path.write_text(DEA.format(root=real_data))
    (adapter,) = datasets.choose([str(path)])
    catalogue = adapter.open(adapter.root, adapter.modalities, View())
    assert len(catalogue) == 30_065 and adapter.group_kind == "region"
    names, sizes = np.unique(catalogue.groups, return_counts=True)
    assert dict(zip(names.tolist(), sizes.tolist(), strict=True)) == {
        "central": 3509, "eastern": 4444, "indian_ocean": 1777, "northern": 3447, "sahel": 6153,
        "south_eastern": 4177, "southern": 4445, "western": 2113,
    }  # fmt: skip
    with gzip.open(real_data / "dea_cropmask" / "central_training_data.txt.gz", "rt") as file:
        first = dict(zip(file.readline().split()[1:], file.readline().split(), strict=True))
    sample = catalogue.read(0)
    assert sample["optical"][1, 2] == float(first["red_S2"])
    assert sample["climate"].tolist() == [float(first["rain_S1"]), float(first["rain_S2"])]
    assert sample["terrain"].tolist() == [float(first["slope"])]
    assert catalogue.y[0] == float(first["Class"])
    of = {name: getattr(catalogue, name) for name in ("modalities", "task", "y", "ids", "groups")}
    data = EODataset("dea", x={}, split=None, source="real", fingerprint="", **of)
    found = folds(data, protocol.load("standard").values_for("dea"))
    assert sorted({name for fold in found for name in data.groups[fold.test]}) == names.tolist()
    assert len(found) == 8 and all(len(set(data.groups[f.test])) == 1 for f in found)


def test_the_files_of_the_authors_of_mdico(tmp_path):
    """Views by name over `identifier`; the three of TreeSatAI-TS are the parts of its split."""
    rng = np.random.default_rng(3)
    arrays = {}
    for part, n in (("train", 6), ("val", 3), ("test", 4)):
        s2 = rng.normal(size=(n, 5, 6, 6, 10)).astype(np.float32)
        s2[0, :2] = np.nan  # series begin later than others
        mask = rng.integers(0, 100, (n, 5, 6, 6, 2)).astype(np.uint8)
        aerial = rng.integers(0, 255, (n, 8, 8, 4)).astype(np.uint8)
        labels = rng.integers(0, 2, (n, 3)).astype(np.uint8)
        names = [f"{part}_{i}" for i in range(n)]
        views = {"aerial": aerial, "S2": s2, "S2mask": mask}
        views_file(tmp_path / f"treesat_{part}.nc", names, labels, **views)
        arrays[part] = s2, mask, aerial, labels
    (tmp_path / "treesat.yaml").write_text(
        'file: "treesat_{part}.nc"\n'
        "ids: identifier\n"
        "split: part\n"
        "target: {key: target, kind: multilabel, classes: [Abies, Acer, Alnus]}\n"
        "modalities:\n"
        "  S2: {key: [S2, S2mask], kind: series}\n"
        "  aerial: {key: aerial, kind: image, channels: [R, G, B, NIR]}\n"
    )
    catalogue = opened(tmp_path / "treesat.yaml")
    assert catalogue.ids.tolist()[:5] == ["test_0", "test_1", "test_2", "test_3", "train_0"]
    assert catalogue.split.tolist() == ["test"] * 4 + ["train"] * 6 + ["val"] * 3
    order = ("test", "train", "val")
    s2 = np.concatenate([np.concatenate(arrays[p][:2], axis=-1) for p in order])
    found = values(catalogue, "S2")
    np.testing.assert_array_equal(np.where(np.isinf(found), np.nan, found), s2)
    np.testing.assert_array_equal(
        values(catalogue, "aerial"), np.concatenate([arrays[p][2] for p in order])
    )
    np.testing.assert_array_equal(catalogue.y, np.concatenate([arrays[p][3] for p in order]))


def test_numbered_identifiers_and_places_of_the_authors_files(tmp_path):
    rng = np.random.default_rng(4)
    places = np.stack([rng.uniform(-120, -100, 20), rng.uniform(30, 45, 20)], axis=1)
    views = {
        "S1": rng.normal(size=(20, 4, 2)).astype(np.float32),
        "S1Ind": rng.normal(size=(20, 4)).astype(np.float32),
        "soil": rng.integers(0, 100, (20, 3)).astype(np.int16),
        "coords": places.astype(np.float32),
    }
    moisture = rng.uniform(20, 200, (20, 1)).astype(np.float32)
    views_file(tmp_path / "lfmc_train.nc", list(range(100, 120)), moisture, **views)
    (tmp_path / "fuel.yaml").write_text(
        "file: lfmc_train.nc\n"
        "ids: identifier\n"
        "groups:\n"
        "  latitude: {key: coords, column: 1}\n"
        "  longitude: {key: coords, column: 0}\n"
        "  block: 2\n"
        'target: {key: target, kind: regression, unit: "%"}\n'
        "modalities:\n"
        "  S1: {key: [S1, S1Ind], kind: series, channels: [vv, vh, vh_vv]}\n"
        "  soil: {key: soil, kind: vector, channels: [silt, sand, clay]}\n"
    )
    catalogue = opened(tmp_path / "fuel.yaml")
    assert catalogue.ids[:2].tolist() == ["100", "101"]
    np.testing.assert_array_equal(catalogue.y, moisture[:, 0].astype(np.float64))
    np.testing.assert_allclose(catalogue.places, places[:, ::-1], rtol=1e-6)
    joined = np.concatenate([views["S1"], views["S1Ind"][..., None]], axis=-1)
    np.testing.assert_array_equal(values(catalogue, "S1"), joined)


def test_the_real_split_places_and_stacked_sensors_of_presto(real_data, tmp_path):
    """One array holds all sensors; columns tell them apart by number."""
    (tmp_path / "presto.yaml").write_text(
        f"""
file: {real_data}/fuel_moisture/s1_s2_era5_srtm.npy
target: {{file: {real_data}/fuel_moisture/target.npy, kind: regression, unit: "%"}}
groups: {{file: {real_data}/fuel_moisture/site.npy}}
modalities:
  S1: {{kind: series, columns: [0, 1], channels: [VV, VH], units: dB}}
  S2: {{kind: series, columns: [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]}}
"""
    )
    data = own.prepare(tmp_path / "presto.yaml", tmp_path)
    whole = np.load(real_data / "fuel_moisture" / "s1_s2_era5_srtm.npy").astype(np.float32)
    np.testing.assert_array_equal(data.x["S2"], whole[..., 2:13])
    assert len(data) == 2313 and len(np.unique(data.groups)) > 50
