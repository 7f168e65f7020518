"""Raw exports of CropHarvest become the features that its package makes of them."""

from __future__ import annotations

import json
import math
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import rasterio

from benchmark import api
from benchmark.commands.main import main
from benchmark.errors import UserError
from benchmark.planning import protocol
from datasets import cropharvest
from datasets.common.exports import RAW, features, middle
from tests.layouts import ADAPTERS, crop_label, opened, prepare

TOGO = "98-togo_2019-02-06_2020-02-01.tif"
MONTHLY = (
    *("VV", "VH", "B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11"),
    *("B12", "temperature_2m", "total_precipitation"),
)
SIDE, PIXEL = 5, 0.0001
WEST, NORTH = 1.0, 8.0


def named(bands: int = 206) -> list[str]:
    """As Earth Engine calls the bands of a stack of months."""
    months = [f"{b}_{m}" if m else b for m in range(12) for b in MONTHLY]
    return [*months, "elevation", "slope"][:bands]


def export(path, raster, names=None, crs="EPSG:4326") -> None:
    """An export of (bands, 5, 5) whose north-western corner is `NORTH`, `WEST`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = rasterio.Affine(PIXEL, 0, WEST, 0, -PIXEL, NORTH)
    size = {"count": len(raster), "height": SIDE, "width": SIDE, "dtype": "float64"}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=place, **size) as file:
        file.write(raster)
        file.descriptions = names or named(len(raster))


def drawn(seed: int = 0, holes: float = 0.2) -> np.ndarray:
    """(206, 5, 5) of which some values lack."""
    rng = np.random.default_rng(seed)
    raster = rng.uniform(1, 3000, (206, SIDE, SIDE))
    raster[rng.random(raster.shape) < holes] = np.nan
    return raster


def place_of(row: int, column: int, shift: float = 0.5) -> tuple[float, float]:
    """Latitude and longitude in a pixel, from its corner (0) to the opposite one (1)."""
    return NORTH - (row + shift) * PIXEL, WEST + (column + shift) * PIXEL


def by_hand(raster, row, column) -> np.ndarray:
    """The features, value by value and by the names of the bands."""
    raw = dict(zip(named(), raster[:, row, column].tolist(), strict=True))
    result = np.empty((12, 18))
    for k, band in enumerate(cropharvest.BANDS):
        values = []
        for month in range(12):
            value = lambda name: raw[f"{name}_{month}" if month else name]  # noqa: B023, E731
            if band in ("elevation", "slope"):
                values.append(raw[band])
            elif band == "(B7-B3)/(B7+B3)":
                high, low = value("B7"), value("B3")
                values.append((high - low) / (high + low) if high + low > 0 else 0.0)
            else:
                values.append(value(band))
        there = [v for v in values if not math.isnan(v)]
        if band == "slope" and not there:
            there = [v for v in raster[-1].ravel().tolist() if not math.isnan(v)]
        mean = sum(there) / len(there) if there else math.inf
        result[:, k] = [mean if math.isnan(v) else v for v in values]
    return result


def test_the_bands_are_those_of_the_publisher_in_both_orders():
    assert (*MONTHLY, "elevation", "slope") == RAW
    assert cropharvest.BANDS[:-1] == tuple(b for b in RAW if b not in ("B1", "B10"))


def test_the_published_export_gives_what_the_publishers_package_makes_of_it(real_data):
    """The numbers are those of cropharvest 0.7.0 (`Engineer`), bit for bit at 300 places."""
    array = features(real_data / "cropharvest_pieces" / TOGO, 7.7195, 1.4228)
    assert array.shape == (12, 18)
    assert array[0] == pytest.approx([
        -16.7624925, -22.8337457, 1776, 1690, 1897, 1909, 2130, 2442, 2268, 2744, 482, 3516, 2388,
        302.900299, 5.21739145e-04, 209, 2.07682991, 0.181994192,
    ], rel=1e-8)  # fmt: skip
    sums = array[[5, 11]].sum(axis=1)
    assert sums == pytest.approx([26402.47143608, 19614.27870122], rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_features_are_those_by_hand_wherever_values_lack(seed, tmp_path):
    raster = drawn(seed)
    raster[:, 1, 1] = drawn(seed, 0)[:, 1, 1]
    raster[-1, 2, :3] = np.nan  # no slope there
    raster[[*range(2, 204, 17)], 3, 3] = np.nan  # no B1, which is removed, in any month
    raster[:, 4, 4] = drawn(seed, 0)[:, 4, 4]
    raster[[*range(9, 204, 17)], 4, 4] = np.nan  # no B8 in any month
    raster[4 : 204 : 17, 0, 0] = -raster[8 : 204 : 17, 0, 0]  # fmt: skip
    export(tmp_path / "a.tif", raster)
    for row in range(SIDE):
        for column in range(SIDE):
            found = features(tmp_path / "a.tif", *place_of(row, column))
            np.testing.assert_allclose(found, by_hand(raster, row, column), rtol=1e-12)
    assert np.isinf(found[:, cropharvest.BANDS.index("B8")]).all()
    assert np.isfinite(found).sum() == 12 * 17


@pytest.mark.parametrize("band", ["B3", "B7"])
def test_the_index_of_a_band_without_any_value_is_missing(band, tmp_path):
    raster = drawn(holes=0)
    raster[MONTHLY.index(band) : 204 : 17] = np.nan
    export(tmp_path / "a.tif", raster)
    found = features(tmp_path / "a.tif", *place_of(2, 2))
    gone = [cropharvest.BANDS.index(name) for name in (band, "(B7-B3)/(B7+B3)")]
    assert np.isinf(found[:, gone]).all() and np.isfinite(found).sum() == 12 * 16


def test_the_nearest_pixel_is_taken(tmp_path):
    raster = drawn(holes=0)
    export(tmp_path / "a.tif", raster)
    for shift in (0.01, 0.99):
        found = features(tmp_path / "a.tif", *place_of(3, 1, shift))
        assert (found[:, 0] == raster[0:204:17, 3, 1]).all()


def own_places(root, n=12):
    """Labels of one's own with a raw export each, at different pixels."""
    labels = []
    for i in range(n):
        lat, lon = place_of(i % SIDE, i // SIDE % SIDE)
        labels.append(crop_label(i, dataset="own", lat=lat, lon=lon))
        export(root / "eo_data" / f"{i}-own_2019-02-06_2020-02-01.tif", drawn(i))
    root.joinpath("labels.geojson").write_text(json.dumps({"features": labels}))
    return root


def test_places_of_ones_own_are_the_dataset_that_their_published_features_would_be(tmp_path):
    own = own_places(tmp_path / "own" / "cropharvest")
    published = tmp_path / "published" / "cropharvest"
    (published / "features" / "arrays").mkdir(parents=True)
    shutil.copy(own / "labels.geojson", published)
    for i in range(12):
        with h5py.File(published / "features" / "arrays" / f"{i}_own.h5", "w") as file:
            file["array"] = by_hand(drawn(i), i % SIDE, i // SIDE)
    for name in ("cropharvest_binary", "cropharvest_multi"):
        channels = ("S1", "S2", "weather", "dem")
        a, b = (prepare(name, root, tmp_path / "cache", *channels) for root in (own, published))
        assert a.ids.tolist() == b.ids.tolist() and a.y.tolist() == b.y.tolist()
        for m in channels:
            np.testing.assert_allclose(a.x[m], b.x[m], rtol=1e-6)


def test_features_of_a_label_are_preferred_and_what_was_made_is_on_the_screen(tmp_path, capsys):
    root = own_places(tmp_path / "cropharvest", 40)
    (root / "features" / "arrays").mkdir(parents=True)
    for i in range(4):
        with h5py.File(root / "features" / "arrays" / f"{i}_own.h5", "w") as file:
            file["array"] = np.full((12, 18), 7.0)
    (root / "eo_data" / "39-own_2019-02-06_2020-02-01.tif").unlink()
    where = ["--data-root", str(tmp_path), "--cache", str(tmp_path / "cache")]
    assert main(["data", "prepare", "--datasets", "cropharvest_binary", *where]) == 0
    said = capsys.readouterr().out
    assert "cropharvest_binary: REAL data, 39 samples" in said
    assert "1 of 40 labels have no features file: left out" in said
    assert (
        "35 of 40 labels have a raw export and no features file: features are made of it, as "
        "cropharvest 0.7.0 makes them"
    ) in said
    catalogue = opened("cropharvest_binary", root)
    assert (catalogue.read(catalogue.ids.tolist().index("2_own"))["S1"] == 7).all()


def twice(root):
    shutil.copy(
        root / "eo_data" / "3-own_2019-02-06_2020-02-01.tif",
        root / "eo_data" / "3-own_2020-02-06_2021-02-01.tif",
    )


def third(change):
    return lambda root: change(root / "eo_data" / "3-own_2019-02-06_2020-02-01.tif")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (third(lambda p: p.write_bytes(p.read_bytes()[:2000])), "cannot be read as GeoTIFF"),
        (third(lambda p: export(p, drawn()[:-19])), "has 187 bands, not 12 × 17 . 2; it is no raw"),
        (
            third(lambda p: export(p, drawn(), ["VH", "VV", *named()[2:]])),
            "its band 1 is called 'VH', expected VV; it is no raw export",
        ),
        (third(lambda p: export(p, drawn(), crs="EPSG:32631")), "is not in degrees .EPSG:4326"),
        (
            lambda root: root.joinpath("labels.geojson").write_text(
                root.joinpath("labels.geojson").read_text().replace("7.99965", "17.99965")
            ),
            "does not show 17.99.*; is it of another label",
        ),
        (twice, "3-own_2019-02-06_2020-02-01.tif and .*2021-02-01.tif are of one label; keep one"),
    ],
)
def test_an_export_that_is_wrong_is_named(change, told, tmp_path):
    root = own_places(tmp_path / "cropharvest")
    change(root)
    with pytest.raises(UserError, match=told) as error:
        prepare("cropharvest_binary", root, tmp_path / "cache")
    assert "eo_data" in str(error.value) and "\n" not in str(error.value)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of S2 and one of S1."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "cropharvest").mkdir()
    ADAPTERS["cropharvest_binary"].generate(folder / "cropharvest", seed=0, samples=60)
    small = folder / "small.yaml"
    quick = (protocol.FOLDER / "quick.yaml").read_text()
    small.write_text(quick.replace("epochs: 15 ", "epochs: 1 "))
    words = ["train", "single", "cropharvest_binary", "--data-root", folder, "--out", folder / "m"]
    words += ["--cache", folder / "cache", "--protocol", small, "--device", "cpu"]
    assert main([*map(str, words)]) == 0
    return folder


