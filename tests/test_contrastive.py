"""Contrast between modalities: clip_sup, gmc and gmc_sup.

The figures of released code were obtained by running it (miguelsvasco/gmc) on the weights and
inputs of `tests.sines`, in double precision.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F

from benchmark.errors import UserError
from methods.clip_sup import MAX_SCALE, clip_loss
from methods.common.losses import nt_xent
from tests import problems, sines
from tests.by_hand import build

TASKS = ["binary", "multiclass", "multilabel", "regression"]
PAIR, THREE = ("series", "series"), ("series", "vector", "series")


def ready(key, kind="multiclass", kinds=PAIR, **changes):
    """A method in eval mode, and a batch."""
    specs, task = problems.modalities(kinds), problems.task(kind)
    return build(key, specs, task, **changes).eval(), problems.batch(specs, task)


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("clip_sup", {"lambda_con": -1.0}),
        ("clip_sup", {"tau": 0.009}),
        ("gmc", {"w_con": -1.0}),
        ("gmc", {"tau": 0.0}),
        ("gmc", {"w_sup": -1.0}),
    ],
)
def test_impossible_hyperparameters_are_refused(key, changes):
    with pytest.raises(UserError, match=f"{key}: "):
        build(key, problems.modalities(), problems.task("binary"), **changes)


# CLIP


@pytest.mark.parametrize("B", [2, 8])
def test_contrast_of_orthonormal_and_of_collapsed_features_is_known(B):
    z, c = torch.eye(B), 3.0
    expected = math.log1p((B - 1) * math.exp(-c))
    assert clip_loss(z, 5 * z, c).item() == pytest.approx(expected, rel=1e-5)
    same = torch.ones(B, 4)
    assert clip_loss(same, same, 100.0).item() == pytest.approx(math.log(B), rel=1e-5)


def test_contrast_by_hand_has_no_negatives_of_the_own_modality():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(5, 3, generator=g), torch.randn(5, 3, generator=g)
    S = [[4 * float(F.cosine_similarity(u, v, dim=0)) for v in b] for u in a]
    rows = [math.log(sum(math.exp(s) for s in S[i])) - S[i][i] for i in range(5)]
    columns = [math.log(sum(math.exp(S[j][i]) for j in range(5))) - S[i][i] for i in range(5)]
    expected = (sum(rows) + sum(columns)) / 10
    assert clip_loss(a, b, 4.0).item() == pytest.approx(expected, rel=1e-5)
    assert torch.allclose(clip_loss(a, b, 4.0), clip_loss(b, a, 4.0))


@pytest.mark.parametrize("kinds", [PAIR, THREE])
@pytest.mark.parametrize("kind", TASKS)
def test_clip_sup_terms_by_hand(kind, kinds):
    method, batch = ready("clip_sup", kind, kinds, lambda_con=0.3)
    z = {m: method.nets[m].encoder(x) for m, x in batch.x.items()}
    task = [method.task.loss(method.predictor(m)(x), batch.y) for m, x in batch.x.items()]
    q = [method.q[m](z[m]) for m in z]
    pairs = [clip_loss(a, b, 1 / 0.07) for a, b in combinations(q, 2)]
    terms = method.losses(batch)
    assert set(terms) == {"task", "con"}
    assert torch.allclose(terms["task"], sum(task) / len(task))
    assert torch.allclose(terms["con"], 0.3 * sum(pairs) / len(pairs), atol=1e-5)


@pytest.mark.parametrize("kind", TASKS)
def test_clip_sup_without_contrast_is_a_pool_of_single_nets(kind):
    method, batch = ready("clip_sup", kind, lambda_con=0.0)
    terms = method.losses(batch)
    assert set(terms) == {"task"}
    (2 * terms["task"]).backward()
    for m, spec in problems.modalities().items():
        single = build("single", {m: spec}, method.task, seed=3).eval()
        single.net.load_state_dict(method.predictor(m).state_dict())
        single.losses(batch)["task"].backward()
        pairs = zip(method.predictor(m).parameters(), single.net.parameters(), strict=True)
        assert all(torch.allclose(a.grad, b.grad, atol=1e-6) for a, b in pairs)


def test_the_scale_is_learnt_and_bounded():
    method, batch = ready("clip_sup")
    assert method.log_scale.exp().item() == pytest.approx(1 / 0.07)
    method.losses(batch)["con"].backward()
    assert method.log_scale.grad.item() != 0
    (stage,) = method.stages()
    for value, kept in ((math.log(500), MAX_SCALE), (math.log(50), 50.0)):
        method.log_scale.data.fill_(value)
        stage.after_step(batch)
        assert method.log_scale.exp().item() == pytest.approx(kept, rel=1e-5)


def test_the_projector_of_the_contrast_is_not_deployed():
    method, _ = ready("clip_sup")
    deployed = {id(p) for m in method.modalities for p in method.predictor(m).parameters()}
    assert not deployed & {id(p) for p in (*method.q.parameters(), method.log_scale)}


# GMC

RELEASED = {
    ("multiclass", PAIR): {"task": 1.689534811, "con": 11.136171503},
    ("multilabel", PAIR): {"task": 1.359027532, "con": 11.136171503},
    ("regression", PAIR): {"task": 14.110286192, "con": 11.136171503},
    ("multiclass", THREE): {"task": 1.909876474, "con": 17.059659160},
}
"""What the released loss gives, the task's own ℓ in place of the absolute error."""


