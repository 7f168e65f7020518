"""Descriptions and files that are wrong: a sentence for each, that says what, where, what to do."""

from __future__ import annotations

import copy
import gzip
import pickle
import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchmark.commands.main import main
from benchmark.errors import UserError
from benchmark.planning import protocol
from benchmark.planning.split import folds
from tests import own
from tests.layouts import ADAPTERS
from tests.odd import altered, mutated
from tests.own import N, geotiff, opened, save, write


@pytest.fixture
def mine(tmp_path):
    """The description of a small dataset and the folder where its files are."""
    return write(tmp_path / "data"), tmp_path / "data"


def refused(path: Path) -> list[str]:
    """The sentences with which a description and its files are refused."""
    with pytest.raises(UserError) as error:
        catalogue = opened(path)
        for i in range(len(catalogue)):
            catalogue.read(i)
    return str(error.value).splitlines()


# What the YAML file says.


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.update(modality={}), "unknown field 'modality': did you mean modalities?"),
        (lambda d: d["modalities"]["S1"].update(channel=["a"]),
         "modalities.S1: unknown field 'channel': did you mean channels"),
        (lambda d: d["target"].update(colum="stress"), "target: unknown field 'colum': did"),
        (lambda d: d["ids"].update(colunm="plot"), "ids: unknown field 'colunm': did you mean"),
        (lambda d: d["groups"].update(blok=1), "groups: unknown field 'blok': did you mean block"),
        (lambda d: d["groups"].update(latitude={"column": "lat", "crs": 4326}),
         "groups.latitude: unknown field 'crs'"),
        (lambda d: d.update(split={"column": "lat", "file": "plots.csv", "test": 0.2}),
         "split: unknown field 'test'"),
        (lambda d: d["modalities"]["S1"].update(kind="sequence"),
         "modalities.S1.kind: 'sequence' cannot be read: expected one of series, image, vector"),
        (lambda d: d["target"].update(kind="classification"),
         "expected one of binary, multiclass, multilabel, regression"),
        (lambda d: d.pop("target"), "lacks target; as in `target: {file: plots.csv, column: y"),
        (lambda d: d["target"].pop("kind"), "lacks target.kind; as in `kind: regression`"),
        (lambda d: d.pop("modalities"), "lacks modalities; as in `modalities: {S1: {file: s1.np"),
        (lambda d: d["modalities"].update(S1=None), "lacks modalities.S1; leave it out, or give"),
        (lambda d: d["modalities"]["S1"].pop("kind"),
         "lacks modalities.S1.kind; as in `kind: series`"),
        (lambda d: d["modalities"]["S1"].pop("file"), "lacks modalities.S1.file; as in `file: pl"),
        (lambda d: d["modalities"]["S1"].update(channels="VV"), "channels: 'VV' cannot be read"),
        (lambda d: d["modalities"]["S1"].update(channels=["VV", "VV"]), "different words"),
        (lambda d: d["modalities"]["S1"].update(channels=[False, "VH"]), "in quotes where YAML"),
        (lambda d: d["modalities"]["S1"].update(no_data="none"), "no_data: 'none' cannot be read"),
        (lambda d: d["modalities"]["S1"].update(no_data=[-1, "n/a"]), "a number, or a list of"),
        (lambda d: d["modalities"]["S1"].update(steps=0), "steps: 0 cannot be read"),
        (lambda d: d["modalities"]["soil"].update(steps=2), "a vector has no steps"),
        (lambda d: d["modalities"]["S1"].update(channels_first="yes"), "expected true or false"),
        (lambda d: d["modalities"]["S1"].update(columns="{chanel}"), "no {channel} and no {step}"),
        (lambda d: d["modalities"].update({"S/3": {}}), "modalities: 'S/3' cannot be a name"),
        (lambda d: d["modalities"].update({"../S": {}}), "modalities: '../S' cannot be a name"),
        (lambda d: d["modalities"].update(S3=4), "modalities.S3: 4 cannot be read"),
        (lambda d: d.update(name="my data"), "name: 'my data' cannot be read"),
        (lambda d: d.update(name="../vines"), "name: '../vines' cannot be read"),
        (lambda d: d.update(incomplete=True), "incomplete: True cannot be read: expected one of"),
        (lambda d: d["groups"].pop("block"), "groups: needs a column, or latitude, longitude and"),
        (lambda d: d["groups"].pop("latitude"), "groups: latitude and longitude belong together"),
        (lambda d: d["groups"].update(block=-1), "groups.block: -1 cannot be read"),
        (lambda d: d["groups"].update(column="plot"), "either a column makes groups, or blocks do"),
        (lambda d: d["target"].update(kind="regression"), "a regression has no classes"),
        (lambda d: d["target"].update(kind="binary"), "a binary task has two"),
        (lambda d: d.update(modalities={"S1": d["modalities"]["S1"]}), "at least two modalities"),
    ],
)  # fmt: skip
def test_a_field_that_is_wrong_is_named_with_what_is_expected(mine, change, told):
    description, folder = mine
    change(description)
    lines = refused(path := save(description, folder))
    assert all(line.startswith(f"{path}: ") for line in lines)
    assert any(told in line for line in lines), lines


