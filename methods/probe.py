"""What one would use instead of co-learning: a pre-trained encoder, frozen, and a simple predictor.

    presto_probe    features of Presto (`methods.common.presto`)
    galileo_probe   features of Galileo, nano (`methods.common.galileo`)

On the features of the deployed modality, a linear model and a forest are fitted, as the encoders'
authors evaluate them, and the one with the lower ℓ on the validation part is deployed. They use
scikit-learn's ordinary linear regression, logistic regression (C = 1) and random forest; here the
linear model minimises ℓ + λ ‖W‖², so that it is ridge or logistic regression on every kind of task,
with λ of `PENALTIES` by the validation part, and the forest is `forest`, grown from one seed.

The encoder is the method's own: it needs none of the protocol's, and has a row in the table of
methods that have those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Batch, EncoderFactory, FitStage, Method
from methods.common.registry import Entry, Publication, register
from methods.forest import ExtraTrees, Flatten, Forest

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""λ, of the mean loss on features of unit variance."""

ITERATIONS = 200
"""Of L-BFGS at most; it stops where the loss does not fall any more."""


class LinearOrForest(nn.Module):
    """x_m → (B, outputs): the forest if it has been planted, else the linear model."""

    def __init__(self, features: int, task: TaskSpec) -> None:
        super().__init__()
        self.flatten = Flatten()
        self.linear = nn.Linear(features, task.outputs)
        self.forest = Forest(task)

    def forward(self, x: Tensor) -> Tensor:
        x = self.flatten(x)
        return self.forest(x) if len(self.forest.roots) else self.linear(x)


def fit_linear(x: Tensor, y: Tensor, task: TaskSpec, penalty: float) -> tuple[Tensor, Tensor, int]:
    """W (outputs, F) and b (outputs,) of least ℓ(x Wᵀ + b, y) + λ ‖W‖², and how often it was seen.

    x: (n, F). y: as `TaskSpec.loss` takes it. The problem is convex.
    """
    from scipy.optimize import minimize

    x = x.double()
    y = y.double() if y.is_floating_point() else y
    shape = task.outputs, x.shape[1] + 1

    def value_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        both = torch.from_numpy(flat).to(x.device).reshape(shape).requires_grad_()
        with torch.enable_grad():
            W, b = both[:, :-1], both[:, -1]
            value = task.loss(x @ W.T + b, y) + penalty * W.square().sum()
        (gradient,) = torch.autograd.grad(value, both)
        return value.item(), gradient.cpu().numpy().ravel()

    start, options = np.zeros(shape).ravel(), {"maxiter": ITERATIONS, "gtol": 1e-6, "ftol": 1e-12}
    found = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    both = torch.from_numpy(found.x).float().to(x.device).reshape(shape)
    return both[:, :-1], both[:, -1], found.nfev


class Probe(Method):
    """One linear model or forest a modality, on features that are given as the modality."""

    def __init__(
        self, modalities: Mapping[str, ModalitySpec], task: TaskSpec, encoder: EncoderFactory
    ) -> None:
        super().__init__(modalities, task, encoder)
        self.forests = ExtraTrees(modalities, task, encoder)
        widths = {m: Flatten()(torch.zeros(1, *s.shape)).shape[1] for m, s in modalities.items()}
        self.nets = nn.ModuleDict({m: LinearOrForest(w, task) for m, w in widths.items()})
        self.linear: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def fit(self, batches: Iterable[Batch]) -> int:
        with torch.random.fork_rng(devices=[]):  # where the linear model wins, no seed counts
            torch.manual_seed(0)
            operations = self.forests.fit(batches)
        y = torch.cat([batch.y for batch in batches])
        for m, net in self.nets.items():
            x = torch.cat([net.flatten(batch.x[m]) for batch in batches])
            self.linear[m] = []
            for penalty in PENALTIES:
                W, b, seen = fit_linear(x, y, self.task, penalty)
                self.linear[m].append((W, b))
                operations += 4 * seen * x.numel() * self.task.outputs  # forward and backward
        return operations

    def choose(self, batches: Iterable[Batch]) -> None:
        """Keep of each modality what has the lowest loss on the validation part."""
        y = torch.cat([batch.y for batch in batches])
        for m, net in self.nets.items():
            x = torch.cat([net.flatten(batch.x[m]) for batch in batches])
            losses = [self.task.loss(x @ W.T + b, y) for W, b in self.linear[m]]
            best = int(torch.stack(losses).argmin())
            for own, value in zip(net.linear.parameters(), self.linear[m][best], strict=True):
                own.data.copy_(value)
            grown = self.forests.nets[m][1]
            if self.task.loss(grown(x), y) < losses[best]:
                net.forest.load_state_dict(grown.state_dict())
        self.linear.clear()

    def stages(self) -> list[FitStage]:
        modules = [self.nets, self.forests]
        return [FitStage("probe", modules, self.fit, self.deployed, on_validation=self.choose)]

    def predictor(self, m: str) -> nn.Module:
        return self.nets[m]


WHERE_AND_WHEN = (
    "without labels; inputs of other years are not among it, its places are spread over "
)
WHERE_AND_WHEN += "the world, and those of a benchmark may be among them"

PRESTO = register(
    Entry(
        key="presto_probe",
        method=Probe,
        family="control",
        role="control",
        summary="Frozen features of Presto, with ridge or logistic regression or a forest on them.",
        losses="min over W, b of ℓ(W z_m + b, y) + λ ‖W‖², or Σ over leaves of (y - mean y)², "
        "z_m = Presto(x_m); the better on validation",
        publication=Publication(
            "Tseng, Cartuyvels, Zvonkov, Purohit, Rolnick, Kerner",
            2023,
            "Lightweight, Pre-trained Transformers for Remote Sensing Timeseries",
            "arXiv 2304.14065",
        ),
        defaults_from="this benchmark",
        defaults_note="the forest is that of `forest`, and λ is chosen on the validation part",
        per_modality=True,
        deterministic=True,
        network=False,
        encoder={"model": "presto", "ignore": "others"},
        pretrained="21.5 million monthly series of pixels of 2020 and 2021 (Sentinel-1 and 2, "
        f"ERA5, SRTM, Dynamic World), {WHERE_AND_WHEN}",
    )
)

GALILEO = register(
    replace(
        PRESTO,
        key="galileo_probe",
        summary=PRESTO.summary.replace("Presto", "Galileo (nano)"),
        losses=PRESTO.losses.replace("Presto", "Galileo"),
        publication=Publication(
            "Tseng, Fuller, Reil, Herzog, Beukema, Bastani, Green, Shelhamer, Kerner, Rolnick",
            2025,
            "Galileo: Learning Global & Local Features of Many Remote Sensing Modalities",
            "arXiv 2502.09356",
        ),
        encoder={"model": "galileo", "ignore": "others"},
        pretrained="127,155 monthly series of images of 2022 and 2023 (Sentinel-1 and 2, ERA5, "
        f"SRTM and others), {WHERE_AND_WHEN}",
    )
)

for _entry in (PRESTO, GALILEO):
    register(
        replace(
            _entry,
            key=f"{_entry.key}_no_context",
            summary=f"{_entry.key} without month and place, which other methods are not given.",
            encoder={**_entry.encoder, "context": False},
        )
    )
