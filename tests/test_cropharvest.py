"""The readers of CropHarvest, on trees in the publisher's layout."""

from __future__ import annotations

import fcntl
import json

import h5py
import numpy as np
import pytest

from benchmark.commands.main import main
from benchmark.errors import UserError
from tests.layouts import copied, crop_array, crop_label, crop_tree, generated, opened, prepare

BANDS = (
    *("VV", "VH", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12"),
    *("temperature_2m", "total_precipitation", "elevation", "slope", "(B7-B3)/(B7+B3)"),
)


def labels(n: int = 12) -> list[dict]:
    return [crop_label(i) for i in range(n)]


def test_every_channel_comes_from_its_place_in_the_published_array(tmp_path):
    native = crop_tree(tmp_path / "native", labels())
    data = prepare("cropharvest_binary", native, tmp_path / "cache", "S1", "S2", "weather", "dem")
    shapes = {m: x.shape for m, x in data.x.items()}
    assert shapes == {"S1": (12, 12, 2), "S2": (12, 12, 12), "weather": (12, 12, 2), "dem": (12, 2)}
    for i, name in enumerate(data.ids):
        whole = crop_array(int(name.removesuffix("_togo")))
        for m, spec in data.modalities.items():
            columns = [BANDS.index(channel) for channel in spec.channels]
            expected = whole[:, columns] if spec.kind == "series" else whole[0, columns]
            assert (data.x[m][i] == expected).all()
    assert data.modalities["S2"].channels[-1] == "(B7-B3)/(B7+B3)"


@pytest.mark.parametrize(
    ("end", "months"),
    [
        ("2021-02-01T00:00:00", [*range(2, 13), 1]),
        ("2020-03-28", [4, *range(5, 13), 1, 2, 3]),
        (None, [0] * 12),
        ("soon", [0] * 12),
    ],
)
def test_months_are_those_before_the_end_of_the_export(end, months, tmp_path):
    rows = [crop_label(i, export_end_date=end) for i in range(12)]
    native = crop_tree(tmp_path / "native", rows)
    data = prepare("cropharvest_binary", native, tmp_path / "cache", "S1", "dem")
    assert data.months.keys() == {"S1"} and (data.months["S1"] == months).all()
    assert data.places[0].tolist() == [10.5 + int(data.ids[0].split("_")[0]), -3.25]


def test_crop_or_not_is_the_published_label(tmp_path):
    native = crop_tree(tmp_path / "native", labels())
    data = prepare("cropharvest_binary", native, tmp_path / "cache")
    assert data.task.kind == "binary" and data.task.class_names == ("non-crop", "crop")
    # In the order of the publisher's package: crops, then the rest.
    assert data.y.tolist() == [1] * 6 + [0] * 6
    assert data.ids.tolist() == [f"{i}_togo" for i in (*range(1, 12, 2), *range(0, 12, 2))]


def test_kinds_of_crop_are_numbered_by_first_appearance_among_rows_that_have_one(tmp_path):
    native = crop_tree(tmp_path / "native", labels())
    data = prepare("cropharvest_multi", native, tmp_path / "cache")
    assert data.task.class_names == ("maize", "rice") and data.task.outputs == 2
    assert data.ids.tolist() == [f"{i}_togo" for i in (3, 5, 9, 11, 0, 2, 6, 8)]
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


MISSING = (float("nan"), "", " ", "None", "null", "nan", "NaN", None)


def with_rows(tmp_path, rows):
    """A tree in which only the labels have changed."""
    native = crop_tree(tmp_path / "native", labels(len(rows)))
    (native / "labels.geojson").write_text(json.dumps({"features": rows}))
    return native


def test_what_is_missing_is_no_class_however_it_is_written(tmp_path):
    rows = [crop_label(i, classification_label=("maize", "rice")[i % 2]) for i in range(12)]
    for i, value in enumerate(MISSING):
        rows[i]["properties"] |= {"classification_label": value, "is_crop": value}
    native = with_rows(tmp_path, rows)
    multi, binary = (opened(f"cropharvest_{kind}", native) for kind in ("multi", "binary"))
    assert multi.task.class_names == ("rice", "maize") and multi.y.tolist() == [0, 0, 1, 1]
    assert binary.y.tolist() == [1, 1, 0, 0]
    assert multi.notices == ("8 of 12 labels have no 'classification_label': left out",)
    assert binary.notices == ("8 of 12 labels have no 'is_crop': left out",)


def test_numbers_and_truths_may_be_written_in_any_way(tmp_path):
    """As a table with holes, or one that was saved as text, has them."""
    plain = with_rows(tmp_path / "plain", labels())
    rows = labels()
    for i, row in enumerate(rows):
        properties = row["properties"]
        properties["index"] = (float(i), str(i), f"{i}.0")[i % 3]
        properties["is_crop"] = (float(i % 2), str(i % 2), bool(i % 2))[i % 3]
        properties["is_test"] = ("False", 0, "0", 0.0)[i % 4]
        properties["lat"] = str(properties["lat"])
    odd = with_rows(tmp_path / "odd", rows)
    for name in ("cropharvest_binary", "cropharvest_multi"):
        a, b = (prepare(name, native, tmp_path / "cache") for native in (plain, odd))
        assert a.fingerprint == b.fingerprint and a.notices == b.notices


@pytest.mark.parametrize("value", [True, "True", "true", 1, 1.0, "1"])
def test_a_row_for_testing_is_left_out_however_it_is_written(value, tmp_path):
    rows = labels()
    rows[5]["properties"]["is_test"] = value
    catalogue = opened("cropharvest_binary", with_rows(tmp_path, rows))
    assert "5_togo" not in catalogue.ids and len(catalogue) == 11
    assert catalogue.notices == ("1 of 12 labels are for testing: left out",)


@pytest.mark.parametrize("value", MISSING)
def test_a_row_that_may_be_for_testing_is_left_out_and_counted(value, tmp_path):
    rows = labels()
    rows[5]["properties"]["is_test"] = value
    catalogue = opened("cropharvest_binary", with_rows(tmp_path, rows))
    assert "5_togo" not in catalogue.ids
    assert catalogue.notices == (
        "1 of 12 labels do not say whether they are for testing: left out",
    )


def test_a_half_unpacked_archive_is_counted_on_the_screen_every_time(tmp_path, capsys):
    native = crop_tree(tmp_path / "root" / "cropharvest", labels(60))
    for i in range(0, 60, 3):
        (native / "features" / "arrays" / f"{i}_togo.h5").unlink()
    where = ["--data-root", str(tmp_path / "root"), "--cache", str(tmp_path / "cache")]
    for _ in range(2):  # the second time from what is prepared
        assert main(["data", "prepare", "--datasets", "cropharvest_binary", *where]) == 0
        said = capsys.readouterr().out
        assert "cropharvest_binary: REAL data, 40 samples" in said
        assert "cropharvest_binary: 20 of 60 labels have no features file: left out" in said


def test_labels_may_have_a_byte_order_mark(tmp_path):
    native = with_rows(tmp_path, labels())
    text = (native / "labels.geojson").read_text()
    (native / "labels.geojson").write_text(text, encoding="utf-8-sig")
    assert len(opened("cropharvest_binary", native)) == 12


def test_a_label_that_stands_twice_is_found_also_where_a_view_leaves_it_out(tmp_path):
    native = with_rows(tmp_path, [*labels(12), *labels(12)[-1:]])
    for samples in (None, 2):
        with pytest.raises(UserError, match="sample id '11_togo' stands twice"):
            opened("cropharvest_binary", native, samples=samples)


def test_real_labels_are_read_and_what_lacks_is_counted(real_data, tmp_path):
    """1,827 points of Nigeria in CropHarvest's format; of 100 there are features."""
    (tmp_path / "features" / "arrays").mkdir(parents=True)
    published = (real_data / "cropharvest_pieces" / "nigeria_labels.geojson").read_text()
    document = json.loads(published)
    for feature in document["features"]:
        feature["properties"]["classification_label"] = feature["properties"]["label"]
    (tmp_path / "labels.geojson").write_text(json.dumps(document))
    usable = [f["properties"] for f in document["features"] if not f["properties"]["is_test"]]
    for properties in usable[:100]:
        path = tmp_path / "features" / "arrays" / f"{properties['index']}_nigeria.h5"
        with h5py.File(path, "w") as file:
            file["array"] = crop_array(1)
    catalogue = opened("cropharvest_binary", tmp_path)
    assert catalogue.y.tolist() == sorted((p["is_crop"] for p in usable[:100]), reverse=True)
    assert set(catalogue.notices) == {
        "456 of 1,827 labels are for testing: left out",
        "1,271 of 1,827 labels have no features file: left out",
    }


def test_the_last_channel_is_what_its_name_says_on_real_and_on_generated_data(real_data, tmp_path):
    """Real: the fuel moisture arrays of the same publisher, in CropHarvest's order of channels."""
    real = np.load(real_data / "fuel_moisture" / "s1_s2_era5_srtm.npy")
    native = generated("cropharvest_binary", 60)
    (path, *_) = sorted((native / "features" / "arrays").iterdir())
    with h5py.File(path) as file:
        made = file["array"][()]
    for array in (real, made):
        band = dict(zip(BANDS, np.moveaxis(array, -1, 0), strict=True))
        index = (band["B7"] - band["B3"]) / (band["B7"] + band["B3"])
        ndvi = (band["B8"] - band["B4"]) / (band["B8"] + band["B4"])
        assert np.allclose(array[..., -1], index)
        assert np.median(np.abs(array[..., -1] - ndvi)) > 0.02


def test_groups_are_blocks_of_one_degree(tmp_path):
    rows = [
        crop_label(i, lat=lat, lon=lon)
        for i, (lat, lon) in enumerate([(10.1, 3.9), (10.9, 3.1), (11.0, 3.1), (-0.2, -0.2)])
    ]
    catalogue = opened("cropharvest_binary", crop_tree(tmp_path / "native", rows))
    assert catalogue.ids.tolist() == ["1_togo", "3_togo", "0_togo", "2_togo"]
    assert catalogue.groups.tolist() == ["10,3", "-1,-1", "10,3", "11,3"]


def test_a_sample_of_it_is_of_as_many_blocks_as_there_are(tmp_path):
    native = copied("cropharvest_binary", 600, tmp_path)
    whole, some = (opened("cropharvest_binary", native, samples=n) for n in (None, 200))
    assert len(some) == 200
    assert len(set(some.groups)) == min(200, len(set(whole.groups)))


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
    "a word for a number": (spoil(lat="north"), "feature 4: 'lat': 'north' is not a number"),
    "a comma for a point": (spoil(lat="10,5"), "'10,5' is not a number .decimals are written"),
    "a latitude that is NaN": (spoil(lat=float("nan")), "'lat' is missing; give it, or remove"),
    "a latitude that is no text": (spoil(lat=""), "feature 4: 'lat' is missing"),
    "a latitude beyond numbers": (spoil(lat=10**400), "feature 4: 'lat': 10+ is not a number"),
    "a latitude beyond the pole": (spoil(lat=90.5), "'lat' is 90.5, beyond 90 degrees"),
    "a foreign class": (spoil(is_crop=7), "feature 4: 'is_crop': 7 is neither true nor false"),
    "a list for a class": (spoil(is_crop=[1]), "'is_crop': .1. is neither true nor false"),
    "a word for a test": (spoil(is_test="perhaps"), "'is_test': 'perhaps' is neither true"),
    "a broken index": (spoil(index=4.5), "'index': 4.5 is not a whole number"),
    "no index": (spoil(index=None), "'index' is missing"),
    "no dataset": (spoil(dataset="null"), "'dataset' is missing"),
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
}


