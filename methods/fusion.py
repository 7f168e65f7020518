"""All-modality bounds: they see at inference what a co-learned predictor must do without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import ALL, Artefact, Batch, EncoderFactory, Method, Stage
from methods.common.nets import ConcatNet, MeanNet, mean_of_predictions
from methods.common.registry import Entry, register


class Fusion(Method):
    """A net on x by modality, trained with loss ℓ: an oracle that sees all modalities.

    Not guaranteed to be better than the best single modality: modalities compete in training.
    """

    sees_all = True
    net: nn.Module

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {"task": self.task.loss(self.net(batch.x), batch.y)}

    def stages(self) -> list[Stage]:
        return [Stage("supervised", [self.net], self.losses, predictors=(ALL,))]

    def predictor(self, m: str) -> nn.Module:
        return self.net


class FusionConcat(Fusion):
    """h([z_1; ...; z_M])."""

    def __init__(
        self, modalities: Mapping[str, ModalitySpec], task: TaskSpec, encoder: EncoderFactory
    ) -> None:
        super().__init__(modalities, task, encoder)
        self.net = ConcatNet(modalities, task.outputs, encoder)


class FusionAvg(Fusion):
    """h(mean_m z_m), each z_m layer-normalised so that all have the same say."""

    def __init__(
        self, modalities: Mapping[str, ModalitySpec], task: TaskSpec, encoder: EncoderFactory
    ) -> None:
        super().__init__(modalities, task, encoder)
        self.net = MeanNet(modalities, encoder, nn.Linear(encoder.dim, task.outputs))


class MeanOfPredictions(nn.Module):
    """Mean of the single nets' predictions, as an output: x by modality → (B, outputs)."""

    def __init__(self, nets: Mapping[str, nn.Module], task: TaskSpec) -> None:
        super().__init__()
        self.nets = nn.ModuleDict(nets)
        self.task = task

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        outputs = [net(x[m]) for m, net in self.nets.items() if m in x]
        return mean_of_predictions(outputs, self.task)


class LateEnsemble(Method):
    """Average of the independently trained `single` predictions over all modalities."""

    sees_all = True

    @classmethod
    def artefacts(cls, modalities: tuple[str, ...], **hyperparameters: Any) -> dict[str, Artefact]:
        return {m: Artefact("single", (m,)) for m in modalities}

    def stages(self) -> list[Stage]:
        return []

    def predictor(self, m: str) -> nn.Module:
        return MeanOfPredictions({m: self.given[m][m] for m in self.modalities}, self.task)


register(
    Entry(
        key="fusion_concat",
        method=FusionConcat,
        family="bound",
        role="bound",
        summary="Concatenated features of all modalities, also at inference.",
        losses="ℓ(h([z_1; ...; z_M]), y)",
        publication=None,
        defaults_from="this benchmark",
    )
)
register(
    Entry(
        key="fusion_avg",
        method=FusionAvg,
        family="bound",
        role="bound",
        summary="Mean of the features of all modalities, also at inference.",
        losses="ℓ(h(mean_m z_m), y)",
        publication=None,
        defaults_from="this benchmark",
    )
)
register(
    Entry(
        key="late_ensemble",
        method=LateEnsemble,
        family="bound",
        role="bound",
        summary="Mean prediction of the single nets of all modalities, also at inference.",
        losses="none of its own: mean_m softmax(h_m(E_m(x_m)))",
        publication=None,
        defaults_from="this benchmark",
    )
)
