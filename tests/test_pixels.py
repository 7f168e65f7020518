"""The encoder of spectra by pixel: a set of pixels, of which none is more than another."""

from __future__ import annotations

import pytest
import torch

import methods
from benchmark.problem import ModalitySpec
from methods.common.encoders import BACKBONES, Encoders

methods.load()


@pytest.fixture
def net():
    torch.manual_seed(0)
    spec = ModalitySpec("hsi", "image", (4, 4, 30), tuple(f"band {i}" for i in range(30)), "1")
    return Encoders(dim=6, layer_norm=False, options={"image": {"model": "pixelset"}})(spec)


def test_the_order_of_pixels_says_nothing_and_their_spread_does(net):
    net.eval()
    x = torch.randn(3, 4, 4, 30)
    shuffled = x.flatten(1, 2)[:, torch.randperm(16)].unflatten(1, (4, 4))
    flat = x.mean(dim=(1, 2), keepdim=True).expand_as(x)
    with torch.no_grad():
        assert torch.allclose(net(x), net(shuffled), atol=1e-6)
        assert not torch.allclose(net(x), net(flat), atol=1e-2)


def test_features_are_mean_and_standard_deviation_of_one_mlp_over_pixels(net):
    net.eval()
    x = torch.randn(2, 4, 4, 30)
    with torch.no_grad():
        each = torch.stack([net[0].pixel(x[:, i, j]) for i in range(4) for j in range(4)])
        expected = torch.cat([each.mean(dim=0), each.std(dim=0, correction=0)], dim=1)
        assert torch.allclose(net[0](x), expected, atol=1e-5)


def test_images_without_any_value_give_finite_gradients(net):
    net.eval()  # without dropout, which would make pixels differ
    net(torch.zeros(2, 4, 4, 30)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_its_settings_are_those_of_the_mlp():
    assert BACKBONES["pixelset"].options == {"width": 128, "layers": 2, "dropout": 0.2}
