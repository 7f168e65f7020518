"""Generalized distillation: a teacher that sees only what the student does not.

Lopez-Paz, Bottou, Schölkopf, Vapnik 2016, "Unifying distillation and privileged information",
ICLR, arXiv 1511.03643.

What differs from the released code, and why: student and teacher are both divided by T (the
release's MNIST script divides the teacher alone and multiplies by T² all the same); on regression
T is ignored (the release's SARCOS script divides the teacher's values by T, which shrinks them).
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


class GeneralizedDistillation(Method):
    """L = Σ_m (1 - λ) ℓ(s_m, y) + λ KD_T(s_m, t_m), t_m from the modalities other than m.

    With two modalities this is `kd_cross` with this publication's T and λ: the teacher is the
    single net of the other modality. On regression, where T is ignored, `kd_cross` does not apply
    then, as the two are one and the same.

    The students share no parameter, so that training them side by side is training each alone.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        T: float = 2.0,
        lam: float = 0.5,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not (T > 0 and 0 <= lam <= 1):
            raise UserError(f"gen_distill: T must be above 0 and lam in [0, 1], not {T} and {lam}")
        self.T = T
        self.lam = lam
        self.students = nn.ModuleDict(
            {m: UnimodalNet(spec, task.outputs, encoder) for m, spec in modalities.items()}
        )

    @classmethod
    def artefacts(cls, modalities: tuple[str, ...], **hyperparameters: Any) -> dict[str, Artefact]:
        """The teacher of each student: the single net of the one other modality, or a fusion."""
        others = {m: tuple(j for j in modalities if j != m) for m in modalities}
        return {
            m: Artefact("single" if len(js) == 1 else "fusion_concat", js)
            for m, js in others.items()
        }

    def teach(self, m: str, x: Mapping[str, Tensor]) -> Tensor:
        """t_m, the output of the teacher of student ``m``."""
        ((deployment, teacher),) = self.given[m].items()
        with torch.no_grad():
            return teacher(x if deployment == ALL else x[deployment])

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        s = {m: student(batch.x[m]) for m, student in self.students.items()}
        terms: dict[str, Tensor] = {}
        if self.lam < 1:
            task = sum(self.task.loss(s_m, batch.y) for s_m in s.values())
            terms["task"] = (1 - self.lam) * task
        if self.lam > 0:
            distance = self.task.soft_target_distance
            soft = sum(distance(s_m, self.teach(m, batch.x), self.T) for m, s_m in s.items())
            terms["imitation"] = self.lam * soft
        return terms

    def stages(self) -> list[Stage]:
        return [Stage("students", [self.students], self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return self.students[m]


register(
    Entry(
        key="gen_distill",
        method=GeneralizedDistillation,
        family="privileged information",
        summary="Each student imitates a teacher that sees only the other modalities; with two, as "
        "kd_cross.",
        losses="(1 - λ) ℓ(s_m, y) + λ KD_T(s_m, t_m), t_m from x_j, j ≠ m",
        publication=Publication(
            "Lopez-Paz, Bottou, Schölkopf, Vapnik",
            2016,
            "Unifying distillation and privileged information",
            "arXiv 1511.03643",
        ),
        defaults_from="this benchmark",
        defaults_note="T = 2 and λ = 0.5 lie inside the grid of the publication's code",
        per_modality=True,
        tuning={
            "T": Range(1, 50, log=True, idle_on=("regression",)),
            "lam": Range(0.1, 0.9),
        },
    )
)
