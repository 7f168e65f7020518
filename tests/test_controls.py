"""The controls: a constant, a forest, and single nets again and wide."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from benchmark.errors import UserError
from benchmark.planning.split import folds
from benchmark.training.data import fold_data
from methods.common.encoders import Encoders
from methods.common.nets import mean_of_predictions
from methods.common.registry import REGISTRY
from methods.forest import Flatten, Forest
from tests import problems
from tests.by_hand import build

TASKS = ["binary", "multiclass", "multilabel", "regression"]
PUBLISHED = Encoders(dim=128, layer_norm=False, options={})


def fold(data):
    numbers = folds(data, problems.protocol_values())[0]
    return fold_data(data, numbers, "training", torch.device("cpu"))


def inputs(part, m):
    return part.x[m][part.samples]


@pytest.mark.parametrize("kind", TASKS)
def test_constant_predicts_the_frequencies_or_the_mean_of_the_training_part(kind):
    data = problems.dataset(kind, samples=60)
    ready = fold(data)
    trained = problems.train(problems.run_spec("constant", data), data)
    y = data.y[ready.train.samples]
    expected = {
        "binary": lambda: np.bincount(y, minlength=2) / len(y),
        "multiclass": lambda: np.bincount(y, minlength=4) / len(y),
        "multilabel": lambda: y.mean(axis=0),
        "regression": lambda: y.mean(),
    }[kind]()
    for m, predictor in trained.predictors.items():
        predicted = ready.task.predict(predictor(inputs(ready.test, m)))
        assert len(predicted) == len(ready.test)
        assert np.allclose(predicted, expected, rtol=1e-5)
    (stage,) = trained.stages
    assert (stage.stopped, stage.steps, stage.epochs) == ("fitted", 0, 0)
    assert trained.training_parameters == data.task.outputs


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_outputs_are_finite_where_a_class_or_label_never_or_always_occurs(kind):
    task = problems.task(kind)
    mean = torch.tensor([[0.0, 1.0, 0.0, 0.0][: task.outputs]])
    output = task.output(mean)
    assert output.isfinite().all()
    assert torch.allclose(task.predict(output), mean, atol=1e-6)


def test_what_learns_without_gradients_says_what_it_took():
    data = problems.dataset("regression", samples=60)
    constant, forest = (
        problems.train(problems.run_spec(method, data), data) for method in ("constant", "forest")
    )
    assert constant.stages[0].flops == len(fold(data).train)  # one addition a target
    trees = next(iter(forest.predictors.values()))[1]
    n, features = len(fold(data).train), 1
    assert forest.stages[0].flops > 100 * len(forest.predictors) * n * features * 4
    # Each tree: a comparison a level, and its leaf is added to the mean.
    assert trees.operations == 100 * (trees.depth + 1) and trees.depth > 1


@pytest.mark.parametrize("kind", TASKS)
def test_a_forest_of_tensors_predicts_what_scikit_learns_does(kind):
    rng = np.random.default_rng(0)
    x, task = rng.normal(size=(80, 6)).astype(np.float32), problems.task(kind)
    y = rng.normal(size=(80, task.outputs))
    grown = ExtraTreesRegressor(7, random_state=0).fit(x, y.squeeze())
    forest = Forest(task)
    forest.plant(grown.estimators_)
    expected = torch.from_numpy(grown.predict(x).reshape(80, -1)).float()
    reached = forest.value[forest_leaves(forest, torch.from_numpy(x))].mean(dim=1)
    assert torch.allclose(reached, expected, atol=1e-6)
    assert torch.equal(forest(torch.from_numpy(x)), task.output(reached))
    assert forest.depth == max(tree.get_depth() for tree in grown.estimators_)


def forest_leaves(forest, x):
    """The leaf of every sample in every tree, one sample and tree at a time."""
    leaves = torch.zeros(len(x), len(forest.roots), dtype=torch.long)
    for i, row in enumerate(x):
        for t, node in enumerate(forest.roots.tolist()):
            while forest.left[node] != node:
                smaller = row[forest.feature[node]] <= forest.threshold[node]
                node = int(forest.left[node] if smaller else forest.right[node])
            leaves[i, t] = node
    return leaves


def test_inputs_at_a_threshold_go_where_scikit_learn_sends_them():
    """x = 0.1 in single precision is above 0.1 in double precision."""
    x = np.array([[0.1], [0.3]], dtype=np.float32)
    grown = ExtraTreesRegressor(1, random_state=0).fit(x, [0.0, 1.0])
    forest = Forest(problems.task("regression"))
    forest.plant(grown.estimators_)
    (threshold,) = (t for t in grown.estimators_[0].tree_.threshold if t > 0)
    near = np.float32(threshold)
    around = [np.nextafter(near, np.float32(0)), near, np.nextafter(near, np.float32(1))]
    probes = np.array(around, dtype=np.float32)[:, None]
    assert np.array_equal(forest(torch.from_numpy(probes))[:, 0], grown.predict(probes))


def test_squared_error_on_one_hot_targets_is_the_gini_impurity():
    """So that one kind of forest serves classes and values."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(90, 3)), rng.integers(3, size=90)
    options = {"n_estimators": 5, "max_features": 1.0, "random_state": 0, "max_depth": 4}
    ours = ExtraTreesRegressor(**options).fit(x, np.eye(3)[y])
    theirs = ExtraTreesClassifier(**options, criterion="gini").fit(x, y)
    assert np.allclose(ours.predict(x), theirs.predict_proba(x))


