"""Encoders of torchgeo: bands by name, the weights' own units and statistics, files of weights.

The weights are random ones, in files as torchgeo's are.
"""

from __future__ import annotations

import http.server
import logging
import re
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import datasets
import methods.common.torchgeo as encoders_of_torchgeo
from benchmark.errors import UserError
from benchmark.planning import encoders as planning
from benchmark.planning import protocol
from benchmark.planning.split import Fold
from benchmark.problem import ModalitySpec
from benchmark.training.data import fold_data
from methods.common import weights as files
from methods.common.encoders import BACKBONES, Encoders, backbone_of
from tests.problems import dataset

torchgeo = pytest.importorskip("torchgeo.models")

ROOT = Path(__file__).parents[1]
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
MOCO = "SENTINEL2_ALL_MOCO"
OPTIONS = {
    "model": "torchgeo/resnet18",
    "weights": MOCO,
    "size": 32,
    "bands": {"B10": None},
}


def spec(
    channels: tuple[str, ...] = BANDS,
    units: str = "reflectance × 10⁴, Sentinel-2",
    side: int = 32,
) -> ModalitySpec:
    return ModalitySpec("S2", "image", (side, side, len(channels)), channels, units)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """The folder of an empty hub of torch."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def name_of(weights) -> str:
    return weights.url.rpartition("/")[2]


@pytest.fixture
def resnet(hub):
    """torchgeo's own model with the weights that lie in the hub."""
    entry = torchgeo.ResNet18_Weights[MOCO]
    torch.manual_seed(3)
    model = torchgeo.resnet18(in_chans=13, num_classes=0)
    for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.1)
    torch.save(model.state_dict(), hub / name_of(entry))
    return model.eval()


def standardised(given: ModalitySpec, values: np.ndarray, options: dict) -> torch.Tensor:
    """What the encoder is given of values in the modality's units, by way of a fold's data."""
    n = len(values)
    data = dataset("binary", kinds=("vector",), samples=n)
    data = replace(data, modalities={"S2": given}, x={"S2": values}, y=np.arange(n) % 2)
    every = np.arange(n)
    own = Encoders(dim=4, layer_norm=False, options={"image": options}).statistics(given)
    ready = fold_data(
        data, Fold(0, every, every, every), "training", torch.device("cpu"), own={"S2": own}
    )
    return ready.train.x["S2"][torch.arange(n)]


def encoded(given: ModalitySpec, values: np.ndarray, options: dict) -> torch.Tensor:
    backbone, own = backbone_of("image", options)
    x = standardised(given, values, options)
    with torch.no_grad():
        return backbone.build(given, **own).eval()(x)


@pytest.mark.parametrize(("units", "scale"), [("reflectance × 10⁴", 1.0), ("reflectance", 1e-4)])
def test_features_are_those_of_torchgeos_own_model_on_its_own_bands(resnet, units, scale):
    """Whatever the order of the channels and their units; missing values and bands are 0."""
    rng = np.random.default_rng(0)
    physical = rng.uniform(0, 5000, (4, 32, 32, 12)).astype(np.float32)
    physical[0, :4, :4, 2] = np.nan
    order = rng.permutation(12)
    own = encoded(
        spec(tuple(BANDS[i] for i in order), units), physical[..., order] * scale, OPTIONS
    )
    bands = np.insert(np.nan_to_num(physical), 10, 0, axis=-1)  # B10
    x = torch.from_numpy(bands).permute(0, 3, 1, 2)
    normalise = torchgeo.ResNet18_Weights[MOCO].transforms[-1]
    with torch.no_grad():
        assert torch.allclose(own, resnet(normalise(x.clone())), rtol=1e-3, atol=1e-4)


def test_images_are_resized_to_the_size_of_the_weights_unless_another_is_said(resnet):
    options = {**OPTIONS, "size": None}
    backbone, own = backbone_of("image", options)
    assert backbone.build(spec(), **own).size == 224
    assert backbone_of("image", OPTIONS)[0].build(spec(), weights=None, size=None).size is None


