"""Encoders: sizes, inputs of every kind, options, and pretrained weights that are never silent."""

from __future__ import annotations

import http.server
import threading
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import constants
from torch import nn

import methods.common.encoders as encoders_module
from benchmark.errors import UserError
from benchmark.problem import ModalitySpec
from methods.common.encoders import (
    Dropout,
    Encoder,
    Encoders,
    TempCNN,
    TimmImage,
    VectorMLP,
    _fitting,
    backbone_of,
    pretrained_problem,
)
from tests.problems import encoders, modalities


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def spec(kind: str, *shape: int) -> ModalitySpec:
    return ModalitySpec("m", kind, shape, tuple(f"c{i}" for i in range(shape[-1])), "1")


# --- Sizes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "layer_norm", "parameters"),
    [
        ((12, 12), False, 1_026_304),
        ((12, 2), False, 1_019_904),
        ((146, 432), False, 10_076_928),
        ((146, 6, 6, 12), False, 10_076_928),
        ((4, 8), True, 499_712),
    ],
)
def test_temporal_encoder_has_the_size_of_the_released_one(shape, layer_norm, parameters):
    factory = Encoders(dim=128, layer_norm=layer_norm, options={"series": {}})
    with torch.device("meta"):
        assert size(factory(spec("series", *shape))) == parameters


def test_a_series_of_windows_is_flattened_at_each_time_step():
    torch.manual_seed(0)
    net = TempCNN((6, 2, 2, 3), width=8, dense=16).eval()
    windows = torch.randn(4, 6, 2, 2, 3)
    assert torch.equal(net(windows), net(windows.reshape(4, 6, 12)))
    swapped = windows.clone()
    swapped[:, [0, 1]] = windows[:, [1, 0]]
    assert not torch.allclose(net(windows), net(swapped))


def test_temporal_layers_are_those_of_one_dimension():
    torch.manual_seed(0)
    net = TempCNN((6, 3), width=8, dense=16, dropout=0.0)
    x = torch.randn(20, 6, 3)
    z = x.transpose(1, 2)
    for convolution, norm in zip(net.convolutions[::4], net.convolutions[1::4], strict=True):
        weight = convolution.weight.squeeze(1).transpose(1, 2)
        z = F.conv1d(z, weight, convolution.bias, padding=2)
        z = F.batch_norm(z, None, None, norm.weight, norm.bias, training=True).relu()
    z = F.linear(z.transpose(1, 2).flatten(1), net.dense[1].weight, net.dense[1].bias)
    norm = net.dense[2]
    z = F.batch_norm(z, None, None, norm.weight, norm.bias, training=True).relu()
    torch.testing.assert_close(net.train()(x), z)


@pytest.mark.parametrize("shape", [(40, 30, 1, 7), (333, 5)])
def test_dropout_drops_its_share_and_keeps_the_mean(shape):
    torch.manual_seed(0)
    layer = Dropout(0.2)
    x = torch.ones(shape)
    if x.dim() == 4:
        x = x.to(memory_format=torch.channels_last)
    x.requires_grad_()
    out = layer(x)
    kept = out != 0
    assert kept.float().mean().item() == pytest.approx(0.8, abs=4 * (0.16 / x.numel()) ** 0.5)
    assert torch.allclose(out[kept], torch.tensor(1 / 0.8), rtol=1e-4)
    out.sum().backward()
    assert torch.equal(x.grad, out)
    assert not torch.equal(layer(x), out)
    torch.manual_seed(0)
    assert torch.equal(layer(x), out)
    assert torch.equal(layer.eval()(x), x)


def test_dropout_of_nothing_and_of_all():
    x = torch.randn(7, 3)
    assert torch.equal(Dropout(0.0)(x), x)
    assert torch.equal(Dropout(1.0)(x), torch.zeros(7, 3))


def test_time_is_not_pooled_away():
    """Each time step has weights of its own in the dense layer."""
    assert size(TempCNN((12, 3), width=8, dense=16)) - size(TempCNN((6, 3), width=8, dense=16)) == (
        6 * 8 * 16
    )


def test_vector_layers_are_linear_relu_batchnorm_dropout():
    net = VectorMLP((5,), width=7, layers=2)
    order = [nn.Linear, nn.ReLU, nn.BatchNorm1d, nn.Dropout]
    assert [type(layer) for layer in net] == 2 * order
    assert size(net) == (5 * 7 + 7 + 14) + (7 * 7 + 7 + 14)
    assert net(torch.randn(3, 5)).shape == (3, 7)


