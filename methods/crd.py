"""CRD: student and teacher features of one sample are told from those of many others.

Tian, Krishnan, Isola 2020, "Contrastive representation distillation", ICLR, arXiv 1910.10699.

What differs from the released code (HobbitLong/RepDistiller), and why:

- At most n - 1 negatives, and 4096 instead of 16384: these data sets have fewer samples.
- On classes, negatives are of another class, as in the release's mode "exact". The class of an
  entry of the bank is known once its sample has been seen; until then the entry is a random
  vector, as in the release, and may be a negative of any. Multi-label and regression samples
  have no class: there every other sample may be a negative.
- Negatives are always drawn with replacement; the release does so only where a class has fewer
  than are wanted.
- The release adds 1e-7 to the denominators, which cannot be 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import ALL, Artefact, Batch, EncoderFactory, Method, Stage
from methods.common.nets import UnimodalNet
from methods.common.registry import Entry, Publication, Range, register


def nce_loss(P: Tensor, n: int) -> Tensor:
    """-log D(positive) - Σ_K log(1 - D(negative)), batch mean, with D = P / (P + K/n).

    P: (B, 1 + K) scores e^{sim/τ} / Z, the positive first. n: number of training samples.
    """
    noise = (P.shape[1] - 1) / n
    log_D = torch.log(P[:, 0] / (P[:, 0] + noise))
    log_not_D = torch.log(noise / (P[:, 1:] + noise))
    return -(log_D + log_not_D.sum(dim=1)).mean()


class Contrast(nn.Module):
    """One student and its teacher in a common space, and a memory bank of either.

    The banks (n, d) hold a running mean of every training sample's embedding. Z, which makes
    scores of probabilities, is estimated on the first batch and then kept.
    """

    def __init__(
        self, student_dim: int, teacher_dim: int, dim: int, tau: float, momentum: float
    ) -> None:
        super().__init__()
        self.embed_s = nn.Linear(student_dim, dim)
        self.embed_t = nn.Linear(teacher_dim, dim)
        self.tau, self.momentum = tau, momentum

    def start(self, n: int) -> None:
        """Fill the banks with random directions."""
        weight = self.embed_s.weight
        self.bank_s, self.bank_t = F.normalize(weight.new_empty(2, n, len(weight)).normal_(), dim=2)
        self.Z: tuple[Tensor, Tensor] | None = None

    def forward(self, z_s: Tensor, z_t: Tensor, index: Tensor) -> Tensor:
        """Loss of features (B, d_s) and (B, d_t); ``index`` (B, 1 + K): own sample, negatives."""
        v_s = F.normalize(self.embed_s(z_s), dim=1)
        v_t = F.normalize(self.embed_t(z_t), dim=1)
        self.latest = v_s.detach(), v_t.detach()
        n = len(self.bank_s)
        # Each side is the anchor once, with positive and negatives from the other's bank.
        e_s = ((v_s @ self.bank_t.T).gather(1, index) / self.tau).exp()
        e_t = ((v_t @ self.bank_s.T).gather(1, index) / self.tau).exp()
        if self.Z is None:
            self.Z = e_s.detach().mean() * n, e_t.detach().mean() * n
        return nce_loss(e_s / self.Z[0], n) + nce_loss(e_t / self.Z[1], n)

    def remember(self, index: Tensor) -> None:
        """Move the entries of the latest batch's samples (B,) towards their embeddings."""
        for bank, v in zip((self.bank_s, self.bank_t), self.latest, strict=True):
            mean = self.momentum * bank[index] + (1 - self.momentum) * v
            bank[index] = F.normalize(mean, dim=1)


