"""DIS2: what a missing sensor would add is learnt from the sensors at hand, guided by their fusion.

Kieu, Nguyen, Wiliem, Fookes, Sridharan 2026, "DIS2: disentanglement meets distillation with
classwise attention for robust remote sensing segmentation under missing modalities", WACV workshop
on computer vision for Earth observation, arXiv 2601.13502.

The released code (nhikieu/DIS2) segments an aerial image and its height model. What is carried
over from pixels to samples, and what is not:

- A modality has one vector of features, not four maps of different resolution, so that fusion
  begins with the release's last level: a Transformer over modality tokens. The convolutions of the
  finer levels, the tokens pooled from them and predictions at every level are left out. L_div is of
  the features themselves; the release has it on those tokens, summed over the finer levels.
- Class queries attend to the tokens of the modalities instead of to places in a map: what the
  publication calls class-specific contribution of modalities. What they attend to is summed; the
  release predicts at each place from its own feature times its weight. The one prediction for
  each class that the release makes from them at its coarsest level is kept, with its loss; a
  multi-label task has a query for each label and a regression one for its value.
- What the classes attend to is combined by two linear layers. The release has convolutions with
  instance normalisation there, and one more before the class queries.
- ℓ of the task stands for weighted cross-entropy and Dice loss.
- With more than two modalities all missing tokens are the same compensatory features, each with
  the encoding of its place.
- Every step has all M scenarios of one modality at hand and their mean loss. The release draws one
  a batch (the image missing: 0.6).
- KL is the benchmark's, a sum over classes where the release takes their mean. The compared
  features are vectors of unit length as in the release, with the mean over their dimensions.
- Adam of the protocol (the release: SGD, Nesterov momentum 0.99, restarts of a cosine schedule).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.registry import Entry, Publication, Range, register


def imitation(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of a and b, each (B, d), at unit length; no gradient reaches b."""
    return F.mse_loss(F.normalize(a, dim=1, eps=1e-6), F.normalize(b.detach(), dim=1, eps=1e-6))


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared cosine of a and b, each (B, d): 0 where they are orthogonal."""
    return F.cosine_similarity(a, b, dim=1).square().mean()


class Fused(NamedTuple):
    """What a branch makes of M tokens: f (B, D) of all, the features p (B, D) before the last
    layer, outputs s and those of the classes alone e, each (B, outputs)."""

    f: Tensor
    p: Tensor
    s: Tensor
    e: Tensor


class ClassAttention(nn.Module):
    """Each class query's mean of tokens (B, M, D), weighted by its attention: (B, outputs, D)."""

    def __init__(self, dim: int, outputs: int) -> None:
        super().__init__()
        self.query = nn.Parameter(nn.init.xavier_uniform_(torch.empty(outputs, dim)))

    def forward(self, h: Tensor) -> Tensor:
        # Contiguous: torch rounds the product of a slice otherwise once the query is frozen.
        h = h.contiguous()
        scores = F.linear(h, self.query) / math.sqrt(h.shape[2])
        return scores.softmax(dim=1).transpose(1, 2) @ h


class Branch(nn.Module):
    """Fusion, class attention and decoder of one scenario: z_1, ..., z_M, each (B, D) → `Fused`."""

    def __init__(self, M: int, dim: int, outputs: int, layers: int = 2, width: int = 256) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(dim))
        self.place = nn.Parameter(torch.zeros(M, dim))
        layer = nn.TransformerEncoderLayer(dim, math.gcd(dim, 8), width, batch_first=True)
        self.fuse = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.attend = ClassAttention(dim, outputs)
        self.w = nn.Parameter(torch.empty(outputs, dim).uniform_(-(dim**-0.5), dim**-0.5))
        self.b = nn.Parameter(torch.zeros(outputs))
        self.combine = nn.Sequential(
            nn.Linear(outputs * dim, dim), nn.LeakyReLU(0.2), nn.Linear(dim, dim)
        )
        self.head = nn.Linear(dim, outputs)

    def forward(self, z: list[Tensor]) -> Fused:
        tokens = torch.stack(z, dim=1) + self.place
        h = self.fuse(torch.cat([self.token.expand_as(tokens[:, :1]), tokens], dim=1))
        o = self.attend(h[:, 1:])
        p = self.combine(o.flatten(1))
        return Fused(h[:, 0], p, self.head(p), (o * self.w).sum(dim=2) + self.b)


