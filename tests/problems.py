"""Small problems for tests: specs, tasks, encoders and batches of every kind."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmark.problem import ModalitySpec, TaskKind, TaskSpec
from methods.common.contract import Batch
from methods.common.encoders import Encoders

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
