"""`verify`: every score of every record computed anew from its predictions and the data at hand."""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import records
from benchmark.errors import UserError
from benchmark.merging import merged

if TYPE_CHECKING:
    from benchmark.planning.split import Fold
    from benchmark.records import Record
    from datasets.common.contract import EODataset

RELATIVE, ABSOLUTE = 1e-6, 1e-9
"""How far rounding may move a score from one version of a library to the next."""


def verify(options: argparse.Namespace) -> int:
    """Name every record whose scores are not those of its predictions on the data at hand.

    Data are looked for, by fingerprint, among what is prepared in the cache; nothing is prepared
    here. Returns 0 if all records that have scores were verified, else 1. What it cannot show is
    whether predictions came from the method that a record names: for that, run it again.
    """
    with merged([options.results]) as results:
        return _verify(results, options)


def _verify(results: Path, options: argparse.Namespace) -> int:
    from tqdm import tqdm

    paths = records.files(results)
    if not paths:
        raise records.none_there(results)
    wrong: list[str] = []
    unknown: Counter[str] = Counter()
    verified = scoreless = 0
    for path in tqdm(paths, unit="record"):
        try:
            record = records.read(path)
        except UserError as error:
            wrong.append(str(error))
            continue
        if record.status != "done":
            scoreless += 1
            continue
        if lack := _lack(record, path, options.cache):
            unknown[lack] += 1
            continue
        found = list(_faults(record, results, options.cache))
        wrong += [f"{path}: {fault}" for fault in found]
        verified += not found
    for fault in wrong:
        print(f"wrong: {fault.replace(str(results), str(options.results))}")
    for lack, n in unknown.items():
        print(f"not verified: {n} records: {lack}")
    print(
        f"{len(paths)} records: {verified} verified, "
        f"{len(paths) - verified - scoreless - unknown.total()} wrong, {unknown.total()} not "
        f"verified, {scoreless} without scores"
    )
    return 1 if wrong or unknown else 0


def _lack(record: Record, path: Path, cache: Path) -> str | None:
    """What is missing to verify a record, or None."""
    spec = record.spec
    if not path.with_suffix(".npz").exists():
        return "their predictions are not beside them"
    if _data(cache, spec.fingerprint) is None:
        return (
            f"{spec.source} data of {spec.dataset}, fingerprint {spec.fingerprint[:12]}, are not "
            f"prepared in {cache}: `data prepare --datasets {spec.dataset} --modalities "
            f"{','.join(spec.modalities)} --protocol {spec.protocol.get('name')}` with the same "
            "files does that"
        )
    return None


def _faults(record: Record, results: Path, cache: Path) -> Iterator[str]:
    """In what a record contradicts its predictions and the targets, one sentence each."""
    from benchmark.metrics import score

    spec = record.spec
    dataset = _data(cache, spec.fingerprint)
    try:
        ids, predictions = records.read_predictions(record, results)
        protocol = json.dumps(dict(spec.protocol), allow_nan=False)
        fold = _folds(cache, spec.fingerprint, protocol)[spec.fold]
    except UserError as error:
        yield str(error)
        return
    except (KeyError, TypeError, IndexError):
        yield f"the data have no fold {spec.fold} under its protocol"
        return
    if sorted(ids.tolist()) != sorted(dataset.ids[fold.test].tolist()):
        yield f"its predictions are not for the test samples of fold {spec.fold}"
        return
    if predictions.keys() != record.metrics.keys():
        yield "its scores are of other deployments than its predictions"
        return
    places = {sample: place for place, sample in enumerate(dataset.ids.tolist())}
    y = dataset.y[[places[sample] for sample in ids.tolist()]]
    for deployment, prediction in predictions.items():
        try:
            now = score(dataset.task, y, prediction)
        except ValueError as error:
            yield f"{deployment}: {error}"
            continue
        for name, recorded in record.metrics[deployment].items():
            if name not in now:
                yield f"{deployment}: {name} is no metric of a {dataset.task.kind} task"
            elif not _same(recorded, now[name]):
                yield f"{name} of {deployment} is {recorded}; its predictions give {now[name]}"


def _same(recorded: Any, now: Any) -> bool:
    """Whether two values of a metric are equal but for rounding."""
    if isinstance(recorded, list) and isinstance(now, list):
        return len(recorded) == len(now) and all(map(_same, recorded, now))
    if recorded is None or now is None or isinstance(recorded, list) or isinstance(now, list):
        return recorded is now
    return math.isclose(recorded, now, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


@lru_cache(maxsize=8)
def _data(cache: Path, fingerprint: str) -> EODataset | None:
    from datasets.common import prepared

    return prepared.find(cache, fingerprint)


@lru_cache(maxsize=64)
def _folds(cache: Path, fingerprint: str, protocol: str) -> list[Fold]:
    from benchmark.planning.split import folds

    return folds(_data(cache, fingerprint), json.loads(protocol))
