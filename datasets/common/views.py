"""The netCDF files that the authors of MDiCo distribute: one of a dataset, or of a part of it.

https://github.com/fmenat/MDiCo, data/. `DataViews.save` (https://github.com/fmenat/CoM-views)
writes them through xarray and h5netcdf. A variable is a *view* of all samples, by which its first
axis goes, in the order of ``identifier``; ``target`` is (n, outputs) or (n,); ``train_mask`` is
true of every sample; the attribute ``target_names`` has the names of classes.

What those scripts make of the published table of LFMC, and of generated archives of CropHarvest and
TreeSatAI-TS, was read and compared; the files that are distributed have not been seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.errors import UserError
from datasets.common import arrays, reading
from datasets.common.arrays import Stored
from datasets.common.contract import MissingFilesError

TITLE = "the views of MDiCo's authors"
"""What they are called on the screen and in records."""

PAGE = "https://github.com/fmenat/MDiCo/tree/main/data"
"""Where their authors say how to get them."""


def way(*files: str) -> str:
    """How to get them, as in `datasets.common.forms.Form`."""
    return f"{', '.join(files)} from {PAGE}"


@dataclass(frozen=True)
class Views:
    """One file. ids: (n,) strings, its identifiers."""

    path: str
    ids: np.ndarray

    def view(self, name: str, *shapes: tuple[int | None, ...]) -> Stored:
        """A view whose samples have one of some shapes, None for any length; not read yet.

        Raises `UserError`, naming the file, if it is not there, foreign, or of other samples.
        """
        if name not in arrays.keys(self.path):
            raise UserError(f"{self.path}: lacks '{name}'; get the file again")
        stored = arrays.look(self.path, name)
        expected = [(len(self.ids), *shape) for shape in shapes]
        if stored.dtype.kind not in "biuf" or not any(_fits(stored.shape, e) for e in expected):
            words = " or ".join(str(e).replace("None", "any") for e in expected)
            raise UserError(
                f"{self.path}: '{name}' is {stored.dtype} {stored.shape}, expected numbers {words}"
            )
        if not stored.is_plain:
            raise UserError(
                f"{self.path}: '{name}' has a scale or a fill value, which {TITLE} have not; get "
                "the file again"
            )
        return stored

    def target(self, outputs: int = 1) -> np.ndarray:
        """(n, outputs), as stored."""
        shapes = ((outputs,), ()) if outputs == 1 else ((outputs,),)
        return self.view("target", *shapes).whole().reshape(len(self.ids), outputs)

    def classes(self, outputs: int) -> np.ndarray:
        """(n,) int64 class numbers; `UserError` for one that is not from 0 to ``outputs`` - 1."""
        y = self.target()[:, 0]
        wrong = (y != np.floor(y)) | (y < 0) | (y >= outputs)
        if wrong.any():
            i = int(wrong.argmax())
            raise UserError(
                f"{self.path}: the target of '{self.ids[i]}' is {y[i]}, no class from 0 to "
                f"{outputs - 1}"
            )
        return y.astype(np.int64)

    def names(self) -> tuple[str, ...]:
        """Names of the classes, in their order."""
        return arrays.texts(self.path, "target_names")

    def places(self) -> np.ndarray:
        """(n, 2) float64 latitudes and longitudes in degrees, of 32 bits in the file."""
        places = self.view("coords", (2,)).whole().astype(np.float64)[:, ::-1]
        wrong = ~(np.abs(places) <= (90, 180)).all(axis=1)
        if wrong.any():
            i = int(wrong.argmax())
            raise UserError(
                f"{self.path}: 'coords' of '{self.ids[i]}' are {places[i, 1]:g} and "
                f"{places[i, 0]:g}, no longitude and latitude in degrees"
            )
        return places


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(
        e in (None, s) for s, e in zip(shape, expected, strict=True)
    )


def files(root: Path, *, names: Sequence[Sequence[str]]) -> list[str]:
    """Names of the files that are there; each goes by any of some names.

    Raises `MissingFilesError` unless all are, `UserError` where one is there by two names.
    """
    chosen = []
    for either in names:
        found = [name for name in either if (root / name).is_file()]
        if not found:
            raise MissingFilesError(f"{root} lacks {either[0]}")
        if len(found) > 1:
            raise UserError(f"{root}: has both {' and '.join(found)}; keep one of them")
        chosen += found
    return chosen


def load(path: Path) -> Views:
    """What is in a file; its views are read later.

    Raises `UserError`, naming the file, if it is truncated, foreign, or not whole.
    """
    arrays.forget()  # a file may have changed since it was opened
    name = str(path)
    have = arrays.keys(name)
    for needed in ("identifier", "target"):
        if needed not in have:
            raise UserError(f"{path}: lacks '{needed}', which {TITLE} have; get the file again")
    values = arrays.look(name, "identifier").whole()
    if values.ndim != 1:
        raise UserError(f"{path}: 'identifier' is {values.shape}, expected (samples,)")
    try:
        ids = [reading.name(value) for value in values.tolist()]
    except ValueError as error:
        raise UserError(f"{path}: 'identifier': {error}") from error
    if None in ids:
        raise UserError(f"{path}: 'identifier' of sample {ids.index(None)} is missing")
    views = Views(name, np.array(ids, dtype=np.str_))
    if "train_mask" in have and (out := (views.view("train_mask", ()).whole() == 0).sum()):
        raise UserError(
            f"{path}: train_mask leaves out {out} samples, and those of {TITLE} none; get the file "
            "again"
        )
    return views
