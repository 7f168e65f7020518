"""Replicas: several folds and seeds of one method, trained at once as one batched model.

Each replica goes through the training loop of `benchmark.training.fit` by itself: its data, its
order of batches, its hooks, its early stopping. What replicas do together is a step of
optimisation: their parameters and buffers are rows of one tensor each, over which
`torch.func.vmap` maps the losses.

A method need not know of it, nor say whether it can be done. The first such step of a stage in
every epoch is also taken one by one, and that is what counts: where torch refuses the first one of
a stage, or it gives other losses, gradients or buffers, the stage goes on one by one. So do the
first step of a stage (which may set up what later ones need) and steps that not all replicas take,
or not with as many samples: the last of an epoch, or when one fold is smaller.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from benchmark.problem import ModalitySpec, TaskSpec
from benchmark.spec import RunSpec
from benchmark.training.data import FoldData
from benchmark.training.fit import Obtain, Step, Terms, Trained, Training, fitting, take
from methods.common.contract import Batch, Method
from methods.common.encoders import Dropout

TOLERANCE = 1e-4
"""Difference that is put down to rounding, relative to the largest of all losses or buffers."""

KINKS = 0.1
"""The same for the norm of all gradients: of millions of inputs of ReLUs, some are so near 0 that
rounding decides whether they pass a gradient on."""


class UnlikeError(Exception):
    """Steps together gave other numbers than steps one by one, in an epoch after the first."""


def fit_together(
    specs: Sequence[RunSpec],
    modalities: Mapping[str, ModalitySpec],
    data: Sequence[FoldData],
    obtain: Obtain,
) -> list[Trained | BaseException]:
    """`training.fit.fit` for specs that differ in fold and seed alone, and the data of each.

    Gives for each what was trained, to rounding errors, or the exception that ended its training.
    Raises `UnlikeError`, or torch's `OutOfMemoryError`: nothing is known of any of them then.
    """
    device = data[0].train.y.device
    clock = _SharedClock(len(specs))
    replicas = [
        _Replica(fitting(spec, modalities, own, obtain, clock), _Noise(device))
        for spec, own in zip(specs, data, strict=True)
    ]
    steps = _Steps()
    while live := [replica for replica in replicas if replica.result is None]:
        clock.share(len(live))
        steps.take(live)
    return [replica.result for replica in replicas]


class _SharedClock:
    """Seconds of wall time, each shared equally among the replicas that are not done."""

    def __init__(self, replicas: int) -> None:
        self._seconds, self._read, self._replicas = 0.0, time.perf_counter(), replicas

    def __call__(self) -> float:
        now = time.perf_counter()
        self._seconds += (now - self._read) / self._replicas
        self._read = now
        return self._seconds

    def share(self, replicas: int) -> None:
        """From now on, seconds are shared among so many."""
        self()
        self._replicas = replicas


class _Noise:
    """One replica's own state of torch's global generators."""

    def __init__(self, device: torch.device) -> None:
        self._common = [torch.default_generator]
        if device.type == "cuda":
            index = torch.cuda.current_device() if device.index is None else device.index
            self._common.append(torch.cuda.default_generators[index])
        self._own = [torch.Generator(generator.device) for generator in self._common]

    @property
    def generator(self) -> torch.Generator:
        """That of the device."""
        return self._own[-1]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Torch's global generators are this replica's."""
        for common, own in zip(self._common, self._own, strict=True):
            common.set_state(own.get_state())
        try:
            yield
        finally:
            for common, own in zip(self._common, self._own, strict=True):
                own.set_state(common.get_state())

    @property
    def state(self) -> list[Tensor]:
        return [own.get_state() for own in self._own]

    @state.setter
    def state(self, states: list[Tensor]) -> None:
        for own, state in zip(self._own, states, strict=True):
            own.set_state(state)


class _Replica:
    """A training that goes on from step to step, with random numbers of its own.

    step: what it waits for. result: what was trained or the exception that ended it, once it is
    done.
    """

    def __init__(self, training: Training, noise: _Noise) -> None:
        self._training = training
        self.noise = noise
        self.result: Trained | BaseException | None = None
        self.step = self._guarded(lambda: training.send(None))

    def take(self) -> Terms | None:
        """The terms of the step, taken alone; None if it failed."""
        return self._guarded(lambda: take(self.step))

    def advance(self, terms: Terms | None) -> None:
        """Go on to the next step, unless the last one failed."""
        if terms is not None:
            self.step = self._guarded(lambda: self._training.send(terms))

    def _guarded(self, go_on: Callable[[], Any]) -> Any:
        try:
            with self.noise.active():
                return go_on()
        except StopIteration as end:
            self.result = _on_its_own(end.value)
        except torch.OutOfMemoryError:  # there might be enough for fewer replicas
            raise
        except (
            Exception,
            SystemExit,
        ) as error:  # as in `training.execute`: others go on
            self.result = error
        return None


