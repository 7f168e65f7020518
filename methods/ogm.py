"""OGM-GE: fusion in which the modality that is ahead is slowed down, so that the others catch up.

Peng, Wei, Deng, Wang, Hu 2022, "Balanced multimodal learning via on-the-fly gradient modulation",
CVPR, arXiv 2203.15332.

Of a net on concatenated features, the encoder of the modality that predicts better by itself is
moved by a fraction of its step only; noise makes up for the smaller steps (generalisation
enhancement). The publication shows that the encoders become better by linear probes on them: a
linear head on each is what is deployed here.

What differs from the released code (GeWu-Lab/OGM-GE_CVPR2022), and why:

- The coefficient k_m and the noise act on an encoder's step, not on its gradient. For plain SGD
  both are the same; Adam, which is the protocol's, divides by the gradient's size, so that there a
  coefficient that changes slowly would have no effect. The release has SGD with momentum.
- As in the release, weights are modulated (there those of convolutions, here all of two or more
  axes), and biases and normalisation are not. The noise's size is the population's standard
  deviation of a step, there a sample's plus 1e-8: 2 % apart on the smallest weights.
- Modulation lasts as long as training; the release ends it after 51 of 100 epochs.
- With more than two modalities, ρ_m compares a modality with the mean of the others. Where two
  score exactly alike neither is slowed down; the release slows the first.
- What is deployed is trained in a second stage, on frozen encoders. A modality's share of the
  fused output, by which the release judges it alone, is not a prediction where outputs have a
  scale (regression), or more than two shares make the sum.

In the shipped records the heads have no mark, and a higher mean error than `single` on most
sensors: encoders that were trained for fusion are read linearly, and what the publication promises
of them is that they are better than those of fusion without modulation.

The score of a modality is the probability that its share gives to the truth, as published:
softmax; on multi-label tasks the geometric mean over labels; on regression exp(-(o - y)²).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.nets import ConcatNet
from methods.common.registry import Entry, Publication, Range, register


def score(task: TaskSpec, o: Tensor, y: Tensor) -> Tensor:
    """s = Σ_b exp(-ℓ_b), of outputs o (B, outputs), without class weights: a scalar."""
    if task.is_classification:
        loss = F.cross_entropy(o, y, reduction="none")
    elif task.kind == "multilabel":
        loss = F.binary_cross_entropy_with_logits(o, y, reduction="none").mean(dim=1)
    else:
        loss = (o - y).square().mean(dim=1)
    return (-loss).exp().sum()


def coefficients(s: Tensor, alpha: float) -> Tensor:
    """k (M,) of scores s (M,): 1 - tanh(α ρ_m) where ρ_m = s_m / mean_{j≠m} s_j > 1, else 1."""
    others = (s.sum() - s) / (len(s) - 1)
    rho = s / others.clamp_min(torch.finfo(s.dtype).tiny)
    return torch.where(rho > 1, 1 - torch.tanh(alpha * rho), 1.0)


class ModulatedNet(ConcatNet):
    """h([z_1; ...; z_M]), and the coefficients k (M,) of its encoders in the latest step.

    k is a buffer, so that replicas that are trained at once have one each.
    """

    def __init__(
        self, modalities: Mapping[str, ModalitySpec], outputs: int, encoder: EncoderFactory
    ) -> None:
        super().__init__(modalities, outputs, encoder)
        self.register_buffer("k", torch.ones(len(modalities)), persistent=False)

    def shares(self, z: Tensor) -> list[Tensor]:
        """o_m = W_m z_m + b/M, each (B, outputs), whose sum is the output: z (B, M · D)."""
        M = len(self.encoders)
        parts = zip(self.head.weight.chunk(M, dim=1), z.chunk(M, dim=1), strict=True)
        return [F.linear(z_m, W_m, self.head.bias / M) for W_m, z_m in parts]


class OGM(Method):
    """ℓ(h([z_1; ...; z_M]), y), the weights θ_m of encoder E_m moved by k_m Δθ_m + ε.

    Δθ_m is the optimiser's step, ε normal with σ times the standard deviation of Δθ_m, for each
    weight matrix by itself. k_m = 1 - tanh(α ρ_m) for a modality whose score is above the others'
    (ρ_m > 1), else 1. Then ℓ(g_m(z_m), y), g_m linear on frozen encoders.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        alpha: float = 0.1,
        sigma: float = 1.0,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not (alpha >= 0 and sigma >= 0):
            raise UserError(f"ogm: alpha and sigma must not be negative, not {alpha} and {sigma}")
        self.alpha, self.sigma = alpha, sigma
        self.net = ModulatedNet(modalities, task.outputs, encoder)
        self.g = nn.ModuleDict({m: nn.Linear(encoder.dim, task.outputs) for m in modalities})

    def joint_loss(self, batch: Batch) -> Tensor:
        return self.task.loss(self.net(batch.x), batch.y)

    def joint_losses(self, batch: Batch) -> dict[str, Tensor]:
        z = self.net.embed(batch.x)
        with torch.no_grad():
            s = torch.stack([score(self.task, o, batch.y) for o in self.net.shares(z)])
            self.net.k.copy_(coefficients(s, self.alpha))
        return {"task": self.task.loss(self.net.head(z), batch.y)}

    def weights(self) -> Iterator[tuple[Tensor, nn.Parameter]]:
        """k_m and each weight of two or more axes of E_m that is trained, for all m."""
        for k_m, encoder in zip(self.net.k, self.net.encoders.values(), strict=True):
            for p in encoder.parameters():
                if p.requires_grad and p.dim() > 1:
                    yield k_m, p

    def start(self, n: int) -> None:
        self.before = [p.detach().clone() for _, p in self.weights()]

    def modulate(self, batch: Batch) -> None:
        """After a step: of each encoder's, k_m is kept, and noise is added."""
        with torch.no_grad():
            for (k_m, p), before in zip(self.weights(), self.before, strict=True):
                step = p - before
                p.add_((k_m - 1) * step)
                if self.sigma:
                    p.add_(self.sigma * step.std(correction=0) * torch.randn_like(step))
                before.copy_(p)

    def probe_losses(self, batch: Batch) -> dict[str, Tensor]:
        outputs = [self.predictor(m)(batch.x[m]) for m in self.modalities]
        return {"task": sum(self.task.loss(output, batch.y) for output in outputs)}

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "fusion",
                [self.net],
                self.joint_losses,
                validate=self.joint_loss,
                on_start=self.start,
                after_step=self.modulate,
            ),
            Stage("probes", [self.g], self.probe_losses, predictors=self.deployed),
        ]

    def predictor(self, m: str) -> nn.Module:
        return nn.Sequential(self.net.encoders[m], self.g[m])


register(
    Entry(
        key="ogm",
        method=OGM,
        family="balanced fusion",
        summary="Fusion that slows down the modality that is ahead, then a linear head on each.",
        losses="ℓ(h([z_1; ...; z_M]), y) with steps k_m Δθ_m + ε, then ℓ(g_m(z_m), y)",
        publication=Publication(
            "Peng, Wei, Deng, Wang, Hu",
            2022,
            "Balanced multimodal learning via on-the-fly gradient modulation",
            "arXiv 2203.15332",
        ),
        defaults_from="elsewhere",
        defaults_note="α and noise of the release for sound and video (VGGSound); for CREMA-D "
        "its α is 0.8",
        tuning={"alpha": Range(0.05, 1, log=True), "sigma": Range(0.1, 1, log=True)},
    )
)
