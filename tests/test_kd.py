"""Distillation from all modalities (kd), another (kd_cross), the same one (kd_self) or all others
(gen_distill)."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from benchmark.errors import UserError
from methods.common.contract import ALL, Artefact
from methods.common.registry import REGISTRY
from tests import problems
from tests.by_hand import build

KEYS = ["kd", "kd_cross", "kd_self", "gen_distill"]
KINDS = [("series", "series"), ("vector", "series", "image")]
TASKS = ["binary", "multiclass", "multilabel", "regression"]
WEIGHT = {"kd": "alpha", "kd_cross": "alpha", "kd_self": "alpha", "gen_distill": "lam"}


def ready(key, specs, task, **changes):
    """A method by hand in eval mode, with a batch, its teachers settled on that batch."""
    method = build(key, specs, task, **changes).eval()
    batch = problems.batch(specs, task)
    for stage in method.stages():
        if stage.on_validation:
            with torch.no_grad():
                stage.on_validation([batch])
    return method, batch


def teachers(key, method, x):
    """What teaches each student, (B, outputs), from the artefacts and the choice alone."""
    given = method.given
    if key == "kd":
        return dict.fromkeys(method.modalities, given["teacher"][ALL](x))
    if key == "kd_self":
        return {m: given[m][m](x[m]) for m in method.modalities}
    if key == "kd_cross":
        return {m: given[j][j](x[j]) for m, j in method.teacher.items()}
    return {m: net(x if j == ALL else x[j]) for m in given for j, net in given[m].items()}


def imitation(kind, s, t, T):
    """KD_T(s, t) written out."""
    if kind == "regression":
        return ((s - t) ** 2).mean()
    if kind == "multilabel":
        p = (t / T).sigmoid()
        entropy = F.binary_cross_entropy(p, p)
        return T**2 * (F.binary_cross_entropy_with_logits(s / T, p) - entropy)
    p = (t / T).softmax(dim=1)
    return T**2 * (p * (p.log() - (s / T).log_softmax(dim=1))).sum(dim=1).mean()


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("key", KEYS)
def test_terms_as_published(key, kind, kinds):
    specs, task = problems.modalities(kinds), problems.task(kind)
    method, batch = ready(key, specs, task, **{WEIGHT[key]: 0.3, "T": 3.0})
    terms = method.losses(batch)
    s = {m: method.predictor(m)(batch.x[m]) for m in specs}
    t = teachers(key, method, batch.x)
    supervised, soft = terms.values()
    expected = 0.7 * sum(task.loss(s[m], batch.y) for m in specs)
    assert torch.allclose(supervised, expected, atol=1e-6)
    expected = 0.3 * sum(imitation(kind, s[m], t[m], 3.0) for m in specs)
    assert torch.allclose(soft, expected, atol=1e-5)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("key", KEYS)
def test_weight_0_is_plain_supervision_at_any_temperature(key, kind):
    specs, task = problems.modalities(), problems.task(kind)
    totals = []
    for T in (1.0, 7.0):
        method, batch = ready(key, specs, task, **{WEIGHT[key]: 0.0, "T": T})
        method.given = {}
        totals.append(sum(method.losses(batch).values()))
    singles = 0.0
    for m, student in method.students.items():
        single = build("single", {m: specs[m]}, task).eval()
        single.net.load_state_dict(student.state_dict())
        singles = singles + single.losses(batch)["task"]
    assert totals[0] == totals[1]
    assert torch.allclose(totals[0], singles)


@pytest.mark.parametrize("key", KEYS)
def test_weight_1_at_temperature_1_is_soft_cross_entropy_minus_entropy(key):
    specs, task = problems.modalities(), problems.task("multiclass")
    method, batch = ready(key, specs, task, **{WEIGHT[key]: 1.0, "T": 1.0})
    (only,) = method.losses(batch).values()
    expected = 0.0
    for m, t in teachers(key, method, batch.x).items():
        p = t.softmax(dim=1)
        entropy = -(p * p.log()).sum(dim=1).mean()
        expected = expected + F.cross_entropy(method.predictor(m)(batch.x[m]), p) - entropy
    assert torch.allclose(only, expected, atol=1e-6)


@pytest.mark.parametrize("kind", TASKS)
def test_a_student_like_its_teacher_has_nothing_to_imitate(kind):
    specs, task = problems.modalities(), problems.task(kind)
    method, batch = ready("gen_distill", specs, task)
    method.students["m1"].load_state_dict(method.given["m1"]["m2"].state_dict())
    method.students["m2"].load_state_dict(method.given["m2"]["m1"].state_dict())
    batch.x["m2"].copy_(batch.x["m1"])
    assert method.losses(batch)["imitation"].item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("key", KEYS)
def test_training_leaves_teachers_as_they_are(key, kinds):
    specs, task = problems.modalities(kinds), problems.task("multiclass")
    method, batch = ready(key, specs, task)
    nets = [net for given in method.given.values() for net in given.values()]
    for net in nets:
        net.requires_grad_(True)  # even so
    before = [deepcopy(net.state_dict()) for net in nets]
    (stage,) = method.stages()
    trained = {id(p) for module in stage.modules for p in module.parameters()}
    for module in stage.modules:
        module.train()
    optimiser = torch.optim.Adam(method.parameters(), lr=1e-2)
    sum(method.losses(batch).values()).backward()
    optimiser.step()
    for net, old in zip(nets, before, strict=True):
        assert all(p.grad is None for p in net.parameters())
        assert not trained & {id(p) for p in net.parameters()}
        new = net.state_dict()
        assert all(torch.equal(old[k], new[k]) for k in old)
    assert all(p.grad is not None for p in method.students.parameters())


@pytest.mark.parametrize("key", KEYS)
def test_students_learn_independently(key):
    """The gradient of one student does not change with another student's weights."""
    specs, task = problems.modalities(), problems.task("multiclass")
    method, batch = ready(key, specs, task)
    gradients = []
    for _ in range(2):
        total = sum(method.losses(batch).values())
        gradients.append(torch.autograd.grad(total, list(method.students["m1"].parameters())))
        with torch.no_grad():
            for parameter in method.students["m2"].parameters():
                parameter.add_(0.1)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("key", KEYS)
