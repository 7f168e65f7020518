"""Losses that several publications use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def nt_xent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """NT-Xent of paired features a, b, each (B, d): mean over the 2B anchors.

    After L2 normalisation the positive of an anchor is the same sample on the other side; the
    other 2B - 2 vectors of both sides are its negatives.
    Source: Chen, Kornblith, Norouzi, Hinton 2020, arXiv 2002.05709.
    """
    n = len(a)
    z = F.normalize(torch.cat([a, b]), dim=1)
    itself = torch.eye(2 * n, dtype=torch.bool, device=z.device)
    similarity = (z @ z.T / temperature).masked_fill(itself, float("-inf"))
    positive = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(similarity, positive)


def non_target(output: Tensor, y: Tensor) -> Tensor:
    """The logits of all classes but the sample's own: (B, C), (B,) → (B, C - 1), in order."""
    classes = torch.arange(output.shape[1] - 1, device=output.device)
    return output.gather(1, classes + (classes >= y[:, None]))


def modality_loss(
    head: nn.Module, z: Sequence[Tensor], numbers: Sequence[int] | None = None
) -> Tensor:
    """Mean over m of CE(head(z_m), m): how well a head tells the modalities apart.

    z: features (B, d) of each modality. numbers: which modalities they are, 0, 1, ... by default.
    """
    device = z[0].device
    m = torch.tensor(numbers, device=device) if numbers else torch.arange(len(z), device=device)
    return F.cross_entropy(head(torch.cat([*z])), m.repeat_interleave(len(z[0])))


class _ReverseGradient(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        return z.view_as(z)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient


def reverse_gradient(z: Tensor) -> Tensor:
    """z as it is; on the way back its gradient changes sign.

    What comes after learns to lower a loss and what comes before to raise it.
    Source: Ganin, Lempitsky 2015, arXiv 1409.7495.
    """
    return _ReverseGradient.apply(z)
