"""Bands of weights and channels of modalities are matched by name, and by nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec
from methods.common.bands import WAVELENGTHS, canonical, factor, match


def spec(*channels: str, units: str = "1") -> ModalitySpec:
    return ModalitySpec("S2", "image", (4, 4, len(channels)), channels, units)


def test_one_band_has_one_name_however_it_is_written():
    assert {canonical(name) for name in ("B8a", "B8A", "B08A", "b8a")} == {"B8A"}
    assert {canonical(name) for name in ("B8", "B08", "b8")} == {"B8"}
    assert {canonical(name) for name in ("R", "red", "Red")} == {"red"}
    assert canonical("vh") == "VH" and canonical("B12") == "B12" != canonical("B1")


@given(st.permutations(sorted(WAVELENGTHS)), st.permutations(sorted(WAVELENGTHS)))
def test_the_order_of_bands_and_of_channels_does_not_matter(bands, channels):
    index = match(spec(*channels), bands, {}, ())
    assert [channels[i] for i in index] == bands


@pytest.mark.parametrize("bands", [("VV", "VH"), ("VH", "VV")])
@pytest.mark.parametrize("channels", [("VV", "VH"), ("VH", "VV")])
def test_polarisations_are_matched_in_either_order(bands, channels):
    assert [channels[i] for i in match(spec(*channels), bands, {}, ())] == list(bands)


def test_the_narrow_near_infrared_does_not_stand_for_the_wide_one_unless_it_is_said():
    with pytest.raises(UserError, match="the weights see B08, and S2 has no channel of that name"):
        match(spec("B8A"), ("B08",), {}, ())
    assert match(spec("B8A"), ("B08", "B8a"), {"B8": "B8A"}, ()) == [0, 0]


def test_what_is_left_over_on_either_side_is_an_error_unless_it_is_said():
    bands, channels = ("B4", "B10"), spec("B04", "cloud_prob")
    with pytest.raises(UserError, match=r"the weights see B10, .* bands: \{B10: null\}"):
        match(channels, bands, {}, ["cloud_prob"])
    with pytest.raises(UserError, match=r"no band for cloud_prob .* ignore: \[cloud_prob\]"):
        match(channels, bands, {"B10": None}, ())
    assert match(channels, bands, {"B10": None}, ["cloud_prob"]) == [0, None]


@pytest.mark.parametrize(
    ("chosen", "ignored", "sentence"),
    [
        ({"B5": "B04"}, (), "'B5' is no band of these weights"),
        ({"B4": "B05"}, (), "'B05' is no channel of S2"),
        ({}, ("red",), "'red' is no channel of S2"),
        (["B4"], (), "bands is a mapping"),
        ({}, "B04", "ignore a list"),
    ],
)
def test_names_that_are_none_are_errors(chosen, ignored, sentence):
    with pytest.raises(UserError, match=sentence):
        match(spec("B04"), ("B4",), chosen, ignored)


def test_two_channels_of_one_name_are_an_error():
    with pytest.raises(UserError, match="channels B8 and B08 of S2 have one name"):
        match(spec("B8", "B08"), ("B8",), {}, ())


@pytest.mark.parametrize(
    ("units", "wanted", "times"),
    [
        ("reflectance × 10⁴, Sentinel-2", "reflectance × 10⁴", 1),
        ("reflectance, Sentinel-2", "reflectance × 10⁴", 1e4),
        ("reflectance x 10000", "reflectance", 1e-4),
        ("dB, Sentinel-1", "dB", 1),
        ("linear power, Sentinel-1 ascending", "dB", None),
        ("backscatter, Sentinel-1", "dB", None),
        ("counts, 0 to 255", "reflectance", None),
        ("reflectance", "dB", None),
    ],
)
def test_units_become_others_by_a_factor_or_not_at_all(units, wanted, times):
    assert factor(units, wanted) == (None if times is None else pytest.approx(times))
