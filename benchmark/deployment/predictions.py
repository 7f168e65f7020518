"""Predictions of samples, as a table and as files."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.deployment.checking import Seen
from benchmark.deployment.inputs import Samples, repeated
from benchmark.deployment.model import Model
from benchmark.errors import UserError
from benchmark.problem import TaskSpec
from benchmark.writers import atomic

if TYPE_CHECKING:
    import pandas as pd

BLOCK = 4096
"""Samples that are read and predicted at once, fewer where they are large."""

ELEMENTS = 1 << 24
"""Numbers of them, at most."""

MANY = 20_000
"""From so many samples on there is a progress bar."""

SUFFIXES = (".csv", ".parquet", ".npy", ".npz")

LABEL = 0.5
"""The probability from which on a label is among those that are predicted."""


def predict(model: Model, samples: Samples) -> tuple[np.ndarray, list[str]]:
    """Predictions, as `Model.predict` gives them, and what is to be said of the samples."""
    from tqdm import tqdm

    seen, found, n = Seen(model), [], len(samples)
    each = sum(math.prod(spec.shape) for spec in model.modalities.values())
    step = max(1, min(BLOCK, ELEMENTS // each))
    with tqdm(total=n, unit="sample", unit_scale=True, disable=n < MANY) as bar:
        for start in range(0, n, step):
            rows = slice(start, start + step)
            x = {m: _finite(values[rows]) for m, values in samples.x.items()}
            for m, values in x.items():
                seen.look(m, values)
            found.append(model.predict(x if len(x) > 1 else next(iter(x.values())), step))
            bar.update(len(found[-1]))
    if not found:
        raise UserError("there are no samples")
    said = [*samples.notices, *repeated(samples.ids.tolist()), *seen.sentences()]
    return np.concatenate(found), said


def _finite(values: np.ndarray) -> np.ndarray:
    """float32, NaN for what is not finite."""
    x = np.array(values, dtype=np.float32)
    x[~np.isfinite(x)] = np.nan
    return x


def table(ids: Sequence[str], predictions: np.ndarray, task: TaskSpec) -> pd.DataFrame:
    """Predictions with a row a sample.

    Columns: ``id``; of a regression ``prediction``, in the target's unit; else a probability by the
    name of each class, and ``predicted``: the likeliest class, or of several labels those of a
    probability of at least `LABEL`, joined by "; ".
    """
    import pandas as pd

    if task.kind == "regression":
        return pd.DataFrame({"id": ids, "prediction": predictions})
    names = class_names(task)
    columns = {name: predictions[:, c] for c, name in enumerate(_apart(names))}
    if task.is_classification:
        predicted = [names[c] for c in predictions.argmax(axis=1)]
    else:
        predicted = [
            "; ".join(name for name, p in zip(names, row, strict=True) if p >= LABEL)
            for row in predictions
        ]
    return pd.DataFrame({"id": ids, **columns, "predicted": predicted})


def class_names(task: TaskSpec) -> tuple[str, ...]:
    """The names of a task's classes, or their numbers."""
    return task.class_names or tuple(str(c) for c in range(task.outputs))


def _apart(names: Sequence[str]) -> list[str]:
    """Columns of classes: one that is called like another column is "class id"."""
    return [f"class {name}" if name in ("id", "predicted") else name for name in names]


def check_out(out: Path) -> None:
    """Raise `UserError` for a name of no kind of file that is written."""
    if out.suffix not in SUFFIXES:
        raise UserError(f"--out {out}: give a name that ends with {', '.join(SUFFIXES)}")


def write(out: Path, ids: np.ndarray, predictions: np.ndarray, task: TaskSpec) -> None:
    """Write predictions by the suffix of ``out``, all or nothing.

    .csv, .parquet: `table`. .npy: the predictions alone, in the order of the samples. .npz: arrays
    ``ids``, ``predictions`` and ``classes``.
    """
    check_out(out)
    content = io.BytesIO()
    if out.suffix == ".npy":
        np.save(content, predictions, allow_pickle=False)
    elif out.suffix == ".npz":
        classes = np.array([] if task.kind == "regression" else class_names(task), dtype=np.str_)
        np.savez(content, ids=ids, predictions=predictions, classes=classes)
    elif out.suffix == ".csv":
        table(ids, predictions, task).to_csv(content, index=False, lineterminator="\n")
    else:
        table(ids, predictions, task).to_parquet(content, index=False)
    with atomic(out) as file:
        file.write(content.getbuffer())
