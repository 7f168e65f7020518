"""Executing a run: a function of its spec. Same id, same numbers."""

from __future__ import annotations

import datetime
import json
import logging
import platform
import subprocess
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib import metadata
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmark import metrics
from benchmark.deployment.model import Files, packed
from benchmark.deployment.model import write as write_model
from benchmark.errors import NotWritableError, UserError
from benchmark.planning.code import codes, edited_plugins, file_code
from benchmark.planning.context import with_context
from benchmark.planning.encoders import changed_weights
from benchmark.planning.jobs import Job
from benchmark.planning.split import Fold, divided_groups, folds
from benchmark.problem import TaskSpec
from benchmark.records import Record, find, models_path, write
from benchmark.stopping import OutOfTime, deadline
from benchmark.training import keeping
from benchmark.training.artefacts import ArtefactStore
from benchmark.training.data import FoldData, Part, Values, fold_data, shared_values, unseen
from benchmark.training.fit import Trained, TrainingError, fit, outputs
from benchmark.training.flops import FlopCounter
from benchmark.training.frozen import (
    Frozen,
    features,
    frozen_options,
    known_statistics,
    with_features,
)
from benchmark.training.process import reproducible
from benchmark.training.replicas import fit_together
from datasets.common.contract import EODataset
from datasets.common.prepared import reopen
from methods.common.contract import ALL
from methods.common.registry import REGISTRY

log = logging.getLogger(__name__)


Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Computed:
    """What came of a run, to be committed: arrays as `benchmark.records.write` takes them.

    models: deployment → the files of its kept model.
    """

    record: Record
    predictions: Arrays | None = None
    features: Arrays | None = None
    models: Mapping[str, Files] = field(default_factory=dict)


AVAILABLE: Mapping[str, Callable[[], bool]] = {
    "cpu": lambda: True,
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
}
"""The kinds of device that runs are executed on, and whether this machine has one."""

LONGEST = 1000
"""Characters that a record keeps at most of what an error says."""


def recorded(job: Job) -> Record | None:
    """The record of a job, if there is one that does not give way to it."""
    found = find(job.spec, job.results)
    return None if found and found.created == job.replaces else found


def execute(job: Job) -> Record:
    """Run a job and commit its record, whatever happens in it; what is recorded is not run again.

    Raises `UserError` if the record cannot be written, or the data are not those of the spec.
    """
    prepare_process(job)
    if found := recorded(job):
        return found
    return commit(job, compute(job))


def execute_together(jobs: Sequence[Job]) -> Iterator[Record]:
    """Run jobs that differ in fold and seed alone as replicas (`benchmark.training.replicas`).

    As many at once as the memory of the device holds; one by one if they cannot be trained
    together. Their records are committed when all are done. Raises as `execute`; time limits are
    not kept.
    """
    if len(jobs) == 1:
        yield execute(jobs[0])
        return
    prepare_process(jobs[0])
    todo = []
    for job in jobs:
        if found := recorded(job):
            yield found
        else:
            todo.append(job)
    if len(todo) < 2:
        yield from map(execute, todo)
        return
    _data(todo[0])
    try:
        data = [_fold_data(*_prepared(job)) for job in todo]
        store = ArtefactStore(todo[0].results)
        seen = _seen(*_prepared(todo[0])).modalities
        trained = fit_together([job.spec for job in todo], seen, data, store)
    except torch.OutOfMemoryError:
        trained = None
    except Exception as error:  # each may still be done by itself
        log.warning("%s: run one by one: %s", todo[0].spec.method, error)
        yield from map(execute, todo)
        return
    if trained is None:
        half = len(todo) // 2
        log.warning("%s: %d at once are too many for the memory", todo[0].spec.method, len(todo))
        yield from execute_together(todo[:half])
        yield from execute_together(todo[half:])
        return
    for job, outcome in zip(todo, trained, strict=True):
        yield commit(job, compute(job, outcome))


