"""A method on one combination: its trainings by the real harness, and what was seen in them."""

from __future__ import annotations

import textwrap
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
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

SEED = 0
"""Of all trainings but those that must have another."""

SHORT = protocol_values(epochs=2)
"""For checks that compare two trainings: what differs does so from the first step on."""

LONG = protocol_values(epochs=12, learning_rate=0.01)
"""For checks that look at all of a training: longer than any warm-up."""

LONGER = protocol_values(epochs=48, learning_rate=0.01)
"""For a method that has not clearly learnt after the long one."""


@dataclass(frozen=True)
class Measured:
    """What a check compares with a bar: ``value`` must be below it.

    A verdict must not hang on rounding: bars are set where methods that conform are far from them
    on one side and faulty ones on the other.
    """

    value: float
    bar: float
    what: str

    @property
    def passed(self) -> bool:
        """Whether it is; NaN is not."""
        return self.value < self.bar

    def __str__(self) -> str:
        return f"{self.what} {self.value:.2g} where it must be below {self.bar:.2g}"


Found = list["str | Measured"]
"""Of a check: a sentence for each fault, and what was compared with a bar."""


@dataclass
class Observed:
    """What was seen of one method while it was trained.

    reached: parameter → (rows,) whether any gradient but 0 came in any step, one value for each
        index of the first axis; without parameters that a `FitStage` sets.
    thawed: what changed, or could have, although it belonged to no trained module, in words.
    idle: names of stages whose ``after_step`` never changed a tensor of the method.
    """

    method: Method
    reached: dict[str, Tensor] = field(default_factory=dict)
    thawed: list[str] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)


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
def observation(entry: Entry, closely: bool) -> Iterator[list[Observed]]:
    """While this is open, a method of that entry is observed wherever it is trained.

    Without ``closely`` nothing but the method is kept: to look at every gradient takes time.
    """
    seen: list[Observed] = []
    watched = _watched_class(entry.method)
    watched.watched_by = seen, closely
    REGISTRY[entry.key] = replace(entry, method=watched)
    try:
        yield seen
    finally:
        REGISTRY[entry.key] = entry


@cache
def _watched_class(method: type[Method]) -> type[Method]:
    """The method as `observation` has it: one class and the same code, which is hashed once."""

    class Watched(method):
        __module__ = method.__module__
        watched_by: ClassVar[tuple[list[Observed], bool]]

        def stages(self) -> list[Stage | FitStage]:
            stages = super().stages()
            observed = Observed(self)
            seen, closely = self.watched_by
            seen.append(observed)
            if not closely:
                return stages
            fitted = _inside(stage for stage in stages if isinstance(stage, FitStage))
            observed.reached = {
                name: _reached(torch.zeros_like(p))
                for name, p in self.named_parameters()
                if id(p) not in fitted
            }
            return [
                _watched_fit(stage, observed)
                if isinstance(stage, FitStage)
                else _watched(stage, observed)
                for stage in stages
            ]

    return Watched


def _reached(gradient: Tensor) -> Tensor:
    """(rows,) where a gradient is not 0: no path gives exactly 0, with any order of sums."""
    return (gradient != 0).reshape(len(gradient) if gradient.dim() else 1, -1).any(dim=1)


def _watched(stage: Stage, observed: Observed) -> Stage:
    """The same stage; its hooks also note gradients, and what moves that should not."""
    frozen: dict[str, Tensor] = {}
    parameters = dict(observed.method.named_parameters())
    waiting = {name: parameters[name] for name in observed.reached}
    given = {
        name: [module for p in predictors.values() for module in p.modules()]
        for name, predictors in observed.method.given.items()
    }

    def start(n: int) -> None:
        if stage.on_start:
            stage.on_start(n)
        frozen.update({k: v.clone() for k, v in _outside(stage, observed.method).items()})
        if stage.after_step:
            observed.idle.append(stage.name)

    def step(batch: Any) -> None:
        for name, parameter in [*waiting.items()]:
            if parameter.grad is not None:
                observed.reached[name] |= _reached(parameter.grad)
                if observed.reached[name].all():
                    del waiting[name]
        for name, modules in given.items():
            if any(module.training for module in modules):
                _note(observed, f"given['{name}'] was in training mode in stage '{stage.name}'")
        if stage.after_step and stage.name in observed.idle:
            before = {k: t.clone() for k, t in _tensors(observed.method).items()}
            stage.after_step(batch)
            now = _tensors(observed.method)
            if any(k not in now or not torch.equal(t, now[k]) for k, t in before.items()):
                observed.idle.remove(stage.name)
        elif stage.after_step:
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


def listed(names: Iterable[str]) -> str:
    """The first names of many."""
    names = list(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def corrupted(data: EODataset, rows: np.ndarray) -> EODataset:
    """Absurd and missing inputs and other targets in some rows."""
    x = {m: a.copy() for m, a in data.x.items()}
    for a in x.values():
        a[rows[::2]], a[rows[1::2]] = 1e9, np.nan
    y = data.y.copy()
    if data.task.is_classification:
        y[rows] = (y[rows] + 1) % data.task.outputs
    elif data.task.kind == "multilabel":
        y[rows] = 1 - y[rows]
    else:
        y[rows] = 1e6 - y[rows]
    return replace(data, x=x, y=y)


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
        return replace(spec_of(self.entry, self.dataset, values, hyperparameters), seed=SEED)

    def train(
        self,
        spec: RunSpec,
        data: FoldData | None = None,
        obtain: Obtain = without_cache,
        closely: bool = False,
    ) -> Run:
        """Train ``spec``, on the case's own data unless others are given, under observation."""
        with observation(self.entry, closely) as seen:
            # Operations are counted once: it takes as long as several steps.
            given = self.dataset.modalities, data or self.data, obtain
            trained = fit(spec, *given, count=closely)
        return Run(trained, seen)

    @cached_property
    def short(self) -> Run:
        """A short training, whose artefacts are cached in the folder."""
        return self.train(self.spec(), obtain=self.store, closely=not self.entry.network)

    @cached_property
    def spoilt(self) -> FoldData:
        """The data with every test row corrupted before anything is fitted."""
        rows = self.data.test.samples.numpy()
        return ready(corrupted(self.dataset, rows), self.spec().protocol)

    @cached_property
    def spoilt_differs(self) -> str | None:
        """In what the short training differs from another one without cache, on spoilt data.

        If in nothing, neither the test rows nor the cache, nor what a seed does not decide, have
        any influence: three checks need one training. Otherwise each finds out for itself.
        """
        return difference(self.short.trained, self.train(self.spec(), self.spoilt).trained)

    @cached_property
    def repetition_differs(self) -> str | None:
        """In what the short training differs from its repetition."""
        if self.spoilt_differs is None:
            return None
        return difference(self.short.trained, self.train(self.spec()).trained)

    @cached_property
    def long(self) -> Run:
        """A training with as many steps as there is on an easy problem.

        The short one, which was watched as closely, where no stage takes any.
        """
        fitted = all(stage.stopped == "fitted" for stage in self.short.trained.stages)
        if fitted and not self.entry.network:
            return self.short
        return self.train(self.spec(LONG), closely=True)


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


def shortened(error: BaseException) -> str:
    """What an error says, on one line: torch's can name every tensor of a model."""
    return textwrap.shorten(str(error), 200, placeholder=" ...")


def described(error: BaseException) -> str:
    """An error as one clause, with the line of the method's file that raised it."""
    if isinstance(error, TrainingError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    *_, frame = (frame for frame in frames if "site-packages" not in frame.filename)
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"{type(error).__name__}: {shortened(error)} ({place})"
