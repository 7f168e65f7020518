"""DisCoM-KD: cross-modal distillation without a teacher, by disentangled representations.

Ienco, Dantas 2024, "DisCoM-KD: cross-modal knowledge distillation via disentanglement
representation and adversarial learning", BMVC, arXiv 2408.07080.

What differs from the released code (tanodino/CMKD_Disentangle), and why:

- L_mod and L_adv tell the modalities apart. The release makes their targets as ones and zeros in
  the shape of the logits, which cross-entropy takes for class probabilities: the second modality
  costs nothing and the first is driven to an undecided head. ``targets="released"`` does the same
  (`discom_kd_released`).
- L_⊥ is the mean absolute cosine. The release has it with its sign, so that the minimum is at
  opposite features instead of orthogonal ones. ``cosine="signed"`` does the same
  (`discom_kd_released`).
- The projector's second layer, which the release creates and never uses, is left out.
- Regression and multi-label tasks have their own ℓ; more than two modalities have M-way heads.
- Adam of the protocol at its learning rate (the release: 1e-4, 300 epochs, flips and rotations).

Features are named as in MDiCo, which goes on from here: z^sha is the publication's invariant part
z^inv, z^spe its informative part z^inf, z^unu its irrelevant part z^irr.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.disentangle import DisentangledNet, Disentangler
from methods.common.losses import modality_loss, reverse_gradient
from methods.common.registry import Entry, Publication, Range, register


def released_modality_loss(head: nn.Module, z: Sequence[Tensor]) -> Tensor:
    """What the release has in place of `modality_loss`: -½ Σ_c log softmax(head(z_1))_c."""
    logits = head(torch.cat([*z]))
    target = torch.zeros_like(logits)
    target[: len(z[0])] = 1
    return F.cross_entropy(logits, target)


class DisCoMKD(Method):
    """L = L_cl + w_aux L_aux + w_mod L_mod + w_adv L_adv + w_orth L_⊥, one stage, unpaired.

    L_cl  = ℓ(P_m([z_m^spe; z_m^sha]), y_m) over the samples of all modalities
    L_aux = ℓ(A(z_m^sha), y_m) + ℓ(A(z_m^spe), y_m), one head A for all
    L_mod = (1/M) Σ_m ½[CE(D_1(z_m^spe), m) + CE(D_2(z_m^unu), m)]
    L_adv = (1/M) Σ_m CE(D(z_m^sha), m), the gradient reversed before z_m^sha
    L_⊥   = mean of |cos(z_m^spe, z_m^unu)| + mean of |cos(z_m^spe, z_m^sha)|
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        w_aux: float = 1.0,
        w_mod: float = 1.0,
        w_adv: float = 1.0,
        w_orth: float = 1.0,
        targets: Literal["modality", "released"] = "modality",
        cosine: Literal["absolute", "signed"] = "absolute",
    ) -> None:
        super().__init__(modalities, task, encoder)
        if min(w_aux, w_mod, w_adv, w_orth) < 0:
            raise UserError(
                "discom_kd: weights must not be negative, not "
                f"{w_aux}, {w_mod}, {w_adv} and {w_orth}"
            )
        self.w_aux, self.w_mod, self.w_adv, self.w_orth = w_aux, w_mod, w_adv, w_orth
        self.modality_loss = modality_loss if targets == "modality" else released_modality_loss
        self.cosine = cosine
        half, M = encoder.dim // 2, len(modalities)
        self.disentangle = nn.ModuleDict(
            {m: Disentangler(spec, encoder) for m, spec in modalities.items()}
        )
        self.P = nn.ModuleDict({m: nn.Linear(2 * half, task.outputs) for m in modalities})
        self.A = nn.Linear(half, task.outputs)
        self.D = nn.Linear(half, M)
        self.D_1 = nn.Linear(half, M)
        self.D_2 = nn.Linear(half, M)

    def overlap(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean over samples of the cosine of a and b, each (B, d)."""
        cos = F.cosine_similarity(a, b, dim=1)
        return (cos if self.cosine == "signed" else cos.abs()).mean()

    def losses(self, batches: Mapping[str, Batch]) -> dict[str, Tensor]:
        ell, discriminate = self.task.loss, self.modality_loss
        z = [self.disentangle[m](batches[m].x[m]) for m in self.modalities]
        y = torch.cat([batches[m].y for m in self.modalities])
        outputs = [
            P_m(torch.cat([z_m.spe, z_m.sha], dim=1))
            for P_m, z_m in zip(self.P.values(), z, strict=True)
        ]
        terms = {"cl": ell(torch.cat(outputs), y)}
        spe, unu, sha = (torch.cat(part) for part in zip(*z, strict=True))
        if self.w_aux:
            terms["aux"] = self.w_aux * (ell(self.A(sha), y) + ell(self.A(spe), y))
        if self.w_mod:
            mod = discriminate(self.D_1, [z_m.spe for z_m in z])
            mod = mod + discriminate(self.D_2, [z_m.unu for z_m in z])
            terms["mod"] = self.w_mod * mod / 2
        if self.w_adv:
            adv = discriminate(self.D, [reverse_gradient(z_m.sha) for z_m in z])
            terms["adv"] = self.w_adv * adv
        if self.w_orth:
            terms["orth"] = self.w_orth * (self.overlap(spe, unu) + self.overlap(spe, sha))
        return terms

    def stages(self) -> list[Stage]:
        return [Stage("joint", [self], self.losses, predictors=self.deployed, paired=False)]

    def predictor(self, m: str) -> nn.Module:
        return DisentangledNet(self.disentangle[m], self.P[m])


def _two_modalities(modalities: Mapping[str, ModalitySpec], task: TaskSpec) -> str | None:
    """The released targets are defined for a first and a second modality."""
    if len(modalities) == 2:
        return None
    return f"the released modality targets are for two modalities, not {len(modalities)}"


DISCOM_KD = register(
    Entry(
        key="discom_kd",
        method=DisCoMKD,
        family="shared-specific",
        summary="Invariant, informative and irrelevant features held apart by an adversary.",
        losses="L_cl + w_aux L_aux + w_mod L_mod + w_adv L_adv + w_orth L_⊥",
        publication=Publication(
            "Ienco, Dantas",
            2024,
            "DisCoM-KD: cross-modal knowledge distillation via disentanglement representation and "
            "adversarial learning",
            "arXiv 2408.07080",
        ),
        defaults_from="elsewhere",
        defaults_note="all weights 1, as released for image pairs; sizes in the protocol's "
        "proportions (the release: 512 features a ResNet-18, halved)",
        tuning={name: Range(0.1, 10, log=True) for name in ("w_aux", "w_mod", "w_adv", "w_orth")},
    )
)
register(
    replace(
        DISCOM_KD,
        key="discom_kd_released",
        summary="DisCoM-KD as released: modality targets that do not tell modalities apart.",
        role="ablation",
        overrides={"targets": "released", "cosine": "signed"},
        applicable=_two_modalities,
    )
)
