"""Metrics: their values on small examples worked by hand, and what is left undefined."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import r2_score

from benchmark import metrics
from benchmark.problem import TaskSpec
from tests.made_up import OUTPUTS, prediction, target, task

BINARY, FOUR = TaskSpec("binary", 2), TaskSpec("multiclass", 4)
LABELS, VALUE = TaskSpec("multilabel", 3), TaskSpec("regression", 1)


def certain(labels: list[int], classes: int) -> np.ndarray:
    return np.eye(classes)[labels]


@pytest.mark.parametrize("kind", OUTPUTS)
def test_every_declared_metric_is_computed_and_nothing_else(kind):
    rng = np.random.default_rng(0)
    y = target(task(kind), rng, 50)
    scores = metrics.score(task(kind), y, prediction(task(kind), y, 1.0, rng))
    declared = metrics.SCALARS[kind] + metrics.LISTS[kind]
    assert scores.keys() == {metric.name for metric in declared}
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
    for metric in metrics.SCALARS[kind]:
        low, high = metric.range
        assert low <= scores[metric.name] <= high


@pytest.mark.parametrize("kind", OUTPUTS)
def test_a_perfect_prediction_has_the_best_value_of_every_metric(kind):
    y = target(task(kind), np.random.default_rng(0), 50)
    perfect = y if kind in ("regression", "multilabel") else np.eye(OUTPUTS[kind])[y]
    scores = metrics.score(task(kind), y, perfect)
    for metric in metrics.SCALARS[kind]:
        best = {"higher": metric.range[1], "lower": metric.range[0]}.get(metric.direction)
        if best is not None:
            assert scores[metric.name] == pytest.approx(best)


def test_classification_by_hand():
    # True and predicted: 0→0, 0→1, 1→1, 1→1.
    scores = metrics.score(BINARY, np.array([0, 0, 1, 1]), certain([0, 1, 1, 1], 2))
    assert scores["confusion_matrix"] == [[1, 1], [0, 2]]
    assert scores["overall_accuracy"] == 3 / 4
    assert scores["average_accuracy"] == (1 / 2 + 1) / 2
    assert scores["precision_per_class"] == [1, pytest.approx(2 / 3)]
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert scores["kappa"] == pytest.approx((3 / 4 - 1 / 2) / (1 - 1 / 2))
    assert scores["mcc"] == pytest.approx((2 * 1 - 1 * 0) / math.sqrt(3 * 2 * 2 * 1))
    assert scores["support_per_class"] == [2, 2]


def test_classes_absent_from_the_test_part_do_not_enter_macro_means():
    y = np.array([0, 0, 1, 1])
    scores = metrics.score(FOUR, y, certain([0, 0, 1, 3], 4))
    assert scores["classes_present"] == 2
    assert scores["f1_per_class"] == [1, pytest.approx(2 / 3), None, None]
    assert scores["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["average_accuracy"] == (1 + 1 / 2) / 2
    assert scores["auroc_per_class"][2:] == [None, None]


def test_with_one_class_in_the_test_part_chance_corrected_scores_are_undefined():
    scores = metrics.score(FOUR, np.array([2, 2]), certain([2, 0], 4))
    assert [scores[name] for name in ("kappa", "mcc", "auroc")] == [None, None, None]
    assert scores["overall_accuracy"] == 1 / 2


def test_calibration_error_by_hand():
    # Two sure predictions of which one is right; two at 0.6 that are both right.
    probability = np.array([[1, 0], [1, 0], [0.6, 0.4], [0.6, 0.4]])
    scores = metrics.score(BINARY, np.array([0, 1, 0, 0]), probability)
    assert scores["ece"] == pytest.approx(2 / 4 * 0.5 + 2 / 4 * 0.4)


def test_a_constant_prediction_has_chance_level_scores():
    y = np.array([0, 1, 0, 1])
    scores = metrics.score(BINARY, y, np.full((4, 2), 0.5))
    assert (scores["auroc"], scores["kappa"], scores["mcc"]) == (0.5, 0, 0)


def test_multilabel_by_hand():
    y = np.array([[1, 0, 0], [1, 1, 0]], dtype=np.uint8)
    probability = np.array([[0.9, 0.6, 0.2], [0.4, 0.8, 0.1]])
    scores = metrics.score(LABELS, y, probability)
    assert scores["classes_present"] == 2
    assert scores["recall_per_class"] == [1 / 2, 1, None]
    assert scores["precision_per_class"] == [1, 1 / 2, None]
    assert scores["macro_f1"] == pytest.approx(2 / 3)
    assert scores["micro_precision"] == scores["micro_recall"] == pytest.approx(2 / 3)
    assert scores["ap_per_class"] == [1, 1, None]
    assert scores["macro_map"] == 1
    # Sorted by probability the labels are 1 1 0 1 0 0.
    assert scores["micro_map"] == pytest.approx((1 + 1 + 3 / 4) / 3)


def test_multilabel_without_any_label_is_undefined():
    scores = metrics.score(LABELS, np.zeros((2, 3), np.uint8), np.zeros((2, 3)))
    for name in ("macro_map", "micro_map", "macro_f1", "micro_f1", "weighted_recall"):
        assert scores[name] is None


def test_regression_by_hand():
    y, value = np.array([1.0, 2, 3, 4, 10]), np.array([2.0, 2, 3, 4, 8])
    scores = metrics.score(VALUE, y, value)
    assert scores["rmse"] == 1
    assert scores["rrmse"] == 1 / 4
    assert scores["rmse_over_root_mean"] == 1 / 2
    assert scores["mae"] == 3 / 5
    assert scores["median_ae"] == 0
    assert scores["bias"] == pytest.approx(-1 / 5)
    assert scores["r2"] == pytest.approx(1 - 5 / 50)
    assert scores["rmse_by_range"] == [1, 0, 0, 0, 2]
    assert scores["bias_by_range"] == [1, 0, 0, 0, -2]
    assert scores["range_edges"] == pytest.approx([1, 1.8, 2.6, 3.4, 5.2, 10])


def test_regression_on_a_constant_or_negative_target():
    scores = metrics.score(VALUE, np.array([-1.0, -1]), np.array([0.0, 1]))
    for name in ("r2", "pearson", "rrmse", "rmse_over_root_mean"):
        assert scores[name] is None
    assert scores["rmse"] == pytest.approx(math.sqrt(5 / 2))


def test_pooled_r2_is_that_of_all_folds_at_once():
    rng = np.random.default_rng(1)
    parts = [(y, y + rng.normal(0, 3, len(y))) for y in (rng.normal(m, 5, 9 + m) for m in range(4))]
    pooled = metrics.pooled_r2(metrics.score(VALUE, y, value) for y, value in parts)
    every_y, every_value = (np.concatenate(part) for part in zip(*parts, strict=True))
    assert pooled == pytest.approx(r2_score(every_y, every_value))


@pytest.mark.parametrize(
    ("spec", "y", "value", "sentence"),
    [
        (VALUE, np.ones(3), np.array([1, np.nan, np.inf]), "2 of 3 predicted values are NaN"),
        (VALUE, np.ones(3), np.ones((3, 1)), "shape"),
        (VALUE, np.ones(0), np.ones(0), "shape"),
        (BINARY, np.array([0, 1]), np.array([[2.0, -1], [0, 1]]), "probabilities"),
        (BINARY, np.array([0, 1]), np.array([[0.2, 0.2], [0, 1]]), "probabilities"),
        (LABELS, np.ones((1, 3)), np.array([[3.0, 0, 0]]), "probabilities"),
    ],
)
def test_predictions_that_cannot_be_scored(spec, y, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        metrics.score(spec, y, value)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("binary", "macro_f1"),
        ("multiclass", "macro_f1"),
        ("multilabel", "macro_map"),
        ("regression", "rmse"),
    ],
)
def test_the_primary_metric_of_each_task(kind, name):
    assert metrics.primary(kind).name == name
    assert metrics.shown(kind)[0].name == name


def test_gain_is_positive_where_the_value_is_better():
    assert metrics.primary("regression").gain(2.0, reference=3.0) == 1.0
    assert metrics.primary("binary").gain(0.75, reference=0.5) == 0.25
    with pytest.raises(ValueError, match="bias"):
        metrics.metric("regression", "bias").gain(1.0, reference=2.0)


def test_metrics_and_reports_need_no_torch():
    code = "import sys, benchmark.metrics, benchmark.report.figures; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
