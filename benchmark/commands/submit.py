"""`submit`: the records of a results folder as one checked archive, to be handed on."""

from __future__ import annotations

import argparse
import io
import zipfile
from collections import Counter
from pathlib import Path

from benchmark import records
from benchmark.errors import UserError
from benchmark.writers import atomic

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every member: the same records are the same archive."""


def submit(options: argparse.Namespace) -> int:
    """Write records and predictions as a ZIP file that `report --results` reads.

    Every record is read and held against the digests of what lies beside it first; one that is not
    whole is named, and nothing is written.
    """
    paths = records.files(options.results)
    if not paths:
        raise UserError(f"{options.results}: no records there; --results names their folder")
    members: dict[str, Path] = {}
    problems = []
    counts: Counter[str] = Counter()
    for path in paths:
        try:
            record = records.read(path)
            if fault := records.metrics_fault(record):
                raise UserError(f"{path}: {fault}")
            if record.status == "done":
                records.read_predictions(record, options.results)
        except UserError as error:
            problems.append(str(error))
            continue
        counts[f"{record.spec.dataset} ({record.spec.source})"] += 1
        for beside in (path, path.with_suffix(".npz")):
            if beside.exists():
                members[beside.relative_to(options.results).as_posix()] = beside
    if problems:
        raise UserError("\n".join(problems))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, path in members.items():
            # Predictions are compressed already.
            how = zipfile.ZIP_DEFLATED if path.suffix == ".json" else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(name, EPOCH), path.read_bytes(), how)
    with atomic(options.out) as file:
        file.write(packed.getvalue())
    what = ", ".join(f"{n} of {dataset}" for dataset, n in sorted(counts.items()))
    print(f"wrote {options.out}: {len(paths)} records, {what}; {len(packed.getvalue()):,} bytes")
    return 0
