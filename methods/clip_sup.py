"""Contrast between modalities as in CLIP, beside supervised training of each.

The loss is that of Radford et al. 2021, "Learning transferable visual models from natural language
supervision", ICML, arXiv 2103.00020: negatives are samples of the other modality alone, while
NT-Xent also has those of its own. There it pre-trains on text and images; here it is a term beside
ℓ, on features of the same size for every sensor, and what is deployed reads the features before
the contrast's projector. `clip_pretrain` is nearer to the publication: the contrast first, then the
supervised training of each modality, here both on the training part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.losses import mates
from methods.common.nets import UnimodalNet
from methods.common.registry import Entry, Publication, Range, register

MAX_SCALE = 100.0
"""Bound of 1/τ in the publication."""


def clip_loss(a: Tensor, b: Tensor, scale: Tensor | float, group: Tensor | None = None) -> Tensor:
    """½[CE(S, diagonal) + CE(Sᵀ, diagonal)], S = scale · cosines of paired features a, b (B, d).

    group: (B,) numbers of groups, whose other members are then no negatives.
    """
    S = scale * F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    if group is not None:
        S = S.masked_fill(mates(group), float("-inf"))
    diagonal = torch.arange(len(S), device=S.device)
    return (F.cross_entropy(S, diagonal) + F.cross_entropy(S.T, diagonal)) / 2


class ClipSup(Method):
    """L = (1/M) Σ_m ℓ(h_m(z_m), y) + λ L_c, one joint stage.

    L_c = mean over pairs i < j of the CLIP loss of q_i(z_i) and q_j(z_j), q_m linear. Its scale
    1/τ is learnt, starts at 1/``tau`` and is kept at or below 100.

    mask_groups: whether samples of the anchor's group (site, field) are left out of its negatives.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        lambda_con: float = 1.0,
        tau: float = 0.07,
        mask_groups: bool = False,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not (lambda_con >= 0 and tau >= 1 / MAX_SCALE):
            raise UserError(
                f"clip_sup: lambda_con must not be negative and tau at least {1 / MAX_SCALE}, "
                f"not {lambda_con} and {tau}"
            )
        self.lambda_con = lambda_con
        self.mask_groups = mask_groups
        self.nets = nn.ModuleDict(
            {m: UnimodalNet(spec, task.outputs, encoder) for m, spec in modalities.items()}
        )
        self.q = nn.ModuleDict({m: nn.Linear(encoder.dim, encoder.dim) for m in modalities})
        self.log_scale = nn.Parameter(torch.tensor(-math.log(tau)))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        z = {m: net.encoder(batch.x[m]) for m, net in self.nets.items()}
        task = [self.task.loss(self.nets[m].head(z_m), batch.y) for m, z_m in z.items()]
        terms = {"task": sum(task) / len(task)}
        if self.lambda_con:
            terms["con"] = self.lambda_con * self.contrast(z, batch.group)
        return terms

    def contrast(self, z: Mapping[str, Tensor], group: Tensor) -> Tensor:
        """L_c of features (B, D) by modality of samples of some groups (B,)."""
        pairs = list(combinations([self.q[m](z_m) for m, z_m in z.items()], 2))
        scale = self.log_scale.exp()
        left_out = group if self.mask_groups else None
        return sum(clip_loss(a, b, scale, left_out) for a, b in pairs) / len(pairs)

    def bound_scale(self, batch: Batch) -> None:
        with torch.no_grad():
            self.log_scale.clamp_(max=math.log(MAX_SCALE))

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "joint",
                [self],
                self.losses,
                predictors=self.deployed,
                after_step=self.bound_scale,
            )
        ]

    def predictor(self, m: str) -> nn.Module:
        return self.nets[m]


class ClipPretrain(ClipSup):
    """L_c alone, and then (1/M) Σ_m ℓ(h_m(z_m), y) from the encoders that this has trained."""

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        tau: float = 0.07,
        mask_groups: bool = False,
    ) -> None:
        super().__init__(
            modalities, task, encoder, lambda_con=0.0, tau=tau, mask_groups=mask_groups
        )

    def pre_training(self, batch: Batch) -> dict[str, Tensor]:
        z = {m: net.encoder(batch.x[m]) for m, net in self.nets.items()}
        return {"con": self.contrast(z, batch.group)}

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "pre-training",
                [self],
                self.pre_training,
                validate=lambda batch: self.pre_training(batch)["con"],
                after_step=self.bound_scale,
            ),
            Stage("supervised", [self.nets], self.losses, predictors=self.deployed),
        ]


CLIP_SUP = register(
    Entry(
        key="clip_sup",
        method=ClipSup,
        family="contrastive",
        summary="Supervised training of each modality, their features aligned as in CLIP.",
        losses="(1/M) Σ_m ℓ(h_m(z_m), y) + λ L_c",
        publication=Publication(
            "Radford, Kim, Hallacy, Ramesh, Goh, Agarwal, Sastry, Askell, Mishkin, Clark, Krueger, "
            "Sutskever",
            2021,
            "Learning transferable visual models from natural language supervision",
            "arXiv 2103.00020",
        ),
        defaults_from="elsewhere",
        defaults_note="τ and its bound of the publication; λ is chosen here, as the publication "
        "has no supervised term",
        tuning={
            "lambda_con": Range(0.1, 10, log=True, default_from="this benchmark"),
            "tau": Range(0.02, 0.5, log=True),
        },
    )
)
register(
    replace(
        CLIP_SUP,
        key="clip_sup_masked",
        role="ablation",
        summary="CLIP beside supervised training, without negatives of the own group.",
        defaults_from="this benchmark",
        defaults_note="the mask is chosen here; the rest as in clip_sup",
        overrides={"mask_groups": True},
        tuning={
            "lambda_con": Range(0.1, 10, log=True),
            "tau": Range(0.02, 0.5, log=True, default_from="elsewhere"),
        },
    )
)
register(
    replace(
        CLIP_SUP,
        key="clip_pretrain",
        method=ClipPretrain,
        summary="Encoders aligned as in CLIP without labels, then each modality supervised.",
        losses="L_c; then (1/M) Σ_m ℓ(h_m(z_m), y)",
        defaults_note="τ and its bound of the publication",
        tuning={"tau": Range(0.02, 0.5, log=True)},
    )
)
