"""OGM: the modality that is ahead takes smaller steps; linear heads on encoders are deployed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from benchmark.training.optimiser import Adam
from methods.ogm import coefficients, score
from tests import problems
from tests.by_hand import build

KINDS = [("series", "vector"), ("image", "vector", "series")]
TASKS = ["binary", "multiclass", "multilabel", "regression"]


def ready(kind="multiclass", kinds=KINDS[0], **changes):
    specs, task = problems.modalities(kinds), problems.task(kind)
    method = build("ogm", specs, task, **changes)
    return method, problems.batch(specs, task)


def test_scores_are_the_probabilities_of_the_truth():
    o = torch.tensor([[2.0, 0.0, -1.0, 0.5], [0.0, 1.0, 0.0, 0.0]])
    y = torch.tensor([0, 3])
    p = o.softmax(dim=1)
    weighted = replace(problems.task("multiclass"), class_weights=(9.0, 1.0, 1.0, 1.0))
    assert torch.allclose(score(weighted, o, y), p[0, 0] + p[1, 3])
    y = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    p = torch.where(y == 1, o[:, :3].sigmoid(), (-o[:, :3]).sigmoid())
    expected = p.prod(dim=1).pow(1 / 3).sum()
    assert torch.allclose(score(problems.task("multilabel"), o[:, :3], y), expected)
    found = score(problems.task("regression"), torch.tensor([[1.0], [0.0]]), torch.zeros(2, 1))
    assert found.item() == pytest.approx(np.exp(-1) + 1)


def test_who_is_ahead_is_slowed_down():
    k = coefficients(torch.tensor([3.0, 2.0]), alpha=0.4)
    assert k.tolist() == pytest.approx([1 - np.tanh(0.4 * 1.5), 1])
    assert coefficients(torch.tensor([2.0, 2.0]), alpha=0.4).tolist() == [1, 1]
    three = coefficients(torch.tensor([3.0, 1.0, 2.5]), alpha=0.1)
    expected = [1 - np.tanh(0.1 * 3 / 1.75), 1, 1 - np.tanh(0.1 * 2.5 / 2)]
    assert three.tolist() == pytest.approx(expected)
    assert coefficients(torch.tensor([3.0, 0.0]), alpha=0.0).tolist() == [1, 1]
    assert coefficients(torch.tensor([0.0, 0.0]), alpha=1.0).tolist() == [1, 1]


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("kind", TASKS)
def test_shares_make_the_fused_output_and_decide_the_coefficients(kind, kinds):
    method, batch = ready(kind, kinds, alpha=0.7)
    method.eval()
    z = method.net.embed(batch.x)
    shares = method.net.shares(z)
    assert torch.allclose(sum(shares), method.net(batch.x), atol=1e-5)
    D = z.shape[1] // len(shares)
    W, b = method.net.head.weight, method.net.head.bias
    assert torch.allclose(shares[1], z[:, D : 2 * D] @ W[:, D : 2 * D].T + b / len(shares))
    terms = method.joint_losses(batch)
    assert terms["task"] == method.task.loss(method.net(batch.x), batch.y)
    s = torch.stack([score(method.task, o, batch.y) for o in shares])
    assert torch.equal(method.net.k, coefficients(s, 0.7))


def steps(method, batch, rate):
    """What one step of plain SGD, and what is done after it, change of every parameter."""
    (fusion, _) = method.stages()
    fusion.on_start(8)
    sum(fusion.losses(batch).values()).backward()
    before = {n: p.detach().clone() for n, p in method.net.named_parameters()}
    gradients = {n: p.grad.clone() for n, p in method.net.named_parameters()}
    torch.optim.SGD(method.net.parameters(), lr=rate).step()
    fusion.after_step(batch)
    return before, gradients


@pytest.mark.parametrize("kinds", KINDS)
def test_a_step_of_sgd_is_one_with_modulated_gradients(kinds):
    method, batch = ready(kinds=kinds, alpha=0.9, sigma=0.0)
    method.double()
    batch = replace(batch, x={m: x.double() for m, x in batch.x.items()})
    before, gradients = steps(method, batch, 0.3)
    k = dict(zip(method.modalities, method.net.k.tolist(), strict=True))
    assert min(k.values()) < 0.5 and max(k.values()) == 1
    for name, p in method.net.named_parameters():
        part, m, *_ = name.split(".")
        share = k[m] if part == "encoders" and p.dim() > 1 else 1
        expected = before[name] - 0.3 * share * gradients[name]
        assert torch.allclose(p, expected, rtol=0, atol=1e-8), name


def test_adam_does_not_see_a_coefficient_of_its_gradients():
    """Why steps are modulated here: with Adam, smaller gradients make the same steps."""
    moved = []
    for k in (1.0, 0.3):
        weight = torch.nn.Parameter(torch.ones(5, 4))
        optimiser = Adam([weight], lr=1e-3)
        for i in range(20):
            weight.grad = k * torch.randn(5, 4, generator=torch.Generator().manual_seed(i))
            optimiser.step()
        moved.append(weight.detach() - 1)
    assert torch.allclose(*moved, rtol=1e-3) and moved[0].abs().min() > 0


def test_noise_is_as_large_as_the_step_that_it_is_added_to():
    method, batch = ready(alpha=0.0, sigma=2.0)
    before, gradients = steps(method, batch, 0.3)
    moved = dict(method.net.named_parameters())
    name = max((n for n in moved if n.startswith("encoders.m1")), key=lambda n: moved[n].numel())
    noise = moved[name] - (before[name] - 0.3 * gradients[name])
    assert noise.std().item() == pytest.approx(2 * 0.3 * gradients[name].std().item(), rel=0.2)
    for n in ("head.weight", "head.bias"):
        assert torch.allclose(moved[n], before[n] - 0.3 * gradients[n], atol=1e-7)


def test_without_modulation_and_noise_it_is_the_fusion_of_all():
    """The same weights and batches: the joint stage is `fusion_concat`."""
    data = problems.dataset("regression", samples=60, groups=None)
    spec = problems.run_spec("ogm", data)
    spec = replace(spec, hyperparameters={"alpha": 0.0, "sigma": 0.0})
    ogm = problems.train(spec, data)
    fusion = problems.train(problems.run_spec("fusion_concat", data), data)
    first, second = ogm.stages
    assert first.losses == fusion.stages[0].losses
    assert (first.stage, second.stage) == ("fusion", "probes")
    changed = problems.train(problems.run_spec("ogm", data), data)
    assert changed.stages[0].losses["task"][1] != first.losses["task"][1]


@pytest.mark.parametrize("kind", TASKS)
def test_the_second_stage_trains_heads_on_frozen_encoders(kind):
    method, batch = ready(kind, KINDS[1])
    method.eval()
    _, probes = method.stages()
    assert list(probes.modules) == [method.g] and set(probes.predictors) == set(method.modalities)
    expected = sum(
        method.task.loss(method.g[m](encoder(batch.x[m])), batch.y)
        for m, encoder in method.net.encoders.items()
    )
    assert torch.allclose(probes.losses(batch)["task"], expected)


@pytest.mark.parametrize("changes", [{"alpha": -1.0}, {"sigma": -0.1}])
def test_impossible_hyperparameters_are_refused(changes):
    with pytest.raises(UserError, match="must not be negative"):
        ready(**changes)