def _on_its_own(trained: Trained) -> Trained:
    """The same, sharing no memory with other replicas."""
    for predictor in trained.predictors.values():
        _own_memory(predictor)
    return trained


def _own_memory(module: nn.Module) -> None:
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.clone()
        tensor.grad = None  # of the last step: a row as well


class _Steps:
    """Takes the steps that replicas wait for, together where it can be done."""

    def __init__(self) -> None:
        self._stack: _Stack | None = None
        self._refused: dict[int, str] = {}
        self._checked: set[tuple[int, int]] = set()

    def take(self, live: Sequence[_Replica]) -> None:
        """Those of the replicas that are furthest behind, and let these go on."""
        now = min(replica.step.at for replica in live)
        due = [replica for replica in live if replica.step.at == now]
        fellows = [replica for replica in live if replica.step.at[0] == now[0]]
        if due != fellows or not self._alike(due) or not self._stacked(due):
            terms = [replica.take() for replica in due]
        elif now[:2] in self._checked:
            terms = self._stack.take()
        else:
            terms = self._take_both_ways(due)
        for replica, own in zip(due, terms, strict=True):
            replica.advance(own)

    def _alike(self, due: Sequence[_Replica]) -> bool:
        """Whether there are several steps, none the first of its stage, on batches of one size."""
        sizes = {len(_any(replica.step.batch).y) for replica in due}
        return len(due) > 1 and len(sizes) == 1 and all(r.step.log.flops is not None for r in due)

    def _stacked(self, due: Sequence[_Replica]) -> bool:
        """Stack the replicas unless they are; False for a stage that is refused."""
        step = due[0].step
        if step.at[0] in self._refused:
            return False
        if self._stack is None or not self._stack.holds(due):
            self._dissolve()
            try:
                self._stack = _Stack(due)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # whatever a method does that cannot be copied or stacked
                self._refuse(due, _reason(error))
        return self._stack is not None

    def _refuse(self, due: Sequence[_Replica], reason: str) -> None:
        self._refused[due[0].step.at[0]] = reason
        self._dissolve()
        for replica in due:
            replica.step.log.refused = reason
            replica.step.log.replicas = 1

    def _dissolve(self) -> None:
        if self._stack is not None:
            self._stack.dissolve()
        self._stack = None

    def _take_both_ways(self, due: Sequence[_Replica]) -> list[Terms | None]:
        """Steps one by one; what they would have been together decides about those to come."""
        step = due[0].step
        first = not any(stage == step.at[0] for stage, _ in self._checked)
        trials, reason = None, ""
        try:
            trials = self._stack.trials()
        except torch.OutOfMemoryError:
            raise
        except (Exception, SystemExit) as error:  # torch's refusals are of many classes
            reason = _reason(error)
        terms = [replica.take() for replica in due]
        for replica, own, trial in zip(due, terms, trials or (), strict=trials is not None):
            if own is not None and (what := trial.difference(replica, own)):
                reason = f"together gives other {what}"
        if reason and not first:
            raise UnlikeError(f"{step.log.method}, stage '{step.stage.name}': {reason}")
        if reason:
            self._refuse(due, reason)
        else:
            self._checked.add(step.at[:2])
        return terms


