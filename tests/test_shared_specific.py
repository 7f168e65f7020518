"""Shared and specific features: DisCoM-KD and ShaSpec.

The figures of released code were obtained by running it (tanodino/CMKD_Disentangle,
billhhh/ShaSpec) on the weights and inputs of `tests.sines`, in double precision.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F

from benchmark.errors import UserError
from methods.common.contract import Batch
from methods.common.losses import modality_loss
from methods.common.registry import REGISTRY
from methods.common.subsets import SensorDropout
from methods.discom_kd import released_modality_loss
from tests import problems, sines
from tests.by_hand import build

TASKS = ["binary", "multiclass", "multilabel", "regression"]
PAIR, THREE, FOUR = ("series", "series"), ("series", "vector", "series"), ("vector",) * 4


def ready(key, kind="multiclass", kinds=PAIR, **changes):
    """A method in eval mode, and a batch."""
    specs, task = problems.modalities(kinds), problems.task(kind)
    return build(key, specs, task, **changes).eval(), problems.batch(specs, task)


def unpaired(method, batch):
    """What DisCoM-KD trains on: each modality in an order of its own."""
    orders = [torch.arange(len(batch.y)).roll(i) for i in range(len(method.modalities))]
    return {
        m: Batch({m: batch.x[m][order]}, batch.y[order], order, 0)
        for m, order in zip(method.modalities, orders, strict=True)
    }


@pytest.mark.parametrize(
    ("key", "changes"),
    [("discom_kd", {"w_adv": -1.0}), ("shaspec", {"alpha": -1.0}), ("shaspec", {"beta": -1.0})],
)
def test_impossible_hyperparameters_are_refused(key, changes):
    with pytest.raises(UserError, match=key):
        build(key, problems.modalities(), problems.task("binary"), **changes)


# DisCoM-KD

RELEASED = {
    "binary": {"cl": 0.919958561, "aux": 1.987175686},
    "multiclass": {"cl": 1.815275010, "aux": 3.609598667},
}
"""What the released code gives where the second modality has the samples in reverse order."""


@pytest.mark.parametrize("kind", RELEASED)
def test_discom_kd_terms_are_those_of_the_released_code(kind):
    specs, task = problems.modalities(), problems.task(kind)
    method = sines.filled(build("discom_kd_released", specs, task))
    batch = sines.batch(specs, task)
    reverse = Batch({"m2": batch.x["m2"].flip(0)}, batch.y.flip(0), batch.index.flip(0), 0)
    terms = method.losses({"m1": batch, "m2": reverse})
    expected = {**RELEASED[kind], "mod": 0.993345755, "adv": 0.693430563, "orth": 0.265017109}
    assert {k: v.item() for k, v in terms.items()} == pytest.approx(expected, abs=1e-5)
    # The adversary's gradient, too: its norm at the projection of the first common encoder.
    terms["adv"].backward()
    gradient = method.disentangle["m1"].common[1].weight.grad
    assert gradient.norm().item() == pytest.approx(0.028007257, abs=1e-6)


@pytest.mark.parametrize("kinds", [PAIR, THREE])
@pytest.mark.parametrize("kind", TASKS)
def test_discom_kd_terms_as_published(kind, kinds):
    method, batch = ready("discom_kd", kind, kinds)
    batches = unpaired(method, batch)
    names, M = list(method.modalities), len(kinds)
    z = {m: method.disentangle[m](batches[m].x[m]) for m in names}
    outputs = [method.P[m](torch.cat([z[m].spe, z[m].sha], dim=1)) for m in names]
    y = torch.cat([batches[m].y for m in names])
    ell = method.task.loss
    aux = [
        ell(method.A(torch.cat([getattr(z[m], part) for m in names])), y) for part in ("spe", "sha")
    ]

    def tell(head, part):
        own = [torch.full((len(batch.y),), i) for i in range(M)]
        losses = [F.cross_entropy(head(getattr(z[m], part)), own[i]) for i, m in enumerate(names)]
        return sum(losses) / M

    def cosine(a, b):
        pairs = [(getattr(z[m], a), getattr(z[m], b)) for m in names]
        values = [
            (u @ v / (u.norm() * v.norm())).abs()
            for us, vs in pairs
            for u, v in zip(us, vs, strict=True)
        ]
        return sum(values) / len(values)

    expected = {
        "cl": ell(torch.cat(outputs), y),
        "aux": sum(aux),
        "mod": (tell(method.D_1, "spe") + tell(method.D_2, "unu")) / 2,
        "adv": tell(method.D, "sha"),
        "orth": cosine("spe", "unu") + cosine("spe", "sha"),
    }
    terms = method.losses(batches)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert torch.allclose(terms[name], value, atol=1e-5), name


@pytest.mark.parametrize("kind", TASKS)
def test_discom_kd_without_its_terms_is_a_single_net_with_two_encoders(kind):
    weights = {"w_aux": 0.0, "w_mod": 0.0, "w_adv": 0.0, "w_orth": 0.0}
    method, batch = ready("discom_kd", kind, **weights)
    batches = unpaired(method, batch)
    terms = method.losses(batches)
    assert set(terms) == {"cl"}
    outputs = [method.predictor(m)(b.x[m]) for m, b in batches.items()]
    y = torch.cat([b.y for b in batches.values()])
    assert torch.allclose(terms["cl"], method.task.loss(torch.cat(outputs), y))
    # Nothing is shared: the loss of one modality leaves the other alone.
    method.task.loss(outputs[0], batches["m1"].y).backward()
    assert all(p.grad is None for p in method.disentangle["m2"].parameters())


def test_the_released_modality_loss_of_an_undecided_head_is_log_2():
    head = torch.nn.Linear(4, 2)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    z = [torch.randn(5, 4), torch.randn(5, 4)]
    assert released_modality_loss(head, z).item() == pytest.approx(math.log(2))


def test_the_released_modality_loss_ignores_the_second_modality():
    """And is least where the first is not recognised."""
    first, second = torch.randn(5, 2), torch.randn(5, 2)
    tell = torch.nn.Identity()
    loss = released_modality_loss(tell, [first, second])
    assert torch.allclose(loss, released_modality_loss(tell, [first, 9 * second]))
    even = torch.zeros(5, 2)
    decided = torch.tensor([[3.0, 0.0]] * 5)
    assert released_modality_loss(tell, [even, second]) < released_modality_loss(
        tell, [decided, second]
    )
    assert modality_loss(tell, [decided, -decided]) < modality_loss(tell, [even, even])


def test_opposite_features_overlap_but_in_the_release():
    method, _ = ready("discom_kd")
    released, _ = ready("discom_kd_released")
    a = torch.randn(6, 4)
    assert method.overlap(a, -a).item() == pytest.approx(1)
    assert released.overlap(a, -a).item() == pytest.approx(-1)
    orthogonal = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert method.overlap(*orthogonal) == released.overlap(*orthogonal) == 0


def test_the_adversary_learns_what_the_common_encoders_unlearn():
    method, batch = ready("discom_kd")
    batches = unpaired(method, batch)
    sha = [method.disentangle[m](b.x[m]).sha for m, b in batches.items()]
    weights = [part.common[1].weight for part in method.disentangle.values()]
    plain = torch.autograd.grad(modality_loss(method.D, sha), [*weights, method.D.weight])
    method.losses(batches)["adv"].backward()
    *encoders, head = plain
    assert torch.allclose(method.D.weight.grad, head, atol=1e-7)
    for weight, gradient in zip(weights, encoders, strict=True):
        assert gradient.any() and torch.allclose(weight.grad, -gradient, atol=1e-7)


def test_discom_kd_is_trained_unpaired():
    (stage,) = ready("discom_kd")[0].stages()
    assert not stage.paired


def test_the_released_targets_are_for_two_modalities():
    entry = REGISTRY["discom_kd_released"]
    assert entry.role == "ablation"
    assert entry.applicable(problems.modalities(PAIR), problems.task("binary")) is None
    reason = entry.applicable(problems.modalities(THREE), problems.task("binary"))
    assert reason == "the released modality targets are for two modalities, not 3"


# ShaSpec


def parts(method, batch):
    """Shared and specific features by modality, each (B, D/2)."""
    h = {m: method.stems[m](batch.x[m]) for m in method.names}
    return {m: method.R(h[m]) for m in h}, {m: method.S[m](h[m]) for m in h}


def test_shaspec_terms_are_those_of_the_released_code():
    """On four modalities, as released; L_shared with the two pairs that the release leaves out."""
    specs, task = problems.modalities(FOUR), problems.task("multiclass")
    task = replace(task, class_weights=(0.5, 1.0, 2.0, 0.8))
    method = sines.filled(build("shaspec", specs, task))
    batch = sines.batch(specs, task)
    terms = {k: v.item() for k, v in method.all_losses(batch).items()}
    released = {"task": 6.821331411, "shared": 1.813459151, "spec": 0.068639574}
    assert terms == pytest.approx(released, abs=1e-5)
    r = [*parts(method, batch)[0].values()]
    cyclic = sum(F.l1_loss(r[i], r[(i + 1) % 4]) for i in range(4))
    assert 0.1 * cyclic.item() == pytest.approx(1.157993878, abs=1e-5)
    third = method.losses(batch, ("m3",))["task"]
    assert third.item() == pytest.approx(3.346081452, abs=1e-5)


@pytest.mark.parametrize("available", [("m1", "m2", "m3"), ("m1", "m3"), ("m2",)])
@pytest.mark.parametrize("kind", TASKS)
def test_shaspec_terms_as_published(kind, available):
    method, batch = ready("shaspec", kind, THREE)
    r, s = parts(method, batch)
    W = method.compose.residual.weight
    mean = sum(r[m] for m in available) / len(available)
    f = [
        r[m] + torch.cat([r[m], s[m]], dim=1) @ W.T if m in available else mean
        for m in method.names
    ]
    own = {m: torch.full((len(batch.y),), i) for i, m in enumerate(method.names)}
    expected = {
        "task": method.task.loss(method.head(torch.cat(f, dim=1)), batch.y),
        "shared": 0.1 * sum((r[i] - r[j]).abs().mean() for i, j in combinations(available, 2)),
        "spec": 0.02
        * sum(F.cross_entropy(method.D(s[m]), own[m]) for m in available)
        / len(available),
    }
    terms = method.losses(batch, available)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(float(value), abs=1e-5), name


def test_equal_shared_features_cost_nothing():
    method, batch = ready("shaspec")
    method.stems["m2"].load_state_dict(method.stems["m1"].state_dict())
    same = Batch({"m1": batch.x["m1"], "m2": batch.x["m1"]}, batch.y, batch.index, 0)
    assert method.all_losses(same)["shared"].item() == pytest.approx(0, abs=1e-7)
    assert method.all_losses(batch)["shared"] > 0


@pytest.mark.parametrize("kind", TASKS)
def test_shaspec_without_its_terms_and_dropout_is_fusion_of_residual_features(kind):
    method, batch = ready("shaspec", kind, alpha=0.0, beta=0.0)
    r, s = parts(method, batch)
    f = torch.cat([method.compose(r[m], s[m]) for m in method.names], dim=1)
    total = sum(method.all_losses(batch).values())
    assert torch.allclose(total, method.task.loss(method.head(f), batch.y))


@pytest.mark.parametrize("kinds", [PAIR, THREE])
def test_shaspec_deploys_the_net_with_all_others_missing(kinds):
    method, batch = ready("shaspec", "multiclass", kinds)
    for m in method.names:
        deployed = method.task.loss(method.predictor(m)(batch.x[m]), batch.y)
        assert torch.allclose(method.losses(batch, (m,))["task"], deployed)


def test_missing_modalities_are_neither_encoded_nor_told_apart():
    method, batch = ready("shaspec", kinds=THREE)
    sum(method.losses(batch, ("m2",)).values()).backward()
    for m in ("m1", "m3"):
        untouched = [*method.stems[m].parameters(), *method.S[m].parameters()]
        assert all(p.grad is None for p in untouched)


def test_shaspec_trains_on_all_modalities_first_and_then_on_random_subsets(monkeypatch):
    method, batch = ready("shaspec")
    first, second = method.stages()
    assert first.predictors == () and second.predictors == ("m1", "m2")
    monkeypatch.setattr(SensorDropout, "subset", lambda self: ("m2",))
    one = method.losses(batch, ("m2",))
    assert {k: float(v) for k, v in second.losses(batch).items()} == pytest.approx(
        {k: float(v) for k, v in one.items()}
    )
    both = method.losses(batch, ("m1", "m2"))
    assert torch.equal(first.losses(batch)["task"], both["task"])
    # What validation watches there is the task alone: the other terms do not tell when to stop.
    assert torch.equal(first.validate(batch), both["task"])
