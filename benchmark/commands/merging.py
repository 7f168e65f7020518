"""Several results folders or archives of `submit` as one, in a folder that is thrown away."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmark import records
from benchmark.errors import UserError
from datasets.common.archives import unpack


@contextmanager
def merged(folders: Sequence[Path]) -> Iterator[Path]:
    """One results folder with the records and trials of all; of a single folder, itself.

    A run that is in two of them with other scores is a conflict: that of the folder that was named
    first is kept, and it is said on the screen.
    """
    if len(folders) == 1 and not folders[0].is_file():
        yield folders[0]
        return
    with tempfile.TemporaryDirectory(prefix="eo-results-") as name:
        whole = Path(name) / "all"
        for number, folder in enumerate(folders):
            if folder.is_file():
                archive, folder = folder, Path(name) / str(number)
                folder.mkdir()
                unpack(archive, folder)
            found = records.files(folder)
            if not found:
                raise UserError(f"{folder}: no records there; --results names their folder")
            conflicts = []
            for path in [*found, *records.files(folder, records.TRIALS)]:
                place = whole / path.relative_to(folder)
                if place.exists():
                    if _scores(place) != _scores(path):
                        conflicts.append(path.relative_to(folder))
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                for suffix in (".json", ".npz", ".features.npz"):
                    if (beside := path.with_suffix(suffix)).exists():
                        place.with_suffix(suffix).symlink_to(beside.resolve())
            if conflicts:
                print(
                    f"{folder}: {len(conflicts)} of its records are recorded otherwise in a folder "
                    f"named before it, which is believed; the first is {conflicts[0]}"
                )
        yield whole


def _scores(path: Path) -> Mapping | str:
    """The scores of a record, or why it cannot be read."""
    try:
        return records.read(path).metrics
    except UserError as error:
        return str(error)
