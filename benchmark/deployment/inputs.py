"""Samples for a model, from tables, arrays and datasets.

A table has a row a sample. The columns of a vector are called like its channels, those of a series
``{channel}_{step}``, steps from 1 (or from 0), unless a pattern and names of steps say otherwise.
What other columns there are is left alone. An array is (N, *shape), its channels last. In a file
of several arrays, each modality is called by its name; one that is alone may be called anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.deployment.checking import check_names, check_shape
from benchmark.deployment.model import Model, as_array
from benchmark.errors import UserError, near, number_of, unknown
from benchmark.planning.context import as_seen_by
from benchmark.problem import ModalitySpec
from datasets.common import arrays, reading, tables
from datasets.common.contract import EODataset, Unlabelled

RASTERS = (*arrays.TIFF, ".vrt")
SUFFIXES = (*tables.SUFFIXES, *(s for s in arrays.SUFFIXES if s not in arrays.TIFF))

PATTERNS = {"vector": "{channel}", "series": "{channel}_{step}"}
"""What the columns of a table are called, by kind of modality."""

SHOWN = 5
"""Columns that a sentence names at most, before it counts the others."""

IDS = ("id", "ids")
"""What a column, or an array, of sample ids is called by default."""


@dataclass(frozen=True)
class Samples:
    """What a model predicts from.

    ids: (N,) strings. x: modality → (N, *shape) numbers, read as they are indexed; NaN or infinite
    where a value is missing. notices: what the user should know, a sentence each.
    """

    ids: np.ndarray
    x: Mapping[str, Any]
    notices: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.ids)


def of_arrays(x: np.ndarray | Mapping[str, np.ndarray], model: Model) -> Samples:
    """Samples of arrays at hand, numbered from 0: x of the one modality, or x by modality."""
    given = x if isinstance(x, Mapping) else {model.spec.name: x}
    if given.keys() != model.modalities.keys():
        named = " + ".join(map(str, given)) or "nothing"
        raise UserError(f"the model sees {' + '.join(model.modalities)}, not {named}")
    given = {m: as_array(m, values) for m, values in given.items()}
    for m, values in given.items():
        check_shape(model.modalities[m], values.shape, "the input")
    return Samples(_numbered(given), given)


def of_dataset(dataset: EODataset | Unlabelled, model: Model) -> Samples:
    """All samples of a prepared dataset, or of places without labels.

    Raises `UserError` if its channels are not the model's.
    """
    dataset = as_seen_by(dataset, model.modalities)
    notices = [] if isinstance(dataset, EODataset) else [*dataset.notices]
    for m, spec in model.modalities.items():
        if m not in dataset.modalities:
            raise unknown(f"modality of {dataset.name}", m, dataset.modalities)
        found = dataset.modalities[m]
        check_names(spec, found.channels, dataset.name)
        check_shape(spec, (len(dataset), *found.shape), dataset.name)
        if found.units != spec.units:
            notices.append(
                f"{dataset.name}: {m} is in '{found.units}', and the model was trained in "
                f"'{spec.units}'"
            )
    if isinstance(dataset, EODataset) and model.about["dataset"]["name"] == dataset.name:
        notices.append(_relation(model.about["dataset"], dataset))
    x = {m: dataset.x[m] for m in model.modalities}
    return Samples(dataset.ids, x, tuple(notices))


def _relation(trained: Mapping[str, str], dataset: EODataset) -> str:
    """What data of the same name are to those that a model was trained on."""
    name = dataset.name
    if trained["source"] != dataset.source:
        return (
            f"the model was trained on {trained['source']} samples of {name}, and these are "
            f"{dataset.source}: none of them was in its training"
        )
    no_test = "these predictions are no test"
    if trained["fingerprint"] == dataset.fingerprint:
        return f"the model was trained on samples of {name}: of those, {no_test}"
    return (
        f"the model was trained on {name}, too, on other modalities or samples or another version "
        f"of it (its fingerprint is another): of samples that it was trained on, {no_test}"
    )


def of_file(
    path: Path,
    model: Model,
    *,
    columns: str | None = None,
    steps: Sequence[str] = (),
    key: str | None = None,
    ids: str = "",
) -> Samples:
    """All samples of a table or a file of arrays.

    columns: pattern of a table's columns. steps: what a series' steps are called in them, the first
    one first; () for numbers. key: of the array, in a file of several. ids: the column or array of
    the sample ids; "" for one of `IDS`, if there is one, else they are numbered from 0.
    Raises `UserError`, naming the file, for what cannot be read or is not what the model takes.
    """
    name = str(path)
    if not name.endswith(SUFFIXES):
        raise UserError(
            f"{path}: is of no kind that can be read: {', '.join(SUFFIXES)}, GeoTIFFs, the "
            "description of a dataset (.yaml) or its name"
        )
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    if name.endswith(tables.SUFFIXES):
        if key:
            raise UserError(f"{path}: a table has no arrays; leave --key out")
        samples = _of_table(name, model, columns, steps, ids)
    elif given := ["--columns"] * bool(columns) + ["--steps"] * bool(steps):
        raise UserError(f"{path}: arrays have no columns; leave {' and '.join(given)} out")
    else:
        samples = _of_arrays_file(name, model, key, ids)
    if not len(samples):
        raise UserError(f"{path}: holds no samples")
    return samples


def repeated(ids: Sequence[str]) -> Iterator[str]:
    """A sentence on ids that are not unique: predictions are by row, and theirs remain apart."""
    first = reading.repeated(ids)
    if first is not None:
        yield (
            f"only {number_of(len(set(ids)), 'different id')} for {number_of(len(ids), 'sample')}, "
            f"'{first}' stands {ids.count(first)} times: each row has its own prediction"
        )


def _of_table(
    path: str, model: Model, pattern: str | None, steps: Sequence[str], ids: str
) -> Samples:
    have = tables.columns(path)
    if steps and not any(spec.kind == "series" for spec in model.modalities.values()):
        raise UserError("--steps: the model sees no series; leave it out")
    x, used = {}, set()
    for m, spec in model.modalities.items():
        wanted = _columns(path, spec, pattern, steps, have, several=len(model.modalities) > 1)
        x[m] = tables.numbers(path, wanted).reshape(-1, *spec.shape)
        used.update(wanted)
    column = _ids_in(path, ids, have)
    names = _numbered(x)
    if column:
        used.add(column)
        names = _as_ids(path, tables.values(path, column))
    notices = []
    if more := [name for name in have if name not in used]:
        notices.append(f"{path}: columns that are not used: {_shown(more)}")
    return Samples(names, x, tuple(notices))


def _columns(
    path: str,
    spec: ModalitySpec,
    pattern: str | None,
    steps: Sequence[str],
    have: Sequence[str],
    *,
    several: bool,
) -> list[str]:
    """The columns of a modality, in the order of its values. Raises `UserError` if they lack."""
    if spec.kind not in PATTERNS or len(spec.shape) > 2:
        raise UserError(
            f"{path}: {spec.name} is {' × '.join(map(str, spec.shape))}: a table cannot hold it; "
            "give arrays (.npy, .npz, .nc, .h5)"
        )
    pattern = pattern or PATTERNS[spec.kind]
    words = ["{channel}", *["{step}"] * (spec.kind == "series"), *["{modality}"] * several]
    if several and "{modality}" not in pattern:
        pattern = "{modality}." + pattern
    if lacking := [word for word in words if word not in pattern]:
        raise UserError(f"--columns '{pattern}' has no {' and no '.join(lacking)} in it")
    series = spec.kind == "series"
    if series and steps and len(steps) != spec.shape[0]:
        raise UserError(
            f"--steps names {number_of(len(steps), 'step')}, and the model takes {spec.shape[0]} "
            f"of {spec.name}"
        )
    by_number = [range(1, spec.shape[0] + 1), range(spec.shape[0])] if series else [range(1)]
    numberings = [steps] if series and steps else by_number

    def named(numbers: Sequence[str | int]) -> list[str]:
        filled = pattern.replace("{modality}", spec.name)
        return [
            filled.replace("{channel}", channel).replace("{step}", str(step))
            for step in numbers
            for channel in spec.channels
        ]

    ways = [named(numbers) for numbers in numberings]
    sound = [way for way in ways if set(way) <= set(have)]
    if len(sound) == 1:
        return sound[0]
    if sound:
        raise UserError(
            f"{path}: has columns of {spec.name} for the steps 0 to {spec.shape[0]}, one more than "
            f"the {spec.shape[0]} that the model takes"
        )
    wanted = min(ways, key=lambda way: len(set(way) - set(have)))
    lacking = [name for name in wanted if name not in have]
    nearest = near(lacking[0], have)
    told = f"did you mean {' or '.join(nearest)}?" if nearest else f"it has {_shown(have)}"
    raise UserError(
        f"{path}: lacks {len(lacking)} of the {len(wanted)} columns of {spec.name}, the first is "
        f"'{lacking[0]}'; {told} (--columns says how they are called, here '{pattern}'"
        f"{', and --steps how steps are, here by number' * (series and not steps)})"
    )


def _shown(columns: Sequence[str]) -> str:
    """Columns in a sentence: some, and how many more there are; one without a name is ''."""
    more = len(columns) - SHOWN
    return ", ".join(name or "''" for name in columns[:SHOWN]) + (
        f" and {more} more" if more > 0 else ""
    )


def _of_arrays_file(path: str, model: Model, key: str | None, ids: str) -> Samples:
    arrays.forget()  # files may have changed since they were opened
    have = arrays.keys(path)
    x = {}
    for m, spec in model.modalities.items():
        name = _key_of(path, m, key, have, several=len(model.modalities) > 1)
        stored = arrays.look(path, name)
        if stored.dtype.kind not in "biuf":
            raise UserError(f"{path}: {m} is text there, not numbers")
        check_shape(spec, stored.shape, path)
        values = stored.whole()
        x[m] = values if stored.is_plain else arrays.physical(values, stored, (), keep_bytes=False)
    if len({len(values) for values in x.values()}) > 1:
        told = " and ".join(f"{len(values)} of {m}" for m, values in x.items())
        raise UserError(f"{path}: has different numbers of samples: {told}")
    names, column = _numbered(x), _ids_in(path, ids, have)
    if column:
        found = arrays.look(path, column).whole().reshape(-1)
        if len(found) != len(names):
            told = f"{number_of(len(found), 'id')} in '{column}' for"
            raise UserError(f"{path}: {told} {number_of(len(names), 'sample')}")
        names = _as_ids(path, found.tolist())
    return Samples(names, x)


def _key_of(
    path: str, m: str, key: str | None, have: Sequence[str], *, several: bool
) -> str | None:
    """The name of a modality's array in a file; None where arrays have no names."""
    if key:
        if several:
            raise UserError("--key: the model sees several modalities; call arrays by their names")
        return key
    if not have:
        if several:
            raise UserError(f"{path}: holds one array, and the model sees several; give an .npz")
        return None
    others = [name for name in have if name not in IDS]
    if m in have:
        return m
    if len(others) == 1 and not several:
        return others[0]
    raise UserError(f"{path}: {unknown('array', m, have)}{'' if several else ' (--key names one)'}")


def _ids_in(path: str, wanted: str, have: Sequence[str]) -> str | None:
    if wanted and wanted not in have:
        raise UserError(f"{path}: --ids: {unknown('column', wanted, have)}")
    return wanted or next((name for name in IDS if name in have), None)


def _as_ids(path: str, values: Sequence[Any]) -> np.ndarray:
    names = []
    for row, value in enumerate(values, start=1):
        try:
            names.append(reading.name(value))
        except ValueError as error:
            raise UserError(f"{path}: the id of sample number {row}: {error}") from error
        if names[-1] is None:
            raise UserError(f"{path}: sample number {row} has no id")
    return np.array(names, dtype=np.str_)


def _numbered(x: Mapping[str, Any]) -> np.ndarray:
    return np.array([str(i) for i in range(len(next(iter(x.values()))))], dtype=np.str_)
