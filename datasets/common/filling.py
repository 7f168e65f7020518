"""Fills the arrays of a prepared dataset from native files, piece by piece.

A partial folder holds the arrays at their full size and a note for every piece that is written, so
that a process that was killed is taken up where it stopped. Several processes may fill one folder:
they write the same bytes to the same places.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.errors import UnfinishedError, UserError, not_writable
from benchmark.problem import ModalitySpec
from benchmark.stopping import end_with
from benchmark.writers import part_of
from datasets.common.contract import Catalogue
from datasets.common.packed import pack

PIECE = 128
"""Samples that are read, checked and written at once."""

LARGE = 3_000
"""From so many samples on, all cores read and a progress bar is shown."""

NOTES = "pieces"

ANOTHER = "choose another --cache"
"""What to do where nothing can be written."""


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder to fill that takes the name ``folder`` when it is complete.

    If another process was quicker, its folder stays and ours is dropped. Raises
    `NotWritableError`, naming the folder above.
    """
    part = folder.with_name(part_of(folder.name))
    try:
        part.mkdir(parents=True)
        yield part
        try:
            part.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    except OSError as error:
        raise not_writable(folder.parent, error, ANOTHER) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def replace_with(path: Path, text: str, notes: Path) -> None:
    """Write a file in one step, by way of the folder ``notes``."""
    part = notes / uuid.uuid4().hex
    part.write_text(text)
    os.replace(part, path)


@dataclass(frozen=True)
class Filling:
    """All that a worker has to know; ``read``, ``dtypes`` and ``ids`` as in `Catalogue`."""

    name: str
    folder: Path
    specs: Mapping[str, ModalitySpec]
    dtypes: Mapping[str, np.dtype]
    ids: np.ndarray
    read: Callable[[int], Mapping[str, np.ndarray]]

    def note(self, start: int) -> Path:
        """The file that says that the piece from ``start`` is written."""
        return self.folder / NOTES / f"{start}.json"

    def rows(self, m: str, start: int) -> tuple[int, int]:
        """Number of bytes of a sample, and where in the file the samples from ``start`` begin."""
        row = int(np.prod(self.specs[m].shape)) * self.dtypes[m].itemsize
        header = (self.folder / f"x-{m}.npy").stat().st_size - len(self.ids) * row
        return row, header + start * row


def fill(name: str, catalogue: Catalogue, folder: Path) -> None:
    """Fill the partial ``folder`` (made if it isn't there) with all arrays of the catalogue.

    Raises FileNotFoundError if another process has finished the folder and renamed it.
    """
    filling = Filling(
        name, folder, catalogue.modalities, catalogue.dtypes, catalogue.ids, catalogue.read
    )
    if folder.is_dir() and not _is_sound(filling):
        shutil.rmtree(folder)
    if not folder.is_dir():
        _create(filling, catalogue)
    known = {start: _noted(filling, start) for start in range(0, len(catalogue), PIECE)}
    _fill_pieces(filling, [start for start, note in known.items() if note is None])
    _check_channels(filling, [_noted(filling, start) for start in known])


def _is_sound(filling: Filling) -> bool:
    """Whether the arrays of a partial folder are those that it was begun with."""
    try:
        for m, spec in filling.specs.items():
            array = np.load(filling.folder / f"x-{m}.npy", mmap_mode="r", allow_pickle=False)
            if array.shape != (len(filling.ids), *spec.shape) or array.dtype != filling.dtypes[m]:
                return False
    except (OSError, ValueError):
        return False
    return (filling.folder / NOTES).is_dir()


def _create(filling: Filling, catalogue: Catalogue) -> None:
    """The folder with arrays of full size that are empty yet, and those that are known already."""
    n = len(catalogue)
    with appearing(filling.folder) as part:
        (part / NOTES).mkdir()
        _check_space(filling, part)
        for m, spec in filling.specs.items():
            np.lib.format.open_memmap(
                part / f"x-{m}.npy", mode="w+", dtype=filling.dtypes[m], shape=(n, *spec.shape)
            )
        for name in ("y", "ids", "groups", "split"):
            array = getattr(catalogue, name)
            if array is not None:
                np.save(part / f"{name}.npy", array, allow_pickle=False)


