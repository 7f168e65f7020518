"""Which files a description means: names with words in braces, and what the words stand for."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import UserError, listed, near

WORD = re.compile(r"\{(\w+)\}")
ID = "id"
"""The word that stands for the id of a sample: such a file holds one sample."""


@dataclass(frozen=True)
class Found:
    """A file, and what the words of its pattern are in its name."""

    path: str
    words: Mapping[str, str]


def is_per_sample(files: tuple[str, ...]) -> bool:
    """Whether each sample has a file of its own."""
    return any(ID in WORD.findall(name) for name in files)


def find(root: Path, files: tuple[str, ...]) -> list[Found]:
    """The files that are meant, in the order given, those of a pattern by its words; `UserError`.

    Names that are put together in another way have the same order, if they have the same words.
    """
    return [found for name in files for found in _find(root, name)]


def paths(root: Path, files: tuple[str, ...]) -> set[str]:
    """The same as paths without links, which are one for each file; none of what is not there.

    Not those of files that hold one sample: they may be very many.
    """
    found = set()
    for name in files:
        if not is_per_sample((name,)):
            with suppress(UserError):
                found |= {os.path.realpath(each.path) for each in _find(root, name)}
    return found


def _find(root: Path, name: str) -> list[Found]:
    if not WORD.search(name):
        path = root / name
        try:
            is_folder, is_file = path.is_dir(), path.is_file()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
        if is_folder:
            raise UserError(f"{path}: is a folder; say which files, as in '{name}/{{id}}.tif'")
        if not is_file:
            raise UserError(f"{path}: there is no such file{_nearest(path)}")
        return [Found(os.path.normpath(path), {})]
    words, pattern = set(), ""
    parts = WORD.split(os.path.normpath(root / name))
    for place, part in enumerate(parts):
        if place % 2 == 0:
            pattern += re.escape(part)
        elif part in words:
            pattern += f"(?P={part})"
        else:
            words.add(part)
            pattern += f"(?P<{part}>[^/]+)"
    candidates = glob.iglob(
        "".join(glob.escape(p) if i % 2 == 0 else "*" for i, p in enumerate(parts))
    )
    matches = [match for path in candidates if (match := re.fullmatch(pattern, path))]
    if not matches:
        raise UserError(f"{root / name}: there is no file of such a name")
    found = [Found(match[0], match.groupdict()) for match in matches]
    return sorted(found, key=lambda each: (sorted(each.words.items()), each.path))


def _nearest(path: Path) -> str:
    """What the user may have meant, as the end of a sentence."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return f", and no folder {path.parent}"
    stems = near(path.stem, sorted({Path(name).stem for name in names}))  # all end alike
    nearest = [name for stem in stems for name in sorted(names) if Path(name).stem == stem]
    if nearest:
        return f"; did you mean {' or '.join(nearest)}?"
    return f"; {path.parent} holds {listed(sorted(names))}"
