"""KD: knowledge distillation from a net that sees all modalities.

Hinton, Vinyals, Dean 2015, "Distilling the knowledge in a neural network", arXiv 1503.02531.

The publication's teacher and student see the same input; here the teacher sees all modalities and
the student one. What "KL of soft labels" means on multi-label and regression tasks:
`benchmark.problem.TaskSpec.soft_target_distance`.
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
from methods.common.registry import Entry, Publication, register


class KD(Method):
    """L = Σ_m (1 - α) ℓ(s_m, y) + α KD_T(s_m, t): one student a modality, one common teacher.

    The students share no parameter, so that training them side by side is training each alone.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        T: float = 4.0,
        alpha: float = 0.5,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not (T > 0 and 0 <= alpha <= 1):
            raise UserError(f"kd: T must be above 0 and alpha in [0, 1], not {T} and {alpha}")
        self.T = T
        self.alpha = alpha
        self.students = nn.ModuleDict(
            {m: UnimodalNet(spec, task.outputs, encoder) for m, spec in modalities.items()}
        )

    @classmethod
    def artefacts(cls, modalities: tuple[str, ...], **hyperparameters: Any) -> dict[str, Artefact]:
        return {"teacher": Artefact("fusion_concat", modalities)}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        s = {m: student(batch.x[m]) for m, student in self.students.items()}
        terms: dict[str, Tensor] = {}
        if self.alpha < 1:
            task = sum(self.task.loss(s_m, batch.y) for s_m in s.values())
            terms["task"] = (1 - self.alpha) * task
        if self.alpha > 0:
            with torch.no_grad():
                t = self.given["teacher"][ALL](batch.x)
            distance = self.task.soft_target_distance
            terms["kd"] = self.alpha * sum(distance(s_m, t, self.T) for s_m in s.values())
        return terms

    def stages(self) -> list[Stage]:
        return [Stage("students", [self.students], self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return self.students[m]


register(
    Entry(
        key="kd",
        method=KD,
        family="distillation",
        summary="Each student imitates the soft outputs of a teacher that sees all modalities.",
        losses="(1 - α) ℓ(s_m, y) + α KD_T(s_m, t)",
        publication=Publication(
            "Hinton, Vinyals, Dean",
            2015,
            "Distilling the knowledge in a neural network",
            "arXiv 1503.02531",
        ),
        defaults_from="this benchmark",
        defaults_note="T = 4 is usual for image classification (HobbitLong/RepDistiller, which "
        "weights with 0.1 and 0.9); α = 0.5 is chosen here",
        per_modality=True,
    )
)