@pytest.mark.parametrize(
    ("sensor", "target"),
    [
        ({"file": "plots.csv", "channels": ["stress", "vigour"]}, {}),
        ({"file": "plots.csv", "channels": ["a", "b"], "columns": ["vigour", "stress"]}, {}),
        ({"file": "plots.csv", "channels": ["stress"], "columns": "{channel}"}, {}),
        ({"file": "./plots.csv", "channels": ["stress", "vigour"]}, {}),
        ({"file": "{plots}.csv", "channels": ["stress"]}, {}),
        ({"file": "soil.npy"}, {"file": "soil.npy", "column": 3}),
        ({"file": "soil.npy", "columns": [1, 3]}, {"file": "soil.npy", "column": 3}),
        ({"file": "all.npz", "key": "soil"}, {"file": "all.npz", "key": "soil", "column": 3}),
    ],
)
def test_a_target_among_the_values_of_a_sensor_is_refused(mine, sensor, target):
    description, folder = mine
    description["modalities"]["soil"] = {"kind": "vector", **sensor}
    column = target.get("column", "stress")
    description["target"] |= target
    (line,) = refused(save(description, folder))
    assert "modalities.soil has the target" in line and f"{column})" in line


def test_a_target_beside_the_values_of_a_sensor_is_none_of_them(mine):
    description, folder = mine
    soil = np.load(folder / "soil.npy")
    soil[:, 3] = np.arange(len(soil)) % 3
    np.save(folder / "soil.npy", soil)
    np.savez(folder / "all.npz", soil=soil, y=soil[:, 3])
    sensor = {"file": "soil.npy", "kind": "vector", "columns": [0, 1]}
    description["modalities"]["soil"] = sensor
    description["target"] = {"file": "soil.npy", "column": 3, "kind": "multiclass"}
    assert own.opened(save(description, folder)).modalities["soil"].shape == (2,)
    description["modalities"]["soil"] = {"file": "all.npz", "key": "soil", "kind": "vector"}
    description["target"] = {"file": "all.npz", "key": "y", "kind": "multiclass"}
    assert own.opened(save(description, folder)).modalities["soil"].shape == (4,)


@pytest.mark.parametrize("wrong", [{"block": 0}, {"block": "big"}, {"blok": 0.5}])
def test_groups_with_a_wrong_block_are_told_so_and_nothing_else(mine, wrong):
    description, folder = mine
    description["groups"].pop("block")
    description["groups"].update(wrong)
    (line,) = refused(save(description, folder))
    assert "block" in line and "needs a column" not in line


def test_everything_that_is_wrong_with_a_description_is_told_at_once(mine):
    description, folder = mine
    description["modalities"]["S1"]["kind"] = "sequence"
    description["target"]["clases"] = description["target"].pop("classes")
    description["licenze"] = "CC BY"
    assert len(refused(save(description, folder))) == 3


def test_a_file_that_is_not_there_is_told_by_near_names_or_by_what_is_there(mine):
    description, folder = mine
    description["modalities"]["soil"]["file"] = "optical.npy"  # not nearly called like another
    (line,) = refused(save(description, folder))
    assert line == (
        f"{folder}/optical.npy: there is no such file; {folder} holds plots.csv, s1.npy, s2.npy, "
        "soil.npy, vines.yaml"
    )
    description["modalities"]["soil"]["file"] = "soils.npz"
    assert refused(save(description, folder))[0].endswith("no such file; did you mean soil.npy?")


def test_a_name_that_no_disk_can_have(mine):
    description, folder = mine
    description["modalities"]["S1"]["file"] = "x" * 300
    assert re.search(
        r"xxx: cannot be read \(File name too long\)", refused(save(description, folder))[0]
    )


def test_everything_that_is_wrong_with_its_files_is_told_at_once(mine):
    description, folder = mine
    (folder / "s1.npy").unlink()
    np.save(folder / "s2.npy", np.load(folder / "s2.npy")[:-1])
    description["target"]["column"] = "stres"
    lines = refused(save(description, folder))
    assert len(lines) == 3
    assert re.search(
        r"s1.npy: there is no such file; .*data holds plots.csv, s2.npy, soil", lines[0]
    )
    assert re.search(
        rf"{folder}: s2.npy has 59 samples and plots.csv, soil.npy have 60; all", lines[1]
    )
    assert re.search(r"plots.csv: unknown column 'stres': did you mean stress", lines[2])


