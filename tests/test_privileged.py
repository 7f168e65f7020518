"""Privileged information in streams and towers: hallucination and tram."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmark.errors import UserError
from methods.common.registry import REGISTRY
from methods.hallucination import hallucination_loss
from tests import problems
from tests.by_hand import build

KEYS = ["hallucination", "tram"]
KINDS = [("series", "vector"), ("image", "vector", "series")]
TASKS = ["binary", "multiclass", "multilabel", "regression"]


def ready(key, specs, task, **changes):
    """A method by hand in eval mode, with a batch."""
    return build(key, specs, task, **changes).eval(), problems.batch(specs, task)


def started(method):
    """The stages of a hallucination, each begun."""
    stages = method.stages()
    for stage in stages:
        if stage.on_start:
            stage.on_start(8)
    return stages


def gradients(module):
    return [p.grad for p in module.parameters()]


# What holds for both


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("key", KEYS)
def test_trains_on_every_task_and_kind_of_modality(key, kind, kinds):
    data = problems.dataset(kind, kinds, samples=60, groups=None)
    trained = problems.train(problems.run_spec(key, data), data)
    assert set(trained.predictors) == set(data.modalities)
    for m, predictor in trained.predictors.items():
        output = predictor(torch.from_numpy(data.x[m][:5]))
        assert output.shape == (5, data.task.outputs)
        assert output.isfinite().all()


@pytest.mark.parametrize("key", KEYS)
def test_training_twice_gives_the_same_weights(key):
    data = problems.dataset(samples=60, groups=None)
    spec = problems.run_spec(key, data)
    first, second = (problems.train(spec, data).predictors for _ in range(2))
    for m in first:
        weights = zip(first[m].state_dict().values(), second[m].state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in weights)


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("key", KEYS)
def test_all_is_trained_in_some_stage_and_nothing_out_of_turn(key, kinds):
    specs, task = problems.modalities(kinds), problems.task("multiclass")
    method, batch = ready(key, specs, task)
    trained = set()
    for stage in started(method):
        method.zero_grad()
        own = {id(p) for module in stage.modules for p in module.parameters()}
        sum(stage.losses(batch).values()).backward()
        moved = {id(p) for p in method.parameters() if p.grad is not None}
        assert moved == own
        trained |= moved
    assert REGISTRY[key].never_trained == ()
    assert trained == {id(p) for p in method.parameters()}


@pytest.mark.parametrize("key", KEYS)
def test_a_predictor_works_from_its_own_state(key):
    specs, task = problems.modalities(KINDS[0]), problems.task("multiclass")
    method, batch = ready(key, specs, task)
    other = build(key, specs, task, seed=5).eval()
    for m in specs:
        fresh = deepcopy(other.predictor(m))
        fresh.load_state_dict(method.predictor(m).state_dict())
        assert torch.equal(fresh(batch.x[m]), method.predictor(m)(batch.x[m]))


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("hallucination", {"T": 0.0}),
        ("hallucination", {"lambda_2": 1.5}),
        ("hallucination", {"lambda_3": -1.0}),
        ("tram", {"w": 0.0}),
    ],
)
def test_impossible_hyperparameters_are_refused(key, changes):
    with pytest.raises(UserError, match=key):
        build(key, problems.modalities(), problems.task("binary"), **changes)


# Hallucination


def test_streams_go_on_from_the_single_nets():
    specs, task = problems.modalities(KINDS[1]), problems.task("multiclass")
    method, batch = ready("hallucination", specs, task)
    streams, *_ = started(method)
    outputs = [method.given[m][m](batch.x[m]) for m in specs]
    expected = task.loss(sum(outputs) / 3, batch.y)
    assert torch.allclose(streams.losses(batch)["task"], expected)
    assert torch.allclose(streams.validate(batch), expected)


def test_a_hallucination_starts_with_the_head_it_stands_in_for():
    specs, task = problems.modalities(KINDS[1]), problems.task("multiclass")
    method, _ = ready("hallucination", specs, task)
    started(method)
    for m in specs:
        assert set(method.H[m]) == set(specs) - {m}
        for j, H_j in method.H[m].items():
            assert torch.equal(H_j.head.weight, method.given[j][j].head.weight)


@pytest.mark.parametrize("kind", TASKS)
def test_all_weight_on_the_hard_targets_gives_single_nets(kind):
    specs, task = problems.modalities(KINDS[0]), problems.task(kind)
    method, batch = ready("hallucination", specs, task, lambda_1=0.0, lambda_2=1.0)
    _, stage, _ = started(method)
    terms = stage.losses(batch)
    assert terms["soft"] == 0 and terms["hallucination"] == 0
    sum(terms.values()).backward()
    for m, j in (("m1", "m2"), ("m2", "m1")):
        single = build("single", {m: specs[m]}, task).eval()
        single.net.load_state_dict(method.H[m][j].state_dict())
        single.losses(batch)["task"].backward()
        pairs = zip(gradients(method.H[m][j]), gradients(single.net), strict=True)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


@pytest.mark.parametrize("kind", TASKS)
def test_a_perfect_hallucination_costs_nothing(kind):
    specs, task = problems.modalities(("series", "series")), problems.task(kind)
    method, batch = ready("hallucination", specs, task)
    _, stage, _ = started(method)
    for m, j in (("m1", "m2"), ("m2", "m1")):
        method.H[m][j].load_state_dict(method.f[j].state_dict())
    same = replace(batch, x={"m1": batch.x["m1"], "m2": batch.x["m1"]})
    terms = stage.losses(same)
    assert terms["hallucination"] == 0
    assert terms["soft"].item() == pytest.approx(0, abs=1e-7)
    assert stage.losses(batch)["hallucination"] > 1e-6


@pytest.mark.parametrize("kind", TASKS)
def test_hallucination_terms_as_published(kind):
    specs, task = problems.modalities(KINDS[1]), problems.task(kind)
    weights = {"lambda_1": 0.3, "lambda_2": 0.6, "lambda_3": 2.0, "T": 3.0}
    method, batch = ready("hallucination", specs, task, **weights)
    _, stage, _ = started(method)
    expected = {"task": 0.0, "soft": 0.0, "hallucination": 0.0}
    for m in specs:
        for j in set(specs) - {m}:
            H, f = method.H[m][j], method.f[j]
            A_H, A_j = H.encoder(batch.x[m]), f.encoder(batch.x[j])
            s, t = H.head(A_H), f.head(A_j)
            squared = (A_j.sigmoid() - A_H.sigmoid()).pow(2).sum() / A_j.numel()
            expected["task"] += 0.6 * 0.7 * task.loss(s, batch.y)
            expected["soft"] += 0.6 * 0.3 * task.soft_target_distance(s, t, 3.0)
            expected["hallucination"] += 0.4 * 2.0 * squared
    terms = stage.losses(batch)
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(terms[name], value, atol=1e-6)
    assert torch.allclose(stage.validate(batch), sum(expected.values()), atol=1e-6)


def test_the_hallucination_loss_is_a_mean():
    rng = np.random.default_rng(0)
    A_H, A_j = (torch.from_numpy(rng.normal(size=(6, 5))) for _ in range(2))
    sigmoid = lambda A: 1 / (1 + np.exp(-A.numpy()))  # noqa: E731
    expected = ((sigmoid(A_j) - sigmoid(A_H)) ** 2).sum() / 30
    assert hallucination_loss(A_H, A_j).item() == pytest.approx(expected, rel=1e-12)
    twice = hallucination_loss(torch.cat([A_H, A_H]), torch.cat([A_j, A_j]))
    assert twice.item() == pytest.approx(expected, rel=1e-12)


def test_deployed_is_the_mean_of_the_real_and_the_hallucinated_streams():
    specs, task = problems.modalities(KINDS[1]), problems.task("multiclass")
    method, batch = ready("hallucination", specs, task)
    *_, stage = started(method)
    total = 0.0
    for m in specs:
        streams = [method.f[m], *(method.H[m][j] for j in specs if j != m)]
        mean = sum(stream(batch.x[m]) for stream in streams) / 3
        assert torch.allclose(method.predictor(m)(batch.x[m]), mean, atol=1e-6)
        total = total + task.loss(mean, batch.y)
        size = sum(p.numel() for p in method.predictor(m).parameters())
        assert size == 3 * sum(p.numel() for p in method.f[m].parameters())
    assert torch.allclose(stage.losses(batch)["task"], total, atol=1e-6)


# TRAM


@pytest.mark.parametrize("kinds", KINDS)
def test_the_deployed_head_does_not_move_the_features(kinds):
    specs, task = problems.modalities(kinds), problems.task("multiclass")
    method, batch = ready("tram", specs, task)
    method.losses(batch)["deployed"].backward()
    heads = {id(p) for net in method.nets.values() for p in net.head.parameters()}
    for p in method.parameters():
        assert (p.grad is not None) == (id(p) in heads)


def test_the_weight_of_the_deployed_head_is_for_that_head_alone():
    specs, task = problems.modalities(), problems.task("multiclass")
    moved = []
    for w in (1.0, 3.0):
        method, batch = ready("tram", specs, task, w=w)
        sum(method.losses(batch).values()).backward()
        moved.append(method)
    for m in specs:
        one, three = (method.nets[m] for method in moved)
        pairs = zip(gradients(one.encoder), gradients(three.encoder), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        assert torch.allclose(3 * one.head.weight.grad, three.head.weight.grad, atol=1e-6)


@pytest.mark.parametrize("kind", TASKS)
def test_constant_privileged_information_leaves_single_with_a_deeper_head(kind):
    specs, task = problems.modalities(), problems.task(kind)
    method, batch = ready("tram", specs, task)
    x = {"m1": batch.x["m1"], "m2": torch.ones_like(batch.x["m2"])}
    method.losses(replace(batch, x=x))["privileged"].backward()
    tower, encoder = method.pi["m1"], deepcopy(method.nets["m1"].encoder)
    encoder.zero_grad()
    a = F.relu(tower.privileged(tower.encoders["m2"](x["m2"][:2])))[0].detach()
    phi = encoder(x["m1"])
    width = a.shape[0]
    W, bias = tower.joint.weight[:, :-width], tower.joint.weight[:, -width:] @ a + tower.joint.bias
    deeper = tower.head(torch.cat([phi, F.relu(phi @ W.T + bias)], dim=1))
    task.loss(deeper, batch.y).backward()
    pairs = zip(gradients(method.nets["m1"].encoder), gradients(encoder), strict=True)
    assert all(torch.allclose(p, q, atol=1e-6) for p, q in pairs)


def test_a_tower_looks_at_the_other_modalities_only():
    specs, task = problems.modalities(KINDS[1]), problems.task("regression")
    method, batch = ready("tram", specs, task)
    for m in specs:
        phi = torch.randn(8, 16)
        output = method.pi[m](phi, batch.x)
        for j in specs:
            blank = {**batch.x, j: torch.full_like(batch.x[j], torch.nan)}
            touched = method.pi[m](phi, blank).isnan().all()
            assert touched == (j != m)
        assert not torch.allclose(output, method.pi[m](phi + 1, batch.x))
