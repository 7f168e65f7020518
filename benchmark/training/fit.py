"""Training a method on one fold. The training loop knows no method.

The loop is a generator that asks for one `Step` of optimisation after the other, so that whoever
drives it may take the steps of several runs at once (`benchmark.training.replicas`).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.planning.building import artefact_spec, build, seed_generators
from benchmark.problem import ModalitySpec
from benchmark.seeds import stream
from benchmark.spec import RunSpec
from benchmark.training.data import FoldData, Part
from benchmark.training.flops import FlopCounter
from benchmark.training.optimiser import Adam
from methods.common.contract import ALL, Batch, FitStage, Method, Stage

State = dict[str, Tensor]

WITHOUT = {"weight_decay": 0.0}
"""What a protocol has that does not say it."""


class TrainingError(Exception):
    """A run cannot go on, for a reason that its record states."""


@dataclass
class StageLog:
    """What happened in one stage; `losses` are means over the steps of each epoch.

    validation and best_epoch are by deployment, or under "objective" where a stage is watched as a
    whole. stopped: "patience", "cap", or "fitted" for a stage without gradients. flops: of all
    steps, forward and backward, each counted as the first, without validation; of a stage without
    gradients what it says; None if it was not counted. replicas: how many runs took their steps at
    once, of whose time ``seconds`` are a share; refused: why they did not, where they should have.
    """

    stage: str
    method: str
    modalities: list[str]
    artefact: bool
    epochs: int = 0
    steps: int = 0
    seconds: float = 0.0
    flops: int | None = None
    stopped: str = "cap"
    replicas: int = 1
    refused: str | None = None
    losses: dict[str, list[float]] = field(default_factory=dict)
    validation: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For the record."""
        return asdict(self)


@dataclass(frozen=True)
class Trained:
    """The predictors of a method at their best state, by deployment, and the log of all stages.

    training_parameters counts what was optimised or fitted, artefacts included.
    """

    predictors: dict[str, nn.Module]
    stages: list[StageLog]
    training_parameters: int


Terms = dict[str, Tensor]
"""Loss terms by name, each a scalar without graph."""


@dataclass(frozen=True)
class Step:
    """One step of optimisation of a run, on one batch.

    at: number of stages before it in the run, epoch, number of steps before it in the epoch.
    number: of the stage within the method.
    """

    at: tuple[int, int, int]
    method: Method
    number: int
    stage: Stage
    optimiser: Adam
    log: StageLog
    batch: Batch | dict[str, Batch] | None = None


Training = Generator[Step, Terms, Trained]
"""Asks for steps, is sent their loss terms, and returns what was trained."""

Predictors = dict[str, nn.Module]
Obtain = Callable[[RunSpec, Predictors, Callable[[], Training]], Training]
"""Gives an artefact: (its spec, its untrained predictors, a function that trains it) → trained."""


def fit(
    spec: RunSpec,
    modalities: Mapping[str, ModalitySpec],
    data: FoldData,
    obtain: Obtain,
    count: bool = True,
) -> Trained:
    """Train a method stage by stage; what it builds on is obtained first.

    count: whether floating-point operations are counted, which makes the first step slow.

    The result is the same whether an artefact came from the cache or was trained here: every
    stage draws from seed streams of its own.
    """
    training = fitting(spec, modalities, data, obtain, time.perf_counter)
    terms: Terms | None = None
    while True:
        try:
            step = training.send(terms)
        except StopIteration as end:
            return end.value
        with _tf32(spec.precision == "tf32"):
            terms = take(step, count)


@contextmanager
def _tf32(wanted: bool) -> Iterator[None]:
    """TF32 in products and convolutions of what is done inside, and in nothing else: validation
    and scores are in float32."""
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    for backend in backends:
        backend.allow_tf32 = wanted
    try:
        yield
    finally:
        for backend in backends:
            backend.allow_tf32 = False