def test_of_files_of_other_lengths_the_odd_one_out_is_named_once(mine):
    description, folder = mine
    table = pd.read_csv(folder / "plots.csv", keep_default_na=False)
    table[:40].to_csv(folder / "plots.csv", index=False)
    assert refused(save(description, folder)) == [
        f"{folder}: plots.csv has 40 samples and s1.npy, s2.npy, soil.npy have 60; all must have "
        "the same, in the same order, or a column of ids of the same name"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &x [1]\nb: *x\n", "write values out, in the place of references"),
        ("title: a\nmodalities: {}\ntitle: b\n", "'title' stands twice, again in line 3"),
        ("modalities:\n  S1: {file: a, file: b}\n", "'file' stands twice"),
        ("- a\n- b\n", "a description is a mapping"),
        ("", "a description is a mapping"),
        ("a: [", "not a YAML file (line 1, column 5: expected the node content, but found '<str"),
        ("a: 1\nb: {c: 1, d: '' e: 2}\n", "(line 2, column 17: expected ',' or '}', but got '<sc"),
        ("a:\n\tb: 1\n", "(line 2, column 1: found character '\\t' that cannot start any token; "),
        ("? [a]\n: b\n", "not a YAML file"),
        ("a: !!python/object/apply:os.system [ls]\n", "not a YAML file"),
        ("\x00", "not a YAML file (the sign at position 0, from 0: special characters are not al"),
        ("a: " + "b" * 200_000, "too large"),
        ("[" * 5_000, "not a YAML file"),
    ],
)
def test_yaml_that_is_none_or_a_trap(tmp_path, text, told):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    (line,) = refused(path)
    assert line.startswith(f"{path}: ") and told in line


def test_a_description_that_is_not_there_and_a_name_that_is_taken(mine, tmp_path):
    description, folder = mine
    assert refused(tmp_path / "no.yaml") == [f"{tmp_path / 'no.yaml'}: there is no such file"]
    assert refused(folder) == [f"{folder}: cannot be read (Is a directory)"]
    description["name"] = "lfmc"
    assert "another dataset is named 'lfmc'" in refused(save(description, folder))[0]
    assert "lfmc" in ADAPTERS


# What its files hold.


def cut(name):
    def change(folder, description):
        path = folder / name
        path.write_bytes(path.read_bytes()[:-40])

    return change


def sensor(name, kind="vector", **fields):
    def decorate(make):
        def change(folder, description):
            make(folder / name)
            description["modalities"]["soil"] = {"file": name, "kind": kind, **fields}

        change.__name__ = make.__name__
        return change

    return decorate


@sensor("soil.npz", key="a")
def cut_npz(path):
    np.savez(path, a=np.ones((N, 3)))
    path.write_bytes(path.read_bytes()[:-30])


@sensor("soil.npz", key="clay")
def a_key_that_is_not_there(path):
    np.savez(path, a=np.ones((N, 3)), b=np.ones(3))


@sensor("soil.npz")
def no_key_of_several(path):
    np.savez(path, a=np.ones((N, 3)), b=np.ones(3))


@sensor("soil.h5", key="a")
def cut_hdf5(path):
    with h5py.File(path, "w") as file:
        file["a"] = np.ones((N, 3))
    path.write_bytes(path.read_bytes()[:-30])


