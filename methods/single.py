"""Supervised training on one modality: the reference that co-learning has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Artefact, Batch, EncoderFactory, Method, Stage
from methods.common.nets import UnimodalNet
from methods.common.registry import Entry, register


class Single(Method):
    """One independent net h_m(E_m(x_m)) per modality, loss ℓ.

    On several modalities it is one single-modality artefact each, so that everything that builds
    on such a net (late ensembles, cross-modal teachers) builds on the very same weights.
    """

    def __init__(
        self, modalities: Mapping[str, ModalitySpec], task: TaskSpec, encoder: EncoderFactory
    ) -> None:
        super().__init__(modalities, task, encoder)
        if len(modalities) == 1:
            ((self.m, spec),) = modalities.items()
            self.net = UnimodalNet(spec, task.outputs, encoder)

    @classmethod
    def artefacts(cls, modalities: tuple[str, ...], **hyperparameters: Any) -> dict[str, Artefact]:
        if len(modalities) == 1:
            return {}
        return {m: Artefact("single", (m,)) for m in modalities}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {"task": self.task.loss(self.net(batch.x[self.m]), batch.y)}

    def stages(self) -> list[Stage]:
        if len(self.modalities) > 1:
            return []
        return [Stage("supervised", [self.net], self.losses, predictors=(self.m,))]

    def predictor(self, m: str) -> nn.Module:
        return self.net if len(self.modalities) == 1 else self.given[m][m]


register(
    Entry(
        key="single",
        method=Single,
        family="bound",
        role="control",
        summary="Supervised on one modality alone: the reference that co-learning has to beat.",
        losses="ℓ(h_m(E_m(x_m)), y)",
        publication=None,
        defaults_from="this benchmark",
        per_modality=True,
    )
)