def replica_groups(jobs: Sequence[Job], most: int) -> Iterator[tuple[Job, ...]]:
    """Consecutive jobs that differ in fold and seed alone, at most ``most`` in a group."""

    def all_but_fold_and_seed(job: Job) -> Job:
        return replace(job, spec=replace(job.spec, fold=0, seed=0), replaces=None)

    for _, alike in groupby(jobs, all_but_fold_and_seed):
        while group := tuple(islice(alike, most)):
            yield group


def commit(job: Job, found: Computed) -> Record:
    """Commit what came of a job; its models first, so that no record says that they are there."""
    for m, files in found.models.items():
        write_model(files, models_path(job.results, job.spec) / m)
    return write(found.record, found.predictions, job.results, found.features, job.replaces)


def compute(job: Job, trained: Trained | BaseException | None = None) -> Computed:
    """Run a job; nothing of it is committed yet.

    What several runs need is kept below its results folder. A run that raises, gives values that
    are not finite or exceeds its time limit gives a record with status "failed" and the reason,
    and nothing else. trained: what came of it where it was trained together with others. Raises
    `UserError` if the device is not there.
    """
    if not AVAILABLE[job.device.partition(":")[0]]():
        raise UserError(f"--device {job.device}: torch finds no such device on {platform.node()}")
    dataset, fold = _data(job)

    def failed(reason: str) -> Computed:
        # The name of a file, for one, may have what is no text.
        reason = reason.encode("utf-8", "backslashreplace").decode()
        return Computed(Record(**_common(job, dataset, fold), status="failed", reason=reason))

    if edited := _edited(job):
        return failed(edited)
    late = f"exceeded the time limit of {job.timeout} s"
    try:
        frozen = _frozen(*_prepared(job))  # of all runs: not in this one's time
        with deadline(job.timeout, abandon=lambda: commit(job, failed(late))):
            data = _fold_data(*_prepared(job))
            if trained is None:
                seen = _seen(*_prepared(job)).modalities
                trained = fit(job.spec, seen, data, ArtefactStore(job.results))
            elif isinstance(trained, BaseException):
                raise trained
            if m := job.spec.placebo:  # the other students learnt from another's input
                trained = replace(trained, predictors={m: trained.predictors[m]})
            shared = [f.log(m, len(dataset)) for m, f in frozen.items() if m in job.spec.modalities]
            trained = replace(trained, stages=[*shared, *trained.stages])
            # A trial never sees the test part: its values are chosen by what it scores.
            part, samples = (data.val, fold.val) if job.spec.trial else (data.test, fold.test)
            predictions = {m: predict(p, m, data.task, part) for m, p in trained.predictors.items()}
            parts = features_of(trained, part) if job.keep_features else None
            y = dataset.y[samples]
            record = Record(
                **_common(job, dataset, fold, _constant_channels(dataset, data, frozen)),
                status="done",
                metrics={m: metrics.score(data.task, y, p) for m, p in predictions.items()},
                stages=[stage.as_json() for stage in trained.stages],
                cost=_cost(trained, part, frozen),
            )
            models = _models(job, dataset, data, trained) if job.keeps_models else {}
    except OutOfTime:
        return failed(late)
    except NotWritableError:  # not the run's own fault
        raise
    except (Exception, SystemExit) as error:  # a failure of a method is a result; others go on
        log.debug("%s failed", job.spec, exc_info=True)
        told = isinstance(error, (TrainingError, UserError))
        reason = str(error) if told else _describe(error, job.plugins)
        return failed(reason)
    return Computed(record, {"ids": dataset.ids[samples], **predictions}, parts, models)


def _models(job: Job, dataset: EODataset, data: FoldData, trained: Trained) -> dict[str, Files]:
    """The models of a run, as files."""
    found = keeping.models(
        [job.spec],
        [trained],
        dataset,
        data,
        _ranges(*_prepared(job)),
        origin=job.keep_models,
        view=job.standing.get("view", {}),
        code=codes(job.spec),
        libraries=environment(job.device),
    )
    return {m: packed(model) for m, model in found.items()}


