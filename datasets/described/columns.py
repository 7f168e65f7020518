"""Values that every sample has one of: ids, groups, parts of a split, places, targets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import UserError
from datasets.common import arrays, tables
from datasets.described.description import Where
from datasets.described.files import Found, find, is_per_sample

SUFFIXES = (*tables.SUFFIXES, *arrays.SUFFIXES)


def files_of(root: Path, where: Where) -> list[Found]:
    """The files of a `Where`, of a kind that can be read; `UserError` otherwise."""
    found = find(root, where.files)
    for each in found:
        if not each.path.endswith(SUFFIXES):
            raise UserError(f"{each.path}: is of no kind that can be read: {', '.join(SUFFIXES)}")
    return found


def names_in(found: Found) -> tuple[str, ...]:
    """The columns or keys of a file, and the words of its name."""
    is_table = found.path.endswith(tables.SUFFIXES)
    return (*found.words, *(tables.columns if is_table else arrays.keys)(found.path))


def length(found: Found, where: Where) -> int:
    """How many samples a file has."""
    if found.path.endswith(tables.SUFFIXES):
        return tables.rows(found.path)
    have = arrays.keys(found.path)
    named = [name for name in (*where.keys, *where.columns) if name in have]
    return many(arrays.look(found.path, next(iter((*named, *have)), None))).shape[0]


def many(stored: arrays.Stored) -> arrays.Stored:
    """An array of which the first axis is that of the samples; `UserError` for a single value."""
    if not stored.shape or stored.path.endswith(arrays.TIFF):
        raise UserError(
            f"{stored.path}: holds a single sample; name a file for each, as in 'folder/{{id}}.tif'"
        )
    return stored


def column(root: Path, where: Where) -> list[Any]:
    """One value a sample as it is written, those of all files; None or NaN where there is none."""
    if is_per_sample(where.files):
        raise UserError(f"{root / where.files[0]}: only modalities have a file for each sample")
    return [value for found in files_of(root, where) for value in _of_file(found, where)]


def matrix(root: Path, where: Where) -> list[Any]:
    """One list of values a sample, as `column` has one value."""
    found = files_of(root, where)
    if found[0].path.endswith(tables.SUFFIXES):
        each = [column(root, Where(where.files, (), (name,))) for name in where.columns]
        return [list(row) for row in zip(*each, strict=True)]
    rows = []
    for file in found:
        stored = many(arrays.look(file.path, next(iter(where.keys), None)))
        values = stored.whole()
        if values.ndim != 2:
            raise UserError(f"{file.path}: {where} is {stored.shape}, expected (samples, labels)")
        rows += values.tolist()
    return rows


def other_lengths(lengths: Mapping[str, int]) -> str:
    """What is wrong where files have other numbers of samples, the odd ones out first; else ""."""
    files: dict[int, list[str]] = {}
    for file, n in lengths.items():
        files.setdefault(n, []).append(file)
    if len(files) < 2:
        return ""
    odd_first = sorted(files.items(), key=lambda item: len(item[1]))
    told = [
        f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} {n:,}{' samples' * (k == 0)}"
        for k, (n, names) in enumerate(odd_first)
    ]
    return (
        f"{', '.join(told[:-1])} and {told[-1]}; all must have the same, in the same order, or a "
        "column of ids of the same name"
    )


def error_at(root: Path, where: Where, number: int, what: str, error: object) -> UserError:
    """The error for one of the values that `column` gives, with the file and the row it is in.

    Rows of a table are counted as a spreadsheet shows them, samples of an array as numpy does.
    """
    for found in files_of(root, where):
        n = length(found, where)
        if number < n:
            break
        number -= n
    is_table = found.path.endswith(tables.SUFFIXES)
    row = f"row {number + tables.FIRST_ROW}" if is_table else f"sample {number} (counted from 0)"
    return UserError(f"{found.path}: {row}, {what} ({where}): {error}")


def _of_file(found: Found, where: Where) -> list[Any]:
    key, place = next(iter(where.keys), None), next(iter(where.columns), None)
    if isinstance(place, str):  # a column, or what a key is called in short
        key, place = place, None
    if key in found.words:
        return [found.words[key]] * length(found, Where(where.files))
    if found.path.endswith(tables.SUFFIXES):
        if key is None:
            raise UserError(
                f"{found.path}: say which `column:` of {_some(tables.columns(found.path))}"
            )
        return tables.values(found.path, key)
    stored = many(arrays.look(found.path, key))
    values = stored.whole()
    if place is not None and values.ndim > 1 and -1 < place < values.shape[-1]:
        values = values[..., place]
    if values.size != len(values):
        raise UserError(
            f"{found.path}: {where} is {stored.shape}, expected one value a sample; "
            "`column: NUMBER` chooses one of several"
        )
    values = values.reshape(-1)
    if values.dtype.kind == "f" or not stored.is_plain:
        values = arrays.physical(values, stored, (), keep_bytes=False)
        values[np.isinf(values)] = np.nan
    return values.tolist()


def _some(names: tuple[str, ...], most: int = 20) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
