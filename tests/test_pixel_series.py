"""Presto and Galileo: tokens by name and unit, what is missing, when and where, and parity.

`RELEASED` is what the released code gives for `values`, recorded on another machine: months and
places as there, single precision.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import methods
from benchmark.errors import UserError
from benchmark.problem import CONTEXT, ModalitySpec
from methods.common import galileo
from methods.common import weights as files
from methods.common.encoders import BACKBONES
from methods.common.pixel_series import DAYS, pixels

methods.load()
NAMES = ("presto", "galileo")
RANDOM = {"weights": None}

CHANNELS = {
    "S1": ("VV", "VH"),
    "S2": ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12"),
    "weather": ("temperature_2m", "total_precipitation"),
    "terrain": ("elevation", "slope"),
}
CHANNELS["all"] = sum(CHANNELS.values(), ())
UNITS = {
    "S1": "dB, Sentinel-1",
    "S2": "reflectance × 10⁴, Sentinel-2",
    "weather": "K, m",
    "terrain": "m, degrees",
}
UNITS["all"] = ", ".join(UNITS.values())
BASE = {"VV": -11, "VH": -18, "temperature_2m": 289, "total_precipitation": 0.004}
BASE |= {"elevation": 900, "slope": 6}
MONTHS = [[1, 2, 3, 4], [11, 12, 12, 1]]
PLACES = [[44.25, -110.5], [-33.5, 18.75]]

RELEASED = {
    ("presto", "S1"): [
        [-0.274084, -1.533447, -0.226906, 0.928071],
        [-0.649025, -3.453853, 0.128096, 0.703735],
    ],
    ("galileo", "S1"): [
        [-0.015762, 0.001691, -0.306678, 0.054969],
        [0.009584, 0.001517, -0.380071, 0.048924],
    ],
    ("presto", "S2"): [
        [-0.684376, 0.057952, 1.552622, 1.565616],
        [-1.581785, -3.75277, 0.702128, 0.837381],
    ],
    ("galileo", "S2"): [
        [-0.01533, -0.022058, -0.352597, 0.006076],
        [0.017722, 0.00668, -0.35908, 0.020337],
    ],
    ("presto", "weather"): [
        [-0.608375, -3.501512, -0.354804, 1.317028],
        [-1.153146, -3.716952, 0.549508, -0.20823],
    ],
    ("galileo", "weather"): [
        [0.013221, -0.009344, -0.464878, 0.049043],
        [0.009122, -0.062741, -0.322626, 0.074909],
    ],
    ("presto", "terrain"): [
        [-0.199009, -2.401201, -0.600514, 0.065212],
        [0.286356, -3.482576, 0.392172, 0.518689],
    ],
    ("galileo", "terrain"): [
        [0.010498, 0.007022, -0.102248, 0.06484],
        [0.027172, -0.001714, -0.204436, 0.052383],
    ],
    ("presto", "all"): [
        [-1.40657, -1.925784, 1.208309, 0.378153],
        [-2.12346, -3.206415, 1.251137, 0.239273],
    ],
    ("galileo", "all"): [
        [0.006905, -0.047437, -0.304133, 0.018799],
        [0.008174, -0.007455, -0.305702, 0.034108],
    ],
}


def spec(m: str, *, context: bool = True, steps: int = 4) -> ModalitySpec:
    channels = CHANNELS[m] + (CONTEXT if context else ())
    shape = (len(channels),) if m == "terrain" else (steps, len(channels))
    kind = "vector" if m == "terrain" else "series"
    return ModalitySpec(m, kind, shape, channels, UNITS[m])


def summed(of: ModalitySpec) -> ModalitySpec:
    """The same, its precipitation being the sum of a month instead of a mean day's."""
    daily = "total_precipitation"
    return replace(of, channels=tuple(c + "_sum" if c == daily else c for c in of.channels))


def values(m: str, *, context: bool = True) -> np.ndarray:
    """(2, *shape) in the modality's units."""
    t, i = np.arange(4)[None, :], np.arange(2)[:, None]
    columns = []
    for c, channel in enumerate(CHANNELS["all"]):
        if channel in ("elevation", "slope"):
            t = 0 * t
        base = BASE.get(channel, 1000 + 100 * c)
        columns.append(base * (1 + 0.2 * np.sin(1 + c + 2 * t + 3 * i)))
    x = np.stack(columns, axis=-1)[..., [CHANNELS["all"].index(c) for c in CHANNELS[m]]]
    if context:
        places = np.repeat(np.array(PLACES)[:, None], 4, axis=1)
        x = np.concatenate([x, np.array(MONTHS)[..., None], places], axis=-1)
    return x[:, 0] if m == "terrain" else x


def standardised(name: str, of: ModalitySpec, x: np.ndarray, **options) -> torch.Tensor:
    """As the harness does it for the weights: what is missing, and not seen, is 0."""
    mean, std = BACKBONES[name].statistics(of, options)
    return torch.from_numpy((x - mean) / std).float().nan_to_num(nan=0.0)


