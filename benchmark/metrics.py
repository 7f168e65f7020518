"""What a prediction is worth: metrics as values, and one function that computes them all.

scikit-learn's definitions where it has them. Two rules of our own: a metric that is undefined is
None, never a number that stands for it; and a macro mean is taken over the classes that the test
part has, whose number is reported as ``classes_present``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmark.problem import TaskKind, TaskSpec

INF = math.inf
THRESHOLD = 0.5
"""A label is predicted from this probability on (multi-label)."""

CALIBRATION_BINS = 15
TARGET_RANGES = 5


@dataclass(frozen=True)
class Metric:
    """What a number means.

    direction: which of two values is better; None if neither is. range: smallest and largest
    possible value. unit: "" or "target", the unit of the task's target.
    """

    name: str
    label: str
    direction: Literal["higher", "lower"] | None
    range: tuple[float, float]
    unit: Literal["", "target"] = ""
    note: str = ""

    def gain(self, value: float, reference: float) -> float:
        """How much better ``value`` is than ``reference``; positive is better."""
        if self.direction is None:
            raise ValueError(f"{self.name}: no value is better than another")
        return value - reference if self.direction == "higher" else reference - value


def _share(name: str, label: str, note: str = "") -> Metric:
    return Metric(name, label, "higher", (0.0, 1.0), note=note)


PRESENT = "mean over the classes present in the test part"

SAMPLES = Metric("samples", "test samples", None, (1.0, INF))
CLASSES_PRESENT = Metric("classes_present", "classes present", None, (1.0, INF), note="in the test")

_CLASSIFICATION = (
    _share("macro_f1", "macro F1", PRESENT),
    _share(
        "overall_accuracy",
        "overall accuracy",
        "also the weighted recall; lowered by class-weighted training",
    ),
    _share("average_accuracy", "average accuracy", "macro recall, " + PRESENT),
    _share("weighted_f1", "weighted F1"),
    _share("macro_precision", "macro precision", PRESENT),
    _share("weighted_precision", "weighted precision"),
    Metric("kappa", "Cohen's κ", "higher", (-1.0, 1.0)),
    Metric("mcc", "MCC", "higher", (-1.0, 1.0), note="Matthews; 0 if one class is predicted"),
    _share("auroc", "AUROC", "several classes: one against the rest, " + PRESENT),
    Metric(
        "ece",
        "calibration error",
        "lower",
        (0.0, 1.0),
        note=f"expected error of the top probability, {CALIBRATION_BINS} bins of equal width "
        "(Guo et al. 2017, arXiv 1706.04599); raised by class-weighted training",
    ),
    CLASSES_PRESENT,
    SAMPLES,
)

_MULTILABEL = (
    _share("macro_map", "macro mAP", PRESENT),
    _share("micro_map", "micro mAP"),
    *(
        _share(f"{average}_{name}", f"{average} {label}", PRESENT if average == "macro" else "")
        for name, label in (("f1", "F1"), ("precision", "precision"), ("recall", "recall"))
        for average in ("macro", "micro", "weighted")
    ),
    CLASSES_PRESENT,
    SAMPLES,
)

_REGRESSION = (
    Metric("rmse", "RMSE", "lower", (0.0, INF), "target"),
    Metric("r2", "R²", "higher", (-INF, 1.0)),
    Metric("rrmse", "relative RMSE", "lower", (0.0, INF), note="RMSE / mean of the target"),
    Metric(
        "rmse_over_root_mean",
        "RMSE/√mean",
        "lower",
        (0.0, INF),
        note='what the code released with MDiCo calls "rRMSE"',
    ),
    Metric("mae", "MAE", "lower", (0.0, INF), "target"),
    Metric("median_ae", "median AE", "lower", (0.0, INF), "target"),
    Metric("bias", "bias", None, (-INF, INF), "target", "mean of prediction - target; 0 is best"),
    Metric("pearson", "Pearson's r", "higher", (-1.0, 1.0)),
    Metric("target_mean", "target mean", None, (-INF, INF), "target", "of the test part"),
    Metric("target_sd", "target sd", None, (0.0, INF), "target", "population's, of the test part"),
    SAMPLES,
)

SCALARS: dict[TaskKind, tuple[Metric, ...]] = {
    "binary": _CLASSIFICATION,
    "multiclass": _CLASSIFICATION,
    "multilabel": _MULTILABEL,
    "regression": _REGRESSION,
}
"""Metrics that are one number, the primary first."""

POOLED_R2 = Metric(
    "r2_pooled", "pooled R²", "higher", (-INF, 1.0), note="over the test samples of all folds"
)
"""No single run has it: see `pooled_r2`."""

_PER_CLASS = (
    _share("f1_per_class", "F1"),
    _share("precision_per_class", "precision"),
    _share("recall_per_class", "recall"),
)
_SUPPORT = Metric("support_per_class", "test samples", None, (0.0, INF))

_CLASSIFICATION_LISTS = (
    *_PER_CLASS,
    _share("auroc_per_class", "AUROC", "against the rest"),
    _SUPPORT,
    Metric("confusion_matrix", "confusion matrix", None, (0.0, INF), note="[true][predicted]"),
)

LISTS: dict[TaskKind, tuple[Metric, ...]] = {
    "binary": _CLASSIFICATION_LISTS,
    "multiclass": _CLASSIFICATION_LISTS,
    "multilabel": (*_PER_CLASS, _share("ap_per_class", "AP"), _SUPPORT),
    "regression": tuple(
        Metric(name, label, direction, range_, "target", note)
        for name, label, direction, range_, note in (
            ("rmse_by_range", "RMSE", "lower", (0.0, INF), "by fifths of the test targets"),
            ("bias_by_range", "bias", None, (-INF, INF), "by fifths of the test targets"),
            ("range_edges", "edges of the fifths", None, (-INF, INF), ""),
        )
    ),
}
"""Metrics that are a list: one value a class (None where absent), or a range of the target."""

_SHOWN: dict[TaskKind, tuple[str, ...]] = {
    "binary": ("macro_f1",),
    "multiclass": ("macro_f1",),
    "multilabel": ("macro_map",),
    "regression": ("rmse", "r2"),
}


def metric(kind: TaskKind, name: str) -> Metric:
    """The scalar metric of a task kind by its name; KeyError if it has none of that name."""
    for candidate in SCALARS[kind]:
        if candidate.name == name:
            return candidate
    raise KeyError(f"{kind} has no metric '{name}'")


def primary(kind: TaskKind) -> Metric:
    """The metric that comparisons are made in."""
    return metric(kind, _SHOWN[kind][0])


def shown(kind: TaskKind) -> tuple[Metric, ...]:
    """The primary metric and those that stand beside it in every table."""
    return tuple(metric(kind, name) for name in _SHOWN[kind])


def score(
    task: TaskSpec, y: np.ndarray, prediction: np.ndarray
) -> dict[str, float | int | list[Any] | None]:
    """All metrics of a prediction by name, ready for JSON; None where one is undefined.

    y: (n,) class indices, (n, C) zeros and ones, or (n,) target values in their own unit.
    prediction: as `TaskSpec.predict` gives it: probabilities (n, C), or values (n,).

    Raises ValueError if the prediction is not finite, has another shape, or is not made of
    probabilities where it should be.
    """
    y, prediction = np.asarray(y), np.asarray(prediction, dtype=np.float64)
    _check(task, y, prediction)
    compute = {"multilabel": _multilabel, "regression": _regression}.get(task.kind, _classification)
    with warnings.catch_warnings():
        # What scikit-learn warns about (a class never predicted) is decided here explicitly.
        warnings.simplefilter("ignore")
        values = compute(task, y, prediction)
    return {name: _plain(value) for name, value in {**values, "samples": len(y)}.items()}


def _check(task: TaskSpec, y: np.ndarray, prediction: np.ndarray) -> None:
    expected = (len(y),) if task.kind == "regression" else (len(y), task.outputs)
    if prediction.shape != expected or not len(y):
        raise ValueError(f"a prediction of shape {prediction.shape} where {expected} is expected")
    wrong = int((~np.isfinite(prediction)).sum())
    if wrong:
        raise ValueError(f"{wrong} of {prediction.size} predicted values are NaN or infinite")
    if task.kind == "regression":
        return
    inside = prediction.min() >= 0 and prediction.max() <= 1
    sums = prediction.sum(axis=1) if task.is_classification else np.ones(1)
    if not inside or np.abs(sums - 1).max() > 1e-3:
        raise ValueError("predictions of classes must be probabilities; these are not")


def _plain(value: Any) -> Any:
    """Python numbers and lists for JSON, NaN as None."""
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def _present(values: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Per-class values, NaN for classes that the test part lacks."""
    return np.where(support > 0, values, np.nan)