def _check_space(filling: Filling, folder: Path) -> None:
    sizes = [
        int(np.prod(spec.shape)) * filling.dtypes[m].itemsize for m, spec in filling.specs.items()
    ]
    need = len(filling.ids) * sum(sizes) / 1e9
    free = shutil.disk_usage(folder).free / 1e9
    if need > free:
        raise UserError(
            f"{folder.parent}: {need:.1f} GB are needed and {free:.1f} GB are free; "
            "choose another --cache"
        )


def _noted(filling: Filling, start: int) -> dict[str, list[bool]] | None:
    """Which channels have a value in a piece, by modality; None if it is not written."""
    try:
        return json.loads(filling.note(start).read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _fill_pieces(filling: Filling, starts: list[int]) -> None:
    from tqdm import tqdm

    n = len(filling.ids)
    large = n >= LARGE
    written = _in_parallel(filling, starts) if large else _in_order(filling, starts)
    left = sum(min(PIECE, n - start) for start in starts)
    with tqdm(
        total=n, initial=n - left, desc=f"reading {filling.name}", unit="sample", disable=not large
    ) as bar:
        for samples in written:
            bar.update(samples)


def _in_order(filling: Filling, starts: list[int]) -> Iterator[int]:
    return (_fill_piece(filling, start) for start in starts)


def _in_parallel(filling: Filling, starts: list[int]) -> Iterator[int]:
    from concurrent.futures.process import BrokenProcessPool

    import joblib

    ending = {"initializer": end_with, "initargs": (os.getpid(),)}
    with joblib.parallel_config("loky", inner_max_num_threads=1, **ending):
        parallel = joblib.Parallel(-1, return_as="generator_unordered", batch_size=1)
        try:
            yield from parallel(joblib.delayed(_fill_piece)(filling, start) for start in starts)
        except BrokenProcessPool as error:
            raise UnfinishedError(
                f"{filling.name}: a process that read its samples was killed (out of memory?); "
                "give the same command again to go on where it stopped"
            ) from error


def _fill_piece(filling: Filling, start: int) -> int:
    """Read a piece, write it, note it; the number of its samples."""
    stop = min(start + PIECE, len(filling.ids))
    if _noted(filling, start) is not None:  # by another process, meanwhile
        return stop - start
    arrays = {
        m: np.empty((stop - start, *spec.shape), filling.dtypes[m])
        for m, spec in filling.specs.items()
    }
    for i in range(start, stop):
        for m, values in filling.read(i).items():
            if values.shape != filling.specs[m].shape:
                raise ValueError(f"{filling.name} reads {m} of shape {values.shape}")
            if filling.dtypes[m] == np.uint16:
                values = pack(values, f"{filling.name}: sample '{filling.ids[i]}', {m}")
            arrays[m][i - start] = values
    present = {m: _channels_present(filling, m, array, start) for m, array in arrays.items()}
    try:
        for m, array in arrays.items():
            row, offset = filling.rows(m, start)
            with open(filling.folder / f"x-{m}.npy", "r+b") as file:
                file.seek(offset)
                file.write(array.data.cast("B"))
                file.flush()
                os.fsync(file.fileno())  # before the note: it must not outlive its piece
        replace_with(filling.note(start), json.dumps(present), filling.folder / NOTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise not_writable(filling.folder.parent, error, ANOTHER) from error
    return stop - start


def _channels_present(filling: Filling, m: str, array: np.ndarray, start: int) -> list[bool]:
    """Which channels have a value; a value may be missing (NaN), but not infinite."""
    if array.dtype.kind != "f":
        return [True] * array.shape[-1]
    infinite = np.isinf(array).reshape(len(array), -1).any(axis=1)
    if infinite.any():
        sample = filling.ids[start + infinite.argmax()]
        raise UserError(f"{filling.name}: sample '{sample}' has an infinite value in {m}")
    return (~np.isnan(array)).reshape(-1, array.shape[-1]).any(axis=0).tolist()


def _check_channels(filling: Filling, notes: list[dict[str, list[bool]] | None]) -> None:
    if None in notes:
        raise FileNotFoundError(filling.folder)
    for m, spec in filling.specs.items():
        present = np.any([note[m] for note in notes], axis=0)
        if not present.all():
            empty = ", ".join(np.array(spec.channels)[~present])
            raise UserError(f"{filling.name}: {m} has no value at all in channel {empty}")
