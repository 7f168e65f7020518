"""GMC: every modality's features are aligned with those of all modalities together.

Poklukar, Vasco, Yin, Melo, Paiva, Kragic 2022, "Geometric multimodal contrastive representation
learning", ICML, arXiv 2202.03390.

The supervised form of the released code (miguelsvasco/gmc, affect recognition). What differs:

- ℓ of the task in place of the release's absolute error.
- The joint base encoder has one encoder for each modality and a linear layer over all of them; the
  release's is a transformer across modalities, for word-aligned series.
- `gmc_sup` also trains the classifier on the features that are deployed. The publication's sees
  those of all modalities alone, and serves a modality well as far as the two are aligned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.losses import nt_xent
from methods.common.nets import ConcatNet
from methods.common.registry import Entry, Publication, Range, register


class Projection(nn.Module):
    """g: base features (B, D) → unit vectors (B, D/2)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim // 2)

    def forward(self, e: Tensor) -> Tensor:
        return F.normalize(self.linear(e), dim=1)


class Classifier(nn.Module):
    """A residual block and a linear layer: z (B, d) → (B, outputs)."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Linear(features, features), nn.ReLU(), nn.Linear(features, features)
        )
        self.head = nn.Linear(features, outputs)

    def forward(self, z: Tensor) -> Tensor:
        return self.head(z + self.residual(z))


class GMC(Method):
    """L = w_con Σ_m NTXent(z, z_m; τ) + ℓ(c(z), y) + w_sup (1/M) Σ_m ℓ(c(z_m), y).

    z = g(f(x_1, ..., x_M)) and z_m = g(f_m(x_m)): base encoders f and f_m, one projection g.

    mask_groups: whether samples of the anchor's group (site, field) are left out of its negatives.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        w_con: float = 1.0,
        w_sup: float = 0.0,
        tau: float = 0.3,
        mask_groups: bool = False,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not (w_con >= 0 and w_sup >= 0 and tau > 0):
            raise UserError(
                f"gmc: weights must not be negative and tau above 0, not {w_con}, {w_sup} and {tau}"
            )
        self.w_con, self.w_sup, self.tau = w_con, w_sup, tau
        self.mask_groups = mask_groups
        self.f = nn.ModuleDict({m: encoder(spec) for m, spec in modalities.items()})
        self.joint = ConcatNet(modalities, encoder.dim, encoder)
        self.g = Projection(encoder.dim)
        self.c = Classifier(encoder.dim // 2, task.outputs)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        z = self.g(self.joint(batch.x))
        terms = {"task": self.task.loss(self.c(z), batch.y)}
        if self.w_con or self.w_sup:
            own = [self.g(f_m(batch.x[m])) for m, f_m in self.f.items()]
        if self.w_con:
            group = batch.group if self.mask_groups else None
            terms["con"] = self.w_con * sum(nt_xent(z, z_m, self.tau, group) for z_m in own)
        if self.w_sup:
            sup = [self.task.loss(self.c(z_m), batch.y) for z_m in own]
            terms["sup"] = self.w_sup * sum(sup) / len(sup)
        return terms

    def stages(self) -> list[Stage]:
        return [Stage("joint", [self], self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return nn.Sequential(self.f[m], self.g, self.c)


GMC_ENTRY = register(
    Entry(
        key="gmc",
        method=GMC,
        family="contrastive",
        summary="Features of each modality aligned with the joint ones, which learn the task.",
        losses="w_con Σ_m NTXent(z, z_m; τ) + ℓ(c(z), y)",
        publication=Publication(
            "Poklukar, Vasco, Yin, Melo, Paiva, Kragic",
            2022,
            "Geometric multimodal contrastive representation learning",
            "arXiv 2202.03390",
        ),
        defaults_from="elsewhere",
        defaults_note="weight and τ of the release for affect recognition (CMU-MOSI, CMU-MOSEI)",
        tuning={"w_con": Range(0.1, 10, log=True), "tau": Range(0.05, 1, log=True)},
    )
)
register(
    replace(
        GMC_ENTRY,
        key="gmc_sup",
        summary="GMC whose classifier also learns from the features that are deployed.",
        losses="w_con Σ_m NTXent(z, z_m; τ) + ℓ(c(z), y) + w_sup (1/M) Σ_m ℓ(c(z_m), y)",
        defaults_from="this benchmark",
        defaults_note="w_sup is chosen here; the rest as in gmc",
        overrides={"w_sup": 1.0},
        tuning={
            "w_con": Range(0.1, 10, log=True, default_from="elsewhere"),
            "w_sup": Range(0.1, 10, log=True),
            "tau": Range(0.05, 1, log=True, default_from="elsewhere"),
        },
    )
)
