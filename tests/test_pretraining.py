"""Pre-training on the training part, before supervised training: decur and clip_pretrain.

The figures of released code were obtained by running it (zhu-xlab/DeCUR) on the projections that
the weights and inputs of `tests.sines` give, in double precision.
"""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch

from benchmark.errors import UserError
from benchmark.planning.split import folds
from benchmark.problem import CONTEXT, ModalitySpec
from benchmark.training.data import fold_data
from benchmark.training.fit import fit
from methods.clip_sup import clip_loss
from methods.common.nets import Missing
from methods.common.registry import REGISTRY
from methods.decur import cross_correlation, redundancy
from tests import problems, sines
from tests.by_hand import build

TASKS = ["binary", "multiclass", "multilabel", "regression"]
PAIR, THREE = ("series", "series"), ("series", "vector", "series")


def ready(key, kind="multiclass", kinds=PAIR, **changes):
    """A method in eval mode, and a batch."""
    specs, task = problems.modalities(kinds), problems.task(kind)
    return build(key, specs, task, **changes).eval(), problems.batch(specs, task)


# DeCUR

RELEASED = {
    "alone": (1.887211943, {"diagonal": 1.0}, slice(None)),
    "common": (1.308862047, {"diagonal": 1.0}, slice(12)),
    "unique": (2.431813663, {"diagonal": 0.0}, slice(12, None)),
}
"""Two sets of 16 features of sines, of which the release takes 12 as common."""


@pytest.mark.parametrize("term", RELEASED)
def test_decur_terms_are_those_of_the_released_code(term):
    expected, diagonal, part = RELEASED[term]
    a, b = sines.sines(8, 16), sines.sines(8, 16, phase=1)
    C = cross_correlation(a, b + 0.5 * a)
    assert redundancy(C[part, part], lam=0.0051, **diagonal).item() == pytest.approx(
        expected, abs=1e-5
    )


def test_decur_weighs_its_terms_as_the_released_code_does():
    specs, task = problems.modalities(), problems.task("multiclass")
    method = sines.filled(build("decur", specs, task)).double()
    batch = sines.batch(specs, task)
    double = {m: x.double() for m, x in batch.x.items()}
    terms = method.pre_training(type(batch)(double, batch.y, batch.index, 0))
    expected = {"alone": 8.560768920, "pairs": 10.506648876}
    assert {k: v.item() for k, v in terms.items()} == pytest.approx(expected, abs=1e-5)
    assert (method.width, method.common) == (64, 56)


def test_correlations_by_hand():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(50, 3, generator=g), torch.randn(50, 3, generator=g)
    expected = torch.corrcoef(torch.cat([a, 2 - 3 * b], dim=1).T)[:3, 3:]
    assert torch.allclose(cross_correlation(a, 2 - 3 * b), expected, atol=1e-4)
    assert torch.allclose(cross_correlation(a, 5 * a).diagonal(), torch.ones(3), atol=1e-4)


def test_redundancy_by_hand():
    C = torch.tensor([[0.5, 0.2], [-0.4, 1.0]])
    assert redundancy(C, 1.0, 0.1).item() == pytest.approx(0.25 + 0.1 * (0.04 + 0.16))
    assert redundancy(C, 0.0, 0.1).item() == pytest.approx(1.25 + 0.1 * (0.04 + 0.16))
    assert redundancy(torch.eye(4), 1.0, 1.0) == redundancy(torch.zeros(4, 4), 0.0, 1.0) == 0


def test_one_sample_correlates_with_nothing():
    """The last batch of a validation part may be one."""
    C = cross_correlation(torch.randn(1, 3), torch.randn(1, 3))
    assert torch.equal(C, torch.zeros(3, 3))


@pytest.mark.parametrize("kinds", [PAIR, THREE])
def test_decur_is_the_mean_over_modalities_and_pairs(kinds):
    method, batch = ready("decur", kinds=kinds, common=0.5, lam=0.2)
    p = [*method.projected(batch.x).values()]
    n = method.width // 2
    alone = [redundancy(cross_correlation(v, v), 1.0, 0.2) for v in p]
    pairs = []
    for a, b in combinations(p, 2):
        common = redundancy(cross_correlation(a[:, :n], b[:, :n]), 1.0, 0.2)
        unique = redundancy(cross_correlation(a[:, n:], b[:, n:]), 0.0, 0.2)
        pairs.append((common + unique) / 2)
    terms = method.pre_training(batch)
    total = len(alone) + len(pairs)
    assert terms["alone"].item() == pytest.approx(sum(alone).item() / total, rel=1e-4)
    assert terms["pairs"].item() == pytest.approx(sum(pairs).item() / total, rel=1e-4)


