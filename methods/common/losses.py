"""Losses that several publications use."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def nt_xent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """NT-Xent of paired features a, b, each (B, d): mean over the 2B anchors.

    After L2 normalisation the positive of an anchor is the same sample on the other side; the
    other 2B - 2 vectors of both sides are its negatives.
    Source: Chen, Kornblith, Norouzi, Hinton 2020, arXiv 2002.05709.
    """
    n = len(a)
    z = F.normalize(torch.cat([a, b]), dim=1)
    similarity = z @ z.T / temperature
    similarity.fill_diagonal_(float("-inf"))
    positive = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(similarity, positive)
