"""`check --dataset` and `check --encoder`: what methods are given, as a table and sentences."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from benchmark.errors import UserError

if TYPE_CHECKING:
    from benchmark.conformance.finding import Finding

Named = Iterator[tuple[str, "Iterable[Finding]"]]


def check_inputs(options: argparse.Namespace) -> int:
    """Check datasets and encoders by name, print what was found; 1 if one does not conform."""
    from tabulate import tabulate

    if options.methods or options.all:
        raise UserError("check methods in one command, --dataset and --encoder in another")
    started = time.perf_counter()
    rows, faults, failed = [], [], []
    for name, findings in (*_datasets(options), *_encoders(options)):
        row = {"name": name}
        for finding in findings:
            print(f"{name}: {finding.check}", file=sys.stderr, flush=True)
            row[finding.check] = f"{len(finding.faults)} faults" if finding.faults else "passed"
            if finding.not_checked:
                row[finding.check] = "-"
                faults.append(f"{name}, {finding.check}: not checked: {finding.not_checked}")
            faults += [f"{name}, {finding.check}: {fault}" for fault in finding.faults]
        rows.append(row)
        if any(cell.endswith("faults") for cell in row.values()):
            failed.append(name)
    print(tabulate(rows, headers="keys", tablefmt="simple"))
    for fault in faults:
        print(f"\n{fault}")
    print(
        f"\n{len(rows) - len(failed)} of {len(rows)} conform "
        f"({time.perf_counter() - started:.0f} s)"
        + (f"; not: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


def _datasets(options: argparse.Namespace) -> Named:
    if not options.dataset:
        return
    import datasets
    from benchmark.planning import protocol as protocols
    from datasets.common import prepared

    protocol = protocols.load(options.protocol)
    chosen = datasets.choose(options.dataset)
    if any(adapter.root is None for adapter in chosen):
        prepared.check_data_root(options.data_root, datasets.load().values())
    from benchmark.conformance import datasets as checks

    for adapter in chosen:
        name = adapter.name
        native, source, notice = prepared.resolve(
            adapter, options.data_root, options.cache, named=True
        )
        print(f"{name}: {notice or f'{source.upper()} data in {native}'}")
        yield name, checks.check(adapter, native, source, protocol)


def _encoders(options: argparse.Namespace) -> Named:
    if not options.encoder:
        return
    import methods
    from benchmark.conformance import encoders as checks
    from benchmark.problem import ModalitySpec
    from methods.common.encoders import BACKBONES, MODEL, UNNAMED

    methods.load()
    for name in options.encoder:
        if name in BACKBONES:
            yield name, checks.check(BACKBONES[name])
        else:  # a model of timm, or nothing
            timm = BACKBONES[UNNAMED["image"]]
            timm.build(ModalitySpec(name, "image", (32, 32, 1), ("c",), "1"), model=name)
            yield name, checks.check(timm, {MODEL: name})
