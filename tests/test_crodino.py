"""CroDiNo-KD: its losses by hand, and what it becomes without them."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
import torch

from benchmark.errors import UserError
from methods.common.losses import nt_xent
from methods.common.registry import REGISTRY
from tests import problems
from tests.by_hand import build

TASKS = ["binary", "multiclass", "multilabel", "regression"]
PAIR, THREE = ("series", "series"), ("series", "vector", "series")
NONE = {"w_aux": 0.0, "w_con": 0.0, "w_orth": 0.0}


def ready(kind="multiclass", kinds=PAIR, **changes):
    """The method in eval mode, and a batch."""
    specs, task = problems.modalities(kinds), problems.task(kind)
    return build("crodino", specs, task, **changes).eval(), problems.batch(specs, task)


def halves(method, batch):
    z = [net.encoder(batch.x[m]) for m, net in method.nets.items()]
    return [z_m[:, :8] for z_m in z], [z_m[:, 8:] for z_m in z]


@pytest.mark.parametrize("kinds", [PAIR, THREE])
@pytest.mark.parametrize("kind", TASKS)
def test_terms_by_hand(kind, kinds):
    method, batch = ready(kind, kinds, w_aux=0.5, w_con=0.3, w_orth=0.7, tau=0.2)
    inv, spe = halves(method, batch)
    ell, y, M = method.task.loss, batch.y, len(kinds)
    pairs = [*combinations(inv, 2)]
    cosines = [
        abs((u @ v / (u.norm() * v.norm())).item())
        for a, b in zip(inv, spe, strict=True)
        for u, v in zip(a, b, strict=True)
    ]
    expected = {
        "main": sum(ell(method.predictor(m)(x), y) for m, x in batch.x.items()) / M,
        "aux": 0.5 * sum(ell(method.A(a), y) for a in inv) / M,
        "con": 0.3 * sum(nt_xent(a, b, 0.2) for a, b in pairs) / len(pairs),
        "orth": 0.7 * sum(cosines) / len(cosines),
    }
    terms = method.losses(batch)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(torch.as_tensor(value).item(), abs=1e-5), name


@pytest.mark.parametrize("kind", TASKS)
def test_without_its_terms_it_is_a_pool_of_single_nets(kind):
    method, batch = ready(kind, **NONE)
    terms = method.losses(batch)
    assert set(terms) == {"main"}
    (2 * terms["main"]).backward()
    for m, spec in problems.modalities().items():
        single = build("single", {m: spec}, method.task, seed=3).eval()
        single.net.load_state_dict(method.predictor(m).state_dict())
        single.losses(batch)["task"].backward()
        pairs = zip(method.predictor(m).parameters(), single.net.parameters(), strict=True)
        assert all(torch.allclose(a.grad, b.grad, atol=1e-6) for a, b in pairs)


@pytest.mark.parametrize(("term", "specific"), [("aux", False), ("con", False), ("orth", True)])
def test_only_orthogonality_moves_specific_features_beside_the_task(term, specific):
    method, batch = ready()
    method.losses(batch)[term].backward()
    for net in method.nets.values():
        rows = net.encoder[1].weight.grad  # the projection to D features
        assert rows[:8].any() and bool(rows[8:].any()) is specific
        assert net.head.weight.grad is None


def test_orthogonal_halves_do_not_overlap_and_opposite_ones_do():
    method, batch = ready()
    even, odd = torch.eye(8)[::2].repeat(2, 1), torch.eye(8)[1::2].repeat(2, 1)
    for other, expected in ((odd, 0.0), (-even, 1.0)):
        for net in method.nets.values():
            net.encoder.forward = lambda x, other=other: torch.cat([even, other], dim=1)
        assert method.losses(batch)["orth"].item() == pytest.approx(expected, abs=1e-6)


def test_values_are_missing_in_training_alone_and_for_each_modality_by_itself():
    method, batch = ready(masked=0.5)
    seen = []
    for net in method.nets.values():
        net.encoder.register_forward_pre_hook(lambda _, x: seen.append(x[0] == 0))
    method.losses(batch)
    assert not any(missing.any() for missing in seen)
    seen.clear()
    method.train()
    method.losses(batch)
    assert all(0.2 < missing.float().mean() < 0.8 for missing in seen)
    assert not torch.equal(*seen)
    assert method.predictor("m1").eval()(batch.x["m1"]).isfinite().all()


def test_negatives_of_the_own_group_can_be_left_out():
    (plain, batch), (masked, _) = ready(), ready(mask_groups=True)
    batch = replace(batch, group=batch.index // 2)
    assert masked.losses(batch)["con"] < plain.losses(batch)["con"]


def test_what_is_deployed_is_one_encoder_and_shows_its_parts():
    method, batch = ready()
    net = method.predictor("m1")
    single = build("single", {"m1": problems.modalities()["m1"]}, method.task)
    assert sum(p.numel() for p in net.parameters()) == sum(
        p.numel() for p in single.net.parameters()
    )
    shown = net.features(batch.x["m1"])
    assert {name: part.shape for name, part in shown.items()} == {
        "shared": (8, 8),
        "specific": (8, 8),
    }


def test_it_does_not_claim_the_values_of_its_publication():
    entry = REGISTRY["crodino"]
    assert entry.defaults_from == "this benchmark" and "not at hand" in entry.defaults_note


@pytest.mark.parametrize(
    "changes", [{"w_con": -1.0}, {"w_orth": -1.0}, {"tau": 0.0}, {"masked": 1.0}]
)
def test_impossible_hyperparameters_are_refused(changes):
    with pytest.raises(UserError, match="crodino: "):
        build("crodino", problems.modalities(), problems.task("binary"), **changes)
