"""Three loops that train the same method on the same fold: bare, the project's, and Lightning's."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmark.planning import protocol
from benchmark.planning.building import build
from benchmark.planning.split import Fold
from benchmark.problem import ModalitySpec, TaskSpec
from benchmark.spec import RunSpec
from benchmark.training.data import FoldData, Part, fold_data
from benchmark.training.fit import fit
from datasets.common.contract import EODataset
from methods.common.contract import Batch
from tests.problems import run_spec

SHAPES = {
    "lfmc": ({"S1": (4, 3), "S2": (4, 8)}, TaskSpec("regression", 1), 2320, 2),
    "cropharvest": ({"S1": (12, 2), "S2": (12, 12)}, TaskSpec("binary", 2), 2560, 1),
}
"""Series as the adapters deliver them, the task, and the samples and epochs that make a second."""


def problem(
    shapes: str,
    method: str,
    device: str = "cpu",
    samples: int | None = None,
    epochs: int | None = None,
) -> tuple[RunSpec, EODataset, FoldData]:
    """A few epochs of a method under the protocol `standard`, on random numbers of given shapes."""
    series, task, usual_samples, usual_epochs = SHAPES[shapes]
    samples, epochs = samples or usual_samples, epochs or usual_epochs
    if method == "single":
        series = {"S2": series["S2"]}
    specs = {
        m: ModalitySpec(m, "series", shape, tuple(f"c{c}" for c in range(shape[-1])), "1")
        for m, shape in series.items()
    }
    rng = np.random.default_rng(0)
    numbers = np.arange(samples + 256)
    data = EODataset(
        name=shapes,
        modalities=specs,
        task=task,
        x={m: rng.normal(size=(len(numbers), *s)).astype(np.float32) for m, s in series.items()},
        y=rng.normal(size=len(numbers)) if task.kind == "regression" else numbers % 2,
        ids=numbers.astype(str),
        groups=None,
        split=None,
        source="generated",
        fingerprint="0" * 64,
    )
    standard = protocol.load("standard")
    spec = run_spec(
        method,
        data,
        encoders=standard.encoders_for(shapes, {"series"}),
        protocol={**standard.values_for(shapes), "epochs": epochs},
    )
    fold = Fold(0, train=numbers[:samples], val=numbers[samples:], test=numbers[samples:])
    return spec, data, fold_data(data, fold, "training", torch.device(device))


def project_loop(spec: RunSpec, data: EODataset, ready: FoldData) -> None:
    """What a run does between reading its data and predicting."""
    fit(spec, data.modalities, ready, lambda _, __, train: train())


def standardised(part: Part) -> tuple[dict[str, Tensor], Tensor]:
    """All of a part in memory, which the other two loops read from."""
    whole = part.batch(torch.arange(len(part)))
    return dict(whole.x), whole.y


def bare_loop(spec: RunSpec, data: EODataset, ready: FoldData) -> None:
    """The least that trains the method and validates it: the floor."""
    method = build(spec, data.modalities, ready.task)
    (stage,) = method.stages()
    optimiser = torch.optim.Adam(method.parameters(), lr=spec.protocol["learning_rate"], fused=True)
    (x, y), (x_val, y_val) = standardised(ready.train), standardised(ready.val)
    for epoch in range(spec.protocol["epochs"]):
        method.train()
        for index in torch.randperm(len(y)).split(spec.protocol["batch_size"]):
            batch = Batch({m: values[index] for m, values in x.items()}, y[index], index, epoch)
            optimiser.zero_grad()
            sum(stage.losses(batch).values()).backward()
            optimiser.step()
        method.eval()
        with torch.no_grad():
            for m in stage.predictors:
                float(method.task.loss(method.predictor(m)(x_val[m]), y_val))


class Samples(Dataset):
    """A part sample by sample, as a `DataLoader` wants it."""

    def __init__(self, part: Part) -> None:
        self.x, self.y = standardised(part)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[dict[str, Tensor], Tensor, int]:
        return {m: values[i] for m, values in self.x.items()}, self.y[i], i


def lightning_loop(spec: RunSpec, data: EODataset, ready: FoldData) -> None:
    """The method as a LightningModule, its batches from a DataLoader, all extras turned off."""
    import lightning

    method = build(spec, data.modalities, ready.task)
    (stage,) = method.stages()

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.method = method

        def training_step(self, batch: tuple, _: int) -> Tensor:
            terms = stage.losses(Batch(*batch, self.current_epoch))
            self.log_dict({f"train_{name}": term for name, term in terms.items()})
            return sum(terms.values())

        def validation_step(self, batch: tuple, _: int) -> None:
            x, y, _ = batch
            for m in stage.predictors:
                self.log(f"val_{m}", method.task.loss(method.predictor(m)(x[m]), y))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            rate = spec.protocol["learning_rate"]
            return torch.optim.Adam(self.parameters(), lr=rate, fused=True)

    size = spec.protocol["batch_size"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that loader workers would be faster: for 4 steps not so
        trainer = lightning.Trainer(
            max_epochs=spec.protocol["epochs"],
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(
            Module(),
            DataLoader(Samples(ready.train), size, shuffle=True),
            DataLoader(Samples(ready.val), 512),
        )
