"""Maps from GeoTIFF stacks: every pixel is what the model predicts, and what cannot be is said."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given
from hypothesis import strategies as st
from rasterio import Affine
from rasterio.enums import ColorInterp
from torch import nn

from benchmark.deployment import layers, maps, rasters
from benchmark.deployment.deployed import Deployed
from benchmark.deployment.fused import Linear, fused
from benchmark.deployment.maps import predict_map, windows
from benchmark.deployment.model import Model
from benchmark.errors import NotWritableError, UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.nets import UnimodalNet
from tests.problems import encoders

ROOT = Path(__file__).parents[1]
NAMES = ("B2", "B8A", "ndvi")
STEPS = 4
SIZE = 37, 53
TRAINED = {"low": [0.0] * 3, "high": [100.0] * 3, "mean": [40.0] * 3, "std": [30.0] * 3}
PLACE = Affine(10, 0, 5e5, 0, -10, 4.6e6)

TASKS = {
    "regression": TaskSpec("regression", 1, unit="%", target_mean=100.0, target_std=20.0),
    "binary": TaskSpec("binary", 2, class_names=("non-crop", "crop")),
    "multiclass": TaskSpec("multiclass", 4, class_names=("a", "b", "c", "d")),
    "multilabel": TaskSpec("multilabel", 3, class_names=("oak", "pine", "beech")),
}


def made(task: str | TaskSpec = "regression", kind: str = "series", net: nn.Module | None = None):
    """A model with weights that no training gave it."""
    task = TASKS[task] if isinstance(task, str) else task
    shape = {"series": (STEPS, 3), "vector": (3,), "image": (8, 8, 3)}[kind]
    spec = ModalitySpec("S2", kind, shape, NAMES, "reflectance")
    torch.manual_seed(0)
    if net is None:
        net = UnimodalNet(spec, task.outputs, encoders())
        for module in net.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    about = {
        "method": "single",
        "modality": "S2",
        "modalities": [asdict(spec)],
        "inputs": [{**asdict(spec), **TRAINED}],
        "task": asdict(task),
        "dataset": {"name": "lfmc", "source": "generated", "licence": "CC BY 4.0"},
        "runs": [{"id": "0123456789ab"}],
    }
    return Model(Deployed(net, np.full(3, 40.0), np.full(3, 30.0), task), about)


def values(dtype: str = "int16", seed: int = 0) -> np.ndarray:
    """(steps, channels, rows, columns) as they are stored."""
    return np.random.default_rng(seed).integers(1, 100, (STEPS, 3, *SIZE)).astype(dtype)


def written(path: Path, bands: np.ndarray, names=(), **form) -> Path:
    """A GeoTIFF of (bands, rows, columns)."""
    scales, offsets = form.pop("scales", None), form.pop("offsets", None)
    usual = {
        **{"driver": "GTiff", "dtype": bands.dtype, "count": len(bands)},
        **{"height": bands.shape[1], "width": bands.shape[2]},
        **{"crs": "EPSG:32631", "transform": PLACE},
        **{"tiled": True, "blockxsize": 16, "blockysize": 16},
    }
    with rasterio.open(path, "w", **usual | form) as file:
        if scales:
            file.scales, file.offsets = scales, offsets
        file.write(bands)
        for number, name in enumerate(names, start=1):
            file.set_band_description(number, name)
    return path


def dated(step: int) -> str:
    return f"2018-{step + 3:02d}"


def one_file(folder: Path, x: np.ndarray, **form) -> list[Path]:
    """All dates and channels as bands of one file."""
    names = [f"{dated(t)} {name}" for t in range(STEPS) for name in NAMES]
    return [written(folder / "all.tif", x.reshape(-1, *SIZE), names, **form)]


def expected(model: Model, x: np.ndarray) -> np.ndarray:
    """Predictions (rows, columns, ...) of values (steps, channels, rows, columns)."""
    samples = np.moveaxis(x.reshape(*x.shape[:-2], -1), -1, 0)
    found = model.predict(samples.astype(np.float32))
    return found.reshape(*SIZE, *found.shape[1:])


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """Several windows and batches, though the rasters are small."""
    monkeypatch.setattr(maps, "WINDOW_PIXELS", 300)
    monkeypatch.setattr(maps, "BATCH", 64)


def in_one_file(folder, x):
    return one_file(folder, x), ()


def in_one_file_shuffled(folder, x):
    names = [f"{dated(t)} {name}" for t in range(STEPS) for name in NAMES]
    order = np.random.default_rng(1).permutation(len(names))
    bands = x.reshape(-1, *SIZE)[order]
    return [written(folder / "all.tif", bands, [names[i] for i in order])], ()


def in_a_file_a_date(folder, x):
    return [written(folder / f"{t}.tif", x[t], NAMES) for t in range(STEPS)], ()


def in_a_file_a_channel(folder, x):
    paths = []
    for c, name in enumerate(NAMES):
        names = [f"{dated(t).replace('-', '')} {name}" for t in range(STEPS)]
        paths.append(written(folder / f"{name}.tif", x[:, c], names))
    return paths[::-1], ()


def with_names_that_repeat(folder, x):
    return [written(folder / "all.tif", x.reshape(-1, *SIZE))], NAMES


def with_all_names(folder, x):
    names = [f"{dated(t)} {name}" for t in range(STEPS) for name in NAMES]
    return [written(folder / "all.tif", x.reshape(-1, *SIZE))], names


def with_others_between(folder, x):
    paths = []
    for t in range(STEPS):
        bands = np.stack([x[t, 0], x[t, 2], x[t, 0] * 0, x[t, 1]])
        names = ["B02", "NDVI", "scene classification", "b8a"]
        paths.append(written(folder / f"{t}.tif", bands, names))
    return paths, ()


def in_a_virtual_file(folder, x):
    """As gdalbuildvrt writes it."""
    bands = "".join(
        f'<VRTRasterBand dataType="Int16" band="{1 + 3 * t + c}">'
        f"<Description>{dated(t)} {name}</Description>"
        f'<SimpleSource><SourceFilename relativeToVRT="1">{t}.tif</SourceFilename>'
        f"<SourceBand>{c + 1}</SourceBand></SimpleSource></VRTRasterBand>"
        for t in range(STEPS)
        for c, name in enumerate(NAMES)
    )
    for t in range(STEPS):
        written(folder / f"{t}.tif", x[t])
    size = f'rasterXSize="{SIZE[1]}" rasterYSize="{SIZE[0]}"'
    place = ", ".join(map(str, PLACE.to_gdal()))
    head = f"<SRS>EPSG:32631</SRS><GeoTransform>{place}</GeoTransform>"
    (folder / "all.vrt").write_text(f"<VRTDataset {size}>{head}{bands}</VRTDataset>")
    return [folder / "all.vrt"], ()


LAYOUTS = (
    *(in_one_file, in_one_file_shuffled, in_a_file_a_date, in_a_file_a_channel),
    *(with_names_that_repeat, with_all_names, with_others_between, in_a_virtual_file),
)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_bands_are_matched_however_they_lie_in_files(layout, tmp_path):
    model, x = made(), values()
    paths, names = layout(tmp_path, x)
    mapped = predict_map(model, paths, tmp_path / "map.tif", names)
    np.testing.assert_allclose(read(tmp_path / "map.tif")[0], expected(model, x), rtol=1e-4)
    assert (mapped.pixels, mapped.empty) == (math.prod(SIZE), 0)
    if layout is with_others_between:
        assert any("not used" in each and "scene classification" in each for each in mapped.notices)


@pytest.mark.parametrize("kind", TASKS)
def test_a_map_says_what_it_is(kind, tmp_path):
    model, x, out = made(kind), values(), tmp_path / "map.tif"
    wanted = model.task.is_classification
    mapped = predict_map(model, one_file(tmp_path, x), out, probabilities=wanted)
    told = expected(model, x)
    with rasterio.open(out) as file:
        assert (file.crs, file.transform) == (rasterio.CRS.from_epsg(32631), PLACE)
        assert file.profile["tiled"] and file.profile["compress"] == "deflate"
        tags, bands = file.tags(), file.read()
        names, nodata = file.descriptions, file.nodata
        assert not {ColorInterp.alpha} & {*file.colorinterp}
    assert tags["METHOD"] == "single" and json.loads(tags["RUNS"]) == ["0123456789ab"]
    assert json.loads(tags["DATASET"])["licence"] == "CC BY 4.0"
    if kind == "regression":
        assert (names, tags["UNIT"], bands.dtype) == (("%",), "%", np.float32)
        np.testing.assert_allclose(bands[0], told, rtol=1e-4)
        assert np.isnan(nodata)
        return
    assert json.loads(tags["CLASSES"]) == list(model.task.class_names)
    of_classes = out
    if wanted:
        assert (names, nodata, bands.dtype) == (("class",), 255, np.uint8)
        np.testing.assert_array_equal(bands[0], told.argmax(axis=-1))
        of_classes = tmp_path / "map_probabilities.tif"
    assert mapped.paths == tuple(dict.fromkeys((out, of_classes)))
    with rasterio.open(of_classes) as file:
        assert file.descriptions == model.task.class_names and np.isnan(file.nodata)
        np.testing.assert_allclose(np.moveaxis(file.read(), 0, -1), told, atol=1e-5)


def test_a_vector_has_a_band_a_channel(tmp_path):
    model, x = made("multiclass", "vector"), values()[0]
    path = written(tmp_path / "in.tif", x[[2, 0, 1]], [NAMES[i] for i in (2, 0, 1)])
    predict_map(model, [path], tmp_path / "map.tif")
    told = expected(model, x).argmax(axis=-1)
    np.testing.assert_array_equal(read(tmp_path / "map.tif")[0], told)


def test_more_classes_than_a_byte_counts_have_two():
    task = TaskSpec("multiclass", 255)
    assert layers.layers(task, Path("m.tif"), False)[0].dtype == np.uint8
    (layer,) = layers.layers(TaskSpec("multiclass", 256), Path("m.tif"), False)
    assert (layer.dtype, layer.nodata) == (np.uint16, 65535)
    assert layer.of(np.eye(256, dtype=np.float32)[[255]]) == 255


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32", "float64"])
def test_pixels_without_any_value_are_nodata_and_what_else_is_missing_is_nan(dtype, tmp_path):
    model, x = made(), values(dtype)
    nodata = np.nan if dtype.startswith("float") else 0
    x[:, :, :20, :20] = nodata  # whole windows, and parts of some
    x[1, 2, 30:] = nodata
    if dtype == "float32":
        x[2, 0, 33] = np.inf
    mapped = predict_map(model, one_file(tmp_path, x, nodata=nodata), tmp_path / "map.tif")
    meant = x.astype(float)
    meant[(x == nodata) | ~np.isfinite(meant)] = np.nan
    told = expected(model, meant)
    told[:20, :20] = np.nan
    np.testing.assert_allclose(read(tmp_path / "map.tif")[0], told, rtol=1e-4)
    assert mapped.empty == 400
    assert any("400 of 1,961 pixels have no value" in each for each in mapped.notices)


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_nodata_of_classes_and_of_several_bands(kind, tmp_path):
    """Where several bands have NaN as nodata, a masked array would be filled with 1e20."""
    model, x = made(kind), values("float32")
    x[..., :5] = np.nan
    paths = [
        written(tmp_path / f"{t}.tif", x[t], NAMES, nodata=np.nan, interleave="band")
        for t in range(STEPS)
    ]
    predict_map(model, paths, tmp_path / "map.tif")
    found = read(tmp_path / "map.tif")
    if kind == "binary":
        assert (found[0, :, :5] == 255).all() and (found[0, :, 5:] < 2).all()
    else:
        assert np.isnan(found[..., :5]).all()
        np.testing.assert_allclose(
            np.moveaxis(found, 0, -1)[:, 5:], expected(model, x)[:, 5:], atol=1e-5
        )


def test_scale_and_offset_are_applied_in_floating_point(tmp_path):
    model, x = made(), values("int16")
    stored = x * 300  # times 3 it would not fit
    stored[0, 0, 0] = -9999
    scales, offsets = [1 / 300] * 12, [0.0] * 12
    scales[4], offsets[4] = 3.0, 5.0
    (path,) = one_file(tmp_path, stored, scales=scales, offsets=offsets, nodata=-9999)
    predict_map(model, [path], tmp_path / "map.tif")
    meant = stored / 300
    meant[1, 1] = stored[1, 1] * 3.0 + 5.0
    meant[0, 0, 0] = np.nan
    np.testing.assert_allclose(read(tmp_path / "map.tif")[0], expected(model, meant), rtol=1e-4)


def test_files_of_other_types_and_nodata_lie_on_each_other(tmp_path):
    model, x = made(), values("int16")
    x[0, :, 3] = 0
    kinds = [("uint8", 0), ("int16", -5), ("float32", np.nan), ("uint16", None)]
    paths = [
        written(tmp_path / f"{t}.tif", x[t].astype(kind), NAMES, nodata=nodata)
        for t, (kind, nodata) in enumerate(kinds)
    ]
    predict_map(model, paths, tmp_path / "map.tif")
    meant = x.astype(float)
    meant[0, :, 3] = np.nan
    np.testing.assert_allclose(read(tmp_path / "map.tif")[0], expected(model, meant), rtol=1e-4)


def test_the_fourth_band_of_bytes_is_no_transparency_but_where_nobody_calls_it_else(tmp_path):
    """GDAL tags it so, whatever it is: near-infrared is 0 over water."""
    model, x = made("binary", "vector"), values("uint8")[0]
    nir = np.zeros((1, *SIZE), np.uint8)
    nir[..., 20:] = 50
    four = np.concatenate([x, nir])
    path = written(tmp_path / "in.tif", four, NAMES)
    with rasterio.open(path) as file:
        assert file.colorinterp[3] == ColorInterp.alpha
    told = expected(model, x).argmax(axis=-1)

    def mapped(path, names=()):
        predict_map(model, [path], tmp_path / "map.tif", names)
        return read(tmp_path / "map.tif")[0]

    named = written(tmp_path / "named.tif", four, (*NAMES, "nir"))
    np.testing.assert_array_equal(mapped(named), told)
    unnamed = written(tmp_path / "unnamed.tif", four)
    np.testing.assert_array_equal(mapped(unnamed, (*NAMES, "nir")), told)
    told[:, :20] = 255
    np.testing.assert_array_equal(mapped(path), told)
    np.testing.assert_array_equal(mapped(unnamed, (*NAMES, "alpha")), told)


def test_a_mask_beside_the_bands_is_heeded(tmp_path):
    model, x = made("binary", "vector"), values()[0]
    path = written(tmp_path / "in.tif", x, NAMES)
    mask = np.full(SIZE, 255, np.uint8)
    mask[5:9] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    assert predict_map(model, [path], tmp_path / "map.tif").empty == 4 * SIZE[1]
    assert (read(tmp_path / "map.tif")[0, 5:9] == 255).all()


@pytest.mark.parametrize("form", [{"tiled": False}, {"blockxsize": 64, "blockysize": 64}])
def test_rows_and_large_blocks_are_read_in_pieces(form, tmp_path):
    model, x = made(), values()
    paths = one_file(tmp_path, x, compress="deflate", **form)
    predict_map(model, paths, tmp_path / "map.tif")
    np.testing.assert_allclose(read(tmp_path / "map.tif")[0], expected(model, x), rtol=1e-4)


@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    block=st.tuples(st.integers(1, 80), st.integers(1, 250)),
    most=st.integers(64, 3000),
)
def test_windows_cover_every_pixel_once_and_are_of_bounded_size(height, width, block, most):
    stack = Sized(rasters.Grid(height, width, None, Affine.identity()), block, most)
    seen = np.zeros((height, width), int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "WINDOW_BYTES", 2 * most)
        for window in windows(stack):
            assert 0 < window.height * window.width <= most
            seen[window.toslices()] += 1
    assert (seen == 1).all()


class Sized:
    """What `windows` looks at of a stack."""

    bands, dtype = (None,), np.dtype(np.uint16)

    def __init__(self, grid: rasters.Grid, block: tuple[int, int], most: int) -> None:
        self.grid, self.block, self.most = grid, block, most


def test_a_map_keeps_a_rotation_and_has_no_crs_where_there_is_none(tmp_path):
    turned = Affine.translation(3e5, 4e6) @ Affine.rotation(20) @ Affine.scale(10, -10)
    paths = one_file(tmp_path, values(), crs=None, transform=turned)
    mapped = predict_map(made(), paths, tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.crs is None and file.transform.almost_equals(turned)
    assert "the input has no CRS, and so has the map" in mapped.notices


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_without_any_place_is_mapped(tmp_path):
    paths = one_file(tmp_path, values(), crs=None, transform=Affine.identity())
    predict_map(made(), paths, tmp_path / "map.tif")
    assert read(tmp_path / "map.tif").shape == (1, *SIZE)


def test_values_out_of_place_are_counted_and_said_once(tmp_path):
    """Trained with 0 to 100: five times as wide around the same middle is -200 to 300."""
    x = values()
    x[0, 1, :3] = 301
    x[2, 0, 0, :2] = -201
    x[1, 2, 7] = 300
    mapped = predict_map(made(), one_file(tmp_path, x), tmp_path / "map.tif")
    told = [each for each in mapped.notices if "outside" in each]
    assert len(told) == 1 and f"{3 * SIZE[1] + 2:,} in all" in told[0]
    assert f"{3 * SIZE[1]} of B8A and 2 of B2" in told[0]
    quiet = predict_map(made(), one_file(tmp_path, values()), tmp_path / "map.tif")
    assert not [each for each in quiet.notices if "outside" in each]


@pytest.mark.parametrize(
    ("dtype", "scale", "written"),
    [("int16", 1, -9999), ("int16", 1e-4, -9999), ("float32", 1, -np.finfo(np.float32).max)],
)
def test_a_number_that_may_stand_for_no_value_is_told_where_it_is_not_declared(
    dtype, scale, written, tmp_path
):
    """Scaled values of it may look like any others, as -0.9999 does."""
    x = values(dtype)
    x[1, 2, 7, :5] = written
    form = {"scales": [scale] * 12, "offsets": [0.0] * 12} if scale != 1 else {}
    for name, nodata in (("none", None), ("declared", written)):
        folder = tmp_path / name
        folder.mkdir()
        rasters = one_file(folder, x, nodata=nodata, **form)
        mapped = predict_map(made(), rasters, folder / "map.tif")
        told = [each for each in mapped.notices if "outside" in each]
        expected = r"S2 has 5 × (\S+), outside of the range that the model was trained with: "
        if nodata is None:
            (sentence,) = told
            assert float(re.match(expected, sentence)[1]) == written
            assert "declare it as the file's nodata" in sentence
        else:
            assert told == []


def said_of(folder: Path, x: np.ndarray) -> list[str]:
    mapped = predict_map(made(), one_file(folder, x), folder / "map.tif")
    return [each for each in mapped.notices if "another unit" in each]


def test_values_of_a_smaller_scale_are_said_once(tmp_path):
    x = values("float32")
    (sentence,) = said_of(tmp_path, x / 10_000)
    assert sentence.startswith("S2: the values of B2, B8A and ndvi are on average less than 1/50")
    assert sentence.endswith("is it another unit or scale? The model takes reflectance")
    indices_right = x / np.float32([10_000, 10_000, 1])[:, None, None]
    (sentence,) = said_of(tmp_path, indices_right)
    assert "the values of B2 and B8A are on average" in sentence
    near = x.copy()
    near[:, 2] = 0  # the same in every unit
    assert said_of(tmp_path, near) == said_of(tmp_path, x) == []


class Cut(nn.Module):
    """Predicts no number where the first value is above 50."""

    def forward(self, x):
        first = x[:, 0, :1]
        return torch.where(first > (50 - 40) / 30, torch.nan, first)


def test_predictions_that_are_no_numbers_are_nodata_and_said(tmp_path):
    x = values()
    mapped = predict_map(made(net=Cut()), one_file(tmp_path, x), tmp_path / "map.tif")
    bad = x[0, 0] > 50
    np.testing.assert_array_equal(np.isnan(read(tmp_path / "map.tif")[0]), bad)
    assert any(f"{bad.sum():,} of 1,961 pixels have predictions" in e for e in mapped.notices)


def refused(tmp_path, paths, names=(), model=None, out="map.tif", **options) -> str:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as error:
        predict_map(model or made(), paths, tmp_path / out, names, **options)
    assert sorted(tmp_path.rglob("*")) == before
    assert "\n" not in str(error.value)
    return str(error.value)


def test_rasters_that_do_not_lie_on_each_other_are_refused(tmp_path):
    x = values()
    paths = [written(tmp_path / f"{t}.tif", x[t], NAMES) for t in range(STEPS)]
    moved = Affine.translation(3, 0) @ PLACE
    others = {
        "size (53 × 37 and 53 × 36 pixels)": {"bands": x[3][:, :36]},
        "CRS (EPSG:32631 and EPSG:32632)": {"crs": "EPSG:32632"},
        "CRS (EPSG:32631 and none)": {"crs": None},
        "transform (": {"transform": moved},
    }
    for told, form in others.items():
        written(paths[3], form.pop("bands", x[3]), NAMES, **form)
        sentence = refused(tmp_path, paths)
        assert told in sentence and "3.tif" in sentence and "gdalwarp" in sentence


def test_bands_that_do_not_fit_are_refused(tmp_path):
    x = values()
    bare = [written(tmp_path / "bare.tif", x.reshape(-1, *SIZE))]
    assert "band 1 has no description" in refused(tmp_path, bare)
    assert "5 names for 12 bands" in refused(tmp_path, bare, ["a", "b", "c", "d", "e"])
    assert "no band is called ndvi" in refused(tmp_path, bare, ["B2", "B8A", "B8"])
    assert "4 time steps" in refused(tmp_path, [*bare, *bare], NAMES)
    assert "there are 2 bands of B2" in refused(
        tmp_path, bare, ["B2", "B8A", "x", "y", "z", "ndvi"]
    )
    vector = made(kind="vector")
    assert "takes one value of each channel" in refused(tmp_path, bare, NAMES, vector)
    twice = [f"{dated(t // 2)} {name}" for t in range(STEPS) for name in NAMES]
    assert "another one" in refused(tmp_path, bare, twice)
    other = [f"{dated(t + (name == 'B8A'))} {name}" for t in range(STEPS) for name in NAMES]
    assert "B2 and B8A are of other dates" in refused(tmp_path, bare, other)
    some = [f"{dated(t)} {n}" if t else n for t in range(STEPS) for n in NAMES]
    assert "a date each" in refused(tmp_path, bare, some)


def test_what_is_no_raster_and_no_map_is_refused(tmp_path):
    x = values()
    (path,) = one_file(tmp_path, x)
    assert "no such file" in refused(tmp_path, [tmp_path / "none.tif"])
    (tmp_path / "text.tif").write_text("no raster")
    assert "text.tif: cannot be read as GeoTIFF" in refused(tmp_path, [tmp_path / "text.tif"])
    assert "ends with .tif" in refused(tmp_path, [path], out="map.png")
    assert "would replace the input" in refused(tmp_path, [path], out="all.tif")
    assert "--probabilities" in refused(tmp_path, [path], probabilities=True)
    image = made("binary", "image")
    assert "a map is made of pixels" in refused(tmp_path, [path], model=image)
    complex_ = x.reshape(-1, *SIZE).astype("complex64")
    names = [f"{dated(t)} {name}" for t in range(STEPS) for name in NAMES]
    odd = written(tmp_path / "odd.tif", complex_, names)
    assert "holds complex64" in refused(tmp_path, [odd])


def test_a_file_that_is_damaged_is_named(tmp_path):
    paths = one_file(tmp_path, values(), compress="deflate")
    content = bytearray(paths[0].read_bytes())
    half = len(content) // 2
    content[half : half + 5_000] = bytes(5_000)
    paths[0].write_bytes(content)
    with pytest.raises(UserError, match=r"all\.tif: rows \d+ to \d+ cannot be read, is it whole"):
        predict_map(made(), paths, tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()


def test_blocks_that_no_memory_holds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(maps, "UNPACKED", 1_000)
    assert "TILED=YES" in refused(tmp_path, one_file(tmp_path, values()))


def cut_off(after: int, monkeypatch) -> None:
    """The next map ends after some windows, as if it were interrupted."""
    keep, counted = layers.Part.keep, []

    def keeping(self, *arguments):
        if len(counted) == after:
            raise KeyboardInterrupt
        counted.append(keep(self, *arguments))

    monkeypatch.setattr(layers.Part, "keep", keeping)


@pytest.mark.parametrize("kind", ["regression", "multiclass"])
def test_a_map_that_was_interrupted_goes_on_to_the_same_bytes(kind, tmp_path, monkeypatch):
    model, x = made(kind), values("float32")
    x[:, :, :9] = np.nan
    x[:, 1, 20] = 1e4
    paths, options = one_file(tmp_path, x), {"probabilities": kind == "multiclass"}
    whole = predict_map(model, paths, tmp_path / "whole.tif", workers=1, **options)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        cut_off(3, patch)
        predict_map(model, paths, tmp_path / "map.tif", **options)
    notes = tmp_path / ".map.tif.part" / "finished"
    assert len(notes.read_text().splitlines()) == 4 and not (tmp_path / "map.tif").exists()
    with notes.open("a") as file:
        file.write('{"window": 3, "em')  # killed while it was written
    begun = []
    window = maps.Predicting.window
    monkeypatch.setattr(
        maps.Predicting, "window", lambda self, w: begun.append(w) or window(self, w)
    )
    mapped = predict_map(model, paths, tmp_path / "map.tif", **options)
    assert len(begun) == len(windows(rasters.look(paths, model.spec))) - 3
    for one, other in zip(whole.paths, mapped.paths, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert not (tmp_path / ".map.tif.part").exists()
    assert whole.empty == mapped.empty == 9 * SIZE[1]
    assert [n for n in mapped.notices if "from before" not in n] == [*whole.notices]


def test_what_was_begun_with_another_input_is_begun_anew(tmp_path, monkeypatch):
    model, x = made(), values()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        cut_off(3, patch)
        predict_map(model, one_file(tmp_path, x), tmp_path / "map.tif")
    paths = one_file(tmp_path, values(seed=1))
    mapped = predict_map(model, paths, tmp_path / "map.tif")
    assert any("begun anew" in each for each in mapped.notices)
    told = expected(model, values(seed=1))
    np.testing.assert_allclose(read(tmp_path / "map.tif")[0], told, rtol=1e-4)


def test_two_at_one_map_are_told(tmp_path):
    model, paths = made(), one_file(tmp_path, values())
    stack = rasters.look(paths, model.spec)
    todo = layers.layers(model.task, tmp_path / "map.tif", False)
    with layers.Part(todo, stack.grid, "key"), pytest.raises(UserError, match="another process"):
        predict_map(model, paths, tmp_path / "map.tif")
    predict_map(model, paths, tmp_path / "map.tif")


def test_what_the_disk_does_not_hold_is_told(tmp_path, monkeypatch):
    """GDAL raises nothing: what it has written is read again."""
    pieces = layers.Part._pieces
    calls = []

    def other(self, number):
        calls.append(number)
        for window, each in pieces(self, number):
            yield window, each + (len(calls) > 1)

    monkeypatch.setattr(layers.Part, "_pieces", other)
    with pytest.raises(NotWritableError, match="is the disk full"):
        predict_map(made(), one_file(tmp_path, values()), tmp_path / "map.tif")
    assert {p.name for p in tmp_path.iterdir()} == {"all.tif", ".map.tif.part"}


KILLED = """
import sys, time
from pathlib import Path
from benchmark.deployment import maps
from tests.test_maps import made, values
maps.WINDOW_PIXELS, maps.BATCH = 300, 64
window = maps.Predicting.window
maps.Predicting.window = lambda self, w: time.sleep(0.2) or window(self, w)
folder = Path(sys.argv[1])
maps.predict_map(made(), [folder / "all.tif"], folder / "map.tif")
"""


def test_a_map_survives_a_kill(tmp_path):
    model, paths = made(), one_file(tmp_path, values())
    whole = predict_map(model, paths, tmp_path / "whole.tif")
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT)
    notes = tmp_path / ".map.tif.part" / "finished"
    until = time.monotonic() + 120
    while not (notes.exists() and len(notes.read_bytes().splitlines()) > 2):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    written_by_it = tmp_path / f".map.tif.{platform.node()}-{process.pid}-0.part"
    written_by_it.touch()  # as if it had been killed while it wrote the map
    mapped = predict_map(model, paths, tmp_path / "map.tif")
    assert not written_by_it.exists()
    assert any("were there from before" in each for each in mapped.notices)
    assert mapped.paths[0].read_bytes() == whole.paths[0].read_bytes()


@pytest.mark.parametrize("kind", ["series", "vector"])
def test_a_fused_net_predicts_the_same(kind):
    model = made("multiclass", kind)
    net = fused(model.net)
    x = torch.randn(50, *model.spec.shape) * 30 + 40
    torch.testing.assert_close(net(x), model.net(x), rtol=1e-4, atol=1e-5)
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    own = [m for m in net.modules() if isinstance(m, norms)]
    assert bool(own) == (kind == "vector")  # there they stand behind the activation
    assert any(isinstance(m, Linear) for m in net.modules())


def test_what_is_faster_is_only_taken_where_it_predicts_the_same(monkeypatch):
    model = made()
    assert maps.fastest(model) is not model.net
    monkeypatch.setattr(
        "benchmark.deployment.fused.Linear.forward", lambda self, x: x @ self.weight.T
    )
    assert maps.fastest(model) is model.net
