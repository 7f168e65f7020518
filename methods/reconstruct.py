"""Features of the missing modalities, reconstructed from those at hand, then fusion: SMIL's core.

Ma, Ren, Zhao, Tulyakov, Wu, Peng 2021, "SMIL: multimodal learning with severely missing modality",
AAAI, arXiv 2103.05677.

A missing modality's features are a weighted mean of K typical ones, its prior: the centroids of its
features in the training part, by a net that was trained on all modalities. What is reconstructed
are K weights, so that what cannot be known from x_m is not made up in detail.

What differs from the publication and its released code (mengmenm/SMIL), and why:

- All modalities are there in training. SMIL's setting is that most samples lack one, which its
  Bayesian meta-learning is for: neither that nor the noise that it learns on features is here.
- Reconstructed features are drawn to the true ones, as the release draws its fused features, here
  as a share of their variance: 1 is what their mean would reach, for any encoder and modality. The
  release weighs raw distances of two fused layers by 0.01 each, and lets the gradient pass to both
  sides.
- Each modality in turn is the one at hand, with an encoder and a head of its own that start as
  those of the net on all; the release reconstructs one of two.
- k-means starts once, from k-means++, which is scikit-learn's default of today; when the release
  was written it was the best of ten starts. With fewer different features than K, centroids are
  repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import ALL, Artefact, Batch, EncoderFactory, FitStage, Method, Stage
from methods.common.registry import Entry, Publication, Range, register


class Prior(nn.Module):
    """K centroids (K, D) of a modality's features, and the mean variance of these, a scalar."""

    centroids: Tensor
    variance: Tensor

    def __init__(self, K: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("centroids", torch.zeros(K, dim))
        self.register_buffer("variance", torch.ones(()))

    def fit(self, z: Tensor) -> int:
        """Learn from features (n, D) by k-means; the number of operations."""
        from sklearn.cluster import KMeans  # it takes a second to import
        from threadpoolctl import threadpool_limits

        K, values = len(self.centroids), z.cpu().numpy()
        distinct = len(np.unique(values, axis=0))
        seed = int(torch.randint(2**31 - 1, ()))
        with threadpool_limits(1):  # sums of several threads come in any order
            means = KMeans(min(K, distinct), n_init=1, random_state=seed).fit(values)
        found = torch.from_numpy(means.cluster_centers_).to(z)
        self.centroids.copy_(found[torch.arange(K) % len(found)])
        variance = z.var(dim=0, correction=0).mean()
        self.variance.copy_(torch.where(variance > 0, variance, 1.0))  # 0: nothing to reconstruct
        return 3 * z.numel() * len(found) * means.n_iter_


class Reconstruction(nn.Module):
    """ẑ_j = Σ_k ω_k c_k / Σ_k ω_k, ω = softplus(W z_m + b): (B, D) → (B, D)."""

    def __init__(self, dim: int, prior: Prior) -> None:
        super().__init__()
        self.omega = nn.Linear(dim, len(prior.centroids))
        self.prior = prior

    def forward(self, z: Tensor) -> Tensor:
        omega = F.softplus(self.omega(z))
        return omega / omega.sum(dim=1, keepdim=True) @ self.prior.centroids


class Reconstructing(nn.Module):
    """h([ẑ_1; ...; z_m; ...; ẑ_M]): x_m → (B, outputs)."""

    def __init__(self, m: str, encoder: nn.Module, priors: Mapping[str, Prior], head: nn.Linear):
        super().__init__()
        self.m = m
        self.order = tuple(priors)
        self.encoder, self.head = encoder, head
        dim = head.in_features // len(priors)
        self.reconstruct = nn.ModuleDict(
            {j: Reconstruction(dim, prior) for j, prior in priors.items() if j != m}
        )

    def embed(self, x: Tensor) -> dict[str, Tensor]:
        """z_m and every ẑ_j, in the order of the modalities, each (B, D)."""
        z = self.encoder(x)
        return {j: z if j == self.m else self.reconstruct[j](z) for j in self.order}

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([*self.embed(x).values()], dim=1))