def encoded(name: str, of: ModalitySpec, x: np.ndarray, seed: int = 0, **options) -> np.ndarray:
    torch.manual_seed(seed)
    net = BACKBONES[name].build(of, **{**RANDOM, **options}).eval()
    with torch.no_grad():
        return net(standardised(name, of, x, **options)).numpy()


@pytest.mark.parametrize("m", list(CHANNELS))
@pytest.mark.parametrize("name", NAMES)
def test_with_its_weights_it_gives_what_the_release_gives(name, m, real_data, monkeypatch):
    monkeypatch.setenv(files.FOLDER, str(real_data / "weights"))
    weights = {"presto": "default", "galileo": "nano"}[name]
    of = spec(m) if name == "presto" else summed(spec(m))  # as it was pre-trained
    found = encoded(name, of, values(m), weights=weights)
    assert found.shape == (2, 128)
    assert found[:, :4] == pytest.approx(np.array(RELEASED[name, m]), abs=2e-5)


def test_galileo_normalises_by_the_numbers_of_its_release():
    # Of the 32 means and standard deviations in the release's config/normalization.json: single
    # precision hides a wrong digit.
    of_release = "bdb2640c8e5a851d02d82a19f9e1aeac305d1dd2d29aeb931659179e92eeb22d"
    numbers = json.dumps(list(galileo.PRETRAINING.values()))
    assert hashlib.sha256(numbers.encode()).hexdigest() == of_release


@pytest.mark.parametrize("name", NAMES)
def test_each_group_of_a_time_step_is_a_token_and_terrain_and_the_place_are_one(name):
    tokens = {"S1": 4, "S2": 6 * 4, "weather": 4, "terrain": 1, "all": 8 * 4 + 1}
    for m, n in tokens.items():
        net = BACKBONES[name].build(spec(m), **RANDOM).eval()
        with torch.no_grad():
            z, there = net.hidden(standardised(name, spec(m), values(m)))
        assert z.shape == (2, n + 1, 128) and there.all()
        without = BACKBONES[name].build(spec(m, context=False), **RANDOM)
        x = standardised(name, spec(m, context=False), values(m, context=False))
        assert without.hidden(x)[0].shape == (2, n, 128)


@pytest.mark.parametrize("name", NAMES)
def test_half_a_group_that_is_missing_is_no_token(name):
    of, x = spec("S2"), values("S2")
    x[0, 1, of.channels.index("B11")] = np.nan  # and with it B12
    x[1, 2, of.channels.index("B4")] = np.nan  # and with it B2, B3 and NDVI
    net = BACKBONES[name].build(of, **RANDOM).eval()
    with torch.no_grad():
        there = net.hidden(standardised(name, of, x))[1].sum(dim=1)
    assert there.tolist() == [25 - 1, 25 - 2]
    changed = x.copy()
    changed[0, 1, of.channels.index("B12")] *= 3
    assert (encoded(name, of, x) == encoded(name, of, changed)).all(), "the other half is not seen"


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_of_which_all_is_missing_has_finite_features_without_a_warning(name):
    for m in CHANNELS:
        of = spec(m, context=False)
        assert np.isfinite(encoded(name, of, np.full((2, *of.shape), np.nan))).all()


@pytest.mark.parametrize("name", NAMES)
def test_precipitation_of_a_month_and_of_its_mean_day_are_the_same(name):
    of, day = spec("weather"), values("weather")
    month = day.copy()
    month[..., of.channels.index("total_precipitation")] *= DAYS
    assert encoded(name, summed(of), month) == pytest.approx(encoded(name, of, day), abs=1e-6)
    assert np.abs(encoded(name, of, month) - encoded(name, of, day)).max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_zero_is_a_value(name):
    """Flat ground at the sea, a dry month, 0 °: nothing of it is missing."""
    of = spec("all")
    x = values("all")
    for channel in ("elevation", "slope", "total_precipitation", "latitude", "longitude"):
        x[..., of.channels.index(channel)] = 0
    net = BACKBONES[name].build(of, **RANDOM).eval()
    with torch.no_grad():
        assert net.hidden(standardised(name, of, x))[1].all()


