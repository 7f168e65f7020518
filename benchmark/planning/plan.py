"""From what the user asked for to the list of jobs: all bad input is found here."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmark.errors import UserError, unknown
from benchmark.planning.code import plugin_code
from benchmark.planning.jobs import Job
from benchmark.planning.protocol import Protocol
from benchmark.planning.split import folds
from benchmark.spec import FULL, RunSpec
from datasets.common.contract import EODataset
from methods.common.encoders import (
    KINDS,
    MODEL,
    PLUGIN,
    UNNAMED,
    Backbone,
    Encoders,
    backbone_of,
    pretrained_problem,
)
from methods.common.registry import REGISTRY, Entry

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Planned:
    """A job, and the reason why it does not apply, if it doesn't."""

    job: Job
    not_applicable: str | None = None


def plan(
    datasets: Sequence[tuple[EODataset, Path]],
    methods: Sequence[Entry],
    protocol: Protocol,
    *,
    chosen_folds: Sequence[int] | None,
    seeds: Sequence[int] | None,
    results: Path,
    device: str,
    plugins: tuple[Path, ...],
    timeout: float | None = None,
    keep_features: bool = False,
    precision: str = FULL,
    compiled: bool = False,
    placebo: bool = False,
) -> list[Planned]:
    """One job for every dataset, method, fold and seed.

    datasets: with the folder of their prepared arrays. placebo: as many jobs more for each modality
    that may be deployed, unless `no_placebo` says why not. Methods go before folds, so that
    parallel workers are on different folds and do not train the same artefact at the same time.
    Raises `UserError` listing everything that is wrong; nothing has been trained then.
    """
    _check_names(protocol)
    planned: list[Planned] = []
    problems: list[str] = []
    for dataset, prepared in datasets:
        try:
            numbers = _chosen(dataset, protocol, chosen_folds)
            encoders = encoders_of(dataset, protocol)
        except UserError as error:
            problems.append(str(error))
            continue
        official = dataset.split is not None
        repetitions = seeds or (range(protocol.repetitions) if official else (0,))
        for entry in methods:
            spec = _spec(dataset, entry, protocol, encoders)
            spec = replace(spec, precision=precision, compiled=compiled)
            reason = _reason(entry, dataset, protocol)
            specs = [spec]
            if placebo and not (reason or no_placebo(entry)):
                specs += [replace(spec, placebo=m) for m in dataset.modalities]
            for each, fold, seed in product(specs, numbers, repetitions):
                job = Job(
                    replace(each, fold=fold, seed=seed),
                    prepared,
                    results,
                    device,
                    plugins,
                    timeout,
                    keep_features,
                    standing=protocol.standing_for(dataset.name),
                )
                planned.append(Planned(job, reason))
    if problems:
        raise UserError("\n".join(problems))
    return planned


def _check_names(protocol: Protocol) -> None:
    """Raise `UserError` for a name in the protocol that no method and no encoder has."""
    for pattern in protocol.methods:
        if not any(fnmatchcase(key, pattern) for key in REGISTRY):
            error = unknown("method", pattern, REGISTRY)
            raise UserError(f"protocol '{protocol.name}', methods: {error} (--plugin names a file)")
    for kind in KINDS:
        _backbone(protocol, kind)


def _backbone(protocol: Protocol, kind: str) -> tuple[Backbone, dict[str, Any]]:
    """What encodes a kind under a protocol, and its options; `UserError` if there is none."""
    try:
        backbone, options = backbone_of(kind, protocol.encoders[kind])
        backbone.check(options)
    except UserError as error:
        raise UserError(f"protocol '{protocol.name}', encoders.{kind}: {error}") from error
    return backbone, options


def no_placebo(entry: Entry) -> str | None:
    """Why a wrong partner tells nothing of a method, or None."""
    return {
        "control": "sees one modality alone",
        "bound": "has all modalities at inference",
    }.get(entry.role)


def _chosen(dataset: EODataset, protocol: Protocol, chosen: Sequence[int] | None) -> list[int]:
    available = range(len(folds(dataset, protocol.values_for(dataset.name))))
    if dataset.split is None and len(available) < protocol.folds:
        log.warning(
            "%s: %d groups for %d folds: one group a fold",
            dataset.name,
            len(available),
            protocol.folds,
        )
    if chosen is None:
        return list(available)
    if dataset.split is not None:
        if set(chosen) != set(available):
            log.warning("%s: has one split, its publishers'; --folds does not apply", dataset.name)
        return list(available)
    if not set(chosen) <= set(available):
        raise UserError(
            f"{dataset.name}: protocol '{protocol.name}' has folds 0 to {len(available) - 1}; "
            f"asked for {', '.join(map(str, chosen))}"
        )
    return sorted(set(chosen))