def _classification(task: TaskSpec, y: np.ndarray, probability: np.ndarray) -> dict[str, Any]:
    from sklearn import metrics as sk

    classes = np.arange(task.outputs)
    label = probability.argmax(axis=1)
    support = np.bincount(y, minlength=task.outputs)
    present = classes[support > 0]
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        y, label, labels=classes, zero_division=0
    )
    several = len(present) > 1
    auroc = [
        sk.roc_auc_score(y == c, probability[:, c]) if several and support[c] else math.nan
        for c in classes
    ]
    return {
        "macro_f1": f1[present].mean(),
        "overall_accuracy": sk.accuracy_score(y, label),
        "average_accuracy": recall[present].mean(),
        "weighted_f1": np.average(f1, weights=support),
        "macro_precision": precision[present].mean(),
        "weighted_precision": np.average(precision, weights=support),
        "kappa": sk.cohen_kappa_score(y, label, labels=classes) if several else None,
        "mcc": sk.matthews_corrcoef(y, label) if several else None,
        "auroc": np.mean([auroc[c] for c in present]),
        "ece": expected_calibration_error(y, probability),
        "classes_present": len(present),
        "f1_per_class": _present(f1, support),
        "precision_per_class": _present(precision, support),
        "recall_per_class": _present(recall, support),
        "auroc_per_class": auroc,
        "support_per_class": support,
        "confusion_matrix": sk.confusion_matrix(y, label, labels=classes),
    }


