"""MDiCo: its losses by hand, what they train, and what its ablations leave untrained."""

from __future__ import annotations

import math
from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
import torch
import torch.nn.functional as F

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec
from methods.common.contract import Batch
from methods.common.encoders import Encoders
from methods.common.losses import modality_loss, nt_xent
from methods.common.registry import REGISTRY
from tests import problems, sines
from tests.by_hand import build

TASKS = ["binary", "multiclass", "multilabel", "regression"]
KINDS = [("series", "series"), ("series", "image", "vector")]
KEYS = ["mdico"] + sorted(key for key in REGISTRY if key.startswith("mdico_"))


def ready(key="mdico", kind="multiclass", kinds=KINDS[0], **changes):
    """A method in eval mode, so that its features are the same in every call, and a batch."""
    specs, task = problems.modalities(kinds), problems.task(kind)
    return build(key, specs, task, **changes).eval(), problems.batch(specs, task)


def features(method, batch):
    return [method.disentangle[m](batch.x[m]) for m in method.modalities]


def simclr(a, b, tau):
    """NT-Xent written out anchor by anchor."""
    z = [v / v.norm() for v in (*a, *b)]
    n, total = len(a), 0.0
    for i in range(2 * n):
        others = [math.exp(float(z[i] @ z[k]) / tau) for k in range(2 * n) if k != i]
        total -= float(z[i] @ z[(i + n) % (2 * n)]) / tau - math.log(sum(others))
    return total / (2 * n)


# --- NT-Xent and the modality loss --------------------------------------------------------------


def test_contrast_of_orthonormal_pairs():
    features = torch.eye(4)
    expected = math.log1p(6 * math.exp(-10))
    assert expected == pytest.approx(2.7236e-4, rel=1e-4)
    assert float(nt_xent(features, features, 0.1)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("B", [2, 4, 32])
def test_contrast_of_collapsed_features_is_log_of_2B_minus_1(B):
    same = torch.ones(B, 5)
    assert float(nt_xent(same, 3 * same, 0.1)) == pytest.approx(math.log(2 * B - 1), rel=1e-5)


@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_contrast_is_simclrs_and_symmetric(tau):
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(6, 3, generator=g), torch.randn(6, 3, generator=g)
    assert float(nt_xent(a, b, tau)) == pytest.approx(simclr(a, b, tau), rel=1e-5)
    assert torch.allclose(nt_xent(a, b, tau), nt_xent(b, a, tau))


@pytest.mark.parametrize("M", [2, 3])
def test_modality_loss_of_an_undecided_head_is_log_M(M):
    head = torch.nn.Linear(4, M)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    z = [torch.randn(5, 4) for _ in range(M)]
    assert float(modality_loss(head, z).detach()) == pytest.approx(math.log(M))


def test_modality_loss_is_small_for_a_head_that_tells_them_apart():
    z = [torch.tensor([[9.0, 0.0]] * 3), torch.tensor([[0.0, 9.0]] * 3)]
    right = math.log1p(math.exp(-9))
    assert float(modality_loss(torch.nn.Identity(), z)) == pytest.approx(right, rel=1e-3)
    swapped = float(modality_loss(torch.nn.Identity(), z[::-1]))
    assert swapped == pytest.approx(9 + right)


# --- The objective ------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("kind", TASKS)
def test_objective_by_hand(kind, kinds):
    """L_main + L_aux + L_mod + 2 NT-Xent, the last a mean over pairs of modalities."""
    method, batch = ready(kind=kind, kinds=kinds)
    ell, M = method.task.loss, len(kinds)
    z = features(method, batch)
    main = aux = mod = 0.0
    for i, (m, part) in enumerate(zip(method.modalities, z, strict=True)):
        own = torch.full((len(batch.y),), i)
        main += ell(method.P[m](torch.cat([part.spe, part.sha], 1)), batch.y) / M
        aux += (ell(method.A(part.spe), batch.y) + ell(method.A(part.sha), batch.y)) / (2 * M)
        mod += F.cross_entropy(method.D_inf(part.spe), own) / (2 * M)
        mod += F.cross_entropy(method.D_irr(part.unu), own) / (2 * M)
    pairs = [(0, 1)] if M == 2 else [(0, 1), (0, 2), (1, 2)]
    con = sum(simclr(z[i].sha.detach(), z[j].sha.detach(), 0.1) for i, j in pairs) / len(pairs)
    terms = method.losses(batch)
    assert set(terms) == {"main", "aux", "con", "mod"}
    expected = {"main": main.item(), "aux": aux.item(), "mod": mod.item(), "con": 2 * con}
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, abs=1e-5), name
    total = sum(expected.values())
    assert sum(terms.values()).item() == pytest.approx(total, abs=1e-5)


