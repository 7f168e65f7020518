"""The reader of TreeSatAI-TS, on the real tile and on generated files, and on what is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio

from benchmark.errors import UserError
from tests.layouts import TILE, copied, generated, opened, prepare

LABELS = "TreeSatBA_v9_60m_multi_labels.json"
NAME = "treesatai_ts"


@pytest.fixture
def tree(real_data, tmp_path) -> Path:
    """The published layout around the real tile: three copies of it, one a part of the split."""
    published, root = real_data / NAME, tmp_path / NAME
    for folder in ("aerial", "sentinel-ts", "labels", "split", "geojson"):
        (root / folder).mkdir(parents=True)
    labels = json.loads((published / "labels" / LABELS).read_bytes())
    for part, tile in (("train", TILE), ("val", f"{TILE}_val"), ("test", f"{TILE}_test")):
        shutil.copy(published / "aerial" / f"{TILE}.tif", root / "aerial" / f"{tile}.tif")
        shutil.copy(
            published / "sentinel-ts" / f"{TILE}_2020.h5", root / "sentinel-ts" / f"{tile}_2020.h5"
        )
        (root / "split" / f"{part}_filenames.lst").write_text(f"{tile}.tif\n")
        labels[f"{tile}.tif"] = labels[f"{TILE}.tif"]
    (root / "labels" / LABELS).write_text(json.dumps(labels))
    box = {"type": "FeatureCollection", "name": "bb_60m", "features": []}
    (root / "geojson" / "bb_60m.GeoJSON").write_text(json.dumps(box))
    return root


def test_the_real_tile_is_read_as_published(tree, tmp_path):
    data = prepare(NAME, tree, tmp_path / "cache", "S2", "aerial", "S1_asc", "S1_des")
    shapes = {m: x.shape[1:] for m, x in data.x.items()}
    assert shapes == {
        "S2": (146, 6, 6, 12),
        "aerial": (304, 304, 4),
        "S1_asc": (151, 6, 6, 2),
        "S1_des": (257, 6, 6, 2),
    }
    assert data.split.tolist() == ["train", "val", "test"]
    with h5py.File(tree / "sentinel-ts" / f"{TILE}_2020.h5") as file:
        bands, masks = file["sen-2-data"][()], file["sen-2-masks"][()]
        radar = {"S1_asc": file["sen-1-asc-data"][()], "S1_des": file["sen-1-des-data"][()]}
    assert (np.moveaxis(data.x["S2"][0][..., :10], -1, 1) == bands).all()
    # Whole percents, but for some 1e-9 that resampling has left.
    assert np.abs(np.moveaxis(data.x["S2"][0][..., 10:], -1, 1) - masks[:, :2]).max() < 1e-8
    for m, published in radar.items():
        series = np.moveaxis(data.x[m][0], -1, 1)
        assert (series[-len(published) :] == published).all(), "linear power, newest step last"
        assert np.isnan(series[: -len(published)]).all(), "padded on the left"
        assert np.isfinite(series).any(axis=(1, 2, 3)).sum() == len(published)
    with rasterio.open(tree / "aerial" / f"{TILE}.tif") as file:
        assert (np.moveaxis(data.x["aerial"][0], -1, 0) == file.read()).all()


def test_arrays_are_kept_in_the_smallest_type_that_holds_what_is_published(tree, tmp_path):
    data = prepare(NAME, tree, tmp_path / "cache", "S2", "aerial", "S1_asc")
    assert data.x["S2"].stored.dtype == np.uint16 and data.x["S2"].dtype == np.float32
    assert data.x["aerial"].dtype == np.uint8
    assert data.x["S1_asc"].dtype == np.float32


def test_near_infrared_is_the_first_band_of_the_image(tree):
    """Over a forest it is by far the brightest, and the ratio to red is that of green leaves."""
    catalogue = opened(NAME, tree)
    assert catalogue.modalities["aerial"].channels == ("nir", "green", "blue", "red")
    mean = catalogue.read(0)["aerial"].mean(axis=(0, 1))
    nir, red = mean[0], mean[3]
    assert mean.argmax() == 0 and nir > 1.5 * red


def test_labels_are_the_genera_above_seven_percent(real_data, tree):
    published = json.loads((real_data / NAME / "labels" / LABELS).read_bytes())
    assert len(published) == 50_381
    catalogue = opened(NAME, tree)
    present = [genus for genus, area in published[f"{TILE}.tif"] if area > 0.07]
    named = [catalogue.task.class_names[c] for c in np.flatnonzero(catalogue.y[0])]
    assert sorted(present) == sorted(named)
    assert {genus for pairs in published.values() for genus, _ in pairs} == set(
        catalogue.task.class_names
    )


def test_a_tile_without_a_genus_above_it_is_left_out(tree):
    labels = json.loads((tree / "labels" / LABELS).read_bytes())
    labels["poor.tif"] = [["Abies", 0.07], ["Pinus", 0.02]]
    (tree / "labels" / LABELS).write_text(json.dumps(labels))
    with (tree / "split" / "train_filenames.lst").open("a") as file:
        file.write("poor.tif\n")
    catalogue = opened(NAME, tree)
    assert catalogue.ids.tolist() == [TILE, f"{TILE}_val", f"{TILE}_test"]
    assert catalogue.notices == (
        "1 of 2 tiles for train have no genus above 7% of their area: left out",
        f"{len(labels) - 4:,} of {len(labels):,} labelled tiles are in no list: left out",
    )


def test_a_genus_that_is_listed_twice_counts_by_its_larger_entry(real_data, tree):
    """The rule of the releases; the fractions' sum would say otherwise in 30 of 50,381 tiles."""
    published = json.loads((real_data / NAME / "labels" / LABELS).read_bytes())
    twice = {
        tile: pairs
        for tile, pairs in published.items()
        if len({genus for genus, _ in pairs}) < len(pairs)
    }
    assert len(twice) == 1_726
    oak = "Betula_spec._4_17342_WEFL_NLF.tif"
    assert [area for genus, area in twice[oak] if genus == "Quercus"] == [0.05484, 0.02262]
    labels = json.loads((tree / "labels" / LABELS).read_bytes())
    labels["last.tif"] = [["Abies", 0.5], ["Acer", 0.3], ["Acer", 0.01]]
    (tree / "labels" / LABELS).write_text(json.dumps(labels))
    for name, expected in ((oak, {"Betula"}), ("last.tif", {"Abies", "Acer"})):
        for folder, ending in (("aerial", ".tif"), ("sentinel-ts", "_2020.h5")):
            tile = name.removesuffix(".tif")
            shutil.copy(tree / folder / f"{TILE}{ending}", tree / folder / f"{tile}{ending}")
        (tree / "split" / "val_filenames.lst").write_text(f"{name}\n")
        catalogue = opened(NAME, tree)
        found = np.flatnonzero(catalogue.y[catalogue.ids.tolist().index(tile)])
        assert {catalogue.task.class_names[c] for c in found} == expected


