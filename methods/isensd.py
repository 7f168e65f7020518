"""ISensD: sensor dropout at the input.

Mena, Arenas, Dengel 2024, "Increasing the robustness of model predictions to missing sensors in
Earth observation", arXiv 2407.15512. Released with Mena et al. 2025, IEEE Access 13:83930-83943,
doi 10.1109/ACCESS.2025.3568706 (fmenat/DSensDp).

What differs from that release, and why:

- S is the random subset. The release hands on only the first name of the subset that it draws, so
  that one sensor at a time is trained, the first of the list most often.
- The release also runs the complete input through the net at every step, with weight 0, which does
  nothing but mix it into the BatchNorm statistics.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.nets import mlp_head
from methods.common.registry import Entry, Publication, Range, register
from methods.common.subsets import SensorDropout


def no_common_time_axis(modalities: Mapping[str, ModalitySpec], task: TaskSpec) -> str | None:
    """Why the channels of these modalities cannot be stacked into one series, or None."""
    images = [m for m, spec in modalities.items() if spec.kind == "image"]
    if images:
        return f"an image ({', '.join(images)}) has no time axis to stack channels along"
    steps = {m: spec.shape[0] for m, spec in modalities.items() if spec.kind == "series"}
    if not steps:
        return "no modality is a series to stack channels along"
    if len(set(steps.values())) > 1:
        lengths = ", ".join(f"{m} {T}" for m, T in steps.items())
        return f"the series differ in their number of time steps ({lengths})"
    return None


class StackedNet(nn.Module):
    """h(E(x)) on the channels of all modalities side by side, 0 for those that are not given.

    x by modality, any of them → (B, outputs). A vector is repeated at every time step.
    """

    def __init__(
        self, modalities: Mapping[str, ModalitySpec], encoder: EncoderFactory, head: nn.Module
    ) -> None:
        super().__init__()
        self.steps = next(s.shape[0] for s in modalities.values() if s.kind == "series")
        self.is_vector = {m: spec.kind == "vector" for m, spec in modalities.items()}
        self.widths = {
            m: torch.Size(spec.shape if self.is_vector[m] else spec.shape[1:]).numel()
            for m, spec in modalities.items()
        }
        width = sum(self.widths.values())
        # By their names, which is how some encoders know them; of a window once for each pixel.
        channels = tuple(
            channel
            for m, spec in modalities.items()
            for channel in spec.channels * (self.widths[m] // len(spec.channels))
        )
        stacked = ModalitySpec("stacked", "series", (self.steps, width), channels, "standardised")
        self.encoder = encoder(stacked)
        self.head = head

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        given = next(iter(x.values()))
        parts = []
        for m, width in self.widths.items():
            if m not in x:
                part = given.new_zeros(given.shape[0], self.steps, width)
            elif self.is_vector[m]:
                part = x[m].unsqueeze(1).expand(-1, self.steps, -1)
            else:
                part = x[m].flatten(2)
            parts.append(part)
        return self.head(self.encoder(torch.cat(parts, dim=2)))


class OneGiven(nn.Module):
    """A net on x by modality, given the modality ``m`` alone: x_m → (B, outputs)."""

    def __init__(self, net: nn.Module, m: str) -> None:
        super().__init__()
        self.net = net
        self.m = m

    def forward(self, x: Tensor) -> Tensor:
        return self.net({self.m: x})


class ISensD(Method):
    """L = ℓ(h(E([1_S x])), y), with one random subset S of available modalities per batch."""

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        ratio: float = 0.5,
    ) -> None:
        super().__init__(modalities, task, encoder)
        self.dropout = SensorDropout(tuple(modalities), ratio)
        self.net = StackedNet(modalities, encoder, mlp_head(encoder.dim, task.outputs))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        S = self.dropout.subset()
        return {"task": self.task.loss(self.net({m: batch.x[m] for m in S}), batch.y)}

    def stages(self) -> list[Stage]:
        return [Stage("joint", [self.net], self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return OneGiven(self.net, m)


register(
    Entry(
        key="isensd",
        method=ISensD,
        family="dropout fusion",
        summary="One net on the stacked channels of all sensors, random sensors set to 0.",
        losses="ℓ(h(E([1_S x])), y), S random",
        publication=Publication(
            "Mena, Arenas, Dengel",
            2024,
            "Increasing the robustness of model predictions to missing sensors in Earth "
            "observation",
            "arXiv 2407.15512",
        ),
        defaults_from="these datasets",
        defaults_note="ratio of the released example (fmenat/DSensDp)",
        configured={"isensd": ("cropharvest_multi",)},
        tuning={"ratio": Range(0.1, 0.9)},
        applicable=no_common_time_axis,
    )
)