class _Trial:
    """Terms, gradients and buffers of one replica, and the state of its generators, after a step
    that was not taken."""

    def __init__(
        self, terms: Terms, gradients: dict[str, Tensor], buffers: dict[str, Tensor], noise: Any
    ) -> None:
        self.terms, self.gradients, self.buffers, self.noise = terms, gradients, buffers, noise

    def difference(self, replica: _Replica, terms: Terms) -> str | None:
        """In what the replica differs that has taken the step; None for rounding errors."""
        if not all(term.isfinite() for term in terms.values()):
            return None  # nothing can be compared; the replica fails at the end of the epoch
        parts = _parts(replica.step.method)
        trained = {n: p for n, p in parts.named_parameters() if p.requires_grad}
        gradients = {n: p.grad for n, p in trained.items() if p.grad is not None}
        buffers = dict(parts.named_buffers())
        for name, own, trial in (("losses", terms, self.terms), ("buffers", buffers, self.buffers)):
            # What is 0 but for rounding is as uncertain as the largest of its kind is large.
            sizes = [float(v.abs().max()) for v in own.values() if v.is_floating_point()]
            within = TOLERANCE * max(sizes, default=0.0)
            for key, value in own.items():
                if not torch.allclose(trial[key], value, TOLERANCE, within):
                    return f"{name} ({key})"
        if gradients.keys() != self.gradients.keys():
            return "gradients"
        size = _norm(gradients.values())
        if _norm(own - self.gradients[name] for name, own in gradients.items()) > KINKS * size:
            return "gradients"
        same = map(torch.equal, self.noise, replica.noise.state)
        return None if all(same) else "random numbers"


def _norm(tensors: Iterable[Tensor]) -> float:
    return float(torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors]).norm())


class _Stack:
    """Replicas whose parameters and buffers are rows of one tensor each.

    The losses are computed by a copy of the first one's method that takes the place of each.
    """

    def __init__(self, members: Sequence[_Replica]) -> None:
        self._members = list(members)
        steps = [member.step for member in members]
        self._number = steps[0].at[0]
        parts = [_parts(step.method) for step in steps]
        self._own = [
            {n: p for n, p in part.named_parameters() if p.requires_grad} for part in parts
        ]
        self._parameters = _joined([dict(part.named_parameters()) for part in parts])
        self._buffers = _joined([dict(part.named_buffers()) for part in parts])
        self._trained = {n: self._parameters[n].requires_grad_() for n in self._own[0]}
        tasks = [step.method.task for step in steps]
        self._weights = {}
        if tasks[0].class_weights is not None:
            weights = [task.class_weights for task in tasks]
            device = _any(steps[0].batch).y.device
            self._weights["class_weights"] = torch.tensor(weights, device=device)
        self._losses = _Losses(steps[0], [member.noise for member in members])
        for step in steps:
            step.log.replicas = max(step.log.replicas, len(steps))

    def holds(self, replicas: Sequence[_Replica]) -> bool:
        """Whether these are its members, in the stage in which they were stacked."""
        return self._members == [*replicas] and self._number == replicas[0].step.at[0]

    def dissolve(self) -> None:
        """Give every member that is not done memory of its own: one row would keep all alive."""
        for member in self._members:
            if member.result is None:
                _own_memory(_parts(member.step.method))

    def take(self) -> list[Terms]:
        """Take the step of every member."""
        terms = self._backward(self._buffers)
        rows = {n: p.grad.unbind() for n, p in self._trained.items() if p.grad is not None}
        for i, own in enumerate(self._own):
            for name, parameter in own.items():
                parameter.grad = rows[name][i] if name in rows else None
        first, *others = (member.step.optimiser for member in self._members)
        first.step(others)
        return [{name: term[i] for name, term in terms.items()} for i in range(len(self._members))]

    def trials(self) -> list[_Trial]:
        """What the step would be for every member; nothing is changed."""
        before = [member.noise.state for member in self._members]
        try:
            buffers = {name: buffer.clone() for name, buffer in self._buffers.items()}
            terms = self._backward(buffers)
            after = [member.noise.state for member in self._members]
        finally:
            for member, state in zip(self._members, before, strict=True):
                member.noise.state = state
        gradients = {n: p.grad for n, p in self._trained.items() if p.grad is not None}

        def row(values: Mapping[str, Tensor], i: int) -> dict[str, Tensor]:
            return {name: value[i] for name, value in values.items()}

        return [
            _Trial(row(terms, i), row(gradients, i), row(buffers, i), noise)
            for i, noise in enumerate(after)
        ]

    def _backward(self, buffers: Mapping[str, Tensor]) -> Terms:
        """Terms by name, each (k,); their sum's gradient is every member's own."""
        batches = _joined_trees([_tensors(member.step.batch) for member in self._members])
        self._losses.epoch = self._members[0].step.at[1]
        values = {**self._parameters, **buffers}
        terms = vmap(self._one, randomness="error")(values, self._weights, batches)
        for parameter in self._trained.values():
            parameter.grad = None
        sum(terms.values()).sum().backward()
        return {name: term.detach() for name, term in terms.items()}

    def _one(self, values: dict[str, Tensor], weights: dict[str, Tensor], batch: Any) -> Terms:
        named = {f"parts.{name}": value for name, value in values.items()}
        return functional_call(self._losses, named, (weights, batch))


