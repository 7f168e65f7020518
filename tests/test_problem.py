"""Modalities and tasks as values: training statistics, losses, soft targets, predictions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from benchmark.problem import ModalitySpec
from tests.problems import task

KINDS = ("binary", "multiclass", "multilabel", "regression")
CLASSES = ("binary", "multiclass")


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- Modalities ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("series", (6,)),
        ("series", (6, 2, 3)),
        ("image", (8, 8)),
        ("image", (3, 8, 8, 2)),
        ("vector", (2, 3)),
    ],
)
def test_a_shape_that_its_kind_cannot_have_is_an_error(kind, shape):
    with pytest.raises(ValueError, match=f"sar: a {kind} cannot have shape"):
        ModalitySpec("sar", kind, shape, ("VV",) * shape[-1], "dB")


def test_channel_names_must_be_as_many_as_the_last_axis():
    with pytest.raises(ValueError, match="sar: 1 channel names for a last axis of 2"):
        ModalitySpec("sar", "series", (12, 2), ("VV",), "dB")
    assert ModalitySpec("sar", "series", (12, 5, 5, 2), ("VV", "VH"), "dB").shape == (12, 5, 5, 2)


# --- fitted -------------------------------------------------------------------------------------


def test_class_weights_are_n_over_C_times_n_c():
    fitted = task("multiclass").fitted(np.array([0] * 5 + [1] * 3 + [2] * 1 + [3] * 1))
    assert fitted.class_weights == pytest.approx((10 / 20, 10 / 12, 10 / 4, 10 / 4))


def test_a_class_absent_from_training_has_weight_0():
    fitted = task("multiclass").fitted(np.array([0, 0, 0, 2]))
    assert fitted.class_weights == pytest.approx((4 / 12, 0, 4 / 4, 0))


@pytest.mark.parametrize("kind", CLASSES)
def test_fewer_than_two_training_classes_are_an_error(kind):
    with pytest.raises(ValueError, match="fewer than two classes"):
        task(kind).fitted(np.ones(5, dtype=int))


def test_target_scale_is_the_training_mean_and_population_deviation():
    fitted = task("regression").fitted(np.array([90.0, 100.0, 110.0, 120.0], dtype=np.float32))
    assert fitted.target_mean == 105
    assert fitted.target_std == pytest.approx(math.sqrt(125))
    z = fitted.targets(np.array([105.0, 105.0 + math.sqrt(125)]))
    assert z.shape == (2, 1) and z.dtype == torch.float32
    assert z[:, 0].tolist() == pytest.approx([0, 1])


def test_a_large_offset_does_not_spoil_the_target_scale():
    y = 1e7 + np.array([-1.0, 1.0], dtype=np.float64)
    fitted = task("regression").fitted(y)
    assert fitted.target_std == pytest.approx(1)
    assert fitted.targets(y)[:, 0].tolist() == pytest.approx([-1, 1])


def test_a_target_without_spread_is_an_error():
    with pytest.raises(ValueError, match="constant"):
        task("regression").fitted(np.full(4, 3.0))


def test_multilabel_has_no_training_statistics():
    spec = task("multilabel")
    assert spec.fitted(np.array([[0, 1, 1], [1, 0, 1]])) == spec


def test_fitting_leaves_the_task_as_it_was():
    spec = task("binary")
    spec.fitted(np.array([0, 1, 1]))
    assert spec.class_weights is None


# --- targets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_class_targets_become_indices_of_any_integer_type(dtype):
    y = task("multiclass").targets(np.array([3, 0, 1], dtype=dtype))
    assert y.dtype == torch.int64 and y.tolist() == [3, 0, 1]


def test_label_sets_become_zeros_and_ones():
    y = task("multilabel").targets(np.array([[1, 0, 1], [0, 0, 0]], dtype=np.uint8))
    assert y.dtype == torch.float32 and y.tolist() == [[1, 0, 1], [0, 0, 0]]


# --- loss ---------------------------------------------------------------------------------------


def test_cross_entropy_by_hand():
    output = torch.tensor([[0.0, math.log(3)], [math.log(4), 0.0]])
    # The right class has 3/4 and 4/5.
    expected = -(math.log(3 / 4) + math.log(4 / 5)) / 2
    assert float(task("binary").loss(output, torch.tensor([1, 0]))) == pytest.approx(expected)


def test_weighted_cross_entropy_divides_by_the_weights_of_the_batch():
    spec = replace(task("binary"), class_weights=(0.5, 2.0))
    output = torch.tensor([[0.0, math.log(3)], [math.log(4), 0.0], [0.0, 0.0]])
    nll = [-math.log(3 / 4), -math.log(4 / 5), math.log(2)]
    expected = (2 * nll[0] + 0.5 * nll[1] + 0.5 * nll[2]) / (2 + 0.5 + 0.5)
    y = torch.tensor([1, 0, 0])
    assert float(spec.loss(output, y)) == pytest.approx(expected)
    reference = F.cross_entropy(output, y, weight=torch.tensor([0.5, 2.0]))
    assert float(spec.loss(output, y)) == pytest.approx(float(reference))


def test_a_sample_of_a_class_that_training_lacks_does_not_count():
    spec = task("multiclass").fitted(np.array([0, 0, 0, 2]))
    output, y = normal(6, 4), torch.tensor([0, 1, 2, 3, 0, 2])
    known = torch.tensor([0, 2, 4, 5])
    assert float(spec.loss(output, y)) == pytest.approx(float(spec.loss(output[known], y[known])))


def test_a_batch_whose_weights_are_all_0_gives_0_and_no_gradient():
    spec = task("multiclass").fitted(np.array([0, 0, 0, 2]))
    output = normal(3, 4).requires_grad_()
    loss = spec.loss(output, torch.tensor([1, 3, 1]))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(output.grad, torch.zeros(3, 4))


def test_multilabel_loss_by_hand_is_a_mean_over_samples_and_labels():
    output = torch.tensor([[0.0, math.log(3), -math.log(3)], [math.log(4), 0.0, 0.0]])
    y = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    likelihood = [1 / 2, 3 / 4, 1 / 4, 1 / 5, 1 / 2, 1 / 2]
    expected = -sum(math.log(p) for p in likelihood) / 6
    assert float(task("multilabel").loss(output, y)) == pytest.approx(expected)


def test_regression_loss_is_in_units_of_the_target_deviation():
    spec = task("regression").fitted(np.array([80.0, 120.0]))
    y = spec.targets(np.array([100.0, 140.0]))
    assert float(spec.loss(torch.zeros(2, 1), y)) == pytest.approx((0 + 2**2) / 2)


@pytest.mark.parametrize("kind", ["regression", "multilabel"])
def test_outputs_and_targets_that_would_broadcast_are_an_error(kind):
    """(B, 1) against (B,) gives another loss in silence."""
    spec = task(kind)
    output = normal(4, spec.outputs)
    for wrong in (torch.zeros(4), torch.zeros(1, spec.outputs), torch.zeros(4, 2)):
        with pytest.raises(ValueError, match="output .* and target .* differ"):
            spec.loss(output, wrong)


@pytest.mark.parametrize("kind", CLASSES)
def test_classes_as_a_column_are_an_error(kind):
    spec = replace(task(kind), class_weights=(1.0,) * task(kind).outputs)
    with pytest.raises((RuntimeError, ValueError)):
        spec.loss(normal(4, spec.outputs), torch.zeros(4, 1, dtype=torch.long))


@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_a_scalar_with_a_finite_gradient_for_extreme_outputs(kind):
    spec = task(kind)
    y = {
        "binary": torch.tensor([0, 1]),
        "multiclass": torch.tensor([0, 3]),
        "multilabel": torch.tensor([[1.0, 0, 1], [0, 1, 0]]),
        "regression": torch.tensor([[1.0], [-1.0]]),
    }[kind]
    output = normal(2, spec.outputs, scale=1e3).requires_grad_()
    loss = spec.loss(output, y)
    loss.backward()
    assert loss.shape == () and torch.isfinite(loss)
    assert torch.isfinite(output.grad).all()


# --- soft_target_distance -----------------------------------------------------------------------

pairs = st.tuples(
    st.sampled_from(KINDS), st.integers(0, 10_000), st.floats(0.5, 20), st.sampled_from([0.1, 1, 9])
)


@given(pairs)
def test_distance_is_0_at_equality_and_never_negative(case):
    kind, seed, T, scale = case
    spec = task(kind)
    s = normal(5, spec.outputs, seed=seed, scale=scale)
    t = normal(5, spec.outputs, seed=seed + 1, scale=scale)
    equal, unequal = spec.soft_target_distance(s, s, T), spec.soft_target_distance(s, t, T)
    # float32 rounding is magnified by T².
    assert abs(float(equal)) <= 1e-6 * T**2
    assert float(unequal) >= -1e-6 * T**2
    assert float(unequal) > float(equal)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_pulls_the_student_and_never_the_teacher(kind):
    spec = task(kind)
    s = normal(5, spec.outputs).requires_grad_()
    t = normal(5, spec.outputs, seed=1).requires_grad_()
    spec.soft_target_distance(s, t, 2.0).backward()
    assert t.grad is None
    assert s.grad.any()
    nearer = spec.soft_target_distance(s - 0.1 * s.grad, t, 2.0)
    assert nearer < spec.soft_target_distance(s, t, 2.0)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_vanishes_at_equality(kind):
    spec = task(kind)
    s = normal(5, spec.outputs).requires_grad_()
    spec.soft_target_distance(s, s.detach().clone(), 3.0).backward()
    assert torch.allclose(s.grad, torch.zeros_like(s), atol=1e-6)


@pytest.mark.parametrize("kind", CLASSES)
def test_class_distance_by_hand(kind):
    spec, T = task(kind), 2.5
    s, t = normal(5, spec.outputs), normal(5, spec.outputs, seed=1)
    p, q = (t.double() / T).softmax(1), (s.double() / T).softmax(1)
    expected = T**2 * (p * (p / q).log()).sum(dim=1).mean()
    assert float(spec.soft_target_distance(s, t, T)) == pytest.approx(float(expected), rel=1e-5)


def test_label_distance_by_hand_is_a_mean_over_samples_and_labels():
    spec, T = task("multilabel"), 2.5
    s, t = normal(5, 3), normal(5, 3, seed=1)
    p, q = (t.double() / T).sigmoid(), (s.double() / T).sigmoid()
    kl = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    expected = float(T**2 * kl.mean())
    assert float(spec.soft_target_distance(s, t, T)) == pytest.approx(expected, rel=1e-5)


def test_regression_distance_is_squared_error_at_any_temperature():
    spec = task("regression")
    s, t = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.5], [4.0]])
    for T in (1.0, 4.0, 100.0):
        assert float(spec.soft_target_distance(s, t, T)) == pytest.approx((0.25 + 4) / 2)


@pytest.mark.parametrize("kind", CLASSES)
def test_class_distance_at_high_temperature_is_squared_error_of_centred_logits(kind):
    spec, T = task(kind), 1e3
    s, t = normal(5, spec.outputs).double(), normal(5, spec.outputs, seed=1).double()
    s, t = s - s.mean(dim=1, keepdim=True), t - t.mean(dim=1, keepdim=True)
    expected = (s - t).square().sum(dim=1).mean() / (2 * spec.outputs)
    assert float(spec.soft_target_distance(s, t, T)) == pytest.approx(float(expected), rel=5e-3)


def test_label_distance_at_high_temperature_is_an_eighth_of_the_squared_error():
    """KL of Bernoullis near 1/2: (p - q)² / (2 · 1/4), and p - q → (t - s) / 4T."""
    s, t = normal(5, 3).double(), normal(5, 3, seed=1).double()
    got = task("multilabel").soft_target_distance(s, t, 1e3)
    assert float(got) == pytest.approx(float((s - t).square().mean() / 8), rel=5e-3)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_distance_stays_finite_for_certain_teachers_and_students(kind):
    spec = task(kind)
    s = normal(4, spec.outputs, scale=500).requires_grad_()
    distance = spec.soft_target_distance(s, -s.detach(), 1.0)
    distance.backward()
    assert torch.isfinite(distance) and torch.isfinite(s.grad).all()


# --- predict ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CLASSES)
def test_class_predictions_are_probabilities(kind):
    spec = task(kind)
    output = normal(5, spec.outputs, scale=3)
    p = spec.predict(output)
    assert p.shape == (5, spec.outputs)
    assert torch.allclose(p.sum(dim=1), torch.ones(5))
    assert torch.equal(p.argmax(dim=1), output.argmax(dim=1))


def test_label_predictions_are_independent_probabilities():
    p = task("multilabel").predict(torch.tensor([[0.0, math.log(3), math.log(9)]]))
    assert p[0].tolist() == pytest.approx([0.5, 0.75, 0.9])


def test_regression_predictions_are_in_the_targets_own_unit():
    y = np.array([80.0, 95.0, 120.0, 200.0])
    spec = task("regression").fitted(y)
    back = spec.predict(spec.targets(y))
    assert back.shape == (4,)
    assert back.tolist() == pytest.approx(y.tolist(), rel=1e-6)
