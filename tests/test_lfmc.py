"""The reader of live fuel moisture content, on the published table and on changed copies of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmark import records
from benchmark.errors import UserError
from tests.layouts import copied, generated, opened, prepare
from tests.shipped import shipped

FILE = "training_features.csv"


def test_the_published_table_is_read_as_published(real_data, tmp_path):
    data = prepare("lfmc", real_data / "lfmc", tmp_path)
    assert len(data) == 2578 and len(set(data.ids)) == 2578
    assert len(set(data.groups)) == 150
    assert data.y.mean() == pytest.approx(103.98679, abs=5e-6)
    assert data.y.std() == pytest.approx(39.562312, abs=5e-7)
    assert data.x["S1"].shape == (2578, 4, 3) and data.x["S2"].shape == (2578, 4, 8)
    assert data.task.kind == "regression" and data.task.unit == "%"
    dates = sorted(name.split()[-1] for name in data.ids)
    assert (dates[0], dates[-1]) == ("2015-06-30", "2019-01-31")
    assert all(not np.isnan(x).any() for x in data.x.values())


def test_series_run_from_the_oldest_step_to_the_present_in_the_declared_channels(real_data):
    table = pd.read_csv(real_data / "lfmc" / FILE, index_col=0)
    catalogue = opened("lfmc", real_data / "lfmc")
    assert catalogue.modalities["S1"].channels == ("vv", "vh", "vh_vv")
    bands = ("red", "green", "blue", "swir", "nir", "ndvi", "ndwi", "nirv")
    assert catalogue.modalities["S2"].channels == bands
    row = 1234
    for m, spec in catalogue.modalities.items():
        for t, step in enumerate(("t-3", "t-2", "t-1", "t")):
            published = [table[f"{channel}({step})"].iloc[row] for channel in spec.channels]
            assert catalogue.read(row)[m][t] == pytest.approx(published, rel=1e-6)


def test_missing_soils_are_nan_and_land_cover_is_one_of_its_classes(real_data, tmp_path):
    data = prepare("lfmc", real_data / "lfmc", tmp_path, "static", "land_cover")
    channels = data.modalities["static"].channels
    assert channels == ("slope", "elevation", "canopy_height", "silt", "sand", "clay")
    missing = np.isnan(data.x["static"]).sum(axis=0)
    assert missing.tolist() == [0, 0, 0, 49, 49, 49]
    assert np.nanmin(data.x["static"]) >= 0
    assert (data.x["land_cover"].sum(axis=1) == 1).all()


def test_of_a_repeated_row_number_the_last_row_counts(tmp_path):
    native = copied("lfmc", 200, tmp_path)
    table = pd.read_csv(native / FILE, index_col=0)
    repeated = table.index.duplicated(keep="last")
    assert repeated.any() and len(table) == 200 + repeated.sum()
    data = prepare("lfmc", native, tmp_path / "cache")
    assert len(data) == 200
    last = table[~repeated]["percent(t)"]
    assert data.y.tolist() == last.tolist()


@pytest.mark.parametrize("coordinates", [True, False])
def test_coordinates_are_optional_and_move_nothing(coordinates, tmp_path):
    native = copied("lfmc", 200, tmp_path)
    plain = prepare("lfmc", native, tmp_path / "cache").fingerprint
    table = pd.read_csv(native / FILE, index_col=0)
    if coordinates:
        table = table.copy().assign(latitude=37.5, longitude=-119.0)
    table.to_csv(native / FILE)
    assert prepare("lfmc", native, tmp_path / "cache").fingerprint == plain


def test_the_arrays_of_the_published_table_are_those_of_the_shipped_records(real_data, tmp_path):
    found = [r.spec for r in records.read_all(shipped())[0] if r.spec.dataset == "lfmc"]
    data = prepare("lfmc", real_data / "lfmc", tmp_path)
    of_pair = {spec.fingerprint for spec in found if spec.modalities == ("S1", "S2")}
    assert of_pair == {data.fingerprint} and data.notices == ()


def edited(tmp_path, *edits):
    """The generated table, its late rows changed in a text of its own, prepared."""
    native = copied("lfmc", 200, tmp_path)
    table = pd.read_csv(native / FILE, index_col=0)
    for edit in edits:
        table = edit(table)
    table.to_csv(native / FILE)
    return native


def test_a_site_may_be_called_na(tmp_path):
    native = edited(tmp_path, change(site="NA"))
    data = prepare("lfmc", native, tmp_path / "cache")
    assert (data.groups == "NA").sum() == 1


def test_one_rule_says_which_numbers_are_missing(tmp_path):
    missing = ("NaN", "", "None", "null", "NA", "n/a", " nan ", "-999")
    plain = prepare("lfmc", edited(tmp_path / "plain"), tmp_path / "cache")
    for i, text in enumerate(missing):
        native = edited(tmp_path / str(i), change(**{"red(t)": text}))
        x = prepare("lfmc", native, tmp_path / "cache").x["S2"]
        assert np.isnan(x).sum() == 1 and np.isnan(x[-7, -1, 0]), text
        rest = ~np.isnan(x)
        assert (x[rest] == plain.x["S2"][rest]).all(), "the others stay what they were"


def test_an_infinite_input_is_missing_and_counted(tmp_path):
    native = edited(tmp_path, change(**{"red(t)": np.inf, "nir(t)": -np.inf}))
    for _ in range(2):  # also when it is opened again
        data = prepare("lfmc", native, tmp_path / "cache")
        assert (
            "S2 has no data or an infinite number in 2 values of 1 of 200 samples"
            in (data.notices[-1])
        )
    assert np.isnan(data.x["S2"]).sum() == 2


def test_stale_rows_are_counted(tmp_path):
    data = prepare("lfmc", generated("lfmc", 200), tmp_path)
    assert data.notices == ("30 of 230 rows have the number of a later one: left out",)


def test_a_byte_order_mark_and_row_numbers_with_a_point_change_nothing(tmp_path):
    plain = prepare("lfmc", edited(tmp_path / "plain"), tmp_path / "cache").fingerprint
    native = edited(tmp_path / "odd", lambda t: t.set_axis(t.index.astype(float)))
    text = (native / FILE).read_text()
    assert ".0," in text
    (native / FILE).write_text(text, encoding="utf-8-sig")
    assert prepare("lfmc", native, tmp_path / "cache").fingerprint == plain


def test_a_missing_land_cover_is_missing_in_every_class(tmp_path):
    native = edited(tmp_path, change(**{"forest_cover(t)": ""}))
    data = prepare("lfmc", native, tmp_path / "cache", "S1", "land_cover")
    assert np.isnan(data.x["land_cover"]).all(axis=1).sum() == 1
    assert np.isnan(data.x["land_cover"]).sum() == data.x["land_cover"].shape[1]


def change(**cells):
    """An edit of one late row: the first ones are stale."""

    def changed(table):
        for column, value in cells.items():
            table[column] = table[column].astype(object)
            table.iloc[-7, table.columns.get_loc(column)] = value
        return table

    return changed


BAD_TABLES = {
    "lacks a series column": (lambda t: t.drop(columns="vh(t-2)"), r"lacks the column.*vh\(t-2\)"),
    "lacks the target": (lambda t: t.drop(columns="percent(t)"), r"lacks the column.*percent\(t\)"),
    "lacks the sites": (lambda t: t.drop(columns="site"), "lacks the column.*site"),
    "an empty target": (change(**{"percent(t)": np.nan}), "1 of .* targets are missing or not"),
    "an infinite target": (change(**{"percent(t)": np.inf}), "missing or not finite"),
    "a comma for a point": (
        change(**{"red(t)": "12,5"}),
        r"red\(t\)': '12,5' is not a number \(decimals are written with a point\)",
    ),
    "a truth for a number": (lambda t: t.assign(**{"red(t)": True}), "True is not a number"),
    "a target without data": (change(**{"percent(t)": -999}), "1 of [0-9,]+ targets are missing"),
    "a word for no site": (change(site="null"), "column site: empty"),
    "a word for a number": (change(**{"red(t)": "n/k"}), r"red\(t\)': 'n/k' is not a number"),
    "no site": (change(site=np.nan), "column site: empty"),
    "no values of a channel": (lambda t: t.assign(**{"vv(t)": np.nan, "vv(t-1)": np.nan,
        "vv(t-2)": np.nan, "vv(t-3)": np.nan}), "no value at all in channel vv; leave"),
    "no rows": (lambda t: t.iloc[:0], "has no rows under a header"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_TABLES)
def test_a_bad_table_is_one_clear_sentence(what, tmp_path):
    edit, message = BAD_TABLES[what]
    native = copied("lfmc", 200, tmp_path)
    edit(pd.read_csv(native / FILE, index_col=0)).to_csv(native / FILE)
    with pytest.raises(UserError, match=message):
        prepare("lfmc", native, tmp_path / "cache")


BAD_FILES = {
    "empty": (b"", "has no rows under a header"),
    "binary": (b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 9, "training_features.csv"),
    "one line": (b"a,b,c\n", "has no rows under a header"),
    "ragged": (b"a,b\n1,2\n1,2,3,4\n", "row 3 has 4 cells and the header 2"),
    "another table": (b"a,b\n1,2\n", r"lacks the column\(s\) date"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "training_features.csv: not text in UTF-8"),
    "an open quote": (b'a,b\n1,"2\n', "cannot be read as a table"),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_foreign_file_is_one_clear_sentence(what, tmp_path):
    content, message = BAD_FILES[what]
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UserError, match=message):
        prepare("lfmc", tmp_path, tmp_path / "cache")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_table_is_noticed_wherever_it_ends(share, tmp_path):
    whole = (generated("lfmc", 200) / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match=FILE):
        prepare("lfmc", tmp_path, tmp_path / "cache")


def test_an_unknown_land_cover_is_named(tmp_path):
    native = copied("lfmc", 200, tmp_path)
    change(**{"forest_cover(t)": 77})(pd.read_csv(native / FILE, index_col=0)).to_csv(native / FILE)
    with pytest.raises(UserError, match="unknown code 77"):
        prepare("lfmc", native, tmp_path / "cache", "S1", "land_cover")