class Reconstruct(Method):
    """L = Σ_m ℓ(h_m([ẑ_1; ...; z_m; ...; ẑ_M]), y) + α Σ_{j≠m} ‖ẑ_j - z_j‖² / (D σ_j²) / (M - 1).

    z_j are the features of a frozen net on all modalities, σ_j² their mean variance; E_m and h_m
    start as that net's. Before, the priors are fitted to its features of the training part.
    Deployments share the priors, and no parameter.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        alpha: float = 1.0,
        K: int = 10,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not (alpha >= 0 and K >= 2):
            raise UserError(
                f"reconstruct: alpha must not be negative and K at least 2, not {alpha} and {K}"
            )
        self.alpha = alpha
        self.priors = nn.ModuleDict({m: Prior(K, encoder.dim) for m in modalities})
        self.nets = nn.ModuleDict(
            {
                m: Reconstructing(
                    m,
                    encoder(spec),
                    self.priors,
                    nn.Linear(encoder.dim * len(modalities), task.outputs),
                )
                for m, spec in modalities.items()
            }
        )

    @classmethod
    def artefacts(cls, modalities: tuple[str, ...], **hyperparameters: Any) -> dict[str, Artefact]:
        return {"fusion": Artefact("fusion_concat", modalities)}

    def features(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """z_j of the frozen net on all modalities, each (B, D)."""
        return {j: encode(x[j]) for j, encode in self.given["fusion"][ALL].encoders.items()}

    def fit_priors(self, training: Iterable[Batch]) -> int:
        z = [self.features(batch.x) for batch in training]
        return sum(prior.fit(torch.cat([z_b[j] for z_b in z])) for j, prior in self.priors.items())

    def start(self, n: int) -> None:
        """Encoders and heads go on from those of the net on all modalities."""
        fusion = self.given["fusion"][ALL]
        for m, net in self.nets.items():
            net.encoder.load_state_dict(fusion.encoders[m].state_dict())
            net.head.load_state_dict(fusion.head.state_dict())

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        z = {m: net.embed(batch.x[m]) for m, net in self.nets.items()}
        outputs = [net.head(torch.cat([*z[m].values()], dim=1)) for m, net in self.nets.items()]
        terms = {"task": sum(self.task.loss(output, batch.y) for output in outputs)}
        if self.alpha:
            with torch.no_grad():
                true = self.features(batch.x)
            share = sum(
                F.mse_loss(z_m[j], true[j]) / self.priors[j].variance
                for m, z_m in z.items()
                for j in z_m
                if j != m
            )
            terms["reconstruction"] = self.alpha * share / (len(z) - 1)
        return terms

    def stages(self) -> list[Stage | FitStage]:
        return [
            FitStage("priors", [self.priors], self.fit_priors, predictors=()),
            Stage(
                "reconstruction",
                [self.nets],
                self.losses,
                predictors=self.deployed,
                on_start=self.start,
            ),
        ]

    def predictor(self, m: str) -> nn.Module:
        return self.nets[m]


register(
    Entry(
        key="reconstruct",
        method=Reconstruct,
        family="privileged information",
        summary="Features of the missing modalities, made of typical ones, are fused with those at "
        "hand.",
        losses="ℓ(h_m([ẑ_1; ...; z_m; ...; ẑ_M]), y) + α mean_{j≠m} ‖ẑ_j - z_j‖² / (D σ_j²)",
        publication=Publication(
            "Ma, Ren, Zhao, Tulyakov, Wu, Peng",
            2021,
            "SMIL: multimodal learning with severely missing modality",
            "arXiv 2103.05677",
        ),
        defaults_from="this benchmark",
        defaults_note="K of the release for images and sound; α for a distance as a share of the "
        "variance",
        per_modality=True,
        tuning={"alpha": Range(0.1, 10, log=True), "K": Range(4, 64, log=True)},
    )
)