def test_what_the_trees_see_of_each_kind_of_modality():
    flatten = Flatten()
    image = torch.tensor([[1.0, 0.0], [3.0, 0.0]])[None, None].expand(1, 2, 2, 2)
    assert flatten(image).tolist() == [[2.0, 0.0, 1.0, 0.0]]
    windows = torch.arange(24.0).reshape(1, 3, 2, 2, 2)
    assert torch.equal(flatten(windows), windows.mean(dim=(2, 3)).reshape(1, 6))
    assert flatten(torch.zeros(4, 3, 2)).shape == (4, 6)
    assert flatten(torch.zeros(4, 5)).shape == (4, 5)


def test_rare_classes_weigh_in_a_forest_what_they_weigh_in_the_loss():
    data = problems.dataset("binary", samples=120, groups=None)
    y = np.zeros(120, dtype=np.int64)
    y[::6] = 1
    noise = {m: np.zeros_like(a) for m, a in data.x.items()}
    data = replace(data, x=noise, y=y)
    ready = fold(data)
    trained = problems.train(problems.run_spec("forest", data), data)
    p = ready.task.predict(trained.predictors["m1"](inputs(ready.test, "m1")))
    # Nothing can be told from the input: balanced weights make the classes even.
    assert torch.allclose(p, torch.full_like(p, 0.5), atol=0.1)


@pytest.mark.parametrize("kind", TASKS)
def test_a_forest_is_loaded_from_its_state_alone(kind):
    data = problems.dataset(kind, ("series", "image", "vector"), samples=60)
    ready = fold(data)
    trained = problems.train(problems.run_spec("forest", data), data)
    file = io.BytesIO()
    torch.save({m: p.state_dict() for m, p in trained.predictors.items()}, file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    fresh = build("forest", data.modalities, data.task)
    for m, predictor in trained.predictors.items():
        loaded = fresh.predictor(m)
        loaded.load_state_dict(states[m])
        x = inputs(ready.test, m)
        assert torch.equal(loaded(x), predictor(x))
        assert sum(p.numel() for p in loaded.parameters()) > 0
    counted = sum(p.numel() for f in trained.predictors.values() for p in f.parameters())
    assert trained.training_parameters == counted


@pytest.mark.parametrize("changes", [{"trees": 0}, {"min_leaf": 0}, {"max_features": 1.5}])
def test_impossible_forests_are_refused(changes):
    with pytest.raises(UserError, match="forest: "):
        build("forest", problems.modalities(), problems.task("binary"), **changes)


# Networks


@pytest.mark.parametrize("kind", TASKS)
def test_single_wide_has_the_size_of_what_mdico_deploys(kind):
    specs, task = problems.modalities(), problems.task(kind)
    with torch.device("meta"):
        wide, mdico = (
            REGISTRY[key].method(specs, task, PUBLISHED) for key in ("single_wide", "mdico")
        )
    for m in specs:
        sizes = [sum(p.numel() for p in f.predictor(m).parameters()) for f in (wide, mdico)]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


@pytest.mark.parametrize("kind", TASKS)
def test_single_wide_trains_each_net_as_if_alone(kind):
    specs, task = problems.modalities(), problems.task(kind)
    method, batch = build("single_wide", specs, task).eval(), problems.batch(specs, task)
    terms = method.losses(batch)
    for m in specs:
        own = task.loss(method.predictor(m)(batch.x[m]), batch.y)
        assert torch.equal(terms[f"task_{m}"], own)
    terms["task_m1"].backward()
    assert all(p.grad is not None for p in method.nets["m1"].parameters())
    assert all(p.grad is None for p in method.nets["m2"].parameters())


def test_single_again_is_single_from_another_start():
    data = problems.dataset(samples=60, groups=None)
    single, again = (
        problems.train(problems.run_spec(key, data), data) for key in ("single", "single_again")
    )
    for m, predictor in single.predictors.items():
        states = predictor.state_dict(), again.predictors[m].state_dict()
        assert {k: v.shape for k, v in states[0].items()} == {
            k: v.shape for k, v in states[1].items()
        }
        assert not torch.equal(*(s["head.weight"] for s in states))


@pytest.mark.parametrize("kind", TASKS)
def test_the_prediction_of_single_ensemble_is_the_mean_of_two_single_nets_predictions(kind):
    data = problems.dataset(kind, samples=60, groups=None)
    ready = fold(data)
    single, again, ensemble = (
        problems.train(problems.run_spec(key, data), data).predictors
        for key in ("single", "single_again", "single_ensemble")
    )
    for m in data.modalities:
        x = inputs(ready.test, m)
        one, other, both = (ready.task.predict(nets[m](x)) for nets in (single, again, ensemble))
        assert torch.allclose(both, (one + other) / 2, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(one, other)


def test_single_ensemble_by_hand():
    """Of probabilities 0.8 and 0.4 the mean is 0.6; their logits' mean would give 0.62."""
    outputs = [torch.tensor([[0.8, 0.2]]).log(), torch.tensor([[0.4, 0.6]]).log() + 3.0]
    binary = problems.task("binary")
    mean = binary.predict(mean_of_predictions(outputs, binary))
    assert mean.tolist()[0] == pytest.approx([0.6, 0.4])
    labels = [torch.tensor([[0.8]]).logit(), torch.tensor([[0.4]]).logit()]
    multilabel = problems.task("multilabel")
    assert float(multilabel.predict(mean_of_predictions(labels, multilabel))) == pytest.approx(0.6)


def test_single_on_one_modality_is_not_moved_by_the_other():
    data = problems.dataset(samples=60, groups=None)
    other = replace(data, x={**data.x, "m2": -data.x["m2"]})
    first, second = (problems.train(problems.run_spec("single", d), d) for d in (data, other))
    states = [t.predictors["m1"].state_dict() for t in (first, second)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
