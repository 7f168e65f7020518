"""Subsets of available modalities: all of them, and random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from benchmark.errors import UserError


def non_empty_subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """The 2^M - 1 non-empty subsets, small ones first, each in the order of ``modalities``."""
    sizes = range(1, len(modalities) + 1)
    return [subset for size in sizes for subset in combinations(modalities, size)]


@dataclass(frozen=True)
class SensorDropout:
    """Drops each modality with probability ``ratio``, given that one remains.

    So P(S) ∝ (1 - ratio)^|S| · ratio^(M - |S|) for every non-empty S: uniform for 1/2, and
    nothing is dropped for 0. Draws come from torch's global generator, on the CPU.

    Raises `benchmark.errors.UserError` for a ratio outside [0, 1).
    """

    modalities: tuple[str, ...]
    ratio: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1:
            raise UserError(f"sensor dropout: ratio must be in [0, 1), but is {self.ratio}")

    def _draw(self, size: int) -> list[tuple[str, ...]]:
        M, r = len(self.modalities), self.ratio
        subsets = non_empty_subsets(self.modalities)
        weights = torch.tensor([(1 - r) ** len(S) * r ** (M - len(S)) for S in subsets])
        return [subsets[i] for i in torch.multinomial(weights, size, replacement=True)]

    def subset(self) -> tuple[str, ...]:
        """One subset S, for a whole batch."""
        return self._draw(1)[0]

    def masks(self, size: int) -> Tensor:
        """One subset a sample: (size, M) booleans, True where a modality is available."""
        return torch.tensor([[m in S for m in self.modalities] for S in self._draw(size)])