# --- The factory --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["series", "image", "vector"])
def test_every_kind_is_encoded_to_the_same_size(kind):
    m = modalities([kind])["m1"]
    z = encoders(dim=10)(m)(torch.randn(4, *m.shape))
    assert z.shape == (4, 10) and torch.isfinite(z).all()


def test_layer_norm_is_the_protocols_choice_unless_a_method_decides():
    m = modalities(["vector"])["m1"]
    for choice, wanted in ((None, True), (False, False), (True, True)):
        last = encoders(layer_norm=True)(m, layer_norm=choice)[-1]
        assert isinstance(last, nn.LayerNorm) is wanted
    assert isinstance(encoders(layer_norm=False)(m, layer_norm=True)[-1], nn.LayerNorm)


@pytest.mark.parametrize(
    ("kind", "shape", "small", "changes"),
    [
        (
            "series",
            (6, 3),
            {"width": 8, "dense": 16},
            [{"width": 4}, {"blocks": 2}, {"kernel": 3}, {"dense": 8}, {"dropout": 0.9}],
        ),
        ("vector", (5,), {"width": 8}, [{"width": 4}, {"layers": 1}, {"dropout": 0.9}]),
        ("image", (32, 32, 2), {"model": "test_resnet"}, [{"model": "test_efficientnet"}]),
    ],
)
def test_every_option_reaches_the_network(kind, shape, small, changes):
    x = torch.randn(6, *shape, generator=torch.Generator().manual_seed(1))

    def output(options):
        factory = Encoders(dim=6, layer_norm=False, options={kind: options})
        torch.manual_seed(0)
        encoder = factory(spec(kind, *shape))
        torch.manual_seed(0)
        return encoder.train()(x)

    reference = output(small)
    assert torch.equal(reference, output(small))
    for change in changes:
        assert not torch.allclose(reference, output({**small, **change})), change


def test_two_encoders_of_one_factory_share_nothing():
    m = modalities(["series"])["m1"]
    factory = encoders()
    first, second = factory(m), factory(m)
    assert not {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}
    assert not torch.equal(first[1].weight, second[1].weight)


def test_an_unknown_option_is_an_error():
    factory = Encoders(dim=4, layer_norm=False, options={"vector": {"n_layers": 2}})
    with pytest.raises(TypeError, match="n_layers"):
        factory(modalities(["vector"])["m1"])


# --- Images -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_images_of_any_number_of_bands(bands):
    torch.manual_seed(0)
    net = TimmImage((32, 32, bands), model="test_resnet").eval()
    x = torch.randn(2, 32, 32, bands)
    assert net(x).shape == (2, net.out_features)
    for band in range(bands):
        changed = x.clone()
        changed[..., band] += 1
        assert not torch.allclose(net(x), net(changed)), "every band counts"


def test_channels_stay_channels_where_width_equals_their_number():
    """(B, H, W, C) is never mistaken for (B, C, H, W), also for H = W = C."""
    torch.manual_seed(0)
    net = TimmImage((32, 32, 32), model="test_resnet").eval()
    x = torch.randn(2, 32, 32, 32)
    assert torch.allclose(net(x), net.net(x.permute(0, 3, 1, 2)), atol=1e-6)


def test_image_encoder_has_no_classifier_and_is_trained_as_a_whole():
    torch.manual_seed(0)
    encoder = Encoder(TimmImage((32, 32, 4), model="test_resnet"), 8, False)
    encoder(torch.randn(4, 32, 32, 4)).square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    assert encoder[0].net.conv1[0].weight.grad.any()


def test_published_image_encoder_is_resnet50():
    with torch.device("meta"):
        net = TimmImage((304, 304, 4), model="resnet50")
    # 25,557,032 with classifier and three bands.
    assert size(net) == 25_557_032 - (2048 * 1000 + 1000) + 64 * 7 * 7
    assert net.out_features == 2048


def test_default_options_of_every_backbone_are_those_of_the_published_encoders():
    with torch.device("meta"):
        widths = {
            kind: backbone_of(kind, options)[0].build(spec(kind, *shape), **options).out_features
            for kind, shape, options in (
                ("series", (12, 2), {}),
                ("image", (64, 64, 4), {"model": "resnet50"}),
                ("vector", (5,), {}),
            )
        }
    assert widths == {"series": 512, "image": 2048, "vector": 128}