class CRD(Method):
    """L = Σ_m ℓ(s_m, y) + β [NCE(v_m; bank of v_t) + NCE(v_t; bank of v_m)].

    v_m and v_t are linear embeddings of the student's z_m and of the teacher's [z_1; ...; z_M],
    L2-normalised, learnt along and not deployed. The students share no parameter, so that
    training them side by side is training each alone.

    mask_groups: whether samples of the anchor's group (site, field) are left out of its negatives,
        once they have been seen, as those of its class are; but not where nothing else is left.
    """

    def __init__(
        self,
        modalities: Mapping[str, ModalitySpec],
        task: TaskSpec,
        encoder: EncoderFactory,
        *,
        beta: float = 0.8,
        tau: float = 0.07,
        momentum: float = 0.5,
        negatives: int = 4096,
        dim: int = 128,
        mask_groups: bool = False,
    ) -> None:
        super().__init__(modalities, task, encoder)
        if not (beta >= 0 and tau > 0 and 0 <= momentum <= 1 and negatives >= 1):
            raise UserError(
                "crd: beta must not be negative, tau above 0, momentum in [0, 1] and negatives at "
                f"least 1, not {beta}, {tau}, {momentum} and {negatives}"
            )
        self.beta = beta
        self.negatives = negatives
        self.mask_groups = mask_groups
        self.students = nn.ModuleDict(
            {m: UnimodalNet(spec, task.outputs, encoder) for m, spec in modalities.items()}
        )
        teacher_dim = encoder.dim * len(modalities)
        self.contrast = nn.ModuleDict(
            {m: Contrast(encoder.dim, teacher_dim, dim, tau, momentum) for m in modalities}
        )

    @classmethod
    def artefacts(cls, modalities: tuple[str, ...], **hyperparameters: Any) -> dict[str, Artefact]:
        return {"teacher": Artefact("fusion_concat", modalities)}

    def start(self, n: int) -> None:
        """Empty memories for ``n`` training samples, of which none is known yet."""
        self.classes, self.groups = torch.full((2, n), -1, device=next(self.parameters()).device)
        for contrast in self.contrast.values():
            contrast.start(n)

    def remember(self, batch: Batch) -> None:
        """After a step: what the batch was embedded as, and its classes and groups."""
        for contrast in self.contrast.values():
            contrast.remember(batch.index)
        if self.task.is_classification:
            self.classes[batch.index] = batch.y
        self.groups[batch.index] = batch.group

    def contrasted(self, batch: Batch) -> Tensor:
        """(B, 1 + K) positions in the banks: each sample's own, and K random negatives."""
        own = batch.index[:, None]
        n = len(self.classes)
        allowed = torch.ones(len(own), n, device=own.device)
        if self.task.is_classification:
            allowed[self.classes == batch.y[:, None]] = 0.0
        allowed.scatter_(1, own, 0.0)
        if self.mask_groups:
            others = allowed.masked_fill(self.groups == batch.group[:, None], 0.0)
            allowed = torch.where(others.any(dim=1, keepdim=True), others, allowed)
        K = min(n - 1, self.negatives)
        return torch.cat([own, allowed.multinomial(K, replacement=True)], dim=1)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        z = {m: student.encoder(batch.x[m]) for m, student in self.students.items()}
        s = {m: student.head(z[m]) for m, student in self.students.items()}
        terms = {"task": sum(self.task.loss(s_m, batch.y) for s_m in s.values())}
        if self.beta:
            with torch.no_grad():
                z_t = self.given["teacher"][ALL].embed(batch.x)
            index = self.contrasted(batch)
            terms["crd"] = self.beta * sum(self.contrast[m](z[m], z_t, index) for m in z)
        return terms

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "students",
                [self.students, self.contrast],
                self.losses,
                predictors=self.deployed,
                on_start=self.start,
                after_step=self.remember if self.beta else None,
            )
        ]

    def predictor(self, m: str) -> nn.Module:
        return self.students[m]


register(
    Entry(
        key="crd",
        method=CRD,
        family="distillation",
        summary="Each student's features are told from other samples' by the teacher's, and back.",
        losses="ℓ(s_m, y) + β [NCE(v_m; bank of v_t) + NCE(v_t; bank of v_m)]",
        publication=Publication(
            "Tian, Krishnan, Isola",
            2020,
            "Contrastive representation distillation",
            "arXiv 1910.10699",
        ),
        defaults_from="elsewhere",
        defaults_note="β, τ, momentum and size of HobbitLong/RepDistiller for image "
        "classification; at most 4096 negatives is chosen here",
        per_modality=True,
        tuning={"beta": Range(0.1, 10, log=True), "tau": Range(0.02, 0.5, log=True)},
    )
)
