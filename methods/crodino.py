"""CroDiNo-KD: nets of single modalities trained side by side, their features disentangled.

Ferrod, Dantas, Di Caro, Ienco 2025, "Revisiting cross-modal knowledge distillation: a
disentanglement approach for RGBD semantic segmentation", arXiv 2505.24361.

Written from the publication's abstract and the summary of its release (rogerferrod/CroDiNo-KD);
its equations and its code were not at hand, so that no term is compared with them. What they say
is kept: no teacher; one encoder and one decoder for each modality, trained at once; features of an
invariant and a specific part; an auxiliary decoder; a contrastive loss; each modality augmented by
itself ("decoupled"). What they do not say is chosen here, as in the works of the same group that
came before and after (`discom_kd`, `mdico`):

- The halves of an encoder's features are the two parts, and the decoder reads both.
- The auxiliary decoder is one for all modalities, and reads invariant features.
- The contrast is NT-Xent of the invariant features of a sample in two modalities.
- The parts of a modality are held apart by the absolute cosine, without an adversary.
- Samples take the place of pixels, ℓ of the task that of a segmentation loss, and random missing
  values that of changes to images.
- All weights are 1, and τ is that of `mdico`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.losses import nt_xent
from methods.common.nets import Missing, UnimodalNet
from methods.common.registry import Entry, Publication, Range, register


class HalvedNet(UnimodalNet):
    """P_m([z_m^inv; z_m^spe]), the halves of one encoder's features: x_m → (B, outputs)."""

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """The parts of the features by name, each (B, D/2)."""
        return dict(zip(("shared", "specific"), self.encoder(x).chunk(2, dim=1), strict=True))


class CroDiNo(Method):
    """L = L_main + w_aux L_aux + w_con L_con + w_orth L_⊥, one joint stage.

    [z_m^inv; z_m^spe] = E_m(x_m), with some values of x_m missing in training.
    L_main = (1/M) Σ_m ℓ(P_m([z_m^inv; z_m^spe]), y)
    L_aux  = (1/M) Σ_m ℓ(A(z_m^inv), y), one decoder A for all
    L_con  = mean over pairs i < j of NTXent(z_i^inv, z_j^inv; τ)
    L_⊥    = (1/M) Σ_m mean |cos(z_m^inv, z_m^spe)|

    masked: share of the values of an input that is missing (0) in training, drawn for each
        modality alone.
    mask_groups: whether samples of the anchor's group (site, field) are left out of its negatives.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        w_aux: float = 1.0,
        w_con: float = 1.0,
        w_orth: float = 1.0,
        tau: float = 0.1,
        masked: float = 0.1,
        mask_groups: bool = False,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if min(w_aux, w_con, w_orth) < 0 or not (tau > 0 and 0 <= masked < 1):
            raise UserError(
                "crodino: weights must not be negative, tau above 0 and masked in [0, 1), not "
                f"{w_aux}, {w_con}, {w_orth}, {tau} and {masked}"
            )
        self.w_aux, self.w_con, self.w_orth, self.tau = w_aux, w_con, w_orth, tau
        self.mask_groups = mask_groups
        self.nets = nn.ModuleDict(
            {m: HalvedNet(spec, task.outputs, encoder) for m, spec in modalities.items()}
        )
        self.A = nn.Linear(encoder.dim // 2, task.outputs)
        self.augment = nn.ModuleDict({m: Missing(s, masked) for m, s in modalities.items()})

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        ell, M = self.task.loss, len(self.modalities)
        z = {m: net.encoder(self.augment[m](batch.x[m])) for m, net in self.nets.items()}
        inv, spe = zip(*(z_m.split(self.A.in_features, dim=1) for z_m in z.values()), strict=True)
        terms = {"main": sum(ell(self.nets[m].head(z_m), batch.y) for m, z_m in z.items()) / M}
        if self.w_aux:
            terms["aux"] = self.w_aux * sum(ell(self.A(inv_m), batch.y) for inv_m in inv) / M
        if self.w_con:
            group = batch.group if self.mask_groups else None
            con = [nt_xent(a, b, self.tau, group) for a, b in combinations(inv, 2)]
            terms["con"] = self.w_con * sum(con) / len(con)
        if self.w_orth:
            cos = [F.cosine_similarity(a, b, dim=1).abs() for a, b in zip(inv, spe, strict=True)]
            terms["orth"] = self.w_orth * sum(each.mean() for each in cos) / M
        return terms

    def stages(self) -> list[Stage]:
        return [Stage("joint", [self], self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return self.nets[m]


register(
    Entry(
        key="crodino",
        method=CroDiNo,
        family="shared-specific",
        summary="One net a modality, its features halved into what sensors share and what not.",
        losses="L_main + w_aux L_aux + w_con L_con + w_orth L_⊥",
        publication=Publication(
            "Ferrod, Dantas, Di Caro, Ienco",
            2025,
            "Revisiting cross-modal knowledge distillation: a disentanglement approach for RGBD "
            "semantic segmentation",
            "arXiv 2505.24361",
        ),
        defaults_from="this benchmark",
        defaults_note="the publication's values were not at hand; weights 1 and τ as in mdico",
        tuning={
            "w_aux": Range(0.1, 10, log=True),
            "w_con": Range(0.1, 10, log=True),
            "w_orth": Range(0.1, 10, log=True),
            "tau": Range(0.02, 1, log=True),
            "masked": Range(0.0, 0.5),
        },
    )
)
