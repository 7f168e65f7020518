"""The target of a description: class names or numbers as written, to what a task is trained on."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import UserError, number_of, unknown
from benchmark.problem import TaskSpec
from datasets.common import reading, stand_ins
from datasets.described import columns
from datasets.described.description import Target

MOST_CLASSES = 1_000
"""More different values are hardly classes."""


def read(root: Path, target: Target) -> tuple[list[Any], str]:
    """The target of every sample of its files, None where there is none; `UserError`.

    And what a target is called where one lacks, for a class that is called like nothing.
    """
    with np.errstate(over="ignore"):
        no_data = {*target.no_data, *np.float32(target.no_data).tolist()}  # as either type has it
    if target.kind == "multilabel":
        rows = columns.matrix(root, target.where)
        return [
            _labels(root, target, number, row, no_data) for number, row in enumerate(rows)
        ], "target"
    parse = _finite if target.kind == "regression" else _class_name
    named = set(target.classes)  # a class may be called "none", if it is named
    result, words = [], {}
    for number, value in enumerate(columns.column(root, target.where)):
        if no_data and _number_in(value) in no_data:
            result.append(None)
            continue
        try:
            result.append(value if isinstance(value, str) and value in named else parse(value))
        except ValueError as error:
            raise columns.error_at(root, target.where, number, "target", error) from error
        if result[-1] is None and isinstance(value, str) and value.strip():
            words[value] = None
    if words and target.kind != "regression":
        return result, f"target ('{next(iter(words))}' stands for none; `classes:` can name it)"
    return result, "target"


def _finite(value: Any) -> float | None:
    """A number; an infinite one is none, as in arrays."""
    found = reading.number(value)
    return found if found is not None and math.isfinite(found) else None


def _number_in(value: Any) -> float | None:
    """A value as a number, if it is one, or is written as one."""
    try:
        return reading.number(value)
    except ValueError:
        return None


def counted(values: Sequence[Any]) -> np.ndarray:
    """What `stand_ins.count` gives of the values of a target, or of classes that are numbers."""
    numbers = (_number_in(value) for value in values)
    return stand_ins.count(np.array([n for n in numbers if n is not None], np.float64))


def _class_name(value: Any) -> str | None:
    """A class as it is written; 0.000 and 1.0, which some programs write for numbers, are 0, 1."""
    name = reading.name(int(value) if isinstance(value, bool) else value)
    return name.partition(".")[0] if name and re.fullmatch(r"-?\d+\.0*", name) else name


def _labels(
    root: Path, target: Target, number: int, row: Sequence[Any], no_data: set[float]
) -> list[bool] | None:
    try:
        labels = [None if _number_in(v) in no_data else reading.truth(v) for v in row]
    except ValueError as error:
        raise columns.error_at(root, target.where, number, "target", error) from error
    return None if None in labels else labels


def _at(root: Path, target: Target) -> str:
    return f"{root / target.where.files[0]}, target {target.where}"


def task_of(
    root: Path, target: Target, values: Sequence[Any]
) -> tuple[TaskSpec, np.ndarray, tuple[str, ...]]:
    """The task, y as in `Catalogue`, and what is odd about it, of values that are all there."""
    at = _at(root, target)
    if target.kind == "regression":
        return TaskSpec("regression", 1, unit=target.unit), np.array(values, np.float64), ()
    if target.kind == "multilabel":
        y = np.array(values, dtype=np.uint8)
        names = tuple(target.classes) or tuple(map(str, target.where.columns))
        names = names or tuple(map(str, range(y.shape[1])))
        if len(names) != y.shape[1]:
            raise UserError(f"{at}: {y.shape[1]} labels, and {len(names)} classes are named")
        counts = dict(zip(names, y.sum(axis=0).tolist(), strict=True))
        return TaskSpec("multilabel", len(names), class_names=names), y, _rare(counts)
    index, names = _classes(at, target, values)
    y = np.array([index[value] for value in values], dtype=np.int64)
    if target.kind == "binary" and len(names) != 2:
        raise UserError(f"{at}: {len(names)} classes ({', '.join(names[:9])}); binary tasks have 2")
    counts = dict.fromkeys(names, 0) | Counter(names[number] for number in y.tolist())
    if max(counts.values()) == 1:
        raise UserError(
            f"{at}: every class has a single sample, so that none can be learnt and tested; is it "
            "`kind: regression`?"
        )
    told = _rare(counts)
    if not target.classes and any(re.fullmatch(r"-?\d+\.\d+", name) for name in names):
        told = (
            f"its {len(names)} classes are numbers like {names[-1]}: is it `kind: regression`?",
            *told,
        )
    return TaskSpec(target.kind, len(names), class_names=names), y, told


def _classes(
    at: str, target: Target, values: Sequence[str]
) -> tuple[dict[str, int], tuple[str, ...]]:
    """The number of the class of whatever is written, and the names of the classes in order."""
    written = sorted(set(values), key=_natural)
    if isinstance(target.classes, dict):
        known = {name: number for number, name in enumerate(target.classes)}
        names = tuple(target.classes.values())
    elif target.classes:
        names = target.classes
        # Where some are names, the others are none: 0, 1, 2 are not called 1, 2, 3 in silence.
        by_number = any(v.isdecimal() for v in written) and not set(written) & set(names)
        known = {str(n) if by_number else name: n for n, name in enumerate(names)}
    else:
        if not 1 < len(written) <= MOST_CLASSES:
            raise UserError(
                f"{at}: {number_of(len(written), 'different value')}; a task has 2 to "
                f"{MOST_CLASSES:,} classes (numbers may be `kind: regression`)"
            )
        known = {name: number for number, name in enumerate(written)}
        names = tuple(written)
    foreign = [value for value in written if value not in known]
    if foreign:
        told = unknown("class", foreign[0], known)
        raise UserError(f"{at}: {told} `classes:` names those that there are")
    return known, names


def _natural(name: str) -> tuple[bool, float, str]:
    return not name.isdecimal(), float(name) if name.isdecimal() else 0.0, name


def _rare(counts: dict[str, int]) -> tuple[str, ...]:
    """Sentences on classes that no fold can both train and test."""
    none = [name for name, n in counts.items() if n == 0]
    one = [name for name, n in counts.items() if n == 1]
    told = []
    if none:
        told.append(f"no sample is of class {_some(none)}")
    if one:
        told.append(
            f"a single sample is of class {_some(one)}: it is trained on or tested, never both"
        )
    return tuple(told)


def _some(names: list[str], most: int = 9) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and of {more:,} more" if more > 0 else "")
