"""The training loop: seeds, stages, early stopping and best states."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark.planning.split import folds
from benchmark.training.artefacts import ArtefactStore
from benchmark.training.data import fold_data
from benchmark.training.execute import features_of
from benchmark.training.fit import TrainingError, fit
from benchmark.training.optimiser import Adam
from methods.common.contract import Method, Stage
from methods.common.registry import REGISTRY, Entry
from tests.problems import dataset, protocol_values, run_spec, train


def states(trained):
    return {m: predictor.state_dict() for m, predictor in trained.predictors.items()}


def same(a, b):
    return all(torch.equal(a[m][k], b[m][k]) for m in a for k in a[m])


def test_same_spec_same_numbers_and_another_seed_others():
    data = dataset()
    spec = run_spec("mdico", data)
    first, second = train(spec, data), train(spec, data)
    assert same(states(first), states(second))
    assert first.stages[0].losses == second.stages[0].losses
    assert not same(states(first), states(train(replace(spec, seed=1), data)))


@pytest.mark.parametrize("method", ["kd", "late_ensemble", "single", "gen_distill"])
def test_warm_cold_and_deleted_artefact_cache_give_the_same_student(method, tmp_path):
    data = dataset()
    spec = run_spec(method, data)
    ready = fold_data(data, folds(data, spec.protocol)[0], "training", torch.device("cpu"))
    store = ArtefactStore(tmp_path)
    cold = fit(spec, data.modalities, ready, store)
    files = sorted((tmp_path / "artefacts").iterdir())
    assert files
    warm = fit(spec, data.modalities, ready, store)
    assert same(states(cold), states(warm))
    assert [s.as_json() for s in cold.stages if s.artefact] == [
        s.as_json() for s in warm.stages if s.artefact
    ]
    files[0].write_bytes(files[0].read_bytes()[:100])
    assert same(states(cold), states(fit(spec, data.modalities, ready, store)))
    assert files[0].with_suffix(".damaged").exists()
    for file in files:
        file.unlink()
    assert same(states(cold), states(fit(spec, data.modalities, ready, store)))


def test_a_late_ensemble_of_one_modality_is_that_single_net():
    data = dataset()
    ensemble = train(run_spec("late_ensemble", data), data).predictors["all"]
    single = train(run_spec("single", data), data).predictors
    x = {m: torch.as_tensor(a[:5]) for m, a in data.x.items()}
    for m in x:
        assert torch.equal(ensemble({m: x[m]}), single[m](x[m]))


def test_the_optimiser_is_torchs_adam_bit_for_bit():
    """Also for parameters that get a gradient in some steps only."""
    ours = [nn.Parameter(torch.randn(shape)) for shape in ((37, 19), (5,), (), (8, 3, 5))]
    theirs = copy.deepcopy(ours)
    optimisers = Adam(ours, lr=1e-3), torch.optim.Adam(theirs, lr=1e-3, fused=True)
    for step in range(12):
        for parameters, optimiser in zip((ours, theirs), optimisers, strict=True):
            optimiser.zero_grad()
            torch.manual_seed(step)
            for i, parameter in enumerate(parameters):
                gradient = torch.randn_like(parameter)
                if step % (i + 1) == 0 or i == 0:
                    parameter.grad = gradient
            optimiser.step()
        assert all(map(torch.equal, ours, theirs))


class Probe(Method):
    """A method whose validation loss is what a test wants it to be."""

    def __init__(self, modalities, task, encoder):
        super().__init__(modalities, task, encoder)
        self.offset = nn.ParameterDict({m: nn.Parameter(torch.zeros(1)) for m in modalities})

    def losses(self, batch):
        # The gradient of each parameter is 1: Adam lowers it by the learning rate at every step.
        return {"slope": sum(self.offset.values()).sum()}

    def stages(self):
        return [Stage("probe", [self.offset], self.losses, predictors=self.deployed)]

    def predictor(self, m):
        return Shift(self.offset[m], 0.05 if m == "m1" else 1.0)


class Shift(nn.Module):
    def __init__(self, offset, target):
        super().__init__()
        self.offset = offset
        self.target = target

    def forward(self, x):
        # Least where -offset equals the target, if all standardised y were 0.
        distance = (self.offset + self.target).abs()
        return distance * torch.ones(len(x), 1)


@pytest.fixture
def probe():
    entry = Entry("probe", Probe, "control", "", "", None, "this benchmark")
    REGISTRY["probe"] = entry
    yield entry
    del REGISTRY["probe"]


def test_each_predictor_stops_by_itself_and_keeps_its_best_state(probe):
    data = dataset("regression")
    data = replace(data, y=data.y - data.y.mean())
    values = protocol_values(epochs=40, patience=3, learning_rate=0.01, batch_size=16)
    trained = train(run_spec("probe", data, protocol=values), data)
    (log,) = trained.stages
    steps = log.steps // log.epochs
    assert log.best_epoch["m1"] < log.best_epoch["m2"]
    assert len(log.validation["m1"]) == log.best_epoch["m1"] + 1 + 3
    for m in ("m1", "m2"):
        kept = float(trained.predictors[m].offset)
        assert kept == pytest.approx(-0.01 * steps * (log.best_epoch[m] + 1), rel=1e-3)


def test_objective_stop_is_patience_5_with_min_delta_and_keeps_the_lowest(probe):
    data = dataset("regression")
    values = protocol_values(epochs=30, patience=5, min_delta=1e9, stop_on="objective")
    (log,) = train(run_spec("probe", data, protocol=values), data).stages
    # The first epoch sets the reference; nothing after it is better by min_delta.
    assert log.epochs == 1 + 5 and log.stopped == "patience"
    assert log.best_epoch == {"objective": 5}
    assert log.validation["objective"] == sorted(log.validation["objective"], reverse=True)


@pytest.fixture
def selecting(probe, monkeypatch):
    """Trains the probe with states selected from an epoch on; its validation ever gets worse."""
    monkeypatch.setattr(Probe, "predictor", lambda self, m: Shift(self.offset[m], -1.0))
    plain = Probe.stages

    def log_of(select_from, **values):
        def stages(self):
            return [replace(stage, select_from=select_from) for stage in plain(self)]

        monkeypatch.setattr(Probe, "stages", stages)
        data = dataset("regression")
        data = replace(data, y=data.y - data.y.mean())
        values = protocol_values(patience=3, learning_rate=0.01, **values)
        (log,) = train(run_spec("probe", data, protocol=values), data).stages
        return log

    return log_of


@pytest.mark.parametrize(("first", "epochs", "best"), [(0, 30, 0), (4, 30, 4), (9, 3, 2)])
def test_no_state_before_select_from_is_the_best_one(selecting, first, epochs, best):
    """Patience counts from it; where the cap comes first, the last state is taken."""
    log = selecting(first, epochs=epochs)
    assert log.best_epoch == {"m1": best, "m2": best}
    for watched in log.validation.values():
        assert watched == sorted(watched)
        assert len(watched) == min(best + 1 + 3, epochs)


def test_an_objective_is_selected_from_the_same_epoch_on(selecting):
    log = selecting(4, epochs=30, stop_on="objective", min_delta=1e9)
    assert log.epochs == 4 + 1 + 3 and log.stopped == "patience"


def test_a_loss_that_is_not_a_number_is_named(probe, monkeypatch):
    data = dataset("regression")
    monkeypatch.setattr(
        Probe, "losses", lambda self, batch: {"bad": self.offset["m1"].sum() * float("nan")}
    )
    with pytest.raises(
        TrainingError, match="loss term 'bad' became nan in epoch 1 of stage 'probe'"
    ):
        train(run_spec("probe", data), data)


@pytest.mark.parametrize("batch_size", [13, 60])
def test_a_last_batch_of_one_sample_is_left_out(batch_size):
    data = dataset("binary", samples=91, groups=None)
    fold = folds(data, protocol_values())[0]
    extra = len(fold.train) % batch_size
    values = protocol_values(batch_size=len(fold.train) - 1 if extra != 1 else batch_size)
    (log,) = train(run_spec("fusion_concat", data, protocol=values), data).stages
    assert log.steps == log.epochs * (len(fold.train) // values["batch_size"])


def test_all_methods_see_the_same_batches():
    data = dataset()
    seen = {}
    for method in ("mdico", "fusion_concat"):
        entry = REGISTRY[method]
        indices = seen.setdefault(method, [])

        class Spy(entry.method):
            def losses(self, batch, indices=indices):
                indices.append(batch.index.tolist())
                return super().losses(batch)

        REGISTRY[method] = replace(entry, method=Spy)
        try:
            train(run_spec(method, data), data)
        finally:
            REGISTRY[method] = entry
    assert seen["mdico"] == seen["fusion_concat"]


def test_frozen_teacher_is_untouched(tmp_path):
    data = dataset()
    spec = run_spec("kd", data)
    ready = fold_data(data, folds(data, spec.protocol)[0], "training", torch.device("cpu"))
    kept = {}

    def obtain(needed, predictors, train):
        trained = yield from train()
        kept["teacher"] = trained.predictors["all"]
        kept["before"] = copy.deepcopy(trained.predictors["all"].state_dict())
        return trained

    fit(spec, data.modalities, ready, obtain)
    after = kept["teacher"].state_dict()
    assert all(torch.equal(after[k], v) for k, v in kept["before"].items())


def test_training_flops_are_those_of_all_steps():
    data = dataset(samples=90)
    (stage,) = train(run_spec("fusion_concat", data), data).stages
    n = len(folds(data, protocol_values())[0].train)
    assert stage.steps == 2 * -(-n // 16)
    assert stage.flops > 0 and stage.flops % stage.steps == 0
    twice = replace(run_spec("fusion_concat", data), protocol=protocol_values(epochs=4))
    assert train(twice, data).stages[0].flops == 2 * stage.flops


@pytest.mark.parametrize("method", ["mdico", "com_cross", "com_memory", "shaspec", "crd"])
def test_operations_are_those_that_torch_counts(method, monkeypatch):
    class TorchCounter(FlopCounterMode):
        total = property(FlopCounterMode.get_total_flops)

        def __init__(self) -> None:
            super().__init__(display=False)

    data = dataset()
    ours = train(run_spec(method, data), data).stages
    monkeypatch.setattr("benchmark.training.fit.FlopCounter", TorchCounter)
    theirs = train(run_spec(method, data), data).stages
    assert [stage.flops for stage in ours] == [stage.flops for stage in theirs]
    assert all(stage.flops > 0 for stage in ours)


@pytest.mark.parametrize("method", ["mdico", "mmanet", "isensd"])
def test_counting_changes_no_number(method, monkeypatch):
    class NotCounting(nullcontext):
        total = 0

        def __init__(self) -> None:
            super().__init__(self)

    data = dataset()
    counted = train(run_spec(method, data), data)
    monkeypatch.setattr("benchmark.training.fit.FlopCounter", NotCounting)
    assert same(states(counted), states(train(run_spec(method, data), data)))


def test_features_are_those_of_the_deployed_predictor():
    data = dataset()
    spec = run_spec("mdico", data)
    ready = fold_data(data, folds(data, spec.protocol)[0], "training", torch.device("cpu"))
    trained = train(spec, data)
    kept = features_of(trained, ready.test)
    assert kept.keys() == {f"{m}/{p}" for m in data.x for p in ("shared", "specific", "unused")}
    x = ready.test.only(("m1",)).batch(torch.arange(len(ready.test))).x["m1"]
    predictor = trained.predictors["m1"]
    both = torch.cat([torch.from_numpy(kept[f"m1/{p}"]) for p in ("specific", "shared")], dim=1)
    assert torch.allclose(predictor.head(both), predictor(x), atol=1e-5)
    assert features_of(train(run_spec("single", data), data), ready.test) == {}
