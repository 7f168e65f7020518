"""MDiCo: multi-modal disentanglement for co-learning, and its ablations.

Mena, Ienco, Dantas, Interdonato, Dengel 2025, "Multi-modal co-learning for Earth observation:
enhancing single-modality models via modality collaboration", Machine Learning 114(12):279,
doi 10.1007/s10994-025-06903-0, arXiv 2510.19579.

What differs from the released code, and why:

- L_mod is on z^spe and z^unu, as the publication's figure draws it. The release gives z^sha to the
  head that is meant for z^unu, so that half of the unique encoder's output is never trained:
  ``mod_on="shared"`` does the same (`mdico_released`).
- Unique and common encoders are initialised independently; the release starts them as copies.
- The modality head that the release creates and never uses is left out.
- L_con is a mean over the unordered pairs of modalities; with ``w_con=2`` and two modalities this
  equals the release's sum over ordered pairs.

Two ablations are options of the release's first revision that were deleted later: features without
split, and learnt weights, of which there are four here instead of six for four losses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.disentangle import DisentangledNet, Disentangler
from methods.common.losses import modality_loss, nt_xent, reverse_gradient
from methods.common.registry import Entry, Publication, Range, register


class SpecificNet(nn.Module):
    """A(z_m^spe), without the common encoder: x_m → (B, outputs)."""

    def __init__(self, unique: nn.Module, A: nn.Linear) -> None:
        super().__init__()
        self.unique = unique
        self.A = A

    def forward(self, x: Tensor) -> Tensor:
        return self.A(self.unique(x)[:, : self.A.in_features])


class MDiCo(Method):
    """L = w_main L_main + w_aux L_aux + w_con L_con + w_mod L_mod, one joint stage.

    L_main = (1/M) Σ_m ℓ(P_m([z_m^spe; z_m^sha]), y)
    L_aux  = (1/M) Σ_m ½[ℓ(A(z_m^spe), y) + ℓ(A(z_m^sha), y)]
    L_con  = mean over pairs i < j of NTXent(z_i^sha, z_j^sha; τ)
    L_mod  = (1/M) Σ_m ½[CE(D_inf(z_m^spe), m) + CE(D_irr(r_m), m)], r_m = z_m^unu
             (``mod_on="unused"``, the figure) or z_m^sha (``mod_on="shared"``, the release)

    For ablations:

    w_adv: weight of L_adv = (1/M) Σ_m CE(D_adv(z_m^sha), m), reversed before z_m^sha.
    split: False for z^spe = u_m and z^sha = k_m as the encoders give them; there is no z^unu then,
        and L_mod has its first part alone.
    weighting: "uncertainty" for Σ_k e^(-a_k) L_k + a_k, the a_k learnt, over the weighted terms.
    deploy: whether m is served by P_m, or by A on z_m^spe or z_m^sha alone. Training is the same,
        but for the epoch that validation chooses.
    """

    mask_groups = False
    """Whether L_con leaves samples of the anchor's group (site, field) out of its negatives. Not a
    hyper-parameter, as ids of MDiCo's runs are older than it."""

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        w_main: float = 1.0,
        w_aux: float = 1.0,
        w_con: float = 2.0,
        w_mod: float = 1.0,
        w_adv: float = 0.0,
        tau: float = 0.1,
        mod_on: Literal["unused", "shared"] = "unused",
        split: bool = True,
        weighting: Literal["fixed", "uncertainty"] = "fixed",
        deploy: Literal["main", "specific", "shared"] = "main",
    ) -> None:
        super().__init__(modalities, task, encoder)
        weights = {"main": w_main, "aux": w_aux, "con": w_con, "mod": w_mod, "adv": w_adv}
        if min(weights.values()) < 0 or not tau > 0:
            raise UserError(
                f"mdico: weights must not be negative and tau above 0: {weights}, {tau}"
            )
        if not weights["main" if deploy == "main" else "aux"]:
            raise UserError(
                f"mdico: deploy='{deploy}' serves what no loss trains with weights {weights}"
            )
        self.w_main, self.w_aux, self.w_con, self.w_mod = w_main, w_aux, w_con, w_mod
        self.w_adv = w_adv
        self.tau = tau
        self.mod_on = mod_on
        self.split = split
        self.deploy = deploy
        width = encoder.dim // 2 if split else encoder.dim
        M = len(modalities)
        self.disentangle = nn.ModuleDict(
            {m: Disentangler(spec, encoder, split=split) for m, spec in modalities.items()}
        )
        self.P = nn.ModuleDict({m: nn.Linear(2 * width, task.outputs) for m in modalities})
        self.A = nn.Linear(width, task.outputs)
        self.D_inf = nn.Linear(width, M)
        if split:
            self.D_irr = nn.Linear(width, M)
        if w_adv:
            self.D_adv = nn.Linear(width, M)
        self.a = nn.ParameterDict()
        if weighting == "uncertainty":
            self.a.update({k: nn.Parameter(torch.ones(())) for k, w in weights.items() if w})

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        ell, M = self.task.loss, len(self.modalities)
        z = {m: self.disentangle[m](batch.x[m]) for m in self.modalities}
        spe, unu, sha = zip(*z.values(), strict=True)
        terms: dict[str, Tensor] = {}
        if self.w_main:
            main = [ell(self.P[m](torch.cat([z[m].spe, z[m].sha], dim=1)), batch.y) for m in z]
            terms["main"] = self.w_main * sum(main) / M
        if self.w_aux:
            aux = [ell(self.A(z_m), batch.y) for m in z for z_m in (z[m].spe, z[m].sha)]
            terms["aux"] = self.w_aux * sum(aux) / (2 * M)
        if self.w_con:
            pairs = list(combinations(sha, 2))
            group = batch.group if self.mask_groups else None
            con = [nt_xent(a, b, self.tau, group) for a, b in pairs]
            terms["con"] = self.w_con * sum(con) / len(pairs)
        if self.w_mod:
            mod = [modality_loss(self.D_inf, spe)]
            if self.split:
                mod.append(modality_loss(self.D_irr, unu if self.mod_on == "unused" else sha))
            terms["mod"] = self.w_mod * sum(mod) / len(mod)
        if self.w_adv:
            adv = modality_loss(self.D_adv, [reverse_gradient(z_m) for z_m in sha])
            terms["adv"] = self.w_adv * adv
        return {k: (-self.a[k]).exp() * L + self.a[k] if self.a else L for k, L in terms.items()}

    def stages(self) -> list[Stage]:
        return [Stage("joint", [self], self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        part = self.disentangle[m]
        if self.deploy == "specific":
            return SpecificNet(part.unique, self.A)
        if self.deploy == "shared":
            return nn.Sequential(part.common, part.project, self.A)
        return DisentangledNet(part, self.P[m])


class MDiCoMasked(MDiCo):
    """MDiCo without negatives of the own group (site, field) in L_con."""

    mask_groups = True


UNUSED = ("disentangle.*.unique.1.*[half:]",)
"""The rows of the unique encoders' projections that give z^unu.

Exact for encoders without LayerNorm. With it (the protocols' choice on LFMC) the rows get a
gradient all the same, as z^unu has a share in the mean and the variance that z^spe is normalised
with; what stays untrained is then the second half of the LayerNorm's own parameters.
"""

DATASETS = ("cropharvest_binary", "cropharvest_multi", "lfmc", "treesatai_ts")
"""What the release has a configuration for, with the same weights for all."""

MDICO = register(
    Entry(
        key="mdico",
        method=MDiCo,
        family="proposed",
        summary="Shared, specific and unused features held apart by contrast and discrimination.",
        losses="w_main L_main + w_aux L_aux + w_con L_con + w_mod L_mod",
        publication=Publication(
            "Mena, Ienco, Dantas, Interdonato, Dengel",
            2025,
            "Multi-modal co-learning for Earth observation: enhancing single-modality models via "
            "modality collaboration",
            "doi 10.1007/s10994-025-06903-0, arXiv 2510.19579",
        ),
        defaults_from="these datasets",
        defaults_note="weights, τ and sizes of the released configurations (fmenat/MDiCo)",
        configured={"mdico": DATASETS, "mdico_released": DATASETS},
        tuning={
            "w_aux": Range(0.1, 10, log=True),
            "w_con": Range(0.2, 20, log=True),
            "w_mod": Range(0.1, 10, log=True),
            "tau": Range(0.02, 1, log=True),
        },
    )
)


def ablation(
    key: str, summary: str, never_trained: tuple[str, ...] = (), **overrides: object
) -> None:
    """Register MDiCo with some hyper-parameters changed."""
    entry = replace(
        MDICO,
        key=key,
        summary=summary,
        overrides=overrides,
        role="ablation",
        never_trained=never_trained,
        tuning={
            name: span
            for name, span in MDICO.tuning.items()
            if name not in overrides and not (name == "tau" and overrides.get("w_con") == 0)
        },
    )
    if not entry.defaults_for:
        note = "what is changed is chosen here; the rest as in mdico"
        entry = replace(entry, defaults_from="this benchmark", defaults_note=note)
    register(entry)


ablation(
    "mdico_released",
    "MDiCo as released: the second modality head sees the shared features.",
    UNUSED,
    mod_on="shared",
)
register(
    replace(
        MDICO,
        key="mdico_masked",
        method=MDiCoMasked,
        summary="MDiCo whose contrastive loss has no negatives of the own group.",
        role="ablation",
        defaults_from="this benchmark",
        defaults_note="what is changed is chosen here; the rest as in mdico",
    )
)
ablation("mdico_no_con", "MDiCo without the contrastive loss.", w_con=0.0)
ablation(
    "mdico_no_mod",
    "MDiCo without the modality-discriminative loss.",
    (*UNUSED, "D_inf.*", "D_irr.*"),
    w_mod=0.0,
)
ablation("mdico_no_aux", "MDiCo without the auxiliary prediction loss.", ("A.*",), w_aux=0.0)
ablation(
    "mdico_main_only",
    "MDiCo with the main loss alone: two encoders per modality and no co-learning.",
    (*UNUSED, "A.*", "D_inf.*", "D_irr.*"),
    w_aux=0.0,
    w_con=0.0,
    w_mod=0.0,
)
ablation(
    "mdico_no_split",
    "MDiCo without unused features and projectors: all that the encoders give is used.",
    split=False,
)
ablation(
    "mdico_auto_weight",
    "MDiCo with loss weights that are learnt as uncertainties.",
    weighting="uncertainty",
)
ablation(
    "mdico_specific_only",
    "MDiCo deployed with the auxiliary head on the specific features alone.",
    deploy="specific",
)
ablation(
    "mdico_shared_only",
    "MDiCo deployed with the auxiliary head on the shared features alone.",
    deploy="shared",
)
ablation(
    "mdico_adv",
    "MDiCo with an adversary in place of the contrastive loss, as in DisCoM-KD.",
    w_con=0.0,
    w_adv=1.0,
)