def test_each_band_has_the_weights_statistics(hub):
    options = {"weights": "SENTINEL2_ALL_SOFTCON", "bands": {"B10": None}}
    mean, std = BACKBONES["torchgeo/resnet50"].statistics(spec(BANDS[::-1]), options)
    assert (mean[0], std[0]) == (1537.4, 1142.9) and (mean[-1], std[-1]) == (1612.9, 791.0)
    reflectance = spec(BANDS[::-1], "reflectance")
    scaled = BACKBONES["torchgeo/resnet50"].statistics(reflectance, options)
    assert np.allclose(scaled, np.stack([mean, std]) * 1e-4)


def test_a_channel_that_stands_for_two_bands_is_seen_by_the_statistics_of_each(hub):
    entry = torchgeo.ResNet50_Weights["SENTINEL2_ALL_SOFTCON"]
    channels = tuple(name for name in BANDS if name != "B08")
    options = {
        "model": "torchgeo/resnet50",
        "weights": entry.name,
        "bands": {"B10": None, "B8": "B8A"},
    }
    torch.save(torchgeo.resnet50(in_chans=13).state_dict(), hub / name_of(entry))
    backbone, own = backbone_of("image", options)
    net = backbone.build(spec(channels), **own)
    values = np.full((2, 32, 32, 11), 3000.0, dtype=np.float32)
    x = standardised(spec(channels), values, options).permute(0, 3, 1, 2)[:, net.index]
    seen = (x * net.gain + net.shift)[0, :, 0, 0]
    expected = entry.transforms[-1](torch.full((13, 1, 1), 3000.0)).flatten()
    expected[10] = 0  # B10
    assert torch.allclose(seen, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("given", "model", "options", "sentence"),
    [
        (spec(), "resnet18", {"weights": MOCO}, "the weights see B10, and S2 has no channel"),
        (spec(), "resnet18", {"weights": "SENTINEL2_RGB_MOCO"}, "have no band for B01, B05"),
        (
            spec(),
            "resnet18",
            {"weights": "SENTINEL2_MOCO"},
            "did you mean SENTINEL2_RGB_MOCO or SENTINEL2_ALL_MOCO",
        ),
        (spec(), "resnet50", {"weights": "LANDSAT_OLI_SR_MOCO"}, "the weights see SR_B1"),
        (
            spec(tuple(f"B{i}" for i in range(1, 8))),
            *("resnet18", {"weights": "LANDSAT_TM_TOA_MOCO"}),
            "the weights see B1, B2, B3",  # of Landsat, and not those of Sentinel-2
        ),
        (
            spec(("VV", "VH"), "linear power, Sentinel-1"),
            *("resnet50", {"weights": "SENTINEL1_ALL_MOCO"}),
            "S2 is in 'linear power, Sentinel-1', and the weights SENTINEL1_ALL_MOCO were trained "
            "on values in dB: no factor",
        ),
        (
            spec(("VV", "VH"), "dB"),
            *("resnet50", {"weights": "SENTINEL1_GRD_CLOSP"}),
            "torchgeo does not say in which units",
        ),
    ],
)
def test_weights_that_are_not_for_a_modality_are_refused(given, model, options, sentence):
    with pytest.raises(UserError, match=sentence):
        BACKBONES[f"torchgeo/{model}"].statistics(given, options)


def test_without_weights_all_channels_are_seen_that_are_not_ignored():
    torch.manual_seed(0)
    net = BACKBONES["torchgeo/resnet18"].build(spec(("a", "b", "c")), ignore=["b"]).eval()
    x = torch.randn(1, 32, 32, 3)
    other = x.clone()
    other[..., 1] += 1
    with torch.no_grad():
        assert torch.equal(net(x), net(other))
        other[..., 2] += 1
        assert not torch.equal(net(x), net(other))