@pytest.mark.parametrize("kind", TASKS)
def test_weights_scale_their_terms(kind):
    weights = {"w_main": 0.5, "w_aux": 3.0, "w_con": 0.25, "w_mod": 7.0}
    method, batch = ready(kind=kind)
    scaled, _ = ready(kind=kind, **weights)
    terms, other = method.losses(batch), scaled.losses(batch)
    for name, term in terms.items():
        factor = weights[f"w_{name}"] / (2.0 if name == "con" else 1.0)
        assert torch.allclose(other[name], factor * term)


@pytest.mark.parametrize(
    ("key", "terms"),
    [
        ("mdico_no_con", {"main", "aux", "mod"}),
        ("mdico_no_mod", {"main", "aux", "con"}),
        ("mdico_no_aux", {"main", "con", "mod"}),
        ("mdico_main_only", {"main"}),
    ],
)
def test_an_ablation_lacks_its_term_and_changes_nothing_else(key, terms):
    (full, batch), (ablation, _) = ready(), ready(key)
    whole, rest = full.losses(batch), ablation.losses(batch)
    assert set(rest) == terms
    assert all(torch.equal(rest[name], whole[name]) for name in terms)


def test_released_mode_gives_the_second_head_the_shared_features():
    (method, batch), (released, _) = ready(), ready("mdico_released")
    z = features(released, batch)
    expected = modality_loss(released.D_inf, [p.spe for p in z])
    expected = (expected + modality_loss(released.D_irr, [p.sha for p in z])) / 2
    figure, terms = method.losses(batch), released.losses(batch)
    assert torch.allclose(terms["mod"], expected)
    assert not torch.allclose(terms["mod"], figure["mod"])
    assert all(torch.equal(terms[name], figure[name]) for name in ("main", "aux", "con"))


RELEASED = {
    "multiclass": {"main": 1.608740, "aux": 1.527553, "con": 20.153843, "mod": 0.589435},
    "multilabel": {"main": 0.942885, "aux": 1.064993, "con": 20.153843, "mod": 0.589435},
    "regression": {"main": 5.804118, "aux": 6.682033, "con": 20.153843, "mod": 0.589435},
}
"""What the released code (fmenat/MDiCo, f1630aa) gives on these weights and this batch."""


@pytest.mark.parametrize("kind", RELEASED)
def test_terms_are_those_of_the_released_code(kind):
    specs, task = problems.modalities(), problems.task(kind)
    if kind == "multiclass":
        task = replace(task, class_weights=(0.5, 1.0, 2.0, 0.8))
    method = sines.filled(build("mdico_released", specs, task))
    terms = method.losses(sines.batch(specs, task))
    assert {k: v.item() for k, v in terms.items()} == pytest.approx(RELEASED[kind], abs=1e-5)


# --- The main loss alone: no co-learning --------------------------------------------------------


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("kind", TASKS)
def test_main_loss_alone_is_the_mean_supervised_loss(kind, kinds):
    method, batch = ready("mdico_main_only", kind, kinds)
    singles = [method.task.loss(method.predictor(m)(x), batch.y) for m, x in batch.x.items()]
    total = sum(method.losses(batch).values())
    assert torch.allclose(total, sum(singles) / len(singles), atol=1e-6)


