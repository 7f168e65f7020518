"""Contrast between classes across modalities, beside supervised training of each.

The loss is that of Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan 2020,
"Supervised contrastive learning", NeurIPS, arXiv 2004.11362: NT-Xent whose positives are all
samples of the anchor's class. What differs from the released code (HobbitLong/SupContrast), and
why:

- The two views of a sample are two sensors, not two augmentations of an image; with more than two
  sensors there is one loss for each pair.
- ℓ and the contrast are trained at once. The release trains encoders by the contrast alone and
  then a linear classifier on what they give.
- Samples of a multi-label task are of one class where they have the same set of labels. Values of
  a regression have no classes, so that there is nothing to condition on.
- The release divides by a base temperature of 0.07 and multiplies by τ; here τ is the only one, as
  in the publication.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.losses import sup_con
from methods.common.nets import UnimodalNet
from methods.common.registry import Entry, Publication, Range, register


def of_one_class(task: TaskSpec, y: Tensor) -> Tensor:
    """(B, B) True where two samples have the same class, or the same set of labels."""
    return y[:, None] == y if task.is_classification else (y[:, None] == y).all(dim=2)


class SupConCross(Method):
    """L = (1/M) Σ_m ℓ(h_m(z_m), y) + λ L_c, one joint stage.

    L_c = mean over pairs i < j of SupCon(g_i(z_i), g_j(z_j); τ), g_m two linear layers with a ReLU
    between them, which are not deployed.

    mask_groups: whether samples of the anchor's group (site, field) are left out of its negatives.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        lambda_con: float = 1.0,
        tau: float = 0.1,
        mask_groups: bool = False,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not (lambda_con >= 0 and tau > 0):
            raise UserError(
                "supcon_cross: lambda_con must not be negative and tau above 0, not "
                f"{lambda_con} and {tau}"
            )
        self.lambda_con, self.tau = lambda_con, tau
        self.mask_groups = mask_groups
        D = encoder.dim
        self.nets = nn.ModuleDict(
            {m: UnimodalNet(spec, task.outputs, encoder) for m, spec in modalities.items()}
        )
        self.g = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(D, D), nn.ReLU(), nn.Linear(D, D)) for m in modalities}
        )

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        z = {m: net.encoder(batch.x[m]) for m, net in self.nets.items()}
        task = [self.task.loss(self.nets[m].head(z_m), batch.y) for m, z_m in z.items()]
        terms = {"task": sum(task) / len(task)}
        if self.lambda_con:
            alike = of_one_class(self.task, batch.y)
            group = batch.group if self.mask_groups else None
            pairs = list(combinations([self.g[m](z_m) for m, z_m in z.items()], 2))
            con = [sup_con(a, b, alike, self.tau, group) for a, b in pairs]
            terms["con"] = self.lambda_con * sum(con) / len(con)
        return terms

    def stages(self) -> list[Stage]:
        return [Stage("joint", [self], self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return self.nets[m]


def _has_classes(modalities: Mapping[str, ModalitySpec], task: TaskSpec) -> str | None:
    if task.kind != "regression":
        return None
    return "its positives are samples of one class, and values of a regression have none"


SUPCON_CROSS = register(
    Entry(
        key="supcon_cross",
        method=SupConCross,
        family="contrastive",
        summary="Supervised training of each modality, their features drawn together by class.",
        losses="(1/M) Σ_m ℓ(h_m(z_m), y) + λ L_c",
        publication=Publication(
            "Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan",
            2020,
            "Supervised contrastive learning",
            "arXiv 2004.11362",
        ),
        defaults_from="elsewhere",
        defaults_note="τ of the release for images (CIFAR-10); λ is chosen here, as the "
        "publication has no supervised term",
        applicable=_has_classes,
        tuning={
            "lambda_con": Range(0.1, 10, log=True, default_from="this benchmark"),
            "tau": Range(0.02, 1, log=True),
        },
    )
)
register(
    replace(
        SUPCON_CROSS,
        key="supcon_cross_masked",
        role="ablation",
        summary="Features drawn together by class, without negatives of the own group.",
        defaults_from="this benchmark",
        defaults_note="the mask is chosen here; the rest as in supcon_cross",
        overrides={"mask_groups": True},
        tuning={
            "lambda_con": Range(0.1, 10, log=True),
            "tau": Range(0.02, 1, log=True, default_from="elsewhere"),
        },
    )
)