def take(step: Step, count: bool = True) -> Terms:
    """Take one step of optimisation; the first of a stage is counted in its log."""
    first = count and step.log.flops is None
    with FlopCounter() if first else nullcontext() as counter:
        terms = step.stage.losses(step.batch)
        step.optimiser.zero_grad()
        sum(terms.values()).backward()
    if first:
        step.log.flops = counter.total  # of one step, until all are known
    step.optimiser.step()
    return {name: term.detach() for name, term in terms.items()}


def fitting(
    spec: RunSpec,
    modalities: Mapping[str, ModalitySpec],
    data: FoldData,
    obtain: Obtain,
    clock: Callable[[], float],
    before: int = 0,
) -> Training:
    """What `fit` does, but for taking the steps; ``before``: stages of the run that precede."""
    device = data.train.y.device
    logs: list[StageLog] = []
    parameters = 0
    method = build(spec, modalities, data.task)
    for name in spec.artefacts:
        needed = artefact_spec(spec, name)
        train = partial(fitting, needed, modalities, data, obtain, clock, before + len(logs))
        trained = yield from obtain(needed, method.given[name], train)
        for m, predictor in trained.predictors.items():
            method.given[name][m] = predictor.requires_grad_(False).eval().to(device)
        logs += [replace(log, artefact=True) for log in trained.stages]
        parameters += trained.training_parameters
    method.to(device)
    stages = method.stages()
    own = data.only(spec.modalities)
    if spec.placebo:
        own = own.with_wrong_partners(spec.placebo, spec.seed, spec.fold)
    best: dict[str, nn.Module] = {}
    for number, stage in enumerate(stages):
        log = StageLog(stage.name, spec.method, list(spec.modalities), artefact=False)
        started = clock()
        if isinstance(stage, FitStage):
            states = _fit_stage(spec, method, stage, number, own, log)
        else:
            at = before + len(logs)
            states = yield from _train_stage(spec, method, stage, number, own, log, at)
        log.seconds = clock() - started
        logs.append(log)
        for m in stage.predictors:
            predictor = method.predictor(m)
            predictor.load_state_dict(states[m])
            best[m] = copy.deepcopy(predictor)
    parameters += sum(p.numel() for p in _parameters(*(m for s in stages for m in s.modules)))
    predictors = {m: best[m] if m in best else method.predictor(m) for m in method.deployed}
    for predictor in predictors.values():
        predictor.requires_grad_(False).eval()
    return Trained(predictors, logs, parameters)


def _parameters(*modules: nn.Module) -> list[nn.Parameter]:
    """The parameters of some modules, each once, in order."""
    return list({id(p): p for module in modules for p in module.parameters()}.values())


def _train_stage(
    spec: RunSpec,
    method: Method,
    stage: Stage,
    number: int,
    data: FoldData,
    log: StageLog,
    before: int,
) -> Generator[Step, Terms, dict[str, State]]:
    """Train one stage and return the best state of each of its predictors.

    A stage that is watched as a whole leaves its modules in their best state.
    """
    values = {**WITHOUT, **spec.protocol, **spec.training}
    parameters = _parameters(*stage.modules)
    method.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = Adam(parameters, lr=values["learning_rate"], weight_decay=values["weight_decay"])
    order = torch.Generator().manual_seed(
        stream(spec.stream, spec.seed, spec.fold, "order", number)
    )
    seed_generators(stream(spec.stream, spec.seed, spec.fold, "noise", number))
    watch = _watch(spec, method, stage, data.val)  # in full precision, whatever trains
    stage = replace(stage, losses=_computed(spec, stage.losses, log, data.train.y.device))
    method.eval()
    with torch.no_grad():
        if stage.on_start:
            stage.on_start(len(data.train))
        if stage.on_validation:
            stage.on_validation(_Reiterable(data.val, epoch=0))
    for epoch in range(values["epochs"]):
        method.eval()
        for module in stage.modules:
            module.train()
        step = Step((before, epoch, 0), method, number, stage, optimiser, log)
        means = yield from _train_epoch(step, data.train, values["batch_size"], order)
        _check_finite(stage, epoch, means)
        for name, mean in means.items():
            log.losses.setdefault(name, []).append(mean)
        method.eval()
        with torch.no_grad():
            waiting = watch.after_epoch(epoch, log)
            if stage.after_epoch:
                stage.after_epoch(epoch, _Reiterable(data.val, epoch))
        log.epochs = epoch + 1
        if not waiting:
            log.stopped = "patience"
            break
    log.flops = (log.flops or 0) * log.steps
    return watch.best_states()


