"""Two encoders a modality, one for what it alone tells and one for what all modalities share.

The architecture of DisCoM-KD, which MDiCo goes on from.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmark.problem import ModalitySpec
from methods.common.contract import EncoderFactory


class Features(NamedTuple):
    """The parts of a modality's features, each (B, width)."""

    spe: Tensor
    unu: Tensor
    sha: Tensor


class Disentangler(nn.Module):
    """Unique and common encoder: x_m → z_m^spe, z_m^unu, z_m^sha, each (B, D/2).

    z^spe and z^unu are the halves of the unique encoder's features; z^sha is the common encoder's
    through a projector. With ``split=False`` z^spe is all of the unique encoder's features and
    z^sha those of the common one, (B, D) both; z^unu is empty.
    """

    def __init__(self, spec: ModalitySpec, encoder: EncoderFactory, *, split: bool = True) -> None:
        super().__init__()
        self.unique = encoder(spec)
        self.common = encoder(spec)
        self.width = encoder.dim // 2 if split else encoder.dim
        self.project: nn.Module = nn.Identity()
        if split:
            self.project = nn.Sequential(
                nn.Linear(encoder.dim, self.width), nn.BatchNorm1d(self.width), nn.ReLU()
            )

    def forward(self, x: Tensor) -> Features:
        u = self.unique(x)
        return Features(u[:, : self.width], u[:, self.width :], self.project(self.common(x)))


class DisentangledNet(nn.Module):
    """h([z_m^spe; z_m^sha]): x_m → (B, outputs)."""

    def __init__(self, disentangle: Disentangler, head: nn.Module) -> None:
        super().__init__()
        self.disentangle = disentangle
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        z = self.disentangle(x)
        return self.head(torch.cat([z.spe, z.sha], dim=1))

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """The parts of the features by name, for pictures of the feature space."""
        z = self.disentangle(x)
        parts = {"shared": z.sha, "specific": z.spe, "unused": z.unu}
        return {name: part for name, part in parts.items() if part.shape[1]}