ANY_SIZE = (
    "test_efficientnet test_convnext test_mambaout test_nfnet lcnet_050 ghostnet_050 hgnetv2_b0 "
    "mobilenetv3_small_050 mobilenetv4_conv_small_035 efficientvit_b0 inception_next_atto "
    "starnet_s050 tinynet_e resnet10t"
)
ONE_SIZE = "test_vit test_maxvit vit_tiny_patch16_224 levit_128s eva02_tiny_patch14_224"
MORE_SIZES = (
    "vgg11 mambaout_femto fasternet_t0 hardcorenas_a ghostnetv3_050 mobilenetv2_050 repvgg_a0 "
    "convnext_atto regnetx_002 pvt_v2_b0 edgenext_xx_small mobilevit_xxs densenet121 fbnetc_100 "
    "deit_tiny_patch16_224 deit_tiny_distilled_patch16_224 swin_tiny_patch4_window7_224 "
    "swinv2_cr_tiny_224 mixer_s32_224 resmlp_12_224 gmlp_ti16_224 cait_xxs24_224 convit_tiny "
    "xcit_nano_12_p16_224 pit_ti_224 coat_lite_tiny visformer_tiny test_coatnet nest_tiny "
    "gcvit_xxtiny hiera_tiny_224 vitamin_small_224 efficientformerv2_s0"
)


def soak(names):
    return [pytest.param(name, marks=pytest.mark.soak) for name in names.split()]


@pytest.mark.parametrize("model", [*ANY_SIZE.split(), *ONE_SIZE.split(), *soak(MORE_SIZES)])
def test_timm_models_of_every_kind_encode_images_of_another_size(model):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    sized, width = _fitting(model, (64, 64, 4))
    assert torch.equal(torch.get_rng_state(), before)
    net = TimmImage((64, 64, 4), model=model)
    with torch.no_grad():
        for mode in (True, False):
            assert net.train(mode)(torch.randn(2, 64, 64, 4)).shape == (2, width)
    assert net.out_features == width
    assert ("img_size" in sized) <= (model not in ANY_SIZE.split())


def test_what_a_model_does_not_encode_is_one_sentence():
    sentence = r"timm model 'test_vit' does not encode 40 × 40 images: Input height \(40\) should"
    with pytest.raises(UserError, match=sentence):
        TimmImage((40, 40, 3), model="test_vit")


@pytest.mark.parametrize("model", ["test_resnet", "resnet50"])
def test_a_model_that_takes_any_size_starts_from_the_weights_that_timm_draws(model):
    import timm

    torch.manual_seed(5)
    own = TimmImage((32, 32, 4), model=model)
    after = torch.rand(())
    torch.manual_seed(5)
    plain = timm.create_model(model, pretrained=False, num_classes=0, in_chans=4)
    assert torch.equal(after, torch.rand(()))
    state = own.net.state_dict()
    assert own.training and all(torch.equal(state[k], v) for k, v in plain.state_dict().items())


# --- Pretrained weights -------------------------------------------------------------------------

MODEL, REPOSITORY = "test_resnet", "timm/test_resnet.r160_in1k"


