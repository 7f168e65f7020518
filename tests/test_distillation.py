"""Distillation by features, relations, contrast and peers: fitnet, rkd, crd, dml, mmanet.

The figures of released code were obtained by running it (lenscloth/RKD, HobbitLong/RepDistiller,
shicaiwei123/MMANet-CVPR2023) on the inputs that `numpy` draws here, in double precision.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmark.errors import UserError
from methods.common.contract import ALL
from methods.common.registry import REGISTRY
from methods.common.subsets import SensorDropout
from methods.crd import Contrast, nce_loss
from methods.fitnet import hint_loss
from methods.mmanet import label_frequencies, margin_aware_distance, uncertainty
from methods.rkd import relations
from tests import problems
from tests.by_hand import build

STUDENTS = ["fitnet", "rkd", "crd", "dml"]
KEYS = [*STUDENTS, "mmanet"]
KINDS = [("series", "vector"), ("image", "vector", "series")]
TASKS = ["binary", "multiclass", "multilabel", "regression"]
WITHOUT = {
    "fitnet": {"beta": 0.0},
    "rkd": {"lambda_D": 0.0, "lambda_A": 0.0},
    "crd": {"beta": 0.0},
    "dml": {"lam": 0.0},
}


def ready(key, specs, task, epoch=0, size=8, **changes):
    """A method by hand in eval mode, its stage started and, for MMANet, mined; and a batch."""
    method = build(key, specs, task, **changes).eval()
    batch = problems.batch(specs, task, size=size, epoch=epoch)
    (stage,) = method.stages()
    if stage.on_start:
        stage.on_start(size)
    if stage.after_epoch:
        with torch.no_grad():
            stage.after_epoch(1, [batch])
    return method, batch


def drawn(seed, *shapes):
    """Normal numbers in double precision, the same on every machine."""
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.normal(size=shape)) for shape in shapes]


def features(method, x):
    """z_m of every student, and the teacher's [z_1; ...; z_M]."""
    z = {m: student.encoder(x[m]) for m, student in method.students.items()}
    return z, method.given["teacher"][ALL].embed(x)


# What holds for all


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("key", KEYS)
def test_trains_on_every_task_and_kind_of_modality(key, kind, kinds):
    data = problems.dataset(kind, kinds, samples=60, groups=None)
    epochs = 7 if key == "mmanet" else 2
    values = problems.protocol_values(epochs=epochs)
    trained = problems.train(problems.run_spec(key, data, protocol=values), data)
    assert set(trained.predictors) == set(data.modalities)
    for m, predictor in trained.predictors.items():
        output = predictor(torch.from_numpy(data.x[m][:5]))
        assert output.shape == (5, data.task.outputs)
        assert output.isfinite().all()
    (log,) = [log for log in trained.stages if not log.artefact]
    assert all(len(values) == epochs for values in log.losses.values())


@pytest.mark.parametrize("key", KEYS)
def test_training_twice_gives_the_same_weights(key):
    data = problems.dataset(samples=60, groups=None)
    values = problems.protocol_values(epochs=6 if key == "mmanet" else 2)
    spec = problems.run_spec(key, data, protocol=values)
    first, second = (problems.train(spec, data).predictors for _ in range(2))
    for m in first:
        weights = zip(first[m].state_dict().values(), second[m].state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in weights)


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("key", KEYS)
def test_all_is_trained_but_the_teacher(key, kinds):
    specs, task = problems.modalities(kinds), problems.task("multiclass")
    method, batch = ready(key, specs, task, epoch=9, size=32)
    teachers = [net.requires_grad_(True) for nets in method.given.values() for net in nets.values()]
    before = [deepcopy(net.state_dict()) for net in teachers]
    (stage,) = method.stages()
    for module in stage.modules:
        module.train()
    sum(stage.losses(batch).values()).backward()
    assert REGISTRY[key].never_trained == ()
    trained = [p for module in stage.modules for p in module.parameters()]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
    assert {id(p) for p in trained} == {id(p) for p in method.parameters()}
    for net, old in zip(teachers, before, strict=True):
        assert all(p.grad is None for p in net.parameters())
        assert all(torch.equal(old[k], v) for k, v in net.state_dict().items())


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("key", STUDENTS)
def test_without_its_terms_it_is_single(key, kind):
    specs, task = problems.modalities(KINDS[0]), problems.task(kind)
    method, batch = ready(key, specs, task, **WITHOUT[key])
    method.given = {}
    sum(method.losses(batch).values()).backward()
    for m, spec in specs.items():
        single = build("single", {m: spec}, task, seed=3).eval()
        single.net.load_state_dict(method.predictor(m).state_dict())
        single.losses(batch)["task"].backward()
        pairs = zip(method.predictor(m).parameters(), single.net.parameters(), strict=True)
        assert all(torch.allclose(a.grad, b.grad, atol=1e-6) for a, b in pairs)


