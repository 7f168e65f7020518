"""Features of missing modalities as weighted means of typical ones, and their fusion."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmark.errors import UserError
from methods.common.contract import ALL
from methods.reconstruct import Prior, Reconstruction
from tests import problems
from tests.by_hand import build

KINDS = [("series", "vector"), ("image", "vector", "series")]
TASKS = ["binary", "multiclass", "multilabel", "regression"]


def ready(kind="multiclass", kinds=KINDS[1], **changes):
    """A method by hand, its priors fitted and its nets started; and a batch."""
    specs, task = problems.modalities(kinds), problems.task(kind)
    method = build("reconstruct", specs, task, **changes).eval()
    batch = problems.batch(specs, task, size=24)
    priors, nets = method.stages()
    with torch.no_grad():
        priors.fit([batch, problems.batch(specs, task, size=24, seed=1)])
    nets.on_start(24)
    return method, batch


def test_a_prior_is_the_centroids_of_clusters_and_the_variance():
    torch.manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    z = centres.repeat_interleave(20, dim=0) + 0.01 * torch.randn(60, 2)
    prior = Prior(3, 2)
    operations = prior.fit(z)
    found = prior.centroids[prior.centroids.sum(dim=1).argsort()]
    assert torch.allclose(found.sum(dim=1), torch.tensor([0.0, 10.0, 10.0]), atol=0.1)
    assert prior.variance.item() == pytest.approx(z.var(dim=0, correction=0).mean().item())
    assert operations > 60 * 3 * 2
    few = Prior(5, 2)
    few.fit(z[[0, 0, 25, 25]])
    assert torch.allclose(few.centroids[[0, 1, 0, 1]], few.centroids[[2, 3, 4, 1]])
    few.fit(z[[7, 7]])
    assert torch.allclose(few.centroids, z[7].expand(5, 2)) and few.variance == 1


def test_what_is_reconstructed_is_a_weighted_mean_of_the_centroids():
    prior = Prior(2, 3)
    prior.centroids.copy_(torch.tensor([[1.0, 0.0, 2.0], [0.0, 4.0, 2.0]]))
    net = Reconstruction(3, prior)
    torch.nn.init.zeros_(net.omega.weight)
    softplus = torch.nn.functional.softplus
    net.omega.bias.data = torch.tensor([1.0, -1.0])
    w = softplus(torch.tensor(1.0)) / (softplus(torch.tensor(1.0)) + softplus(torch.tensor(-1.0)))
    assert torch.allclose(
        net(torch.rand(4, 3)), torch.stack([w, 4 * (1 - w), 2 * w / w]).expand(4, 3)
    )


@pytest.mark.parametrize("kinds", KINDS)
def test_nets_start_from_the_fusion_and_reconstruct_all_but_their_own(kinds):
    method, batch = ready(kinds=kinds)
    fusion = method.given["fusion"][ALL]
    for m, net in method.nets.items():
        z = net.embed(batch.x[m])
        assert list(z) == list(method.modalities)
        assert torch.equal(z[m], fusion.encoders[m](batch.x[m]))
        assert torch.equal(net(batch.x[m]), fusion.head(torch.cat([*z.values()], dim=1)))
        for j, z_j in z.items():
            if j != m:
                low, high = method.priors[j].centroids.aminmax(dim=0)
                assert ((z_j >= low - 1e-5) & (z_j <= high + 1e-5)).all()


@pytest.mark.parametrize("kind", TASKS)
def test_terms_are_those_of_every_net_and_every_missing_modality(kind):
    method, batch = ready(kind, alpha=3.0)
    true = {j: e(batch.x[j]) for j, e in method.given["fusion"][ALL].encoders.items()}
    task = share = 0.0
    for m, net in method.nets.items():
        task = task + method.task.loss(net(batch.x[m]), batch.y)
        for j, z_j in net.embed(batch.x[m]).items():
            if j != m:
                share = share + ((z_j - true[j]) ** 2).mean() / method.priors[j].variance / 2
    terms = method.losses(batch)
    assert torch.allclose(terms["task"], task)
    assert torch.allclose(terms["reconstruction"], 3 * share)


def test_the_mean_feature_is_an_error_of_1():
    method, batch = ready(kinds=KINDS[0])
    both = [batch, problems.batch(method.modalities, method.task, size=24, seed=1)]
    true = torch.cat([method.features(b.x)["m2"] for b in both])
    error = ((true.mean(dim=0) - true) ** 2).mean() / method.priors["m2"].variance
    assert error.item() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("kind", TASKS)
def test_without_reconstruction_a_net_learns_nothing_of_the_others(kind):
    method, batch = ready(kind, alpha=0.0)
    method.given = {}
    (only,) = method.losses(batch).values()
    other = replace(batch, x={**batch.x, "m2": torch.zeros_like(batch.x["m2"])})
    own = list(method.nets["m1"].parameters())
    gradients = (
        torch.autograd.grad(only, own),
        torch.autograd.grad(sum(method.losses(other).values()), own),
    )
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
    expected = sum(method.task.loss(net(batch.x[m]), batch.y) for m, net in method.nets.items())
    assert torch.allclose(only, expected)


@pytest.mark.parametrize("kinds", KINDS)
def test_the_harness_fits_priors_and_deploys_one_net_a_modality(kinds):
    data = problems.dataset("regression", kinds, samples=60, groups=None)
    trained = problems.train(problems.run_spec("reconstruct", data), data)
    fusion, priors, nets = trained.stages
    assert (fusion.artefact, priors.stopped, nets.stage) == (True, "fitted", "reconstruction")
    assert priors.flops > 0 and set(nets.best_epoch) == set(data.modalities)
    for m, predictor in trained.predictors.items():
        assert predictor(torch.from_numpy(data.x[m][:3])).shape == (3, 1)
        priors_of = {n for n in predictor.state_dict() if n.endswith("centroids")}
        assert len(priors_of) == len(kinds) - 1
        assert all(predictor.state_dict()[n].abs().sum() > 0 for n in priors_of)


@pytest.mark.parametrize("changes", [{"alpha": -1.0}, {"K": 1}])
def test_impossible_hyperparameters_are_refused(changes):
    with pytest.raises(UserError, match="alpha must not be negative and K at least 2"):
        build("reconstruct", problems.modalities(), problems.task("binary"), **changes)