# --- Models for any sensor ----------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch, hub):
    """DOFA and CROMA of torchgeo, small, and their weights in the hub."""
    from torchgeo.models import CROMA, DOFA

    sizes = {"embed_dim": 32, "depth": 1, "num_heads": 2}
    monkeypatch.setattr(torchgeo, "dofa_base_patch16_224", partial(DOFA, **sizes))
    few = {"encoder_dim": 32, "encoder_depth": 2}
    monkeypatch.setattr(torchgeo, "croma_base", partial(CROMA, **few))
    torch.manual_seed(1)
    dofa = DOFA(**sizes, num_classes=0).eval()
    croma = CROMA(**few, image_size=16).eval()
    with torch.no_grad():
        dofa.pos_embed.normal_()
    state = {k: v for k, v in dofa.state_dict().items() if not k.startswith("fc_norm")}
    torch.save(state, hub / name_of(torchgeo.DOFABase16_Weights.DOFA_MAE))
    parts = {
        f"{s}_{part}": getattr(croma, f"{s}_{part}").state_dict()
        for s in ("s1", "s2")
        for part in ("encoder", "GAP_FFN")
    }
    parts["joint_encoder"] = croma.joint_encoder.state_dict()
    torch.save(parts, hub / name_of(torchgeo.CROMABase_Weights.CROMA_VIT))
    return dofa, croma


def test_dofa_knows_bands_by_their_wavelengths(small):
    dofa, _ = small
    given = spec(("B11", "nir", "red", "mask"), side=224)
    backbone = BACKBONES["torchgeo/dofa_base_patch16_224"]
    net = backbone.build(given, weights="DOFA_MAE", wavelengths={"nir": 0.81}, ignore=["mask"])
    x = torch.randn(2, 224, 224, 4)
    with torch.no_grad():
        expected = dofa.forward_features(x[..., :3].permute(0, 3, 1, 2), [1.61, 0.81, 0.665])
        assert torch.allclose(net.eval()(x), expected, atol=1e-5)
    assert net.out_features == 32
    with pytest.raises(UserError, match=r"the wavelength of nir of S2 in µm: wavelengths: \{nir:"):
        backbone.build(given, weights="DOFA_MAE", ignore=["mask"])
    with pytest.raises(UserError, match="'linear power', and these models were trained on radar"):
        backbone.build(spec(("VV", "VH"), "linear power"))
    with pytest.raises(UserError, match="sees images of 224 pixels only"):
        backbone.build(spec(("red",)), weights="DOFA_MAE", size=64)


@pytest.mark.parametrize("model", ["dofa_base_patch16_224", "copernicusfm_base"])
def test_without_weights_a_model_sees_where_a_thing_is(model, small, monkeypatch):
    from torchgeo.models import CopernicusFM

    few = {"embed_dim": 32, "depth": 1, "num_heads": 2}
    monkeypatch.setattr(torchgeo, "copernicusfm_base", partial(CopernicusFM, **few))
    net = BACKBONES[f"torchgeo/{model}"].build(spec(("red",), side=224)).eval()
    images = torch.zeros(2, 224, 224, 1)
    images[0, 47:63, 47:63] = images[1, 143:159, 111:127] = 100.0  # a patch begins one pixel before
    with torch.no_grad():
        one, other = net(images)
    assert (one - other).abs().max() > 1e-3


def test_panopticon_knows_bands_by_wavelengths_and_polarisations(hub, monkeypatch):
    import timm
    from torchgeo.models import Panopticon

    whole = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name: whole(name, depth=1))
    small = partial(Panopticon, attn_dim=48)
    monkeypatch.setattr(torchgeo, "panopticon_vitb14", small)
    torch.manual_seed(2)
    model = small(img_size=28).eval()
    state = {**model.model.state_dict(), "mask_token": torch.zeros(1, 768)}
    torch.save(state, hub / name_of(torchgeo.Panopticon_Weights.VIT_BASE14))
    backbone = BACKBONES["torchgeo/panopticon_vitb14"]
    given = spec(("VH", "VV", "B8A"), "dB", 28)
    net = backbone.build(given, weights="VIT_BASE14", size=28).eval()
    x = torch.randn(2, 28, 28, 3)
    with torch.no_grad():
        ids = torch.tensor([[-2.0, -1.0, 865.0]]).repeat(2, 1)
        expected = model({"imgs": x.permute(0, 3, 1, 2).contiguous(), "chn_ids": ids})
        for _ in range(2):
            assert torch.allclose(net(x), expected, atol=1e-5)
        larger = backbone.build(given, weights="VIT_BASE14", size=56).eval()
        assert larger(torch.randn(2, 56, 56, 3)).shape == (2, net.out_features)
    with pytest.raises(UserError, match="no number of pixels, from 8 on, that 14 divides"):
        backbone.build(given, size=32)


