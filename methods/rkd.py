"""RKD: the student keeps the distances and angles between the teacher's samples.

Park, Kim, Lu, Cho 2019, "Relational knowledge distillation", CVPR, arXiv 1904.05068.

The terms are those of the released code (lenscloth/RKD). What differs, and why: samples that a
net maps onto one point have distance 0 and no direction. The release divides their difference by
1e-12, so that one pair of equal features gave a gradient of 10¹⁰ where others give 10⁻².
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import ALL, Artefact, Batch, EncoderFactory, Method, Stage
from methods.common.nets import UnimodalNet
from methods.common.registry import Entry, Publication, Range, register

SAME = 1e-6
"""Features that are nearer than this are the same point."""


def relations(z: Tensor) -> tuple[Tensor, Tensor]:
    """ψ_D and ψ_A of features z (B, d): how the samples of a batch lie to each other.

    ψ_D (B, B): Euclidean distances over the mean of the positive ones. ψ_A (B, B, B): cosine of
    the angle at sample i between samples j and k. Rotation and scale of z change neither.
    """
    difference = z[:, None] - z[None]
    squared = difference.pow(2).sum(dim=-1)
    apart = squared > SAME**2
    # The square root has no slope at 0: same points take another way.
    length = torch.where(apart, squared, 1.0).sqrt()
    e = torch.where(apart[..., None], difference / length[..., None], 0.0)
    distance = torch.where(apart, length, 0.0)
    mean = distance.sum() / apart.sum().clamp_min(1)
    return distance / mean.clamp_min(SAME), e @ e.transpose(1, 2)


class RKD(Method):
    """L = Σ_m ℓ(s_m, y) + λ_D L_D(z_m, z_t) + λ_A L_A(z_m, z_t).

    L_D and L_A: mean smooth-L1 distance (δ = 1) between the student's and the teacher's ψ_D, over
    all pairs of a batch, and ψ_A, over all triplets. The students share no parameter, so that
    training them side by side is training each alone.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        lambda_D: float = 25.0,
        lambda_A: float = 50.0,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not (lambda_D >= 0 and lambda_A >= 0):
            raise UserError(f"rkd: weights must not be negative, not {lambda_D} and {lambda_A}")
        self.lambda_D, self.lambda_A = lambda_D, lambda_A
        self.students = nn.ModuleDict(
            {m: UnimodalNet(spec, task.outputs, encoder) for m, spec in modalities.items()}
        )

    @classmethod
    def artefacts(cls, modalities: tuple[str, ...], **hyperparameters: Any) -> dict[str, Artefact]:
        return {"teacher": Artefact("fusion_concat", modalities)}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        z = {m: student.encoder(batch.x[m]) for m, student in self.students.items()}
        s = {m: student.head(z[m]) for m, student in self.students.items()}
        terms = {"task": sum(self.task.loss(s_m, batch.y) for s_m in s.values())}
        if self.lambda_D or self.lambda_A:
            with torch.no_grad():
                t_D, t_A = relations(self.given["teacher"][ALL].embed(batch.x))
            psi_D, psi_A = zip(*(relations(z_m) for z_m in z.values()), strict=True)
            terms["distance"] = self.lambda_D * sum(F.smooth_l1_loss(d, t_D) for d in psi_D)
            terms["angle"] = self.lambda_A * sum(F.smooth_l1_loss(a, t_A) for a in psi_A)
        return terms

    def stages(self) -> list[Stage]:
        return [Stage("students", [self.students], self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return self.students[m]


register(
    Entry(
        key="rkd",
        method=RKD,
        family="distillation",
        summary="Each student keeps the distances and angles between the teacher's samples.",
        losses="ℓ(s_m, y) + λ_D L_D(z_m, z_t) + λ_A L_A(z_m, z_t)",
        publication=Publication(
            "Park, Kim, Lu, Cho",
            2019,
            "Relational knowledge distillation",
            "arXiv 1904.05068",
        ),
        defaults_from="elsewhere",
        defaults_note="λ_D = 25, λ_A = 50 of HobbitLong/RepDistiller for image classification, in "
        "the ratio 1 : 2 of the release (lenscloth/RKD)",
        per_modality=True,
        tuning={"lambda_D": Range(2.5, 250, log=True), "lambda_A": Range(5, 500, log=True)},
    )
)