@pytest.mark.parametrize(("kind", "kinds"), RELEASED)
def test_gmc_terms_are_those_of_the_released_code(kind, kinds):
    specs, task = problems.modalities(kinds), problems.task(kind)
    if kind == "multiclass":
        task = replace(task, class_weights=(0.5, 1.0, 2.0, 0.8))
    method = sines.filled(build("gmc", specs, task))
    terms = method.losses(sines.batch(specs, task))
    expected = RELEASED[kind, kinds]
    assert {k: v.item() for k, v in terms.items()} == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("kinds", [PAIR, THREE])
@pytest.mark.parametrize("kind", TASKS)
def test_gmc_terms_by_hand(kind, kinds):
    method, batch = ready("gmc_sup", kind, kinds, w_con=0.7, w_sup=0.4, tau=0.2)
    z = method.g(method.joint(batch.x))
    own = [method.g(method.f[m](x)) for m, x in batch.x.items()]
    assert torch.allclose(z.norm(dim=1), torch.ones(len(z)))
    supervised = [method.task.loss(method.predictor(m)(x), batch.y) for m, x in batch.x.items()]
    expected = {
        "task": method.task.loss(method.c(z), batch.y),
        "con": 0.7 * sum(nt_xent(z, z_m, 0.2) for z_m in own),
        "sup": 0.4 * sum(supervised) / len(supervised),
    }
    terms = method.losses(batch)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert torch.allclose(terms[name], value, atol=1e-5), name


def test_aligned_orthonormal_features_leave_the_least_contrast():
    """As in the contrast of MDiCo, once for each modality."""
    method, batch = ready("gmc", kinds=THREE, tau=0.1)
    method.g.forward = lambda e: torch.eye(8)
    expected = 3 * math.log1p(14 * math.exp(-10))
    assert method.losses(batch)["con"].item() == pytest.approx(expected, rel=1e-3)


def test_without_contrast_what_gmc_deploys_is_untrained():
    method, batch = ready("gmc", w_con=0.0)
    terms = method.losses(batch)
    assert set(terms) == {"task"}
    terms["task"].backward()
    assert all(p.grad is None for p in method.f.parameters())
    supervised, _ = ready("gmc_sup", w_con=0.0)
    sum(supervised.losses(batch).values()).backward()
    assert all(p.grad is not None for p in supervised.f.parameters())


def test_gmc_sup_is_gmc_with_one_more_term():
    (gmc, batch), (sup, _) = ready("gmc"), ready("gmc_sup")
    terms = sup.losses(batch)
    assert {k: terms[k] for k in ("task", "con")} == gmc.losses(batch)
    assert set(terms) == {"task", "con", "sup"}