def test_copernicus_fm_knows_bands_by_wavelength_and_width(hub, monkeypatch):
    from torchgeo.models import CopernicusFM

    small = partial(CopernicusFM, embed_dim=32, depth=1, num_heads=2)
    monkeypatch.setattr(torchgeo, "copernicusfm_base", small)
    torch.manual_seed(4)
    model = small().eval()
    with torch.no_grad():
        model.pos_embed.normal_()
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("fc_norm")}
    torch.save(state, hub / name_of(torchgeo.CopernicusFM_Base_Weights.CopernicusFM_ViT))
    backbone = BACKBONES["torchgeo/copernicusfm_base"]
    given = spec(("B8A", "nir", "VV", "mask"), "dB", 32)
    own = {"wavelengths": {"nir": 0.81}, "bandwidths": {"nir": 0.1}, "ignore": ["mask"]}
    net = backbone.build(given, weights="CopernicusFM_ViT", size=32, **own).eval()
    x = torch.randn(2, 32, 32, 4)
    with torch.no_grad():
        of_bands = {"wavelengths": [860, 810, 5e7], "bandwidths": [20, 100, 1e9]}  # nm
        unknown = torch.full((2, 4), torch.nan)
        expected = model(x[..., :3].permute(0, 3, 1, 2).contiguous(), unknown, **of_bands)
        assert torch.allclose(net(x), expected, atol=1e-5)
        larger = backbone.build(given, weights="CopernicusFM_ViT", size=48, **own).eval()
        assert larger(x).shape == (2, net.out_features)
    assert backbone.build(given, **own).size == 224
    with pytest.raises(UserError, match=r"the bandwidth of nir of S2 in µm: bandwidths: \{nir:"):
        backbone.build(given, **{**own, "bandwidths": None})
    with pytest.raises(UserError, match="no number of pixels, from 8 on, that 16 divides"):
        backbone.build(given, size=40, **own)


@pytest.mark.parametrize("sensor", ["sar", "optical"])
def test_croma_has_an_encoder_for_radar_and_one_for_bands(small, sensor):
    _, croma = small
    channels = ("VH", "VV") if sensor == "sar" else BANDS[::-1]
    units = "dB" if sensor == "sar" else "reflectance"
    backbone = BACKBONES["torchgeo/croma_base"]
    net = backbone.build(spec(channels, units, 16), weights="CROMA_VIT", size=16).eval()
    x = 2 * torch.randn(2, 16, 16, len(channels))
    with torch.no_grad():
        bands = ((x.flip(-1).permute(0, 3, 1, 2) + 2) / 4).clamp(0, 1)
        both = {"x_sar": torch.zeros(2, 2, 16, 16), "x_optical": torch.zeros(2, 12, 16, 16)}
        expected = croma(**{**both, f"x_{sensor}": bands})[f"{sensor}_GAP"]
        assert torch.allclose(net(x), expected, atol=1e-5)
    with pytest.raises(UserError, match="the weights see (VH|B12)"):
        backbone.build(spec(channels[1:], units, 16))
    with pytest.raises(UserError, match="no number of pixels, from 8 on, that 8 divides"):
        backbone.build(spec(channels, units, 16), size=20)


