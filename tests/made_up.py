"""Records made up for tests: scores of seeded random predictions, of no method and no dataset."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import records
from benchmark.metrics import score
from benchmark.planning import protocol as protocols
from benchmark.problem import TaskKind, TaskSpec
from benchmark.records import Record
from benchmark.spec import RunSpec, Tuned

OUTPUTS = {"binary": 2, "multiclass": 4, "multilabel": 3, "regression": 1}
MODALITIES = ("S1", "S2")
ENTRIES = {
    "single": ("control", "control"),
    "fusion_concat": ("bound", "bound"),
    "kd": ("distillation", "method"),
    "mdico": ("proposed", "method"),
    "mdico_no_con": ("proposed", "ablation"),
}
"""Method → family and role; other names are methods of a family that no one knows."""


def task(kind: TaskKind) -> TaskSpec:
    outputs = OUTPUTS[kind]
    names = tuple(f"class {c}" for c in range(outputs)) if kind != "regression" else ()
    return TaskSpec(kind, outputs, names, unit="percent" if kind == "regression" else "")


def target(spec: TaskSpec, rng: np.random.Generator, n: int) -> np.ndarray:
    if spec.kind == "regression":
        return rng.normal(100, 40, n)
    if spec.kind == "multilabel":
        return rng.integers(0, 2, (n, spec.outputs)).astype(np.uint8)
    return rng.permutation(np.arange(n) % spec.outputs)


def prediction(spec: TaskSpec, y: np.ndarray, skill: float, rng: np.random.Generator) -> np.ndarray:
    """Random, but nearer to ``y`` the greater ``skill`` is; 0 knows nothing."""
    if spec.kind == "regression":
        return y + rng.normal(0, 40 / (1 + skill), len(y))
    truth = y if spec.kind == "multilabel" else np.eye(spec.outputs)[y]
    logits = skill * truth + rng.normal(size=truth.shape)
    if spec.kind == "multilabel":
        return 1 / (1 + np.exp(-logits))
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True)


@cache
def protocol_values(name: str, dataset: str) -> dict[str, Any]:
    return protocols.load(name).values_for(dataset)


def run(
    method: str = "single",
    fold: int = 0,
    *,
    dataset: str = "toy",
    kind: TaskKind = "multiclass",
    skill: float = 1.0,
    seed: int = 0,
    source: str = "generated",
    protocol: str = "quick",
    modalities: tuple[str, ...] = MODALITIES,
    fingerprint: str = "f0",
    version: int = 1,
    status: str = "done",
    reason: str | None = None,
    created: str = "2030-01-01T00:00:00.000+00:00",
    epochs: int = 4,
    samples: int = 60,
    entry: Mapping[str, Any] | None = None,
    placebo: str = "",
    tuned: Tuned | None = None,
) -> Record:
    """One made-up record. The same arguments give the same record."""
    family, role = ENTRIES.get(method, ("a family of its own", "method"))
    deployments = ("all",) if role == "bound" else (placebo,) if placebo else modalities
    spec = RunSpec(
        dataset=dataset,
        source=source,
        fingerprint=fingerprint,
        modalities=modalities,
        method=method,
        version=version,
        hyperparameters={},
        artefacts={},
        encoders={"dim": 8, "layer_norm": False, "options": {"series": {"width": 4}}},
        precision="float32",
        protocol=deepcopy(protocol_values(protocol, dataset)),
        fold=fold,
        seed=seed,
        placebo=placebo,
        tuned=tuned or {},
    )
    problem = task(kind)
    scores = {}
    for deployment in deployments:
        rng = np.random.default_rng(zlib.crc32(f"{dataset} {fold} {deployment}".encode()))
        y = target(problem, rng, samples)
        own = np.random.default_rng(
            [zlib.crc32(f"{method} {deployment}{placebo}".encode()), fold, seed]
        )
        scores[deployment] = score(problem, y, prediction(problem, y, skill, own))
    curve = [1 / (1 + skill * epoch) + 0.1 * fold for epoch in range(epochs)]
    stage = {
        "stage": "supervised",
        "method": method,
        "modalities": list(modalities),
        "artefact": False,
        "epochs": epochs,
        "steps": 10 * epochs,
        "seconds": 0.5,
        "stopped": "cap",
        "losses": {"task": curve},
        "validation": dict.fromkeys(deployments, curve),
        "best_epoch": dict.fromkeys(deployments, epochs - 1),
    }
    done = status == "done"
    return Record(
        id=spec.id,
        spec=spec,
        status=status,
        reason=reason,
        entry={
            "family": family,
            "role": role,
            "defaults_from": "elsewhere",
            "reference": "",
            **(entry or {}),
        },
        data={
            "task": {
                "kind": kind,
                "outputs": problem.outputs,
                "class_names": list(problem.class_names),
                "unit": problem.unit,
            },
            "samples": 10 * samples,
            "groups": 36,
            "group_kind": "site",
            "train": 8 * samples,
            "val": samples,
            "test": samples,
        },
        metrics=scores if done else {},
        stages=[stage] if done else [],
        cost={
            "seconds": 0.5,
            "steps": 10 * epochs,
            "training_flops": 10**9,
            "training_parameters": 1000,
            "inference_parameters": dict.fromkeys(deployments, 500),
            "inference_flops": dict.fromkeys(deployments, 2000),
        }
        if done
        else {},
        environment={"device": "cpu"},
        created=created,
    )


def runs(methods: Mapping[str, float], folds: int = 3, **options: Any) -> list[Record]:
    """Made-up records of some methods, given with their skill, on some folds."""
    return [
        run(method, fold, skill=skill, **options)
        for method, skill in methods.items()
        for fold in range(folds)
    ]


USUAL = {"single": 1.0, "fusion_concat": 3.0, "kd": 1.2, "mdico": 1.6, "mdico_no_con": 1.4}


def official(
    results: Path,
    skills: Mapping[str, float],
    kind: TaskKind = "multilabel",
    *,
    seeds: int = 5,
    samples: int = 120,
    noise: int = 0,
    placebos: Mapping[str, float] | None = None,
    **options: Any,
) -> Path:
    """Records and predictions on one official split; returns a cache with its targets.

    noise: another number gives other data and predictions. placebos: skills of those on S1.
    """
    problem = task(kind)
    rng = np.random.default_rng(noise)
    y = target(problem, rng, samples)
    ids = np.array([f"s{i}" for i in range(samples)])
    groups = np.array([f"block {i // 4}" for i in range(samples)])
    wanted = [("", *item) for item in skills.items()]
    wanted += [("S1", *item) for item in (placebos or {}).items()]
    for placebo, method, skill in wanted:
        for seed in range(seeds):
            record = run(
                method,
                0,
                kind=kind,
                seed=seed,
                placebo=placebo,
                **{"protocol": "standard", "source": "real", **options},
            )
            predictions = {
                d: prediction(problem, y, skill, rng).astype(np.float32) for d in record.metrics
            }
            scored = {d: score(problem, y, p) for d, p in predictions.items()}
            record = replace(record, metrics=scored)
            records.write(record, {"ids": ids, **predictions}, results)
    return prepare(
        results / "cache", record.spec.dataset, record.spec.fingerprint, problem, y, ids, groups
    )


def prepare(
    cache: Path,
    dataset: str,
    fingerprint: str,
    problem: TaskSpec,
    y: np.ndarray,
    ids: np.ndarray,
    groups: np.ndarray,
) -> Path:
    """The targets of generated data as they lie in a cache, which is returned."""
    folder = cache / "prepared" / f"{dataset}-0"
    folder.mkdir(parents=True)
    arrays = {"y": y, "ids": ids, "groups": groups}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    meta = {
        "name": dataset,
        "source": "generated",
        "modalities": [],
        "task": asdict(problem),
        "files": {f"{name}.npy": (folder / f"{name}.npy").stat().st_size for name in arrays},
        "fingerprint": fingerprint,
    }
    (folder / "meta.json").write_text(json.dumps(meta))
    return cache


def write(made_up: Iterable[Record], results: Path) -> Path:
    """Commit records below a results folder, which is returned."""
    for record in made_up:
        records.write(record, None, results)
    return results
