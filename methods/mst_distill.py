"""MST-Distill: each sample learns from one of several teachers, masked to resemble the student.

Li, Yang, Chen, Dong, Chen, Wang 2025, "MST-Distill: mixture of specialized teachers for cross-modal
knowledge distillation", ACM MM, doi 10.1145/3746027.3755276, arXiv 2507.07015.

What differs from the released code (Gray-OREO/MST-Distill), and why:

- Nets of all modalities are trained together in step 1, once for all students: with two modalities
  student, teacher on the other one and teacher on both are the same three nets for either student.
- In step 1 what a net imitates is detached, as distillation is defined here; the release lets the
  gradient pass to what is imitated as well. The values are the same.
- Steps 1 and 2 last as long as validation improves; one epoch each is the release's default.
- One feature of each teacher is masked, the one before its head, for want of a second layer that
  all encoders have; the release masks two layers a teacher, has twice as many teachers, and leaves
  the first of two masks on a teacher when the second is put there.
- A mask's attention is 12 wide, and not half as wide as the feature is long, for which a weight
  matrix of 8 million entries would be needed here.

As released, which teacher a sample gets is the largest value of the gate, through which no gradient
passes: the gate learns from the balance of its loads alone. The distance has its weight halved
after epochs 0, 30, 60, ... and the balance multiplied by 0.9 after epochs 0, 10, 20, ...
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import ALL, Batch, EncoderFactory, Method, Stage
from methods.common.nets import ConcatNet, UnimodalNet
from methods.common.registry import Entry, Publication, Range, register


class Mask(nn.Module):
    """Attention among the d values of a feature: e (B, d) → mask (B, d) in (0, 1).

    The weights are those of `torch.nn.MultiheadAttention`, and start as they do. It is no module of
    this one because it takes another path without gradients, with other rounding.
    """

    def __init__(self, dim: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.embed = nn.Linear(dim, width * dim)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.fc = nn.Linear(width, 1)
        nn.init.xavier_uniform_(self.query_key_value.weight)
        nn.init.zeros_(self.query_key_value.bias)
        nn.init.zeros_(self.merge.bias)

    def forward(self, e: Tensor) -> Tensor:
        B, d = e.shape
        tokens = self.embed(e).reshape(B, d, -1)
        split = self.query_key_value(tokens).reshape(B, d, 3, self.heads, -1)
        attended = F.scaled_dot_product_attention(*split.permute(2, 0, 3, 1, 4))
        merged = self.merge(attended.transpose(1, 2).reshape(B, d, -1))
        return self.fc(merged).squeeze(2).sigmoid()


def imbalance(g: Tensor) -> Tensor:
    """KL(uniform ‖ mean load) / W of gates g (B, W), each row's sum 1; 0 where all get as much."""
    W = g.shape[1]
    return -(g.mean(dim=0).log() + math.log(W)).mean() / W


def routed(t: Tensor, g: Tensor, k: int) -> Tensor:
    """The outputs (k, B, C) of the k teachers with the largest gates: t (W, B, C), g (B, W)."""
    chosen = g.topk(k, dim=1).indices.T
    return t.gather(0, chosen[..., None].expand(-1, -1, t.shape[2]))