def test_lists_and_labels_may_have_a_byte_order_mark(tree):
    plain = opened(NAME, tree)
    for path in (*(tree / "split").iterdir(), tree / "labels" / LABELS):
        path.write_text(path.read_text(), encoding="utf-8-sig")
    marked = opened(NAME, tree)
    assert marked.ids.tolist() == plain.ids.tolist() and (marked.y == plain.y).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -9999])
def test_a_pixel_without_data_is_missing_in_every_view_and_counted(value, tree, tmp_path):
    with h5py.File(tree / "sentinel-ts" / f"{TILE}_2020.h5", "r+") as file:
        for key in ("sen-2-data", "sen-1-asc-data"):
            file[key][0, 1, 2, 3] = value
    said = "{} has no data or an infinite number in 1 values of 1 of 3 samples: taken as missing"
    for view in ({}, {"window": "mean"}):
        data = prepare(NAME, tree, tmp_path / "cache", "S2", "S1_asc", **view)
        assert data.notices[1:] == (said.format("S2"), said.format("S1_asc"))
        for m, first in (("S2", 0), ("S1_asc", -60)):
            series = data.x[m][0][first]
            gap = series[1] if view else series[2, 3, 1]
            assert np.isnan(gap) and np.isnan(series).sum() == 1


def test_a_file_with_two_masks_gives_what_one_with_eight_empty_ones_more_gives(tree):
    path = tree / "sentinel-ts" / f"{TILE}_2020.h5"
    before = opened(NAME, tree).read(0)["S2"]
    with h5py.File(path, "r+") as file:
        masks = file["sen-2-masks"][()]
        assert masks.shape[1] == 10
        del file["sen-2-masks"]
        file["sen-2-masks"] = masks[:, :2]
    assert np.array_equal(opened(NAME, tree).read(0)["S2"], before)