def _computed(
    spec: RunSpec, losses: Callable[[Any], dict[str, Tensor]], log: StageLog, device: torch.device
) -> Callable[[Any], dict[str, Tensor]]:
    """The loss terms with the arithmetic that a spec asks for; they are float32 again."""
    if spec.compiled:
        torch.compiler.reset()  # what other runs have compiled counts towards torch's limit
        eager, compiled = losses, torch.compile(losses)

        def losses(batch: Any) -> dict[str, Tensor]:
            first = log.flops is None  # it is counted, and nothing can be compiled meanwhile
            return (eager if first else compiled)(batch)

    if spec.precision != "bfloat16":
        return losses

    def mixed(batch: Any) -> dict[str, Tensor]:
        with torch.autocast(device.type, torch.bfloat16):
            return {name: term.float() for name, term in losses(batch).items()}

    return mixed


def _fit_stage(
    spec: RunSpec, method: Method, stage: FitStage, number: int, data: FoldData, log: StageLog
) -> dict[str, State]:
    """Let a stage without gradients see the training part; its predictors' states."""
    seed_generators(stream(spec.stream, spec.seed, spec.fold, "noise", number))
    method.eval()
    with torch.no_grad():
        log.flops = stage.fit(_Reiterable(data.train, epoch=0))
        if stage.on_validation:
            stage.on_validation(_Reiterable(data.val, epoch=0))
        for m in stage.predictors:
            loss = float(method.task.loss(outputs(method.predictor(m), m, data.val), data.val.y))
            if not math.isfinite(loss):
                raise TrainingError(f"the validation loss of '{m}' is {loss} after '{log.stage}'")
            log.validation[m] = [loss]
    log.stopped = "fitted"
    return {m: method.predictor(m).state_dict() for m in stage.predictors}


def _train_epoch(
    first: Step, train: Part, size: int, order: torch.Generator
) -> Generator[Step, Terms, dict[str, float]]:
    """One pass over the training part; returns the mean of every loss term over the steps."""
    stage, (before, epoch, _) = first.stage, first.at
    totals: Terms = {}
    steps = 0
    for batch in _batches(stage, train, size, order, epoch):
        terms = yield replace(first, at=(before, epoch, steps), batch=batch)
        if stage.after_step:
            stage.after_step(batch)
        for name, term in terms.items():
            totals[name] = totals[name] + term if name in totals else term
        steps += 1
    first.log.steps += steps
    return {name: float(total) / steps for name, total in totals.items()}


def _batches(
    stage: Stage, train: Part, size: int, order: torch.Generator, epoch: int
) -> Iterator[Batch | dict[str, Batch]]:
    """Shuffled batches; a last batch of one sample is left out, as BatchNorm cannot take it.

    The paired order is drawn first, so that it is the same for every method.
    """
    device = train.y.device
    permutation = torch.randperm(len(train), generator=order)
    if stage.paired:
        for index in permutation.to(device).split(size):
            if len(index) > 1:
                yield train.batch(index, epoch)
        return
    own = {m: train.only((m,)) for m in train.x}
    orders = [torch.randperm(len(train), generator=order).to(device).split(size) for _ in own]
    for indices in zip(*orders, strict=True):
        if len(indices[0]) > 1:
            yield {
                m: part.batch(i, epoch) for (m, part), i in zip(own.items(), indices, strict=True)
            }


def _check_finite(stage: Stage, epoch: int, means: Mapping[str, float]) -> None:
    for name, mean in means.items():
        if not math.isfinite(mean):
            raise TrainingError(
                f"loss term '{name}' became {mean} in epoch {epoch + 1} of stage '{stage.name}'"
            )


@dataclass(frozen=True)
class _Reiterable:
    """The batches of a part in order, as often as a hook wants to go through them."""

    part: Part
    epoch: int

    def __iter__(self) -> Iterator[Batch]:
        return self.part.in_order(epoch=self.epoch)


