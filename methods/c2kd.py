"""C²KD: a teacher that learns along, and tells a student only what their ranks of classes agree on.

Huo, Xu, Guo, Wang, Guo 2024, "C²KD: bridging the modality gap for cross-modal knowledge
distillation", CVPR, pp. 16006-16015.

A pre-trained teacher sees the modalities that the student lacks. Either has a proxy, a second head
on its features; output and proxy imitate each other, and so do the two proxies: on samples whose
classes both proxies rank alike (Kendall's τ above ω), and there on the other classes than the
sample's own.

What differs from the released code (huofushuo/C2KD), and why:

- The teacher sees all modalities but the student's: with two, the other one, as published.
- The proxies read the features before the heads, in two linear layers with batch normalisation and
  LeakyReLU between them (the release's for VGGSound: ReLU), as torch initialises them; there they
  read, averaged over space, the last but one block of a ResNet.
- The sample's own class is left out of the softmax of the proxies' distance. The release sets its
  logit to 0, so that it stays one of the classes, of a weight that depends on the others' level.
- A constant output has rank correlation 0 (NaN there). It is not selected either, unless ω is
  negative.
- Adam of the protocol instead of SGD with a decaying learning rate; the state that is best on the
  validation part is deployed, from any epoch. The release looks from the 81st epoch on (VGGSound:
  the 91st). Its validation part is the test part of CREMA-D, and the training part of VGGSound.

The temperature is 1. With two classes, and on multi-label tasks, one class without the others says
nothing: the distance is over all outputs there, on the selected samples. Regression has no ranks
within a sample either, and all samples are selected.
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
from methods.common.nets import ConcatNet, UnimodalNet
from methods.common.registry import Entry, Publication, Range, register


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Kendall's τ_b between the values of a and of b, each (B, C), within each sample: (B,)."""
    i, j = torch.triu_indices(a.shape[1], a.shape[1], offset=1, device=a.device)
    order_a, order_b = ((z[:, i] - z[:, j]).sign() for z in (a, b))
    untied = order_a.abs().sum(dim=1) * order_b.abs().sum(dim=1)
    return (order_a * order_b).sum(dim=1) / untied.sqrt().clamp_min(1)


def proxy(features: int, outputs: int) -> nn.Module:
    """A second head: features (B, D) → (B, outputs)."""
    return nn.Sequential(
        nn.Linear(features, features, bias=False),
        nn.BatchNorm1d(features),
        nn.LeakyReLU(0.1),
        nn.Linear(features, outputs),
    )