@pytest.mark.parametrize("name", NAMES)
def test_without_a_month_it_is_that_of_the_release(name):
    of, x = spec("S1"), values("S1")
    month = of.channels.index("month")
    default = {"presto": [1, 2, 3, 4], "galileo": [6, 6, 6, 6]}[name]
    known, unknown = x.copy(), x.copy()
    known[..., month], unknown[..., month] = default, np.nan
    assert encoded(name, of, unknown) == pytest.approx(encoded(name, of, known), abs=1e-6)
    assert np.abs(encoded(name, of, unknown) - encoded(name, of, x)).max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_names_units_and_the_order_of_channels_are_understood(name):
    x = values("S2", context=False)
    expected = encoded(name, spec("S2", context=False), x)
    other = replace(
        spec("S2", context=False),
        channels=("B02", "B03", "B04", "B05", "b6", "B07", "nir", "B8a", "B09", "B11", "B12"),
        units="reflectance",
    )
    found = encoded(name, other, x / 1e4, bands={"B8": "nir"})
    assert found == pytest.approx(expected, abs=1e-5)
    turned = replace(spec("S2", context=False), channels=CHANNELS["S2"][::-1])
    assert encoded(name, turned, x[..., ::-1]) == pytest.approx(expected, abs=1e-5)
    mm = replace(spec("weather", context=False), units="K, mm")
    x = values("weather", context=False)
    assert encoded(name, mm, x * [1, 1000]) == pytest.approx(
        encoded(name, spec("weather", context=False), x), abs=1e-5
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_window_is_the_mean_of_its_pixels_that_are_there(name):
    of, x = spec("S1", context=False), values("S1", context=False)
    window = replace(of, shape=(4, 2, 2, 2))
    pixel = np.array([0.9, 1.1, 1.0, 1.0]).reshape(2, 2, 1)
    wide = x[:, :, None, None] * pixel
    assert encoded(name, window, wide) == pytest.approx(encoded(name, of, x), abs=1e-5)
    wide[:, :, 1, 1] = np.nan
    assert encoded(name, window, wide) == pytest.approx(encoded(name, of, x), abs=1e-5)


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"channels": ("VV", "ratio")}, {}, "none of them is ratio of S1; say which one it is"),
        ({"channels": ("VV",), "shape": (4, 1)}, {}, "sees VV, VH together, and S1 has no VH"),
        ({"units": "power"}, {}, "VV of S1 is in 'power', and '.*' was trained on values in dB"),
        ({"shape": (25, 2)}, {}, "knows positions of 24 time steps, and S1 has 25"),
        ({}, {"ignore": ["VV", "VH"]}, "sees no channel of S1"),
        ({}, {"ignore": ["B8"]}, "'B8' is no channel of S1 .VV, VH"),
        ({}, {"bands": {"B99": "VV"}}, "bands: 'B99' is none that '.*' sees"),
        (
            {"channels": ("B4", "ndvi"), "units": "reflectance × 10⁴, Landsat-8"},
            {},
            "none of them is B4, ndvi of S1",
        ),
        ({"channels": ("VV", "vv")}, {}, "channels VV and vv of S1 are both VV; ignore: .vv."),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_what_it_cannot_take_is_refused_in_one_sentence(name, change, options, said):
    of = replace(spec("S1", context=False), **change)
    with pytest.raises(UserError, match=said) as error:
        BACKBONES[name].build(of, **{**RANDOM, **options})
        BACKBONES[name].statistics(of, options)
    assert name in str(error.value) or "ignore" in options or "both" in said
    assert "\n" not in str(error.value)


def test_what_is_not_known_may_be_left_out_altogether():
    of = replace(spec("S1"), channels=("VV", "VH", "ratio", *CONTEXT), shape=(4, 6))
    seen = pixels("presto", of, {"ignore": "others"})
    assert seen.groups == {"S1": (0, 1)} and seen.month == (3,) and seen.place == ((4,), (5,))
    half = replace(spec("weather"), channels=("VV", "temperature_2m", "VH"), shape=(4, 3))
    assert list(pixels("presto", half, {"ignore": "others"}).groups) == ["S1"]


@pytest.mark.parametrize("name", NAMES)
def test_files_of_weights_are_found_by_name_or_path_and_told_apart(name, tmp_path, monkeypatch):
    build, of = BACKBONES[name].build, spec("S1")
    monkeypatch.setenv(files.FOLDER, str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(UserError, match=f"weights of '{name}' are not on this machine .* not in"):
        build(of)
    with pytest.raises(UserError, match="unknown weights 'huge'"):
        build(of, weights="huge")
    with pytest.raises(UserError, match="there is no file .*nowhere.pt"):
        build(of, weights=str(tmp_path / "nowhere.pt"))
    other = tmp_path / {"presto": "presto.safetensors", "galileo": "galileo_nano.safetensors"}[name]
    save_file({"a": torch.zeros(2)}, other)
    for named in ({}, {"weights": str(other)}):
        with pytest.raises(UserError, match=f"{other.name} holds the weights of another model"):
            build(of, **named)


def test_a_file_that_torch_has_saved_gives_the_same_as_safetensors(real_data, tmp_path):
    from safetensors.torch import load_file

    source: Path = real_data / "weights" / "presto.safetensors"
    torch.save(load_file(source), tmp_path / "presto.pt")
    both = [
        encoded("presto", spec("S1"), values("S1"), weights=str(path))
        for path in (source, tmp_path / "presto.pt")
    ]
    assert (both[0] == both[1]).all()