def test_an_infinite_value_is_missing_and_counted(tmp_path):
    native = crop_tree(tmp_path / "native", labels())
    foreign_array(np.where(np.eye(12, 18), np.inf, crop_array(3)))(
        native / "features" / "arrays" / "3_togo.h5"
    )
    data = prepare("cropharvest_binary", native, tmp_path / "cache")
    assert [np.isnan(x).sum() for x in data.x.values()] == [2, 10]
    said = "S1 has no data or an infinite number in 2 values of 1 of 12 samples: taken as missing"
    assert said in data.notices


@pytest.mark.parametrize("locked", [False, True])
def test_reading_needs_no_lock(locked, tmp_path):
    """A file under an exclusive lock stands for a disk that has none to give."""
    native = crop_tree(tmp_path / "native", labels())
    with (native / "features" / "arrays" / "3_togo.h5").open("rb") as file:
        if locked:
            fcntl.flock(file, fcntl.LOCK_EX)
        catalogue = opened("cropharvest_binary", native)
        third = catalogue.ids.tolist().index("3_togo")
        assert catalogue.read(third)["S1"][0, 0] == crop_array(3)[0, 0]


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_foreign_features_file_is_named(what, tmp_path):
    write, message = BAD_FILES[what]
    native = crop_tree(tmp_path / "native", labels())
    write(native / "features" / "arrays" / "3_togo.h5")
    with pytest.raises(UserError, match=message) as error:
        prepare("cropharvest_binary", native, tmp_path / "cache")
    assert "3_togo" in str(error.value)
