"""Problems that methods are checked on: made up, tiny, the target readable from every modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from benchmark.conformance.images import CNN
from benchmark.planning import protocol
from benchmark.planning.plan import resolve_artefacts
from benchmark.problem import ModalityKind, ModalitySpec, TaskKind, TaskSpec
from benchmark.spec import RunSpec
from datasets.common.contract import EODataset
from methods.common.registry import Entry

TASKS: tuple[TaskKind, ...] = ("binary", "multiclass", "multilabel", "regression")
OUTPUTS: dict[TaskKind, int] = {"binary": 2, "multiclass": 3, "multilabel": 3, "regression": 1}

SHAPES: dict[ModalityKind, tuple[tuple[int, ...], ...]] = {
    "series": ((6, 3), (6, 4), (6, 2, 2, 2)),
    "image": ((16, 16, 4), (16, 16, 3), (16, 16, 3)),
    "vector": ((5,), (4,), (6,)),
}
"""Shapes as the first, second and third modality: no two alike, all series on one time axis."""

ENCODERS: dict[str, Any] = {
    "dim": 16,
    "layer_norm": False,
    "options": {
        "series": {"width": 8, "dense": 16},
        "image": {"model": CNN.name},
        "vector": {"width": 8},
    },
}
"""No layer normalisation: it would pass a gradient on to features that nothing reads."""


@dataclass(frozen=True)
class Combination:
    """A kind of task on modalities of some kinds."""

    task: TaskKind
    kinds: tuple[ModalityKind, ...]

    def __str__(self) -> str:
        return f"{self.task} from {' + '.join(self.kinds)}"

    @property
    def modalities(self) -> dict[str, ModalitySpec]:
        """m1, m2, ..., each of another shape."""
        specs = {}
        for i, kind in enumerate(self.kinds):
            shape = SHAPES[kind][i]
            channels = tuple(f"c{c}" for c in range(shape[-1]))
            specs[f"m{i + 1}"] = ModalitySpec(f"m{i + 1}", kind, shape, channels, "1")
        return specs

    @property
    def problem(self) -> TaskSpec:
        """The task, not fitted to any target yet."""
        outputs = OUTPUTS[self.task]
        return TaskSpec(self.task, outputs, tuple(f"k{k}" for k in range(outputs)))


MIXTURES: tuple[tuple[ModalityKind, ...], ...] = (
    ("series", "series"),
    ("image", "image"),
    ("vector", "vector"),
    ("series", "vector", "series"),
    ("image", "series", "vector"),
    ("vector", "series", "vector"),
)
"""Two modalities of one kind and three of several, each kind in the lead once."""

COMBINATIONS = tuple(Combination(task, kinds) for task in TASKS for kinds in MIXTURES)


def easy(
    combination: Combination, train: int = 64, val: int = 24, test: int = 32, seed: int = 0
) -> EODataset:
    """A dataset whose target can be read from the channels of every modality.

    The split is official, so that targets cannot decide which samples are in which part. Groups
    are of two samples of a part, for losses that leave a sample's group out.
    """
    rng = np.random.default_rng(seed)
    specs, task = combination.modalities, combination.problem
    split = np.repeat(["train", "val", "test"], [train, val, test])
    n = len(split)
    if task.is_classification:
        # Every part has all the classes, and about equally many samples of each.
        y = np.concatenate(
            [rng.permutation(np.arange(k) % task.outputs) for k in (train, val, test)]
        )
        code = np.eye(task.outputs)[y]
    elif task.kind == "multilabel":
        y = rng.integers(2, size=(n, task.outputs), dtype=np.uint8)
        code = 2.0 * y - 1
    else:
        code = rng.normal(size=(n, 1))
        y = 100 + 20 * code[:, 0]
    x = {m: _measured(code, spec, rng) for m, spec in specs.items()}
    ids = np.array([f"s{i}" for i in range(n)])
    groups = np.array([f"{part}{i // 2}" for i, part in enumerate(split)])
    return EODataset("made_up", specs, task, x, y, ids, groups, split, "generated", f"{seed:064x}")


def _measured(code: np.ndarray, spec: ModalitySpec, rng: np.random.Generator) -> np.ndarray:
    """What a sensor sees of a code (n, k): a pattern of its own for each of the k, and noise.

    The patterns are orthogonal, over time and channels; in space there is nothing but noise.
    """
    inner = tuple(1 for _ in spec.shape[:-1])
    if spec.kind == "series":
        inner = (spec.shape[0], *inner[1:])
    shape = (*inner, spec.shape[-1])
    size = int(np.prod(shape))
    patterns = np.linalg.qr(rng.normal(size=(size, size)))[0][: code.shape[1]] * size**0.5
    signal = (code @ patterns).reshape(-1, *shape)
    return (3 + 2 * signal + rng.normal(size=(len(code), *spec.shape))).astype(np.float32)


def protocol_values(**changes: Any) -> dict[str, Any]:
    """The protocol of the checks: small batches, few epochs."""
    return {**_quick(), "batch_size": 16, **changes}


@cache
def _quick() -> dict[str, Any]:
    return protocol.load("quick").values_for("made_up")


def spec_of(
    entry: Entry,
    data: EODataset,
    values: Mapping[str, Any],
    hyperparameters: Mapping[str, Any],
) -> RunSpec:
    """The run of a method on a dataset; what is not given of its hyper-parameters is its own."""
    modalities = tuple(data.modalities)
    hyperparameters = {**entry.hyperparameters, **hyperparameters}
    return RunSpec(
        dataset=data.name,
        source=data.source,
        fingerprint=data.fingerprint,
        modalities=modalities,
        method=entry.key,
        version=entry.version,
        hyperparameters=hyperparameters,
        artefacts=resolve_artefacts(entry, modalities, hyperparameters),
        encoders=ENCODERS,
        precision="float32",
        protocol=values,
        fold=0,
        seed=0,
    )
