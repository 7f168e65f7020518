"""Which samples a described dataset has, and which row of every file belongs to each."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import UserError
from datasets.common import reading
from datasets.common.contract import PARTS
from datasets.described import columns
from datasets.described.description import Description, Groups, Modality, Where
from datasets.described.files import ID, Found, is_per_sample
from datasets.described.sensors import Sensor, SensorOfFiles, in_file, stored_in

SPLIT_NAMES = {
    **{part: part for part in PARTS},
    **dict.fromkeys(("training",), "train"),
    **dict.fromkeys(("validation", "valid", "dev"), "val"),
    **dict.fromkeys(("testing",), "test"),
}
"""What the parts of a split are called elsewhere."""


class Samples:
    """The samples of a description, and which row of any other file belongs to each.

    A file that has the columns of the ids, too, is matched by them; any other has the samples in
    the same order: that of files with words in their names has the same words.
    """

    def __init__(self, root: Path, description: Description) -> None:
        self.root, self.description = root, description
        self.notices: list[str] = []
        where = description.ids or description.target.where
        self.files = columns.files_of(root, where)
        self.sizes = [columns.length(found, where) for found in self.files]
        if description.ids is None:
            self.ids = np.array([str(i) for i in range(sum(self.sizes))], dtype=np.str_)
        else:
            self.ids = np.array(self._ids(where), dtype=np.str_)
        self.numbers = {name: number for number, name in enumerate(self.ids.tolist())}
        if not len(self.ids):
            raise UserError(f"{self.files[0].path}: no samples")

    def _ids(self, where: Where) -> list[str]:
        """The ids in some files: one column, or several joined by spaces; `UserError`."""
        single = [Where(where.files, where.keys, (c,)) for c in where.columns] or [where]
        parts = []
        for each in single:
            found = _parsed(self.root, each, "id", reading.name)
            if None in found:
                raise columns.error_at(self.root, each, found.index(None), "id", "is empty")
            parts.append(found)
        ids = [" ".join(words) for words in zip(*parts, strict=True)]
        if (twice := reading.repeated(ids)) is not None:
            at = os.path.normpath(self.root / where.files[0])
            raise UserError(f"{at}: the id '{twice}' stands twice ({where}); ids must differ")
        return ids

    def rows(self, what: str, files: list[Found], lengths: list[int]) -> np.ndarray:
        """(N,) for each sample its number among those of some files, -1 if they lack it."""
        names = tuple(found.path for found in files)
        n = sum(lengths)
        if self._has_ids(files):
            ids = self._ids(_renamed(self.description.ids, names))
            if len(ids) != n:
                raise UserError(
                    f"{names[0]}: {what} has {n:,} samples there, and there are {len(ids):,} ids; "
                    "both must be as many"
                )
            return self._matched(what, ids, names[0])
        self._check_words(what, files, lengths)
        if n != len(self.ids):
            raise UserError(f"{self.root}: {columns.other_lengths(self._lengths())}")
        return np.arange(n)

    def _check_words(self, what: str, files: list[Found], lengths: list[int]) -> None:
        """Files whose names have words are matched by them, and one file by itself: `UserError` for
        another word or number of samples. A notice where only one side has words.
        """
        mine = self.files
        words = [bool(found.words) for found in (*mine, *files)]
        if not any(words) and not self._is_first(files):
            return
        if any(words) and not all(words):
            several = max(mine, files, key=len)
            if len(several) > 1:
                first, last = several[0].path, several[-1].path
                self.notices.append(
                    f"{what} is matched by order alone, {len(several):,} files from {first} to "
                    f"{last} one after the other: give ids where that may be wrong"
                )
            return
        for place in range(max(len(mine), len(files))):
            own, other = (each[place] if place < len(each) else None for each in (mine, files))
            if own is None or other is None or own.words != other.words:
                raise UserError(_unmatched(what, own, other))
            if self.sizes[place] != lengths[place]:
                told = {own.path: self.sizes[place], f"{what}, {other.path},": lengths[place]}
                raise UserError(f"{what}: {columns.other_lengths(told)}")

    def _lengths(self) -> dict[str, int]:
        """File → its number of samples, of those that are not matched by ids."""
        lengths = {}
        for where in self.description.wheres():
            with suppress(UserError):  # told where it is read
                if not is_per_sample(where.files):
                    files = columns.files_of(self.root, where)
                    if not self._has_ids(files):
                        name = " ".join((", ".join(where.files), *where.keys))
                        lengths[name] = sum(columns.length(found, where) for found in files)
        return lengths

    def _has_ids(self, files: list[Found]) -> bool:
        """Whether files have the columns of the ids, and are others than those that name them."""
        where = self.description.ids
        if where is None or self._is_first(files):
            return False
        wanted = {str(name) for name in (*where.keys, *where.columns)}
        have = [wanted <= set(columns.names_in(found)) for found in files] if wanted else [False]
        if any(have) and not all(have):
            lacks, has = files[have.index(False)].path, files[have.index(True)].path
            raise UserError(f"{lacks}: has no ids ({where}), and {has} has; give them to both")
        return all(have)

    def _is_first(self, files: list[Found]) -> bool:
        return [found.path for found in self.files] == [found.path for found in files]

    def _matched(self, what: str, ids: list[str], file: str) -> np.ndarray:
        place = {name: number for number, name in enumerate(ids)}
        foreign = len(place.keys() - self.numbers.keys())
        if foreign == len(place):
            raise UserError(
                f"{file}: none of its ids is in {self.files[0].path}: '{ids[0]}' there, "
                f"'{self.ids[0]}' here"
            )
        if foreign:
            self.notices.append(
                f"{what} has {foreign:,} of {len(ids):,} rows of other ids: left out"
            )
        return np.array([place.get(name, -1) for name in self.ids.tolist()])

    def in_order(self, what: str, where: Where, values: list[Any]) -> list[Any]:
        """One value a sample, in their order, of the values of all rows; None where one lacks."""
        files = columns.files_of(self.root, where)
        lengths = [columns.length(found, where) for found in files]
        rows = self.rows(what, files, lengths)
        return [values[row] if row >= 0 else None for row in rows.tolist()]

    def sensor(self, modality: Modality) -> Sensor:
        where = modality.where
        if is_per_sample(where.files):
            return self._sensor_of_files(modality)
        files = columns.files_of(self.root, where)
        stored = [stored_in(found, modality) for found in files]
        lengths = [each[0].shape[0] for each in stored]
        rows = self.rows(modality.name, files, lengths)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(int)
        return Sensor(modality, tuple(stored), starts, rows)

    def _sensor_of_files(self, modality: Modality) -> Sensor:
        files = columns.files_of(self.root, modality.where)
        ids = [found.words[ID] for found in files]
        if self.description.ids is None:
            raise UserError(
                f"{files[0].path}: {modality.name} has one file a sample by its id; "
                "say where the ids are, with `ids:`"
            )
        if (twice := reading.repeated(ids)) is not None:
            raise UserError(f"{files[0].path}: {modality.name} has two files of the id '{twice}'")
        rows = self._matched(modality.name, ids, os.path.dirname(files[0].path))
        first = in_file(files[int(rows[rows >= 0][0])].path, modality)
        paths = tuple(found.path for found in files)
        return SensorOfFiles(modality, (first,), np.zeros(1, int), rows, paths)

    def groups(self, groups: Groups | None, places: np.ndarray | None) -> np.ndarray | None:
        if groups is None:
            return None
        if groups.by is None:
            blocks = np.floor(places / groups.block).astype(int).tolist()
            return np.array([f"{lat},{lon}" for lat, lon in blocks], dtype=np.str_)
        return self._names("group", groups.by)

    def _names(self, what: str, where: Where) -> np.ndarray:
        """(N,) strings; a sample without one is an error."""
        found = _parsed(self.root, where, what, reading.name)
        found = self.in_order(what, where, found)
        if None in found:
            lack = found.count(None)
            at = os.path.normpath(self.root / where.files[0])
            raise UserError(
                f"{at}: {lack:,} of {len(found):,} samples have no {what} ({where}), the first "
                f"'{self.ids[found.index(None)]}'; name one for each"
            )
        return np.array(found, dtype=np.str_)

    def places(self, groups: Groups | None) -> np.ndarray | None:
        """(N, 2) latitude and longitude in degrees, or `UserError` for what are none."""
        if groups is None or groups.places is None:
            return None
        axes = []
        for where, axis in zip(groups.places, ("latitude", "longitude"), strict=True):
            numbers = _parsed(self.root, where, axis, reading.number)
            axes.append(np.array(self.in_order(axis, where, numbers), dtype=np.float64))
        lat, lon = axes
        at = f"{os.path.normpath(self.root / groups.places[0].files[0])}: {groups.places[0]}"
        missing = ~np.isfinite(lat) | ~np.isfinite(lon)
        if missing.any():
            raise UserError(
                f"{at}: no place for {missing.sum():,} of {len(missing):,} samples, the first "
                f"'{self.ids[missing.argmax()]}'"
            )
        lat_most, lon_most = np.abs(lat).max(), np.abs(lon).max()
        if lat_most > 360 or lon_most > 360:
            raise UserError(
                f"{at}: {max(lat_most, lon_most):,.0f} is no angle; places must be in degrees "
                "(EPSG:4326), not in metres"
            )
        if lat_most > 90:
            swapped = "; is it the longitude?" if lon_most <= 90 else ""
            raise UserError(f"{at}: {lat_most:g} is no latitude, which ends at 90{swapped}")
        if nowhere := int(((lat == 0) & (lon == 0)).sum()):
            self.notices.append(
                f"{nowhere:,} of {len(lat):,} samples lie at latitude 0, longitude 0: is that how "
                "the file says that a place is not known?"
            )
        return np.stack([lat, np.where(lon > 180, lon - 360, lon)], axis=1)

    def split(self, where: Where | None) -> np.ndarray | None:
        if where is None:
            return None
        names = self._names("part of the split", where)
        parts = np.array([SPLIT_NAMES.get(name.lower(), "") for name in names.tolist()])
        if (parts == "").any():
            at = os.path.normpath(self.root / where.files[0])
            raise UserError(
                f"{at}: '{names[(parts == '').argmax()]}' in {where} is no part of a split; "
                f"{', '.join(PARTS)} are"
            )
        return parts

    def complete(self, present: dict[str, np.ndarray]) -> np.ndarray:
        """Numbers of the samples that have all; `UserError` or a notice for those that have not."""
        whole = np.all(list(present.values()), axis=0)
        lacks = [
            f"{(~there).sum():,} of {len(there):,} samples without {what}, the "
            f"first '{self.ids[(~there).argmax()]}'"
            for what, there in present.items()
            if not there.all()
        ]
        if lacks and not (self.description.drop_incomplete and whole.any()):
            raise UserError(
                f"{self.description.path}: {'; '.join(lacks)}; add them, or say `incomplete: drop` "
                "to leave those samples out"
            )
        self.notices += [f"{lack}: left out" for lack in lacks]
        return np.flatnonzero(whole)


def _parsed(root: Path, where: Where, what: str, parse: Callable[[Any], Any]) -> list[Any]:
    result = []
    for number, value in enumerate(columns.column(root, where)):
        try:
            result.append(parse(value))
        except ValueError as error:
            raise columns.error_at(root, where, number, what, error) from error
    return result


def _unmatched(what: str, own: Found | None, other: Found | None) -> str:
    """What is wrong where files have other words in their names than those they belong to."""

    def words(found: Found) -> str:
        return ", ".join(f"{word} '{value}'" for word, value in found.words.items())

    if own is None or (other and own.words.keys() == other.words.keys() and _of(other) < _of(own)):
        return f"{what}: {other.path} is of {words(other)}, of which there are no samples"
    if other is None or own.words.keys() == other.words.keys():
        return f"{what}: there is no file of {words(own)}, of which {own.path} has samples"
    return (
        f"{what}: {other.path} is of {words(other)}, and {own.path} of {words(own)}; put the same "
        "words in braces"
    )


def _of(found: Found) -> list[tuple[str, str]]:
    return sorted(found.words.items())


def _renamed(where: Where, files: tuple[str, ...]) -> Where:
    return Where(files, where.keys, where.columns)