def own_gradients(method, batch, m):
    """Gradients of the nets of modality m, in training mode with the same dropout each time."""
    method.zero_grad()
    torch.manual_seed(0)
    sum(method.train().losses(batch).values()).backward()
    return [p.grad.clone() for p in method.predictor(m).parameters() if p.grad is not None]


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize(("key", "isolated"), [("mdico_main_only", True), ("mdico", False)])
def test_gradients_of_a_modality_and_the_other_inputs(key, isolated, kind):
    """With the main loss alone they do not depend on x_j; with the whole loss they do."""
    method, batch = ready(key, kind)
    for m, other in (("m1", "m2"), ("m2", "m1")):
        changed = Batch({**batch.x, other: 1 - 2 * batch.x[other]}, batch.y, batch.index, 0)
        before, after = own_gradients(method, batch, m), own_gradients(method, changed, m)
        assert any(g.any() for g in before)
        assert all(map(torch.equal, before, after)) is isolated


# --- What is trained ----------------------------------------------------------------------------


def declared_rows(patterns, name, parameter):
    """Which rows of a parameter the patterns of `Entry.never_trained` name."""
    rows = torch.zeros(torch.atleast_1d(parameter).shape[:1], dtype=torch.bool)
    for pattern in patterns:
        if fnmatchcase(name, pattern.removesuffix("[half:]")):
            rows[len(rows) // 2 if pattern.endswith("[half:]") else 0 :] = True
    return rows


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("key", KEYS)
def test_exactly_what_an_entry_declares_is_never_trained(key, kind, kinds):
    """After some steps the declared rows are as they were, and nothing else is."""
    specs, task = problems.modalities(kinds), problems.task(kind)
    method = build(key, specs, task).train()
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    optimiser = torch.optim.Adam(method.parameters(), lr=1e-3)
    for seed in range(3):
        optimiser.zero_grad()
        batch = problems.batch(specs, task, size=16, seed=seed)
        sum(method.losses(batch).values()).backward()
        optimiser.step()
    patterns = REGISTRY[key].never_trained
    for name, p in method.named_parameters():
        declared = declared_rows(patterns, name, p)
        moved = torch.atleast_1d(p.detach() != before[name])
        assert not moved[declared].any(), f"{name} is declared as never trained"
        assert declared.all() or moved[~declared].any(), f"{name} is not trained, nor declared so"
        if ".unique.1." in name:
            # z^spe and z^unu are rows of one projection: each counts by itself.
            assert all(row.any() for row in moved[~declared]), name
    for pattern in patterns:
        assert any(declared_rows([pattern], name, p).any() for name, p in before.items()), pattern


@pytest.mark.parametrize("kind", TASKS)
def test_unused_rows_get_gradients_from_the_figures_loss_and_none_from_the_released(kind):
    for key, trained in (("mdico", True), ("mdico_released", False)):
        method, batch = ready(key, kind)
        sum(method.losses(batch).values()).backward()
        for m in method.modalities:
            projection = method.disentangle[m].unique[1]
            half = projection.out_features // 2
            assert projection.weight.grad[:half].any(dim=1).all()
            rows = projection.weight.grad[half:].any(dim=1)
            assert rows.all() if trained else not rows.any()


def test_modality_loss_pulls_the_common_encoders_in_released_mode_only():
    for key, pulled in (("mdico", False), ("mdico_released", True)):
        method, batch = ready(key)
        method.losses(batch)["mod"].backward()
        for part in method.disentangle.values():
            gradients = [p.grad for p in part.common.parameters()]
            assert any(g is not None and g.any() for g in gradients) is pulled


def test_unique_and_common_encoders_start_differently():
    method, _ = ready()
    for part in method.disentangle.values():
        assert not torch.equal(part.unique[1].weight, part.common[1].weight)


def test_layer_norm_gives_the_unused_rows_a_gradient_and_leaves_its_own_half_untrained():
    """Why the declaration is for encoders without it."""
    specs, task = problems.modalities(), problems.task("multiclass")
    entry = REGISTRY["mdico_released"]
    encoders = problems.encoders(layer_norm=True)
    method = entry.method(specs, task, encoders, **entry.hyperparameters).eval()
    sum(method.losses(problems.batch(specs, task)).values()).backward()
    for part in method.disentangle.values():
        _, projection, norm = part.unique
        half = projection.out_features // 2
        assert projection.weight.grad[half:].any(dim=1).all()
        for p in norm.parameters():
            assert p.grad[:half].all() and not p.grad[half:].any()


# --- Ablations of the architecture, the weights and the deployment --------------------------------


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("kind", TASKS)
def test_without_split_all_features_are_used_as_the_encoders_give_them(kind, kinds):
    method, batch = ready("mdico_no_split", kind, kinds)
    ell, M = method.task.loss, len(kinds)
    u = [method.disentangle[m].unique(x) for m, x in batch.x.items()]
    k = [method.disentangle[m].common(x) for m, x in batch.x.items()]
    assert u[0].shape == k[0].shape == (8, 16)
    both = zip(method.P.values(), u, k, strict=True)
    outputs = [P_m(torch.cat(pair, dim=1)) for P_m, *pair in both]
    pairs = [(k[i], k[j]) for i in range(M) for j in range(i)]
    expected = {
        "main": sum(ell(output, batch.y) for output in outputs) / M,
        "aux": sum(ell(method.A(z), batch.y) for z in (*u, *k)) / (2 * M),
        "con": 2 * sum(nt_xent(a, b, 0.1) for a, b in pairs) / len(pairs),
        "mod": modality_loss(method.D_inf, u),
    }
    terms = method.losses(batch)
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert torch.allclose(terms[name], value, atol=1e-5), name
    for m, output in zip(method.modalities, outputs, strict=True):
        assert torch.equal(method.predictor(m)(batch.x[m]), output)


def test_learnt_weights_are_uncertainties():
    """e^(-a) L + a, which is least at a = log L."""
    (method, batch), (fixed, _) = ready("mdico_auto_weight"), ready()
    plain = fixed.losses(batch)
    assert set(method.a) == set(plain)
    for a in method.a.values():
        assert a.item() == 1
    for name, term in method.losses(batch).items():
        assert torch.allclose(term, plain[name] / math.e + 1)
    for name, a in method.a.items():
        a.data.fill_(math.log(plain[name].item()))
    terms = method.losses(batch)
    sum(terms.values()).backward()
    for name, a in method.a.items():
        assert terms[name].item() == pytest.approx(1 + math.log(plain[name]), abs=1e-5)
        assert a.grad.item() == pytest.approx(0, abs=1e-5)


def test_learnt_weights_are_not_deployed():
    method, _ = ready("mdico_auto_weight")
    assert not any(p is a for a in method.a.values() for p in method.predictor("m1").parameters())


@pytest.mark.parametrize("kind", TASKS)
def test_deployments_of_one_part_share_their_training_with_the_whole(kind):
    data = problems.dataset(kind, samples=60, groups=None)
    whole, specific, shared = (
        problems.train(problems.run_spec(key, data), data).stages[0].losses
        for key in ("mdico", "mdico_specific_only", "mdico_shared_only")
    )
    # The streams of a run do not depend on its method.
    assert whole == specific == shared


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize(
    ("key", "part"), [("mdico_specific_only", "spe"), ("mdico_shared_only", "sha")]
)
def test_a_deployment_of_one_part_has_one_encoder_and_the_auxiliary_head(key, part, kinds):
    method, batch = ready(key, kinds=kinds)
    full, _ = ready(kinds=kinds)
    z = features(method, batch)
    for m, z_m in zip(method.modalities, z, strict=True):
        predictor = method.predictor(m)
        assert torch.equal(predictor(batch.x[m]), method.A(getattr(z_m, part)))
        sizes = [sum(p.numel() for p in f.predictor(m).parameters()) for f in (method, full)]
        encoder = sum(p.numel() for p in method.disentangle[m].unique.parameters())
        assert sizes[0] < sizes[1] - encoder


def test_the_adversary_learns_what_the_common_encoders_unlearn():
    method, batch = ready("mdico_adv")
    terms = method.losses(batch)
    assert set(terms) == {"main", "aux", "mod", "adv"}
    sha = [z.sha.detach().requires_grad_() for z in features(method, batch)]
    loss = modality_loss(method.D_adv, sha)
    assert torch.allclose(terms["adv"], loss)
    loss.backward()
    expected = method.D_adv.weight.grad.clone()
    method.zero_grad()
    terms["adv"].backward()
    assert torch.allclose(method.D_adv.weight.grad, expected, atol=1e-7)
    reversed_gradients = torch.autograd.grad(
        [z.sha for z in features(method, batch)],
        [part.common[1].weight for part in method.disentangle.values()],
        [-z.grad for z in sha],
    )
    for part, g in zip(method.disentangle.values(), reversed_gradients, strict=True):
        assert g.any() and torch.allclose(part.common[1].weight.grad, g, atol=1e-7)
        assert part.unique[1].weight.grad is None


@pytest.mark.parametrize(
    "changes",
    [
        {"w_con": -1.0},
        {"tau": 0.0},
        {"w_main": 0.0},
        {"deploy": "shared", "w_aux": 0.0},
    ],
)
def test_impossible_hyperparameters_are_refused(changes):
    with pytest.raises(UserError, match="mdico: "):
        build("mdico", problems.modalities(), problems.task("binary"), **changes)


# --- Sizes and deployment -----------------------------------------------------------------------


def published_size():
    """MDiCo on Sentinel-1 and Sentinel-2 as released: ten classes, published encoders."""
    specs = {
        m: ModalitySpec(m, "series", (12, channels), ("c",) * channels, "1")
        for m, channels in (("S1", 2), ("S2", 12))
    }
    task = problems.TaskSpec("multiclass", 10)
    with torch.device("meta"):
        return REGISTRY["mdico"].method(
            specs, task, Encoders(dim=128, layer_norm=False, options={"series": {}})
        )


def test_number_of_parameters_is_the_released_one_without_the_unused_head():
    method = published_size()
    assert sum(p.numel() for p in method.parameters()) == 4_112_804 - 130
    # Two encoders, a projector and a head are deployed: twice the size of a single net.
    deployed = sum(p.numel() for p in method.predictor("S2").parameters())
    assert deployed == 2 * 1_026_304 + (128 * 64 + 64 + 2 * 64) + (128 * 10 + 10)


@pytest.mark.parametrize("kind", TASKS)
def test_deployment_is_the_main_head_on_specific_and_shared_features(kind):
    method, batch = ready(kind=kind)
    for m, part in zip(method.modalities, features(method, batch), strict=True):
        expected = method.P[m](torch.cat([part.spe, part.sha], dim=1))
        assert torch.equal(method.predictor(m)(batch.x[m]), expected)
        assert expected.shape == (8, method.task.outputs)
        assert (part.sha >= 0).all() and (part.spe < 0).any() and (part.unu < 0).any()


@pytest.mark.parametrize("kind", TASKS)
def test_three_modalities_are_trained_and_each_is_deployed(kind):
    data = problems.dataset(kind, KINDS[1], samples=60, groups=None)
    trained = problems.train(problems.run_spec("mdico", data), data)
    assert set(trained.predictors) == {"m1", "m2", "m3"}
    (log,) = trained.stages
    assert set(log.losses) == {"main", "aux", "con", "mod"}
    for m, predictor in trained.predictors.items():
        output = predictor(torch.from_numpy(data.x[m][:5]))
        assert output.shape == (5, data.task.outputs) and output.isfinite().all()
