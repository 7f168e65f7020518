"""KD: knowledge distillation, from a net on all modalities, on another one, or on the same.

Hinton, Vinyals, Dean 2015, "Distilling the knowledge in a neural network", arXiv 1503.02531.

The publication's teacher and student see the same input. Here the student sees one modality, and
the teacher all of them (`kd`), one other (`kd_cross`) or, as a control, the same one (`kd_self`).
What "KL of soft labels" means on multi-label and regression tasks:
`benchmark.problem.TaskSpec.soft_target_distance`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import ALL, Artefact, Batch, EncoderFactory, Method, Stage
from methods.common.nets import UnimodalNet
from methods.common.registry import Entry, Publication, Range, register


class KD(Method):
    """L = Σ_m (1 - α) ℓ(s_m, y) + α KD_T(s_m, t_m): one student a modality, t_m = t for all.

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

    def teach(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """t_m by student, each (B, outputs)."""
        return dict.fromkeys(self.modalities, self.given["teacher"][ALL](x))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        s = {m: student(batch.x[m]) for m, student in self.students.items()}
        terms: dict[str, Tensor] = {}
        if self.alpha < 1:
            task = sum(self.task.loss(s_m, batch.y) for s_m in s.values())
            terms["task"] = (1 - self.alpha) * task
        if self.alpha > 0:
            with torch.no_grad():
                t = self.teach(batch.x)
            distance = self.task.soft_target_distance
            terms["kd"] = self.alpha * sum(distance(s[m], t[m], self.T) for m in s)
        return terms

    def stages(self) -> list[Stage]:
        return [Stage("students", [self.students], self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return self.students[m]


class KDCross(KD):
    """t_m is the single net of another modality: of several, the best on the validation part.

    With two modalities this is `gen_distill` with this publication's T and α; on regression, where
    T is ignored, the two are one and the same, and `gen_distill` stands for both.
    """

    @classmethod
    def artefacts(cls, modalities: tuple[str, ...], **hyperparameters: Any) -> dict[str, Artefact]:
        return {m: Artefact("single", (m,)) for m in modalities}

    def choose(self, validation: Iterable[Batch]) -> None:
        """Settle who teaches whom, by ℓ of the single nets on the validation part."""
        y, t = [], {m: [] for m in self.modalities}
        for batch in validation:
            y.append(batch.y)
            for m, outputs in t.items():
                outputs.append(self.given[m][m](batch.x[m]))
        loss = {m: self.task.loss(torch.cat(t[m]), torch.cat(y)) for m in t}
        self.teacher = {
            m: min((j for j in self.modalities if j != m), key=loss.__getitem__)
            for m in self.modalities
        }

    def teach(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        t = {j: self.given[j][j](x[j]) for j in dict.fromkeys(self.teacher.values())}
        return {m: t[j] for m, j in self.teacher.items()}

    def stages(self) -> list[Stage]:
        (students,) = super().stages()
        return [replace(students, on_validation=self.choose)]


class KDSelf(KD):
    """t_m is the single net of the very modality: what distillation gains without another one.

    Furlanello et al. 2018, "Born-again neural networks", arXiv 1805.04770, for one generation, with
    the loss of `kd`. Their students learn from the teacher's outputs at T = 1.
    """

    @classmethod
    def artefacts(cls, modalities: tuple[str, ...], **hyperparameters: Any) -> dict[str, Artefact]:
        return {m: Artefact("single", (m,)) for m in modalities}

    def teach(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {m: self.given[m][m](x[m]) for m in self.modalities}


def _same_as_gen_distill(modalities: Mapping[str, ModalitySpec], task: TaskSpec) -> str | None:
    """With the default weights, both of them 1/2."""
    if len(modalities) == 2 and task.kind == "regression":
        return "on a regression with two modalities it is the same as gen_distill"
    return None


KD_ENTRY = register(
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
        tuning={
            "T": Range(1, 20, log=True, default_from="elsewhere", idle_on=("regression",)),
            "alpha": Range(0.1, 0.9),
        },
    )
)
register(
    replace(
        KD_ENTRY,
        key="kd_cross",
        method=KDCross,
        summary="Each student imitates the soft outputs of the best net on another modality.",
        losses="(1 - α) ℓ(s_m, y) + α KD_T(s_m, t_j), j ≠ m",
        applicable=_same_as_gen_distill,
    )
)
register(
    replace(
        KD_ENTRY,
        key="kd_self",
        method=KDSelf,
        family="control",
        role="control",
        summary="Each student imitates the single net of its own modality: distillation alone.",
        losses="(1 - α) ℓ(s_m, y) + α KD_T(s_m, t_m), t_m from x_m",
        publication=Publication(
            "Furlanello, Lipton, Tschannen, Itti, Anandkumar",
            2018,
            "Born-again neural networks",
            "arXiv 1805.04770",
        ),
        defaults_note="as kd",
    )
)
