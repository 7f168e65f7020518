"""Dropout fusion (ISensD, FSensD, DSensD, DSensD+, CoM), ESensI and the average-fusion bound."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec
from methods.com import Cross, Gated, Memory
from methods.common.contract import ALL
from methods.common.nets import MeanNet
from methods.common.registry import REGISTRY
from methods.common.subsets import SensorDropout, non_empty_subsets
from tests import problems, sines
from tests.by_hand import build

DROPOUT = ["isensd", "fsensd", "dsensd", "dsensd_plus"]
COM = ["com_avg", "com_gated", "com_cross", "com_memory"]
STACKABLE = [("series", "series"), ("series", "vector", "series")]
MIXED = [("series", "image"), ("vector", "series", "image")]
TASKS = ["binary", "multiclass", "multilabel", "regression"]


def always(monkeypatch, *subset: str) -> None:
    """Let every draw of sensor dropout be ``subset``."""
    monkeypatch.setattr(SensorDropout, "subset", lambda self: subset)


# Subsets


def test_enumeration_is_complete_and_ordered():
    subsets = non_empty_subsets(("a", "b", "c"))
    assert subsets == [
        ("a",),
        ("b",),
        ("c",),
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
        ("a", "b", "c"),
    ]


@pytest.mark.parametrize(
    ("M", "ratio", "by_size"),
    [
        (2, 0.5, [2 / 3, 1 / 3]),
        (4, 0.5, [4 / 15, 6 / 15, 4 / 15, 1 / 15]),
        (2, 0.3, [0.42 / 0.91, 0.49 / 0.91]),
    ],
)
def test_subset_sizes_follow_the_ratio(M, ratio, by_size):
    torch.manual_seed(0)
    dropout = SensorDropout(tuple("abcd"[:M]), ratio)
    n = 4000
    drawn = Counter(len(dropout.subset()) for _ in range(n))
    per_sample = dropout.masks(n).sum(dim=1)
    assert per_sample.min() == 1
    for size, p in enumerate(by_size, start=1):
        assert drawn[size] / n == pytest.approx(p, abs=0.03)
        assert (per_sample == size).float().mean() == pytest.approx(p, abs=0.03)


def test_every_sensor_is_drawn_equally_often():
    torch.manual_seed(0)
    masks = SensorDropout(("a", "b", "c")).masks(6000)
    assert masks.shape == (6000, 3)
    assert torch.allclose(masks.float().mean(dim=0), torch.full((3,), 4 / 7), atol=0.03)


def test_draws_follow_the_global_seed():
    dropout = SensorDropout(("a", "b", "c"))

    def draws():
        torch.manual_seed(3)
        return [dropout.subset() for _ in range(20)], dropout.masks(20)

    (first, masks), (again, masks_again) = draws(), draws()
    assert first == again
    assert torch.equal(masks, masks_again)
    assert len(set(first)) > 1


def test_ratio_0_drops_nothing():
    assert {SensorDropout(("a", "b"), 0.0).subset() for _ in range(50)} == {("a", "b")}


@pytest.mark.parametrize("ratio", [-0.1, 1.0])
def test_impossible_ratio_is_refused(ratio):
    with pytest.raises(UserError, match="ratio must be in"):
        build("fsensd", problems.modalities(), problems.task("binary"), ratio=ratio)


# All methods of this file


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize(
    ("key", "kinds"),
    [("isensd", kinds) for kinds in STACKABLE]
    + [(key, kinds) for key in [*DROPOUT[1:], *COM, "esensi"] for kinds in [*STACKABLE, *MIXED]],
)
def test_trains_on_every_task_and_kind_of_modality(key, kinds, kind):
    specs, task = problems.modalities(kinds), problems.task(kind)
    method = build(key, specs, task).train()
    batch = problems.batch(specs, task)
    optimiser = torch.optim.Adam(method.parameters(), lr=1e-3)
    seen = []
    for _ in range(8):
        torch.manual_seed(1)  # the same subset and dropout at every step
        total = sum(method.losses(batch).values())
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        seen.append(float(total.detach()))
    assert seen[-1] < seen[0]
    method.eval()
    for m in specs:
        assert method.predictor(m)(batch.x[m]).shape == (8, task.outputs)


@pytest.mark.parametrize("key", [*DROPOUT, *COM, "esensi"])
def test_predictor_works_from_its_own_state(key):
    specs, task = problems.modalities(STACKABLE[1]), problems.task("multiclass")
    method = build(key, specs, task).eval()
    batch = problems.batch(specs, task)
    for m in specs:
        expected = method.predictor(m)(batch.x[m])
        state = deepcopy(method.predictor(m).state_dict())
        fresh = build(key, specs, task, seed=1).eval().predictor(m)
        assert not torch.equal(fresh(batch.x[m]), expected)
        fresh.load_state_dict(state)
        assert torch.equal(fresh(batch.x[m]), expected)
        if key != "isensd":
            foreign = [e for j, e in encoders(method).items() if j != m]
            mine = {id(p) for p in method.predictor(m).parameters()}
            assert not mine & {id(p) for e in foreign for p in e.parameters()}


def encoders(method) -> dict[str, nn.Module]:
    """The encoders of a method by modality."""
    if hasattr(method, "encoders"):
        return dict(method.encoders)
    if hasattr(method, "net"):
        return dict(method.net.encoders)
    return {m: getattr(net, "encoder", None) or net[0] for m, net in method.nets.items()}


@pytest.mark.parametrize("key", ["fsensd", "dsensd", *COM])
def test_missing_modality_is_never_touched(key, monkeypatch):
    """NaN in what is dropped reaches neither the loss nor a gradient."""
    specs, task = problems.modalities(MIXED[1]), problems.task("multiclass")
    method = build(key, specs, task).eval()
    batch = problems.batch(specs, task)
    always(monkeypatch, "m2")
    clean = {m: method.predictor(m)(batch.x[m]) for m in specs}
    batch.x["m1"].fill_(float("nan"))
    assert torch.equal(method.predictor("m2")(batch.x["m2"]), clean["m2"])
    if key not in COM:
        total = sum(method.losses(batch).values())
        total.backward()
        assert torch.isfinite(total)
        assert all(p.grad is None for p in encoders(method)["m1"].parameters())


# Sensor dropout at the input


def test_isensd_without_dropout_is_input_fusion():
    specs, task = problems.modalities(STACKABLE[1]), problems.task("regression")
    method = build("isensd", specs, task, ratio=0.0).eval()
    batch = problems.batch(specs, task)
    vector = batch.x["m2"].unsqueeze(1).expand(-1, 6, -1)
    stacked = torch.cat([batch.x["m1"], vector, batch.x["m3"]], dim=2)
    output = method.net.head(method.net.encoder(stacked))
    assert torch.equal(method.losses(batch)["task"], task.loss(output, batch.y))


@pytest.mark.parametrize("m", ["m1", "m2", "m3"])
def test_isensd_drops_whole_sensors_and_deploys_with_zeros(m, monkeypatch):
    specs, task = problems.modalities(STACKABLE[1]), problems.task("binary")
    method = build("isensd", specs, task).eval()
    batch = problems.batch(specs, task)
    zeroed = {j: x if j == m else torch.zeros_like(x) for j, x in batch.x.items()}
    expected = method.net(zeroed)
    assert torch.equal(method.predictor(m)(batch.x[m]), expected)
    always(monkeypatch, m)
    assert torch.equal(method.losses(batch)["task"], task.loss(expected, batch.y))


def test_isensd_mask_does_not_depend_on_the_order_of_channels(monkeypatch):
    specs, task = problems.modalities(), problems.task("binary")
    method = build("isensd", specs, task).eval()
    batch = problems.batch(specs, task)
    always(monkeypatch, "m1")
    before = method.losses(batch)["task"]
    permuted = deepcopy(method)
    order = [2, 0, 1]
    convolution = permuted.net.encoder[0].convolutions[0]
    with torch.no_grad():
        convolution.weight[..., :3] = convolution.weight[..., :3][..., order].clone()
    batch.x["m1"].copy_(batch.x["m1"][..., order].clone())
    assert torch.allclose(permuted.losses(batch)["task"], before, atol=1e-6)


def test_isensd_flattens_windows_at_each_time_step():
    specs = problems.modalities()
    window = ModalitySpec("m2", "series", (6, 2, 2, 3), ("a", "b", "c"), "1")
    specs["m2"] = window
    task = problems.task("binary")
    method = build("isensd", specs, task).eval()
    batch = problems.batch(specs, task)
    stacked = torch.cat([batch.x["m1"], batch.x["m2"].reshape(8, 6, 12)], dim=2)
    assert torch.equal(method.net(batch.x), method.net.head(method.net.encoder(stacked)))


def test_isensd_says_why_it_is_not_applicable():
    entry, task = REGISTRY["isensd"], problems.task("binary")
    assert entry.applicable(problems.modalities(STACKABLE[1]), task) is None
    assert "image" in entry.applicable(problems.modalities(("series", "image")), task)
    assert "no modality is a series" in entry.applicable(problems.modalities(("vector",)), task)
    longer = ModalitySpec("m2", "series", (9, 3), ("a", "b", "c"), "1")
    reason = entry.applicable({**problems.modalities(), "m2": longer}, task)
    assert "m1 6" in reason and "m2 9" in reason


# Sensor dropout at the features, and average fusion


@pytest.mark.parametrize("subset", [("m2",), ("m1", "m3"), ("m1", "m2", "m3")])
def test_fsensd_averages_the_features_of_the_subset(subset, monkeypatch):
    specs, task = problems.modalities(MIXED[1]), problems.task("multiclass")
    method = build("fsensd", specs, task).eval()
    batch = problems.batch(specs, task)
    always(monkeypatch, *subset)
    z = [method.net.encoders[m](batch.x[m]) for m in subset]
    expected = task.loss(method.net.head(sum(z) / len(z)), batch.y)
    assert torch.allclose(method.losses(batch)["task"], expected, atol=1e-6)
    if len(subset) == 1:
        (m,) = subset
        assert torch.equal(task.loss(method.predictor(m)(batch.x[m]), batch.y), expected)


def test_mean_of_copies_of_a_modality_is_that_modality():
    specs, task = problems.modalities(("series",) * 3), problems.task("binary")
    net = MeanNet(specs, problems.encoders(), nn.Linear(16, 2)).eval()
    for m in ("m2", "m3"):
        net.encoders[m].load_state_dict(net.encoders["m1"].state_dict())
    x = problems.batch(specs, task).x["m1"]
    alone = net({"m1": x})
    assert torch.equal(alone, net.head(net.encoders["m1"](x)))
    assert torch.allclose(net({"m1": x, "m2": x}), alone, atol=1e-6)
    assert torch.allclose(net(dict.fromkeys(specs, x)), alone, atol=1e-6)


@pytest.mark.parametrize("kind", TASKS)
def test_average_fusion_is_an_oracle_of_all_modalities(kind):
    specs, task = problems.modalities(MIXED[1]), problems.task(kind)
    method = build("fusion_avg", specs, task).eval()
    batch = problems.batch(specs, task)
    assert method.deployed == (ALL,)
    output = method.predictor(ALL)(batch.x)
    assert output.shape == (8, task.outputs)
    assert torch.equal(method.losses(batch)["task"], task.loss(output, batch.y))


@pytest.mark.parametrize("key", ["fsensd", "com_avg", "fusion_avg"])
def test_features_that_are_averaged_are_layer_normalised(key):
    specs = problems.modalities(MIXED[1])
    method = build(key, specs, problems.task("binary"))
    assert all(isinstance(e[-1], nn.LayerNorm) for e in encoders(method).values())


# Sensor dropout at the decision


@pytest.mark.parametrize("subset", [("m2",), ("m1", "m3"), ("m1", "m2", "m3")])
def test_dsensd_averages_the_decisions_of_the_subset(subset, monkeypatch):
    specs, task = problems.modalities(MIXED[1]), problems.task("multiclass")
    method = build("dsensd", specs, task).eval()
    batch = problems.batch(specs, task)
    always(monkeypatch, *subset)
    terms = method.losses(batch)
    s = [method.predictor(m)(batch.x[m]) for m in subset]
    assert set(terms) == {"main"}
    expected = task.loss(sum(s) / len(s), batch.y)
    assert torch.allclose(terms["main"], expected, atol=1e-6)


RELEASED = {
    "multiclass": {"main": 1.521631847, "full": 1.532839672, "ind": 1.557403868, "sd": 0.005422516},
    "multilabel": {"main": 0.636326886, "full": 0.698086673, "ind": 0.729848792, "sd": 0.166777466},
}
"""What the released code (fmenat/DSensDp, 9d8c2ba) gives for S = {m1} on the weights and inputs of
`tests.sines`, in double precision."""


@pytest.mark.parametrize("kind", RELEASED)
def test_dsensd_plus_terms_are_those_of_the_released_code(kind, monkeypatch):
    specs, task = problems.modalities(), problems.task(kind)
    if kind == "multiclass":
        task = replace(task, class_weights=(0.5, 1.0, 2.0, 0.8))
    method = sines.filled(build("dsensd_plus", specs, task))
    batch = sines.batch(specs, task)
    always(monkeypatch, "m1")
    terms = {k: v.item() for k, v in method.losses(batch).items()}
    if kind == "multilabel":
        # The release has the cross-entropy with soft labels: the entropy of these on top.
        s = [method.predictor(m)(x) for m, x in batch.x.items()]
        p = (sum(s) / 2 / 0.5).sigmoid()
        terms["sd"] += 0.25 * nn.functional.binary_cross_entropy(p, p).item()
    assert terms == pytest.approx(RELEASED[kind], abs=1e-5)


def test_dsensd_plus_without_its_weights_is_dsensd(monkeypatch):
    specs, task = problems.modalities(), problems.task("multiclass")
    batch = problems.batch(specs, task)
    always(monkeypatch, "m1", "m2")
    dsensd = build("dsensd", specs, task).eval()
    plus = build("dsensd_plus", specs, task, w_full=0, w_ind=0, w_sd=0).eval()
    assert plus.losses(batch) == dsensd.losses(batch)


@pytest.mark.parametrize("kind", TASKS)
def test_dsensd_plus_terms_as_published(kind, monkeypatch):
    specs, task = problems.modalities(), problems.task(kind)
    method = build("dsensd_plus", specs, task).eval()
    batch = problems.batch(specs, task)
    always(monkeypatch, "m2")
    terms = method.losses(batch)
    s1, s2 = (method.predictor(m)(batch.x[m]) for m in specs)
    f_all = (s1 + s2) / 2
    assert torch.allclose(terms["main"], task.loss(s2, batch.y))
    assert torch.allclose(terms["full"], task.loss(f_all, batch.y))
    individual = (task.loss(s1, batch.y) + task.loss(s2, batch.y)) / 2
    assert torch.allclose(terms["ind"], individual)
    if kind == "regression":
        imitation = (((s1 - f_all) ** 2).mean() + ((s2 - f_all) ** 2).mean()) / 2
    elif kind == "multilabel":
        p = (f_all / 0.5).sigmoid()
        cross = [nn.functional.binary_cross_entropy_with_logits(s / 0.5, p) for s in (s1, s2)]
        imitation = 0.25 * (sum(cross) / 2 - nn.functional.binary_cross_entropy(p, p))
    else:
        p = (f_all / 0.5).softmax(dim=1)
        kl = [(p * (p.log() - (s / 0.5).log_softmax(dim=1))).sum(dim=1).mean() for s in (s1, s2)]
        imitation = 0.25 * sum(kl) / 2
    assert torch.allclose(terms["sd"], imitation, atol=1e-6)


@pytest.mark.parametrize("kind", TASKS)
def test_dsensd_plus_on_one_modality_is_three_times_the_task_loss(kind):
    specs, task = problems.modalities(("series",)), problems.task(kind)
    method = build("dsensd_plus", specs, task).eval()
    batch = problems.batch(specs, task)
    terms = method.losses(batch)
    assert terms["sd"].item() == pytest.approx(0, abs=1e-7)
    ell = task.loss(method.predictor("m1")(batch.x["m1"]), batch.y)
    assert torch.allclose(sum(terms.values()), 3 * ell)


def test_dsensd_plus_equal_decisions_leave_nothing_to_imitate():
    specs, task = problems.modalities(), problems.task("multiclass")
    method = build("dsensd_plus", specs, task).eval()
    method.nets["m2"].load_state_dict(method.nets["m1"].state_dict())
    batch = problems.batch(specs, task)
    batch.x["m2"].copy_(batch.x["m1"])
    assert method.losses(batch)["sd"].item() == pytest.approx(0, abs=1e-7)


def test_ensemble_is_a_fixed_target():
    """m1 learns from imitating f_all, not from making f_all easier for m2 to imitate."""
    specs, task = problems.modalities(), problems.task("multiclass")
    method = build("dsensd_plus", specs, task, w_main=0, w_full=0, w_ind=0).eval()
    batch = problems.batch(specs, task)
    outputs = {m: net(batch.x[m]) for m, net in method.nets.items()}
    f_all = ((outputs["m1"] + outputs["m2"]) / 2).detach()
    term = task.soft_target_distance(outputs["m1"], f_all, 0.5) / 2
    parameters = list(method.nets["m1"].parameters())
    expected = torch.autograd.grad(term, parameters)
    got = torch.autograd.grad(method.losses(batch)["sd"], parameters)
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize(
    ("kind", "normalised"),
    [("binary", False), ("multiclass", True), ("multilabel", True), ("regression", False)],
)
def test_dsensd_normalises_logits_only_where_that_leaves_information(kind, normalised):
    specs, task = problems.modalities(), problems.task(kind)
    method = build("dsensd", specs, task).eval()
    output = method.predictor("m1")(problems.batch(specs, task).x["m1"])
    assert len(output.unique()) > 2
    means = output.mean(dim=1)
    assert torch.allclose(means, torch.zeros_like(means), atol=1e-5) == normalised


def test_dsensd_heads_start_equal_and_are_trained_apart():
    method = build("dsensd", problems.modalities(), problems.task("multiclass"))
    first, second = (method.nets[m][1].state_dict() for m in ("m1", "m2"))
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not {p.data_ptr() for p in first.values()} & {p.data_ptr() for p in second.values()}


# All combinations


@pytest.mark.parametrize("key", COM)
@pytest.mark.parametrize("kind", TASKS)
def test_com_is_the_mean_loss_of_all_subsets(key, kind):
    specs, task = problems.modalities(STACKABLE[1]), problems.task(kind)
    method = build(key, specs, task).eval()
    batch = problems.batch(specs, task)
    z = {m: encode(batch.x[m]) for m, encode in method.encoders.items()}
    subsets = non_empty_subsets(tuple(specs))
    outputs = [method.head(method.merge({m: z[m] for m in subset})) for subset in subsets]
    rows = torch.cat(outputs)
    assert len(rows) == 7 * 8
    repeated = batch.y.repeat(7, *[1] * (batch.y.ndim - 1))
    assert torch.allclose(method.losses(batch)["task"], task.loss(rows, repeated), atol=1e-6)


RELEASED_COM = {
    ("com_avg", 2): 3.224642590,
    ("com_gated", 2): 3.245082984,
    ("com_avg", 3): 3.595612324,
    ("com_gated", 3): 3.590875447,
}
"""What the released code (fmenat/CoM-views, eb4d1e4) gives on the weights and inputs of
`tests.sines` for M modalities, in double precision."""


@pytest.mark.parametrize(("key", "M"), RELEASED_COM)
def test_com_is_that_of_the_released_code(key, M):
    specs = problems.modalities({2: ("series", "series"), 3: STACKABLE[1]}[M])
    task = replace(problems.task("multiclass"), class_weights=(0.5, 1.0, 2.0, 0.8))
    method = sines.filled(build(key, specs, task))
    loss = method.losses(sines.batch(specs, task))["task"]
    assert loss.item() == pytest.approx(RELEASED_COM[key, M], abs=1e-5)


@pytest.mark.parametrize("key", COM)
def test_com_trains_the_loss_that_it_deploys(key):
    """The subset {m} of the training loss is the predictor's output."""
    specs, task = problems.modalities(), problems.task("multiclass")
    method = build(key, specs, task).eval()
    batch = problems.batch(specs, task)
    for m in specs:
        merged = method.merge({m: method.encoders[m](batch.x[m])})
        assert torch.allclose(method.predictor(m)(batch.x[m]), method.head(merged), atol=1e-6)


