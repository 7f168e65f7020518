"""`train`: one final model, on all samples but a validation part."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.commands.choosing import choose_device, prepare_datasets
from benchmark.errors import UserError, not_writable, unknown
from benchmark.planning import protocol as protocols

if TYPE_CHECKING:
    from benchmark.planning.protocol import Protocol
    from benchmark.spec import RunSpec
    from datasets.common.contract import EODataset
    from methods.common.registry import Entry


def train(options: argparse.Namespace) -> int:
    """Train a method and keep what it deploys, one folder a modality below --out.

    All samples train, but for the validation part that says when to stop; none is left to test on.
    """
    import methods
    from benchmark.deployment.model import packed, write
    from benchmark.planning.split import whole
    from benchmark.training import direct
    from benchmark.training.fit import TrainingError

    protocol = protocols.load(options.protocol)
    registry = methods.load(options.plugin)
    if options.method not in registry:
        raise unknown("method", options.method, registry)
    entry = registry[options.method]
    if options.set and options.hparams:
        raise UserError("--set and --hparams: give values by hand, or those of a file, not both")
    _check_writable(options.out)
    device = choose_device(options, None)
    options.datasets = (options.dataset,)
    ((dataset, _),) = prepare_datasets(options, protocol)
    spec = _planned(options, protocol, entry, dataset)
    deployed = ("all",) if entry.method.sees_all else spec.modalities
    if options.modality not in (None, *deployed):
        raise unknown(f"modality that {entry.key} deploys", options.modality, deployed)
    fold = whole(dataset, spec.protocol)
    seeds = options.seeds
    print(
        f"{spec.row} on {dataset.name}: {len(fold.train)} of {len(dataset)} samples train, "
        f"{len(fold.val)} validate, none tests: what to expect of the model is what `run` "
        f"says of {spec.row} under protocol '{protocol.name}'",
        flush=True,
    )
    view = protocol.view_for(dataset.name)
    try:
        found = direct.train(
            spec, dataset, fold, seeds=seeds, device=device, cache=options.cache, view=view
        )
    except TrainingError as error:
        raise UserError(f"{spec.row} on {dataset.name}: {error}") from error
    for seed, stages in found.logs.items():
        for stage in stages:
            how = f"{stage.epochs} epochs, " if stage.epochs else ""
            print(
                f"seed {seed}: {stage.method} on {' + '.join(stage.modalities)}, stage "
                f"'{stage.stage}': {how}{stage.seconds:.1f} s"
            )
    for m, model in found.models.items():
        if options.modality in (None, m):
            replaced = "; it takes the place of another" if (options.out / m).exists() else ""
            write(packed(model), options.out / m)
            of = f", the mean of {len(seeds)} seeds" if len(seeds) > 1 else ""
            print(f"model: {options.out / m} ({_takes(model.about)}{of}){replaced}")
    return 0


def _takes(about: dict) -> str:
    """What a model takes, in words."""
    parts = [f"{one['name']} {' × '.join(map(str, one['shape']))}" for one in about["inputs"]]
    return " + ".join(parts)


def _planned(
    options: argparse.Namespace, protocol: Protocol, entry: Entry, dataset: EODataset
) -> RunSpec:
    """The run that the model is made like; says which values trials have chosen."""
    from benchmark.planning import chosen
    from benchmark.planning.plan import plan_one
    from benchmark.planning.settings import Settings, idle, parse
    from methods.common.registry import REGISTRY

    if options.hparams:
        found = chosen.Chosen(options.hparams, chosen.read(options.hparams, REGISTRY), protocol)
        by_default = plan_one(dataset, entry, protocol, Settings())
        found.check(dataset, [(entry, by_default)])
        settings, said = found.final(dataset.name, entry)
        print(f"{entry.key}: {said}")
        return plan_one(dataset, entry, protocol, settings)
    assigned = parse(options.set, REGISTRY)
    for method in assigned:
        if method != entry.key:
            raise UserError(f"--set {method}.…: {entry.key} is what is trained")
    values = assigned.get(entry.key, {})
    spec = plan_one(dataset, entry, protocol, Settings(values))
    for name in values:
        if reason := idle(entry, name, dataset, spec.encoders):
            print(f"{entry.key}.{name} {reason}")
    return spec


def _check_writable(out: Path) -> None:
    """Raise `UserError` before anything is trained."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable(out, error, "choose another --out") from error
