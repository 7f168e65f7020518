"""From what the user asked for to the list of jobs: all bad input is found here."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

from benchmark.errors import UserError, unknown
from benchmark.planning import encoders
from benchmark.planning.code import plugin_code
from benchmark.planning.jobs import Job
from benchmark.planning.protocol import Protocol
from benchmark.planning.settings import Settings, Variants, apply, by_default
from benchmark.planning.split import few_tested, folds
from benchmark.problem import ModalitySpec
from benchmark.spec import FULL, RunSpec, settings_text
from datasets.common.contract import EODataset
from methods.common.encoders import FROZEN, Encoders
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
    keep_models: Mapping[str, Mapping[str, str]] | None = None,
    precision: str = FULL,
    compiled: bool = False,
    placebo: bool = False,
    variants: Variants = by_default,
) -> list[Planned]:
    """One job for every dataset, method, variant of it, fold and seed.

    datasets: with the folder of their prepared arrays. keep_models: dataset → what kept models say
    of where it comes from; None if none are kept. placebo: as many jobs more for each modality
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
            used, seen = encoders.resolve(dataset, protocol)
        except UserError as error:
            problems.append(str(error))
            continue
        official = dataset.split is not None
        repetitions = seeds or (range(protocol.repetitions) if official else (0,))
        found = [_by_default(dataset, entry, protocol, used, seen) for entry in methods]
        defaults = [
            (entry, replace(spec, precision=precision, compiled=compiled))
            for entry, (spec, *_) in zip(methods, found, strict=True)
        ]
        try:
            variants_of = variants(dataset, defaults)
        except UserError as error:
            problems.append(str(error))
            continue
        for (entry, spec), (_, own, reason), chosen in zip(
            defaults, found, variants_of, strict=True
        ):
            seen_so = replace(dataset, modalities=own)
            twins = [""]
            if placebo and not (reason or no_placebo(entry)):
                twins += dataset.modalities
            try:
                specs = {
                    (variant, fold): _set(spec, entry, variant(fold), dataset)
                    for variant, fold in product(chosen, numbers)
                }
                if not reason:
                    _try_values(entry, dataset, seen_so, specs.values())
            except UserError as error:
                problems.append(str(error))
                continue
            for variant, twin, fold, seed in product(chosen, twins, numbers, repetitions):
                job = Job(
                    replace(specs[variant, fold], placebo=twin, fold=fold, seed=seed),
                    prepared,
                    results,
                    device,
                    plugins,
                    timeout,
                    keep_features,
                    standing=protocol.standing_for(dataset.name),
                    keep_models=None if keep_models is None else keep_models[dataset.name],
                )
                planned.append(Planned(job, reason))
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))  # what is so of several, once
    return planned


def plan_one(dataset: EODataset, entry: Entry, protocol: Protocol, settings: Settings) -> RunSpec:
    """The run of a method on fold 0 with seed 0; whoever wants others of it replaces these.

    Raises `UserError` for all that keeps it from being trained, a method that does not apply, too.
    """
    _check_names(protocol)
    used, seen = encoders.resolve(dataset, protocol)
    spec, own, reason = _by_default(dataset, entry, protocol, used, seen)
    if reason:
        raise UserError(f"{entry.key} on {dataset.name}: not applicable: {reason}")
    spec = _set(spec, entry, settings, dataset)
    _try_values(entry, dataset, replace(dataset, modalities=own), [spec])
    return spec


def _check_names(protocol: Protocol) -> None:
    """Raise `UserError` for a name in the protocol that no method and no encoder has."""
    for pattern in protocol.methods:
        if not any(fnmatchcase(key, pattern) for key in REGISTRY):
            error = unknown("method", pattern, REGISTRY)
            raise UserError(f"protocol '{protocol.name}', methods: {error} (--plugin names a file)")
    encoders.check(protocol)


def no_placebo(entry: Entry) -> str | None:
    """Why a wrong partner tells nothing of a method, or None."""
    return {
        "control": "sees one modality alone",
        "bound": "has all modalities at inference",
    }.get(entry.role)


def _chosen(dataset: EODataset, protocol: Protocol, chosen: Sequence[int] | None) -> list[int]:
    parts = folds(dataset, protocol.values_for(dataset.name))
    available = range(len(parts))
    if few := few_tested(parts if chosen is None else [f for f in parts if f.number in chosen]):
        log.warning("%s: %s", dataset.name, few)
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


def _by_default(
    dataset: EODataset,
    entry: Entry,
    protocol: Protocol,
    used: dict[str, Any],
    seen: dict[str, ModalitySpec],
) -> tuple[RunSpec, dict[str, ModalitySpec], str | None]:
    """The run by default, the modalities as its method sees them, and why it does not apply.

    used, seen: of the protocol's encoders, in whose place a method may bring its own.
    """
    spec = _spec(dataset, entry, protocol, used)
    if not protocol.applies_to(entry.key):
        reason = f"protocol '{protocol.name}' is for {', '.join(protocol.methods)} only"
        return spec, seen, reason
    if entry.encoder:
        try:
            own, seen = encoders.brought(dataset, {**entry.encoder, FROZEN: True})
        except UserError as error:
            return spec, seen, str(error)
        spec = replace(spec, brought=own)
    return spec, seen, entry.applicable(seen, dataset.task)


def _spec(dataset: EODataset, entry: Entry, protocol: Protocol, used: dict[str, Any]) -> RunSpec:
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
        encoders=used,
        precision=FULL,
        protocol=protocol.values_for(dataset.name),
        fold=0,
        seed=0,
        plugin=plugin_code(entry),
    )


def _set(spec: RunSpec, entry: Entry, settings: Settings, dataset: EODataset) -> RunSpec:
    """The spec with settings, and with the artefacts that a method with such values needs."""
    spec = apply(spec, entry, settings, dataset)
    if not spec.differs.keys() & entry.hyperparameters.keys():
        return spec
    artefacts = resolve_artefacts(entry, spec.modalities, spec.hyperparameters)
    return replace(spec, artefacts=artefacts)


def _try_values(
    entry: Entry, dataset: EODataset, seen: EODataset, specs: Iterable[RunSpec]
) -> None:
    """Build a method with its values: what it does not take is told before any run begins.

    seen: the dataset as methods see it. Trials are left out: what is drawn lies within the method's
    own ranges.
    """
    set_by_user = {settings_text(s.differs): s for s in specs if s.differs and not s.trial}
    for text, spec in set_by_user.items():
        factory = Encoders(**encoders.without_weights(spec.encoders_used, dataset.modalities))
        try:
            entry.method(seen.modalities, dataset.task, factory, **spec.hyperparameters)
        except Exception as error:  # whatever a method makes of values that are not its own
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise UserError(f"{entry.key} ({text}) on {dataset.name}: {reason}") from error


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