def test_one_modality_passes_the_gates_unchanged():
    z = torch.randn(5, 16)
    assert torch.equal(Gated(("a", "b", "c"), 16)({"b": z}), z)


def test_gates_of_the_available_sum_to_one():
    merge = Gated(("a", "b", "c"), 16)
    ones = torch.ones(5, 16)
    assert torch.allclose(merge({"a": ones, "c": ones}), ones)
    z = {m: torch.randn(5, 16) for m in "ab"}
    merged = merge(z)
    assert (merged <= torch.maximum(z["a"], z["b"])).all()
    assert (merged >= torch.minimum(z["a"], z["b"])).all()


def test_attention_leaves_the_features_as_they_were():
    """Encodings that were added in place would pile up from subset to subset."""
    torch.manual_seed(0)
    merge = Cross(("a", "b"), 16).eval()
    z = {m: torch.randn(5, 16) for m in "ab"}
    first = merge(z)
    merge({"a": z["a"]})
    assert torch.equal(merge(z), first)


def test_attention_tells_modalities_apart():
    torch.manual_seed(0)
    merge = Cross(("a", "b"), 16).eval()
    z = torch.randn(5, 16)
    assert not torch.allclose(merge({"a": z}), merge({"b": z}), atol=1e-3)


def test_attention_heads_must_divide_the_features():
    with pytest.raises(UserError, match="12 features cannot be shared among 8"):
        Cross(("a", "b"), 12)