class MSTDistill(Method):
    """Three steps, with D = KD_T; f_m is the net of modality m, f the one on all of them.

    1. All nets, from each other: Σ_a ℓ(f_a, y) + Σ_{a≠b} D(f_a, f_b).
    2. Masks e ↦ μ(e) of the features e before the heads, for each student m and each of its
       teachers f and f_j, j ≠ m, which are frozen from now on: D(h(μ(e) ⊙ e), f_m).
    3. Students s_m, which go on from f_m: ℓ(s_m, y) + w_kl(epoch) (1/k) Σ_k D(s_m, t_k)
       + w_lb(epoch) KL(u ‖ ḡ) / M. t_k are the k masked teachers with the largest gates
       g = softmax(G(s_m)), u is uniform over the M teachers and ḡ the batch mean of g.

    In steps 2 and 3 nothing is shared between students.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        T: float = 4.0,
        k: int = 1,
        w_kl: float = 1.0,
        w_lb: float = 1.0,
        mask_heads: int = 3,
        mask_width: int = 12,
    ) -> None:
        super().__init__(modalities, task, encoder)
        M, D, outputs = len(modalities), encoder.dim, task.outputs
        if not (T > 0 and 1 <= k <= M and w_kl >= 0 and w_lb >= 0):
            raise UserError(
                "mst_distill: T must be above 0, k at least 1 and at most the number of modalities "
                f"({M}), and w_kl and w_lb not negative, not {T}, {k}, {w_kl} and {w_lb}"
            )
        if not (mask_heads >= 1 and mask_width >= 1 and mask_width % mask_heads == 0):
            raise UserError(
                "mst_distill: mask_width must be a multiple of mask_heads, both at least 1, not "
                f"{mask_width} and {mask_heads}"
            )
        self.T, self.k, self.w_kl, self.w_lb = T, k, w_kl, w_lb

        def nets() -> nn.ModuleDict:
            return nn.ModuleDict(
                {m: UnimodalNet(spec, outputs, encoder) for m, spec in modalities.items()}
            )

        def mask(features: int) -> Mask:
            return Mask(features, mask_width, mask_heads)

        self.f = nets()
        self.f_all = ConcatNet(modalities, outputs, encoder)
        self.masks = nn.ModuleDict(
            {
                m: nn.ModuleDict(
                    {ALL: mask(D * M), **{j: mask(D) for j in modalities if j != m}},
                )
                for m in modalities
            }
        )
        self.students = nets()
        self.gates = nn.ModuleDict(
            {
                m: nn.Sequential(nn.Linear(outputs, 2 * outputs), nn.Linear(2 * outputs, M))
                for m in modalities
            }
        )

    def distance(self, s: Tensor, t: Tensor) -> Tensor:
        return self.task.soft_target_distance(s, t, self.T)

    def joint_losses(self, batch: Batch) -> dict[str, Tensor]:
        f = [f_m(batch.x[m]) for m, f_m in self.f.items()] + [self.f_all(batch.x)]
        return {
            "task": sum(self.task.loss(f_a, batch.y) for f_a in f),
            "mutual": sum(self.distance(*pair) for pair in permutations(f, 2)),
        }

    def teach(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs (M, B, outputs) of each student's masked teachers."""
        with torch.no_grad():
            e = {ALL: self.f_all.embed(x), **{j: f_j.encoder(x[j]) for j, f_j in self.f.items()}}
        heads = {ALL: self.f_all.head, **{j: f_j.head for j, f_j in self.f.items()}}
        return {
            m: torch.stack([heads[a](mask(e[a]) * e[a]) for a, mask in masks.items()])
            for m, masks in self.masks.items()
        }

    def mask_loss(self, batch: Batch) -> Tensor:
        t = self.teach(batch.x)
        with torch.no_grad():
            f = {m: f_m(batch.x[m]) for m, f_m in self.f.items()}
        return sum(self.distance(t_m, f[m]) for m in t for t_m in t[m])

    def start_students(self, n: int) -> None:
        """Step 3 goes on from the nets of step 1."""
        self.students.load_state_dict(self.f.state_dict())

    def student_losses(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            t = self.teach(batch.x)
        task, kl, lb = [], [], []
        for m, student in self.students.items():
            s = student(batch.x[m])
            g = self.gates[m](s).softmax(dim=1)
            task.append(self.task.loss(s, batch.y))
            kl += [self.distance(s, t_k) / self.k for t_k in routed(t[m], g, self.k)]
            lb.append(imbalance(g))
        return {
            "task": sum(task),
            "kl": self.w_kl * 0.5 ** math.ceil(batch.epoch / 30) * sum(kl),
            "lb": self.w_lb * 0.9 ** math.ceil(batch.epoch / 10) * sum(lb),
        }

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "all nets",
                [self.f, self.f_all],
                self.joint_losses,
                validate=lambda batch: self.joint_losses(batch)["task"],
            ),
            Stage(
                "masks",
                [self.masks],
                lambda batch: {"mask": self.mask_loss(batch)},
                validate=self.mask_loss,
            ),
            Stage(
                "students",
                [self.students, self.gates],
                self.student_losses,
                predictors=self.deployed,
                on_start=self.start_students,
            ),
        ]

    def predictor(self, m: str) -> nn.Module:
        return self.students[m]


register(
    Entry(
        key="mst_distill",
        method=MSTDistill,
        family="distillation",
        summary="Each sample is routed to one of several teachers, masked to resemble the student.",
        losses="ℓ(s_m, y) + w_kl (1/k) Σ_k D(s_m, t_k) + w_lb KL(u ‖ ḡ) / M, t_k masked teachers",
        publication=Publication(
            "Li, Yang, Chen, Dong, Chen, Wang",
            2025,
            "MST-Distill: mixture of specialized teachers for cross-modal knowledge distillation",
            "doi 10.1145/3746027.3755276, arXiv 2507.07015",
        ),
        defaults_from="elsewhere",
        defaults_note="T, k, weights, their decay and the heads of the masks of the release, for "
        "audio, images and text; the width of the masks is chosen here",
        tuning={
            "T": Range(1, 20, log=True, idle_on=("regression",)),
            "w_kl": Range(0.1, 10, log=True),
            "w_lb": Range(0.1, 10, log=True),
        },
    )
)