def test_short_series_are_padded_on_the_left_their_masks_with_zero(tmp_path):
    native = generated(NAME, 60)
    data = prepare(NAME, native, tmp_path)
    lengths = []
    for i, tile in enumerate(data.ids):
        (path,) = (native / "sentinel-ts").glob(f"{tile}_*.h5")
        with h5py.File(path) as file:
            bands = np.moveaxis(file["sen-2-data"][()], 1, -1)
            masks = np.moveaxis(file["sen-2-masks"][()], 1, -1)
        steps = len(bands)
        lengths.append(steps)
        series = data.x["S2"][i]
        assert (series[-steps:, ..., :10] == bands).all()
        assert (series[-steps:, ..., 10:] == masks).all()
        if steps < 146:
            assert np.isnan(series[:-steps, ..., :10]).all()
            assert (series[:-steps, ..., 10:] == 0).all()
    assert len(set(lengths)) > 20


def test_a_view_thins_evenly_averages_the_window_and_shrinks_the_image_by_area(tree):
    whole = opened(NAME, tree).read(0)
    small = opened(NAME, tree, dates=24, window="mean", image_px=32).read(0)
    steps = np.linspace(0, 145, 24).round().astype(int)
    assert small["S2"] == pytest.approx(whole["S2"][steps].mean(axis=(1, 2)), rel=1e-5)
    exact = whole["aerial"].astype(float).reshape(304, 304, 4)
    fine = exact.repeat(2, axis=0).repeat(2, axis=1).reshape(32, 19, 32, 19, 4).mean((1, 3))
    assert small["aerial"] == pytest.approx(fine, abs=1e-3)


def edit_labels(change):
    def edit(root):
        path = root / "labels" / LABELS
        table = json.loads(path.read_bytes())
        change(table)
        path.write_text(json.dumps(table))

    return edit


def first(table):
    return next(iter(table))


def edit_series(change):
    def edit(root):
        with h5py.File(sorted((root / "sentinel-ts").iterdir())[0], "r+") as file:
            change(file)

    return edit


def cut(folder, keep=0.5):
    def edit(root):
        path = sorted((root / folder).iterdir())[0]
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])

    return edit


def replace(folder, content):
    return lambda root: sorted((root / folder).iterdir())[0].write_bytes(content)


def drop_lines(root):
    (root / "split" / "val_filenames.lst").write_text("")


def in_two_lists(root):
    tile = (root / "split" / "train_filenames.lst").read_text().split()[0]
    with (root / "split" / "test_filenames.lst").open("a") as file:
        file.write(f"{tile}\n")


def drop_tile(folder):
    return lambda root: sorted((root / folder).iterdir())[0].unlink()


def too_long(file):
    steps = np.concatenate([file["sen-2-data"][()]] * 3)[:147]
    del file["sen-2-data"]
    file["sen-2-data"] = steps


