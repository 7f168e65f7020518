"""C²KD: bidirectional distillation through proxies, on samples whose classes they rank alike.

The figures of the released code (huofushuo/C2KD) were obtained by running it on the inputs that
`numpy` draws here, in double precision; for its distance of non-target classes with the target's
logit lowered by 1000, where it sets it to 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from benchmark.errors import UserError
from methods.c2kd import rank_correlation
from methods.common.contract import Artefact
from methods.common.registry import REGISTRY
from tests import problems
from tests.by_hand import build

KINDS = [("series", "vector"), ("image", "vector", "series")]
TASKS = ["binary", "multiclass", "multilabel", "regression"]


def drawn():
    """Outputs of student, teacher and their proxies, each (8, 5), and targets."""
    rng = np.random.default_rng(1)
    return [torch.from_numpy(2 * rng.normal(size=(8, 5))) for _ in range(4)], torch.arange(8) % 5


def with_five_classes():
    return build("c2kd", problems.modalities(), replace(problems.task("multiclass"), outputs=5))


def test_the_rank_correlation_is_that_of_scipy_with_ties_too():
    rng = np.random.default_rng(2)
    a, b = 3 * rng.normal(size=(2, 20, 5))
    a[10:], b[5:15] = a[10:].round(), b[5:15].round()
    expected = [kendalltau(*pair).statistic for pair in zip(a, b, strict=True)]
    found = rank_correlation(torch.from_numpy(a), torch.from_numpy(b))
    assert found.tolist() == pytest.approx(expected, abs=1e-12)
    constant = torch.ones(1, 4)
    assert rank_correlation(constant, torch.rand(1, 4)).item() == 0  # NaN there
    assert rank_correlation(*torch.tensor([[[1.0, 2.0]], [[5.0, -1.0]]])).item() == -1


def test_distances_are_those_of_the_release():
    (s, t, s_, t_), _ = drawn()
    distance = with_five_classes().distance
    found = [distance(*pair).item() for pair in ((s, s_), (s_, s), (t, t_), (t_, t))]
    released = [1.350008354378941, 1.3181193911452176, 1.131773618818849, 1.2829546468537179]
    assert found == pytest.approx(released, rel=1e-12)


def test_what_crosses_is_that_of_the_release_without_the_target_class():
    (_, _, s_, t_), y = drawn()
    method = with_five_classes()
    assert method.selected(s_, t_)[:, 0].tolist() == [1, 0, 0, 0, 1, 0, 0, 1]
    assert method.cross(s_, t_, y).item() == pytest.approx(0.7189824301813127, rel=1e-12)


def test_what_crosses_knows_nothing_of_the_target_class_nor_of_other_samples():
    (_, _, s_, t_), y = drawn()
    method = with_five_classes()
    s_.requires_grad_()
    (gradient,) = torch.autograd.grad(method.cross(s_, t_, y), s_)
    own = torch.nn.functional.one_hot(y, 5).bool()
    selected = method.selected(s_, t_)
    assert gradient[own].abs().max() == 0
    assert torch.equal((gradient != 0).any(dim=1), selected[:, 0])
    method.omega = 0.9
    assert method.cross(s_, t_, y).item() == 0


@pytest.mark.parametrize("kind", TASKS)
def test_each_direction_moves_one_side(kind):
    """D(a, b) moves a alone: the gradients of both directions are those of each by itself."""
    specs, task = problems.modalities(), problems.task(kind)
    method = build("c2kd", specs, task)
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(8, task.outputs, generator=g).requires_grad_() for _ in range(2))
    gradient = torch.autograd.grad(method.cross(a, b, problems.batch(specs, task).y), (a, b))
    detached = torch.autograd.grad(
        method.cross(a, b.detach(), problems.batch(specs, task).y), a, retain_graph=True
    )
    assert torch.equal(gradient[0], detached[0])
    assert gradient[1].abs().max() > 0


@pytest.mark.parametrize("kind", TASKS)
def test_outputs_in_agreement_have_nothing_to_pass_on(kind):
    specs, task = problems.modalities(), problems.task(kind)
    method = build("c2kd", specs, task)
    s = torch.randn(8, task.outputs, generator=torch.Generator().manual_seed(0))
    assert method.cross(s, s, problems.batch(specs, task).y).item() == pytest.approx(0, abs=1e-7)


def test_without_ranks_or_other_classes_the_distance_is_over_all_outputs():
    specs = problems.modalities()
    regression = build("c2kd", specs, problems.task("regression"))
    s, t = torch.tensor([[1.0], [0.0]]), torch.tensor([[-1.0], [3.0]])
    assert regression.cross(s, t, None).item() == pytest.approx(2 * (4 + 9) / 2)
    binary = build("c2kd", specs, problems.task("binary"))
    s, t = torch.tensor([[1.0, 0.0], [2.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    assert binary.selected(s, t).flatten().tolist() == [False, False]  # a tie, and the opposite
    t = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    one = sum(binary.distance(*pair) for pair in ((s[:1], t[:1]), (t[:1], s[:1])))
    assert torch.allclose(binary.cross(s, t, torch.tensor([0, 1])), one / 2)


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("kind", TASKS)
def test_without_its_terms_students_and_teachers_are_trained_apart(kind, kinds):
    specs, task = problems.modalities(kinds), problems.task(kind)
    method = build("c2kd", specs, task, w_proxy=0.0, w_cross=0.0).eval()
    batch = problems.batch(specs, task)
    (only,) = method.losses(batch).values()
    singles = [task.loss(method.predictor(m)(batch.x[m]), batch.y) for m in specs]
    teachers = [task.loss(teacher(batch.x), batch.y) for teacher in method.teachers.values()]
    assert torch.allclose(only, sum(singles) + sum(teachers))


def test_the_terms_are_the_weighted_sums_over_the_students():
    specs, task = problems.modalities(KINDS[1]), problems.task("multiclass")
    method = build("c2kd", specs, task, w_proxy=2.0, w_cross=3.0, omega=-0.5).eval()
    batch = problems.batch(specs, task)
    within = across = 0.0
    for m in specs:
        z = method.students[m].encoder(batch.x[m]), method.teachers[m].embed(batch.x)
        s, t = method.students[m].head(z[0]), method.teachers[m].head(z[1])
        s_, t_ = method.student_proxies[m](z[0]), method.teacher_proxies[m](z[1])
        pairs = [(s, s_), (s_, s), (t, t_), (t_, t)]
        within = within + sum(task.soft_target_distance(*pair, 1.0) for pair in pairs)
        across = across + method.cross(s_, t_, batch.y)
    terms = method.losses(batch)
    assert torch.allclose(terms["proxy"], 2 * within) and torch.allclose(terms["cross"], 3 * across)


@pytest.mark.parametrize("kinds", KINDS)
def test_teachers_start_from_nets_that_never_see_the_students_modality(kinds):
    specs, task = problems.modalities(kinds), problems.task("multiclass")
    method = build("c2kd", specs, task).eval()
    batch = problems.batch(specs, task)
    method.start(8)
    for m, teacher in method.teachers.items():
        assert m not in teacher.encoders and len(teacher.encoders) == len(specs) - 1
        ((j, given),) = method.given[m].items()
        trained = given(batch.x if j == "all" else batch.x[j])
        assert torch.equal(teacher(batch.x), trained)
    artefacts = REGISTRY["c2kd"].method.artefacts(tuple(specs))
    others = tuple(specs)[1:]
    key = "single" if len(others) == 1 else "fusion_concat"
    assert artefacts["m1"] == Artefact(key, others)


def test_teachers_learn_along_and_are_not_deployed():
    data = problems.dataset("binary", KINDS[0], samples=60, groups=None)
    trained = problems.train(problems.run_spec("c2kd", data), data)
    single = build("single", {"m1": data.modalities["m1"]}, data.task)
    assert set(trained.predictors["m1"].state_dict()) == set(single.net.state_dict())
    (log,) = [log for log in trained.stages if not log.artefact]
    assert set(log.losses) == {"task", "proxy", "cross"}


@pytest.mark.parametrize("changes", [{"omega": 1.0}, {"w_proxy": -1.0}, {"w_cross": -0.1}])
def test_impossible_hyperparameters_are_refused(changes):
    with pytest.raises(UserError, match="omega must be in"):
        build("c2kd", problems.modalities(), problems.task("binary"), **changes)