def not_applicable(job: Job, reason: str) -> Record:
    """Commit the record of a run that does not apply."""
    common = _common(job, *_data(job))
    return commit(job, Computed(Record(**common, status="not applicable", reason=reason)))


def lost(job: Job, reason: str) -> Record:
    """Commit the record of a run whose process died, unless it had left one."""
    prepare_process(job)
    found = recorded(job)
    record = Record(**_common(job, *_data(job)), status="failed", reason=reason)
    return found or commit(job, Computed(record))


def _edited(job: Job) -> str | None:
    """Why a run cannot be had: a plug-in that was edited since it was planned, in a queue perhaps.

    Or since this process has loaded it: the worker of a cluster may be older than the edit.
    """
    if other := edited_plugins(job.spec):
        return (
            f"the code of {' and '.join(other)} is not what this run was planned with: it was "
            "edited; workers of a cluster have to be started anew"
        )
    if weights := changed_weights(job.spec.encoders_used):
        return (
            f"the weights of {' and '.join(weights)} are not, or not any more, on this machine as "
            "they were when this run was planned"
        )
    return None


def _data(job: Job) -> tuple[EODataset, Fold]:
    dataset = reopen(job.prepared)
    if dataset.fingerprint != job.spec.fingerprint:
        raise UserError(f"{job.prepared}: these are not the data that {job.spec} was planned with")
    return dataset, _folds(job.prepared, _protocol(job))[job.spec.fold]


def predict(predictor: nn.Module, m: str, task: TaskSpec, part: Part) -> np.ndarray:
    """Predictions of a deployment on a part, as `TaskSpec.predict` gives them."""
    with torch.inference_mode():
        found = task.predict(outputs(predictor, m, part)).float().cpu().numpy()
    bad = int((~np.isfinite(found)).sum())
    if bad:
        raise TrainingError(f"{bad} of {found.size} predicted values of '{m}' are not finite")
    return found


def features_of(trained: Trained, part: Part) -> dict[str, np.ndarray]:
    """ "<deployment>/<part>" → features (n, D) on a part of the predictors that tell parts apart.

    Such a predictor has a method ``features``: x_m → part ("shared", "specific", ...) → (B, D).
    """
    collected: dict[str, list[np.ndarray]] = {}
    for m, predictor in trained.predictors.items():
        if m == ALL or not hasattr(predictor, "features"):
            continue
        with torch.inference_mode():
            for batch in part.only((m,)).in_order():
                for name, z in predictor.features(batch.x[m]).items():
                    collected.setdefault(f"{m}/{name}", []).append(z.float().cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in collected.items()}


def prepare_process(job: Job) -> None:
    """Make the process reproducible, and load the user's plug-ins."""
    import datasets
    import methods

    reproducible(job.device, job.spec.compiled)
    if job.plugins:  # one may build on the datasets that there are
        datasets.load()
    methods.load(job.plugins)


def _protocol(job: Job) -> str:
    return json.dumps(dict(job.spec.protocol), allow_nan=False)


Prepared = tuple[Path, str, str, int, str]
"""What the data of a job depend on: folder, protocol values, encoders, fold, device."""


def _prepared(job: Job) -> Prepared:
    encoders = json.dumps(job.spec.encoders_used, sort_keys=True, default=dict, allow_nan=False)
    return job.prepared, _protocol(job), encoders, job.spec.fold, job.device


@lru_cache(maxsize=8)
def _folds(prepared: Path, protocol: str) -> list[Fold]:
    return folds(reopen(prepared), json.loads(protocol))


@lru_cache(maxsize=4)
def _given(prepared: Path, encoders: str) -> EODataset:
    """The dataset as encoders see it."""
    return with_context(reopen(prepared), json.loads(encoders))