@pytest.fixture
def published(tmp_path):
    """A folder with weights of a three-band model, as timm publishes them, and their values."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(7)
    state = timm.create_model(MODEL, pretrained=False).state_dict()
    file = tmp_path / "published" / REPOSITORY / "resolve" / "main" / "model.safetensors"
    file.parent.mkdir(parents=True)
    save_file(state, file)
    return file, state


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on this machine that serves `published`, an empty cache, and what was asked of it."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self):
            self.send_header("ETag", '"weights"')
            self.send_header("X-Repo-Commit", "c" * 40)
            super().end_headers()

        def log_message(self, *_):
            asked.append(f"{self.command} {self.path}")

    root = tmp_path / "published"
    root.mkdir(exist_ok=True)
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=str(root))
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    _use_hub(monkeypatch, f"http://127.0.0.1:{server.server_port}", tmp_path / "cache")
    yield asked
    server.shutdown()
    server.server_close()
    thread.join()


def _use_hub(monkeypatch, endpoint, cache):
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + template)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_published_weights_arrive_and_the_first_convolution_is_adapted(published, hub):
    _, state = published
    assert pretrained_problem(MODEL) is None
    net = TimmImage((32, 32, 4), model=MODEL, pretrained=True).net
    loaded = net.state_dict()
    # timm repeats the bands R, G, B, R and scales by 3/4, so that activations keep their size.
    stem = state["conv1.0.weight"][:, [0, 1, 2, 0]] * 3 / 4
    assert torch.allclose(loaded["conv1.0.weight"], stem)
    others = loaded.keys() - {"conv1.0.weight"}
    assert others == state.keys() - {"conv1.0.weight", "fc.weight", "fc.bias"}
    assert all(torch.equal(loaded[name], state[name]) for name in others)


def test_three_bands_take_the_weights_as_they_are(published, hub):
    assert pretrained_problem(MODEL) is None
    loaded = TimmImage((32, 32, 3), model=MODEL, pretrained=True).net.state_dict()
    assert all(torch.equal(loaded[name], published[1][name]) for name in loaded)


def test_weights_are_fetched_once_and_building_never_asks_the_network(published, hub):
    assert pretrained_problem(MODEL) is None
    asked = len(hub)
    assert asked
    assert pretrained_problem(MODEL) is None
    TimmImage((32, 32, 4), model=MODEL, pretrained=True)
    assert len(hub) == asked


def test_without_pretraining_nothing_is_asked(hub):
    TimmImage((32, 32, 4), model=MODEL, pretrained=False)
    assert hub == []


def test_weights_that_the_hub_lacks_are_a_reason(hub):
    problem = pretrained_problem(MODEL)
    assert REPOSITORY in problem and "404" in problem


def test_an_unreachable_hub_is_a_reason_within_the_time_limit(tmp_path, monkeypatch):
    """A server that accepts and never answers: what a broken proxy looks like."""
    import socket
    import time

    monkeypatch.setattr(encoders_module, "PROBE_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        _use_hub(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        started = time.monotonic()
        problem = pretrained_problem(MODEL)
    assert time.monotonic() - started < 3
    assert problem.startswith(f"{REPOSITORY} cannot be downloaded (") and "\n" not in problem


def test_a_refused_connection_is_a_reason(tmp_path, monkeypatch):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    _use_hub(monkeypatch, f"http://127.0.0.1:{port}", tmp_path)
    assert REPOSITORY in pretrained_problem(MODEL)


def test_weights_that_are_wanted_and_missing_are_never_replaced_by_random_ones(hub):
    with pytest.raises(UserError, match="pretrained weights of 'test_resnet' are not on this"):
        TimmImage((32, 32, 4), model=MODEL, pretrained=True)


def test_a_pickle_in_place_of_the_weights_is_not_executed(published, hub, tmp_path):
    class Harmful:
        def __reduce__(self):
            return (tmp_path.joinpath("executed").touch, ())

    torch.save({"conv1.0.weight": Harmful()}, published[0])
    pretrained_problem(MODEL)
    with pytest.raises(Exception, match="(?i)header"):
        TimmImage((32, 32, 4), model=MODEL, pretrained=True)
    assert not tmp_path.joinpath("executed").exists()


def test_a_model_that_timm_publishes_no_weights_of(hub):
    import timm

    names = timm.list_models()
    without = next(n for n in names if not timm.get_pretrained_cfg(n).hf_hub_id)
    assert "publishes no weights" in pretrained_problem(without)
    assert hub == []


@pytest.mark.parametrize("name", ["resnt50", "resnet50.tv3_in1k"])
def test_an_unknown_model_or_tag_is_named(name):
    with pytest.raises(UserError, match="did you mean .*resnet50"):
        pretrained_problem(name)


def test_the_options_of_every_shipped_protocol_build_its_encoders(monkeypatch):
    from benchmark.planning import protocol

    monkeypatch.setattr(encoders_module, "_cached_weights", lambda _: None)
    for name in protocol.names():
        options = protocol.load(name).encoders_for("made_up", {"series", "image", "vector"})
        factory = Encoders(**options)
        with torch.device("meta"):
            for m in modalities(["series", "vector"]).values():
                factory(m)
            if options["options"]["image"]["pretrained"]:
                with pytest.raises(UserError, match="pretrained"):
                    factory(modalities(["image"])["m1"])
                options["options"]["image"]["pretrained"] = False
            factory(modalities(["image"])["m1"])
