"""`folds export`: which samples train, validate and test, for whoever trains elsewhere."""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

from benchmark.writers import atomic


def export(options: argparse.Namespace) -> int:
    """Write the folds of a dataset under a protocol as CSV: fold, part, id, group."""
    from benchmark.commands.choosing import prepare_datasets
    from benchmark.planning import protocol as protocols
    from benchmark.planning.split import folds

    protocol = protocols.load(options.protocol)
    options.datasets = (options.dataset,)
    ((dataset, _),) = prepare_datasets(options, protocol)
    found = folds(dataset, protocol.values_for(dataset.name))
    out = options.out or Path(f"{dataset.name}_{protocol.name}_folds.csv")
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("fold", "part", "id", "group"))
    for fold in found:
        for part in ("train", "val", "test"):
            for i in getattr(fold, part):
                group = "" if dataset.groups is None else dataset.groups[i]
                rows.writerow((fold.number, part, dataset.ids[i], group))
    with atomic(out) as file:
        file.write(text.getvalue().encode())
    print(f"wrote {out}: {len(found)} folds of {len(dataset)} samples")
    return 0