class _Losses(nn.Module):
    """The losses of a stage, computed by a copy of its method that any replica can stand in for."""

    def __init__(self, step: Step, noises: Sequence[_Noise]) -> None:
        super().__init__()
        method = copy.deepcopy(step.method)
        self.parts = _parts(method)
        self._stage = method.stages()[step.number]
        self._with_task = [m for m in self.modules() if isinstance(_task(m), TaskSpec)]
        self.epoch = 0
        for module in [*self.modules()]:
            for name, child in module.named_children():
                if isinstance(child, nn.Dropout):
                    setattr(module, name, _OwnDraws(child, noises))

    def forward(self, weights: dict[str, Tensor], batch: dict[str, Any]) -> Terms:
        for module in self._with_task:
            module.task = replace(_task(module), **weights)
        if "y" in batch:
            return self._stage.losses(Batch(**batch, epoch=self.epoch))
        return self._stage.losses({m: Batch(**b, epoch=self.epoch) for m, b in batch.items()})


def _task(module: nn.Module) -> object:
    return getattr(module, "task", None)


def _parts(method: Method) -> nn.ModuleList:
    """A method and the frozen predictors that it builds on."""
    given = (predictor for predictors in method.given.values() for predictor in predictors.values())
    return nn.ModuleList([method, *given])


def _joined(of_each: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors of several modules in one each, by name; those given become its rows."""
    joined = {}
    for name in of_each[0]:
        own = [tensors[name] for tensors in of_each]
        joined[name] = torch.stack([tensor.detach() for tensor in own])
        for tensor, row in zip(own, joined[name], strict=True):
            tensor.data = row
    return joined


def _any(batch: Batch | Mapping[str, Batch]) -> Batch:
    return batch if isinstance(batch, Batch) else next(iter(batch.values()))


def _tensors(batch: Batch | Mapping[str, Batch]) -> dict[str, Any]:
    if isinstance(batch, Batch):
        return {"x": dict(batch.x), "y": batch.y, "index": batch.index, "group": batch.group}
    return {m: _tensors(own) for m, own in batch.items()}


def _joined_trees(trees: Sequence[Any]) -> Any:
    if isinstance(trees[0], Tensor):
        return torch.stack([*trees])
    return {key: _joined_trees([tree[key] for tree in trees]) for key in trees[0]}


def _reason(error: BaseException) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return first if len(first) <= 200 else f"{first[:200]} ..."


class _OwnDraws(nn.Module):
    """Dropout under vmap, with the mask that each replica draws from its own generator."""

    def __init__(self, dropout: nn.Dropout, noises: Sequence[_Noise]) -> None:
        super().__init__()
        self.training = dropout.training
        self.dropout = dropout
        self.noises = noises

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.dropout.p:
            return x
        return x * _Mask.apply(x.detach(), self.dropout, self.noises)


class _Mask(torch.autograd.Function):
    """What dropout makes of ones: (x, dropout, noises) → (B, ...) as x."""

    @staticmethod
    def forward(x: Tensor, dropout: nn.Dropout, noises: Sequence[_Noise]) -> Tensor:
        raise NotImplementedError("only under vmap")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(
        info: Any, dims: Any, x: Tensor, dropout: nn.Dropout, noises: Sequence[_Noise]
    ) -> tuple[Tensor, int]:
        shape = x.shape if dims[0] is None else x.movedim(dims[0], 0).shape[1:]
        # An image's channels are last in memory, and dropout draws in the order of the memory.
        last = len(shape) == 4
        ordered = (shape[0], *shape[2:], shape[1]) if last else (*shape,)
        if isinstance(dropout, Dropout) and dropout.p < 1:
            draws = x.new_empty(len(noises), dropout.draws(shape.numel()), dtype=torch.int64)
            for row, noise in zip(draws, noises, strict=True):
                dropout.draw_(row, noise.generator)
            mask = dropout.kept(draws)[:, : shape.numel()].reshape(-1, *ordered)
        else:
            rows = []
            for noise in noises:
                with noise.active():
                    rows.append(dropout(x.new_ones(ordered)))
            mask = torch.stack(rows)
        return (mask.movedim(-1, 2) if last else mask), 0