# --- Files of weights ---------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server on this machine that has the weights of ResNet-18, and what was asked of it."""
    root, asked = tmp_path / "served", []
    root.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    listening = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=str(root))
    )
    thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    torch.manual_seed(5)
    file = root / "resnet18.pth"
    torch.save(torchgeo.resnet18(in_chans=13).state_dict(), file)
    named = root / f"resnet18-{files.sha256(file)[:8]}.pth"
    file.rename(named)
    address = f"http://127.0.0.1:{listening.server_port}"
    monkeypatch.setattr(
        torchgeo.ResNet18_Weights[MOCO].value, "url", f"{address}/{named.name}", raising=True
    )
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield named, asked
    listening.shutdown()
    listening.server_close()
    thread.join()


def resolved(options: dict, given: ModalitySpec | None = None, **changes) -> tuple[dict, dict]:
    """Encoders of a protocol that has these for images, for a dataset with one image."""
    data = dataset("binary", kinds=("image", "series"), samples=20)
    given = replace(given or spec(), name="m1")
    x = np.ones((20, *given.shape), dtype=np.float32)
    data = replace(
        data, modalities={**data.modalities, "m1": given}, x={**data.x, "m1": x}, **changes
    )
    quick = protocol.load("quick")
    return planning.resolve(data, replace(quick, encoders={**quick.encoders, "image": options}))


def test_weights_are_brought_once_and_their_hash_is_in_the_options(server, hub):
    file, asked = server
    found, seen = resolved(OPTIONS)
    image = found["options"]["image"]
    assert image == {**OPTIONS, "sha256": files.sha256(file)}
    assert (hub / file.name).read_bytes() == file.read_bytes() and asked
    asked.clear()
    assert resolved(OPTIONS)[0] == found and not asked
    assert resolved({**OPTIONS, "sha256": files.sha256(file)})[0] == found
    assert seen["m1"].shape == (32, 32, 12) and "modalities" not in found
    with pytest.raises(UserError, match="encoders.image: .* has the sha256 .*, not 00"):
        resolved({**OPTIONS, "sha256": "00"})
    state = torch.load(file, weights_only=True)
    net = Encoders(**found)(spec())[0]
    assert torch.equal(net.net.conv1.weight, state["conv1.weight"])


def test_a_file_that_is_not_what_its_name_says_is_not_taken(server, hub, caplog):
    file, _ = server
    file.write_bytes(b"a web page")
    with caplog.at_level(logging.WARNING):
        found, _ = resolved(OPTIONS)
    assert found["options"]["image"]["weights"] is None and not list(hub.iterdir())
    assert "made_up: images are encoded from random weights: http://127.0.0.1" in caplog.text
    assert "invalid hash value" in caplog.text


def test_weights_that_cannot_be_had_are_turned_off_and_said_so(server, hub, caplog):
    file, _ = server
    file.unlink()
    with caplog.at_level(logging.WARNING):
        found, _ = resolved(OPTIONS)
    assert found["options"]["image"] == {**OPTIONS, "weights": None}
    assert "images are encoded from random weights: http://" in caplog.text
    assert "cannot be downloaded (HTTP Error 404" in caplog.text


def test_a_frozen_encoder_needs_its_weights(server, hub):
    server[0].unlink()
    with pytest.raises(UserError) as told:
        resolved({**OPTIONS, "frozen": True})
    said = str(told.value)
    assert "encoders.image: made_up: images are to be frozen in weights that cannot be had" in said
    assert "frozen random ones would be {weights: null, frozen: true}" in said


def test_building_never_downloads(server, hub):
    backbone, own = backbone_of("image", OPTIONS)
    with pytest.raises(UserError, match="are not on this machine .*or set weights: null"):
        backbone.build(spec(), **own)
    assert not server[1]


def test_a_pickle_in_place_of_weights_is_not_executed(hub, tmp_path):
    class Harmful:
        def __reduce__(self):
            return (tmp_path.joinpath("executed").touch, ())

    torch.save({"conv1.weight": Harmful()}, hub / name_of(torchgeo.ResNet18_Weights[MOCO]))
    with pytest.raises(UserError, match="cannot be read as weights"):
        resolved(OPTIONS)
    assert not tmp_path.joinpath("executed").exists()


