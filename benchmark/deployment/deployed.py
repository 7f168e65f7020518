"""What is deployed: raw values in, predictions out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.problem import TaskSpec

Input = Tensor | Mapping[str, Tensor]
"""x_m, or of a bound x by modality."""

Channels = np.ndarray | Mapping[str, np.ndarray]
"""A number for each channel (C,), or of a bound such numbers by modality."""


class Standardise(nn.Module):
    """(x - mean) / std by channel, 0 where a value is missing: (..., C) → (..., C) float32.

    mean, std: (C,). Where std is infinite, as of a channel that was constant in training, it is 0.
    """

    def __init__(self, mean: np.ndarray, std: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(np.array(mean), dtype=torch.float32))
        self.register_buffer("std", torch.as_tensor(np.array(std), dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        return ((x.float() - self.mean) / self.std).nan_to_num(nan=0.0)


def _by_modality(module: nn.Module | nn.ModuleDict, x: Input) -> Input:
    """One module, or one for each modality, on what it is for; what has none stays as it is."""
    if isinstance(module, nn.ModuleDict):
        return {m: module[m](values) if m in module else values for m, values in x.items()}
    return module(x)


class FrozenFeatures(nn.Module):
    """A frozen encoder's features, standardised: x_m, standardised for it, (B, *shape) → (B, F)."""

    def __init__(self, encoder: nn.Module, mean: np.ndarray, std: np.ndarray) -> None:
        super().__init__()
        self.encoder, self.standardise = encoder, Standardise(mean, std)

    def forward(self, x: Tensor) -> Tensor:
        return self.standardise(self.encoder(x).float())


class OnFrozen(nn.Module):
    """A predictor with the frozen encoders in it: x, standardised for them → (B, outputs).

    features: of x_m, or of a bound by modality, for those whose encoder is frozen.
    """

    def __init__(
        self, features: FrozenFeatures | Mapping[str, FrozenFeatures], predictor: nn.Module
    ) -> None:
        super().__init__()
        one = isinstance(features, nn.Module)
        self.features = features if one else nn.ModuleDict(features)
        self.predictor = predictor

    def forward(self, x: Input) -> Tensor:
        return self.predictor(_by_modality(self.features, x))


class Deployed(nn.Module):
    """What is deployed for one modality, or of a bound for all: nothing else is needed.

    x (B, *spec.shape) in physical units, NaN where a value is missing, or a dict of such by
    modality → class probabilities (B, C), or target values (B,) in the target's unit
    (`benchmark.problem.TaskSpec.predict`). It is in eval mode.

    mean, std: by channel, of the training part (`Standardise`), by modality if it sees several.
    """

    def __init__(self, predictor: nn.Module, mean: Channels, std: Channels, task: TaskSpec) -> None:
        super().__init__()
        self.standardise = (
            nn.ModuleDict({m: Standardise(mean[m], std[m]) for m in mean})
            if isinstance(mean, Mapping)
            else Standardise(mean, std)
        )
        self.predictor, self.task = predictor, task
        self.requires_grad_(False).eval()

    def forward(self, x: Input) -> Tensor:
        return self.task.predict(self.predictor(_by_modality(self.standardise, x)))


class Ensemble(nn.Module):
    """Mean of the predictions of several: what `Deployed` takes → what it gives."""

    def __init__(self, members: Iterable[Deployed]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.eval()

    def forward(self, x: Input) -> Tensor:
        return torch.stack([member(x) for member in self.members]).mean(dim=0)
