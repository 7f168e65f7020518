"""Checks that nothing leaks: no test sample into training, no other modality into a deployment.

A check is a function of a `Case` that returns a sentence for each fault and what it has measured,
or None where it does not apply. Where nothing is measured, numbers are compared bit by bit: both
sides are the same operations on the same numbers.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.conformance.case import Case, Found, Measured, inputs, outputs, shortened
from benchmark.conformance.images import known
from benchmark.conformance.problem import Combination
from benchmark.planning.building import build
from benchmark.spec import RunSpec
from benchmark.training.process import reproducible
from methods.common.contract import ALL


def test_rows(case: Case) -> list[str]:
    """Corrupt every test row before anything is fitted: nothing that is fitted changes."""
    clean, spoilt = case.data, case.spoilt
    what = None
    if spoilt.task != clean.task:
        what = "the task's statistics"
    for m in clean.train.x:
        samples = clean.train.samples
        if not torch.equal(clean.train.x[m][samples], spoilt.train.x[m][samples]):
            what = f"the standardisation of {m}"
    what = what or case.spoilt_differs
    if what is None:
        return []
    if case.repetition_differs:
        return ["it cannot be told, as two trainings with the same seed differ: mend that first"]
    return [f"{what} depends on the test rows: learn from the batches that a stage is given alone"]


def alone(case: Case) -> list[str]:
    """The predictors' states, loaded in a fresh process, give the same outputs."""
    predictors = case.short.trained.predictors
    x = {m: inputs(case.data, m) for m in predictors}
    package = io.BytesIO()
    states = {m: predictor.state_dict() for m, predictor in predictors.items()}
    torch.save({"states": states, "x": x}, package)
    # Another seed: what the state lacks is not what it was here.
    spec = replace(case.spec(), seed=99)
    arguments = (spec, case.combination, case.plugins, package.getvalue())
    there = case.fresh.submit(_rebuilt, *arguments).result()
    faults = []
    for m, predictor in predictors.items():
        if isinstance(there[m], str):
            faults.append(
                f"the predictor of {m} cannot be rebuilt from its state ({there[m]}): create all "
                "its modules and buffers, in their final shapes, when the method is built"
            )
        elif not np.array_equal(there[m], outputs(predictor, x[m]).numpy()):
            faults.append(
                f"the predictor of {m} gives other outputs in a fresh process: keep all that it "
                "needs in parameters and buffers of its own"
            )
    return faults


def _rebuilt(
    spec: RunSpec, combination: Combination, plugins: tuple[Path, ...], package: bytes
) -> dict[str, np.ndarray | str]:
    """In the fresh process: each deployment's outputs, or why it has none."""
    import methods

    reproducible("cpu")
    methods.load(plugins)
    content = torch.load(io.BytesIO(package), weights_only=True)
    with known():
        method = build(spec, combination.modalities, combination.problem)
    results: dict[str, np.ndarray | str] = {}
    for m, state in content["states"].items():
        predictor = method.predictor(m)
        try:
            predictor.load_state_dict(state)
        except RuntimeError as error:
            results[m] = shortened(error)
            continue
        results[m] = outputs(predictor, content["x"][m]).numpy()
    return results


def others(case: Case) -> list[str] | None:
    """With every other modality missing (NaN), a deployment gives the same outputs."""
    predictors = case.short.trained.predictors
    if ALL in predictors:
        return None
    x = {m: inputs(case.data, m) for m in predictors}
    clean = {m: outputs(predictor, x[m]) for m, predictor in predictors.items()}
    faults = []
    for m, predictor in predictors.items():
        for j in set(predictors) - {m}:
            with suppress(ValueError):  # it may refuse NaN
                outputs(predictors[j], torch.full_like(x[j], torch.nan))
        if not torch.equal(outputs(predictor, x[m]), clean[m]):
            faults.append(
                f"the outputs for {m} change when the other modalities are NaN: a predictor must "
                "see nothing but the modality that it is called with"
            )
    return faults


COMPANY = 1e-3
"""Of the largest output. Sums in another order change a few millionths of it at most; what depends
on the batch changes it by orders of magnitude more."""


def company(case: Case) -> Found:
    """A sample's output depends neither on its place nor on the others of the test part."""
    found: Found = []
    for m, predictor in case.short.trained.predictors.items():
        x = inputs(case.data, m)
        whole = outputs(predictor, x)
        rows = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
        rows = rows[: len(whole) // 2]
        some = outputs(predictor, _take(x, rows))
        change = (some - whole[rows]).abs().max() / whole.abs().max().clamp_min(1e-30)
        measured = Measured(float(change), COMPANY, "change of an output in other company")
        found.append(measured)
        if not measured.passed:
            found.append(
                f"the output for a sample of {m} changes with the order or the company of the "
                "test samples: in eval mode, compute it from that sample alone"
            )
    return found


def _take(x: Tensor | Mapping[str, Tensor], rows: Tensor) -> Tensor | dict[str, Tensor]:
    return x[rows] if isinstance(x, Tensor) else {m: _take(x_m, rows) for m, x_m in x.items()}
