"""DIS2: its losses by hand, what teaches what, and what stands in for missing sensors.

The figures of released code were obtained by running it (nhikieu/DIS2) on features of
`tests.sines`, in double precision.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from benchmark.errors import UserError
from methods.common.registry import REGISTRY
from methods.dis2 import ClassAttention, imitation, overlap
from tests import problems, sines
from tests.by_hand import build

TASKS = ["binary", "multiclass", "multilabel", "regression"]
PAIR, THREE = ("series", "series"), ("series", "vector", "series")
LATE = 6
"""The first epoch in which the branches of one modality imitate that of all."""


def ready(kind="multiclass", kinds=PAIR, epoch=LATE, **changes):
    """The method in eval mode, and a batch of an epoch after the warm-up."""
    specs, task = problems.modalities(kinds), problems.task(kind)
    return build("dis2", specs, task, **changes).eval(), problems.batch(specs, task, epoch=epoch)


def parts(method, batch):
    """z, c by modality, what the branch of all gives, and what each other one does."""
    z = {m: net.encoder(batch.x[m]) for m, net in method.alone.items()}
    c = {m: net.compensate(batch.x[m]) for m, net in method.alone.items()}
    full = method.full([*z.values()])
    missing = {}
    for m, net in method.alone.items():
        missing[m] = net.branch([z[m] if j == m else c[m] for j in method.modalities])
    return z, c, full, missing


def apart(a, b):
    """Mean squared difference of the directions of a and b, written out."""
    pairs = [(u / u.norm() - v / v.norm()).square().mean() for u, v in zip(a, b, strict=True)]
    return sum(pairs) / len(pairs)


# What the release computes


def test_terms_are_those_of_the_released_code():
    a = sines.sines(8, 16)
    b = sines.sines(8, 16, phase=1) + 0.3 * a
    assert imitation(a, b).item() == pytest.approx(0.037548801, abs=1e-6)
    assert overlap(a, b).item() == pytest.approx(0.491895754, abs=1e-5)


def test_attention_is_that_of_the_released_code():
    """The release's weighted map, summed over its places, which are the modalities here."""
    attend = ClassAttention(16, 4)
    attend.query.data = sines.sines(4, 16, phase=2)
    o = attend(sines.sines(8, 3, 16, phase=3))
    assert o.norm().item() == pytest.approx(9.966437741, abs=1e-5)
    assert o[0, 0, 0].item() == pytest.approx(0.078025840, abs=1e-6)


def test_the_kl_is_the_released_codes_times_the_number_of_classes():
    s, t = 3 * sines.sines(8, 4, phase=4), 3 * sines.sines(8, 4, phase=5)
    kl = problems.task("multiclass").soft_target_distance(s, t, 2.0)
    assert kl.item() == pytest.approx(4 * 0.299819778, abs=1e-5)


# By hand


@pytest.mark.parametrize("kinds", [PAIR, THREE])
@pytest.mark.parametrize("kind", TASKS)
def test_terms_by_hand(kind, kinds):
    method, batch = ready(kind, kinds, w_kd=2.0, w_div=0.5, T=3.0)
    z, c, full, missing = parts(method, batch)
    ell, y, M = method.task.loss, batch.y, len(kinds)
    distances = [
        apart(out.f, full.f)
        + apart(out.p, full.p)
        + method.task.soft_target_distance(out.s, full.s, 3.0)
        for out in missing.values()
    ]
    cos = [F.cosine_similarity(c[m], z[m], dim=1) for m in z]
    expected = {
        "full": ell(full.s, y) + ell(full.e, y),
        "own": sum(ell(method.h[m](z[m]), y) for m in z),
        "missing": sum(ell(out.s, y) + ell(out.e, y) for out in missing.values()) / M,
        "kd": 2.0 * sum(distances) / M,
        "div": 0.5 * sum((each**2).mean() for each in cos) / M,
    }
    terms = method.losses(batch)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert torch.allclose(terms[name], value, atol=1e-5), name


@pytest.mark.parametrize("kind", TASKS)
def test_without_weights_nothing_is_imitated_or_held_apart(kind):
    method, batch = ready(kind, w_kd=0.0, w_div=0.0)
    terms = method.losses(batch)
    assert set(terms) == {"full", "own", "missing"}
    # What is left of the other modality in a deployment's loss is nothing.
    method.task.loss(method.predictor("m1")(batch.x["m1"]), batch.y).backward()
    assert all(p.grad is None for p in method.alone["m2"].parameters())
    assert all(p.grad is None for p in method.full.parameters())


