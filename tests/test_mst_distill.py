"""MST-Distill: nets that learn from one another, masks, and students with a teacher a sample.

The figures of the released code (Gray-OREO/MST-Distill) were obtained by running it on the inputs
that `numpy` draws here, in double precision.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from methods.mst_distill import Mask, imbalance, routed
from tests import problems
from tests.by_hand import build

KINDS = [("series", "vector"), ("image", "vector", "series")]
TASKS = ["binary", "multiclass", "multilabel", "regression"]


def drawn():
    """Outputs of a student (6, 5) and of three teachers (3, 6, 5), and gates (6, 3)."""
    rng = np.random.default_rng(2)
    s, *t = (torch.from_numpy(2 * rng.normal(size=(6, 5))) for _ in range(4))
    return s, torch.stack(t), torch.from_numpy(rng.normal(size=(6, 3))).softmax(dim=1)


def distance(s, t):
    return replace(problems.task("multiclass"), outputs=5).soft_target_distance(s, t, 4.0)


def ready(kind="multiclass", kinds=KINDS[0], epoch=0, **changes):
    specs, task = problems.modalities(kinds), problems.task(kind)
    method = build("mst_distill", specs, task, **changes).eval()
    return method, problems.batch(specs, task, epoch=epoch)


def test_distances_are_those_of_the_release():
    s, t, _ = drawn()
    released = [2.3880023807704336, 3.6452180845056783, 3.9854718026422424]
    assert [distance(s, t_a).item() for t_a in t] == pytest.approx(released, rel=1e-12)


@pytest.mark.parametrize(
    ("k", "released"), [(1, 3.4433648021593464), (2, 3.8786005110059945), (3, 3.339564089306118)]
)
def test_routing_is_that_of_the_release(k, released):
    s, t, g = drawn()
    chosen = routed(t, g, k)
    assert sum(distance(s, t_k) for t_k in chosen).item() / k == pytest.approx(released, rel=1e-12)
    best = g.argmax(dim=1)
    assert all(torch.equal(chosen[0, b], t[best[b], b]) for b in range(6))


def test_imbalance_is_that_of_the_release_and_0_where_loads_are_equal():
    assert imbalance(drawn()[2]).item() == pytest.approx(0.004935869913461714, rel=1e-12)
    assert imbalance(torch.eye(4)[[0, 1, 2, 3]]).item() == pytest.approx(0, abs=1e-7)
    three_to_one = torch.tensor([[0.75, 0.25]])
    expected = 0.5 * (0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25))
    assert imbalance(three_to_one).item() == pytest.approx(expected)


def test_a_mask_is_torchs_attention_among_the_values_of_a_feature():
    torch.manual_seed(0)
    mask = Mask(10, 4, 2)
    attention = torch.nn.MultiheadAttention(4, 2, batch_first=True)
    for bias in (mask.query_key_value.bias, mask.merge.bias):
        torch.nn.init.normal_(bias)  # they start at 0
    attention.in_proj_weight.data.copy_(mask.query_key_value.weight)
    attention.in_proj_bias.data.copy_(mask.query_key_value.bias)
    attention.out_proj.load_state_dict(mask.merge.state_dict())
    e = torch.randn(7, 10)
    tokens = mask.embed(e).reshape(7, 10, 4)
    expected = mask.fc(attention(tokens, tokens, tokens)[0]).squeeze(2).sigmoid()
    assert torch.allclose(mask(e), expected, atol=1e-6)
    assert ((mask(e) > 0) & (mask(e) < 1)).all()


def test_a_mask_starts_as_torchs_attention_does():
    mask, attention = Mask(10, 30, 2), torch.nn.MultiheadAttention(30, 2)
    ours = mask.query_key_value.weight, mask.query_key_value.bias, mask.merge.bias
    torchs = attention.in_proj_weight, attention.in_proj_bias, attention.out_proj.bias
    for own, other in zip(ours, torchs, strict=True):
        assert own.std().item() == pytest.approx(other.std().item(), rel=0.1)
        assert own.abs().max().item() == pytest.approx(other.abs().max().item(), rel=0.01)


@pytest.mark.parametrize("kind", TASKS)
def test_in_step_1_every_net_imitates_every_other(kind):
    method, batch = ready(kind, KINDS[1], T=3.0)
    task = method.task
    f = [f_m(batch.x[m]) for m, f_m in method.f.items()] + [method.f_all(batch.x)]
    terms = method.joint_losses(batch)
    assert torch.allclose(terms["task"], sum(task.loss(f_a, batch.y) for f_a in f))
    expected = sum(task.soft_target_distance(a, b, 3.0) for a, b in permutations(f, 2))
    assert torch.allclose(terms["mutual"], expected)


def test_step_2_trains_masks_to_resemble_the_student():
    method, batch = ready(kinds=KINDS[1])
    teachers = {m: list(masks) for m, masks in method.masks.items()}
    assert teachers == {m: ["all", *(j for j in method.f if j != m)] for m in method.f}
    for masks in method.masks.values():
        for mask in masks.values():
            torch.nn.init.zeros_(mask.fc.weight)
            torch.nn.init.constant_(mask.fc.bias, 100.0)  # everything passes
    t = method.teach(batch.x)["m2"]
    assert torch.equal(t[0], method.f_all(batch.x))
    assert torch.equal(t[2], method.f["m3"](batch.x["m3"]))
    f = {m: f_m(batch.x[m]) for m, f_m in method.f.items()}
    expected = sum(
        method.distance(t_m, f[m]) for m, of_m in method.teach(batch.x).items() for t_m in of_m
    )
    assert torch.allclose(method.mask_loss(batch), expected)
    method.mask_loss(batch).backward()
    stage = method.stages()[1]
    reached = {id(p) for p in method.parameters() if p.grad is not None and p.grad.any()}
    trained = {id(p) for module in stage.modules for p in module.parameters()}
    heads = {id(p) for net in (*method.f.values(), method.f_all) for p in net.head.parameters()}
    assert reached <= trained | heads  # heads are frozen by the harness, and hold on the way


@pytest.mark.parametrize("kind", TASKS)
def test_step_3_is_the_weighted_sum_of_its_parts(kind):
    method, batch = ready(kind, KINDS[1], w_kl=2.0, w_lb=3.0, k=2)
    t = method.teach(batch.x)
    task = kl = lb = 0.0
    for m, student in method.students.items():
        s = student(batch.x[m])
        g = method.gates[m](s).softmax(dim=1)
        task = task + method.task.loss(s, batch.y)
        kl = kl + sum(method.distance(s, t_k) for t_k in routed(t[m], g, 2)) / 2
        lb = lb + imbalance(g)
    terms = method.student_losses(batch)
    assert torch.allclose(terms["task"], task)
    assert torch.allclose(terms["kl"], 2 * kl)
    assert torch.allclose(terms["lb"], 3 * lb, atol=1e-7)


def test_the_weights_decay_as_released():
    """The release multiplies its weights at the end of an epoch, for the next one."""
    method, batch = ready()
    first = method.student_losses(batch)
    w_kl = w_lb = 1.0
    for epoch in range(65):
        if epoch in (0, 1, 10, 11, 30, 31, 64):
            terms = method.student_losses(replace(batch, epoch=epoch))
            assert terms["kl"].item() == pytest.approx(w_kl * first["kl"].item(), rel=1e-5)
            assert terms["lb"].item() == pytest.approx(w_lb * first["lb"].item(), rel=1e-5)
            assert terms["task"] == first["task"]
        w_lb *= 0.9 if epoch % 10 == 0 else 1
        w_kl *= 0.5 if epoch % 30 == 0 else 1
    assert (w_kl, w_lb) == (0.5**3, pytest.approx(0.9**7))


@pytest.mark.parametrize("kind", TASKS)
def test_without_weights_step_3_is_plain_supervision(kind):
    method, batch = ready(kind, KINDS[1], w_kl=0.0, w_lb=0.0)
    expected = sum(
        method.task.loss(method.predictor(m)(batch.x[m]), batch.y) for m in method.modalities
    )
    assert torch.allclose(sum(method.student_losses(batch).values()), expected)


def test_no_gradient_of_the_distance_reaches_the_gate():
    method, batch = ready()
    terms = method.student_losses(batch)
    gate = list(method.gates.parameters())
    of_kl = torch.autograd.grad(terms["kl"], gate, allow_unused=True, retain_graph=True)
    assert of_kl == (None,) * len(gate)
    assert all(g is not None for g in torch.autograd.grad(terms["lb"], gate))


@pytest.mark.parametrize("kinds", KINDS)
def test_the_harness_trains_three_steps_and_deploys_the_students(kinds):
    data = problems.dataset("multiclass", kinds, samples=60, groups=None)
    trained = problems.train(problems.run_spec("mst_distill", data), data)
    assert [log.stage for log in trained.stages] == ["all nets", "masks", "students"]
    for m, predictor in trained.predictors.items():
        single = build("single", {m: data.modalities[m]}, data.task)
        assert set(predictor.state_dict()) == set(single.net.state_dict())


def test_students_go_on_from_the_nets_of_step_1():
    method, batch = ready()
    method.stages()[2].on_start(8)
    for m, student in method.students.items():
        assert torch.equal(student(batch.x[m]), method.f[m](batch.x[m]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"T": 0.0}, "T must be above 0"),
        ({"k": 3}, r"at most the number of modalities \(2\)"),
        ({"w_lb": -1.0}, "not negative"),
        ({"mask_width": 7}, "multiple of mask_heads"),
    ],
)
def test_impossible_hyperparameters_are_refused(changes, said):
    with pytest.raises(UserError, match=said):
        ready(**changes)
