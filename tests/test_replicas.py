"""Replicas: several folds and seeds trained at once give the numbers of one after the other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmark import records
from benchmark.planning.split import folds
from benchmark.problem import TaskSpec
from benchmark.training import execute, replicas
from benchmark.training.data import FoldData, StandardisedModality, fold_data
from benchmark.training.fit import TrainingError, fit
from benchmark.training.replicas import UnlikeError, fit_together
from methods.common.registry import REGISTRY, Entry
from methods.fusion import FusionConcat
from tests.problems import dataset, protocol_values, run_spec

CPU = torch.device("cpu")


@pytest.fixture
def double(monkeypatch):
    """Training in double precision, where rounding does not hide whether two ways are the same.

    In single precision they cannot be told apart from a mistake: the gradient of a bias before
    BatchNorm is 0 but for rounding, Adam makes steps of any size of it, and predictions differ
    by 1e-3 from one way of rounding to another.
    """
    get, targets = StandardisedModality.__getitem__, TaskSpec.targets

    def double_targets(task: TaskSpec, y):
        found = targets(task, y)
        return found.double() if found.is_floating_point() else found

    monkeypatch.setattr(StandardisedModality, "__getitem__", lambda x, i: get(x, i).double())
    monkeypatch.setattr(TaskSpec, "targets", double_targets)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def problem(method, kind="multiclass", which=((0, 0), (1, 0), (0, 1)), samples=95, **values):
    """Specs of a method on folds and seeds, its data, and the data of each."""
    data = dataset(kind, samples=samples, groups=None)
    base = run_spec(method, data, protocol=protocol_values(**values))
    numbers = folds(data, base.protocol)
    specs = [replace(base, fold=fold, seed=seed) for fold, seed in which]
    return specs, data, [fold_data(data, numbers[s.fold], "training", CPU) for s in specs]


def without_cache(_, __, train):
    return train()


def both_ways(specs, data, ready):
    together = fit_together(specs, data.modalities, ready, without_cache)
    alone = [
        fit(spec, data.modalities, own, without_cache)
        for spec, own in zip(specs, ready, strict=True)
    ]
    return alone, together


def predictions(trained, data: FoldData):
    x = data.test.batch(torch.arange(len(data.test))).x
    with torch.no_grad():
        return {m: p(x if m == "all" else x[m]) for m, p in trained.predictors.items()}


def history(trained):
    """All that is counted in a training."""
    return [(s.stage, s.epochs, s.steps, s.flops, s.best_epoch) for s in trained.stages]


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("single", "binary"),
        ("mdico", "multiclass"),
        ("kd", "multilabel"),
        ("discom_kd", "multiclass"),
        ("esensi", "regression"),
        ("ogm", "multiclass"),
    ],
)
def test_replicas_give_the_predictions_of_one_by_one(method, kind, double):
    specs, data, ready = problem(method, kind, epochs=4, patience=2, learning_rate=0.01)
    train = ready[1].train
    fewer = replace(train, y=train.y[:-9], samples=train.samples[:-9])  # one step fewer an epoch
    ready[1] = replace(ready[1], train=fewer)
    for own, other, part in zip(*both_ways(specs, data, ready), ready, strict=True):
        assert all(stage.replicas == 3 and not stage.refused for stage in other.stages)
        assert history(own) == history(other)
        expected = predictions(own, part)
        for m, found in predictions(other, part).items():
            torch.testing.assert_close(found, expected[m], rtol=0, atol=1e-5)


def test_placebos_are_trained_together_as_one_by_one(double):
    specs, data, ready = problem("gen_distill", "regression", epochs=3)
    for m in data.modalities:
        twins = [replace(spec, placebo=m) for spec in specs]
        plain = fit(specs[0], data.modalities, ready[0], without_cache)
        for own, other, part in zip(*both_ways(twins, data, ready), ready, strict=True):
            assert history(own) == history(other)
            torch.testing.assert_close(
                predictions(other, part)[m], predictions(own, part)[m], rtol=0, atol=1e-5
            )
            assert not torch.allclose(predictions(own, part)[m], predictions(plain, part)[m])


def test_each_replica_stops_by_itself(double):
    which = [(fold, seed) for fold in (0, 1) for seed in (0, 1)]
    specs, data, ready = problem(
        "fusion_concat", which=which, epochs=12, patience=1, learning_rate=0.03
    )
    alone, together = both_ways(specs, data, ready)
    assert len({own.stages[0].epochs for own in alone}) > 1
    assert [history(own) for own in alone] == [history(own) for own in together]


def test_who_goes_on_to_the_next_stage_alone_keeps_no_memory_of_others(monkeypatch):
    which = [(fold, seed) for fold in (0, 1) for seed in (0, 1)]
    specs, data, ready = problem("shaspec", which=which, epochs=12, patience=1, learning_rate=0.03)
    take, kept = replicas._Steps.take, []

    def watched(steps, live):
        take(steps, live)
        stacked = steps._stack._members if steps._stack else []
        for replica in live:
            if replica.result is None and replica not in stacked:
                parameter = next(replica.step.method.parameters())
                kept.append(parameter.untyped_storage().nbytes() / parameter.nbytes)

    monkeypatch.setattr(replicas._Steps, "take", watched)
    fit_together(specs, data.modalities, ready, without_cache)
    assert set(kept) == {1}


def test_in_single_precision_the_losses_are_the_same_to_1e_5():
    specs, data, ready = problem("mdico", epochs=3)
    for own, other in zip(*both_ways(specs, data, ready), strict=True):
        assert own.stages[0].losses == {
            name: pytest.approx(values, rel=1e-5) for name, values in other.stages[0].losses.items()
        }


def same(own, other, part):
    """Bit for bit."""
    expected = predictions(own, part)
    return all(torch.equal(y, expected[m]) for m, y in predictions(other, part).items())


@pytest.mark.parametrize("method", ["dsensd", "constant"])
def test_what_cannot_be_stacked_is_trained_one_by_one_and_says_why(method):
    specs, data, ready = problem(method)
    for own, other, part in zip(*both_ways(specs, data, ready), ready, strict=True):
        (stage,) = other.stages
        assert stage.replicas == 1
        assert stage.refused is None if method == "constant" else "random" in stage.refused
        assert same(own, other, part)


class Remembers(FusionConcat):
    """Keeps a tensor of its own, of which torch knows nothing: other replicas must not get it."""

    late = 0

    def start(self, n):
        self.scale = torch.rand(())

    def stages(self):
        return [replace(stage, on_start=self.start) for stage in super().stages()]

    def losses(self, batch):
        scale = self.scale if batch.epoch >= self.late else 1.0
        return {name: scale * term for name, term in super().losses(batch).items()}


class RemembersLate(Remembers):
    late = 1


@pytest.fixture
def registered():
    def add(key, method):
        REGISTRY[key] = Entry(key, method, "control", "", "", None, "this benchmark")
        added.append(key)
        return key

    added: list[str] = []
    yield add
    for key in added:
        del REGISTRY[key]


def test_a_step_that_gives_other_numbers_together_is_noticed(registered):
    specs, data, ready = problem(registered("remembers", Remembers))
    for own, other, part in zip(*both_ways(specs, data, ready), ready, strict=True):
        assert other.stages[0].refused.startswith("together gives other losses")
        assert same(own, other, part)
    specs, data, ready = problem(registered("remembers_late", RemembersLate))
    with pytest.raises(UnlikeError, match="stage 'supervised': together gives other losses"):
        fit_together(specs, data.modalities, ready, without_cache)


def test_a_replica_that_fails_leaves_the_others_alone(double):
    specs, data, ready = problem("fusion_avg", "regression", which=((0, 0), (1, 0), (2, 0)))
    y = ready[1].train.y.clone()
    y[0] = float("nan")
    ready[1] = replace(ready[1], train=replace(ready[1].train, y=y))
    first, failed, last = fit_together(specs, data.modalities, ready, without_cache)
    assert isinstance(failed, TrainingError) and "became nan in epoch 1" in str(failed)
    for other, i in ((first, 0), (last, 2)):
        assert other.stages[0].replicas == 3 and not other.stages[0].refused
        own = predictions(fit(specs[i], data.modalities, ready[i], without_cache), ready[i])
        for m, found in predictions(other, ready[i]).items():
            torch.testing.assert_close(found, own[m], rtol=0, atol=1e-5)


def test_the_command_trains_groups_of_replicas(run, place, capsys):
    more = ("--replicas", "2", "--folds", "0-2")
    assert run("replicas", *more, methods="steady,raises,kd_self") == 1
    said = capsys.readouterr().out
    found, _ = records.read_all(place.folder / "replicas")
    by_method = {}
    for record in found:
        by_method.setdefault(record.spec.method, []).append(record)
    assert {m: {r.status for r in of} for m, of in by_method.items()} == {
        "steady": {"done"},
        "raises": {"failed"},
        "kd_self": {"done"},
    }
    at_once = [
        [s["replicas"] for s in r.stages]
        for r in sorted(by_method["kd_self"], key=lambda r: r.spec.fold)
    ]
    assert at_once == [[2, 2, 2], [2, 2, 2], [1, 1, 1]]
    assert "its share of 2 at once" in said


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("too many"), UnlikeError("other losses")])
def test_too_many_for_the_memory_are_halved_and_unlike_ones_run_one_by_one(
    error, run, place, monkeypatch
):
    sizes = []

    def limited(specs, *more):
        sizes.append(len(specs))
        if len(specs) > 1:
            raise error
        return fit_together(specs, *more)

    monkeypatch.setattr(execute, "fit_together", limited)
    results = type(error).__name__
    assert run(results, "--replicas", "3", "--folds", "0-2") == 0
    assert sizes == ([3, 2] if isinstance(error, torch.OutOfMemoryError) else [3])
    assert len(place.records(results)) == 3


@pytest.mark.parametrize("more", [("--workers", "2"), ("--timeout", "9"), ("--precision", "bf16")])
def test_replicas_go_with_one_process_in_full_precision(more, run, capsys):
    assert run("refused", "--replicas", "2", *more) == 2
    assert f"not with {more[0]}" in capsys.readouterr().err
