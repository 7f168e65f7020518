"""What an adapter has opened is held against its contract before anything is read or written.

Adapters come from users, too: whatever does not fit is one sentence that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec, TaskSpec
from datasets.common.contract import PARTS, Adapter, Catalogue
from datasets.common.reading import is_missing, repeated

KEPT = (np.float32, np.uint8, np.uint16)
"""What arrays are kept in: see `Catalogue`."""


def check(
    adapter: Adapter, native: Path, modalities: tuple[str, ...], catalogue: Catalogue
) -> None:
    """Raise `UserError` if a catalogue is not what `Catalogue` promises."""
    where = f"{adapter.name} in {native}"
    if not isinstance(catalogue, Catalogue):
        raise UserError(f"{where}: open() gives {type(catalogue).__name__}, not a Catalogue")
    if not len(catalogue.ids):
        raise UserError(f"{where}: no samples")
    for problem in (
        _of_modalities(modalities, catalogue),
        _of_names(catalogue),
        _of_targets(catalogue.task, catalogue.y, catalogue.ids),
        _of_context(catalogue),
    ):
        if problem:
            raise UserError(f"{where}: {problem}")


def _of_modalities(modalities: tuple[str, ...], catalogue: Catalogue) -> str | None:
    for kind, found in (("specs", catalogue.modalities), ("dtypes", catalogue.dtypes)):
        if set(found) != set(modalities):
            return f"{kind} of {', '.join(found) or 'nothing'}, expected {', '.join(modalities)}"
    for m, spec in catalogue.modalities.items():
        if not isinstance(spec, ModalitySpec) or spec.name != m:
            return f"the spec of {m} is that of {getattr(spec, 'name', spec)!r}"
        if 0 in spec.shape:
            return f"a sample of {m} is {spec.shape}: there is nothing in it"
        if np.dtype(catalogue.dtypes[m]) not in KEPT:
            return f"{m} cannot be kept as {catalogue.dtypes[m]}; float32, uint8 and uint16 can"
    return None


def _of_names(catalogue: Catalogue) -> str | None:
    columns = {"ids": catalogue.ids, "groups": catalogue.groups, "split": catalogue.split}
    n = len(catalogue.ids)
    for what, column in columns.items():
        if column is None:
            continue
        if not isinstance(column, np.ndarray) or column.shape != (n,) or column.dtype.kind != "U":
            return f"{what} must be an array of {n} strings, one a sample"
        empty = [i for i, name in enumerate(column.tolist()) if is_missing(name)]
        if empty:
            return f"{what}: {len(empty)} of {n} are missing, the first number {empty[0]} (from 0)"
    if (twice := repeated(catalogue.ids.tolist())) is not None:
        return f"sample id '{twice}' stands twice"
    if catalogue.split is not None:
        foreign = np.setdiff1d(catalogue.split, PARTS)
        if len(foreign):
            return f"'{foreign[0]}' is no part of a split; {', '.join(PARTS)} are"
    return None


def _of_targets(task: TaskSpec, y: Any, ids: np.ndarray) -> str | None:
    shape = (len(ids), task.outputs) if task.kind == "multilabel" else (len(ids),)
    if not isinstance(y, np.ndarray) or y.shape != shape or y.dtype.kind not in "biuf":
        found = f"{y.dtype} {y.shape}" if isinstance(y, np.ndarray) else type(y).__name__
        return f"targets are {found}, a {task.kind} task has numbers {shape}"
    expected = {"binary": 2, "regression": 1}.get(task.kind, task.outputs)
    if task.outputs != expected:
        return f"a {task.kind} task has {expected} outputs, not {task.outputs}"
    if task.class_names and len(task.class_names) != task.outputs:
        return f"{len(task.class_names)} class names for {task.outputs} classes"
    bad = ~np.isfinite(y).reshape(len(y), -1).all(axis=1)
    if bad.any():
        return (
            f"{bad.sum():,} of {len(y):,} targets are missing or not finite, the first that of "
            f"'{ids[bad.argmax()]}'; remove those samples"
        )
    if task.kind == "regression":
        return None
    if y.dtype.kind not in "iu":
        return f"targets are {y.dtype}, a {task.kind} task has whole numbers"
    most = 1 if task.kind == "multilabel" else task.outputs - 1
    bad = ((y < 0) | (y > most)).reshape(len(y), -1).any(axis=1)
    if bad.any():
        first = int(bad.argmax())
        what = "a label is 0 or 1" if task.kind == "multilabel" else f"classes are 0 to {most}"
        return f"the target of '{ids[first]}' is {y[first]}; {what}"
    return None


def _of_context(catalogue: Catalogue) -> str | None:
    n, places = len(catalogue.ids), catalogue.places
    if places is not None and (np.shape(places) != (n, 2) or not np.isfinite(places).all()):
        return f"places must be ({n}, 2) degrees, latitude and longitude of each sample"
    for m, months in catalogue.months.items():
        spec = catalogue.modalities.get(m)
        if spec is None or spec.kind != "series":
            return f"months of '{m}', which is no series that is read"
        if np.shape(months) != (n, spec.shape[0]) or not np.isin(months, range(13)).all():
            return f"months of {m} must be ({n}, {spec.shape[0]}) numbers, 1 to 12 or 0"
    return None


def check_arrays(
    where: str, arrays: Mapping[str, Any], specs: Mapping[str, ModalitySpec]
) -> dict[str, np.ndarray]:
    """What was read of one sample, as arrays of numbers; `UserError` if one is not as specified."""
    if not isinstance(arrays, Mapping) or set(arrays) != set(specs):
        found = ", ".join(arrays) if isinstance(arrays, Mapping) else type(arrays).__name__
        raise UserError(f"{where}: gives {found or 'nothing'}, expected {', '.join(specs)}")
    result = {}
    for m, spec in specs.items():
        array = result[m] = np.asarray(arrays[m])
        if array.dtype.kind not in "biuf" or array.shape != spec.shape:
            raise UserError(
                f"{where}: {m} is {array.dtype} {array.shape}, its spec says numbers {spec.shape}"
            )
    return result
