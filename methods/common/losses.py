"""Losses that several publications use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mates(group: Tensor) -> Tensor:
    """(B, B) True where two different samples are of one group, by their numbers (B,)."""
    itself = torch.eye(len(group), dtype=torch.bool, device=group.device)
    return (group[:, None] == group) & ~itself


def nt_xent(a: Tensor, b: Tensor, temperature: float, group: Tensor | None = None) -> Tensor:
    """NT-Xent of paired features a, b, each (B, d): mean over the 2B anchors.

    After L2 normalisation the positive of an anchor is the same sample on the other side; the
    other 2B - 2 vectors of both sides are its negatives, but those of its own group where the
    samples' groups (B,) are given.
    Source: Chen, Kornblith, Norouzi, Hinton 2020, arXiv 2002.05709; the groups are this
    benchmark's.
    """
    n = len(a)
    z = F.normalize(torch.cat([a, b]), dim=1)
    left_out = torch.eye(2 * n, dtype=torch.bool, device=z.device)
    if group is not None:
        left_out = left_out | mates(group).repeat(2, 2)
    similarity = (z @ z.T / temperature).masked_fill(left_out, float("-inf"))
    positive = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(similarity, positive)


def sup_con(
    a: Tensor, b: Tensor, alike: Tensor, temperature: float, group: Tensor | None = None
) -> Tensor:
    """Supervised contrast of paired features a, b, each (B, d): mean over the 2B anchors.

    -(1/|P|) Σ_{p ∈ P} log(e^{s_p/τ} / Σ_k e^{s_k/τ}) after L2 normalisation: P are the anchor's
    positives, all vectors of both sides that are ``alike`` (B, B) in class; k goes over all but
    the anchor. Where the samples' groups (B,) are given, those of its own group that are not
    positives are left out. With nobody alike but each sample itself it is `nt_xent`.
    Source: Khosla et al. 2020, arXiv 2004.11362, the loss with the sum outside the logarithm; the
    groups are this benchmark's.
    """
    n = len(a)
    z = F.normalize(torch.cat([a, b]), dim=1)
    itself = torch.eye(2 * n, dtype=torch.bool, device=z.device)
    own = torch.eye(n, dtype=torch.bool, device=z.device)
    positive = (alike | own).repeat(2, 2) & ~itself
    left_out = itself
    if group is not None:
        left_out = left_out | (mates(group).repeat(2, 2) & ~positive)
    log_p = (z @ z.T / temperature).masked_fill(left_out, float("-inf")).log_softmax(dim=1)
    # What is left out has -inf there, and is no positive.
    return -(log_p.masked_fill(~positive, 0.0).sum(dim=1) / positive.sum(dim=1)).mean()


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