@sensor("soil.h5", key="a")
def a_damaged_chunk(path):
    with h5py.File(path, "w") as file:
        data = np.random.default_rng(0).normal(size=(N, 30))
        file.create_dataset("a", data=data, chunks=(N, 30), compression="gzip", fletcher32=True)
        at = file["a"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[at + 50 : at + 90] = bytes(40)
    path.write_bytes(content)


@sensor("soil.nc", key="a")
def classic_netcdf(path):
    from scipy.io import netcdf_file

    with netcdf_file(path, "w") as file:
        file.createDimension("x", N)
        file.createVariable("a", "f4", ("x",))[:] = 1


@sensor("soil.npy")
def python_objects(path):
    np.save(path, np.array([{"a": 1}] * N, dtype=object), allow_pickle=True)


@sensor("soil.npz", key="a")
def python_objects_in_npz(path):
    np.savez(path, a=np.array([[1], [1, 2]] * (N // 2), dtype=object), allow_pickle=True)


@sensor("soil.npy")
def a_pickle_that_is_called_npy(path):
    path.write_bytes(pickle.dumps(np.ones((N, 3))))


@sensor("soil.npy")
def a_web_page(path):
    path.write_text("<!DOCTYPE html><html>404</html>")


@sensor("soil.npy")
def an_empty_file(path):
    path.write_bytes(b"")


@sensor("soil.npy")
def text_as_numbers(path):
    np.save(path, np.array(["a"] * N))


@sensor("soil.npy")
def a_channel_without_values(path):
    np.save(path, np.ones((N, 3)) * [1, np.nan, 1])


@sensor("soil.npy")
def complex_numbers(path):
    np.save(path, np.ones((N, 3), complex))


@sensor("soil.npy")
def an_image_as_a_vector(path):
    np.save(path, np.ones((N, 3, 3, 2)))


@sensor("soil.npy", kind="image")
def a_series_as_an_image(path):
    np.save(path, np.ones((N, 12, 2)))


@sensor("soil.npy", channels=["a", "b"])
def more_channels_than_names(path):
    np.save(path, np.ones((N, 3)))


@sensor("soil.npy", columns=[5])
def a_column_beyond_the_last(path):
    np.save(path, np.ones((N, 3)))


@sensor("soil.npy")
def one_value(path):
    np.save(path, np.float64(3))


@sensor("soil.npy")
def nothing_in_a_sample(path):
    np.save(path, np.ones((N, 0)))


@sensor("soil.parquet", channels=["a"])
def cut_parquet(path):
    pytest.importorskip("pyarrow")
    pd.DataFrame({"a": range(N)}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-40])


@sensor("soil.parquet", channels=["a"])
def lists_in_cells(path):
    pytest.importorskip("pyarrow")
    pd.DataFrame({"a": [[1, 2]] * N}).to_parquet(path)


@sensor("soil.csv", channels=["a", "b"])
def a_row_that_is_short(path):
    path.write_text("a,b\n" + "1,2\n" * (N - 1) + "1\n")


@sensor("soil.csv", channels=["a", "b"])
def a_word_among_numbers(path):
    path.write_text("a,b\n" + "1,2\n" * (N - 1) + "1,two\n")


@sensor("soil.csv", channels=["a", "b"])
def decimal_commas(path):
    path.write_text("a;b\n" + "1,5;2,5\n" * N)


@sensor("soil.csv", channels=["a", "b"])
def a_column_that_stands_twice(path):
    path.write_text("a,b,a\n" + "1,2,3\n" * N)


@sensor("soil.csv", channels=["a", "b"])
def latin_text(path):
    path.write_bytes(b"a,b\n" + "1,é\n".encode("latin-1") * N)


@sensor("soil.csv.gz", channels=["a"])
def cut_gzip(path):
    path.write_bytes(gzip.compress(b"a\n" + b"1\n" * N)[:-12])


@sensor("soil.csv", channels=["a"])
def a_header_alone(path):
    path.write_text("a,b\n")


@sensor("soil.csv")
def a_table_without_named_columns(path):
    path.write_text("a,b\n" + "1,2\n" * N)


@sensor("soil.xlsx")
def a_kind_that_is_unknown(path):
    path.write_text("")


@sensor("soil")
def a_folder(path):
    path.mkdir()


@sensor("rgb/{id}.tif")
def no_files_of_a_pattern(path):
    path.parent.mkdir()


FILES = {
    cut("s1.npy"): "s1.npy: cannot be read, is it whole?",
    cut_npz: "soil.npz: cannot be read, is it whole?",
    a_key_that_is_not_there: "soil.npz: unknown key 'clay': known: a, b",
    no_key_of_several: "soil.npz: holds a, b; say which with `key:`",
    cut_hdf5: "soil.h5: cannot be read, is it whole?",
    a_damaged_chunk: "soil.h5: cannot be read, is it whole?",
    classic_netcdf: "soil.nc: netCDF of the classic format; convert it, as in `nccopy -k nc4",
    python_objects: "soil.npy: holds Python objects, which are never loaded; save numbers",
    python_objects_in_npz: "soil.npz: holds Python objects, which are never loaded",
    a_pickle_that_is_called_npy: "soil.npy: cannot be read, is it whole?",
    a_web_page: "soil.npy: cannot be read, is it whole?",
    an_empty_file: "soil.npy: cannot be read, is it whole?",
    text_as_numbers: "soil.npy: soil is text there, not numbers; save numbers, as in np.s",
    a_channel_without_values: "soil.npy: soil has no value at all in channel 2; leave it out (`col",
    complex_numbers: "soil.npy: holds complex128; numbers and text can be read",
    an_image_as_a_vector: "soil.npy: a sample of soil is (3, 3, 2), a vector is (channels)",
    a_series_as_an_image: "sample of soil is (12, 2), an image is (rows, columns, channels); is it",
    more_channels_than_names: "soil.npy: a sample of soil is (3,), and 2 channels are named",
    a_column_beyond_the_last: "soil.npy: soil has columns 0 to 2, not 5",
    nothing_in_a_sample: "soil.npy: a sample of soil is (0,): there is nothing in it",
    cut_parquet: "soil.parquet: cannot be read as .parquet",
    lists_in_cells: "soil.parquet: row 2, column 'a': array([1, 2]) is not a number",
    one_value: "soil.npy: holds a single sample; name a file for each",
    a_row_that_is_short: "soil.csv: row 61 has 1 cells and the header 2",
    a_word_among_numbers: "soil.csv: row 61, column 'b': 'two' is not a number",
    decimal_commas: "soil.csv: row 2, column 'a': '1,5' is not a number (decimals are written with",
    a_column_that_stands_twice: "soil.csv: the column 'a' stands twice; rename one",
    latin_text: "invalid continuation byte); save it in that encoding",
    cut_gzip: "soil.csv.gz: not whole gzipped text in UTF-8",
    a_header_alone: "soil.csv: has no rows under a header",
    a_table_without_named_columns: "soil.csv: say which columns soil has, with `channels:`",
    a_kind_that_is_unknown: "soil.xlsx: is of no kind that can be read: .csv",
    a_folder: "soil: is a folder; say which files, as in 'soil/{id}.tif'",
    no_files_of_a_pattern: "rgb/{id}.tif: there is no file of such a name",
}


@pytest.mark.parametrize("change", FILES, ids=lambda change: change.__name__)
def test_a_file_that_is_wrong_is_named(mine, change):
    description, folder = mine
    change(folder, description)
    (line,) = refused(save(description, folder))
    assert FILES[change] in line and str(folder) in line


def edited(**columns):
    def change(folder, description):
        table = pd.read_csv(folder / "plots.csv", keep_default_na=False)
        for name, values in columns.items():
            table[name] = values(table[name])
        table.to_csv(folder / "plots.csv", index=False)

    return change


def hole(place, value=""):
    return lambda column: [value if i == place else each for i, each in enumerate(column)]


def without(column):
    def change(folder, description):
        table = pd.read_csv(folder / "plots.csv", keep_default_na=False)
        table.drop(columns=column).to_csv(folder / "plots.csv", index=False)

    return change


def other_ids(folder, description):
    soil = pd.DataFrame({"plot": [f"Q{i}" for i in range(N)], "clay": range(N)})
    soil.to_csv(folder / "soil.csv", index=False)
    description["modalities"]["soil"] = {"file": "soil.csv", "kind": "vector", "channels": ["clay"]}


def regression(value):
    def change(folder, description):
        description["target"] = {"file": "plots.csv", "column": "vigour", "kind": "regression"}
        edited(vigour=hole(4, value))(folder, description)

    return change


def split(*names):
    def change(folder, description):
        edited(vigour=lambda column: np.resize(names, N))(folder, description)
        description["split"] = {"file": "plots.csv", "column": "vigour"}

    return change


COLUMNS = {
    "an id that stands twice": (edited(plot=hole(7, "P03")), "the id 'P03' stands twice (plot)"),
    "a missing id": (edited(plot=hole(7)), "plots.csv: row 9, id (plot): is empty"),
    "no column of ids": (without("plot"), "unknown column 'plot'"),
    "other ids": (other_ids, "none of its ids is in "),
    "a missing target": (regression("NaN"), "1 of 60 samples without target, the first 'P04'"),
    "a word as a target": (regression("dry"), "row 6, target (vigour): 'dry' is not a number"),
    "an infinite target": (regression("inf"), "1 of 60 samples without target, the first 'P04'"),
    "a place that is a word": (
        edited(lat=hole(4, "n")),
        "row 6, latitude (lat): 'n' is not a numb",
    ),
    "no group": (
        lambda folder, description: (
            edited(vigour=hole(4))(folder, description),
            description.update(groups={"file": "plots.csv", "column": "vigour"}),
        ),
        "1 of 60 samples have no group (vigour), the first 'P04'; name one for each",
    ),
    "no column of the target": (
        without("stress"),  # none of the others is nearly called so
        "unknown column 'stress': known: lat, lon, plot, vigour.",
    ),
    "a class that is unknown": (edited(stress=hole(7, "sever")), "unknown class 'sever': did you"),
    "no place": (edited(lat=hole(7)), "no place for 1 of 60 samples, the first 'P07'"),
    "latitude and longitude swapped": (
        edited(lat=lambda c: c + 60, lon=lambda c: c - 40),
        "106 is no latitude, which ends at 90; is it the longitude?",
    ),
    "metres": (
        edited(lat=lambda c: c * 1e5, lon=lambda c: c * 1e5),
        "is no angle; places must be in degrees (EPSG:4326), not in metres",
    ),
    "a part of a split": (split("train", "holdout"), "'holdout' in vigour is no part of a split"),
}


@pytest.mark.parametrize("what", COLUMNS)
def test_a_column_that_is_wrong_is_named(mine, what):
    description, folder = mine
    change, told = COLUMNS[what]
    change(folder, description)
    lines = refused(save(description, folder))
    assert len({line.partition(": ")[2] for line in lines}) == 1
    assert re.search(re.escape(told).replace("106", r"\d+\.?\d*"), lines[0]), lines
    assert str(folder) in lines[0]


# The same for everything that a description names, whatever is there.


def in_arrays(folder) -> dict:
    """The description of a dataset of which ids, groups, split and target are arrays, too."""
    description = write(folder)
    table = pd.read_csv(folder / "plots.csv", keep_default_na=False)
    classes = [own.CLASSES.index(name) for name in table["stress"]]
    np.save(folder / "y.npy", np.array(classes))
    np.save(folder / "ids.npy", table["plot"].to_numpy(str))
    np.save(folder / "farm.npy", np.array([f"F{i // 6}" for i in range(N)]))
    np.save(folder / "part.npy", np.resize(["train", "train", "val", "test"], N))
    description["target"] = {"file": "y.npy", "kind": "multiclass", "classes": own.CLASSES}
    return description | {name: {"file": f"{file}.npy"} for name, file in REFERENCES.items()}


REFERENCES = {"ids": "ids", "groups": "farm", "split": "part"}


def saved(change):
    def harm(path):
        array = change(np.load(path))
        np.save(path, array, allow_pickle=array.dtype == object)

    return harm


def no_characters(array):
    """Numbers that stand for none: in C, numpy takes them for text all the same."""
    return np.full(len(array), 0x11_00_00, np.uint32).view("<U1")


HARMS = {
    "absent": (Path.unlink, "there is no such file"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read, is it whole?"),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:-40]), "cannot be read, is it whole?"),
    "shorter": (saved(lambda a: a[:-1]), "all must have the same, in the same order"),
    "longer": (
        saved(lambda a: np.concatenate([a, a[:1]])),
        "all must have the same, in the same order|the id 'P00' stands twice",
    ),
    "objects": (saved(lambda a: a.astype(object)), "holds Python objects, which are never loaded"),
    "of dates": (
        saved(lambda a: np.arange(N).astype("datetime64[D]")),
        "numbers and text can be read",
    ),
    "of text that is none": (
        saved(no_characters),
        "its text has characters that there are not|S1 is text there",
    ),
    "of too many axes": (
        saved(lambda a: np.stack([a] * 2, axis=1)),
        "expected one value a sample|a sample of S1 is",
    ),
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("name", ["s1", "y", "ids", "farm", "part"])
def test_whatever_a_description_names_may_be_wrong(tmp_path, name, harm):
    description = in_arrays(tmp_path)
    path = save(description, tmp_path)
    assert len(opened(path)) == N
    change, told = HARMS[harm]
    change(tmp_path / f"{name}.npy")
    lines = refused(path)
    assert all(re.search(told, line) for line in lines), lines
    assert any(f"{name}.npy" in line for line in lines), lines


def with_one(value):
    def change(array):
        array = array.astype(np.float64)
        array[4] = value
        return array

    return change


LACKS = "1 of 60 samples without target, the first 'P04'; add them, or say `incomplete: drop`"
TARGETS = {
    "a class that is NaN": ("multiclass", with_one(np.nan), LACKS),
    "a class that is infinite": ("multiclass", with_one(-np.inf), LACKS),
    "a class between two": ("multiclass", with_one(0.5), "unknown class '0.5': known: 0, 1, 2"),
    "a class beyond the last": ("multiclass", with_one(7), "unknown class '7': known: 0, 1, 2"),
    "a class below the first": ("multiclass", with_one(-1), "unknown class '-1'"),
    "a number that is NaN": ("regression", with_one(np.nan), LACKS),
    "a number that is infinite": ("regression", with_one(np.inf), LACKS),
    "a label that is NaN": ("multilabel", with_one(np.nan), LACKS),
    "a label of 2": (
        "multilabel",
        with_one(2),
        "sample 4 (counted from 0), target (y.npy): 2.0 is neither",
    ),
    "a single class": (
        "multiclass",
        lambda y: y * 0,
        "1 different value; a task has 2 to 1,000 classes",
    ),
    "numbers as classes": (
        "multiclass",
        lambda y: np.arange(N) / 7,
        "every class has a single sample, so that none can be learnt and tested; is it `kind: r",
    ),
}


@pytest.mark.parametrize("what", TARGETS)
def test_a_target_that_is_none_is_named_in_every_kind_of_task(tmp_path, what):
    description = in_arrays(tmp_path)
    kind, change, told = TARGETS[what]
    y = np.load(tmp_path / "y.npy")
    if kind == "multilabel":
        y = np.eye(3)[y]
    description["target"] = {"file": "y.npy", "kind": kind}
    if kind == "multiclass" and not what.endswith(("as classes", "single class")):
        description["target"]["classes"] = own.CLASSES
    np.save(tmp_path / "y.npy", change(y))
    (line,) = refused(save(description, tmp_path))
    assert told in line and str(tmp_path) in line


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ([[1, 2]] * N, "row 2, target (crop): array([1, 2]) is not a name"),
        ([{"a": 1}] * N, "row 2, target (crop): {'a': 1} is not a name"),
        (pd.date_range("2020", periods=N), "row 2, target (crop): Timestamp("),
        ([b"mild"] * N, "row 2, target (crop): b'mild' is not a name"),
        (pd.array([None if i == 4 else i % 3 for i in range(N)], dtype="Int64"), LACKS),
    ],
    ids=["lists", "mappings", "dates", "bytes", "whole numbers with holes"],
)
def test_cells_of_parquet_that_are_no_values(tmp_path, cells, told):
    pytest.importorskip("pyarrow")
    description = in_arrays(tmp_path)
    pd.DataFrame({"crop": cells}).to_parquet(tmp_path / "t.parquet")
    target = {"file": "t.parquet", "column": "crop", "kind": "multiclass"}
    (line,) = refused(save(description | {"target": target}, tmp_path))
    assert told in line
    if told != LACKS:  # of ids, groups and parts of a split, too
        for what in REFERENCES:
            other = description | {what: {"file": "t.parquet", "column": "crop"}}
            lines = refused(save(other, tmp_path))
            assert any("t.parquet: row 2, " in line and "is not a name" in line for line in lines)


def test_places_at_0_and_0_are_told(mine):
    description, folder = mine
    edited(lat=hole(7, 0), lon=hole(7, 0))(folder, description)
    (told,) = opened(save(description, folder)).notices
    assert told.startswith("1 of 60 samples lie at latitude 0, longitude 0: is that how the file")


def test_a_table_that_may_have_been_cut_in_its_last_cell_is_told(mine):
    """Nothing else would show it: 43.12 is a number as 43.1234 is."""
    description, folder = mine
    path = save(description, folder)
    assert opened(path).notices == ()
    table = folder / "plots.csv"
    table.write_bytes(table.read_bytes().rstrip(b"\r\n"))
    assert opened(path).notices == ("plots.csv: its last line has no end; is the file whole?",)


@pytest.mark.parametrize("split", [True, False])
def test_a_class_of_one_sample_is_told_and_splits_all_the_same(tmp_path, split):
    description = in_arrays(tmp_path)
    np.save(tmp_path / "y.npy", np.where(np.arange(N) == 5, 2, np.arange(N) % 2))
    if not split:
        del description["split"], description["groups"]
    data = own.prepare(save(description, tmp_path), tmp_path / "cache")
    assert data.notices == (
        "a single sample is of class severe: it is trained on or tested, never both",
    )
    found = folds(data, protocol.load("standard").values_for(data.name))
    assert len(found) == (1 if split else 10)


def test_a_geotiff_of_another_shape_and_one_that_was_cut(mine):
    description, folder = mine
    (folder / "rgb").mkdir()
    for i in range(N):
        geotiff(folder / "rgb" / f"P{i:02d}.tif", np.ones((3, 4, 4 if i != 9 else 5), np.uint8))
    description["modalities"]["rgb"] = {"file": "rgb/{id}.tif", "kind": "image"}
    path = save(description, folder)
    with pytest.raises(UserError, match=r"sample 'P09'.*rgb is uint8 \(4, 5, 3\), its spec"):
        own.prepare(path, folder / "cache")
    cut_one = folder / "rgb" / "P09.tif"
    cut_one.write_bytes(cut_one.read_bytes()[:150])
    with pytest.raises(UserError, match=r"P09.tif: cannot be read, is it whole\?"):
        own.prepare(path, folder / "cache")
    cut_one.unlink()
    assert "1 of 60 samples without rgb, the first 'P09'" in refused(path)[0]


def test_links_and_names_lead_to_no_other_file_by_an_id(mine):
    """The name of a sample's file is found in its folder, not made from its id."""
    description, folder = mine
    (folder / "each").mkdir()
    for i in range(N):
        np.save(folder / "each" / f"P{i:02d}.npy", np.ones(3))
    np.save(folder / "outside.npy", np.ones(3))
    edited(plot=hole(7, "../outside"))(folder, description)
    description["modalities"]["each"] = {"file": "each/{id}.npy", "kind": "vector"}
    assert (
        "1 of 60 samples without each, the first '../outside'"
        in refused(save(description, folder))[0]
    )


def test_on_the_command_line_it_is_exit_code_2_and_nothing_is_trained(mine, tmp_path, capsys):
    description, folder = mine
    description["target"]["column"] = "stres"
    path = save(description, folder)
    places = ["--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "results")]
    arguments = ["run", "--datasets", f"lfmc,{path},moon", "--methods", "single", *places]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "unknown dataset 'moon'" in said
    assert main([*arguments[:2], str(path), *arguments[3:]]) == 2
    assert "unknown column 'stres': did you mean stress" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.json"))


# Whatever a description or a file holds, it is understood or refused with sentences.


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    return write(folder), folder


def understood_or_refused(path: Path) -> None:
    try:
        catalogue = opened(path)
        for i in range(0, len(catalogue), 20):
            catalogue.read(i)
    except UserError as error:
        for line in str(error).splitlines():
            assert str(path.parent) in line, "a file is named"
    else:
        assert len(catalogue.y) == len(catalogue.ids) > 0
        assert set(catalogue.modalities) == set(catalogue.dtypes)


@given(data=st.data())
def test_odd_descriptions(whole, data):
    description, folder = whole
    document = data.draw(altered(copy.deepcopy(description)))
    path = folder / "odd.yaml"
    try:
        text = yaml.safe_dump(document, allow_unicode=True)
        path.write_text(text)
    except (UnicodeEncodeError, yaml.YAMLError):
        return
    understood_or_refused(path)


@given(data=st.data())
def test_odd_yaml(whole, data):
    description, folder = whole
    content = yaml.safe_dump(description).encode()
    path = folder / "odd.yaml"
    path.write_bytes(data.draw(mutated(content)))
    understood_or_refused(path)


ODD = ("s1.npy", "soil.npz", "soil.h5", "soil.nc", "plots.csv", "rgb.tif", "farm.npy", "part.npy")


@pytest.mark.parametrize("name", ODD)
@given(data=st.data())
def test_odd_files(odd_files, name, data):
    description, folder, contents = odd_files
    odd = folder / name
    odd.write_bytes(data.draw(mutated(contents[name])))
    try:
        understood_or_refused(save(description, folder, "whole"))
    finally:
        odd.write_bytes(contents[name])


@pytest.fixture(scope="module")
def odd_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    description = write(folder)
    np.savez(folder / "soil.npz", soil=np.load(folder / "soil.npy"))
    with h5py.File(folder / "soil.h5", "w") as file:
        file["soil"] = np.load(folder / "soil.npy")
    geotiff(folder / "rgb.tif", np.ones((3, 4, 4), np.uint8))
    for i in range(N):
        (folder / f"P{i:02d}.tif").symlink_to(folder / "rgb.tif")
    modalities = description["modalities"]
    modalities["a"] = {"file": "soil.npz", "key": "soil", "kind": "vector"}
    modalities["b"] = {"file": "soil.h5", "key": "soil", "kind": "vector"}
    modalities["c"] = {"file": "P{id}.tif", "kind": "image"}
    description["ids"] = {"file": "ids.csv", "column": "id"}
    pd.DataFrame({"id": [f"{i:02d}" for i in range(N)]}).to_csv(folder / "ids.csv", index=False)
    with h5py.File(folder / "soil.nc", "w") as file:
        file["soil"] = np.load(folder / "soil.npy").astype(np.float32)
        file["soil"].attrs.update(scale_factor=0.5, _FillValue=np.float32(-9))
    modalities["d"] = {"file": "soil.nc", "key": "soil", "kind": "vector"}
    np.save(folder / "farm.npy", np.array([f"F{i // 6}" for i in range(N)]))
    np.save(folder / "part.npy", np.resize(["train", "train", "val", "test"], N))
    description |= {"groups": {"file": "farm.npy"}, "split": {"file": "part.npy"}}
    return description, folder, {name: (folder / name).read_bytes() for name in ODD}
