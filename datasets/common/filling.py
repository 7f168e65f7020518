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
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmark import plugins
from benchmark.errors import UnfinishedError, UserError, not_writable
from benchmark.machine import cores, no_processes
from benchmark.problem import ModalitySpec
from benchmark.stopping import end_with
from benchmark.writers import part_of
from datasets.common.checking import check_arrays
from datasets.common.contract import Catalogue
from datasets.common.packed import MISSING, pack

PIECE = 128
"""Samples that are read, checked and written at once."""

LARGE = 3_000
"""From so many samples on, all cores read and a progress bar is shown."""

NOTES = "pieces"

CONTEXT_FILE = "context.npz"
"""Places, and months by modality, where they are known."""

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


def fill(name: str, catalogue: Catalogue, folder: Path) -> tuple[str, ...]:
    """Fill the partial ``folder`` (made if it isn't there) with all arrays of the catalogue.

    Returns what the user has to know of the inputs: values that are not there, with their number.
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
    return _summed_up(filling, [_noted(filling, start) for start in known])


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
        context = {f"months-{m}": months for m, months in catalogue.months.items()}
        if catalogue.places is not None:
            context["places"] = catalogue.places
        if context:
            np.savez(part / CONTEXT_FILE, **context)


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


@dataclass(frozen=True)
class Found:
    """What a piece of one modality holds.

    present: which channels have a value. absent: number of values that the files should have and
    have not. samples: of how many samples these are.
    """

    present: list[bool]
    absent: int
    samples: int


def _noted(filling: Filling, start: int) -> dict[str, Found] | None:
    """What a piece holds, by modality; None if it is not written."""
    try:
        note = json.loads(filling.note(start).read_bytes())
        return {m: Found(**found) for m, found in note.items()}
    except (FileNotFoundError, ValueError, AttributeError, TypeError):
        return None


def _fill_pieces(filling: Filling, starts: list[int]) -> None:
    from tqdm import tqdm

    n = len(filling.ids)
    large = n >= LARGE
    parallel = large and len(starts) > 1 and cores() > 1
    if parallel and (why := no_processes()):
        print(f"{why}: {filling.name} is read in this process alone")
        parallel = False
    written = _in_parallel(filling, starts) if parallel else _in_order(filling, starts)
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
    from cloudpickle import register_pickle_by_value

    for module in plugins.modules():
        register_pickle_by_value(module)
    ending = {"initializer": end_with, "initargs": (os.getpid(),)}
    with joblib.parallel_config("loky", inner_max_num_threads=1, **ending):
        parallel = joblib.Parallel(cores(), return_as="generator_unordered", batch_size=1)
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
    absent = {m: np.zeros(stop - start, dtype=int) for m in arrays}
    for i in range(start, stop):
        where = f"{filling.name}: sample '{filling.ids[i]}'"
        for m, values in check_arrays(where, filling.read(i), filling.specs).items():
            values, absent[m][i - start] = _kept(values, filling.dtypes[m], f"{where}, {m}")
            arrays[m][i - start] = values
    found = {
        m: Found(_channels_present(array), int(absent[m].sum()), int((absent[m] > 0).sum()))
        for m, array in arrays.items()
    }
    try:
        for m, array in arrays.items():
            row, offset = filling.rows(m, start)
            with open(filling.folder / f"x-{m}.npy", "r+b") as file:
                file.seek(offset)
                file.write(array.data.cast("B"))
                file.flush()
                os.fsync(file.fileno())  # before the note: it must not outlive its piece
        note = {m: asdict(each) for m, each in found.items()}
        replace_with(filling.note(start), json.dumps(note, allow_nan=False), filling.folder / NOTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise not_writable(filling.folder.parent, error, ANOTHER) from error
    return stop - start


def _kept(values: np.ndarray, dtype: np.dtype, where: str) -> tuple[np.ndarray, int]:
    """A sample as it is kept, and how many of its values the file should have and has not."""
    if values.dtype == dtype == np.uint8:
        return values, 0
    if dtype == np.uint8:
        wrong = ~((values >= 0) & (values <= 255) & (values == np.rint(values)))
        if wrong.any():
            raise UserError(f"{where}: {values[wrong][0]:g} is not a whole number from 0 to 255")
        return values, 0
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    absent = np.isinf(values)
    values[absent] = np.nan
    return (pack(values, where) if dtype == np.uint16 else values), int(absent.sum())


def _channels_present(array: np.ndarray) -> list[bool]:
    """Which channels of a piece have a value."""
    if array.dtype == np.uint8:
        return [True] * array.shape[-1]
    there = array != MISSING if array.dtype == np.uint16 else ~np.isnan(array)
    return there.reshape(-1, array.shape[-1]).any(axis=0).tolist()


def _summed_up(filling: Filling, notes: list[dict[str, Found] | None]) -> tuple[str, ...]:
    if None in notes:
        raise FileNotFoundError(filling.folder)
    notices = []
    for m, spec in filling.specs.items():
        present = np.any([note[m].present for note in notes], axis=0)
        if not present.all():
            empty = ", ".join(np.array(spec.channels)[~present])
            raise UserError(
                f"{filling.name}: {m} has no value at all in channel {empty}; leave it out, or see "
                "what its files have in the place of values"
            )
        absent, samples = (sum(getattr(n[m], k) for n in notes) for k in ("absent", "samples"))
        if absent:
            notices.append(
                f"{m} has no data or an infinite number in {absent:,} values of {samples:,} of "
                f"{len(filling.ids):,} samples: taken as missing"
            )
    return tuple(notices)