@lru_cache(maxsize=16)
def _frozen(
    prepared: Path, protocol: str, encoders: str, fold: int, device: str
) -> dict[str, Frozen]:
    """The features of frozen encoders, by modality; computed by the first run that needs them."""
    options = json.loads(encoders)
    if not frozen_options(options):
        return {}
    dataset = _given(prepared, encoders)
    training = _statistics_of(prepared, protocol, fold)
    return features(dataset, options, training, prepared.parents[1], torch.device(device))


def _statistics_of(prepared: Path, protocol: str, fold: int) -> np.ndarray:
    """Numbers of the samples that give statistics."""
    if json.loads(protocol)["statistics"] == "training":
        return _folds(prepared, protocol)[fold].train
    return np.arange(len(reopen(prepared)))


@lru_cache(maxsize=16)
def _seen(prepared: Path, protocol: str, encoders: str, fold: int, device: str) -> EODataset:
    """The dataset as methods see it."""
    found = _frozen(prepared, protocol, encoders, fold, device)
    return with_features(_given(prepared, encoders), found)


@lru_cache(maxsize=16)
def _fold_data(prepared: Path, protocol: str, encoders: str, fold: int, device: str) -> FoldData:
    """Consecutive runs on a fold share its statistics."""
    statistics = json.loads(protocol)["statistics"]
    numbers = _folds(prepared, protocol)[fold]
    found = _frozen(prepared, protocol, encoders, fold, device)
    dataset = _seen(prepared, protocol, encoders, fold, device)
    own = known_statistics(dataset, json.loads(encoders), found)
    shared = _shared_values(prepared, encoders, tuple(found.items()), device)
    return fold_data(dataset, numbers, statistics, torch.device(device), shared, own)


@lru_cache(maxsize=2)
def _ranges(prepared: Path, protocol: str, encoders: str, fold: int, device: str) -> keeping.Ranges:
    """Of the channels, in a fold's training part."""
    return keeping.ranges_of(_given(prepared, encoders), _folds(prepared, protocol)[fold].train)


@lru_cache(maxsize=1)
def _shared_values(
    prepared: Path, encoders: str, found: tuple[tuple[str, Frozen], ...], device: str
) -> dict[str, Values]:
    """Values of modalities, or of the features that were found of them."""
    dataset = with_features(_given(prepared, encoders), dict(found))
    return shared_values(dataset, torch.device(device))


METHODS = Path(__file__).parents[2] / "methods"