class C2KD(Method):
    """L = Σ_m ℓ(s, y) + ℓ(t, y) + w_proxy L_proxy + w_cross L_cross, with D the distance KD_1.

    L_proxy = D(s, s') + D(s', s) + D(t, t') + D(t', t)
    L_cross = D̂(s', t') + D̂(t', s')

    s and t are the outputs of student and teacher, s' and t' of their proxies; D(a, b) moves a
    alone. D̂ is D over the classes other than y, 0 for samples with τ(s', t') ≤ ω, and its mean is
    over all samples. Students of different modalities have teachers and proxies of their own, and
    share no parameter, so that training them side by side is training each alone.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        omega: float = 0.0,
        w_proxy: float = 1.0,
        w_cross: float = 1.0,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not (-1 <= omega < 1 and w_proxy >= 0 and w_cross >= 0):
            raise UserError(
                "c2kd: omega must be in [-1, 1) and w_proxy and w_cross not negative, not "
                f"{omega}, {w_proxy} and {w_cross}"
            )
        self.omega, self.w_proxy, self.w_cross = omega, w_proxy, w_cross
        others = {m: {j: modalities[j] for j in modalities if j != m} for m in modalities}
        outputs, D = task.outputs, encoder.dim
        self.students = nn.ModuleDict(
            {m: UnimodalNet(spec, outputs, encoder) for m, spec in modalities.items()}
        )
        self.teachers = nn.ModuleDict(
            {m: ConcatNet(specs, outputs, encoder) for m, specs in others.items()}
        )
        self.student_proxies = nn.ModuleDict({m: proxy(D, outputs) for m in modalities})
        self.teacher_proxies = nn.ModuleDict(
            {m: proxy(D * len(specs), outputs) for m, specs in others.items()}
        )

    @classmethod
    def artefacts(cls, modalities: tuple[str, ...], **hyperparameters: Any) -> dict[str, Artefact]:
        """What each student's teacher starts from: the single net of the one other, or a fusion."""
        others = {m: tuple(j for j in modalities if j != m) for m in modalities}
        return {
            m: Artefact("single" if len(js) == 1 else "fusion_concat", js)
            for m, js in others.items()
        }

    def start(self, n: int) -> None:
        """The teachers go on from where they were trained to."""
        for m, teacher in self.teachers.items():
            ((deployment, trained),) = self.given[m].items()
            if deployment == ALL:
                teacher.load_state_dict(trained.state_dict())
            else:
                teacher.encoders[deployment].load_state_dict(trained.encoder.state_dict())
                teacher.head.load_state_dict(trained.head.state_dict())

    def selected(self, s: Tensor, t: Tensor) -> Tensor:
        """(B, 1) booleans: the samples on which two proxies teach each other."""
        if self.task.kind == "regression":
            return torch.ones_like(s, dtype=torch.bool)
        return (rank_correlation(s.detach(), t.detach()) > self.omega)[:, None]

    def cross(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """L_cross of the outputs of two proxies, each (B, outputs)."""
        selected = self.selected(s, t)
        if self.task.is_classification and self.task.outputs > 2:
            s, t = non_target(s, y), non_target(t, y)
        return self.distance(torch.where(selected, s, t.detach()), t) + self.distance(
            torch.where(selected, t, s.detach()), s
        )

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return self.task.soft_target_distance(a, b, 1.0)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        task, within, across = [], [], []
        for m, student in self.students.items():
            z_s = student.encoder(batch.x[m])
            z_t = self.teachers[m].embed(batch.x)
            s, t = student.head(z_s), self.teachers[m].head(z_t)
            task += [self.task.loss(s, batch.y), self.task.loss(t, batch.y)]
            if self.w_proxy or self.w_cross:
                s_, t_ = self.student_proxies[m](z_s), self.teacher_proxies[m](z_t)
                pairs = ((s, s_), (s_, s), (t, t_), (t_, t))
                within += [self.distance(*pair) for pair in pairs]
                across.append(self.cross(s_, t_, batch.y))
        terms = {"task": sum(task)}
        if self.w_proxy or self.w_cross:
            terms["proxy"] = self.w_proxy * sum(within)
            terms["cross"] = self.w_cross * sum(across)
        return terms

    def stages(self) -> list[Stage]:
        modules = [self.students, self.teachers, self.student_proxies, self.teacher_proxies]
        return [
            Stage("students", modules, self.losses, predictors=self.deployed, on_start=self.start)
        ]

    def predictor(self, m: str) -> nn.Module:
        return self.students[m]


register(
    Entry(
        key="c2kd",
        method=C2KD,
        family="distillation",
        summary="A teacher on the other modalities learns along; proxies pass on what they agree "
        "on.",
        losses="ℓ(s, y) + ℓ(t, y) + w_proxy [D(s, s') + D(s', s) + D(t, t') + D(t', t)] + w_cross "
        "[D̂(s', t') + D̂(t', s')]",
        publication=Publication(
            "Huo, Xu, Guo, Wang, Guo",
            2024,
            "C²KD: bridging the modality gap for cross-modal knowledge distillation",
            "CVPR, pp. 16006-16015",
        ),
        defaults_from="elsewhere",
        defaults_note="ω and weights of the release for audio-visual classification",
        per_modality=True,
        tuning={
            "omega": Range(-0.5, 0.5, idle_on=("regression",)),
            "w_proxy": Range(0.1, 10, log=True),
            "w_cross": Range(0.1, 10, log=True),
        },
    )
)
