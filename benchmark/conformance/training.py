"""Checks of the training: seeds, batches, gradients, frozen parts, artefacts, states, learning.

A check is a function of a `Case` that returns a sentence for each fault and what it has measured,
or None where it does not apply. Where nothing is measured, numbers are compared bit by bit: both
sides are the same operations on the same numbers.
"""

from __future__ import annotations

import fnmatch
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from benchmark.conformance.case import (
    LONG,
    LONGER,
    SHORT,
    Case,
    Found,
    Measured,
    Run,
    difference,
    inputs,
    listed,
    outputs,
    ready,
    shortened,
)
from benchmark.conformance.problem import easy, protocol_values, spec_of
from benchmark.planning.building import build
from benchmark.training.fit import TrainingError
from methods.common.contract import ALL


def runs(case: Case) -> list[str]:
    """It can be trained, and every modality gets a predictor with outputs of the task's shape."""
    predictors = case.short.trained.predictors
    method = case.short.own.method
    expected = {ALL} if method.sees_all else set(case.combination.modalities)
    if set(predictors) != expected:
        return [
            f"it deploys {', '.join(predictors)} instead of {', '.join(sorted(expected))}: leave "
            "`deployed` as it is, and set sees_all for a bound alone"
        ]
    shape = (len(case.data.test), case.data.task.outputs)
    found = {m: outputs(predictors[m], inputs(case.data, m)) for m in predictors}
    return [
        f"the outputs for {m} have shape {tuple(output.shape)} or are not finite: it must return "
        f"finite logits or values of shape {shape}"
        for m, output in found.items()
        if output.shape != shape or not output.isfinite().all()
    ]


def seeds(case: Case) -> list[str]:
    """The same seed gives the same numbers, another seed others unless declared otherwise."""
    faults = []
    what = case.repetition_differs
    if what:
        faults.append(
            f"two trainings with the same seed differ in {what}: draw from torch's global "
            "generator alone, which the harness seeds before every stage"
        )
    other = case.train(replace(case.spec(), seed=1))
    changed = difference(case.short.trained, other.trained) is not None
    if not changed and not case.entry.deterministic:
        faults.append(
            "another seed gives the same numbers: seed nothing yourself, or declare the entry "
            "deterministic=True"
        )
    if changed and case.entry.deterministic:
        faults.append(
            "declared deterministic, but another seed gives other numbers: drop the declaration"
        )
    return faults


def small_batches(case: Case) -> list[str]:
    """Losses stay finite with two samples a batch, one left over, and classes that are missing."""
    data = easy(case.combination, train=7, val=6, test=6)
    values = protocol_values(batch_size=2, epochs=7)
    try:
        case.train(spec_of(case.entry, data, values, {}), ready(data, values))
    except TrainingError as error:
        return [f"with two samples a batch, {error}: guard divisions, logarithms and empty sets"]
    return []


class LeakyReLU(TorchFunctionMode):
    """While this is active, a ReLU lets some gradient through below 0."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in (F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_):
            return F.leaky_relu(args[0], 0.1)
        return func(*args, **(kwargs or {}))


def gradients(case: Case) -> list[str]:
    """A gradient reaches every row of every parameter, but exactly those declared."""
    faults = [
        f"never_trained names '{pattern}', which matches no parameter: delete it or correct it"
        for pattern in case.entry.never_trained
        if not any(_covers(pattern, name) for o in case.long.observed for name in o.reached)
    ]
    faults += [
        f"after_step of stage '{stage}' changes nothing, nor do gradients what never_trained "
        "declares: let the hook change it in place, or delete what is not used"
        for observed in case.long.observed
        for stage in observed.idle
        if case.entry.never_trained
    ]
    runs = [case.long]
    missed, trained = _exceptions(runs, case.entry.never_trained)
    # What feeds a ReLU may be below 0 for all samples. If not so elsewhere, it is in use.
    for seed, values in ((1, SHORT), (2, LONG)):
        if missed:
            with LeakyReLU():
                spec = replace(case.spec(values), seed=seed)
                runs.append(case.train(spec, closely=True))
            missed, trained = _exceptions(runs, case.entry.never_trained)
    if missed:
        faults.append(
            f"no gradient reaches {listed(missed)}: use it, put it into a stage's modules, delete "
            "it, or declare it in never_trained"
        )
    if trained:
        faults.append(
            f"never_trained declares {listed(trained)}, which a gradient reaches: correct the "
            "declaration"
        )
    return faults


def _exceptions(runs: Iterable[Run], declared: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Rows that got no gradient in any run though not declared, and the other way round."""
    totals: dict[tuple[str, ...], dict[str, Tensor]] = {}
    for run in runs:
        for observed in run.observed:
            sums = totals.setdefault(tuple(observed.method.modalities), {})
            for name, rows in observed.reached.items():
                sums[name] = sums[name] | rows if name in sums else rows
    missed, trained = [], []
    for sums in totals.values():
        for name, reached in sums.items():
            expected = _declared(name, len(reached), declared)
            missed += _described(name, ~reached & ~expected)
            trained += _described(name, reached & expected)
    return missed, trained


