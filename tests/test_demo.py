"""`demo`: a generated scene, two maps of it, and a picture."""

from __future__ import annotations

import re

import numpy as np
import pytest
import rasterio

from benchmark.commands import demo
from benchmark.commands.main import main
from benchmark.planning import protocol
from datasets.cropharvest import MODALITIES, generate_scene
from tests.layouts import ADAPTERS

SIDE = 40


def read(path):
    with rasterio.open(path) as file:
        return file.read(), file.descriptions, file.crs


def test_a_scene_is_in_the_units_of_the_dataset_and_the_same_every_time(tmp_path):
    scenes = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        truth = generate_scene(tmp_path / name, seed=1, side=SIDE, fields=12)
        scenes.append([truth, *(read(tmp_path / name / f"{m}.tif") for m in ("S1", "S2"))])
    (truth, radar, optics), (again, other, _) = scenes
    assert (truth == again).all() and 0 < truth.mean() < 1
    np.testing.assert_array_equal(radar[0], other[0])
    for m, (bands, names, crs) in (("S1", radar), ("S2", optics)):
        channels = MODALITIES[m][1]
        assert bands.shape == (12 * len(channels), SIDE, SIDE) and crs.is_projected
        assert names[: len(channels)] == tuple(f"2020-02 {name}" for name in channels)
        assert np.isnan(bands[:, 0, 0]).all() and np.isfinite(bands[:, -1, -1]).all()
    assert -40 < np.nanmean(radar[0]) < -5 and 500 < np.nanmean(optics[0][2]) < 6000


@pytest.fixture
def small(tmp_path, monkeypatch):
    """One epoch, few samples, few pixels."""
    quick = (protocol.FOLDER / "quick.yaml").read_text()
    (tmp_path / "tiny.yaml").write_text(quick.replace("epochs: 15 ", "epochs: 1 "))
    monkeypatch.setattr(demo, "PROTOCOL", str(tmp_path / "tiny.yaml"))
    monkeypatch.setattr(demo, "SIDE", SIDE)
    monkeypatch.setattr(demo, "FIELDS", 12)
    monkeypatch.setattr(ADAPTERS["cropharvest_binary"], "generated_samples", 150)


def test_demo_makes_maps_that_can_be_made_again_by_hand(small, tmp_path, capsys):
    out = tmp_path / "demo"
    places = ["--cache", str(tmp_path / "cache")]
    assert main(["demo", "--out", str(out), *places]) == 0
    said = capsys.readouterr().out
    assert "GENERATED" in said and f"wrote {out / 'demo.png'}" in said
    assert (out / "demo.png").read_bytes().startswith(b"\x89PNG")
    truth = generate_scene(tmp_path, seed=demo.SEED, side=SIDE, fields=12)
    for method in demo.METHODS:
        found = read(out / f"{method}.tif")[0][0]
        assert found[0, 0] == 255
        right = f"{(found == truth)[found != 255].mean():.1%}"
        assert right in re.search(r"Of the pixels (.*) are right", said)[1]
    command = re.search(r"python -m benchmark (predict .*)$", said, re.MULTILINE)[1].split()
    again = tmp_path / "again.tif"
    assert main([*command[:-1], str(again), *places]) == 0
    assert read(again)[0].tolist() == read(out / "mdico.tif")[0].tolist()
    assert f"wrote {again}: mdico on S1, {SIDE**2:,} pixels" in capsys.readouterr().out


def test_a_place_that_cannot_be_written_to_is_told_at_once(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["demo", "--out", str(tmp_path / "file" / "demo")]) == 2
    assert "choose another --out" in capsys.readouterr().err
