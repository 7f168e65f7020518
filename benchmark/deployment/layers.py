"""The files of a map: their bands, what is predicted of them so far, and how they are written."""

from __future__ import annotations

import glob
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from benchmark.errors import UserError, not_writable
from benchmark.problem import TaskSpec
from benchmark.writers import part_of, sweep, sync

if TYPE_CHECKING:
    from rasterio.windows import Window

    from benchmark.deployment.rasters import Grid

TILE = 256
"""Rows and columns of a tile of what is written."""

PIECE = 32 << 20
"""Bytes that are written at once, about."""


@dataclass(frozen=True)
class Layer:
    """A file of a map.

    names: of its bands. nodata: its value where there is none. of: predictions of the model (n, C)
    or (n,) → (n, bands) values.
    """

    path: Path
    dtype: np.dtype
    names: tuple[str, ...]
    nodata: float
    of: Callable[[np.ndarray], np.ndarray]

    @property
    def pixel_bytes(self) -> int:
        return len(self.names) * self.dtype.itemsize

    def empty(self, pixels: int) -> np.ndarray:
        """(pixels, bands) without any value."""
        return np.full((pixels, len(self.names)), self.nodata, self.dtype)


def layers(task: TaskSpec, out: Path, probabilities: bool) -> list[Layer]:
    """The files of a map of a task, of which ``out`` is the first."""
    real = np.dtype(np.float32)
    if task.kind == "regression":
        return [Layer(out, real, (task.unit or "value",), np.nan, lambda p: p[:, None])]
    names = task.class_names or tuple(str(k) for k in range(task.outputs))
    if task.kind == "multilabel":
        return [Layer(out, real, names, np.nan, lambda p: p)]
    kind = np.dtype(np.uint8 if task.outputs <= np.iinfo(np.uint8).max else np.uint16)
    classes = Layer(
        out, kind, ("class",), np.iinfo(kind).max, lambda p: p.argmax(axis=1)[:, None].astype(kind)
    )
    beside = out.with_name(f"{out.stem}_probabilities{out.suffix}")
    return [classes, Layer(beside, real, names, np.nan, lambda p: p)][: 1 + probabilities]