@pytest.mark.parametrize("wrong", ["shape", "names"])
def test_weights_of_another_model_are_told_before_anything_runs(hub, wrong):
    model = torchgeo.resnet18(in_chans=3 if wrong == "shape" else 13)
    state = {f"{'x.' * (wrong == 'names')}{k}": v for k, v in model.state_dict().items()}
    torch.save(state, hub / name_of(torchgeo.ResNet18_Weights[MOCO]))
    with pytest.raises(UserError, match=f"the file of the weights {MOCO} holds those of another"):
        resolved(OPTIONS)


def test_a_file_that_others_have_put_there_is_taken_and_told(resnet, hub, caplog):
    (file,) = hub.iterdir()
    found, _ = resolved(OPTIONS)
    digest = found["options"]["image"]["sha256"]
    assert f"{file}: is not the file that was published: its sha256 is {digest}" in caplog.text
    caplog.clear()
    named = file.rename(hub / f"mine-{digest[:8]}.pth")
    assert files.published_digits(named) == digest[:8]
    assert files.published_digits(hub / "panopticon_vitb14_teacher.pth") is None


def test_weights_that_changed_since_a_run_was_planned_are_told(resnet, hub):
    found, _ = resolved(OPTIONS)
    assert planning.changed_weights(found) == []
    (file,) = hub.iterdir()
    torch.save({**torch.load(file, weights_only=True), "fc.bias": torch.zeros(1)}, file)
    assert planning.changed_weights(found) == ["torchgeo/resnet18"]
    file.unlink()
    assert planning.changed_weights(found) == ["torchgeo/resnet18"]


# --- In a protocol ------------------------------------------------------------------------------


def test_a_modality_may_have_another_encoder_than_its_kind(resnet, hub):
    data = dataset("binary", kinds=("image", "image"), samples=20)
    given = {"m1": replace(spec(), name="m1"), "m2": data.modalities["m2"]}
    data = replace(data, modalities=given)
    quick = protocol.load("quick")

    def encoders(own: dict) -> dict:
        changed = {**quick.encoders, "modalities": {"made_up": own}}
        return planning.resolve(data, replace(quick, encoders=changed))[0]

    found = encoders({"m1": OPTIONS})
    assert found["options"] == {"image": quick.encoders["image"]}
    assert found["modalities"].keys() == {"m1"}
    assert found["modalities"]["m1"]["weights"] == MOCO
    factory = Encoders(**found)
    assert factory(given["m1"])[0].out_features == 512
    assert factory(given["m2"])[0].out_features != 512
    assert encoders({"m2": dict(quick.encoders["image"])}) == encoders({})
    assert encoders({}).keys() == {"dim", "layer_norm", "options"}  # ids are older than the rest
    with pytest.raises(UserError, match="encoders.modalities.made_up.m1: unknown setting 'sise'"):
        encoders({"m1": {**OPTIONS, "sise": 3}})


def test_the_documentation_shows_encoders_that_a_protocol_takes(hub, tmp_path):
    """And weights that fit the channels of the dataset that it names."""
    text = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1]
    quick = yaml.safe_load((protocol.FOLDER / "quick.yaml").read_text())
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump({**quick, **yaml.safe_load(block)}))
    loaded = protocol.load(str(mine))
    sensors = datasets.load()["bigearthnet"].sensors
    protocol.check_modalities(loaded, "bigearthnet", sensors)
    planning.check(loaded)
    for m, sensor in sensors.items():
        options = loaded.encoder_of("bigearthnet", m) or loaded.encoders["image"]
        shape = (120, 120, len(sensor.channels))
        given = ModalitySpec(m, "image", shape, sensor.channels, sensor.units)
        backbone, own = backbone_of("image", options)
        assert np.isfinite(backbone.statistics(given, own)).all() and options["frozen"]


def test_nothing_imports_torchgeo_before_it_is_named():
    code = "import methods, sys; methods.load(); print('torchgeo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_without_torchgeo_only_its_encoders_cannot_be_had(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchgeo.models", None)
    with pytest.raises(UserError, match="encoders of torchgeo need it: pip install torchgeo"):
        encoders_of_torchgeo._library()
    assert BACKBONES["timm"].build(spec(), model="test_resnet").out_features