class _Best:
    """The best value of one watched quantity, the state that reached it, and the patience left."""

    def __init__(self, module: nn.Module, patience: int, min_delta: float) -> None:
        self.module = module
        self.patience, self.min_delta = patience, min_delta
        self.lowest = self.reference = math.inf
        self.waited = 0
        self.epoch = 0
        self.state: State = {}

    def update(self, epoch: int, value: float) -> None:
        """Keep the state of the lowest value; ``min_delta`` only decides what renews patience."""
        if value < self.lowest:
            self.lowest, self.epoch = value, epoch
            self.state = {k: v.detach().clone() for k, v in self.module.state_dict().items()}
        if value < self.reference - self.min_delta:
            self.reference = value
            self.waited = 0
        else:
            self.waited += 1

    @property
    def exhausted(self) -> bool:
        return self.waited >= self.patience


class _Watch:
    """What validation watches during a stage: quantities by name, each with its best state."""

    def __init__(
        self,
        quantities: Mapping[str, tuple[nn.Module, Callable[[int], Tensor]]],
        patience: int,
        min_delta: float,
        select_from: int,
        finish: Callable[[dict[str, State]], dict[str, State]],
    ) -> None:
        self.evaluate = {name: evaluate for name, (_, evaluate) in quantities.items()}
        self.best = {
            name: _Best(module, patience, min_delta) for name, (module, _) in quantities.items()
        }
        self.select_from = select_from
        self.finish = finish

    def after_epoch(self, epoch: int, log: StageLog) -> bool:
        """Evaluate everything that still has patience; False once nothing has."""
        for name, best in self.best.items():
            if best.exhausted:
                continue
            value = float(self.evaluate[name](epoch))
            if not math.isfinite(value):
                raise TrainingError(
                    f"the validation loss of '{name}' became {value} in epoch {epoch + 1} of "
                    f"stage '{log.stage}'"
                )
            log.validation.setdefault(name, []).append(value)
            if epoch < self.select_from:
                continue
            best.update(epoch, value)
            log.best_epoch[name] = best.epoch
        return not all(best.exhausted for best in self.best.values())

    def best_states(self) -> dict[str, State]:
        return self.finish({name: best.state for name, best in self.best.items()})


def _watch(spec: RunSpec, method: Method, stage: Stage, val: Part) -> _Watch:
    """Each predictor on its own loss; or the stage's objective; or, as released, all losses."""
    values = spec.protocol
    first = min(stage.select_from, values["epochs"] - 1)
    when = values["patience"], values["min_delta"], first
    if stage.predictors and values["stop_on"] == "predictors":

        def loss_of(m: str) -> Callable[[int], Tensor]:
            return lambda _: method.task.loss(outputs(method.predictor(m), m, val), val.y)

        quantities = {m: (method.predictor(m), loss_of(m)) for m in stage.predictors}
        return _Watch(quantities, *when, lambda states: states)

    modules = nn.ModuleList(stage.modules)

    def objective(epoch: int) -> Tensor:
        total, n = torch.zeros((), device=val.y.device), 0
        for batch in val.in_order(values["batch_size"], epoch):
            if stage.validate:
                value = stage.validate(batch)
            else:
                given = batch if stage.paired else dict.fromkeys(batch.x, batch)
                value = sum(stage.losses(given).values())
            total, n = total + value * len(batch.y), n + len(batch.y)
        return total / n

    def finish(states: dict[str, State]) -> dict[str, State]:
        modules.load_state_dict(states["objective"])
        return {m: method.predictor(m).state_dict() for m in stage.predictors}

    return _Watch({"objective": (modules, objective)}, *when, finish)


def outputs(predictor: nn.Module, m: str, part: Part) -> Tensor:
    """Outputs (n, C) of a deployment on a part, which sees x_m and nothing else."""
    predictor.eval()
    if m != ALL:
        part = part.only((m,))
    collected = [predictor(batch.x if m == ALL else batch.x[m]) for batch in part.in_order()]
    return torch.cat(collected)
