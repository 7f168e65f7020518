"""DSensD and DSensD+: sensor dropout at the decision, and mutual distillation.

Mena, Ienco, Dantas, Interdonato, Dengel 2025, "Multi-sensor model for Earth observation robust to
missing data via sensor dropout and mutual distillation", IEEE Access 13:83930-83943,
doi 10.1109/ACCESS.2025.3568706.

What differs from the released code (fmenat/DSensDp), and why:

- S is the random subset. The release hands on only the first name of the subset that it draws, so
  that one sensor at a time is trained, the first of the list most often.
- s_m is computed once a step. The release computes it again for S, which gives the same value but
  for another draw of dropout, and updates BatchNorm's statistics twice.
- No LayerNorm over the outputs on regression (one output would become a constant) and with two
  outputs (only a sign would be left).
- On multi-label tasks the distillation term is a Bernoulli KL; the release's cross-entropy has the
  same gradient, and the target's entropy on top. Regression, which the release lacks, imitates by
  squared error.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.nets import mlp_head
from methods.common.registry import Entry, Publication, Range, register
from methods.common.subsets import SensorDropout


def decision_head(features: int, task: TaskSpec) -> nn.Module:
    """g_m: an MLP and, where it leaves something to predict with, LayerNorm over the outputs."""
    head = mlp_head(features, task.outputs)
    if task.kind == "regression" or task.outputs <= 2:
        return head
    return nn.Sequential(head, nn.LayerNorm(task.outputs))


class DSensD(Method):
    """s_m = g_m(E_m(x_m)), fused decision f_S = mean_{m ∈ S} s_m, S one random subset per batch.

    L = w_main ℓ(f_S, y) + w_full ℓ(f_all, y)
        + (1/M) Σ_m [w_ind ℓ(s_m, y) + w_sd KD_T(s_m, f_all)]

    DSensD is ℓ(f_S, y) alone. The heads start as copies of one another, as in the release.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        ratio: float = 0.5,
        w_main: float = 1.0,
        w_full: float = 1.0,
        w_ind: float = 1.0,
        w_sd: float = 1.0,
        T: float = 0.5,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not T > 0:
            raise UserError(f"dsensd_plus: T must be above 0, but is {T}")
        self.dropout = SensorDropout(tuple(modalities), ratio)
        self.w_main, self.w_full, self.w_ind, self.w_sd = w_main, w_full, w_ind, w_sd
        self.T = T
        head = decision_head(encoder.dim, task)
        self.nets = nn.ModuleDict(
            {m: nn.Sequential(encoder(spec), deepcopy(head)) for m, spec in modalities.items()}
        )

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        ell, M = self.task.loss, len(self.modalities)
        S = self.dropout.subset()
        with_all = self.w_full or self.w_ind or self.w_sd
        s = {m: self.nets[m](batch.x[m]) for m in (self.modalities if with_all else S)}
        terms: dict[str, Tensor] = {}
        if self.w_main:
            f_S = torch.stack([s[m] for m in S]).mean(dim=0)
            terms["main"] = self.w_main * ell(f_S, batch.y)
        f_all = torch.stack([*s.values()]).mean(dim=0)
        if self.w_full:
            terms["full"] = self.w_full * ell(f_all, batch.y)
        if self.w_ind:
            terms["ind"] = self.w_ind * sum(ell(s_m, batch.y) for s_m in s.values()) / M
        if self.w_sd:
            distance = self.task.soft_target_distance
            terms["sd"] = self.w_sd * sum(distance(s_m, f_all, self.T) for s_m in s.values()) / M
        return terms

    def stages(self) -> list[Stage]:
        return [Stage("joint", [self.nets], self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return self.nets[m]


PUBLICATION = Publication(
    "Mena, Ienco, Dantas, Interdonato, Dengel",
    2025,
    "Multi-sensor model for Earth observation robust to missing data via sensor dropout and "
    "mutual distillation",
    "doi 10.1109/ACCESS.2025.3568706",
)
register(
    Entry(
        key="dsensd",
        method=DSensD,
        family="dropout fusion",
        summary="Mean of the decisions of a random subset of sensors.",
        losses="ℓ(f_S, y), f_S = mean_{m ∈ S} s_m, S random",
        publication=PUBLICATION,
        defaults_from="these datasets",
        defaults_note="ratio of the released example (fmenat/DSensDp)",
        configured={"dsensd": ("cropharvest_multi",)},
        overrides={"w_full": 0.0, "w_ind": 0.0, "w_sd": 0.0},
        tuning={"ratio": Range(0.1, 0.9)},
    )
)
register(
    Entry(
        key="dsensd_plus",
        method=DSensD,
        family="dropout fusion",
        summary="Sensor dropout at the decision; every sensor imitates the ensemble of all.",
        losses="w_main ℓ(f_S, y) + w_full ℓ(f_all, y) "
        "+ (1/M) Σ_m [w_ind ℓ(s_m, y) + w_sd KD_T(s_m, f_all)]",
        publication=PUBLICATION,
        defaults_from="these datasets",
        defaults_note="ratio, weights and T of the released example (fmenat/DSensDp)",
        configured={"dsensd_plus": ("cropharvest_multi",)},
        tuning={
            "ratio": Range(0.1, 0.9),
            **{name: Range(0.1, 10, log=True) for name in ("w_full", "w_ind", "w_sd")},
            "T": Range(0.25, 4, log=True, idle_on=("regression",)),
        },
    )
)
