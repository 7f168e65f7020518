"""Executing a run: a function of its spec. Same id, same numbers."""

from __future__ import annotations

import datetime
import json
import logging
import os
import platform
import subprocess
import traceback
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmark import metrics
from benchmark.artefacts import ArtefactStore
from benchmark.data import FoldData, Part, Values, fold_data, shared_values
from benchmark.fit import Trained, TrainingError, fit, outputs
from benchmark.records import Record, write
from benchmark.spec import RunSpec
from benchmark.split import Fold, folds
from datasets.common.contract import ADAPTERS, EODataset
from datasets.common.prepared import reopen
from methods.common.contract import ALL
from methods.common.registry import REGISTRY

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A run and where it finds its data and leaves its record; the paths never enter the id.

    prepared: folder of the prepared dataset. plugins: method files that the user named.
    """

    spec: RunSpec
    prepared: Path
    results: Path
    device: str = "cpu"
    plugins: tuple[Path, ...] = ()


def execute(job: Job) -> Record:
    """Run a job and commit its record, whatever happens in it.

    A run that raises, or whose loss is not finite, gives a record with status "failed".
    """
    prepare_process(job)
    dataset = reopen(job.prepared)
    fold = _folds(job.prepared, _protocol(job))[job.spec.fold]
    try:
        data = _fold_data(job.prepared, _protocol(job), fold.number, job.device)
        trained = fit(job.spec, dataset.modalities, data, ArtefactStore(job.results))
        predictions = {m: predict(p, m, data) for m, p in trained.predictors.items()}
        y = dataset.y[fold.test]
        record = Record(
            **_common(job, dataset, fold),
            status="done",
            metrics={m: metrics.score(data.task, y, p) for m, p in predictions.items()},
            stages=[stage.as_json() for stage in trained.stages],
            cost=_cost(trained, data.test),
        )
    except Exception as error:  # any failure of a method is a result; the other runs go on
        reason = str(error) if isinstance(error, TrainingError) else _describe(error)
        log.debug("%s failed", job.spec, exc_info=True)
        record = Record(**_common(job, dataset, fold), status="failed", reason=reason)
        return write(record, None, job.results)
    return write(record, {"ids": dataset.ids[fold.test], **predictions}, job.results)


def not_applicable(job: Job, reason: str) -> Record:
    """Commit the record of a run that does not apply."""
    fold = _folds(job.prepared, _protocol(job))[job.spec.fold]
    common = _common(job, reopen(job.prepared), fold)
    return write(Record(**common, status="not applicable", reason=reason), None, job.results)


def predict(predictor: nn.Module, m: str, data: FoldData) -> np.ndarray:
    """Predictions of a deployment on the test part, as `TaskSpec.predict` gives them."""
    with torch.inference_mode():
        return data.task.predict(outputs(predictor, m, data.test)).float().cpu().numpy()


def prepare_process(job: Job) -> None:
    """Make the process reproducible: one thread, deterministic kernels, the user's plug-ins."""
    import datasets
    import methods

    torch.set_num_threads(1)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=job.device != "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # a net for bugs that costs 3 %
    datasets.load()
    methods.load(job.plugins)


def _protocol(job: Job) -> str:
    return json.dumps(dict(job.spec.protocol))


@lru_cache(maxsize=8)
def _folds(prepared: Path, protocol: str) -> list[Fold]:
    return folds(reopen(prepared), json.loads(protocol))


@lru_cache(maxsize=2)
def _fold_data(prepared: Path, protocol: str, fold: int, device: str) -> FoldData:
    """Consecutive runs on a fold share its statistics."""
    statistics = json.loads(protocol)["statistics"]
    numbers = _folds(prepared, protocol)[fold]
    shared = _shared_values(prepared, device)
    return fold_data(reopen(prepared), numbers, statistics, torch.device(device), shared)


@lru_cache(maxsize=1)
def _shared_values(prepared: Path, device: str) -> dict[str, Values]:
    return shared_values(reopen(prepared), torch.device(device))


def _describe(error: Exception) -> str:
    """The error, and the innermost line that raised it: what the author of a method needs."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"{type(error).__name__}: {error} ({place})"


def _common(job: Job, dataset: EODataset, fold: Fold) -> dict[str, Any]:
    entry = REGISTRY[job.spec.method]
    task = dataset.task
    return {
        "id": job.spec.id,
        "spec": job.spec,
        "entry": {
            "family": entry.family,
            "role": entry.role,
            "defaults_from": entry.defaults_from,
            "reference": str(entry.publication or ""),
        },
        "data": {
            "task": {
                "kind": task.kind,
                "outputs": task.outputs,
                "class_names": list(task.class_names),
                "unit": task.unit,
            },
            "samples": len(dataset),
            "groups": None if dataset.groups is None else len(np.unique(dataset.groups)),
            "group_kind": ADAPTERS[dataset.name].group_kind,
            "train": len(fold.train),
            "val": len(fold.val),
            "test": len(fold.test),
        },
        "environment": environment(job.device),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
    }


def _cost(trained: Trained, test: Part) -> dict[str, Any]:
    return {
        "seconds": sum(stage.seconds for stage in trained.stages),
        "steps": sum(stage.steps for stage in trained.stages),
        "training_flops": _training_flops(trained),
        "training_parameters": trained.training_parameters,
        "inference_parameters": {
            m: sum(p.numel() for p in predictor.parameters())
            for m, predictor in trained.predictors.items()
        },
        "inference_flops": {m: _flops(p, m, test) for m, p in trained.predictors.items()},
    }


def _training_flops(trained: Trained) -> int | None:
    """Of all stages; None if an artefact does not state its own."""
    counts = [stage.flops for stage in trained.stages]
    return None if None in counts else sum(counts)


def _flops(predictor: nn.Module, m: str, test: Part) -> int:
    """Floating-point operations of one prediction, by torch's counter."""
    from torch.utils.flop_counter import FlopCounterMode

    x = test.batch(torch.zeros(1, dtype=torch.long, device=test.y.device)).x
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        predictor(x if m == ALL else x[m])
    return counter.get_total_flops()


def environment(device: str) -> dict[str, Any]:
    """Where a run was executed: stated in its record, never part of its id."""
    return {
        **_versions(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }


@cache
def _versions() -> dict[str, str | None]:
    packages = ("eo-colearning-benchmark", "torch", "timm", "numpy", "scikit-learn")
    return {
        "python": platform.python_version(),
        **{package: _version(package) for package in packages},
        "git_revision": _git_revision(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