def test_the_same_direction_is_imitated_and_an_orthogonal_one_is_apart():
    a = torch.randn(5, 4)
    assert imitation(a, 3 * a).item() == pytest.approx(0, abs=1e-7)
    assert imitation(a, -a).item() == pytest.approx(4 / 4)  # |2 unit vectors apart|² / d
    assert overlap(a, -2 * a).item() == pytest.approx(1)
    assert overlap(torch.eye(2), torch.eye(2).flip(0)).item() == 0


def test_even_queries_take_the_mean_of_the_tokens():
    attend = ClassAttention(4, 3)
    torch.nn.init.zeros_(attend.query)
    h = torch.randn(5, 2, 4)
    assert torch.allclose(attend(h), h.mean(dim=1, keepdim=True).expand(5, 3, 4))
    # A long query takes the token that it points to.
    attend.query.data = 1e4 * torch.eye(4)[:3]
    tokens = torch.eye(4)[None, :2]
    assert torch.allclose(attend(tokens)[0, :2], torch.eye(4)[:2])


# What teaches what


def test_the_teacher_learns_nothing_from_its_students():
    method, batch = ready()
    method.losses(batch)["kd"].backward()
    assert all(p.grad is None for p in method.full.parameters())
    for net in method.alone.values():
        assert all(p.grad is not None for p in net.compensate.parameters())


def test_imitation_begins_after_the_warm_up_and_so_does_the_choice_of_a_state():
    for epoch, active in ((LATE - 1, False), (LATE, True)):
        method, batch = ready(epoch=epoch)
        assert bool(method.losses(batch)["kd"] > 0) is active
    (stage,) = method.stages()
    assert stage.select_from == LATE
    assert ready(w_kd=0.0)[0].stages()[0].select_from == 0


def test_compensation_and_own_features_are_held_apart_from_both_sides():
    method, batch = ready()
    method.losses(batch)["div"].backward()
    net = method.alone["m1"]
    assert any(p.grad.any() for p in net.encoder.parameters())
    assert any(p.grad.any() for p in net.compensate.parameters())
    assert all(p.grad is None for p in net.branch.parameters())


@pytest.mark.parametrize("kinds", [PAIR, THREE])
def test_a_deployment_has_its_own_token_in_its_place(kinds):
    method, batch = ready(kinds=kinds)
    _, _, _, missing = parts(method, batch)
    for m in method.modalities:
        assert torch.allclose(method.predictor(m)(batch.x[m]), missing[m].s, atol=1e-6)


def test_loss_of_an_undecided_net_is_known():
    method, batch = ready(epoch=0)
    for module in method.modules():
        for name, p in module.named_parameters(recurse=False):
            if name in ("w", "b") or module in (*method.h.values(), method.full.head):
                torch.nn.init.zeros_(p)
    for net in method.alone.values():
        torch.nn.init.zeros_(net.branch.head.weight)
        torch.nn.init.zeros_(net.branch.head.bias)
    terms = method.losses(batch)
    log_4 = math.log(4)
    for name in ("full", "own", "missing"):
        assert terms[name].item() == pytest.approx(2 * log_4, rel=1e-5)


def test_temperature_does_nothing_on_regression():
    (method, batch), (warm, _) = ready("regression"), ready("regression", T=5.0)
    assert torch.equal(method.losses(batch)["kd"], warm.losses(batch)["kd"])
    assert REGISTRY["dis2"].tuning["T"].idle_on == ("regression",)


def test_samples_do_not_see_one_another():
    method, batch = ready()
    one = replace(batch, x={m: x[:1] for m, x in batch.x.items()}, y=batch.y[:1])
    whole = method.predictor("m1")(batch.x["m1"])[:1]
    assert torch.allclose(method.predictor("m1")(one.x["m1"]), whole, atol=1e-5)


@pytest.mark.parametrize("changes", [{"w_kd": -1.0}, {"w_div": -1.0}, {"T": 0.0}, {"warm_up": -1}])
def test_impossible_hyperparameters_are_refused(changes):
    with pytest.raises(UserError, match="dis2: "):
        build("dis2", problems.modalities(), problems.task("binary"), **changes)
