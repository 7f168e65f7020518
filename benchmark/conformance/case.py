"""A method on one combination: its trainings by the real harness, and what was seen in them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.conformance.problem import Combination, easy, protocol_values, spec_of
from benchmark.planning.split import folds
from benchmark.spec import RunSpec
from benchmark.training.artefacts import ArtefactStore
from benchmark.training.data import FoldData, fold_data
from benchmark.training.fit import Obtain, Trained, TrainingError, fit
from datasets.common.contract import EODataset
from methods.common.contract import ALL, Batch, FitStage, Method, Stage
from methods.common.registry import REGISTRY, Entry

SHORT = protocol_values(epochs=2)
"""For checks that compare two trainings: what differs does so from the first step on."""

LONG = protocol_values(epochs=12, learning_rate=0.01)
"""For checks that look at all of a training: longer than any warm-up."""


@dataclass
class Observed:
    """What was seen of one method while it was trained.

    gradients: parameter → sum over all steps of |gradient|, (rows,): one value for each index of
        the first axis; without parameters that a `FitStage` sets. thawed: what changed although it
        belonged to no trained module, in words.
    """

    method: Method
    gradients: dict[str, Tensor]
    thawed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """A training and, artefacts of the same method first, what was seen of the methods trained."""

    trained: Trained
    observed: list[Observed]

    @property
    def own(self) -> Observed:
        """What was seen of the method itself."""
        return self.observed[-1]


@contextmanager
def observation(entry: Entry) -> Iterator[list[Observed]]:
    """While this is open, a method of that entry is observed wherever it is trained."""
    seen: list[Observed] = []

    class Watched(entry.method):
        def stages(self) -> list[Stage | FitStage]:
            stages = super().stages()
            fitted = _inside(s for s in stages if isinstance(s, FitStage))
            rows = {
                name: _rows(p.detach() * 0)
                for name, p in self.named_parameters()
                if id(p) not in fitted
            }
            observed = Observed(self, rows)
            seen.append(observed)
            return [
                _watched_fit(stage, observed)
                if isinstance(stage, FitStage)
                else _watched(stage, observed)
                for stage in stages
            ]

    REGISTRY[entry.key] = replace(entry, method=Watched)
    try:
        yield seen
    finally:
        REGISTRY[entry.key] = entry


def _rows(gradient: Tensor) -> Tensor:
    return gradient.abs().reshape(len(gradient) if gradient.dim() else 1, -1).sum(dim=1)


def _watched(stage: Stage, observed: Observed) -> Stage:
    """The same stage; its hooks also note gradients, and what moves that should not."""
    frozen: dict[str, Tensor] = {}
    parameters = {
        name: p for name, p in observed.method.named_parameters() if name in observed.gradients
    }
    given = {
        name: [module for p in predictors.values() for module in p.modules()]
        for name, predictors in observed.method.given.items()
    }

    def start(n: int) -> None:
        if stage.on_start:
            stage.on_start(n)
        frozen.update({k: v.clone() for k, v in _outside(stage, observed.method).items()})

    def step(batch: Any) -> None:
        for name, parameter in parameters.items():
            if parameter.grad is not None:
                observed.gradients[name] += _rows(parameter.grad)
        for name, modules in given.items():
            if any(module.training for module in modules):
                _note(observed, f"given['{name}'] was in training mode in stage '{stage.name}'")
        if stage.after_step:
            stage.after_step(batch)

    def epoch(number: int, validation: Any) -> None:
        if stage.after_epoch:
            stage.after_epoch(number, validation)
        _compare(stage, observed, frozen)

    return replace(stage, on_start=start, after_step=step, after_epoch=epoch)


def _watched_fit(stage: FitStage, observed: Observed) -> FitStage:
    """The same stage, which also notes what it changes and should not."""

    def fit(batches: Iterable[Batch]) -> int | None:
        frozen = {k: v.clone() for k, v in _outside(stage, observed.method).items()}
        operations = stage.fit(batches)
        _compare(stage, observed, frozen)
        return operations

    return replace(stage, fit=fit)


def _compare(stage: Stage | FitStage, observed: Observed, frozen: Mapping[str, Tensor]) -> None:
    """Note what of ``frozen`` is not there any more, or is not what it was."""
    now = _outside(stage, observed.method)
    for name, before in frozen.items():
        if name not in now or not torch.equal(before, now[name]):
            _note(observed, f"{name} changed in stage '{stage.name}'")


def _note(observed: Observed, what: str) -> None:
    if what not in observed.thawed:
        observed.thawed.append(what)


def _inside(stages: Iterable[Stage | FitStage]) -> set[int]:
    """The tensors that stages train, or set."""
    return {id(t) for s in stages for module in s.modules for t in _tensors(module).values()}


def _outside(stage: Stage | FitStage, method: Method) -> dict[str, Tensor]:
    """What the stage must not change: all that is not of its modules, and all that is given."""
    inside = _inside([stage])
    own = {name: t for name, t in _tensors(method).items() if id(t) not in inside}
    given = {
        f"given['{name}']['{m}'].{key}": t
        for name, predictors in method.given.items()
        for m, predictor in predictors.items()
        for key, t in _tensors(predictor).items()
    }
    return own | given


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict((*module.named_parameters(), *module.named_buffers()))


def ready(data: EODataset, values: Mapping[str, Any]) -> FoldData:
    """The dataset's one fold, split and standardised as for any run."""
    (fold,) = folds(data, values)
    return fold_data(data, fold, values["statistics"], torch.device("cpu"))