class Alone(nn.Module):
    """s of one modality, its compensatory features for all others: x_m → (B, outputs).

    place: of the modality among all M.
    """

    def __init__(
        self, encoder: nn.Module, compensate: nn.Module, branch: Branch, place: int
    ) -> None:
        super().__init__()
        self.encoder, self.compensate, self.branch = encoder, compensate, branch
        self.place, self.M = place, len(branch.place)

    def fused(self, z: Tensor, c: Tensor) -> Fused:
        """What the branch makes of own and compensatory features, each (B, D)."""
        return self.branch([z if i == self.place else c for i in range(self.M)])

    def forward(self, x: Tensor) -> Tensor:
        return self.fused(self.encoder(x), self.compensate(x)).s


class DIS2(Method):
    """L = L_full + L_own + L_miss + w_kd L_KD + w_div L_div, L_KD from epoch ``warm_up`` on.

    z_m = E_m(x_m) and compensatory features c_m = C_m(x_m); branch F of all z, branches F_m of z_m
    with c_m in place of every other.
    L_full = ℓ(s, y) + ℓ(e, y) of F(z_1, ..., z_M)
    L_own  = Σ_m ℓ(h_m(z_m), y)
    L_miss = (1/M) Σ_m ℓ(s_m, y) + ℓ(e_m, y) of F_m(z_m, c_m)
    L_KD   = (1/M) Σ_m d(f_m, f) + d(p_m, p) + KD_T(s_m, s), all of F being the teacher's; d is the
             mean squared difference at unit length
    L_div  = (1/M) Σ_m mean cos²(c_m, z_m)
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        w_kd: float = 5.0,
        w_div: float = 1.0,
        T: float = 2.0,
        warm_up: int = 6,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not (w_kd >= 0 and w_div >= 0 and T > 0 and warm_up >= 0):
            raise UserError(
                "dis2: weights and warm_up must not be negative and T above 0, not "
                f"{w_kd}, {w_div}, {warm_up} and {T}"
            )
        self.w_kd, self.w_div, self.T, self.warm_up = w_kd, w_div, T, warm_up
        M, D, C = len(modalities), encoder.dim, task.outputs
        self.h = nn.ModuleDict({m: nn.Linear(D, C) for m in modalities})
        self.full = Branch(M, D, C)
        self.alone = nn.ModuleDict(
            {
                m: Alone(encoder(spec), encoder(spec), Branch(M, D, C), place)
                for place, (m, spec) in enumerate(modalities.items())
            }
        )

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        ell, M = self.task.loss, len(self.modalities)
        z = {m: net.encoder(batch.x[m]) for m, net in self.alone.items()}
        c = {m: net.compensate(batch.x[m]) for m, net in self.alone.items()}
        full = self.full([*z.values()])
        missing = [net.fused(z[m], c[m]) for m, net in self.alone.items()]
        terms = {
            "full": ell(full.s, batch.y) + ell(full.e, batch.y),
            "own": sum(ell(self.h[m](z_m), batch.y) for m, z_m in z.items()),
            "missing": sum(ell(out.s, batch.y) + ell(out.e, batch.y) for out in missing) / M,
        }
        if self.w_kd:
            # The term is there from the start, so that every epoch logs the same ones.
            kd = torch.zeros_like(full.s[0, 0])
            if batch.epoch >= self.warm_up:
                kd = sum(self.distance(out, full) for out in missing) / M
            terms["kd"] = self.w_kd * kd
        if self.w_div:
            terms["div"] = self.w_div * sum(overlap(c[m], z[m]) for m in z) / M
        return terms

    def distance(self, student: Fused, teacher: Fused) -> Tensor:
        """What L_KD is a mean of: one scenario against all modalities."""
        soft = self.task.soft_target_distance(student.s, teacher.s, self.T)
        return imitation(student.f, teacher.f) + imitation(student.p, teacher.p) + soft

    def stages(self) -> list[Stage]:
        start = self.warm_up if self.w_kd else 0
        return [
            Stage("joint", [self], self.losses, predictors=self.deployed, select_from=start),
        ]

    def predictor(self, m: str) -> nn.Module:
        return self.alone[m]


register(
    Entry(
        key="dis2",
        method=DIS2,
        family="shared-specific",
        summary="Compensatory features stand in for missing sensors, taught by the fusion of all.",
        losses="L_full + Σ_m ℓ(h_m(z_m), y) + L_miss + w_kd L_KD + w_div L_div",
        publication=Publication(
            "Kieu, Nguyen, Wiliem, Fookes, Sridharan",
            2026,
            "DIS2: disentanglement meets distillation with classwise attention for robust remote "
            "sensing segmentation under missing modalities",
            "arXiv 2601.13502",
        ),
        defaults_from="elsewhere",
        defaults_note="weights, T and warm-up of the release for segmentation (ISPRS Potsdam)",
        tuning={
            "w_kd": Range(0.5, 50, log=True),
            "w_div": Range(0.1, 10, log=True),
            "T": Range(1, 8, log=True, idle_on=("regression",)),
        },
    )
)
