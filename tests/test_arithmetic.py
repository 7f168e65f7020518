"""Options that change how training computes: recorded, another run, and never in one table."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import benchmark.training.fit
from benchmark import records
from benchmark.planning.jobs import Job
from benchmark.report import write_report
from benchmark.training.execute import prepare_process
from tests.problems import dataset, run_spec, train

compiler = pytest.mark.skipif(
    not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++"))), reason="no C++ compiler"
)


def weights(trained):
    return torch.cat([p.flatten() for m in trained.predictors.values() for p in m.parameters()])


@pytest.mark.parametrize(
    ("kind", "method"), [("multiclass", "mdico"), ("multilabel", "crd"), ("regression", "isensd")]
)
def test_bfloat16_trains_other_numbers_and_keeps_weights_and_scores_in_float32(kind, method):
    data = dataset(kind)
    spec = run_spec(method, data)
    full, mixed = train(spec, data), train(replace(spec, precision="bfloat16"), data)
    assert weights(mixed).dtype == torch.float32
    assert not torch.equal(weights(full), weights(mixed))
    torch.testing.assert_close(weights(full), weights(mixed), atol=0.1, rtol=0.1)
    again = train(replace(spec, precision="bfloat16"), data)
    assert torch.equal(weights(mixed), weights(again))
    (first, *_), (other, *_) = full.stages, mixed.stages
    for name, curve in first.losses.items():
        assert other.losses[name] == pytest.approx(curve, rel=0.1, abs=0.1)


@pytest.mark.soak  # a minute of compiling
@compiler
def test_compiled_training_is_the_same_every_time():
    data = dataset()
    spec = replace(run_spec("single_wide", data), compiled=True)
    first, second = train(spec, data), train(spec, data)
    assert torch.equal(weights(first), weights(second))
    assert first.stages[0].flops == train(replace(spec, compiled=False), data).stages[0].flops


@pytest.mark.filterwarnings("ignore:Dynamo does not know")  # how to trace the method's pauses
@pytest.mark.parametrize(
    ("options", "precision", "compiled"),
    [
        ([], "float32", False),
        (["--precision", "bf16"], "bfloat16", False),
        pytest.param(["--compile"], "float32", True, marks=[compiler, pytest.mark.soak]),
    ],
)
def test_what_was_asked_for_is_in_the_record_and_the_next_command_skips_it(
    run, place, capsys, options, precision, compiled
):
    results = f"options-{precision}-{compiled}"
    for already in (0, 1):
        assert run(results, "--folds", "0", *options) == 0
        assert f"{already} were recorded already" in capsys.readouterr().out
    ((record,), _) = records.read_all(place.folder / results)
    assert (record.spec.precision, record.spec.compiled) == (precision, compiled)


def test_runs_of_another_precision_stand_in_tables_of_their_own(run, place, tmp_path):
    for options in ([], ["--precision", "bf16"]):
        assert run("both", *options, methods="single") == 0
    written = write_report(place.folder / "both", tmp_path, figures=False)
    assert not written.results.exclusions
    headings = [line for line in (tmp_path / "leaderboard.md").open() if line.startswith("## lfmc")]
    assert [", trained in bfloat16" in heading for heading in headings] == [False, True]


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float32"])
def test_tf32_is_on_in_the_steps_that_ask_for_it_and_nowhere_else(monkeypatch, precision):
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    seen = {"take": set(), "outputs": set()}

    def watched(name, function):
        def call(*given):
            seen[name].update(backend.allow_tf32 for backend in backends)
            return function(*given)

        monkeypatch.setattr(benchmark.training.fit, name, call)

    for name in seen:
        watched(name, getattr(benchmark.training.fit, name))
    data = dataset()
    spec = replace(run_spec("single", data), precision=precision)
    torch.backends.cudnn.allow_tf32 = True  # torch's default
    prepare_process(Job(spec, Path(), Path()))
    train(spec, data)
    assert seen == {"take": {precision == "tf32"}, "outputs": {False}}
    assert not any(backend.allow_tf32 for backend in backends)


def test_a_compiler_that_is_not_there_is_told_before_anything_runs(run, monkeypatch, capsys):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert run("without", "--compile") == 2
    assert "there is no C++ compiler on this machine" in capsys.readouterr().err
