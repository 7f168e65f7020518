"""Many records made from the shipped ones, for tests and measurements of the report alone.

    python -m tests.multiply 20000 DIR

A copy has the validation curves, costs and versions of a real record; its scores are those of
seeded random predictions on the four datasets' kinds of task, so that it says `generated`.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import records
from benchmark.metrics import score
from benchmark.problem import TaskSpec
from benchmark.records import Record
from tests.made_up import prediction, prepare, protocol_values, target
from tests.shipped import shipped

CROPS = (
    *("cereals", "vegetables_melons", "fruits_nuts", "oilseeds", "root_tuber"),
    *("beverage_spice", "leguminous", "sugar", "other", "non_crop"),
)
GENERA = (
    *("Abies", "Acer", "Alnus", "Betula", "Cleared", "Fagus", "Fraxinus", "Larix"),
    *("Picea", "Pinus", "Populus", "Prunus", "Pseudotsuga", "Quercus", "Tilia"),
)
DATASETS = {
    "cropharvest_binary": (TaskSpec("binary", 2, ("non-crop", "crop")), ("S1", "S2")),
    "cropharvest_multi": (TaskSpec("multiclass", len(CROPS), CROPS), ("S1", "S2")),
    "lfmc": (TaskSpec("regression", 1, unit="%"), ("S1", "S2")),
    "treesatai_ts": (TaskSpec("multilabel", len(GENERA), GENERA), ("S2", "aerial")),
}
OFFICIAL = "treesatai_ts"
"""The dataset with one official split, whose repetitions are seeds."""

TEMPLATE = "lfmc"
"""The dataset whose shipped records are copied."""

UNITS = 10
"""Folds, or seeds on the official split."""

PLUGINS = {
    "mdico_mine": ("proposed", "method"),
    "align": ("a family of its own", "method"),
    "a_name_that_is_eighty_characters_long_as_somebody_will_surely_give_one_some_day_": (
        "contrastive",
        "method",
    ),
    "kd|cross_50%": ("distillation", "method"),
    "<script>alert(1)<script>": ("contrastive", "method"),
    "single_small": ("control", "control"),
}
"""Methods that no registry has."""


@cache
def entries() -> dict[str, dict[str, str]]:
    """The registry's methods and some more: 50 in all, as records name them."""
    import methods

    found = {
        key: {"family": e.family, "role": e.role, "defaults_from": e.defaults_from, "reference": ""}
        for key, e in methods.load().items()
    }
    for key, (family, role) in PLUGINS.items():
        found[key] = {"family": family, "role": role, "defaults_from": "elsewhere", "reference": ""}
    return found


def multiply(
    out: Path,
    repeats: int = 1,
    *,
    methods: Sequence[str] | None = None,
    datasets: Sequence[str] = tuple(DATASETS),
    samples: int = 200,
    with_predictions: bool = False,
) -> int:
    """Write ``repeats`` records for each method, dataset and unit below ``out``; how many.

    Five seeds come first, then a second protocol. with_predictions: the predictions too, and the
    targets in ``out``/cache.
    """
    known = map(records.read, records.files(shipped()))
    # Of one dataset, whose encoders are the same throughout, so that each copied one is one table.
    templates = [record for record in known if record.spec.dataset == TEMPLATE]
    names = list(entries()) if methods is None else list(methods)
    written = 0
    for dataset in datasets:
        fingerprint = hashlib.sha256(dataset.encode()).hexdigest()
        y = target(DATASETS[dataset][0], np.random.default_rng(0), UNITS * samples)
        if with_predictions:
            ids = np.array([f"{dataset}-{i}" for i in range(len(y))])
            groups = np.array([f"block {i // 20}" for i in range(len(y))])
            prepare(out / "cache", dataset, fingerprint, DATASETS[dataset][0], y, ids, groups)
        for number, method in enumerate(names):
            template = templates[(number * 37) % len(templates)]
            runs = _runs(template, dataset, method, fingerprint, y, samples)
            for record, predictions in _repeated(runs, repeats, dataset):
                _write(record, predictions if with_predictions else None, out)
                written += 1
    return written