def expected_calibration_error(
    y: np.ndarray, probability: np.ndarray, bins: int = CALIBRATION_BINS
) -> float:
    """Σ_b (n_b / n) |accuracy_b - confidence_b| over bins of the top probability.

    y: (n,) class indices. probability: (n, C).
    Source: Guo, Pleiss, Sun, Weinberger 2017, arXiv 1706.04599.
    """
    confidence = probability.max(axis=1)
    correct = probability.argmax(axis=1) == y
    bin_ = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(bin_, weights=correct - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(y))


def _multilabel(task: TaskSpec, y: np.ndarray, probability: np.ndarray) -> dict[str, Any]:
    from sklearn import metrics as sk

    label = (probability >= THRESHOLD).astype(int)
    y = y.astype(int)
    support = y.sum(axis=0)
    present = np.flatnonzero(support)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(y, label, zero_division=0)
    ap = np.array(
        [
            sk.average_precision_score(y[:, c], probability[:, c]) if support[c] else math.nan
            for c in range(task.outputs)
        ]
    )
    values: dict[str, Any] = {
        "macro_map": ap[present].mean() if len(present) else None,
        "micro_map": sk.average_precision_score(y, probability, average="micro")
        if len(present)
        else None,
        "classes_present": len(present),
        "f1_per_class": _present(f1, support),
        "precision_per_class": _present(precision, support),
        "recall_per_class": _present(recall, support),
        "ap_per_class": ap,
        "support_per_class": support,
    }
    micro = sk.precision_recall_fscore_support(y, label, average="micro", zero_division=np.nan)
    for i, (name, per_class) in enumerate(
        (("precision", precision), ("recall", recall), ("f1", f1))
    ):
        values[f"micro_{name}"] = micro[i]
        values[f"macro_{name}"] = per_class[present].mean() if len(present) else None
        values[f"weighted_{name}"] = (
            np.average(per_class, weights=support) if len(present) else None
        )
    return values


def _regression(task: TaskSpec, y: np.ndarray, value: np.ndarray) -> dict[str, Any]:
    from sklearn import metrics as sk

    y = y.astype(np.float64)
    error = value - y
    rmse = sk.root_mean_squared_error(y, value)
    varies = bool(np.ptp(y) > 0)
    positive = y.mean() > 0
    edges = np.quantile(y, np.linspace(0, 1, TARGET_RANGES + 1))
    fifth = np.searchsorted(edges[1:-1], y, side="right")
    errors = [error[fifth == i] for i in range(TARGET_RANGES)]
    return {
        "rmse": rmse,
        "r2": sk.r2_score(y, value) if varies else None,
        "rrmse": rmse / y.mean() if positive else None,
        "rmse_over_root_mean": rmse / math.sqrt(y.mean()) if positive else None,
        "mae": sk.mean_absolute_error(y, value),
        "median_ae": sk.median_absolute_error(y, value),
        "bias": error.mean(),
        "pearson": np.corrcoef(y, value)[0, 1] if varies and np.ptp(value) > 0 else None,
        "target_mean": y.mean(),
        "target_sd": y.std(),
        "rmse_by_range": [math.sqrt(np.mean(e**2)) if len(e) else None for e in errors],
        "bias_by_range": [e.mean() if len(e) else None for e in errors],
        "range_edges": edges,
    }


def pooled_r2(folds: Iterable[Mapping[str, float]]) -> float | None:
    """R² over the test samples of several folds at once, from the scores of each.

    folds: scores with samples, rmse, target_mean and target_sd. None if the target is constant.
    """
    folds = list(folds)
    n = [fold["samples"] for fold in folds]
    mean = math.fsum(k * f["target_mean"] for k, f in zip(n, folds, strict=True)) / sum(n)
    residual = math.fsum(k * f["rmse"] ** 2 for k, f in zip(n, folds, strict=True))
    total = math.fsum(
        k * (f["target_sd"] ** 2 + (f["target_mean"] - mean) ** 2)
        for k, f in zip(n, folds, strict=True)
    )
    return 1 - residual / total if total > 0 else None
