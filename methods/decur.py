"""DeCUR: encoders pre-trained without labels, with dimensions that sensors share and such that not.

Wang, Albrecht, Ait Ali Braham, Liu, Xiong, Zhu 2024, "Decoupling common and unique representations
for multimodal self-supervised learning", ECCV, arXiv 2309.05300.

The released code (zhu-xlab/DeCUR) pre-trains on many unlabelled images. What differs here, and why:

- Pre-training sees the training part alone, and is followed by supervised training of each
  encoder with its head. The release does so on other data, with frozen encoders or not.
- Views are inputs of which random values are missing: the release's crops, flips, colours and
  seasons are of images, and most sensors here deliver series of numbers.
- Each modality has a projector of its own, as the publication's figure draws it. In the release
  both are made of the same layers, so that they share all weights.
- The projectors are 4 D wide, as the release's are 4 times as wide as its ResNet-50's features.
- A correlation is a mean over the batch at hand. The release divides by the nominal batch size.
- Encoders start at random and have no deformable attention, which is an option of the release for
  maps of features.
- More than two modalities: every modality alone and every pair have the same weight.
- Adam of the protocol (the release: AdamW, a cosine schedule; its LARS is never reached).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.nets import Missing, UnimodalNet
from methods.common.registry import Entry, Publication, Range, register


def cross_correlation(a: Tensor, b: Tensor) -> Tensor:
    """(d, d) correlations over a batch of the dimensions of a with those of b, each (B, d)."""

    def standardised(z: Tensor) -> Tensor:
        return (z - z.mean(dim=0)) / (z.var(dim=0, unbiased=False) + 1e-5).sqrt()

    return standardised(a).T @ standardised(b) / len(a)


def redundancy(C: Tensor, diagonal: float, lam: float) -> Tensor:
    """Σ_i (C_ii - diagonal)² + λ Σ_{i≠j} C_ij² of correlations C (d, d).

    Source: Zbontar, Jing, Misra, LeCun, Deny 2021, arXiv 2103.03230, where the diagonal is 1.
    """
    on, off = C.diagonal(), C - C.diagonal().diag()
    return (on - diagonal).square().sum() + lam * off.square().sum()


class DeCUR(Method):
    """Pre-training by the mean of all L_m and L_ij, then (1/M) Σ_m ℓ(h_m(E_m(x_m)), y).

    With p_m = P_m(E_m(v)), v a view of x_m, and C the correlations of two such p over a batch:

    L_m  = R_1(C(p_m, p'_m)): two views of one modality, all dimensions
    L_ij = ½ [R_1(C(p_i, p_j)^com) + R_0(C(p_i, p_j)^uni)], i < j: common dimensions, which are to
           correlate, and unique ones, which are not to
    R_t(C) = Σ_a (C_aa - t)² + λ Σ_{a≠b} C_ab²

    common: share of the 4 D dimensions of p that are common, the first ones.
    masked: share of the values of an input that is missing (0) in a view.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        common: float = 0.875,
        lam: float = 0.0051,
        masked: float = 0.3,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not (0 <= common <= 1 and lam >= 0 and 0 <= masked < 1):
            raise UserError(
                "decur: common must be in [0, 1], lam not negative and masked in [0, 1), not "
                f"{common}, {lam} and {masked}"
            )
        self.lam = lam
        self.nets = nn.ModuleDict(
            {m: UnimodalNet(spec, task.outputs, encoder) for m, spec in modalities.items()}
        )
        self.width = 4 * encoder.dim
        self.common = round(common * self.width)
        self.P = nn.ModuleDict({m: _projector(encoder.dim, self.width) for m in modalities})
        self.view = nn.ModuleDict({m: Missing(s, masked) for m, s in modalities.items()})

    def projected(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """p_m (B, 4 D) of a view of each modality."""
        return {m: self.P[m](net.encoder(self.view[m](x[m]))) for m, net in self.nets.items()}

    def alone(self, p: Tensor, other: Tensor) -> Tensor:
        """L_m of two views (B, 4 D)."""
        return redundancy(cross_correlation(p, other), 1.0, self.lam)

    def pair(self, p_i: Tensor, p_j: Tensor) -> Tensor:
        """L_ij of two modalities (B, 4 D)."""
        C, n = cross_correlation(p_i, p_j), self.common
        common = redundancy(C[:n, :n], 1.0, self.lam)
        return (common + redundancy(C[n:, n:], 0.0, self.lam)) / 2

    def pre_training(self, batch: Batch) -> dict[str, Tensor]:
        first, second = self.projected(batch.x), self.projected(batch.x)
        alone = [self.alone(first[m], second[m]) for m in first]
        pairs = [self.pair(*two) for two in combinations(first.values(), 2)]
        n = len(alone) + len(pairs)
        return {"alone": sum(alone) / n, "pairs": sum(pairs) / n}

    def supervised(self, batch: Batch) -> dict[str, Tensor]:
        task = [self.task.loss(net(batch.x[m]), batch.y) for m, net in self.nets.items()]
        return {"task": sum(task) / len(task)}

    def stages(self) -> list[Stage]:
        encoders = [net.encoder for net in self.nets.values()]
        return [
            # What validation watches has no masks: two views are the same there, so that what it
            # sees of L_m is redundancy alone.
            Stage(
                "pre-training",
                [*encoders, self.P, self.view],
                self.pre_training,
                validate=lambda batch: sum(self.pre_training(batch).values()),
            ),
            Stage("supervised", [self.nets], self.supervised, predictors=self.deployed),
        ]

    def predictor(self, m: str) -> nn.Module:
        return self.nets[m]


def _projector(dim: int, width: int) -> nn.Module:
    """P_m: features (B, D) → (B, width)."""
    return nn.Sequential(
        nn.Linear(dim, width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.Linear(width, width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.Linear(width, width, bias=False),
    )


DECUR = register(
    Entry(
        key="decur",
        method=DeCUR,
        family="contrastive",
        summary="Encoders pre-trained to correlate in some dimensions alone, then supervised.",
        losses="mean of R_1(C(p_m, p'_m)) and ½ [R_1(C(p_i, p_j)^com) + R_0(C(p_i, p_j)^uni)]; "
        "then (1/M) Σ_m ℓ(h_m(z_m), y)",
        publication=Publication(
            "Wang, Albrecht, Ait Ali Braham, Liu, Xiong, Zhu",
            2024,
            "Decoupling common and unique representations for multimodal self-supervised learning",
            "arXiv 2309.05300",
        ),
        defaults_from="elsewhere",
        defaults_note="λ and common share of the release for radar and optical images "
        "(SSL4EO-S12); the views are chosen here",
        tuning={
            "common": Range(0.5, 1.0),
            "lam": Range(0.0005, 0.05, log=True),
            "masked": Range(0.1, 0.6, default_from="this benchmark"),
        },
    )
)
register(
    replace(
        DECUR,
        key="decur_common",
        role="ablation",
        summary="DeCUR without unique dimensions: encoders pre-trained to correlate in all.",
        defaults_from="this benchmark",
        defaults_note="what is changed is chosen here; the rest as in decur",
        overrides={"common": 1.0},
        tuning={
            "lam": Range(0.0005, 0.05, log=True, default_from="elsewhere"),
            "masked": Range(0.1, 0.6),
        },
    )
)
