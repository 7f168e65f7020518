"""ShaSpec: shared and specific features, composed so that shared ones stand in for what is missing.

Wang, Chen, Ma, Avery, Hull, Carneiro 2023, "Multi-modal learning with missing modality via
shared-specific feature modelling", CVPR, arXiv 2307.14126.

The released code (billhhh/ShaSpec) is for segmentation of four aligned volumes. What differs here,
and why:

- Sensors have inputs of different shapes, so that no encoder can be shared from the first layer
  on: each modality has a stem (the protocol's encoder), then one trunk for all and one of its own.
- Features of a missing modality are replaced by the mean of the shared features at hand. The
  release takes those of the first one; with two modalities it is the same.
- L_shared and L_spec are over the modalities at hand. The release computes them on the zeros, too,
  that stand for the missing ones.
- L_shared has all pairs of modalities; the release leaves out two of the six.
- Subsets are uniform over the 2^M - 1; in the release their size is.
- Adam of the protocol (the release: SGD, Nesterov momentum 0.99, one sample a batch).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.losses import modality_loss
from methods.common.registry import Entry, Publication, Range, register
from methods.common.subsets import SensorDropout


def trunk(dim: int, width: int) -> nn.Module:
    """Stem features (B, D) → shared or specific features (B, width)."""
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, width))


class Compose(nn.Module):
    """f = r + W [r; s] of shared and specific features r, s, each (B, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.residual = nn.Linear(2 * width, width, bias=False)

    def forward(self, r: Tensor, s: Tensor) -> Tensor:
        return r + self.residual(torch.cat([r, s], dim=1))


class Alone(nn.Module):
    """The net with every modality missing but one: x_m → (B, outputs).

    before, after: how many of the missing modalities come before and after it.
    """

    def __init__(
        self,
        stem: nn.Module,
        shared: nn.Module,
        specific: nn.Module,
        compose: Compose,
        head: nn.Module,
        before: int,
        after: int,
    ) -> None:
        super().__init__()
        self.stem, self.shared, self.specific = stem, shared, specific
        self.compose, self.head = compose, head
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        r = self.shared(h)
        f = self.compose(r, self.specific(h))
        return self.head(torch.cat([r] * self.before + [f] + [r] * self.after, dim=1))

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Shared and specific features, for pictures of the feature space."""
        h = self.stem(x)
        return {"shared": self.shared(h), "specific": self.specific(h)}


class ShaSpec(Method):
    """L = ℓ(h([f_1; ...; f_M]), y) + α L_shared + β L_spec, first on all modalities, then on some.

    r_m = R(E_m(x_m)), one trunk R for all; s_m = S_m(E_m(x_m)).
    f_m = r_m + W [r_m; s_m], and for a missing modality the mean of the r_i at hand.
    L_shared = Σ over pairs i < j at hand of mean |r_i - r_j|
    L_spec   = mean over m at hand of CE(D(s_m), m)

    In the second stage each batch has a random subset of the modalities.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        alpha: float = 0.1,
        beta: float = 0.02,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if min(alpha, beta) < 0:
            raise UserError(f"shaspec: weights must not be negative, not {alpha} and {beta}")
        self.alpha, self.beta = alpha, beta
        self.names = tuple(modalities)
        self.dropout = SensorDropout(self.names)
        width = encoder.dim // 2
        self.stems = nn.ModuleDict({m: encoder(spec) for m, spec in modalities.items()})
        self.R = trunk(encoder.dim, width)
        self.S = nn.ModuleDict({m: trunk(encoder.dim, width) for m in modalities})
        self.compose = Compose(width)
        self.D = nn.Linear(width, len(modalities))
        self.head = nn.Linear(width * len(modalities), task.outputs)

    def losses(self, batch: Batch, available: tuple[str, ...]) -> dict[str, Tensor]:
        h = {m: self.stems[m](batch.x[m]) for m in available}
        r = {m: self.R(h_m) for m, h_m in h.items()}
        s = {m: self.S[m](h_m) for m, h_m in h.items()}
        general = torch.stack([*r.values()]).mean(dim=0)
        f = [self.compose(r[m], s[m]) if m in r else general for m in self.names]
        shared = [F.l1_loss(r_i, r_j) for r_i, r_j in combinations(r.values(), 2)]
        numbers = [self.names.index(m) for m in available]
        return {
            "task": self.task.loss(self.head(torch.cat(f, dim=1)), batch.y),
            # One modality at hand has no pair; the term is there, so that every step logs it.
            "shared": self.alpha * sum(shared, start=torch.zeros_like(general[0, 0])),
            "spec": self.beta * modality_loss(self.D, [*s.values()], numbers),
        }

    def all_losses(self, batch: Batch) -> dict[str, Tensor]:
        return self.losses(batch, self.names)

    def some_losses(self, batch: Batch) -> dict[str, Tensor]:
        return self.losses(batch, self.dropout.subset())

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "all modalities",
                [self],
                self.all_losses,
                validate=lambda batch: self.all_losses(batch)["task"],
            ),
            Stage("random subsets", [self], self.some_losses, predictors=self.deployed),
        ]

    def predictor(self, m: str) -> nn.Module:
        before = self.names.index(m)
        after = len(self.names) - 1 - before
        return Alone(
            self.stems[m], self.R, self.S[m], self.compose, self.head, before=before, after=after
        )


register(
    Entry(
        key="shaspec",
        method=ShaSpec,
        family="shared-specific",
        summary="Shared features of what is at hand stand in for the modalities that are missing.",
        losses="ℓ(h([f_1; ...; f_M]), y) + α Σ_{i<j} |r_i - r_j| + β CE(D(s_m), m)",
        publication=Publication(
            "Wang, Chen, Ma, Avery, Hull, Carneiro",
            2023,
            "Multi-modal learning with missing modality via shared-specific feature modelling",
            "arXiv 2307.14126",
        ),
        defaults_from="elsewhere",
        defaults_note="α, β and the two stages of the release for segmentation (BraTS 2018)",
        tuning={"alpha": Range(0.01, 1, log=True), "beta": Range(0.002, 0.2, log=True)},
    )
)
