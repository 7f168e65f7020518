"""An encoder of images whose pixels say more than their order: many channels, few pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark.problem import ModalitySpec
from methods.common.encoders import Backbone, VectorMLP, register


class PixelSet(nn.Module):
    """Mean and standard deviation over pixels of what one MLP makes of each: (B, H, W, C) → (B, F).

    Source: Garnot, Landrieu, Giordano, Chehata 2020, CVPR, arXiv 1911.07757 (pixel-set encoder).
    Here all pixels are taken and not a random part, and the harness' projection stands for the
    second MLP. A missing pixel, 0 after standardisation, counts as an average one. F: 2 × width.
    """

    def __init__(self, channels: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.pixel = VectorMLP((channels,), width=width, layers=layers, dropout=dropout)
        self.out_features = 2 * width

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) → (B, 2 · width)."""
        z = self.pixel(x.flatten(0, 2)).unflatten(0, (x.shape[0], -1))
        std, mean = torch.std_mean(z, dim=1, correction=0)
        return torch.cat([mean, std], dim=1)


def build(
    spec: ModalitySpec, *, width: int = 128, layers: int = 2, dropout: float = 0.2
) -> PixelSet:
    """width, layers, dropout: of the MLP that every pixel goes through, as of ``mlp``."""
    return PixelSet(spec.shape[-1], width, layers, dropout)


register(Backbone("pixelset", ("image",), build, "One MLP for every pixel, then mean and spread."))