@pytest.mark.parametrize("key", KEYS)
def test_a_predictor_works_from_its_own_state(key):
    specs, task = problems.modalities(KINDS[0]), problems.task("multiclass")
    method, batch = ready(key, specs, task)
    other = build(key, specs, task, seed=5).eval()
    for m in specs:
        state = method.predictor(m).state_dict()
        assert not any("given" in name or "teacher" in name for name in state)
        fresh = deepcopy(other.predictor(m))
        fresh.load_state_dict(state)
        assert torch.equal(fresh(batch.x[m]), method.predictor(m)(batch.x[m]))


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("fitnet", {"beta": -1.0}),
        ("rkd", {"lambda_A": -1.0}),
        ("crd", {"tau": 0.0}),
        ("crd", {"negatives": 0}),
        ("dml", {"lam": -1.0}),
        ("mmanet", {"warm_up": 1}),
        ("mmanet", {"lambda_MAD": -1.0}),
    ],
)
def test_impossible_hyperparameters_are_refused(key, changes):
    with pytest.raises(UserError, match=key):
        build(key, problems.modalities(), problems.task("binary"), **changes)


# FitNets


def test_hint_is_the_squared_error_of_normalised_features():
    r, z_t = drawn(0, (6, 5), (6, 5))

    def normalised(z):
        z = z - z.mean(dim=1, keepdim=True)
        return z / z.pow(2).mean(dim=1, keepdim=True).sqrt()

    expected = (normalised(r) - normalised(z_t)).pow(2).sum(dim=1).mean() / 5
    assert hint_loss(r, z_t).item() == pytest.approx(expected.item(), rel=1e-4)
    assert hint_loss(z_t, z_t).item() == 0
    assert hint_loss(3 * z_t + 1, z_t).item() == pytest.approx(0, abs=1e-8)


def test_hint_term_is_weighted_and_summed_over_students():
    specs, task = problems.modalities(KINDS[1]), problems.task("regression")
    method, batch = ready("fitnet", specs, task, beta=7.0)
    z, z_t = features(method, batch.x)
    expected = 7 * sum(hint_loss(method.R[m](z[m]), z_t) for m in z)
    assert torch.allclose(method.losses(batch)["hint"], expected)


# RKD


