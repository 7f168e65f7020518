"""A method as a spec describes it, untrained: for whoever trains it, or has its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from benchmark.problem import ModalitySpec, TaskSpec
from benchmark.seeds import stream
from benchmark.spec import RunSpec
from benchmark.terms import DROPOUT
from methods.common.contract import Method
from methods.common.encoders import FROZEN, Encoders, backbone_of
from methods.common.registry import REGISTRY


def artefact_spec(spec: RunSpec, name: str) -> RunSpec:
    """The spec of one of a run's artefacts: a value with a key and a seed stream of its own.

    In a placebo, one that sees the intact modality alone is no other than without.
    """
    values = spec.artefacts[name]
    alone = tuple(values["modalities"]) == (spec.placebo,)
    label = ["artefact", values["method"], *values["modalities"], values["stream"]]
    return replace(
        spec,
        modalities=tuple(values["modalities"]),
        method=values["method"],
        version=values["version"],
        hyperparameters=values["hyperparameters"],
        artefacts=values["artefacts"],
        plugin=values.get("plugin", ""),
        stream="/".join(filter(None, label)),
        placebo="" if alone else spec.placebo,
        trial=0,
        tuned={},
        differs={},
    )


def build(spec: RunSpec, modalities: Mapping[str, ModalitySpec], task: TaskSpec) -> Method:
    """The untrained method of a spec, and its artefacts' predictors in `Method.given`.

    modalities holds at least those of the spec. The same spec gives the same initial weights.
    """
    entry = REGISTRY[spec.method]
    seed_generators(stream(spec.stream, spec.seed, spec.fold, "initialisation"))
    specs = {m: modalities[m] for m in spec.modalities}
    method = entry.method(specs, task, encoders_of(spec, specs), **spec.hyperparameters)
    for name in spec.artefacts:
        needed = build(artefact_spec(spec, name), modalities, task)
        method.given[name] = {m: needed.predictor(m) for m in needed.deployed}
    return method


def seed_generators(seed: int) -> None:
    """`torch.manual_seed`, bit for bit.

    Where there is no accelerator that keeps the whole stack for a later one, again and again.
    """
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def encoders_of(spec: RunSpec, modalities: Mapping[str, ModalitySpec]) -> Encoders:
    """The encoder factory of a run, with its own dropout where a trained encoder has one."""
    encoders = spec.encoders_used
    if DROPOUT in spec.training:
        rate = spec.training[DROPOUT]
        own = encoders.get("modalities", {})
        encoders = {
            **encoders,
            "options": {k: _dropping(k, o, rate) for k, o in encoders["options"].items()},
            "modalities": {
                m: _dropping(modalities[m].kind, o, rate) if m in modalities else o
                for m, o in own.items()
            },
        }
    return Encoders(**encoders)


def _dropping(kind: str, options: Mapping[str, Any], rate: float) -> Mapping[str, Any]:
    """The options of an encoder with another dropout, if it has one and is trained."""
    if options.get(FROZEN) or "dropout" not in backbone_of(kind, options)[0].options:
        return options
    return {**options, "dropout": rate}
