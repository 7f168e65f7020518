"""The vocabulary that datasets, methods and the harness share: modalities and tasks as values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

TaskKind = Literal["binary", "multiclass", "multilabel", "regression"]
ModalityKind = Literal["series", "image", "vector"]

MONTH, LATITUDE, LONGITUDE = "month", "latitude", "longitude"
CONTEXT = (MONTH, LATITUDE, LONGITUDE)
"""Channels that say when and where: the month of each time step, 1 to 12, and degrees. A modality
has them because its files do, or because its encoder takes them and the dataset knows them."""


@dataclass(frozen=True)
class ModalitySpec:
    """What one sensor delivers for one sample.

    ``shape`` excludes the sample axis and always ends with the channels: a series is ``(T, C)`` or
    ``(T, H, W, C)``, an image ``(H, W, C)``, a vector ``(C,)``.
    """

    name: str
    kind: ModalityKind
    shape: tuple[int, ...]
    channels: tuple[str, ...]
    units: str

    def __post_init__(self) -> None:
        ranks = {"series": (2, 4), "image": (3,), "vector": (1,)}
        if len(self.shape) not in ranks[self.kind]:
            raise ValueError(f"{self.name}: a {self.kind} cannot have shape {self.shape}")
        if len(self.channels) != self.shape[-1]:
            names, size = len(self.channels), self.shape[-1]
            raise ValueError(f"{self.name}: {names} channel names for a last axis of {size}")


@dataclass(frozen=True)
class TaskSpec:
    """What is predicted, and all that depends on it: loss, soft-target distance, prediction.

    Outputs of a method are always ``(B, outputs)``: logits, or for regression the value in units
    of the target's standard deviation. ``outputs`` is 2 for a binary task and 1 for regression.
    Targets inside training are ``(B,)`` class indices (binary, multi-class), ``(B, C)`` zeros and
    ones (multi-label) or ``(B, 1)`` standardised values (regression).

    ``class_weights``, ``target_mean`` and ``target_std`` are set by `fitted` from training
    targets only.
    """

    kind: TaskKind
    outputs: int
    class_names: tuple[str, ...] = ()
    unit: str = ""
    class_weights: tuple[float, ...] | None = None
    target_mean: float = 0.0
    target_std: float = 1.0

    @property
    def is_classification(self) -> bool:
        """Exactly one class per sample (binary or multi-class)."""
        return self.kind in ("binary", "multiclass")

    def fitted(self, y: np.ndarray) -> TaskSpec:
        """This task with the class weights or the target scale of the training targets ``y``.

        Class weights are n / (C · n_c), and 0 for a class that ``y`` lacks. The standard
        deviation is the population's; a constant target is an error.
        """
        if self.is_classification:
            counts = np.bincount(y, minlength=self.outputs)
            present = counts > 0
            if present.sum() < 2:
                raise ValueError("fewer than two classes in the training part")
            weights = np.where(present, len(y) / (self.outputs * np.maximum(counts, 1)), 0.0)
            return replace(self, class_weights=tuple(float(w) for w in weights))
        if self.kind == "regression":
            std = float(np.std(y, dtype=np.float64))
            if not std > 0:
                raise ValueError("the target is constant in the training part")
            return replace(self, target_mean=float(np.mean(y, dtype=np.float64)), target_std=std)
        return self

    def targets(self, y: np.ndarray) -> Tensor:
        """Dataset targets as the tensor that `loss` takes (see the class docstring)."""
        import torch

        if self.is_classification:
            return torch.as_tensor(np.asarray(y, dtype=np.int64))
        y = np.asarray(y, dtype=np.float64)
        if self.kind == "regression":
            y = (y[:, None] - self.target_mean) / self.target_std
        return torch.as_tensor(y, dtype=torch.float32)

    def numbers(self, y: Tensor) -> Tensor:
        """Targets as numbers (B, outputs): one-hot classes, zeros and ones, standardised values.

        Their mean over samples is the best prediction that is the same for all: see `output`.
        """
        import torch.nn.functional as F

        return F.one_hot(y, self.outputs).float() if self.is_classification else y

    def output(self, mean: Tensor) -> Tensor:
        """The output (B, outputs) that predicts a ``mean`` (B, outputs) of `numbers`.

        It is finite: probabilities of 0 and 1 are moved by a rounding error.
        """
        import torch

        eps = torch.finfo(mean.dtype).eps
        if self.is_classification:
            return mean.clamp_min(eps).log()
        return mean.logit(eps) if self.kind == "multilabel" else mean

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """Supervised loss ℓ(output, y), a scalar.

        Class-weighted cross-entropy; binary cross-entropy averaged over B × C; mean squared error
        on the standardised target. PyTorch divides a weighted cross-entropy by the sum of the
        sample weights; a batch whose weights are all 0 gives 0.
        """
        import torch
        import torch.nn.functional as F

        if self.is_classification:
            if self.class_weights is None:
                return F.cross_entropy(output, y)
            weight = torch.as_tensor(self.class_weights, dtype=output.dtype, device=output.device)
            total = F.cross_entropy(output, y, weight=weight, reduction="sum")
            return total / weight[y].sum().clamp_min(torch.finfo(output.dtype).tiny)
        if output.shape != y.shape:
            raise ValueError(f"output {tuple(output.shape)} and target {tuple(y.shape)} differ")
        if self.kind == "multilabel":
            return F.binary_cross_entropy_with_logits(output, y)
        return F.mse_loss(output, y)

    def soft_target_distance(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """KD_T(student, teacher): what publications call "KL of soft labels", for every task.

        Both are (B, outputs) as in `loss`; no gradient reaches the teacher. Multi-class: T² times
        the batch mean of KL(softmax(t/T) ‖ softmax(s/T)). Multi-label: T² times the mean over
        B × C of the Bernoulli KL. Regression: mean squared error, T is ignored. Zero at equality.

        Source: Hinton, Vinyals, Dean 2015, arXiv 1503.02531; the regression form is that of
        Lopez-Paz et al. 2016, arXiv 1511.03643.
        """
        import torch.nn.functional as F

        teacher = teacher.detach()
        if self.kind == "regression":
            return F.mse_loss(student, teacher)
        s, t = student / temperature, teacher / temperature
        if self.kind == "multilabel":
            p = t.sigmoid()
            kl = p * (F.logsigmoid(t) - F.logsigmoid(s))
            kl = kl + (1 - p) * (F.logsigmoid(-t) - F.logsigmoid(-s))
            return temperature**2 * kl.mean()
        log_p, log_q = F.log_softmax(t, dim=-1), F.log_softmax(s, dim=-1)
        return temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)

    def predict(self, output: Tensor) -> Tensor:
        """Output as a prediction: class probabilities (B, C), or target values (B,)."""
        if self.is_classification:
            return output.softmax(dim=-1)
        if self.kind == "multilabel":
            return output.sigmoid()
        return output.squeeze(-1) * self.target_std + self.target_mean
