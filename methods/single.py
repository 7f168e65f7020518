"""Supervised training on one modality: the reference that co-learning has to beat.

Two more controls say what a gain over it may be owed to: chance (`single_again`) or size
(`single_wide`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
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


class SingleAgain(Method):
    """The nets of `single`, from another initialisation and in another order of batches."""

    @classmethod
    def artefacts(cls, modalities: tuple[str, ...], **hyperparameters: Any) -> dict[str, Artefact]:
        return {m: Artefact("single", (m,), stream="again") for m in modalities}

    def stages(self) -> list[Stage]:
        return []

    def predictor(self, m: str) -> nn.Module:
        return self.given[m][m]


class WideNet(nn.Module):
    """h([E(x); ReLU(BN(W E'(x)))]), two encoders of the same modality: (B, *shape) → (B, outputs).

    What MDiCo deploys, but that all features of E are used: D/2 more weights for each output.
    """

    def __init__(self, spec: ModalitySpec, outputs: int, encoder: EncoderFactory) -> None:
        super().__init__()
        half = encoder.dim // 2
        self.first = encoder(spec)
        self.second = nn.Sequential(
            encoder(spec), nn.Linear(encoder.dim, half), nn.BatchNorm1d(half), nn.ReLU()
        )
        self.head = nn.Linear(encoder.dim + half, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.first(x), self.second(x)], dim=1))


class SingleWide(Method):
    """Σ_m ℓ(wide net of m, y): no parameter is shared, so that each is trained as if alone."""

    def __init__(
        self, modalities: Mapping[str, ModalitySpec], task: TaskSpec, encoder: EncoderFactory
    ) -> None:
        super().__init__(modalities, task, encoder)
        self.nets = nn.ModuleDict(
            {m: WideNet(spec, task.outputs, encoder) for m, spec in modalities.items()}
        )

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {
            f"task_{m}": self.task.loss(net(batch.x[m]), batch.y) for m, net in self.nets.items()
        }

    def stages(self) -> list[Stage]:
        return [Stage("supervised", [self.nets], self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return self.nets[m]


SINGLE = register(
    Entry(
        key="single",
        method=Single,
        family="control",
        role="control",
        summary="Supervised on one modality alone: the reference that co-learning has to beat.",
        losses="ℓ(h_m(E_m(x_m)), y)",
        publication=None,
        defaults_from="this benchmark",
        per_modality=True,
    )
)
register(
    replace(
        SINGLE,
        key="single_again",
        method=SingleAgain,
        summary="The nets of single from another initialisation: how much is chance.",
    )
)
register(
    replace(
        SINGLE,
        key="single_wide",
        method=SingleWide,
        summary="Supervised on one modality with two encoders, as large as what MDiCo deploys.",
        losses="ℓ(h_m([E_m(x_m); ReLU(BN(W E'_m(x_m)))]), y)",
    )
)
