"""Results folders, packed ones and archives as one folder, which is thrown away if it was made."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmark import records
from benchmark.errors import UserError
from datasets.common.archives import unpack

PACKED = "packed"
"""Below a results folder: what `pack` has packed, an archive for each dataset."""


def packs(results: Path) -> list[Path]:
    """The packed records of a results folder, or of none."""
    return sorted((results / PACKED).glob("*.tar.xz"))


def check_not_packed(results: Path) -> None:
    """Raise `UserError` for a folder whose records a command that adds some would not see."""
    if found := packs(results):
        raise UserError(
            f"{results}: its records are packed ({found[0].name}), and nothing is added to them; "
            "name another folder with --results, or unpack them (tar -xf)"
        )


@contextmanager
def merged(folders: Sequence[Path]) -> Iterator[Path]:
    """One results folder with the records and trials of all, packed or not; of a single folder
    that is not packed, itself.

    A run that is in two of them with other scores is a conflict: that of the folder that was named
    first is kept, and it is said on the screen.
    """
    if len(folders) == 1 and not folders[0].is_file() and not packs(folders[0]):
        yield folders[0]
        return
    with tempfile.TemporaryDirectory(prefix="eo-results-") as name:
        whole, unpacked = Path(name) / "all", 0
        for folder in folders:
            sources = [folder] * (not folder.is_file())
            for archive in [folder] if folder.is_file() else packs(folder):
                sources.append(Path(name) / f"{unpacked}")
                sources[-1].mkdir()
                unpack(archive, sources[-1])
                unpacked += 1
            if not any(map(records.files, sources)):
                raise records.none_there(folder, *sources)
            conflicts = [path for source in sources for path in _add(source, whole)]
            if conflicts:
                print(
                    f"{folder}: {len(conflicts)} of its records are recorded otherwise in a folder "
                    f"named before it, which is believed; the first is {conflicts[0]}"
                )
        yield whole


def _add(folder: Path, whole: Path) -> Iterator[Path]:
    """Link what a folder has into another, and give the paths that have other scores there."""
    for path in [*records.files(folder), *records.files(folder, records.TRIALS)]:
        place = whole / path.relative_to(folder)
        if place.exists():
            if _scores(place) != _scores(path):
                yield path.relative_to(folder)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".json", ".npz", ".features.npz"):
            if (beside := path.with_suffix(suffix)).exists():
                place.with_suffix(suffix).symlink_to(beside.resolve())


def _scores(path: Path) -> Mapping | str:
    """The scores of a record, or why it cannot be read."""
    try:
        return records.read(path).metrics
    except UserError as error:
        return str(error)
