"""KD on standardised logits: a student learns their order and shape, not their size.

Sun, Ren, Li, Wang, Cao 2024, "Logit standardization in knowledge distillation", CVPR,
arXiv 2403.01427.

What differs from the released code (sunshangquan/logit-standardization-KD), and why: the teacher
sees all modalities, the student one.

Standardising takes the mean away, to which a softmax is blind, and divides by the standard
deviation. Two logits are the same two numbers then whatever they were, and no gradient passes;
logits of labels, each with a sigmoid of its own, would lose how many labels there are; a single
value would lose all. So this is for three classes and more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import ALL, Artefact, Batch, EncoderFactory, Method, Stage
from methods.common.nets import UnimodalNet
from methods.common.registry import Entry, Publication, Range, register

EPSILON = 1e-7
"""Added to the standard deviation, as released."""


def standardised(output: Tensor) -> Tensor:
    """Z: each sample's logits (B, C) less their mean, over their standard deviation (C - 1)."""
    centred = output - output.mean(dim=1, keepdim=True)
    return centred / (output.std(dim=1, keepdim=True) + EPSILON)


class KDStandardised(Method):
    """L = Σ_m λ_CE ℓ(s_m, y) + λ_KD KD_T(Z(s_m), Z(t)), t of a teacher that sees all modalities.

    The students share no parameter, so that training them side by side is training each alone.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        T: float = 2.0,
        lambda_CE: float = 0.1,
        lambda_KD: float = 9.0,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not (T > 0 and lambda_CE >= 0 and lambda_KD >= 0 and lambda_CE + lambda_KD > 0):
            raise UserError(
                "kd_std: T must be above 0, and lambda_CE and lambda_KD not negative nor both 0, "
                f"not {T}, {lambda_CE} and {lambda_KD}"
            )
        self.T, self.lambda_CE, self.lambda_KD = T, lambda_CE, lambda_KD
        self.students = nn.ModuleDict(
            {m: UnimodalNet(spec, task.outputs, encoder) for m, spec in modalities.items()}
        )

    @classmethod
    def artefacts(cls, modalities: tuple[str, ...], **hyperparameters: Any) -> dict[str, Artefact]:
        return {"teacher": Artefact("fusion_concat", modalities)}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        s = [student(batch.x[m]) for m, student in self.students.items()]
        terms = {"task": self.lambda_CE * sum(self.task.loss(s_m, batch.y) for s_m in s)}
        if self.lambda_KD:
            with torch.no_grad():
                Z_t = standardised(self.given["teacher"][ALL](batch.x))
            distance = self.task.soft_target_distance
            soft = sum(distance(standardised(s_m), Z_t, self.T) for s_m in s)
            terms["kd"] = self.lambda_KD * soft
        return terms

    def stages(self) -> list[Stage]:
        return [Stage("students", [self.students], self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return self.students[m]


def _needs_three_classes(modalities: Mapping[str, ModalitySpec], task: TaskSpec) -> str | None:
    if task.kind != "multiclass" or task.outputs < 3:
        return f"on a {task.kind} task standardised outputs do not say what the teacher predicts"
    return None


register(
    Entry(
        key="kd_std",
        method=KDStandardised,
        family="distillation",
        summary="KD on standardised logits: the teacher's order of classes, at any size of logits.",
        losses="λ_CE ℓ(s_m, y) + λ_KD KD_T(Z(s_m), Z(t))",
        publication=Publication(
            "Sun, Ren, Li, Wang, Cao",
            2024,
            "Logit standardization in knowledge distillation",
            "arXiv 2403.01427",
        ),
        defaults_from="elsewhere",
        defaults_note="T, λ_CE and λ_KD of the release for image classification (CIFAR-100); "
        "λ_KD is 9 for most teachers and students there, 1 and 12 for two, and T 2 to 4",
        applicable=_needs_three_classes,
        per_modality=True,
        tuning={
            "T": Range(1, 8, log=True),
            "lambda_CE": Range(0.01, 1, log=True),
            "lambda_KD": Range(0.9, 90, log=True),
        },
    )
)
