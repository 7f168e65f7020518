"""FitNets: the student's features are regressed onto those of a teacher that sees all modalities.

Romero, Ballas, Kahou, Chassang, Gatta, Bengio 2015, "FitNets: hints for thin deep nets", ICLR,
arXiv 1412.6550.

What differs from the publication, and why:

- Hint and task are learnt in one stage, as in HobbitLong/RepDistiller; the publication trains up
  to the hint first, and then the whole student by KD.
- The hint is the teacher's last feature, here [z_1; ...; z_M], for want of a common inner layer.
- Both sides are normalised over their features (layer normalisation without parameters), so that
  β means the same for every encoder: the term is at most 4 and about 2 for features that have
  nothing in common. RepDistiller's β = 100 is for raw feature maps.
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


def hint_loss(r: Tensor, z_t: Tensor) -> Tensor:
    """‖LN(r) - LN(z_t)‖² / d for a regressed and a teacher's feature, each (B, d), batch mean."""
    size = z_t.shape[1:]
    return F.mse_loss(F.layer_norm(r, size), F.layer_norm(z_t, size))


class FitNet(Method):
    """L = Σ_m ℓ(s_m, y) + β ‖LN(R_m(z_m)) - LN(z_t)‖² / d, R_m linear and not deployed.

    The students share no parameter, so that training them side by side is training each alone.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        beta: float = 10.0,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not beta >= 0:
            raise UserError(f"fitnet: beta must not be negative, but is {beta}")
        self.beta = beta
        self.students = nn.ModuleDict(
            {m: UnimodalNet(spec, task.outputs, encoder) for m, spec in modalities.items()}
        )
        self.R = nn.ModuleDict(
            {m: nn.Linear(encoder.dim, encoder.dim * len(modalities)) for m in modalities}
        )

    @classmethod
    def artefacts(cls, modalities: tuple[str, ...], **hyperparameters: Any) -> dict[str, Artefact]:
        return {"teacher": Artefact("fusion_concat", modalities)}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        z = {m: student.encoder(batch.x[m]) for m, student in self.students.items()}
        s = {m: student.head(z[m]) for m, student in self.students.items()}
        terms = {"task": sum(self.task.loss(s_m, batch.y) for s_m in s.values())}
        if self.beta:
            with torch.no_grad():
                z_t = self.given["teacher"][ALL].embed(batch.x)
            terms["hint"] = self.beta * sum(hint_loss(self.R[m](z[m]), z_t) for m in z)
        return terms

    def stages(self) -> list[Stage]:
        modules = [self.students, self.R]
        return [Stage("students", modules, self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return self.students[m]


register(
    Entry(
        key="fitnet",
        method=FitNet,
        family="distillation",
        summary="Each student's features are regressed onto those of an all-modality teacher.",
        losses="ℓ(s_m, y) + β ‖LN(R_m(z_m)) - LN(z_t)‖² / d",
        publication=Publication(
            "Romero, Ballas, Kahou, Chassang, Gatta, Bengio",
            2015,
            "FitNets: hints for thin deep nets",
            "arXiv 1412.6550",
        ),
        defaults_from="this benchmark",
        defaults_note="β = 10, so that the hint weighs a few times as much as the task at first; "
        "one stage as in HobbitLong/RepDistiller, whose β = 100 is for raw features",
        per_modality=True,
        tuning={"beta": Range(1, 100, log=True)},
    )
)