class Part:
    """What is predicted so far of a map, in a folder ``.<name>.part`` beside it.

    It has the values of each layer as they lie on the raster, (height, width, bands), and a line in
    ``finished`` for each window that is there, in the order in which they were done. key: of all
    that decides the values; what was begun with another one is begun anew, as `restarted` says.

    Raises `UserError` if another process is at it, and `NotWritableError`.
    """

    def __init__(self, layers: Sequence[Layer], grid: Grid, key: str) -> None:
        self.layers, self.grid = layers, grid
        self.folder = layers[0].path.with_name(f".{layers[0].path.name}.part")
        self.finished: dict[int, dict[str, Any]] = {}
        self.restarted = False
        self._files: list[IO[bytes]] = []
        self._values: list[IO[bytes]] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._notes = (self.folder / "finished").open("a+b")
            self._files.append(self._notes)
            self._lock()
            lines = self._lines()
            if lines[:1] != [{"key": key}]:
                self.restarted = bool(lines)
                self._notes.truncate(0)
                self._note({"key": key})
            self.finished = {line.pop("window"): line for line in lines[1:] if not self.restarted}
            for i in range(len(layers)):
                path = self.folder / f"values{i}"
                path.touch()
                self._values.append(path.open("r+b"))
            self._files += self._values
        except OSError as error:
            self.__exit__()
            raise not_writable(self.folder.parent, error, "choose another --out") from error
        except UserError:
            self.__exit__()
            raise

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            with suppress(OSError):
                file.close()

    def _lock(self) -> None:
        """It holds until the file is closed, or the process ends in whatever way."""
        try:
            import fcntl

            fcntl.flock(self._notes, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{self.layers[0].path}: another process is writing this map; wait for it, or give "
                "another --out"
            ) from None
        except (ImportError, OSError):  # there are systems and disks without locks
            pass

    def _lines(self) -> list[dict[str, Any]]:
        """The notes, but for a last one that was cut short."""
        self._notes.seek(0)
        whole, end, _ = self._notes.read().rpartition(b"\n")
        self._notes.truncate(len(whole) + len(end))
        with suppress(ValueError):
            return [json.loads(line) for line in whole.splitlines()]
        return []

    def _note(self, line: Mapping[str, Any]) -> None:
        self._notes.write(f"{json.dumps(line, allow_nan=False)}\n".encode())
        self._notes.flush()
        os.fsync(self._notes.fileno())

    def keep(
        self, number: int, window: Window, values: Sequence[np.ndarray], found: Mapping[str, Any]
    ) -> None:
        """Have a window on disk: of each layer (pixels, bands), and what else was found there."""
        try:
            for file, layer, each in zip(self._values, self.layers, values, strict=True):
                rows = each.reshape(int(window.height), -1)
                for row, content in enumerate(rows, start=int(window.row_off)):
                    at = (row * self.grid.width + int(window.col_off)) * layer.pixel_bytes
                    os.pwrite(file.fileno(), content.tobytes(), at)
                os.fsync(file.fileno())
            self._note({"window": number, **found})
        except OSError as error:
            raise not_writable(self.folder.parent, error) from error
        self.finished[number] = dict(found)

    def write(self, tags: Mapping[str, str]) -> None:
        """Make the files of the map of what is there, and remove the folder.

        GDAL writes on a full disk without an error: what it has written is read and compared.
        """
        for i in range(len(self.layers)):
            self._write(i, tags)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, number: int, tags: Mapping[str, str]) -> None:
        import rasterio
        from rasterio.errors import RasterioError

        layer, grid = self.layers[number], self.grid
        sweep(layer.path.parent, f".{glob.escape(layer.path.name)}.*.part")
        part = layer.path.with_name(part_of(layer.path.name))
        form = {
            **{"driver": "GTiff", "dtype": layer.dtype, "count": len(layer.names)},
            **{"width": grid.width, "height": grid.height},
            **{"crs": grid.crs, "transform": grid.transform, "nodata": layer.nodata},
            **{"tiled": True, "blockxsize": TILE, "blockysize": TILE, "interleave": "band"},
            **{"compress": "deflate", "predictor": 3 if layer.dtype.kind == "f" else 2},
            **{"bigtiff": "if_safer", "photometric": "minisblack", "alpha": "unspecified"},
        }
        try:
            with rasterio.open(part, "w", **form) as file:
                file.update_tags(**tags)
                for band, name in enumerate(layer.names, start=1):
                    file.set_band_description(band, name)
                for window, values in self._pieces(number):
                    file.write(values, window=window)
            sync(part)
            with rasterio.open(part) as file:
                for window, values in self._pieces(number):
                    if not np.array_equal(file.read(window=window), values, equal_nan=True):
                        raise OSError("it holds other values than were written, is the disk full?")
            part.replace(layer.path)
            sync(layer.path.parent)
        except (RasterioError, OSError) as error:
            reason = error if isinstance(error, OSError) else OSError(str(error))
            raise not_writable(layer.path.parent, reason) from error
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _pieces(self, number: int) -> Iterator[tuple[Window, np.ndarray]]:
        """All of a layer, in windows of whole tiles: (bands, rows, columns) each."""
        from rasterio.windows import Window

        layer, grid = self.layers[number], self.grid
        across = max(TILE, PIECE // (TILE * layer.pixel_bytes) // TILE * TILE)
        for top in range(0, grid.height, TILE):
            for left in range(0, grid.width, across):
                rows, columns = min(TILE, grid.height - top), min(across, grid.width - left)
                piece = np.empty((rows, columns, len(layer.names)), layer.dtype)
                for row in range(rows):
                    at = ((top + row) * grid.width + left) * layer.pixel_bytes
                    content = os.pread(self._values[number].fileno(), piece[row].nbytes, at)
                    piece[row] = np.frombuffer(content, layer.dtype).reshape(piece[row].shape)
                yield Window(left, top, columns, rows), np.moveaxis(piece, -1, 0)