def predicted(model, *given, m="S2") -> pd.DataFrame:
    out = model / "predicted.csv"
    words = ["predict", model / "m" / m, *given, "--out", out, "--cache", model / "cache"]
    assert main([*map(str, words)]) == 0
    return pd.read_csv(out)


@pytest.mark.parametrize("m", ["S1", "S2"])
def test_places_without_labels_are_predicted_as_labelled_ones(m, model, tmp_path, capsys):
    """Those in the middle of their files, one file or a folder of them."""
    raw, lat, lon = tmp_path / "cropharvest" / "eo_data", *place_of(2, 2)
    labels = [crop_label(i, dataset="own", lat=lat, lon=lon) for i in range(5)]
    for i in range(5):
        export(raw / f"{i}-own_2019-02-06_2020-02-01.tif", drawn(i))
    raw.parent.joinpath("labels.geojson").write_text(json.dumps({"features": labels}))
    labelled = predicted(model, "cropharvest_binary", "--data-root", tmp_path, m=m)
    capsys.readouterr()
    alone = predicted(model, raw, m=m)
    assert "features of 5 raw exports are made as cropharvest 0.7.0 makes them" in (
        capsys.readouterr().out
    )
    assert alone["id"].tolist() == [f"{i}-own_2019-02-06_2020-02-01" for i in range(5)]
    both = labelled.set_index("id").loc[[f"{i}_own" for i in range(5)]]
    assert alone["crop"].tolist() == both["crop"].tolist() and alone["crop"].nunique() == 5
    file = raw / "3-own_2019-02-06_2020-02-01.tif"
    assert predicted(model, file, m=m)["crop"].tolist() == [alone["crop"][3]]
    table = api.predict(model / "m" / m, file)
    assert table["crop"].tolist() == pytest.approx([alone["crop"][3]])