def _runs(
    template: Record, dataset: str, method: str, fingerprint: str, y: np.ndarray, samples: int
) -> list[tuple[Record, dict[str, np.ndarray]]]:
    """One record for each unit, with the predictions that it was scored on."""
    problem, modalities = DATASETS[dataset]
    entry = entries()[method]
    deployments = ("all",) if entry["role"] == "bound" else modalities
    found = []
    for unit in range(UNITS):
        # An official split has one test part for all; folds have one each.
        own = np.arange(samples) + (0 if dataset == OFFICIAL else unit * samples)
        predictions: dict[str, np.ndarray] = {}
        for place, deployment in enumerate(deployments):
            rng = np.random.default_rng([zlib.crc32(f"{method} {deployment}".encode()), unit])
            skill = _skill(method, entry["role"]) + 0.5 * place + (deployment == "all")
            predictions[deployment] = prediction(problem, y[own], skill, rng).astype(np.float32)
        spec = replace(
            template.spec,
            dataset=dataset,
            source="real",  # so that a report does all that it can do
            fingerprint=fingerprint,
            modalities=modalities,
            method=method,
            fold=unit,
        )
        metrics = {d: score(problem, y[own], p) for d, p in predictions.items()}
        record = replace(
            template,
            spec=spec,
            entry=entry,
            data={
                **template.data,
                "task": {**asdict(problem), "class_names": list(problem.class_names)},
                "group_kind": "block",
            },
            metrics=metrics,
            metrics_sha256=None,
            stages=[_stage(stage, method, deployments) for stage in template.stages],
            cost=_cost(template, method, deployments),
        )
        ids = np.array([f"{dataset}-{i}" for i in own])
        found.append((record, {"ids": ids, **predictions}))
    return found


def _skill(method: str, role: str) -> float:
    """The same for every dataset: most methods are as good as `single`, some are better."""
    if role == "control":
        return 0.0 if method == "constant" else 1.0
    return 1.0 + 0.5 * (zlib.crc32(method.encode()) % 7 == 0)


def _stage(stage: dict[str, Any], method: str, deployments: Sequence[str]) -> dict[str, Any]:
    curves = list(stage["validation"].values())
    watched = {d: curves[i % len(curves)] for i, d in enumerate(deployments)} if curves else {}
    return {**stage, "method": method, "artefact": False, "validation": watched}


def _cost(template: Record, method: str, deployments: Sequence[str]) -> dict[str, Any]:
    """The template's, times a factor of the method's own."""
    factor = 1 + zlib.crc32(method.encode()) % 40 / 8
    values = dict(template.cost)
    values["seconds"] = values.get("seconds", 1.0) * factor
    values["training_flops"] = int((values.get("training_flops") or 1e11) * factor)
    for name in ("inference_parameters", "inference_flops"):
        first = next(iter(values.get(name, {}).values()), 1000) or 1000
        values[name] = dict.fromkeys(deployments, first)
    return values


def _repeated(
    runs: list[tuple[Record, dict[str, np.ndarray]]], repeats: int, dataset: str
) -> Iterator[tuple[Record, dict[str, np.ndarray]]]:
    """Each run again, as another seed and then under another protocol, with another unit's scores.

    On an official split there is one fold, and every repetition is a seed.
    """
    for repeat in range(repeats):
        seed, protocol = repeat % 5, ("standard", "random")[repeat // 5]
        for unit in range(UNITS):
            record, predictions = runs[(unit + repeat) % UNITS]
            spec = replace(
                record.spec,
                fold=0 if dataset == OFFICIAL else unit,
                seed=UNITS * seed + unit if dataset == OFFICIAL else seed,
                protocol=protocol_values(protocol, dataset),
            )
            yield replace(record, spec=spec, id=spec.id), predictions


def _write(record: Record, predictions: dict[str, np.ndarray] | None, out: Path) -> None:
    """As `benchmark.records.write` does, without waiting for the disk."""
    path = record.path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    if predictions is not None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **predictions)
        path.with_suffix(".npz").write_bytes(buffer.getvalue())
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        record = replace(record, predictions_sha256=digest)
    document = {"schema": records.SCHEMA, **asdict(record)}
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    wanted, folder = int(sys.argv[1]), Path(sys.argv[2])
    per_repeat = len(entries()) * len(DATASETS) * UNITS
    if wanted % per_repeat or not 1 <= wanted // per_repeat <= 10:
        sys.exit(f"a multiple of {per_repeat} records, {10 * per_repeat} at most")
    print(multiply(folder, wanted // per_repeat), "records")
