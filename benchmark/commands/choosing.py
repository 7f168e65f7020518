"""What the names of a command mean: datasets, methods, device, arithmetic, number of replicas."""

from __future__ import annotations

import argparse
import fnmatch
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import UserError, unknown
from benchmark.writers import sweep

if TYPE_CHECKING:
    from benchmark.executors.slurm import Request
    from benchmark.planning.protocol import Protocol
    from benchmark.planning.settings import Variants
    from datasets.common.contract import EODataset
    from methods.common.registry import Entry

MOST_REPLICAS = 32
"""With ``--replicas auto``; fewer where the memory does not hold them."""


def load_plugins(files: Sequence[Path]) -> None:
    """Load the user's files, which may build on any method, dataset or encoder that there is."""
    if files:
        import datasets
        import methods

        datasets.load()
        methods.load(files)


def prepare_datasets(
    options: argparse.Namespace, protocol: Protocol
) -> list[tuple[EODataset, Path]]:
    """The chosen datasets, prepared; says on the screen for each whether it is real."""
    import datasets
    from benchmark.planning import protocol as protocols
    from benchmark.planning.data import prepare
    from datasets.common import prepared

    chosen = datasets.choose(options.datasets)
    shipped = datasets.load()
    protocols.check_datasets(protocol, {*shipped, *(adapter.name for adapter in chosen)})
    if any(adapter.root is None for adapter in chosen):
        prepared.check_data_root(options.data_root, shipped.values())
    sweep(options.cache, "*/.*.part")
    result, problems = [], []
    for adapter in chosen:
        try:
            protocols.check_modalities(protocol, adapter.name, adapter.modalities)
            found = prepare(
                adapter,
                options.modalities,
                protocol.view_for(adapter.name),
                options.data_root,
                options.cache,
                named=options.datasets is not None,
                say=print,
            )
            result.append(found)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return result


def choose_methods(options: argparse.Namespace) -> list[Entry]:
    """Entries by name or pattern, in the order of the registry's families."""
    import methods
    from benchmark.terms import FAMILIES

    registry = methods.load(options.plugin)
    wanted: Sequence[str] = options.methods or ("*",)
    for pattern in wanted:
        if not fnmatch.filter(registry, pattern):
            raise unknown("method", pattern, registry)
    chosen = [e for e in registry.values() if any(fnmatch.fnmatch(e.key, p) for p in wanted)]
    return sorted(chosen, key=lambda e: (FAMILIES.index(e.family), e.key))


def choose_variants(options: argparse.Namespace, protocol: Protocol) -> Variants:
    """What runs have in place of the defaults, by --set or --hparams.

    Where no methods are named, they are those that are set, or those of the file on its datasets.
    """
    import datasets
    import methods
    from benchmark.planning import chosen
    from benchmark.planning.settings import by_hand, parse

    registry = methods.load(options.plugin)
    if options.hparams is None:
        assigned = parse(options.set, registry)
        for method in assigned:
            if options.methods and not any(fnmatch.fnmatch(method, p) for p in options.methods):
                raise UserError(
                    f"--set {method}.…: {method} is not among the methods that run; add it to "
                    "--methods"
                )
        if assigned and options.methods is None and not options.all:
            options.methods = tuple(assigned)
        return by_hand(assigned)
    found = chosen.Chosen(options.hparams, chosen.read(options.hparams, registry), protocol)
    if options.datasets is None:
        options.datasets = tuple(dict.fromkeys(choice.dataset for choice in found.choices))
    if options.methods is None:
        names = [adapter.name for adapter in datasets.choose(options.datasets)]
        options.methods = tuple(found.methods(names))
    return found


YARDSTICKS = ("constant", "forest")
"""Methods without a network: what a net has to be better than."""


def with_yardsticks(chosen: list[Entry], protocol: Protocol) -> list[Entry]:
    """The chosen entries, and the yardsticks where there is something to measure.

    That is the reference of all gains, `single`, or anything that is no control. Says on the screen
    what was added. What a protocol does not run is not added.
    """
    from benchmark.terms import FAMILIES
    from methods.common.registry import REGISTRY

    if not any(entry.key == "single" or entry.role != "control" for entry in chosen):
        return chosen
    added = [
        REGISTRY[key]
        for key in YARDSTICKS
        if protocol.applies_to(key) and REGISTRY[key] not in chosen
    ]
    if added:
        names, several = " and ".join(e.key for e in added), len(added) > 1
        print(
            f"{names} {'run' if several else 'runs'} too: a network that does not beat "
            f"{'them' if several else 'it'} has learnt nothing that needs a network"
        )
    return sorted([*chosen, *added], key=lambda e: (FAMILIES.index(e.family), e.key))


def choose_device(options: argparse.Namespace, request: Request | None) -> str:
    """The device that runs are executed on; it is tried where that is this machine."""
    import torch

    from benchmark.training.execute import AVAILABLE

    name = options.device
    if name == "auto":
        if request is not None:
            return "cuda" if request.asks_for_gpu else "cpu"
        return "cuda" if torch.cuda.is_available() else "cpu"
    match = re.fullmatch(r"(cpu|mps|cuda)|(cuda):\d+", name)
    if not match:
        raise UserError(
            f"--device {name}: no run can be executed there; known: auto, cpu, cuda, cuda:N (the "
            "card of that number) and mps"
        )
    if is_here(options):
        if not AVAILABLE[match[1] or match[2]]():
            raise UserError(f"--device {name}: cannot be used here (torch finds no such device)")
        try:
            torch.empty(0, device=name)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"--device {name}: cannot be used here ({reason})") from error
    return name


def is_here(options: argparse.Namespace) -> bool:
    """Whether runs are executed on this machine, so that it shows what is possible there."""
    return options.executor != "slurm" and options.dask_address is None


def check_arithmetic(options: argparse.Namespace, device: str, *, here: bool) -> None:
    """Raise `UserError` for a precision or a compiler that the device or the machine lacks."""
    import torch

    cuda = torch.device(device).type == "cuda"
    if options.precision == "tf32" and not (
        cuda and (not here or torch.cuda.get_device_capability(device) >= (8, 0))
    ):
        raise UserError(f"--precision tf32: '{device}' has none (NVIDIA GPUs from Ampere on have)")
    if (
        options.compile
        and here
        and not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++")))
    ):
        raise UserError("--compile: there is no C++ compiler on this machine (c++, g++ or $CXX)")


def choose_replicas(options: argparse.Namespace, device: str) -> int:
    """How many runs are trained at once."""
    if options.replicas is None:
        return MOST_REPLICAS if device.startswith("cuda") else 1
    return options.replicas
