"""No method learns from the test part, and none sees another modality when it is deployed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import pytest
import torch

from benchmark.conformance.case import corrupted
from benchmark.planning.split import Fold, folds
from benchmark.training.data import FoldData, Part, fold_data
from benchmark.training.fit import Trained, fit, outputs
from datasets.common.contract import EODataset
from methods.common.registry import REGISTRY
from tests import problems

TASKS = ("binary", "multiclass", "multilabel", "regression")
MIXTURES = (("series", "vector"), ("series", "series"))

# The methods of the benchmark: what other tests put into the registry does not belong to it.
KEYS = tuple(REGISTRY)


def kinds_for(key: str, kind: str) -> tuple[str, ...] | None:
    """The first mixture of modalities that a method can run on."""
    for kinds in MIXTURES:
        if REGISTRY[key].applicable(problems.modalities(kinds), problems.task(kind)) is None:
            return kinds
    return None


CASES = [(key, kind) for key in KEYS for kind in TASKS if kinds_for(key, kind)]


def problem(key: str, kind: str) -> EODataset:
    return problems.dataset(kind, kinds_for(key, kind), samples=48, groups=None)


def train(
    key: str, data: EODataset, fold: Fold, statistics: str = "training"
) -> tuple[FoldData, Trained]:
    ready = fold_data(data, fold, statistics, torch.device("cpu"))
    return ready, fit(
        problems.run_spec(key, data), data.modalities, ready, lambda _, __, train: train()
    )


@cache
def clean(key: str, kind: str) -> tuple[EODataset, Fold, FoldData, Trained]:
    """A method trained on data as they are; its three tests share it."""
    data = problem(key, kind)
    fold = folds(data, problems.protocol_values())[0]
    return data, fold, *train(key, data, fold)


def same(first: Trained, second: Trained) -> bool:
    """Bit-identical states of all predictors."""
    a, b = ({m: p.state_dict() for m, p in t.predictors.items()} for t in (first, second))
    return a.keys() == b.keys() and all(
        a[m].keys() == b[m].keys() and all(torch.equal(a[m][k], b[m][k]) for k in a[m]) for m in a
    )


@pytest.mark.parametrize("key", KEYS)
def test_every_method_runs_on_some_problem_of_this_file(key):
    """Otherwise it would be left out of all tests below."""
    assert any(kinds_for(key, kind) for kind in TASKS)


# --- The test part ------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "kind"), CASES)
def test_a_corrupted_test_part_changes_nothing_that_is_fitted(key, kind):
    data, fold, before, trained = clean(key, kind)
    after, again = train(key, corrupted(data, fold.test), fold)
    assert after.task == before.task
    assert same(trained, again)
    for one, other in zip(trained.stages, again.stages, strict=True):
        assert (one.losses, one.validation) == (other.losses, other.validation)


@pytest.mark.parametrize("kind", TASKS)
def test_the_corruption_would_be_noticed(kind):
    """In the training part it changes the task's statistics, the states or both."""
    data, fold, before, trained = clean("single", kind)
    # Inputs stay finite, so that training goes on.
    spoilt = replace(data, y=corrupted(data, fold.train[:3]).y)
    after, again = train("single", spoilt, fold)
    assert not same(trained, again)
    assert (after.task == before.task) == (kind == "multilabel")


@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_statistics_over_all_samples_are_the_leak_that_the_corruption_shows(kind):
    """What the protocol of the release does: the same change then reaches the trained states."""
    data, fold, *_ = clean("single", kind)
    spoilt = replace(data, x={m: a.copy() for m, a in data.x.items()})
    for a in spoilt.x.values():
        a[fold.test] *= 10
    (_, first), (_, second) = (train("single", d, fold, "all") for d in (data, spoilt))
    assert not same(first, second)


# --- Deployment ---------------------------------------------------------------------------------


FRESH_PROCESS = """
import json, sys
import torch
from benchmark.planning.building import build
from benchmark.spec import RunSpec
from tests import problems

cases = torch.load(sys.argv[1], weights_only=True)
results = []
for case in cases:
    spec = RunSpec(**json.loads(case["spec"]))
    method = build(spec, problems.modalities(case["kinds"]), problems.task(case["kind"]))
    output = {}
    for m, state in case["states"].items():
        predictor = method.predictor(m)
        predictor.load_state_dict(state)
        with torch.no_grad():
            output[m] = predictor.eval()(case["x"] if m == "all" else case["x"][m])
    results.append(output)
torch.save(results, sys.argv[2])
"""


def test_a_predictor_works_from_its_state_alone_in_a_fresh_process(tmp_path):
    """The method is built there from another seed, so that all that counts must be in the state."""
    cases, expected = [], []
    for key, kind in CASES:
        data, _, ready, trained = clean(key, kind)
        spec = replace(problems.run_spec(key, data), seed=99)
        x = ready.test.batch(torch.arange(7)).x
        states = {m: p.state_dict() for m, p in trained.predictors.items()}
        kinds = list(kinds_for(key, kind))
        cases.append(
            {
                "spec": json.dumps(asdict(spec)),
                "kind": kind,
                "kinds": kinds,
                "states": states,
                "x": x,
            }
        )
        with torch.no_grad():  # as in the other process: torch may take other kernels for gradients
            expected.append(
                {m: p(x if m == "all" else x[m]) for m, p in trained.predictors.items()},
            )
    torch.save(cases, tmp_path / "cases.pt")
    files = [str(tmp_path / "cases.pt"), str(tmp_path / "outputs.pt")]
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, *files], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = torch.load(tmp_path / "outputs.pt", weights_only=True)
    for case, ours, theirs in zip(CASES, expected, results, strict=True):
        assert ours.keys() == theirs.keys()
        for m in ours:
            assert torch.equal(ours[m], theirs[m]), (*case, m)


class Missing:
    """A modality of a part that holds no value at all."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __getitem__(self, samples: torch.Tensor) -> torch.Tensor:
        return torch.full((len(samples), *self.shape), float("nan"))


def with_only(m: str, data: EODataset, part: Part) -> Part:
    """A part in which all modalities but ``m`` are missing."""
    others = {j: Missing(spec.shape) for j, spec in data.modalities.items() if j != m}
    return replace(part, x={**part.x, **others})


@pytest.mark.parametrize(("key", "kind"), CASES)
def test_scores_do_not_depend_on_the_other_modalities(key, kind):
    data, _, ready, trained = clean(key, kind)
    bound = REGISTRY[key].method.sees_all
    assert set(trained.predictors) == ({"all"} if bound else set(data.modalities))
    for m in data.modalities:
        deployment = "all" if bound else m
        predictor = trained.predictors[deployment]
        with torch.no_grad():
            whole = outputs(predictor, deployment, ready.test)
            alone = outputs(predictor, deployment, with_only(m, data, ready.test))
        assert whole.isfinite().all()
        # A bound is declared to see all modalities, and does: what is missing shows.
        assert alone.isnan().all() if bound else torch.equal(whole, alone)


@pytest.mark.parametrize(("key", "kind"), CASES)
def test_a_deployment_depends_on_its_own_modality(key, kind):
    """A predictor of constants, one of the controls, passes all tests above."""
    data, _, ready, trained = clean(key, kind)
    for m, predictor in trained.predictors.items():
        x = ready.test.batch(torch.arange(8)).x
        output = predictor(x if m == "all" else x[m])
        assert output.shape == (8, data.task.outputs)
        assert (output != output[:1]).any() == (key != "constant")
