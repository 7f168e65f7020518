"""Supervised training on one modality: the reference that co-learning has to beat.

Three more controls say what a gain over it may be owed to: chance (`single_again`), size
(`single_wide`), or that two nets err less than one (`single_ensemble`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Artefact, Batch, EncoderFactory, Method, Stage
from methods.common.nets import UnimodalNet, mean_of_predictions
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


class Ensemble(nn.Module):
    """Mean of the predictions of nets of the same modality, as an output: x_m → (B, outputs)."""

    def __init__(self, nets: Iterable[nn.Module], task: TaskSpec) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)
        self.task = task

    def forward(self, x: Tensor) -> Tensor:
        return mean_of_predictions([net(x) for net in self.nets], self.task)


class SingleEnsemble(Method):
    """The nets of `single` and of `single_again`, whose predictions are averaged.

    Averaged is what is scored: probabilities, or values of the target.
    """

    STREAMS = ("", "again")

    @classmethod
    def artefacts(cls, modalities: tuple[str, ...], **hyperparameters: Any) -> dict[str, Artefact]:
        return {
            f"{m} {stream}".strip(): Artefact("single", (m,), stream=stream)
            for m in modalities
            for stream in cls.STREAMS
        }

    def stages(self) -> list[Stage]:
        return []

    def predictor(self, m: str) -> nn.Module:
        nets = [self.given[f"{m} {stream}".strip()][m] for stream in self.STREAMS]
        return Ensemble(nets, self.task)


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
        key="single_ensemble",
        method=SingleEnsemble,
        summary="Mean prediction of the nets of single and single_again: what two nets gain.",
        losses="none of its own: mean_k p_k, p_k the prediction of h_m(E_m(x_m)), k = 1, 2",
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
