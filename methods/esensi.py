"""ESensI: an ensemble of sensors with one shared head.

Mena, Arenas, Dengel 2024, "Increasing the robustness of model predictions to missing sensors in
Earth observation", arXiv 2407.15512. Released with fmenat/CoM-views.

What differs from the released code, and why:

- All sensors of a batch go through the head together. The release's BatchNorm there normalises each
  sensor by itself in training, and by statistics of their mixture at inference.
- ρ_m is added out of place; the release changes the encoder's output itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.nets import mlp_head
from methods.common.registry import Entry, Publication, register


class SensorNet(nn.Module):
    """h(E_m(x_m) + ρ_m): ``head`` is shared between sensors, ρ_m (D,) tells them apart."""

    def __init__(self, encoder: nn.Module, head: nn.Module, dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.rho = nn.Parameter(torch.randn(dim))
        self.head = head

    def embed(self, x: Tensor) -> Tensor:
        """E_m(x_m) + ρ_m, (B, D)."""
        return self.encoder(x) + self.rho

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x))


class ESensI(Method):
    """L = Σ_m ℓ(h(z_m + ρ_m), y). The shared head is the only thing that sensors learn together."""

    def __init__(
        self, modalities: Mapping[str, ModalitySpec], task: TaskSpec, encoder: EncoderFactory
    ) -> None:
        super().__init__(modalities, task, encoder)
        self.head = mlp_head(encoder.dim, task.outputs)
        self.nets = nn.ModuleDict(
            {m: SensorNet(encoder(spec), self.head, encoder.dim) for m, spec in modalities.items()}
        )

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        z = [net.embed(batch.x[m]) for m, net in self.nets.items()]
        s = self.head(torch.cat(z)).chunk(len(z))
        return {"task": sum(self.task.loss(s_m, batch.y) for s_m in s)}

    def stages(self) -> list[Stage]:
        return [Stage("joint", [self.nets], self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return self.nets[m]


register(
    Entry(
        key="esensi",
        method=ESensI,
        version=2,
        family="dropout fusion",
        summary="One head shared by all sensors, told by a learned vector which one it reads.",
        losses="Σ_m ℓ(h(z_m + ρ_m), y)",
        publication=Publication(
            "Mena, Arenas, Dengel",
            2024,
            "Increasing the robustness of model predictions to missing sensors in Earth "
            "observation",
            "arXiv 2407.15512",
        ),
        defaults_from="these datasets",
        defaults_note="head and ρ of the released example (fmenat/CoM-views)",
        configured={"esensi": ("cropharvest_multi",)},
    )
)
