"""`submit`: the records of a results folder as one checked archive, to be handed on."""

from __future__ import annotations

import argparse
import io
import zipfile
from collections import Counter
from pathlib import Path

from benchmark import records
from benchmark.errors import UserError
from benchmark.merging import merged
from benchmark.records import Record
from benchmark.writers import atomic

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every member: the same records are the same archive."""


def submit(options: argparse.Namespace) -> int:
    """Write records and predictions as a ZIP file that `report --results` reads.

    Every record is read and held against the digests of what lies beside it first; one that is not
    whole is named, and nothing is written.
    """
    packed = io.BytesIO()
    counts: Counter[str] = Counter()
    with merged([options.results]) as results:
        found = whole_records(results)
        with zipfile.ZipFile(packed, "w") as archive:
            for record, files in found:
                counts[f"{record.spec.dataset} ({record.spec.source})"] += 1
                for path in files:
                    # Predictions are compressed already.
                    how = zipfile.ZIP_DEFLATED if path.suffix == ".json" else zipfile.ZIP_STORED
                    name = path.relative_to(results).as_posix()
                    archive.writestr(zipfile.ZipInfo(name, EPOCH), path.read_bytes(), how)
    with atomic(options.out) as file:
        file.write(packed.getvalue())
    what = ", ".join(f"{n} of {dataset}" for dataset, n in sorted(counts.items()))
    print(f"wrote {options.out}: {len(found)} records, {what}; {len(packed.getvalue()):,} bytes")
    return 0


def whole_records(results: Path, *, shown: bool = True) -> list[tuple[Record, list[Path]]]:
    """Every record of a results folder with its files, held against its digests.

    shown: as it is handed on: those of runs alone, and each that is done with its predictions.
    Otherwise trials, too, and predictions where they are. Raises `UserError` that names every
    record that is not whole, or if there is none.
    """
    paths = records.files(results)
    if not paths:
        raise records.none_there(results)
    found: list[tuple[Record, list[Path]]] = []
    problems = []
    for path in [*paths, *(() if shown else records.files(results, records.TRIALS))]:
        try:
            record = records.read(path)
            if fault := records.metrics_fault(record):
                raise UserError(f"{path}: {fault}")
            if record.status == "done" and (shown or path.with_suffix(".npz").exists()):
                records.read_predictions(record, results)
        except UserError as error:
            problems.append(str(error))
            continue
        beside = (path, path.with_suffix(".npz"))
        found.append((record, [file for file in beside if file.exists()]))
    if problems:
        raise UserError("\n".join(problems))
    return found
