"""DKD: what a teacher says of the target class, and what of the others, weighted one by one.

Zhao, Cui, Song, Qiu, Liang 2022, "Decoupled knowledge distillation", CVPR, arXiv 2203.08679.

As KD = TCKD + (1 - p_y) NCKD, with p_y the teacher's probability of the target class, KD gives the
less weight to the other classes the surer the teacher is. Here both have a weight of their own.

What differs from the released code (megvii-research/mdistiller), and why:

- The teacher sees all modalities, the student one.
- The warm-up is 5 epochs (there 20 of 240, or 1 of 100): training stops by itself, and often
  before the 20th. States of a warm-up that is not over are never the best one.
- The target class is left out of NCKD's softmax; the release lowers its logit by 1000, which is
  the same but for rounding.
- TCKD is of logits. The release takes logarithms of probabilities, which are infinite where one of
  these is 0.

With two classes there is one other class, and NCKD is 0; the labels of a multi-label task are two
classes each, and regression has none. On these tasks nothing is decoupled: DKD is KD there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import ALL, Artefact, Batch, EncoderFactory, Method, Stage
from methods.common.losses import non_target
from methods.common.nets import UnimodalNet
from methods.common.registry import Entry, Publication, Range, register


def target_or_not(output: Tensor, y: Tensor, T: float) -> Tensor:
    """(B, 2) logits whose softmax at T is the probability of the target class, and of all others.

    output: (B, C) logits. y: (B,) target classes.
    """
    others = T * (non_target(output, y) / T).logsumexp(dim=1)
    return torch.stack([output.gather(1, y[:, None])[:, 0], others], dim=1)


class DKD(Method):
    """L = Σ_m ℓ(s_m, y) + w(e) [α TCKD(s_m, t) + β NCKD(s_m, t)], w(e) = min((e + 1)/warm_up, 1).

    TCKD = T² KL(b^t ‖ b^s), b = (p_y, 1 - p_y) of the softmax p at temperature T.
    NCKD = T² KL(p̂^t ‖ p̂^s), p̂ the softmax at T over the classes other than y.
    Both are batch means. t is the output of a teacher that sees all modalities, e the epoch.

    The students share no parameter, so that training them side by side is training each alone.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        T: float = 4.0,
        alpha: float = 1.0,
        beta: float = 8.0,
        warm_up: int = 5,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not (T > 0 and alpha >= 0 and beta >= 0 and warm_up >= 1):
            raise UserError(
                "dkd: T must be above 0, alpha and beta not negative and warm_up at least 1 epoch, "
                f"not {T}, {alpha}, {beta} and {warm_up}"
            )
        self.T, self.alpha, self.beta, self.warm_up = T, alpha, beta, warm_up
        self.students = nn.ModuleDict(
            {m: UnimodalNet(spec, task.outputs, encoder) for m, spec in modalities.items()}
        )

    @classmethod
    def artefacts(cls, modalities: tuple[str, ...], **hyperparameters: Any) -> dict[str, Artefact]:
        return {"teacher": Artefact("fusion_concat", modalities)}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        y, T, distance = batch.y, self.T, self.task.soft_target_distance
        s = [student(batch.x[m]) for m, student in self.students.items()]
        terms = {"task": sum(self.task.loss(s_m, y) for s_m in s)}
        if not (self.alpha or self.beta):
            return terms
        with torch.no_grad():
            t = self.given["teacher"][ALL](batch.x)
        w = min((batch.epoch + 1) / self.warm_up, 1.0)
        of = [(target_or_not(o, y, T), non_target(o, y)) for o in (t, *s)]
        (target_t, others_t), *of_students = of
        tckd = sum(distance(target_s, target_t, T) for target_s, _ in of_students)
        nckd = sum(distance(others_s, others_t, T) for _, others_s in of_students)
        return {**terms, "tckd": w * self.alpha * tckd, "nckd": w * self.beta * nckd}

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "students",
                [self.students],
                self.losses,
                predictors=self.deployed,
                select_from=self.warm_up - 1,
            )
        ]

    def predictor(self, m: str) -> nn.Module:
        return self.students[m]


def _needs_other_classes(modalities: Mapping[str, ModalitySpec], task: TaskSpec) -> str | None:
    if task.kind != "multiclass" or task.outputs < 3:
        return f"on a {task.kind} task there are no several other classes: it would be kd"
    return None


register(
    Entry(
        key="dkd",
        method=DKD,
        family="distillation",
        summary="Each student imitates how sure a teacher is, and apart from it the other classes.",
        losses="ℓ(s_m, y) + α TCKD_T(s_m, t) + β NCKD_T(s_m, t)",
        publication=Publication(
            "Zhao, Cui, Song, Qiu, Liang",
            2022,
            "Decoupled knowledge distillation",
            "arXiv 2203.08679",
        ),
        defaults_from="elsewhere",
        defaults_note="T, α and β of the release for image classification (CIFAR-100), where β is "
        "2 to 8 by teacher and student (ImageNet: 0.5 or 2, T = 1); the warm-up is shorter, as "
        "trainings are",
        applicable=_needs_other_classes,
        per_modality=True,
        tuning={
            "T": Range(1, 20, log=True),
            "alpha": Range(0.1, 10, log=True),
            "beta": Range(0.5, 8, log=True),
        },
    )
)