def _describe(error: BaseException, plugins: Sequence[Path]) -> str:
    """The error in one line, and the innermost line of a method that led to it, or of whatever.

    That is what the author of a method needs, who has not written what torch does inside.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if (path := Path(frame.filename)) in plugins or path.is_relative_to(METHODS)
    ]
    frame = (own or frames)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    kind = type(error).__name__
    # Torch has an exception of its own for a GPU's memory, but none for that of the machine.
    if isinstance(error, MemoryError) or "memory" in str(error) and "alloc" in str(error):
        kind = f"out of memory: {kind}"
    said = " ".join(str(error).split())[:LONGEST]
    return f"{kind}{': ' * bool(said)}{said} ({place})"


def _constant_channels(
    dataset: EODataset, data: FoldData, frozen: Collection[str]
) -> dict[str, list[str]]:
    """Modality → names of the channels that are 0 everywhere; modalities without such left out.

    A feature of a frozen encoder that is always the same is no channel.
    """
    return {
        m: [dataset.modalities[m].channels[channel] for channel in x.constant]
        for m, x in data.train.x.items()
        if len(x.constant) and m not in frozen
    }


def facts_of(dataset: EODataset, fold: Fold) -> dict[str, Any]:
    """What a record says of the data of a run."""
    task = dataset.task
    return {
        "task": {
            "kind": task.kind,
            "outputs": task.outputs,
            "class_names": list(task.class_names),
            "unit": task.unit,
        },
        "samples": len(dataset),
        "groups": None if dataset.groups is None else len(np.unique(dataset.groups)),
        "group_kind": dataset.group_kind,
        **({"split_of": dataset.split_of} if dataset.split_of else {}),
        **({"divided_groups": n} if (n := divided_groups(dataset)) else {}),
        **({"form": dataset.form} if dataset.form and dataset.source == "real" else {}),
        **({"plugin": dict(dataset.plugin)} if dataset.plugin else {}),
        "train": len(fold.train),
        "val": len(fold.val),
        "test": len(fold.test),
        "unseen": unseen(dataset, fold),
    }


def _common(
    job: Job, dataset: EODataset, fold: Fold, constant: Mapping[str, list[str]] | None = None
) -> dict[str, Any]:
    entry = REGISTRY[job.spec.method]
    return {
        "id": job.spec.id,
        "spec": job.spec,
        "entry": {
            "family": entry.family,
            "role": entry.role,
            "defaults_from": entry.defaults_from,
            "defaults_for": list(entry.defaults_for),
            "reference": str(entry.publication or ""),
            **({"pretrained": entry.pretrained} if entry.pretrained else {}),
        },
        "data": {
            **facts_of(dataset, fold),
            **({} if constant is None else {"constant_channels": dict(constant)}),
        },
        "environment": environment(job.device),
        "standing": job.standing,
        "code": codes(job.spec),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
    }


def _cost(trained: Trained, part: Part, frozen: Mapping[str, Frozen]) -> dict[str, Any]:
    """Of training, and of one prediction, its frozen encoders' part in it included."""
    predictors = trained.predictors
    needed = {m: _encoders_of(predictor, m, part, frozen) for m, predictor in predictors.items()}
    return {
        "seconds": sum(stage.seconds for stage in trained.stages),
        "steps": sum(stage.steps for stage in trained.stages),
        "training_flops": _training_flops(trained),
        "training_parameters": trained.training_parameters,
        "inference_parameters": {
            m: sum(p.numel() for p in predictor.parameters())
            + sum(encoder.parameters for encoder in needed[m])
            for m, predictor in predictors.items()
        },
        "inference_flops": {
            m: _flops(predictor, m, part) + sum(encoder.flops for encoder in needed[m])
            for m, predictor in predictors.items()
        },
    }


def _encoders_of(
    predictor: nn.Module, m: str, test: Part, frozen: Mapping[str, Frozen]
) -> list[Frozen]:
    """The frozen encoders that a prediction needs: none if it is the same whatever they say."""
    if m == ALL:
        return [*frozen.values()]
    if m not in frozen:
        return []
    z = torch.zeros(1, frozen[m].width, device=test.y.device)
    with torch.no_grad():
        return [] if torch.equal(predictor(z), predictor(z + 1e3)) else [frozen[m]]


def _training_flops(trained: Trained) -> int | None:
    """Of all stages; None if one does not state its own."""
    counts = [stage.flops for stage in trained.stages]
    return None if None in counts else sum(counts)


def _flops(predictor: nn.Module, m: str, part: Part) -> int:
    """Operations of one prediction: by torch's counter, and those that a module states."""
    x = part.batch(torch.zeros(1, dtype=torch.long, device=part.y.device)).x
    with torch.no_grad(), FlopCounter() as counter:
        predictor(x if m == ALL else x[m])
    return counter.total + sum(getattr(module, "operations", 0) for module in predictor.modules())


def environment(device: str) -> dict[str, Any]:
    """Where a run was executed: stated in its record, never part of its id."""
    cuda = device.startswith("cuda") and torch.cuda.is_available()  # a lost run's may be elsewhere
    return {
        **_versions(),
        "device": torch.cuda.get_device_name(device) if cuda else device,
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
        "training_code": file_code(Path(__file__).with_name("fit.py")),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