def fewer_masks(file):
    masks = file["sen-2-masks"][()]
    del file["sen-2-masks"]
    file["sen-2-masks"] = masks[:-1]


def negative(file):
    file["sen-2-data"][3, 4, 2, 2] = -17


def two_years(root):
    path = sorted((root / "sentinel-ts").iterdir())[0]
    shutil.copy(path, path.with_name(f"{path.stem[:-5]}_1999.h5"))


def other_image(root):
    with rasterio.open(
        sorted((root / "aerial").iterdir())[0], "w", driver="GTiff", dtype="uint16",
        count=4, height=304, width=304,
    ) as file:  # fmt: skip
        file.write(np.zeros((4, 304, 304), np.uint16))


BAD = {
    "labels: cut in half": (cut("labels"), "not a whole table"),
    "labels: a list": (replace("labels", b"[1, 2]"), "not a whole table"),
    "labels: bytes": (replace("labels", b"\xff\xfe\x00"), "not text in UTF-8"),
    "labels: a tile twice": (
        replace("labels", b'{"a.tif": [["Abies", 0.9]], "a.tif": [["Acer", 0.9]]}'),
        "'a.tif' stands twice",
    ),
    "labels: a comma for a point": (
        edit_labels(lambda t: t.update({first(t): [["Abies", "0,9"]]})),
        "'0,9' is not a number .decimals are written with a point",
    ),
    "labels: an unknown genus": (
        edit_labels(lambda t: t.update({first(t): [["Quercuss", 0.9]]})),
        "tile .*: unknown genus 'Quercuss': did you mean Quercus",
    ),
    "labels: a word for an area": (
        edit_labels(lambda t: t.update({first(t): [["Abies", "much"]]})),
        "not a whole table",
    ),
    "labels: an area beyond numbers": (
        edit_labels(lambda t: t.update({first(t): [["Abies", 10**400]]})),
        "not a whole table",
    ),
    "labels: NaN for an area": (
        edit_labels(lambda t: t.update({first(t): [["Abies", float("nan")]]})),
        "tile .*: nan is not an area fraction",
    ),
    "labels: lack a listed tile": (edit_labels(lambda t: t.pop(first(t))), "is not in"),
    "split: no names": (drop_lines, "lists no tile"),
    "split: bytes": (replace("split", b"\xff\xfe\x00\xd8"), "not text in UTF-8"),
    "split: a tile in two lists": (in_two_lists, "test_filenames.lst: tile .* stands in .*train"),
    "series: cut in half": (cut("sentinel-ts"), "can be read"),
    "series: text": (replace("sentinel-ts", b"hello"), "can be read"),
    "series: absent": (drop_tile("sentinel-ts"), "has no series"),
    "series: lack the masks": (edit_series(lambda f: f.pop("sen-2-masks")), "'sen-2-masks'"),
    "series: longer than published": (edit_series(too_long), "expected numbers .at most 146"),
    "series: fewer masks than dates": (edit_series(fewer_masks), "different numbers of dates"),
    "series: of two years": (two_years, "keep one year"),
    "series: below zero": (edit_series(negative), "-17 is not in the range"),
    "image: cut in half": (cut("aerial", 0.4), "cannot be read as GeoTIFF"),
    "image: text": (replace("aerial", b"hello"), "cannot be read as GeoTIFF"),
    "image: absent": (drop_tile("aerial"), "has no image"),
    "image: another type": (other_image, "is uint16 .* expected uint8"),
}


QUICK = {"samples": 11, "dates": 24, "window": "mean", "image_px": 32}


@pytest.mark.parametrize("view", [{}, QUICK], ids=["standard", "quick"])
@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_one_clear_sentence(what, view, tmp_path):
    edit, message = BAD[what]
    native = copied(NAME, 12, tmp_path)
    edit(native)
    with pytest.raises(UserError, match=message):
        prepare(NAME, native, tmp_path / "cache", **view)
