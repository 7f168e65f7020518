"""Methods built without the harness, their artefacts untrained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from benchmark.problem import ModalitySpec, TaskSpec
from methods.common.contract import Method
from methods.common.registry import REGISTRY
from tests import problems


def build(
    key: str, specs: Mapping[str, ModalitySpec], task: TaskSpec, seed: int = 0, **changes: Any
) -> Method:
    """A registered method with some hyper-parameters changed, and artefacts of other weights."""
    entry = REGISTRY[key]
    values = {**entry.hyperparameters, **changes}
    torch.manual_seed(seed)
    method = entry.method(specs, task, problems.encoders(), **values)
    for name, artefact in entry.method.artefacts(tuple(specs), **values).items():
        own = {m: specs[m] for m in artefact.modalities}
        needed = build(artefact.method, own, task, seed + 1000, **artefact.hyperparameters)
        needed.requires_grad_(False).eval()
        method.given[name] = {m: needed.predictor(m) for m in needed.deployed}
    return method
