"""Small problems for tests: specs, tasks, encoders and batches of every kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

import methods
from benchmark.planning import protocol
from benchmark.planning.plan import resolve_artefacts
from benchmark.planning.split import folds
from benchmark.problem import ModalitySpec, TaskKind, TaskSpec
from benchmark.spec import RunSpec
from benchmark.training.data import fold_data
from benchmark.training.fit import Trained, fit
from datasets.common.contract import EODataset
from methods.common.contract import Batch
from methods.common.encoders import Encoders
from methods.common.registry import REGISTRY

methods.load()
torch.set_num_threads(1)

SHAPES = {"series": (6, 3), "image": (32, 32, 2), "vector": (5,)}


def modalities(kinds: Iterable[str] = ("series", "series")) -> dict[str, ModalitySpec]:
    """Modalities m1, m2, ... of the given kinds."""
    specs = {}
    for i, kind in enumerate(kinds, start=1):
        shape = SHAPES[kind]
        channels = tuple(f"c{c}" for c in range(shape[-1]))
        specs[f"m{i}"] = ModalitySpec(f"m{i}", kind, shape, channels, "1")
    return specs


def task(kind: TaskKind) -> TaskSpec:
    """A task of a kind: 2, 4, 3 or 1 outputs."""
    outputs = {"binary": 2, "multiclass": 4, "multilabel": 3, "regression": 1}[kind]
    return TaskSpec(kind, outputs, class_names=tuple(f"k{k}" for k in range(outputs)))


def encoders(dim: int = 16, layer_norm: bool = False) -> Encoders:
    """Encoders small enough for a test."""
    return Encoders(
        dim=dim,
        layer_norm=layer_norm,
        options={
            "series": {"width": 8, "dense": 16},
            "image": {"model": "test_resnet"},
            "vector": {"width": 8},
        },
    )


def batch(
    specs: dict[str, ModalitySpec], spec: TaskSpec, size: int = 8, seed: int = 0, epoch: int = 0
) -> Batch:
    """A batch of normal inputs and random targets."""
    g = torch.Generator().manual_seed(seed)
    x = {m: torch.randn(size, *s.shape, generator=g) for m, s in specs.items()}
    if spec.is_classification:
        y = torch.randint(spec.outputs, (size,), generator=g)
    elif spec.kind == "multilabel":
        y = torch.randint(2, (size, spec.outputs), generator=g).float()
    else:
        y = torch.randn(size, 1, generator=g)
    return Batch(x, y, torch.arange(size), epoch)


def dataset(
    kind: TaskKind = "multiclass",
    kinds: Iterable[str] = ("series", "series"),
    samples: int = 90,
    groups: int | None = 15,
    seed: int = 0,
) -> EODataset:
    """A dataset in memory, made up for tests: the target can be read from every modality."""
    rng = np.random.default_rng(seed)
    specs, spec = modalities(kinds), task(kind)
    latent = rng.normal(size=(samples, spec.outputs))
    if spec.is_classification:
        y = latent.argmax(axis=1)
    elif kind == "multilabel":
        y = (latent > 0).astype(np.uint8)
    else:
        y = 100 + 20 * latent[:, 0]
    x = {}
    for m, s in specs.items():
        signal = latent @ rng.normal(size=(spec.outputs, s.shape[-1]))
        signal = signal.reshape(samples, *(1,) * (len(s.shape) - 1), s.shape[-1])
        x[m] = (3 + 2 * signal + rng.normal(size=(samples, *s.shape))).astype(np.float32)
    ids = np.array([f"s{i}" for i in range(samples)])
    names = None if groups is None else np.array([f"g{i % groups}" for i in range(samples)])
    return EODataset("made_up", specs, spec, x, y, ids, names, None, "generated", f"{seed:064x}")


def protocol_values(**changes: object) -> dict[str, Any]:
    """Protocol values as a run's spec carries them, small enough for a test."""
    values = protocol.load("quick").values_for("made_up")
    return {**values, "batch_size": 16, "epochs": 2, **changes}


def run_spec(method: str, data: EODataset, **changes: Any) -> RunSpec:
    """The spec of a registered method on a dataset in memory."""
    entry = REGISTRY[method]
    values = entry.hyperparameters
    e = encoders()
    spec = RunSpec(
        dataset=data.name,
        source=data.source,
        fingerprint=data.fingerprint,
        modalities=tuple(data.modalities),
        method=method,
        version=entry.version,
        hyperparameters=values,
        artefacts=resolve_artefacts(entry, tuple(data.modalities), values),
        encoders={"dim": e.dim, "layer_norm": e.layer_norm, "options": e.options},
        precision="float32",
        protocol=protocol_values(),
        fold=0,
        seed=0,
    )
    return replace(spec, **changes)


def train(spec: RunSpec, data: EODataset) -> Trained:
    """Train a spec on its fold, artefacts included, without any cache."""
    numbers = folds(data, spec.protocol)[spec.fold]
    ready = fold_data(data, numbers, spec.protocol["statistics"], torch.device("cpu"))
    return fit(spec, data.modalities, ready, lambda _, __, train: train())