def _reason(entry: Entry, dataset: EODataset, protocol: Protocol) -> str | None:
    if not protocol.applies_to(entry.key):
        return f"protocol '{protocol.name}' is for {', '.join(protocol.methods)} only"
    return entry.applicable(dataset.modalities, dataset.task)


def encoders_of(dataset: EODataset, protocol: Protocol) -> dict[str, Any]:
    """The protocol's encoders; pretrained weights that cannot be had are turned off, and said so.

    The spec, and with it the id, the record and the heading of every table, states what was used.
    Raises `UserError` if they cannot be built, or not for the shapes of the dataset.
    """
    kinds = {spec.kind for spec in dataset.modalities.values()}
    encoders = protocol.encoders_for(dataset.name, kinds)
    encoders["options"] = {kind: _options(protocol, kind) for kind in sorted(kinds)}
    _try_encoders(dataset, protocol, encoders)
    image = encoders["options"].get("image", {})
    wanted = image.get("pretrained") and _is_of_timm(image)
    if wanted and (problem := pretrained_problem(image["model"])):
        log.warning("%s: images are encoded from random weights: %s", dataset.name, problem)
        image["pretrained"] = False
    return encoders


def _options(protocol: Protocol, kind: str) -> dict[str, Any]:
    """The options of a kind as they enter an id: with the code of a plug-in, if it is one.

    The built-in encoder is the same whether it is named or not.
    """
    backbone, options = _backbone(protocol, kind)
    if backbone.name == UNNAMED[kind]:
        return options
    code = plugin_code(backbone)
    return {MODEL: backbone.name, **options, **({PLUGIN: code} if code else {})}


def _is_of_timm(image: Mapping[str, Any]) -> bool:
    return backbone_of("image", image)[0].name == UNNAMED["image"]


def _try_encoders(dataset: EODataset, protocol: Protocol, encoders: dict[str, Any]) -> None:
    """Encode two samples of each modality: what cannot be done is told before any run begins."""
    options = {
        kind: {**given, "pretrained": False} if kind == "image" and _is_of_timm(given) else given
        for kind, given in encoders["options"].items()
    }
    encoder = Encoders(**{**encoders, "options": options})
    for m, spec in dataset.modalities.items():
        try:
            with torch.no_grad():
                encoder(spec).eval()(torch.zeros(2, *spec.shape))
        except Exception as error:  # whatever torch and timm make of options that are not theirs
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"protocol '{protocol.name}', encoders.{spec.kind}: {m} of {dataset.name} cannot "
                f"be encoded so ({reason})"
            ) from error


def _spec(
    dataset: EODataset, entry: Entry, protocol: Protocol, encoders: dict[str, Any]
) -> RunSpec:
    modalities = tuple(dataset.modalities)
    return RunSpec(
        dataset=dataset.name,
        source=dataset.source,
        fingerprint=dataset.fingerprint,
        modalities=modalities,
        method=entry.key,
        version=entry.version,
        hyperparameters=entry.hyperparameters,
        artefacts=resolve_artefacts(entry, modalities, entry.hyperparameters),
        encoders=encoders,
        precision=FULL,
        protocol=protocol.values_for(dataset.name),
        fold=0,
        seed=0,
        plugin=plugin_code(entry),
    )


def resolve_artefacts(
    entry: Entry, modalities: tuple[str, ...], hyperparameters: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The artefacts of a method as plain values, all the way down: part of a run's id."""
    resolved = {}
    for name, artefact in entry.method.artefacts(modalities, **hyperparameters).items():
        needed = REGISTRY[artefact.method]
        values = {**needed.hyperparameters, **artefact.hyperparameters}
        resolved[name] = {
            "method": needed.key,
            "version": needed.version,
            "modalities": list(artefact.modalities),
            "hyperparameters": values,
            "stream": artefact.stream,
            "artefacts": resolve_artefacts(needed, artefact.modalities, values),
        }
        if code := plugin_code(needed):
            resolved[name]["plugin"] = code
    return resolved