def without_cache(spec: RunSpec, predictors: Any, train: Callable[[], Trained]) -> Trained:
    """`benchmark.training.fit.Obtain` that trains every artefact anew."""
    return train()


@dataclass(frozen=True)
class Case:
    """A method on a combination that it applies to.

    folder: for its artefacts. fresh: a process in which nothing is ever trained. plugins: files
    that this process must load to know the method.
    """

    entry: Entry
    combination: Combination
    folder: Path
    fresh: Executor
    plugins: tuple[Path, ...] = ()

    @cached_property
    def dataset(self) -> EODataset:
        return easy(self.combination)

    @cached_property
    def data(self) -> FoldData:
        return ready(self.dataset, SHORT)

    @cached_property
    def store(self) -> ArtefactStore:
        return ArtefactStore(self.folder)

    def spec(self, values: Mapping[str, Any] = SHORT, **hyperparameters: Any) -> RunSpec:
        """The run of the method; hyper-parameters that are not named have the entry's values."""
        return spec_of(self.entry, self.dataset, values, hyperparameters)

    def train(
        self, spec: RunSpec, data: FoldData | None = None, obtain: Obtain = without_cache
    ) -> Run:
        """Train ``spec``, on the case's own data unless others are given, under observation."""
        with observation(self.entry) as seen:
            trained = fit(spec, self.dataset.modalities, data or self.data, obtain)
        return Run(trained, seen)

    @cached_property
    def short(self) -> Run:
        """A short training, whose artefacts are cached in the folder."""
        return self.train(self.spec(), obtain=self.store)

    @cached_property
    def long(self) -> Run:
        """A training with as many steps as there is on an easy problem."""
        return self.train(self.spec(LONG))


def difference(a: Trained, b: Trained) -> str | None:
    """The first thing in which two trainings differ by a bit, in words."""
    for m, predictor in a.predictors.items():
        states = predictor.state_dict(), b.predictors[m].state_dict()
        if states[0].keys() != states[1].keys():
            return f"the modules of the predictor of {m}"
        for name in states[0]:
            if not torch.equal(states[0][name], states[1][name]):
                return f"{name} of the predictor of {m}"
    if [stage.stage for stage in a.stages] != [stage.stage for stage in b.stages]:
        return "the stages"
    for one, other in zip(a.stages, b.stages, strict=True):
        for what in ("losses", "validation"):
            if getattr(one, what) != getattr(other, what):
                return f"the {what} of stage '{one.stage}'"
    return None


def inputs(data: FoldData, deployment: str) -> Tensor | dict[str, Tensor]:
    """What a deployment sees of the test part: x_m, or x by modality."""
    x = {m: values[data.test.samples] for m, values in data.test.x.items()}
    return x if deployment == ALL else x[deployment]


def outputs(predictor: nn.Module, x: Tensor | dict[str, Tensor]) -> Tensor:
    """(B, outputs) of a predictor in eval mode."""
    with torch.inference_mode():
        return predictor.eval()(x)


def described(error: Exception) -> str:
    """An error as one clause, with the line of the method's file that raised it."""
    if isinstance(error, TrainingError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    *_, frame = (frame for frame in frames if "site-packages" not in frame.filename)
    return f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"
