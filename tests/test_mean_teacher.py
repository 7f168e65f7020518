"""`new method --like ema`: a teacher that is a moving average of its student conforms, averages."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import methods
from benchmark import plugins
from benchmark.commands import main as cli
from benchmark.conformance.checks import check
from benchmark.conformance.problem import Combination
from methods.common.registry import REGISTRY
from tests import problems
from tests.by_hand import build


@pytest.fixture(scope="module")
def plugin(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("new")
    assert cli.main(["new", "method", "mean_teacher", "--like", "ema", "--out", str(folder)]) == 0
    return folder / "mean_teacher.py"


@pytest.fixture
def entry(plugin):
    methods.load([plugin])
    yield REGISTRY["mean_teacher"]
    plugins.unload([plugin], REGISTRY)


def test_it_passes_all_checks(entry, plugin):
    """`check mean_teacher` takes all combinations; here one."""
    with ProcessPoolExecutor(1) as fresh:
        combinations = [Combination("binary", ("series", "vector", "series"))]
        verdicts = check(entry, combinations, fresh, plugins=(plugin,))
    assert len(verdicts) > 10
    assert [v.faults for v in verdicts if v.faults] == []


def test_without_the_declaration_check_names_the_teachers(entry):
    undeclared = replace(entry, never_trained=())
    with ProcessPoolExecutor(1) as fresh:
        combinations = [Combination("binary", ("series", "vector", "series"))]
        verdicts = check(undeclared, combinations, fresh, checks=("gradients",))
    (fault,) = (fault for v in verdicts for fault in v.faults or ())
    assert "no gradient reaches teachers." in fault


def test_teachers_are_the_moving_average_of_their_students(entry):
    specs, task = problems.modalities(), problems.task("multiclass")
    method = build("mean_teacher", specs, task, decay=0.75)
    start = [p.clone() for p in method.teachers.parameters()]
    with torch.no_grad():
        for p in method.students.parameters():
            p.add_(1.0)
    method.follow(None)
    for before, after in zip(start, method.teachers.parameters(), strict=True):
        assert torch.allclose(after, before + 0.25)
    sum(method.losses(problems.batch(specs, task)).values()).backward()
    assert all(p.grad is None for p in method.teachers.parameters())
    assert all(p.grad is not None for p in method.students.parameters())
