"""`score`: predictions that were made elsewhere, by our metrics on our folds."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.errors import UserError, unknown
from benchmark.terms import EXTERNAL

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.planning.split import Fold
    from benchmark.problem import TaskSpec
    from benchmark.records import Record
    from benchmark.spec import RunSpec
    from datasets.common.contract import EODataset

Run = tuple[int, int]
"""Fold and seed."""

OFF_ONE = 1e-3
"""How far the probabilities of a sample may be from a sum of 1: they were rounded on the way."""


def score(options: argparse.Namespace) -> int:
    """Score a CSV of predictions, record what came of it, then report.

    Columns: ``fold`` and ``id``, as `folds export` writes them; ``modality`` unless --modality says
    what was deployed; ``seed`` where there are several; and ``prediction`` in the target's unit, or
    a probability by the name of each class. The samples of a test part are all there or none. A
    fold that is not there lacks in the tables, and whoever lacks one is in no test.
    """
    from benchmark import records
    from benchmark.commands.choosing import prepare_datasets
    from benchmark.commands.report import report_all
    from benchmark.merging import check_not_packed
    from benchmark.planning import protocol as protocols
    from benchmark.planning.encoders import resolve
    from benchmark.planning.split import folds
    from benchmark.spec import FULL, RunSpec

    _check_order(options)
    _check_name(options)
    check_not_packed(options.results)
    protocol = protocols.load(options.protocol)
    options.datasets = (options.dataset,)
    ((dataset, _),) = prepare_datasets(options, protocol)
    values = protocol.values_for(dataset.name)
    parts = folds(dataset, values)
    table = _table(options.file, options.modality, dataset)
    export = f"{shlex.quote(options.dataset)} --protocol {shlex.quote(options.protocol)}"
    found = _by_run(options.file, table, dataset, parts, protocol.name, export)
    specs = {
        (fold, seed): RunSpec(
            dataset=dataset.name,
            source=dataset.source,
            fingerprint=dataset.fingerprint,
            modalities=tuple(dataset.modalities),
            method=options.name,
            version=1,
            hyperparameters={},
            artefacts={},
            encoders=resolve(dataset, protocol)[0],
            precision=FULL,
            protocol=values,
            fold=fold,
            seed=seed,
            plugin=hashlib.sha256(options.file.read_bytes()).hexdigest(),
        )
        for fold, seed in found
    }
    standing = protocol.standing_for(dataset.name)
    for run, predictions in found.items():
        fold = parts[run[0]]
        record = _record(specs[run], standing, options.reference, dataset, fold, predictions)
        arrays = {"ids": dataset.ids[fold.test], **predictions}
        records.write(record, arrays, options.results)
    lacking = [fold.number for fold in parts if all(fold.number != number for number, _ in found)]
    without = f"; none for fold {', '.join(map(str, lacking))}" if lacking else ""
    runs = f"{len(found)} run{'s' * (len(found) != 1)} (one a fold and seed)"
    print(f"{options.name}: predictions of {runs} were scored, protocol '{protocol.name}'{without}")
    report_all(options, {spec.id for spec in specs.values()})
    return 0


def _check_order(options: argparse.Namespace) -> None:
    import datasets

    if str(options.file) in datasets.load() or Path(options.dataset).suffix.lower() == ".csv":
        raise UserError(
            f"score {options.file} {options.dataset}: the CSV file of predictions goes first, and "
            "the dataset (its name, or its description in YAML) second"
        )


def _check_name(options: argparse.Namespace) -> None:
    import methods
    from methods.common.registry import KEY, KEY_RULE

    if not KEY.fullmatch(options.name):
        raise UserError(f"--as {options.name}: {KEY_RULE}")
    if options.name in methods.load():
        raise UserError(f"--as {options.name}: is a method of this benchmark; choose another name")


def _columns(task: TaskSpec) -> tuple[str, ...]:
    """The columns that predictions stand in."""
    return ("prediction",) if task.kind == "regression" else task.class_names


def _table(path: Path, modality: str | None, dataset: EODataset) -> pd.DataFrame:
    """id, modality, seed and the predictions (float64), checked row by row."""
    import pandas as pd

    try:
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True
        )
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{path}: is no CSV file ({str(error).strip()})") from error
    if table.empty:
        raise UserError(
            f"{path}: has no rows; give one for each test sample (`folds export` lists them)"
        )
    columns = _columns(dataset.task)
    known = ("fold", "id", "seed", "modality", *columns)
    if dataset.task.is_classification:
        known += ("predicted",)  # which `predict` writes beside the probabilities it follows from
    for name in table.columns:
        if name not in known:
            raise UserError(f"{path}: {unknown('column', name, known)}")
    if lacking := [name for name in ("fold", "id", *columns) if name not in table.columns]:
        raise UserError(f"{path}: lacks the column {', '.join(lacking)}")
    if ("modality" in table.columns) == (modality is not None):
        raise UserError(
            f"{path}: say which modality was deployed, by a column 'modality' or by --modality, "
            "and not by both"
        )
    if modality is not None:
        table["modality"] = modality
    for m in table["modality"].unique():
        if m not in dataset.modalities:
            raise UserError(
                f"{path}: {unknown(f'modality of {dataset.name}', m, dataset.modalities)}"
            )
    seeds = table["seed"] if "seed" in table.columns else pd.Series("0", index=table.index)
    if not seeds.str.fullmatch(r"\d{1,9}").all():
        raise UserError(f"{path}: a seed is a whole number from 0")
    table["seed"] = seeds.astype(int)
    for name in columns:
        numbers = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
        odd = ~np.isfinite(numbers)
        if dataset.task.kind != "regression":
            odd |= (numbers < 0) | (numbers > 1)
        if odd.any():
            row = int(np.flatnonzero(odd)[0])
            what = "number" if dataset.task.kind == "regression" else "probability"
            raise UserError(
                f"{path}: {odd.sum()} of {len(table)} values of '{name}' are no {what}; the first "
                f"is {table[name][row]!r:.40} in row {row + 2}"
            )
        table[name] = numbers
    if dataset.task.is_classification:
        sums = table[list(columns)].sum(axis=1).to_numpy()
        off = np.abs(sums - 1) > OFF_ONE
        if off.any():
            row = int(np.flatnonzero(off)[0])
            raise UserError(
                f"{path}: the probabilities of {off.sum()} of {len(table)} rows do not add up to "
                f"1; the first are {sums[row]:.4g} in row {row + 2}"
            )
    return table


def _by_run(
    path: Path,
    table: pd.DataFrame,
    dataset: EODataset,
    parts: Sequence[Fold],
    protocol: str,
    export: str,
) -> dict[Run, dict[str, np.ndarray]]:
    """(fold, seed) → modality → predictions in the order of the fold's test part.

    export: what `folds export` is given to write the ids that can be here.
    """
    fold_of = {dataset.ids[i]: fold.number for fold in parts for i in fold.test}
    foreign = [sample for sample in table["id"] if sample not in fold_of]
    if foreign:
        raise UserError(
            f"{path}: {len(foreign)} of {len(table)} ids are in no test part of {dataset.name}; "
            f"the first is '{foreign[0]}' (`folds export {export}` lists them)"
        )
    folds_of_rows = table["id"].map(fold_of)
    other = table["fold"] != folds_of_rows.astype(str)
    if other.any():
        row = int(np.flatnonzero(other)[0])
        raise UserError(
            f"{path}: '{table['id'][row]}' is said to be tested in fold {table['fold'][row]}, and "
            f"protocol '{protocol}' tests it in fold {folds_of_rows[row]}; --protocol names the "
            "one whose folds the predictions were made on"
        )
    twice = table.duplicated(["id", "modality", "seed"])
    if twice.any():
        raise UserError(
            f"{path}: '{table['id'][twice.idxmax()]}' stands twice for one modality and seed"
        )
    columns = list(_columns(dataset.task))
    found: dict[Run, dict[str, np.ndarray]] = {}
    table["fold"] = folds_of_rows
    for (fold, seed, m), rows in table.groupby(["fold", "seed", "modality"]):
        wanted = dataset.ids[parts[fold].test]
        rows = rows.set_index("id")
        lacking = [sample for sample in wanted if sample not in rows.index]
        if lacking:
            raise UserError(
                f"{path}: {len(lacking)} of the {len(wanted)} test samples of fold {fold} have no "
                f"prediction from {m} with seed {seed}; the first is '{lacking[0]}'"
            )
        values = rows.loc[list(wanted), columns].to_numpy(np.float32)
        found.setdefault((fold, seed), {})[m] = values if len(columns) > 1 else values[:, 0]
    deployed = {tuple(sorted(predictions)) for predictions in found.values()}
    if len(deployed) > 1:
        raise UserError(
            f"{path}: not every fold and seed has predictions from the same modalities "
            f"({' / '.join(' + '.join(each) for each in sorted(deployed))})"
        )
    return found


def _record(
    spec: RunSpec,
    standing: Mapping,
    reference: str,
    dataset: EODataset,
    fold: Fold,
    predictions: Mapping[str, np.ndarray],
) -> Record:
    from benchmark.metrics import score as scores
    from benchmark.records import Record
    from benchmark.training.execute import facts_of

    y = dataset.y[fold.test]
    return Record(
        id=spec.id,
        spec=spec,
        status="done",
        entry={
            "family": EXTERNAL,
            "role": "method",
            "defaults_from": "",
            "defaults_for": [],
            "reference": reference,
        },
        data=facts_of(dataset, fold),
        metrics={m: scores(dataset.task, y, p) for m, p in predictions.items()},
        standing=standing,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
    )
