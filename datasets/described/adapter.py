"""A dataset that a description describes, as any other: `Adapter`, real data only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import UserError
from datasets.common import arrays, stand_ins, tables
from datasets.common.contract import Adapter, Catalogue, View
from datasets.common.subsample import subsample
from datasets.described import targets
from datasets.described.description import Description, Groups, load
from datasets.described.files import find, is_per_sample
from datasets.described.samples import Samples
from datasets.described.sensors import Sensor


class Described(Adapter):
    """The dataset of a description; relative names are relative to the YAML file."""

    def __init__(self, path: Path) -> None:
        description = load(path)
        self.description = description
        self.name = self.folder = description.name
        self.root = path.absolute().parent
        self.title = description.title or f"Described by {path.name}."
        self.citation = description.citation
        self.licence = description.licence
        self.url = description.url
        self.layout = f"as {path} says"
        self.modalities = self.default_modalities = tuple(description.modalities)
        self.group_kind = _group_kind(description.groups)
        self.official_split = description.split is not None

    def source_files(self, root: Path) -> list[str]:
        """What is there of the files that are named: `open` tells what is not."""
        names = {self.description.path.absolute(): None}
        for where in self.description.wheres():
            with suppress(UserError):
                names |= {Path(found.path): None for found in find(root, where.files)}
        return [os.path.relpath(path, root) for path in names]

    def lacks(self, root: Path) -> str:
        try:
            with _all_at_once() as trying:
                for where in self.description.wheres():
                    with trying():
                        find(root, where.files)
        except UserError as error:
            return str(error)
        return ""

    def open(self, root: Path, modalities: tuple[str, ...], view: View) -> Catalogue:
        description, target = self.description, self.description.target
        arrays.forget()  # files may have changed since they were opened
        samples = Samples(root, description)
        sensors: dict[str, Sensor] = {}
        present: dict[str, np.ndarray] = {}
        values, target_word = [], ""
        groups = places = split = None
        with _all_at_once() as trying:
            for m in modalities:
                with trying():
                    sensors[m] = samples.sensor(description.modalities[m])
                    present[m], found = sensors[m].look()
                    samples.notices += _unmarked(m, found)
            with trying():
                values, target_word = targets.read(root, target)
                samples.notices += _unmarked("target", targets.counted(values))
                values = samples.in_order("target", target.where, values)
            with trying():
                places = samples.places(description.groups)
                groups = samples.groups(description.groups, places)
            with trying():
                split = samples.split(description.split)
        present[target_word] = np.array([value is not None for value in values])
        kept = samples.complete(present)
        task, y, told = targets.task_of(root, target, [values[i] for i in kept])

        def of(column: np.ndarray | None) -> np.ndarray | None:
            return None if column is None else column[kept]

        chosen = subsample(task, y, of(groups), of(split), view.samples)
        kept, y = kept[chosen], y[chosen]
        return Catalogue(
            modalities={m: sensor.spec for m, sensor in sensors.items()},
            task=task,
            y=y,
            ids=samples.ids[kept],
            groups=of(groups),
            split=of(split),
            dtypes={m: sensor.dtype for m, sensor in sensors.items()},
            read=lambda i: {m: sensor.read(kept[i]) for m, sensor in sensors.items()},
            notices=(*samples.notices, *told, *_cut(root, description)),
            places=of(places),
            scaling={m: both for m, sensor in sensors.items() if (both := sensor.scaling())},
        )


def _unmarked(what: str, counts: np.ndarray) -> list[str]:
    """A notice for each number that looks as if it stood for a value that is not known."""
    return [
        f"{what} has {n:,} × {value}: if it stands for no value, say `no_data: {value}`"
        for value, n in stand_ins.named(counts)
    ]


def _group_kind(groups: Groups | None) -> str | None:
    if groups is None:
        return None
    return str(groups.by) if groups.by else f"{groups.block:g}° block"


def _cut(root: Path, description: Description) -> list[str]:
    """A notice for every table that was perhaps cut in its last cell, which nothing else tells."""
    single = [where for where in description.wheres() if not is_per_sample(where.files)]
    named = dict.fromkeys(found.path for where in single for found in find(root, where.files))
    return [
        f"{os.path.relpath(path, root)}: its last line has no end; is the file whole?"
        for path in named
        if tables.may_be_cut(path)
    ]


@contextmanager
def _all_at_once() -> Iterator[Callable[[], Any]]:
    """Collects the errors of several steps, so that the user is told all of them."""
    problems: dict[str, None] = {}

    @contextmanager
    def trying() -> Iterator[None]:
        try:
            yield
        except UserError as error:
            problems[str(error)] = None

    yield trying
    if problems:
        raise UserError("\n".join(problems))
