"""The readers of CropHarvest, on trees in the publisher's layout."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from benchmark.errors import UserError
from tests.layouts import copied, crop_array, crop_label, crop_tree, opened, prepare

BANDS = (
    *("VV", "VH", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12"),
    *("temperature_2m", "total_precipitation", "elevation", "slope", "NDVI"),
)


def labels(n: int = 12) -> list[dict]:
    return [crop_label(i) for i in range(n)]


def test_every_channel_comes_from_its_place_in_the_published_array(tmp_path):
    native = crop_tree(tmp_path / "native", labels())
    data = prepare("cropharvest_binary", native, tmp_path / "cache", "S1", "S2", "weather", "dem")
    shapes = {m: x.shape for m, x in data.x.items()}
    assert shapes == {"S1": (12, 12, 2), "S2": (12, 12, 12), "weather": (12, 12, 2), "dem": (12, 2)}
    for i in range(12):
        whole = crop_array(i)
        for m, spec in data.modalities.items():
            columns = [BANDS.index(channel) for channel in spec.channels]
            expected = whole[:, columns] if spec.kind == "series" else whole[0, columns]
            assert (data.x[m][i] == expected).all()
    assert data.modalities["S2"].channels[-1] == "NDVI"


def test_crop_or_not_is_the_published_label(tmp_path):
    native = crop_tree(tmp_path / "native", labels())
    data = prepare("cropharvest_binary", native, tmp_path / "cache")
    assert data.task.kind == "binary" and data.task.class_names == ("non-crop", "crop")
    assert data.y.tolist() == [0, 1] * 6
    assert data.ids.tolist() == [f"{i}_togo" for i in range(12)]


def test_kinds_of_crop_are_numbered_by_first_appearance_among_rows_that_have_one(tmp_path):
    native = crop_tree(tmp_path / "native", labels())
    data = prepare("cropharvest_multi", native, tmp_path / "cache")
    assert data.task.class_names == ("maize", "rice") and data.task.outputs == 2
    assert data.ids.tolist() == [f"{i}_togo" for i in range(12) if i % 3 != 1]
    assert data.y.tolist() == [0, 1] * 4


def test_rows_for_testing_are_left_out_before_classes_are_numbered(tmp_path):
    rows = labels()
    for i in (0, 3):
        rows[i]["properties"]["is_test"] = True
    rows[3]["properties"]["classification_label"] = "only in the test"
    native = crop_tree(tmp_path / "native", rows)
    assert "0_togo" not in opened("cropharvest_binary", native).ids
    assert opened("cropharvest_multi", native).task.class_names == ("rice", "maize")


def test_rows_without_features_are_left_out(tmp_path):
    native = crop_tree(tmp_path / "native", labels())
    (native / "features" / "arrays" / "5_togo.h5").unlink()
    assert "5_togo" not in opened("cropharvest_binary", native).ids


def test_groups_are_blocks_of_one_degree(tmp_path):
    rows = [
        crop_label(i, lat=lat, lon=lon)
        for i, (lat, lon) in enumerate([(10.1, 3.9), (10.9, 3.1), (11.0, 3.1), (-0.2, -0.2)])
    ]
    native = crop_tree(tmp_path / "native", rows)
    assert opened("cropharvest_binary", native).groups.tolist() == ["10,3", "10,3", "11,3", "-1,-1"]


def test_a_sample_of_it_keeps_blocks_whole(tmp_path):
    native = copied("cropharvest_binary", 600, tmp_path)
    whole, some = (opened("cropharvest_binary", native, samples=n) for n in (None, 200))
    assert 120 <= len(some) <= 200
    for block in set(some.groups):
        assert (some.groups == block).sum() == (whole.groups == block).sum()


def spoil(**changes):
    def edit(rows):
        for key, value in changes.items():
            rows[4]["properties"][key] = value

    return edit


def drop(key):
    return lambda rows: rows[4]["properties"].pop(key)


BAD_LABELS = {
    "lacks a property": (drop("dataset"), "feature 4 lacks the property 'dataset'"),
    "lacks the target": (drop("is_crop"), "feature 4 lacks the property 'is_crop'"),
    "a word for a number": (spoil(lat="north"), "feature 4 has no degrees as 'lat' and 'lon'"),
    "a latitude that is NaN": (spoil(lat=float("nan")), "feature 4 has no degrees"),
    "a latitude beyond numbers": (spoil(lat=10**400), "feature 4 has no degrees"),
    "a foreign class": (spoil(is_crop=7), "'is_crop' must be 0 or 1, not 7"),
    "a list for a class": (spoil(is_crop=[1]), "'is_crop' must be 0 or 1"),
    "a sample twice": (lambda rows: rows.append(rows[4]), "sample id '4_togo' stands twice"),
    "nothing but tests": (
        lambda rows: [row["properties"].update(is_test=True) for row in rows],
        "no label has both",
    ),
    "no properties": (lambda rows: rows[4].pop("properties"), "not a whole GeoJSON"),
}


@pytest.mark.parametrize("what", BAD_LABELS)
def test_bad_labels_are_one_clear_sentence(what, tmp_path):
    edit, message = BAD_LABELS[what]
    native = crop_tree(tmp_path / "native", labels())
    rows = labels()
    edit(rows)
    (native / "labels.geojson").write_text(json.dumps({"features": rows}))
    with pytest.raises(UserError, match=message):
        prepare("cropharvest_binary", native, tmp_path / "cache")


def test_one_kind_of_crop_is_too_few(tmp_path):
    rows = [crop_label(i, classification_label="maize") for i in range(6)]
    native = crop_tree(tmp_path / "native", rows)
    with pytest.raises(UserError, match="fewer than two different"):
        prepare("cropharvest_multi", native, tmp_path / "cache")


def foreign_array(array):
    def write(path):
        with h5py.File(path, "w") as file:
            file["array"] = array

    return write


def other_name(path):
    with h5py.File(path, "w") as file:
        file["bands"] = np.zeros((12, 18))


def group_for_an_array(path):
    with h5py.File(path, "w") as file:
        file.create_group("array")


BAD_FILES = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:900]), "can be read"),
    "empty": (lambda path: path.write_bytes(b""), "can be read"),
    "text": (lambda path: path.write_text("hello"), "can be read"),
    "another dataset": (other_name, "no dataset 'array'"),
    "a group": (group_for_an_array, "no dataset 'array'"),
    "another shape": (foreign_array(np.zeros((12, 17))), r"is \(12, 17\), expected"),
    "text inside": (foreign_array(np.full((12, 18), b"x")), "expected numbers"),
    "infinite": (foreign_array(np.full((12, 18), np.inf)), "sample '3_togo' has an infinite value"),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_foreign_features_file_is_named(what, tmp_path):
    write, message = BAD_FILES[what]
    native = crop_tree(tmp_path / "native", labels())
    write(native / "features" / "arrays" / "3_togo.h5")
    with pytest.raises(UserError, match=message) as error:
        prepare("cropharvest_binary", native, tmp_path / "cache")
    assert "3_togo" in str(error.value)