def test_memory_is_the_mean_of_both_directions_of_the_last_layer():
    torch.manual_seed(0)
    merge = Memory(("a", "b", "c"), 16).eval()
    z = {m: torch.randn(5, 16) for m in "abc"}
    output, _ = merge.lstm(torch.stack([*z.values()], dim=1))
    forward, backward = output[:, -1, :16], output[:, 0, 16:]
    assert torch.allclose(merge(z), (forward + backward) / 2, atol=1e-6)


# ESensI


def test_esensi_shares_its_head_and_nothing_else():
    specs, task = problems.modalities(MIXED[0]), problems.task("binary")
    method = build("esensi", specs, task).eval()
    first, second = method.nets["m1"], method.nets["m2"]
    shared = {id(p) for p in first.parameters()} & {id(p) for p in second.parameters()}
    assert shared == {id(p) for p in first.head.parameters()}
    batch = problems.batch(specs, task)
    expected = sum(
        task.loss(net.head(net.encoder(batch.x[m]) + net.rho), batch.y)
        for m, net in method.nets.items()
    )
    assert torch.allclose(method.losses(batch)["task"], expected)


def test_esensi_without_vectors_is_a_pool_of_single_nets_with_one_head():
    specs, task = problems.modalities(), problems.task("multiclass")
    method = build("esensi", specs, task).eval()
    batch = problems.batch(specs, task)
    pool = 0.0
    for m, net in method.nets.items():
        single = build("single", {m: specs[m]}, task).eval()
        net.encoder.load_state_dict(single.net.encoder.state_dict())
        single.net.head = method.head
        nn.init.zeros_(net.rho)
        pool = pool + single.losses(batch)["task"]
    assert torch.allclose(method.losses(batch)["task"], pool, atol=1e-6)


def test_esensi_normalises_all_sensors_together_as_it_does_at_inference():
    specs, task = problems.modalities(), problems.task("multiclass")
    method = build("esensi", specs, task).train()
    (norm,) = (layer for layer in method.head if isinstance(layer, nn.BatchNorm1d))
    sizes = []
    norm.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    method.losses(problems.batch(specs, task, size=8))
    assert sizes == [16]


def test_esensi_vectors_differ_between_sensors():
    method = build("esensi", problems.modalities(), problems.task("binary"))
    assert not torch.allclose(method.nets["m1"].rho, method.nets["m2"].rho)


# With the harness


@pytest.mark.parametrize("key", [*DROPOUT, *COM, "esensi", "fusion_avg"])
def test_harness_trains_it(key):
    data = problems.dataset("multiclass", STACKABLE[1])
    trained = problems.train(problems.run_spec(key, data), data)
    assert set(trained.predictors) == ({ALL} if key == "fusion_avg" else set(data.modalities))
    log = trained.stages[-1]
    assert log.epochs == 2
    assert set(log.best_epoch) == set(trained.predictors)
