"""Small nets that several methods are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.problem import CONTEXT, ModalitySpec, TaskSpec
from methods.common.contract import EncoderFactory


class UnimodalNet(nn.Module):
    """h_m(E_m(x_m)): an encoder and a linear head. (B, *shape) → (B, outputs)."""

    def __init__(self, spec: ModalitySpec, outputs: int, encoder: EncoderFactory) -> None:
        super().__init__()
        self.encoder = encoder(spec)
        self.head = nn.Linear(encoder.dim, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


class ConcatNet(nn.Module):
    """h([z_1; ...; z_M]): x by modality → (B, outputs)."""

    def __init__(
        self, modalities: Mapping[str, ModalitySpec], outputs: int, encoder: EncoderFactory
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({m: encoder(spec) for m, spec in modalities.items()})
        self.head = nn.Linear(encoder.dim * len(modalities), outputs)

    def embed(self, x: Mapping[str, Tensor]) -> Tensor:
        """[z_1; ...; z_M], (B, M · D)."""
        return torch.cat([encode(x[m]) for m, encode in self.encoders.items()], dim=1)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        return self.head(self.embed(x))


class MeanNet(nn.Module):
    """h(mean of z_m), each z_m layer-normalised: x by modality, any of them → (B, outputs).

    Modalities that are not given are not encoded.
    """

    def __init__(
        self, modalities: Mapping[str, ModalitySpec], encoder: EncoderFactory, head: nn.Module
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(
            {m: encoder(spec, layer_norm=True) for m, spec in modalities.items()}
        )
        self.head = head

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        z = [encode(x[m]) for m, encode in self.encoders.items() if m in x]
        return self.head(torch.stack(z).mean(dim=0))


class Missing(nn.Module):
    """In training a random share of a modality's values is missing, which is 0: x → x, same shape.

    Month and place, where they are channels, stay as they are.
    """

    def __init__(self, spec: ModalitySpec, share: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(share)
        known = torch.tensor([channel in CONTEXT for channel in spec.channels])
        self.register_buffer("known", known, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        kept = self.dropout(torch.ones_like(x).flatten(1)).view_as(x) > 0
        return x.masked_fill(~(kept | self.known), 0.0)


def mean_of_predictions(outputs: Sequence[Tensor], task: TaskSpec) -> Tensor:
    """The output (B, outputs) whose prediction is the mean of those of several outputs.

    Probabilities (or regression values) are averaged; the logarithm or the logit of the mean makes
    an output of it again, whose softmax or sigmoid is that mean.
    """
    if len(outputs) == 1:
        return outputs[0]
    stacked = torch.stack([*outputs])
    if task.is_classification:
        return stacked.log_softmax(dim=-1).logsumexp(dim=0)
    if task.kind == "multilabel":
        return F.logsigmoid(stacked).logsumexp(dim=0) - F.logsigmoid(-stacked).logsumexp(dim=0)
    return stacked.mean(dim=0)


def mlp_head(features: int, outputs: int, *, hidden: int = 128, dropout: float = 0.2) -> nn.Module:
    """Head of CoM, FSensD, DSensD and ISensD: Linear, ReLU, BatchNorm, Dropout, Linear."""
    return nn.Sequential(
        nn.Linear(features, hidden),
        nn.ReLU(),
        nn.BatchNorm1d(hidden),
        nn.Dropout(dropout),
        nn.Linear(hidden, outputs),
    )