def test_without_weight_on_redundancy_only_the_diagonals_count():
    method, batch = ready("decur", lam=0.0)
    method.P.train()  # untrained, their outputs have next to no variance otherwise
    a, b = method.projected(batch.x).values()
    on = cross_correlation(a, b).diagonal()
    n = method.common
    expected = ((on[:n] - 1).square().sum() + on[n:].square().sum()) / 6
    terms = method.pre_training(batch)
    assert terms["pairs"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert terms["alone"].item() == pytest.approx(0, abs=1e-3)  # without masks two views are one


def test_unique_dimensions_are_pulled_apart_and_common_ones_together():
    method, batch = ready("decur", lam=0.0)
    method.P.train()
    n = method.common
    p = [v.detach().requires_grad_(True) for v in method.projected(batch.x).values()]
    method.pair(*p).backward()
    step = [v - 0.5 * v.grad for v in p]
    before, after = (cross_correlation(*pair).diagonal() for pair in (p, step))
    assert (after[:n] > before[:n]).all()
    assert after[n:].abs().sum() < before[n:].abs().sum()


def test_decur_common_has_no_unique_dimensions():
    method, batch = ready("decur_common")
    assert REGISTRY["decur_common"].role == "ablation" and method.common == method.width
    a, b = method.projected(batch.x).values()
    expected = redundancy(cross_correlation(a, b), 1.0, 0.0051) / 2
    assert method.pair(a, b).item() == pytest.approx(expected.item(), rel=1e-5)


def test_views_are_masked_in_training_alone():
    method, batch = ready("decur", masked=0.5)
    x, view = batch.x["m1"], method.view["m1"]
    assert torch.equal(view(x), x)
    method.train()
    seen = view(x)
    assert 0.3 < (seen == 0).float().mean().item() < 0.7
    assert torch.equal(seen[seen != 0], x[seen != 0])
    first, second = method.projected(batch.x), method.projected(batch.x)
    assert not torch.equal(first["m1"], second["m1"])


@pytest.mark.parametrize("shape", [(6, 4), (4,), (5, 5, 4)])
def test_month_and_place_are_never_missing(shape):
    """An encoder that is given them would take 0 for a month."""
    kind = {1: "vector", 2: "series", 3: "image"}[len(shape)]
    spec = ModalitySpec("m", kind, shape, ("c0", *CONTEXT), "1")
    seen = Missing(spec, 0.9)(torch.ones(50, *shape))
    assert (seen[..., 1:] == 1).all() and seen[..., 0].mean() < 0.5


# Both stages


@pytest.mark.parametrize("key", ["decur", "clip_pretrain"])
def test_pre_training_needs_no_labels_and_trains_no_head(key):
    method, batch = ready(key)
    first, second = method.stages()
    assert first.predictors == () and second.predictors == ("m1", "m2")
    blind = type(batch)(batch.x, torch.full_like(batch.y, 0), batch.index, 0)
    terms, without = first.losses(batch), first.losses(blind)
    assert all(torch.equal(terms[name], without[name]) for name in terms)
    sum(terms.values()).backward()
    assert all(p.grad is None for net in method.nets.values() for p in net.head.parameters())
    assert all(p.grad is not None for n in method.nets.values() for p in n.encoder.parameters())


@pytest.mark.parametrize("key", ["decur", "clip_pretrain"])
@pytest.mark.parametrize("kind", TASKS)
def test_the_second_stage_is_a_pool_of_single_nets(key, kind):
    method, batch = ready(key, kind)
    terms = method.stages()[1].losses(batch)
    assert set(terms) == {"task"}
    (2 * terms["task"]).backward()
    for m, spec in problems.modalities().items():
        single = build("single", {m: spec}, method.task, seed=3).eval()
        single.net.load_state_dict(method.predictor(m).state_dict())
        single.losses(batch)["task"].backward()
        pairs = zip(method.predictor(m).parameters(), single.net.parameters(), strict=True)
        assert all(torch.allclose(a.grad, b.grad, atol=1e-6) for a, b in pairs)


def test_clip_pretrain_begins_with_the_contrast_of_clip_sup():
    method, batch = ready("clip_pretrain", kinds=THREE)
    z = [method.q[m](net.encoder(batch.x[m])) for m, net in method.nets.items()]
    pairs = [clip_loss(a, b, 1 / 0.07) for a, b in combinations(z, 2)]
    first = method.stages()[0]
    assert first.losses(batch)["con"].item() == pytest.approx(sum(pairs).item() / 3, rel=1e-5)
    method.log_scale.data.fill_(math.log(500))
    first.after_step(batch)
    assert method.log_scale.exp().item() == pytest.approx(100, rel=1e-5)


def test_both_stages_are_trained_and_logged():
    data = problems.dataset(samples=90, groups=None)
    (fold, *_) = folds(data, problems.protocol_values())
    parts = fold_data(data, fold, "training", torch.device("cpu"))
    trained = fit(problems.run_spec("decur", data), data.modalities, parts, obtain=None)
    first, second = trained.stages
    assert (first.stage, second.stage) == ("pre-training", "supervised")
    assert first.losses["alone"][-1] < first.losses["alone"][0]
    assert set(first.validation) == {"objective"} and set(second.validation) == {"m1", "m2"}


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("decur", {"common": 1.1}),
        ("decur", {"lam": -1.0}),
        ("decur", {"masked": 1.0}),
        ("clip_sup", {"tau": 0.009}),
    ],
)
def test_impossible_hyperparameters_are_refused(key, changes):
    with pytest.raises(UserError, match=f"{key}: "):
        build(key, problems.modalities(), problems.task("binary"), **changes)