HALF = "[half:]"
"""After a pattern: the second half of the rows."""


def _covers(pattern: str, name: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern.removesuffix(HALF))


def _declared(name: str, rows: int, patterns: tuple[str, ...]) -> Tensor:
    """(rows,) True where a pattern declares the parameter, or this half of it, never trained."""
    declared = torch.zeros(rows, dtype=torch.bool)
    for pattern in patterns:
        if _covers(pattern, name):
            declared[rows // 2 if pattern.endswith(HALF) else 0 :] = True
    return declared


def _described(name: str, rows: Tensor) -> list[str]:
    if not rows.any():
        return []
    if rows.all():
        return [name]
    numbers = rows.nonzero().flatten().tolist()
    if numbers == list(range(len(rows) // 2, len(rows))):
        return [name + HALF]
    shown = ", ".join(map(str, numbers[:3])) + (", ..." if len(numbers) > 3 else "")
    return [f"{len(numbers)} of {len(rows)} rows of {name} ({shown})"]


def frozen(case: Case) -> list[str]:
    """Nothing changes, BatchNorm buffers included, that a stage does not train."""
    return [
        f"{what}: keep what is not trained frozen and in eval mode, or name it in the stage's "
        "modules"
        for observed in case.long.observed
        for what in observed.thawed
    ]


def cache(case: Case) -> list[str] | None:
    """A cold, a warm and a deleted artefact cache give the same student, bit by bit."""
    if not case.spec().artefacts:
        return None
    cold = case.short.trained
    faults = []
    for name in ("warm", "deleted"):
        if name == "deleted":
            if case.spoilt_differs is None:  # it was trained without any cache
                break
            shutil.rmtree(case.folder / "artefacts")
        what = difference(cold, case.train(case.spec(), obtain=case.store).trained)
        if what:
            faults.append(
                f"with a {name} artefact cache, {what} is not what it was with a cold one: take "
                "nothing from an artefact but its predictors, and do not change them"
            )
    return faults


def state(case: Case) -> list[str]:
    """The method's state_dict, loaded into a fresh instance, gives the same outputs."""
    method = case.short.own.method
    fresh = build(replace(case.spec(), seed=99), case.dataset.modalities, case.data.task)
    fresh.given = method.given
    try:
        fresh.load_state_dict(method.state_dict())
    except RuntimeError as error:
        return [
            f"a fresh instance cannot load the trained one's state_dict ({shortened(error)}): "
            "create all "
            "modules and buffers in __init__, and make buffers that depend on the data "
            "persistent=False"
        ]
    faults = []
    for m in method.deployed:
        x = inputs(case.data, m)
        if not torch.equal(outputs(method.predictor(m), x), outputs(fresh.predictor(m), x)):
            faults.append(
                f"a fresh instance with the trained one's state_dict gives other outputs for {m}: "
                "keep what is learnt in parameters and buffers"
            )
    return faults


CONSTANT = "constant"
"""The method that is the bar of `learns`, key of its entry."""

LEARNT = 0.85
"""Of the loss of the best constant. The slowest to learn here, dsensd on multi-label tasks, stays
below 0.7 with three seeds, inputs changed by 1e-6, one and two threads and two sets of kernels; a
net that does not learn stays above 0.95."""

CLEARLY = 0.6
"""Who has got here needs no longer training."""


def learns(case: Case) -> Found | None:
    """Every deployment beats the best constant on a problem where it is easy."""
    if case.entry.key == CONSTANT:
        return None
    run = case.long
    if any(not share < CLEARLY for share in _losses(case, run).values()):
        run = case.train(case.spec(LONGER))
    found: Found = []
    for m, share in _losses(case, run).items():
        measured = Measured(share, LEARNT, f"loss ℓ of {m} over that of the best constant")
        found.append(measured)
        if not measured.passed:
            steps = sum(stage.steps for stage in run.trained.stages if not stage.artefact)
            found.append(
                f"after {steps} steps on an easy problem the loss ℓ of {m} on the test part is "
                f"{share:.2f} of that of the best constant: it must be below {LEARNT}; see that y "
                "reaches this predictor, and that its terms are in balance"
            )
    return found


def _losses(case: Case, run: Run) -> dict[str, float]:
    """Each deployment's loss on the test part over that of the constant that suits it best."""
    # Unweighted: the mean of these targets is the best constant then.
    task = replace(case.data.task, class_weights=None)
    y = case.data.test.y
    constant = task.output(task.numbers(y).mean(dim=0))
    lowest = float(task.loss(constant.expand(len(y), -1), y))
    return {
        m: float(task.loss(outputs(predictor, inputs(case.data, m)), y)) / lowest
        for m, predictor in run.trained.predictors.items()
    }
