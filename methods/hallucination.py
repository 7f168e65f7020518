"""Modality hallucination: a second stream on x_m that stands in for the missing modality's.

Garcia, Morerio, Murino 2018, "Modality distillation with multiple stream networks for action
recognition", ECCV, arXiv 1806.07110, after Hoffman, Gupta, Darrell 2016, "Learning with side
information through modality hallucination", CVPR.

What differs from the released code (ncgarcia/modality-distillation), and why:

- The hallucination term is a mean over batch and features, the release's a sum, whose weight
  would depend on the batch size; λ_3 is chosen anew, so that the terms start at similar size.
- The soft term is KD_T, with the factor T² that keeps its gradient at size for T = 10; the
  release has the cross-entropy without it.
- A hallucination stream starts with the head of the stream that it stands in for. Its encoder
  starts at random: the release copies it too, which needs inputs of one shape.
- With more than two modalities there is one hallucination stream for each missing one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Artefact, Batch, EncoderFactory, Method, Stage
from methods.common.nets import UnimodalNet
from methods.common.registry import Entry, Publication, Range, register


def hallucination_loss(A_H: Tensor, A_j: Tensor) -> Tensor:
    """‖σ(A_j) - σ(A_H)‖², mean over the (B, D) features of hallucination and teacher stream."""
    return F.mse_loss(A_H.sigmoid(), A_j.sigmoid())


class MeanOfStreams(nn.Module):
    """Mean of the outputs of several streams that read the same x_m: x_m → (B, outputs)."""

    def __init__(self, streams: Iterable[nn.Module]) -> None:
        super().__init__()
        self.streams = nn.ModuleList(streams)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([stream(x) for stream in self.streams]).mean(dim=0)


class Hallucination(Method):
    """Four steps; f_m is the stream of modality m, H_{j|m} one that reads x_m in place of x_j.

    1. Each stream alone: the `single` nets.
    2. All streams jointly: ℓ(mean_m f_m, y).
    3. H_{j|m}, with f_j frozen: λ_2 [(1 - λ_1) ℓ(H, y) + λ_1 KD_T(H, f_j)]
       + (1 - λ_2) λ_3 ‖σ(A_j) - σ(A_H)‖², A the features before the heads, for all m and j ≠ m.
    4. What is deployed for m, end to end: ℓ(mean of f_m and the H_{j|m}, y).

    Streams of different deployments share no parameter in steps 3 and 4.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        T: float = 10.0,
        lambda_1: float = 0.5,
        lambda_2: float = 0.5,
        lambda_3: float = 10.0,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not (T > 0 and 0 <= lambda_1 <= 1 and 0 <= lambda_2 <= 1 and lambda_3 >= 0):
            raise UserError(
                "hallucination: T must be above 0, lambda_1 and lambda_2 in [0, 1] and lambda_3 "
                f"not negative, not {T}, {lambda_1}, {lambda_2} and {lambda_3}"
            )
        self.T = T
        self.lambda_1, self.lambda_2, self.lambda_3 = lambda_1, lambda_2, lambda_3

        def stream(m: str) -> UnimodalNet:
            return UnimodalNet(modalities[m], task.outputs, encoder)

        self.f = nn.ModuleDict({m: stream(m) for m in modalities})
        self.H = nn.ModuleDict(
            {m: nn.ModuleDict({j: stream(m) for j in modalities if j != m}) for m in modalities}
        )

    @classmethod
    def artefacts(cls, modalities: tuple[str, ...], **hyperparameters: Any) -> dict[str, Artefact]:
        return {m: Artefact("single", (m,)) for m in modalities}

    def start_streams(self, n: int) -> None:
        """Step 2 goes on from the nets of step 1."""
        for m, f_m in self.f.items():
            f_m.load_state_dict(self.given[m][m].state_dict())

    def joint_loss(self, batch: Batch) -> Tensor:
        outputs = [f_m(batch.x[m]) for m, f_m in self.f.items()]
        return self.task.loss(torch.stack(outputs).mean(dim=0), batch.y)

    def start_hallucinations(self, n: int) -> None:
        """Step 3 starts from the heads of step 2, as the features before them become alike."""
        for streams in self.H.values():
            for j, H_j in streams.items():
                H_j.head.load_state_dict(self.f[j].head.state_dict())

    def hallucination_losses(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            A = {j: f_j.encoder(batch.x[j]) for j, f_j in self.f.items()}
            t = {j: f_j.head(A[j]) for j, f_j in self.f.items()}
        task, soft, features = [], [], []
        for m, streams in self.H.items():
            for j, H_j in streams.items():
                A_H = H_j.encoder(batch.x[m])
                s = H_j.head(A_H)
                task.append(self.task.loss(s, batch.y))
                soft.append(self.task.soft_target_distance(s, t[j], self.T))
                features.append(hallucination_loss(A_H, A[j]))
        return {
            "task": self.lambda_2 * (1 - self.lambda_1) * sum(task),
            "soft": self.lambda_2 * self.lambda_1 * sum(soft),
            "hallucination": (1 - self.lambda_2) * self.lambda_3 * sum(features),
        }

    def end_to_end_losses(self, batch: Batch) -> dict[str, Tensor]:
        outputs = [self.predictor(m)(batch.x[m]) for m in self.modalities]
        return {"task": sum(self.task.loss(output, batch.y) for output in outputs)}

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "streams",
                [self.f],
                lambda batch: {"task": self.joint_loss(batch)},
                validate=self.joint_loss,
                on_start=self.start_streams,
            ),
            Stage(
                "hallucination",
                [self.H],
                self.hallucination_losses,
                validate=lambda batch: sum(self.hallucination_losses(batch).values()),
                on_start=self.start_hallucinations,
            ),
            Stage(
                "end to end",
                [self.f, self.H],
                self.end_to_end_losses,
                predictors=self.deployed,
            ),
        ]

    def predictor(self, m: str) -> nn.Module:
        return MeanOfStreams([self.f[m], *self.H[m].values()])


register(
    Entry(
        key="hallucination",
        method=Hallucination,
        family="privileged information",
        summary="A second stream on the deployed modality imitates the missing one's features.",
        losses="λ_2 [(1 - λ_1) ℓ(H, y) + λ_1 KD_T(H, f_j)] + (1 - λ_2) λ_3 ‖σ(A_j) - σ(A_H)‖², "
        "then ℓ(mean of f_m and H, y)",
        publication=Publication(
            "Garcia, Morerio, Murino",
            2018,
            "Modality distillation with multiple stream networks for action recognition",
            "arXiv 1806.07110",
        ),
        defaults_from="elsewhere",
        defaults_note="T, λ_1 and λ_2 of the release for action recognition; λ_3 is chosen here, "
        "as the term is a mean instead of a sum",
        per_modality=True,
        tuning={
            "T": Range(1, 50, log=True, idle_on=("regression",)),
            "lambda_1": Range(0.1, 0.9),
            "lambda_2": Range(0.1, 0.9),
            "lambda_3": Range(1, 100, log=True, default_from="this benchmark"),
        },
    )
)
