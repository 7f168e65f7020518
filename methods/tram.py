"""TRAM: features are learnt with privileged modalities at hand, and marginalised over them.

Collier, Jenatton, Kokiopoulou, Berent 2022, "Transfer and marginalize: explaining away label
noise with privileged information", ICML, arXiv 2202.09244.

The layers are those of the released code (google/uncertainty-baselines). What differs, and why:

- The release's privileged information is a short vector (annotators, times); here it is the
  other modalities, each through an encoder that is trained along.
- Dropout on the privileged feature: a sensor tells far more than an annotator's number, and
  features are learnt through the head that sees it alone. Where it tells all, they are not
  learnt at all.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, Method, Stage
from methods.common.nets import UnimodalNet
from methods.common.registry import Entry, Publication, Range, register


class PrivilegedTower(nn.Module):
    """The head that sees φ and the privileged modalities: (φ, x) → (B, outputs).

    a = ReLU(dense(e)) for e, the features of the privileged modalities side by side;
    output = dense([φ; ReLU(dense([φ; a]))]).
    """

    def __init__(
        self,
        privileged: Mapping[str, ModalitySpec],
        outputs: int,
        encoder: EncoderFactory,
        width: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({j: encoder(spec) for j, spec in privileged.items()})
        self.privileged = nn.Linear(encoder.dim * len(privileged), width)
        self.dropout = nn.Dropout(dropout)
        self.joint = nn.Linear(encoder.dim + width, width)
        self.head = nn.Linear(encoder.dim + width, outputs)

    def forward(self, phi: Tensor, x: Mapping[str, Tensor]) -> Tensor:
        e = torch.cat([encode(x[j]) for j, encode in self.encoders.items()], dim=1)
        a = self.dropout(F.relu(self.privileged(e)))
        joint = F.relu(self.joint(torch.cat([phi, a], dim=1)))
        return self.head(torch.cat([phi, joint], dim=1))


class TRAM(Method):
    """L = Σ_m ℓ(π_m(φ_m, x_{j≠m}), y) + w ℓ(h_m(sg(φ_m)), y), φ_m = E_m(x_m).

    The deployed head h_m learns from features that it does not move: φ_m is learnt through the
    privileged tower π_m alone. No parameter is shared among the deployed modalities.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        w: float = 1.0,
        width: int = 128,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not w > 0:
            raise UserError(f"tram: w must be above 0, or the deployed head never learns, not {w}")
        self.w = w
        self.nets = nn.ModuleDict()
        self.pi = nn.ModuleDict()
        for m, spec in modalities.items():
            others = {j: other for j, other in modalities.items() if j != m}
            self.nets[m] = UnimodalNet(spec, task.outputs, encoder)
            self.pi[m] = PrivilegedTower(others, task.outputs, encoder, width, dropout)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        ell = self.task.loss
        phi = {m: net.encoder(batch.x[m]) for m, net in self.nets.items()}
        privileged = [ell(self.pi[m](phi[m], batch.x), batch.y) for m in phi]
        deployed = [ell(self.nets[m].head(phi[m].detach()), batch.y) for m in phi]
        return {"privileged": sum(privileged), "deployed": self.w * sum(deployed)}

    def stages(self) -> list[Stage]:
        return [Stage("joint", [self.nets, self.pi], self.losses, predictors=self.deployed)]

    def predictor(self, m: str) -> nn.Module:
        return self.nets[m]


register(
    Entry(
        key="tram",
        method=TRAM,
        family="privileged information",
        summary="A head that also sees the other modalities teaches the features, one that does "
        "not is deployed.",
        losses="ℓ(π_m(φ_m, x_{j≠m}), y) + w ℓ(h_m(sg(φ_m)), y)",
        publication=Publication(
            "Collier, Jenatton, Kokiopoulou, Berent",
            2022,
            "Transfer and marginalize: explaining away label noise with privileged information",
            "arXiv 2202.09244",
        ),
        defaults_from="elsewhere",
        defaults_note="w = 1 and width 128 of the release for CIFAR with label noise; the dropout "
        "on the privileged feature is chosen here",
        per_modality=True,
        tuning={
            "w": Range(0.1, 10, log=True),
            "dropout": Range(0, 0.5, default_from="this benchmark"),
        },
    )
)