def test_relations_are_blind_to_rotation_scale_and_shift():
    (z, square, shift) = drawn(0, (7, 4), (4, 4), (4,))
    rotation = torch.linalg.qr(square).Q
    for a, b in zip(relations(z), relations(5 * z @ rotation + shift), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_rkd_terms_vanish_for_a_rotated_and_scaled_teacher():
    specs, task = problems.modalities(), problems.task("multiclass")
    method, batch = ready("rkd", specs, task)
    rotation = torch.linalg.qr(drawn(0, (32, 32))[0]).Q.float()

    class Rotated(torch.nn.Module):
        def __init__(self, m):
            super().__init__()
            self.m = m

        def forward(self, x):
            return 2 * method.given["teacher"][ALL].embed(batch.x) @ rotation

    for m, student in method.students.items():
        student.encoder, student.head = Rotated(m), torch.nn.Linear(32, task.outputs)
    terms = method.losses(batch)
    assert terms["distance"].item() == pytest.approx(0, abs=1e-8)
    assert terms["angle"].item() == pytest.approx(0, abs=1e-8)


def test_rkd_terms_are_those_of_the_release():
    z_s, z_t = drawn(0, (6, 3), (6, 4))
    (s_D, s_A), (t_D, t_A) = relations(z_s), relations(z_t)
    assert F.smooth_l1_loss(s_D, t_D).item() == pytest.approx(0.17809167664305148, rel=1e-12)
    assert F.smooth_l1_loss(s_A, t_A).item() == pytest.approx(0.19014973845470753, rel=1e-12)


def test_rkd_defaults_weigh_distance_to_angle_as_one_to_two():
    specs, task = problems.modalities(), problems.task("multiclass")
    method, batch = ready("rkd", specs, task)
    z, z_t = features(method, batch.x)
    t_D, t_A = relations(z_t)
    terms = method.losses(batch)
    distance = sum(F.smooth_l1_loss(relations(z_m)[0], t_D) for z_m in z.values())
    angle = sum(F.smooth_l1_loss(relations(z_m)[1], t_A) for z_m in z.values())
    assert torch.allclose(terms["distance"], 25 * distance)
    assert torch.allclose(terms["angle"], 50 * angle)


@pytest.mark.parametrize("nudge", [0.0, 1e-9])
def test_equal_samples_do_not_blow_up_the_gradient(nudge):
    z, z_t = drawn(0, (6, 3), (6, 4))
    z[1] = z[0] + nudge
    z.requires_grad_(True)
    terms = zip(relations(z), relations(z_t), strict=True)
    sum(F.smooth_l1_loss(a, b) for a, b in terms).backward()
    assert z.grad.abs().max() < 10


def test_collapsed_features_give_finite_relations():
    z = torch.ones(4, 3, requires_grad=True)
    psi_D, psi_A = relations(z)
    (psi_D.sum() + psi_A.sum()).backward()
    assert psi_D.abs().sum() == 0 and psi_A.abs().sum() == 0
    assert z.grad.isfinite().all()


# CRD


def test_contrast_follows_the_release_over_two_steps():
    weights = drawn(1, (2, 3), (2,), (2, 4), (2,), (8, 2), (8, 2), (3, 3), (3, 4), (3, 3), (3, 4))
    contrast = Contrast(3, 4, 2, tau=0.07, momentum=0.5).double()
    for linear, weight, bias in (
        (contrast.embed_s, weights[0], weights[1]),
        (contrast.embed_t, weights[2], weights[3]),
    ):
        linear.load_state_dict({"weight": weight, "bias": bias})
    contrast.start(8)
    contrast.bank_s, contrast.bank_t = F.normalize(weights[4]), F.normalize(weights[5])
    index = torch.tensor([[0, 1, 2, 7], [3, 4, 4, 6], [5, 1, 0, 2]])
    for step, released in enumerate((26.633117246401607, 23.654269418579993)):
        loss = contrast(weights[6 + 2 * step], weights[7 + 2 * step], index)
        # The release's 1e-7 in the denominators moves the sum by less than this.
        assert loss.item() == pytest.approx(released, abs=1e-5)
        contrast.remember(index[:, 0])
    assert contrast.bank_s.sum().item() == pytest.approx(1.2532487668573427, rel=1e-12)
    assert contrast.bank_t.sum().item() == pytest.approx(-1.5549106089806228, rel=1e-12)


def test_the_contrastive_loss_is_least_where_student_and_teacher_agree():
    """Samples on the corners of a simplex: each as far from all others as can be."""
    n = 4
    corners = F.normalize(torch.eye(n, dtype=torch.float64) - 1 / n, dim=1)
    others = torch.tensor([[j for j in range(n) if j != i] for i in range(n)])
    index = torch.cat([torch.arange(n)[:, None], others], dim=1)
    Z = (corners @ corners.T / 0.07).exp().mean() * n

    def loss(v):
        v = F.normalize(v, dim=1)
        return nce_loss((v @ corners.T).gather(1, index).div(0.07).exp() / Z, n)

    aligned = corners.clone().requires_grad_(True)
    least = loss(aligned)
    least.backward()
    assert aligned.grad.abs().max() < 1e-10
    for v in drawn(0, *[(n, n)] * 20):
        assert loss(corners + 0.1 * v) > least
        assert loss(v) > least


def test_the_contrastive_loss_of_chance_is_known():
    """All scores at 1/n: D is 1 / (1 + K) for the positive and for every negative."""
    n, K = 50, 20
    P = torch.full((3, 1 + K), 1 / n, dtype=torch.float64)
    expected = np.log(1 + K) + K * np.log((1 + K) / K)
    assert nce_loss(P, n).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", TASKS)
def test_negatives_are_other_samples_and_of_another_class(kind):
    specs, task = problems.modalities(), problems.task(kind)
    method, batch = ready("crd", specs, task, size=40)
    torch.manual_seed(0)
    for seen in (False, True):
        index = method.contrasted(batch)
        assert index.shape == (40, 1 + 39)  # n - 1 negatives, fewer than 4096
        own, negatives = index[:, :1], index[:, 1:]
        assert torch.equal(own[:, 0], batch.index)
        assert (negatives != own).all()
        same_class = batch.y[negatives] == batch.y[own]
        if not (seen and task.is_classification):
            assert len(negatives.unique()) == 40
        elif seen:
            assert not same_class.any()
        method.losses(batch)
        method.remember(batch)


def test_negatives_of_the_own_group_are_left_out_once_they_are_known():
    specs, task = problems.modalities(), problems.task("regression")
    method, batch = ready("crd", specs, task, size=40, mask_groups=True)
    groups = {"pairs": batch.index // 2, "one": torch.zeros_like(batch.index)}
    torch.manual_seed(0)
    for name, group in groups.items():
        method.start(40)
        grouped = replace(batch, group=group)
        method.losses(grouped)
        assert len(method.contrasted(grouped)[:, 1:].unique()) == 40  # nobody's group is known yet
        method.remember(grouped)
        index = method.contrasted(grouped)
        mates = group[index[:, 1:]] == group[index[:, :1]]
        assert mates.all() if name == "one" else not mates.any()
        assert (index[:, 1:] != index[:, :1]).all()


def test_banks_move_halfway_and_only_for_the_batch():
    specs, task = problems.modalities(), problems.task("multiclass")
    method, batch = ready("crd", specs, task)
    method.start(20)
    method.losses(batch)
    contrast = method.contrast["m1"]
    before = contrast.bank_s.clone()
    z, _ = features(method, batch.x)
    v = F.normalize(contrast.embed_s(z["m1"]), dim=1)
    method.remember(batch)
    expected = F.normalize(before[:8] + v, dim=1)
    assert torch.allclose(contrast.bank_s[:8], expected, atol=1e-6)
    assert torch.equal(contrast.bank_s[8:], before[8:])
    assert torch.allclose(contrast.bank_s.norm(dim=1), torch.ones(20), atol=1e-5)


def test_z_is_kept_after_the_first_batch_and_estimated_anew_by_each_stage():
    specs, task = problems.modalities(), problems.task("multiclass")
    method, batch = ready("crd", specs, task)
    contrast = method.contrast["m1"]
    method.losses(batch)
    first = contrast.Z
    method.remember(batch)
    method.losses(batch)
    assert contrast.Z is first
    method.start(8)
    method.losses(batch)
    assert contrast.Z is not first


# DML


@pytest.mark.parametrize("kind", TASKS)
def test_nets_that_agree_have_nothing_to_teach(kind):
    specs, task = problems.modalities(("series", "series")), problems.task(kind)
    method, batch = ready("dml", specs, task)
    method.nets["m2"].load_state_dict(method.nets["m1"].state_dict())
    same = replace(batch, x={"m1": batch.x["m1"], "m2": batch.x["m1"]})
    assert method.losses(same)["mutual"].item() == pytest.approx(0, abs=1e-7)
    assert method.losses(batch)["mutual"].item() > 1e-6


@pytest.mark.parametrize("kind", TASKS)
def test_each_net_learns_from_the_mean_of_its_peers_as_they_stand(kind):
    specs, task = problems.modalities(KINDS[1]), problems.task(kind)
    method, batch = ready("dml", specs, task, lam=0.6)
    sum(method.losses(batch).values()).backward()
    for m, net in method.nets.items():
        alone = deepcopy(net)
        alone.zero_grad()
        peers = [method.nets[j](batch.x[j]).detach() for j in specs if j != m]
        s = alone(batch.x[m])
        mutual = sum(task.soft_target_distance(s, p, 1.0) for p in peers) / 2
        (task.loss(s, batch.y) + 0.6 * mutual).backward()
        for a, b in zip(net.parameters(), alone.parameters(), strict=True):
            assert torch.allclose(a.grad, b.grad, atol=1e-6)


# MMANet


def available(monkeypatch, masks):
    """Let the draw of available modalities be ``masks`` (B, M)."""
    monkeypatch.setattr(SensorDropout, "masks", lambda self, size: masks)


def test_mad_vanishes_for_equal_features_and_is_at_most_4():
    e, w = drawn(0, (6, 3), (6,))
    w = w.softmax(dim=0)
    assert margin_aware_distance(e, e, w).item() == 0
    assert margin_aware_distance(3 * e, e, w).item() == pytest.approx(0, abs=1e-12)
    opposite = torch.tensor([[1.0], [-1e-9]]), torch.tensor([[1.0], [1e-9]])
    assert margin_aware_distance(*opposite, torch.tensor([0.0, 1.0])).item() <= 4


def test_mad_is_that_of_the_release_where_all_samples_weigh_the_same():
    e_s, e_t, t = drawn(0, (6, 3), (6, 4), (6, 4))
    task = problems.task("multiclass")
    equal = uncertainty(task, torch.zeros_like(t))
    assert margin_aware_distance(e_s, e_t, equal).item() == pytest.approx(
        1.371953384251089, rel=1e-12
    )
    released = [0.16590236749550832, 0.18419693823329156, 0.16789806318887182]
    released += [0.16829662132023826, 0.18156266879078473, 0.1321433409713054]
    w = uncertainty(task, t)
    assert w.tolist() == pytest.approx(released, rel=1e-12)
    # Unequal weights meet the rows here, the columns in the release: 1.3465077579153257 there.
    G_s, G_t = (F.normalize(e @ e.T, dim=1) for e in (e_s, e_t))
    columns = ((G_s - G_t).pow(2) * w).sum()
    assert columns.item() == pytest.approx(1.3465077579153257, rel=1e-12)
    rows = ((G_s - G_t).pow(2) * w[:, None]).sum()
    assert margin_aware_distance(e_s, e_t, w).item() == pytest.approx(rows.item(), rel=1e-12)


@pytest.mark.parametrize("kind", TASKS)
def test_the_teachers_doubt_weighs_the_samples(kind):
    task = problems.task(kind)
    t = torch.zeros(3, task.outputs)
    t[1, 0], t[2, 0] = 2.0, 1e4
    if kind == "multilabel":
        t[1], t[2] = 2.0, 1e4
    w = uncertainty(task, t)
    assert w.sum().item() == pytest.approx(1)
    if kind == "regression":
        assert torch.allclose(w, torch.full((3,), 1 / 3))
    else:
        assert w[0] > w[1] > w[2] == 0
        certain = uncertainty(task, t[2:])
        assert certain.isfinite().all()


@pytest.mark.parametrize("kinds", KINDS)
def test_deployment_is_the_net_with_all_other_modalities_missing(kinds, monkeypatch):
    specs, task = problems.modalities(kinds), problems.task("multiclass")
    method, batch = ready("mmanet", specs, task)
    for i, m in enumerate(specs):
        masks = torch.zeros(8, len(specs), dtype=torch.bool)
        masks[:, i] = True
        available(monkeypatch, masks)
        trained = method.losses(batch)["task"]
        deployed = task.loss(method.predictor(m)(batch.x[m]), batch.y)
        assert torch.allclose(trained, deployed)


@pytest.mark.parametrize("kind", TASKS)
def test_mmanet_without_its_terms_is_dropout_of_features_per_sample(kind, monkeypatch):
    specs, task = problems.modalities(KINDS[1]), problems.task(kind)
    changes = {"lambda_MAD": 0.0, "lambda_MAR": 0.0}
    method, batch = ready("mmanet", specs, task, epoch=9, **changes)
    masks = SensorDropout(tuple(specs)).masks(8)
    available(monkeypatch, masks)
    outputs = []
    for b in range(8):
        z = [method.encoders[m](batch.x[m][b : b + 1]) * masks[b, i] for i, m in enumerate(specs)]
        outputs.append(method.deployment(torch.cat(z, dim=1)))
    expected = task.loss(torch.cat(outputs), batch.y)
    assert torch.allclose(sum(method.losses(batch).values()), expected, atol=1e-6)


@pytest.mark.parametrize("kind", TASKS)
def test_regularisation_sees_weak_subsets_alone(kind, monkeypatch):
    specs, task = problems.modalities(KINDS[1]), problems.task(kind)
    method, batch = ready("mmanet", specs, task, epoch=9)
    method.weak = torch.stack([method.mask(S) for S in (("m1", "m2"), ("m1",), ("m2",))])
    subsets = [("m1",), ("m2",), ("m3",), ("m1", "m2"), ("m1", "m3"), ("m2", "m3")]
    masks = torch.stack([method.mask(S) for S in (*subsets, ("m1", "m2", "m3"), ("m3",))])
    available(monkeypatch, masks)
    z = (method.encode(batch.x) * masks[..., None]).flatten(1)
    weak = torch.tensor([0, 1, 3])
    expected = 0.5 * 3 / 8 * task.loss(method.auxiliary(z)[weak], batch.y[weak])
    assert torch.allclose(method.losses(batch)["mar"], expected, atol=1e-6)
    available(monkeypatch, masks[2:3].expand(8, 3))
    assert method.losses(batch)["mar"] == 0


def test_the_terms_wait_for_the_warm_up():
    specs, task = problems.modalities(), problems.task("multiclass")
    for epoch, active in ((0, False), (4, False), (5, True)):
        method, batch = ready("mmanet", specs, task, epoch=epoch, size=32)
        terms = method.losses(batch)
        assert set(terms) == {"task", "mad", "mar"}
        assert (terms["mad"] > 0) == active
        assert (terms["mar"] > 0) == active


def test_no_state_of_the_warm_up_is_deployed():
    data = problems.dataset("regression", samples=60, groups=None)
    for epochs, at_least in ((9, 5), (3, 2)):  # a cap below the warm-up: its last epoch
        values = problems.protocol_values(epochs=epochs)
        trained = problems.train(problems.run_spec("mmanet", data, protocol=values), data)
        (log,) = [log for log in trained.stages if not log.artefact]
        assert min(log.best_epoch.values()) >= at_least
        assert len(log.validation["m1"]) == epochs


@pytest.mark.parametrize("M", [2, 3])
@pytest.mark.parametrize("kind", TASKS)
def test_the_subset_that_loses_most_on_validation_is_weak(kind, M):
    """The net looks at the first modality alone: without it, predictions are a constant."""
    specs, task = problems.modalities(["series"] * M), problems.task(kind)
    method = build("mmanet", specs, task).eval()
    first, head = method.deployment.embed[0], method.deployment.head
    with torch.no_grad():
        first.weight[:, first.in_features // M :] = 0
        batch = problems.batch(specs, task, size=64)
        z = method.encode(batch.x).flatten(1)
        head.bias -= method.deployment(z).mean(dim=0)  # so that labels differ
        if kind == "regression":
            batch = replace(batch, y=method.deployment(z))
        (stage,) = method.stages()
        stage.on_start(64)
        for epoch in range(7):
            stage.after_epoch(epoch, [batch])
            if epoch == 4:
                settled = method.weak
    assert torch.equal(method.weak, settled)
    lost = tuple(specs)[1:]  # what is left without the first
    expected = torch.stack([method.mask(S) for S in (lost, *((m,) for m in lost))])
    assert torch.equal(method.weak, expected)


def test_predicted_labels_are_counted():
    output = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0], [-1.0, 0.5, 0.0], [9.0, -1.0, -1.0]])
    multiclass = replace(problems.task("multiclass"), outputs=3)
    frequencies = label_frequencies(multiclass, output).softmax(dim=1)
    assert frequencies.tolist()[0] == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    frequencies = label_frequencies(problems.task("multilabel"), output).sigmoid()
    assert frequencies.tolist()[0] == pytest.approx([4 / 6, 4 / 6, 1 / 6])
