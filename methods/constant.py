"""The control without any input: what its metrics reach, they reach by the targets alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, FitStage, Method
from methods.common.registry import Entry, register


class Same(nn.Module):
    """The same output for every sample: x_m → (B, outputs)."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(outputs), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.value.expand(x.shape[0], -1)


class Constant(Method):
    """The training part's class frequencies, label frequencies or mean target."""

    def __init__(
        self, modalities: Mapping[str, ModalitySpec], task: TaskSpec, encoder: EncoderFactory
    ) -> None:
        super().__init__(modalities, task, encoder)
        self.net = Same(task.outputs)

    def fit(self, batches: Iterable[Batch]) -> int:
        numbers = self.task.numbers(torch.cat([batch.y for batch in batches]))
        self.net.value.copy_(self.task.output(numbers.mean(dim=0)))
        return numbers.numel()  # additions

    def stages(self) -> list[FitStage]:
        return [FitStage("mean", [self.net], self.fit, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return self.net


register(
    Entry(
        key="constant",
        method=Constant,
        family="control",
        role="control",
        summary="Class frequencies or mean target of the training part, whatever the input.",
        losses="none: mean of y over the training part",
        publication=None,
        defaults_from="this benchmark",
        deterministic=True,
        network=False,
    )
)
