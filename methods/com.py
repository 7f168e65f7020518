"""CoM: all combinations of missing modalities as augmentation, with four ways to merge.

Mena, Arenas, Dengel 2025, "Missing data as augmentation in the Earth observation domain: a
multi-view learning approach", Neurocomputing 638:130175, doi 10.1016/j.neucom.2025.130175,
arXiv 2501.01132.

What differs from the released code (fmenat/CoM-views), and why:

- Modality encodings are added out of place. The release adds them to the encoders' outputs
  themselves, so that they pile up from subset to subset in training, and count once at inference.
- The final state of the memory merge is the mean of both directions of the last layer. The release
  confuses layers with directions and averages the backward states of the two layers.

In the shipped records `com_avg` has a higher error than `single` on every sensor with encoders from
scratch, though no mark, and a lower one on features of a frozen encoder. With encoders from scratch
its validation loss is higher, too, and for S2 at its best sooner: it is what was learnt, not which
epoch was kept. One head reads all subsets, and encoders that are trained for it together fit less
well what each of them shows alone. Merges and losses equal the release's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.nets import mlp_head
from methods.common.registry import Entry, Publication, register
from methods.common.subsets import non_empty_subsets

Features = Mapping[str, Tensor]
"""z_m (B, D) of the available modalities, in the method's order."""


class Average(nn.Module):
    """Mean of the available z_m: (B, D)."""

    keeps_one = True

    def __init__(self, modalities: tuple[str, ...], dim: int) -> None:
        super().__init__()

    def forward(self, z: Features) -> Tensor:
        return torch.stack([*z.values()]).mean(dim=0)


class Gated(nn.Module):
    """Σ_m α_m ⊙ z_m: (B, D). Gates α (B, M, D) from all z, softmax over those available."""

    keeps_one = True

    def __init__(self, modalities: tuple[str, ...], dim: int) -> None:
        super().__init__()
        self.modalities = modalities
        self.gate = nn.Linear(len(modalities) * dim, len(modalities) * dim)

    def forward(self, z: Features) -> Tensor:
        missing = torch.zeros_like(next(iter(z.values())))
        stacked = torch.stack([z.get(m, missing) for m in self.modalities], dim=1)
        logits = self.gate(stacked.flatten(1)).view_as(stacked)
        available = torch.tensor([m in z for m in self.modalities], device=logits.device)
        alpha = logits.masked_fill(~available[:, None], float("-inf")).softmax(dim=1)
        return (alpha * stacked).sum(dim=1)


class Cross(nn.Module):
    """Attention of a class token to the z_m, each with a learned modality encoding: (B, D).

    One post-norm Transformer layer as wide as z_m.
    """

    keeps_one = False

    def __init__(
        self, modalities: tuple[str, ...], dim: int, heads: int = 8, dropout: float = 0.4
    ) -> None:
        super().__init__()
        if dim % heads:
            raise UserError(
                f"com_cross: {dim} features cannot be shared among {heads} attention heads; "
                f"choose a protocol whose encoders have a multiple of {heads} features"
            )
        bound = len(modalities) ** -0.5
        self.encoding = nn.ParameterDict(
            {m: nn.Parameter(torch.empty(dim).uniform_(-bound, bound)) for m in modalities}
        )
        self.token = nn.Parameter(torch.zeros(dim))
        self.attend = nn.TransformerEncoderLayer(dim, heads, dim, dropout, batch_first=True)

    def forward(self, z: Features) -> Tensor:
        encoded = [z_m + self.encoding[m] for m, z_m in z.items()]
        token = self.token.expand_as(encoded[0])
        return self.attend(torch.stack([token, *encoded], dim=1))[:, 0]


class Memory(nn.Module):
    """A bidirectional LSTM reads the z_m one after another: final state, (B, D)."""

    keeps_one = False

    def __init__(
        self, modalities: tuple[str, ...], dim: int, layers: int = 2, dropout: float = 0.4
    ) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, dim, layers, batch_first=True, dropout=dropout, bidirectional=True)

    def forward(self, z: Features) -> Tensor:
        _, (h, _) = self.lstm(torch.stack([*z.values()], dim=1))
        return h[-2:].mean(dim=0)  # h is ordered by layer, then by direction


MERGES: dict[str, type[nn.Module]] = {
    "avg": Average,
    "gated": Gated,
    "cross": Cross,
    "memory": Memory,
}


class MergeOne(nn.Module):
    """h(merge({m: E_m(x_m)})): x_m → (B, outputs)."""

    def __init__(self, m: str, encoder: nn.Module, merge: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.m = m
        self.encoder = encoder
        self.merge = merge
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.merge({self.m: self.encoder(x)}))


class CoM(Method):
    """L = 1/(2^M - 1) Σ_S ℓ(h(merge({z_m: m ∈ S})), y), S every non-empty subset."""

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        merge: Literal["avg", "gated", "cross", "memory"] = "avg",
    ) -> None:
        super().__init__(modalities, task, encoder)
        self.encoders = nn.ModuleDict(
            {m: encoder(spec, layer_norm=True) for m, spec in modalities.items()}
        )
        self.merge = MERGES[merge](tuple(modalities), encoder.dim)
        self.head = mlp_head(encoder.dim, task.outputs)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        z = {m: encode(batch.x[m]) for m, encode in self.encoders.items()}
        subsets = non_empty_subsets(tuple(z))
        f = [self.head(self.merge({m: z[m] for m in S})) for S in subsets]
        return {"task": sum(self.task.loss(f_S, batch.y) for f_S in f) / len(subsets)}

    def stages(self) -> list[Stage]:
        modules = [self.encoders, self.merge, self.head]
        return [Stage("joint", modules, self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        if self.merge.keeps_one:
            return nn.Sequential(self.encoders[m], self.head)
        return MergeOne(m, self.encoders[m], self.merge, self.head)


PUBLICATION = Publication(
    "Mena, Arenas, Dengel",
    2025,
    "Missing data as augmentation in the Earth observation domain: a multi-view learning approach",
    "doi 10.1016/j.neucom.2025.130175, arXiv 2501.01132",
)
SUMMARIES = {
    "avg": "All subsets of sensors in every batch, features averaged.",
    "gated": "All subsets of sensors in every batch, features gated by one another.",
    "cross": "All subsets of sensors in every batch, features merged by attention.",
    "memory": "All subsets of sensors in every batch, features read by a recurrent net.",
}
for merge, summary in SUMMARIES.items():
    register(
        Entry(
            key=f"com_{merge}",
            method=CoM,
            family="dropout fusion",
            summary=summary,
            losses="1/(2^M - 1) Σ_S ℓ(h(merge_S z), y)",
            publication=PUBLICATION,
            defaults_from="these datasets",
            defaults_note="merge of the released example (fmenat/CoM-views)",
            configured={f"com_{merge}": ("cropharvest_multi",)},
            overrides={"merge": merge},
        )
    )