def test_predictor_is_the_student_alone(key):
    specs, task = problems.modalities(KINDS[1]), problems.task("binary")
    method, batch = ready(key, specs, task)
    for m in specs:
        predictor = method.predictor(m)
        single = build("single", {m: specs[m]}, task)
        assert set(predictor.state_dict()) == set(single.net.state_dict())
        single.net.load_state_dict(predictor.state_dict())
        assert torch.equal(single.net.eval()(batch.x[m]), predictor(batch.x[m]))


# Who teaches whom


def artefacts(key, *modalities):
    return REGISTRY[key].method.artefacts(modalities, **REGISTRY[key].hyperparameters)


def test_kd_teacher_sees_all_modalities():
    assert artefacts("kd", "a", "b") == {"teacher": Artefact("fusion_concat", ("a", "b"))}


def test_gen_distill_teacher_never_sees_the_student_s_modality():
    two = artefacts("gen_distill", "a", "b")
    assert two == {"a": Artefact("single", ("b",)), "b": Artefact("single", ("a",))}
    three = artefacts("gen_distill", "a", "b", "c")
    assert three["b"] == Artefact("fusion_concat", ("a", "c"))
    specs, task = problems.modalities(KINDS[1]), problems.task("multiclass")
    method, batch = ready("gen_distill", specs, task)
    for m in specs:
        x = {**batch.x, m: torch.full_like(batch.x[m], float("nan"))}
        assert torch.isfinite(method.teach(m, x)).all()


