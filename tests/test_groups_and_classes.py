"""Contrast that knows what samples are alike: supcon_cross, and negatives of the own group.

The figures of released code were obtained by running it (HobbitLong/SupContrast) on the features
of `tests.sines`, in double precision.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from benchmark.planning.split import folds
from benchmark.training.data import fold_data
from methods.clip_sup import clip_loss
from methods.common.contract import Batch
from methods.common.losses import mates, nt_xent, sup_con
from methods.common.registry import REGISTRY
from methods.supcon_cross import of_one_class
from tests import problems, sines
from tests.by_hand import build

PAIR, THREE = ("series", "series"), ("series", "vector", "series")
KINDS = ["binary", "multiclass", "multilabel"]


def ready(key, kind="multiclass", kinds=PAIR, **changes):
    """A method in eval mode, and a batch of four groups of two samples."""
    specs, task = problems.modalities(kinds), problems.task(kind)
    batch = problems.batch(specs, task)
    return build(key, specs, task, **changes).eval(), replace(batch, group=batch.index // 2)


def features(B=6, d=3):
    g = torch.Generator().manual_seed(0)
    return torch.randn(B, d, generator=g), torch.randn(B, d, generator=g)


def by_hand(a, b, positives, allowed, tau):
    """Mean over anchors of -(1/|P|) Σ_P log of the share of e^{s_p/τ} in all that is allowed."""
    z = [v / v.norm() for v in (*a, *b)]
    total = 0.0
    for i in range(len(z)):
        s = [math.exp(float(z[i] @ z[k]) / tau) for k in range(len(z))]
        P = [k for k in range(len(z)) if k != i and positives(i, k)]
        A = [k for k in range(len(z)) if k != i and (k in P or allowed(i, k))]
        total -= sum(math.log(s[k] / sum(s[j] for j in A)) for k in P) / len(P)
    return total / len(z)


# Groups of samples


def test_groups_come_with_the_batches_of_every_part():
    data = problems.dataset(samples=90, groups=15)
    (fold, *_) = folds(data, problems.protocol_values())
    parts = fold_data(data, fold, "training", torch.device("cpu"))
    for part in (parts.train, parts.val, parts.test):
        batch = part.batch(torch.arange(5))
        names = data.groups[part.samples[:5].numpy()]
        numbers = dict(zip(names, batch.group.tolist(), strict=True))
        assert [numbers[name] for name in names] == batch.group.tolist()
        assert len(set(numbers.values())) == len(numbers)
    assert not set(parts.train.groups.tolist()) & set(parts.test.groups.tolist())


def test_without_groups_each_sample_is_one_of_its_own():
    data = problems.dataset(groups=None)
    (fold, *_) = folds(data, problems.protocol_values())
    train = fold_data(data, fold, "training", torch.device("cpu")).train
    assert len(train.groups.unique()) == len(train)
    assert not mates(train.batch(torch.arange(9)).group).any()
    batch = Batch({}, torch.zeros(3), torch.arange(3), 0)
    assert torch.equal(batch.group, batch.index)


def test_a_wrong_partner_leaves_a_sample_in_its_group():
    data = problems.dataset(groups=15)
    (fold, *_) = folds(data, problems.protocol_values())
    train = fold_data(data, fold, "training", torch.device("cpu")).train
    placebo = train.with_wrong_partners("m1", 0)
    index = torch.arange(8)
    assert torch.equal(placebo.batch(index).group, train.batch(index).group)


# Masks


@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_masked_contrast_by_hand(tau):
    a, b = features()
    group = torch.tensor([0, 0, 1, 2, 1, 0])
    own = lambda i, k: i % 6 == k % 6  # noqa: E731
    other = lambda i, k: group[i % 6] != group[k % 6]  # noqa: E731
    expected = by_hand(a, b, own, other, tau)
    assert nt_xent(a, b, tau, group).item() == pytest.approx(expected, rel=1e-5)
    assert nt_xent(a, b, tau, group) < nt_xent(a, b, tau)


def test_masked_clip_loss_by_hand():
    a, b = features()
    group = torch.tensor([0, 0, 1, 2, 1, 0])
    z, w = (torch.nn.functional.normalize(v, dim=1) for v in (a, b))
    total = 0.0
    for S in (4 * z @ w.T, 4 * w @ z.T):
        for i in range(6):
            rest = [k for k in range(6) if k == i or group[k] != group[i]]
            total += float(S[i, rest].logsumexp(dim=0) - S[i, i])
    assert clip_loss(a, b, 4.0, group).item() == pytest.approx(total / 12, rel=1e-5)


def test_where_all_samples_are_of_one_group_no_negative_is_left():
    a, b = features()
    a.requires_grad_(True)
    one = torch.zeros(6, dtype=torch.long)
    for loss in (nt_xent(a, b, 0.1, one), clip_loss(a, b, 4.0, one)):
        assert loss.item() == pytest.approx(0, abs=1e-6)
        (gradient,) = torch.autograd.grad(loss, a)
        assert torch.equal(gradient, torch.zeros_like(a))


def test_groups_of_one_sample_mask_nothing():
    a, b = features()
    alone = torch.arange(6)
    alike = torch.eye(6, dtype=torch.bool)
    assert torch.equal(nt_xent(a, b, 0.1, alone), nt_xent(a, b, 0.1))
    assert torch.equal(clip_loss(a, b, 4.0, alone), clip_loss(a, b, 4.0))
    assert torch.equal(sup_con(a, b, alike, 0.1, alone), sup_con(a, b, alike, 0.1))


@pytest.mark.parametrize("kinds", [PAIR, THREE])
@pytest.mark.parametrize(
    ("key", "masked"),
    [
        ("clip_sup", "clip_sup_masked"),
        ("mdico", "mdico_masked"),
        ("supcon_cross", "supcon_cross_masked"),
    ],
)
def test_an_ablation_differs_in_its_negatives_alone(key, masked, kinds):
    assert REGISTRY[masked].role == "ablation"
    (plain, batch), (other, _) = ready(key, kinds=kinds), ready(masked, kinds=kinds)
    terms, changed = plain.losses(batch), other.losses(batch)
    assert changed["con"] < terms["con"]
    assert all(torch.equal(terms[name], changed[name]) for name in terms if name != "con")
    ungrouped = replace(batch, group=batch.index)
    assert torch.equal(other.losses(ungrouped)["con"], terms["con"])


def test_gmc_can_be_masked_too():
    (plain, batch), (other, _) = ready("gmc"), ready("gmc", mask_groups=True)
    assert other.losses(batch)["con"] < plain.losses(batch)["con"]


def test_ids_of_mdico_do_not_know_of_the_mask():
    assert "mask_groups" not in REGISTRY["mdico"].hyperparameters
    assert REGISTRY["mdico_masked"].hyperparameters == REGISTRY["mdico"].hyperparameters


# Supervised contrast

RELEASED = {"multiclass": 7.723748711, "multilabel": 8.249181075}


@pytest.mark.parametrize("kind", RELEASED)
def test_supervised_contrast_is_that_of_the_released_code(kind):
    specs, task = problems.modalities(), problems.task(kind)
    alike = of_one_class(task, sines.batch(specs, task).y)
    a, b = sines.sines(8, 5), sines.sines(8, 5, phase=1)
    assert sup_con(a, b, alike, 0.1).item() == pytest.approx(RELEASED[kind], abs=1e-5)


@pytest.mark.parametrize("group", [None, torch.tensor([0, 0, 1, 2, 1, 0])])
def test_supervised_contrast_by_hand(group):
    a, b = features()
    y = torch.tensor([0, 1, 1, 0, 2, 1])
    expected = by_hand(
        a,
        b,
        lambda i, k: y[i % 6] == y[k % 6],
        lambda i, k: group is None or group[i % 6] != group[k % 6],
        0.5,
    )
    found = sup_con(a, b, y[:, None] == y, 0.5, group).item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_with_a_class_for_each_sample_it_is_nt_xent():
    a, b = features()
    for group in (None, torch.tensor([0, 0, 1, 2, 1, 0])):
        supervised = sup_con(a, b, torch.eye(6, dtype=torch.bool), 0.2, group)
        assert supervised.item() == pytest.approx(nt_xent(a, b, 0.2, group).item(), rel=1e-5)


@pytest.mark.parametrize(("B", "n"), [(6, 3), (8, 2)])
def test_supervised_contrast_of_classes_that_are_points_is_known(B, n):
    """Orthonormal classes of n samples: of 2B - 1 others 2n - 1 are at the same point."""
    y = torch.arange(B) // n
    z = torch.eye(B // n)[y]
    expected = math.log(2 * n - 1 + (2 * B - 2 * n) * math.exp(-10))
    assert sup_con(z, z, y[:, None] == y, 0.1).item() == pytest.approx(expected, rel=1e-5)
    same = torch.ones(B, 4)
    collapsed = sup_con(same, same, y[:, None] == y, 0.1).item()
    assert collapsed == pytest.approx(math.log(2 * B - 1), rel=1e-5)


def test_samples_of_one_class_have_the_same_labels():
    y = torch.tensor([[1.0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0]])
    alike = of_one_class(problems.task("multilabel"), y)
    assert alike.int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize("kinds", [PAIR, THREE])
@pytest.mark.parametrize("kind", KINDS)
def test_supcon_cross_terms_by_hand(kind, kinds):
    method, batch = ready("supcon_cross", kind, kinds, lambda_con=0.3)
    task = [method.task.loss(method.predictor(m)(x), batch.y) for m, x in batch.x.items()]
    v = [method.g[m](method.nets[m].encoder(x)) for m, x in batch.x.items()]
    y = batch.y.int().tolist()
    alike = torch.tensor([[a == b for b in y] for a in y])
    pairs = [sup_con(a, b, alike, 0.1) for a, b in combinations(v, 2)]
    terms = method.losses(batch)
    assert set(terms) == {"task", "con"}
    assert torch.allclose(terms["task"], sum(task) / len(task))
    assert torch.allclose(terms["con"], 0.3 * sum(pairs) / len(pairs), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_supcon_cross_without_contrast_is_a_pool_of_single_nets(kind):
    method, batch = ready("supcon_cross", kind, lambda_con=0.0)
    terms = method.losses(batch)
    assert set(terms) == {"task"}
    losses = [method.task.loss(method.predictor(m)(x), batch.y) for m, x in batch.x.items()]
    assert torch.allclose(terms["task"], sum(losses) / 2)
    losses[0].backward()
    assert all(p.grad is None for p in method.nets["m2"].parameters())


def test_what_supcon_cross_contrasts_with_is_not_deployed():
    method, _ = ready("supcon_cross")
    deployed = {id(p) for m in method.modalities for p in method.predictor(m).parameters()}
    assert not deployed & {id(p) for p in method.g.parameters()}


def test_a_regression_has_no_classes():
    reason = REGISTRY["supcon_cross"].applicable(problems.modalities(), problems.task("regression"))
    assert "values of a regression have none" in reason


@pytest.mark.parametrize("changes", [{"lambda_con": -1.0}, {"tau": 0.0}, {"tau": np.nan}])
def test_impossible_hyperparameters_are_refused(changes):
    with pytest.raises(UserError, match="supcon_cross: "):
        build("supcon_cross", problems.modalities(), problems.task("binary"), **changes)