def test_a_place_without_any_value_is_told_and_one_that_is_given_twice(model, tmp_path, capsys):
    export(tmp_path / "a.tif", np.full((206, SIDE, SIDE), np.nan))
    predicted(model, tmp_path / "a.tif")
    said = capsys.readouterr().out
    assert "S2 lacks 144 of 144 values" in said
    assert "S2 lacks every value in 1 of 1 sample: what is predicted there says nothing" in said
    assert "features of 1 raw export are made" in said and ", 1 sample\n" in said
    assert len(predicted(model, tmp_path / "a.tif", tmp_path / "a.tif")) == 2
    told = "only 1 different id for 2 samples, 'a' stands 2 times: each row has its own prediction"
    assert told in capsys.readouterr().out


def test_the_published_export_is_predicted_at_its_own_place(model, real_data):
    """Its label's place, 7.7195, 1.4228, lies in the pixel in the middle."""
    path = real_data / "cropharvest_pieces" / TOGO
    assert (features(path, *middle(path)) == features(path, 7.7195, 1.4228)).all()
    assert 0 < predicted(model, path)["crop"][0] < 1


def test_months_are_those_that_the_name_of_a_file_ends_with(tmp_path):
    names = ("98-togo_2019-02-06_2020-02-01.tif", "a place.tif")
    for name in names:
        export(tmp_path / name, drawn())
    adapter = cropharvest.CropHarvestBinary()
    found = adapter.open_unlabelled([tmp_path / name for name in names])
    assert found.months["S1"].tolist() == [[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 1], [0] * 12]
    assert found.places[0] == pytest.approx(place_of(2, 2))