def test_kd_cross_takes_the_best_other_modality_on_validation():
    specs, task = problems.modalities(("series",) * 3), problems.task("regression")
    method, batch = ready("kd_cross", specs, task)
    constant = {"m1": 5.0, "m2": 1.0, "m3": 0.0}
    for m, value in constant.items():
        method.given[m][m] = Constant(value)
    batch.y.zero_()
    method.choose([batch, batch])
    assert method.teacher == {"m1": "m3", "m2": "m3", "m3": "m2"}
    soft = method.losses(batch)["kd"]
    s = {m: method.predictor(m)(batch.x[m]) for m in specs}
    t = {"m1": 0.0, "m2": 0.0, "m3": 1.0}
    assert torch.allclose(soft, 0.5 * sum(((s[m] - t[m]) ** 2).mean() for m in specs))


def test_kd_cross_of_two_modalities_crosses_them():
    specs, task = problems.modalities(), problems.task("binary")
    method, _ = ready("kd_cross", specs, task)
    assert method.teacher == {"m1": "m2", "m2": "m1"}


def test_kd_self_never_sees_another_modality():
    assert artefacts("kd_self", "a", "b") == {m: Artefact("single", (m,)) for m in ("a", "b")}
    entry = REGISTRY["kd_self"]
    assert entry.role == "control" and entry.hyperparameters == REGISTRY["kd"].hyperparameters
    data = problems.dataset(samples=60, groups=None)
    other = replace(data, x={**data.x, "m2": -data.x["m2"]})
    first, second = (problems.train(problems.run_spec("kd_self", d), d) for d in (data, other))
    assert equal(first, second, "m1") and not equal(first, second, "m2")


def equal(a, b, m):
    """Whether two trainings give the same predictor of a deployment, bit by bit."""
    states = [trained.predictors[m].state_dict() for trained in (a, b)]
    return all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_kd_cross_is_gen_distill_on_a_regression_with_two_modalities_and_says_so():
    data = problems.dataset("regression", samples=60, groups=None)
    cross, general = (
        problems.train(problems.run_spec(key, data), data) for key in ("kd_cross", "gen_distill")
    )
    for m in data.modalities:
        assert equal(cross, general, m)
    losses = [[*trained.stages[-1].losses.values()] for trained in (cross, general)]
    assert losses[0] == losses[1]

    applicable = REGISTRY["kd_cross"].applicable
    assert "the same as gen_distill" in applicable(data.modalities, data.task)
    three = problems.modalities(("series",) * 3)
    assert applicable(three, data.task) is None
    assert applicable(data.modalities, problems.task("multiclass")) is None
    assert REGISTRY["gen_distill"].applicable(data.modalities, data.task) is None


class Constant(torch.nn.Module):
    """Predicts a value whatever it sees."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full((len(x), 1), self.value)


@pytest.mark.parametrize(
    ("key", "changes", "said"),
    [
        ("kd", {"T": 0.0}, "T must be above 0"),
        ("kd", {"alpha": 1.5}, "alpha in"),
        ("gen_distill", {"T": -1.0}, "T must be above 0"),
        ("gen_distill", {"lam": -0.1}, "lam in"),
    ],
)
def test_impossible_hyperparameters_are_refused(key, changes, said):
    with pytest.raises(UserError, match=said):
        build(key, problems.modalities(), problems.task("binary"), **changes)


# With the harness


@pytest.mark.parametrize("kinds", [("series", "series"), ("series", "vector", "series")])
@pytest.mark.parametrize("key", KEYS)
def test_harness_trains_teachers_first(key, kinds):
    data = problems.dataset("multiclass", kinds)
    trained = problems.train(problems.run_spec(key, data), data)
    assert set(trained.predictors) == set(data.modalities)
    *teaching, students = trained.stages
    assert teaching and all(log.artefact for log in teaching)
    assert students.stage == "students" and not students.artefact
    assert set(students.best_epoch) == set(data.modalities)
