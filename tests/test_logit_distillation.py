"""Distillation of logits taken apart (dkd) or standardised (kd_std).

The figures of released code were obtained by running it (megvii-research/mdistiller,
sunshangquan/logit-standardization-KD) on the inputs that `numpy` draws here, in double precision.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmark.errors import UserError
from methods.common.contract import ALL
from methods.common.losses import non_target
from methods.common.registry import REGISTRY
from methods.dkd import target_or_not
from methods.kd_std import standardised
from tests import problems
from tests.by_hand import build

KEYS = ["dkd", "kd_std"]
KINDS = [("series", "vector"), ("image", "vector", "series")]
WITHOUT = {"dkd": {"alpha": 0.0, "beta": 0.0}, "kd_std": {"lambda_CE": 1.0, "lambda_KD": 0.0}}
MULTICLASS = problems.task("multiclass")


def drawn():
    """Outputs of a student and a teacher (6, 5) and targets, the same on every machine."""
    rng = np.random.default_rng(0)
    s, t = (torch.from_numpy(2 * rng.normal(size=(6, 5))) for _ in range(2))
    return s, t, torch.tensor([0, 1, 2, 3, 4, 2])


def tckd(s, t, y, T):
    pairs = target_or_not(s, y, T), target_or_not(t, y, T)
    return MULTICLASS.soft_target_distance(*pairs, T)


def nckd(s, t, y, T):
    return MULTICLASS.soft_target_distance(non_target(s, y), non_target(t, y), T)


# What holds for both


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("key", KEYS)
def test_trains_a_student_for_every_modality(key, kinds):
    data = problems.dataset("multiclass", kinds, samples=60, groups=None)
    trained = problems.train(problems.run_spec(key, data), data)
    assert set(trained.predictors) == set(data.modalities)
    assert [log.method for log in trained.stages] == ["fusion_concat", key]


@pytest.mark.parametrize("key", KEYS)
def test_without_its_terms_it_is_plain_supervision(key):
    specs = problems.modalities(KINDS[1])
    method = build(key, specs, MULTICLASS, **WITHOUT[key]).eval()
    method.given = {}
    batch = problems.batch(specs, MULTICLASS)
    expected = sum(MULTICLASS.loss(method.predictor(m)(batch.x[m]), batch.y) for m in specs)
    assert torch.allclose(sum(method.losses(batch).values()), expected)


@pytest.mark.parametrize("key", KEYS)
def test_a_student_like_its_teacher_has_nothing_to_imitate(key):
    specs = problems.modalities(("series",))
    method = build(key, specs, MULTICLASS).eval()
    batch = problems.batch(specs, MULTICLASS)
    method.given["teacher"][ALL] = torch.nn.Sequential(Only("m1"), method.students["m1"])
    terms = method.losses(batch)
    assert all(abs(term.item()) < 1e-6 for name, term in terms.items() if name != "task")


class Only(torch.nn.Module):
    """x by modality → x of one."""

    def __init__(self, m):
        super().__init__()
        self.m = m

    def forward(self, x):
        return x[self.m]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("kind", ["binary", "multilabel", "regression"])
def test_without_several_other_classes_it_does_not_apply_and_says_why(key, kind):
    reason = REGISTRY[key].applicable(problems.modalities(), problems.task(kind))
    assert kind in reason
    assert REGISTRY[key].applicable(problems.modalities(), MULTICLASS) is None
    assert REGISTRY[key].applicable(problems.modalities(), replace(MULTICLASS, outputs=2))


@pytest.mark.parametrize(
    ("key", "changes", "said"),
    [
        ("dkd", {"T": 0.0}, "T must be above 0"),
        ("dkd", {"beta": -1.0}, "alpha and beta not negative"),
        ("dkd", {"warm_up": 0}, "at least 1 epoch"),
        ("kd_std", {"T": -1.0}, "T must be above 0"),
        ("kd_std", {"lambda_CE": 0.0, "lambda_KD": 0.0}, "nor both 0"),
    ],
)
def test_impossible_hyperparameters_are_refused(key, changes, said):
    with pytest.raises(UserError, match=said):
        build(key, problems.modalities(), MULTICLASS, **changes)


# dkd


@pytest.mark.parametrize(
    ("T", "released_tckd", "released_nckd"),
    [(4.0, 1.0461936623573909, 1.984932351125759), (1.0, 0.5397489507954253, 1.3899992846268578)],
)
def test_both_parts_are_those_of_the_release(T, released_tckd, released_nckd):
    s, t, y = drawn()
    assert tckd(s, t, y, T).item() == pytest.approx(released_tckd, rel=1e-12)
    assert nckd(s, t, y, T).item() == pytest.approx(released_nckd, rel=1e-12)


def test_coupled_by_the_teachers_confidence_the_parts_are_kd():
    s, t, y = drawn()
    for T in (1.0, 4.0):
        p_y = (t / T).softmax(dim=1).gather(1, y[:, None])[:, 0]
        rows = [nckd(s[b : b + 1], t[b : b + 1], y[b : b + 1], T) for b in range(len(y))]
        coupled = tckd(s, t, y, T) + ((1 - p_y) * torch.stack(rows)).mean()
        assert torch.allclose(coupled, MULTICLASS.soft_target_distance(s, t, T), rtol=1e-12)


def test_the_target_class_is_one_of_two_and_not_among_the_others():
    s, _, y = drawn()
    p = (s / 3).softmax(dim=1)
    two = (target_or_not(s, y, 3.0) / 3).softmax(dim=1)
    assert torch.allclose(two[:, 0], p.gather(1, y[:, None])[:, 0])
    assert non_target(s, y)[1].tolist() == s[1, [0, 2, 3, 4]].tolist()
    assert non_target(s[:, :2], y[:2] * 0).tolist() == s[:2, 1:2].tolist()


def test_the_terms_are_those_of_each_student_and_grow_over_the_warm_up():
    specs = problems.modalities(KINDS[1])
    method = build("dkd", specs, MULTICLASS, T=3.0, alpha=2.0, beta=5.0, warm_up=4).eval()
    for epoch, w in ((0, 0.25), (2, 0.75), (3, 1.0), (9, 1.0)):
        batch = problems.batch(specs, MULTICLASS, epoch=epoch)
        t = method.given["teacher"][ALL](batch.x)
        s = [method.predictor(m)(batch.x[m]) for m in specs]
        terms = method.losses(batch)
        expected = w * 2 * sum(tckd(s_m, t, batch.y, 3.0) for s_m in s)
        assert torch.allclose(terms["tckd"], expected, atol=1e-6)
        expected = w * 5 * sum(nckd(s_m, t, batch.y, 3.0) for s_m in s)
        assert torch.allclose(terms["nckd"], expected, atol=1e-6)
    (stage,) = method.stages()
    assert stage.select_from == 3


# kd_std


@pytest.mark.parametrize(("T", "released"), [(2.0, 0.9828903487870341), (1.0, 0.8550956405385075)])
def test_kd_of_standardised_logits_is_that_of_the_release(T, released):
    s, t, _ = drawn()
    found = MULTICLASS.soft_target_distance(standardised(s), standardised(t), T)
    assert found.item() == pytest.approx(released, rel=1e-12)


def test_the_size_and_the_level_of_logits_do_not_matter():
    s, _, _ = drawn()
    Z = standardised(s)
    assert torch.allclose(Z.mean(dim=1), torch.zeros(6, dtype=s.dtype), atol=1e-12)
    assert torch.allclose(Z.std(dim=1), torch.ones(6, dtype=s.dtype), atol=1e-6)
    assert torch.allclose(standardised(7 * s + 3), Z, atol=1e-6)
    equal = torch.zeros(2, 4, requires_grad=True)
    standardised(equal).square().sum().backward()
    assert equal.grad.tolist() == [[0.0] * 4] * 2


def test_two_logits_standardised_pass_no_gradient():
    s = torch.tensor([[0.3, -1.2], [5.0, 5.5]], requires_grad=True)
    Z = standardised(s)
    assert torch.allclose(Z.abs(), torch.full_like(Z, 0.5**0.5))
    assert torch.autograd.grad(F.cross_entropy(Z, torch.tensor([0, 0])), s)[0].abs().max() < 1e-6


def test_kd_std_is_the_sum_of_its_weighted_parts():
    specs = problems.modalities(KINDS[1])
    method = build("kd_std", specs, MULTICLASS, T=3.0, lambda_CE=0.3, lambda_KD=2.0).eval()
    batch = problems.batch(specs, MULTICLASS)
    Z_t = standardised(method.given["teacher"][ALL](batch.x))
    s = [method.predictor(m)(batch.x[m]) for m in specs]
    terms = method.losses(batch)
    assert torch.allclose(terms["task"], 0.3 * sum(MULTICLASS.loss(s_m, batch.y) for s_m in s))
    p = (Z_t / 3).softmax(dim=1)
    q = [(standardised(s_m) / 3).softmax(dim=1) for s_m in s]
    expected = 2 * 9 * sum((p * (p / q_m).log()).sum(dim=1).mean() for q_m in q)
    assert torch.allclose(terms["kd"], expected, atol=1e-5)