@pytest.mark.parametrize(
    ("change", "given", "told"),
    [
        (lambda p: export(p / "b.tif", drawn()[:-19]), (".",), "b.tif: has 187 bands, not 12 × 17"),
        (lambda p: (p / "b.tif").write_bytes(b"II*"), (".",), "b.tif: cannot be read as GeoTIFF"),
        (lambda p: None, ("a.tif", "--key", "x"), "--key is not for"),
        (lambda p: (p / "a.tif").unlink(), (".",), "is a folder; give a file, or a dataset by its"),
    ],
)
def test_what_is_no_export_beside_others_is_named(change, given, told, model, tmp_path, capsys):
    export(tmp_path / "a.tif", drawn())
    change(tmp_path)
    words = ["predict", model / "m" / "S2", tmp_path / given[0], *given[1:], "--out"]
    assert main([*map(str, words), str(tmp_path / "out.csv")]) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1


@pytest.mark.parametrize("gone", [True, False])
def test_a_folder_of_exports_without_labels_says_how_they_are_predicted(gone, tmp_path, capsys):
    root = own_places(tmp_path / "cropharvest")
    labels = root / "labels.geojson"
    text = labels.read_text().replace('"is_crop": 1', '"is_crop": null')
    labels.write_text(text.replace('"is_crop": 0', '"is_crop": null'))
    if gone:
        labels.unlink()
    words = ["data", "prepare", "--datasets", "cropharvest_binary", "--data-root", str(tmp_path)]
    assert main([*words, "--cache", str(tmp_path / "cache")]) == 2
    told = f"a kept model predicts raw exports without labels: predict MODEL {root / 'eo_data'}"
    assert told in capsys.readouterr().err


def test_raw_exports_are_the_form_that_is_here_and_nothing_is_left_to_fetch(tmp_path, capsys):
    root = own_places(tmp_path / "cropharvest")
    status = ["data", "status", "cropharvest_binary", "--data-root", str(tmp_path)]
    assert main(status) == 0
    said = capsys.readouterr().out
    assert "cropharvest_binary: REAL" in said and "    form: raw exports\n" in said
    assert "labels.geojson (here) from" in said and "features (not here, and not needed)" in said
    assert "to do: nothing\n" in said
    assert opened("cropharvest_binary", root).form == "raw exports (13 files)"
    (root / "labels.geojson").unlink()
    assert main(status) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "INCOMPLETE" in said and said.count("lacks labels.geojson") == 1
