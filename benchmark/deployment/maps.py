"""Maps: a model applied to every pixel of a stack of GeoTIFFs, window by window.

Threads read and predict, each a window of its own; GDAL and torch let others work meanwhile. A
window is as many whole blocks as `WINDOW_BYTES` hold, so that memory does not depend on the size of
the raster. What is predicted lies in a folder beside the map (`benchmark.deployment.layers.Part`)
until all of it is there: a command that was killed goes on from it, to the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from benchmark.deployment.checking import Trained, outside, sums, too_small, unmarked
from benchmark.deployment.fused import fused
from benchmark.deployment.layers import Layer, Part, layers
from benchmark.deployment.rasters import Reader, Stack, look, physical
from benchmark.errors import UserError, number_of
from benchmark.machine import cores
from benchmark.planning.code import file_code
from datasets.common import stand_ins

if TYPE_CHECKING:
    from rasterio.windows import Window

    from benchmark.deployment.model import Model

WINDOW_BYTES = 24 << 20
"""Of stored values that a thread reads at once."""

WINDOW_PIXELS = 1 << 17
"""At most in a window: so much of a core's work is lost by a kill."""

BATCH = 1024
"""Pixels that are predicted at once: what a net makes of them stays in a core's cache."""

UNPACKED = 128 << 20
"""Bytes of a block at most: a thread unpacks a whole one."""

MEMORY = 256 << 20
"""Bytes that all threads together hold of windows and blocks, unless their number is given."""

CACHE = (64 << 20, 256 << 20)
"""Bytes of unpacked blocks that GDAL keeps, at least and at most: else 5 % of memory."""

OPEN = 500
"""Files that are open at once, as far as it can be helped: each thread opens all."""

SAMPLES, ROUNDING = 64, 1e-4
"""Made-up samples by which what is faster is held against the model, and how far it may lie off, as
a probability or in standard deviations of the target."""

DECLARE = "declare it as the file's nodata, as with gdal_edit.py -a_nodata"
"""What to do about a number that stands for no value in a raster."""

SUFFIXES = (".tif", ".tiff")

SAID = ("method", "row", "version", "modality", "output", "missing", "dataset", "libraries")
"""What of a model's description a map says, too."""


@dataclass(frozen=True)
class Mapped:
    """What came of a map.

    paths: of its files. pixels: all of it. empty: those without any value, which are nodata in it.
    notices: what the user should know, a sentence each.
    """

    paths: tuple[Path, ...]
    pixels: int
    empty: int
    notices: tuple[str, ...]


def predict_map(
    model: Model,
    rasters: Sequence[Path],
    out: Path,
    bands: Sequence[str] = (),
    *,
    probabilities: bool = False,
    workers: int | None = None,
) -> Mapped:
    """Predict every pixel of a stack of GeoTIFFs, and write a map with the stack's CRS and place.

    rasters: files that lie on each other. Their bands are matched with the model's channels by
    their descriptions, or by ``bands`` (`benchmark.deployment.rasters`). A value is missing where
    it is the file's nodata, not finite, or masked; scale and offset of the file are applied. A
    pixel that has no value at all is nodata in the map; what else is missing is NaN to the model.

    out: of a regression a float32 band in the target's unit, nodata NaN. Of classes a band with
    the number of the likeliest, nodata 255 (uint16 and 65535 from 256 classes on); with
    ``probabilities`` a second file, ``<name>_probabilities``, has a float32 band for each class. Of
    labels that do not exclude each other (multi-label) such bands are the map.

    workers: threads (default: one a core, of many as many as 1 GiB of memory lets work). They
    decide nothing of what is written.

    Raises `UserError` in one sentence for rasters that the model cannot be applied to, and
    `NotWritableError` for a folder that cannot be written to; what is done stays.
    """
    import rasterio

    if out.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out {out}: a map is a GeoTIFF; give a name that ends with .tif")
    if probabilities and not model.task.is_classification:
        raise UserError(f"--probabilities: the map of a {model.task.kind} has no other values")
    todo = layers(model.task, out, probabilities)
    if over := {path.resolve() for path in rasters} & {layer.path.resolve() for layer in todo}:
        raise UserError(f"--out would replace the input {over.pop()}; give another name")
    with _process():
        stack = look(rasters, model.spec, bands)
        threads = _threads(stack, workers)
        plan = windows(stack)
        cache = min(max(CACHE[0], 2 * threads * stack.block_bytes), CACHE[1])
        with (
            rasterio.Env(GDAL_CACHEMAX=cache),
            Part(todo, stack.grid, _key(model, stack, plan, todo)) as part,
        ):
            resumed = sum(_pixels(plan[i]) for i in part.finished)
            left = [i for i in range(len(plan)) if i not in part.finished]
            with _progress(stack, resumed) as bar:
                for i, values, found in Predicting(model, stack, todo).over(plan, left, threads):
                    part.keep(i, plan[i], values, found)
                    bar.update(_pixels(plan[i]))
            part.write(_tags(model))
    return _summary(model, stack, part, resumed)


def windows(stack: Stack) -> list[Window]:
    """The raster in pieces: of whole blocks where they are small enough, else pieces of blocks.

    They do not depend on the machine, as batches begin anew with each.
    """
    height, width = stack.grid.height, stack.grid.width
    block = min(stack.block[0], height), min(stack.block[1], width)
    most = WINDOW_BYTES // (len(stack.bands) * stack.dtype.itemsize)
    most = max(BATCH, min(most, WINDOW_PIXELS))
    if math.prod(block) > most:
        columns = min(block[1], most)
        size = most // columns, columns
        return [piece for each in _cut(0, 0, height, width, *block) for piece in _inner(each, size)]
    across = min(math.ceil(width / block[1]), most // math.prod(block))
    columns = min(across * block[1], width)
    down = max(1, most // (block[0] * columns))
    return list(_cut(0, 0, height, width, down * block[0], columns))


def _cut(top: int, left: int, height: int, width: int, rows: int, columns: int) -> Iterator[Window]:
    from rasterio.windows import Window

    for row in range(0, height, rows):
        for column in range(0, width, columns):
            size = min(columns, width - column), min(rows, height - row)
            yield Window(left + column, top + row, *size)


def _inner(window: Window, size: tuple[int, int]) -> Iterator[Window]:
    return _cut(window.row_off, window.col_off, window.height, window.width, *size)


def _pixels(window: Window) -> int:
    return window.height * window.width


def _threads(stack: Stack, wanted: int | None) -> int:
    """As many as are wanted, or as cores and `MEMORY` allow. `UserError` for blocks too large."""
    if stack.block_bytes > UNPACKED:
        height, width = stack.block
        raise UserError(
            f"{stack.paths[0]} and what lies on it are stored in blocks of {height} × {width} "
            f"pixels, {stack.block_bytes >> 20} MiB each, too large to be read piece by piece; "
            "rewrite them with tiles, as in gdal_translate -co TILED=YES IN OUT"
        )
    if wanted is not None:
        if wanted < 1:
            raise UserError("--workers must be at least 1")
        return wanted
    of_memory = MEMORY // (WINDOW_BYTES + 2 * stack.block_bytes)
    return max(1, min(cores(), of_memory, OPEN // len(stack.paths)))


@contextmanager
def _process() -> Iterator[None]:
    """torch's operations are not parallel themselves: windows are. That a raster has no place on
    the map is no fault here."""
    from rasterio.errors import NotGeoreferencedWarning

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
            yield
    finally:
        torch.set_num_threads(threads)


class Predicting:
    """Reads windows and predicts their pixels, in threads."""

    def __init__(self, model: Model, stack: Stack, layers: Sequence[Layer]) -> None:
        self.stack, self.layers, self.task = stack, layers, model.task
        self.net = fastest(model)
        self.trained = Trained(*model.ranges[model.spec.name])
        self._own = local()  # GDAL's files are not for several threads
        self._readers: list[Reader] = []

    def over(
        self, plan: Sequence[Window], numbers: Sequence[int], threads: int
    ) -> Iterator[tuple[int, list[np.ndarray], dict[str, Any]]]:
        """Number, values by layer (pixels, bands) and findings of some windows, in their order."""
        waiting: deque[tuple[int, Any]] = deque()
        pool = ThreadPoolExecutor(threads, "map")
        try:
            for i in numbers:
                waiting.append((i, pool.submit(self.window, plan[i])))
                if len(waiting) > threads:
                    number, done = waiting.popleft()
                    yield number, *done.result()
            for number, done in waiting:
                yield number, *done.result()
        finally:
            pool.shutdown(cancel_futures=True)
            for reader in self._readers:
                reader.close()

    def window(self, window: Window) -> tuple[list[np.ndarray], dict[str, Any]]:
        """Values by layer (pixels, bands), and how many pixels have no value, and so on."""
        if not hasattr(self._own, "reader"):
            self._own.reader = Reader(self.stack)
            self._readers.append(self._own.reader)
        stored, there = self._own.reader.stored(window)
        pixels = stored.shape[1]
        values = [layer.empty(pixels) for layer in self.layers]
        empty = unfinite = 0
        beyond, marks = np.zeros(self.stack.shape[-1], np.int64), stand_ins.count(stored[:0])
        seen = np.zeros((2, self.stack.shape[-1]))
        for start in range(0, pixels, BATCH):
            rows = slice(start, start + BATCH)
            x = physical(self.stack, stored[:, rows], None if there is None else there[:, rows])
            some = np.flatnonzero(~np.isnan(x).all(axis=1))
            empty += len(x) - len(some)
            if not len(some):
                continue
            x = x.reshape(-1, *self.stack.shape)
            odd = self.trained.look(x, stored[:, rows].T.reshape(x.shape))
            beyond, marks = beyond + odd[0], marks + odd[1]
            if len(some) < len(x):
                x = x[some]
            seen += sums(x)
            with torch.inference_mode():
                predicted = self.net(torch.from_numpy(x))
            predicted = predicted.float().numpy()
            finite = np.isfinite(predicted.reshape(len(predicted), -1)).all(axis=1)
            unfinite += int((~finite).sum())
            for layer, each in zip(self.layers, values, strict=True):
                each[start + some[finite]] = layer.of(predicted[finite])
        arrays = {"beyond": beyond, "marks": marks, "sums": seen}
        listed = {name: each.tolist() for name, each in arrays.items()}
        return values, {"empty": empty, "unfinite": unfinite, **listed}


def fastest(model: Model) -> nn.Module:
    """What predicts as a model's net does, to `ROUNDING`, and fastest here: `fused`, if it does."""
    if any(True for _ in model.net.parameters()):
        net = fused(model.net)
        if _apart(model, net) <= ROUNDING:
            return net
    return model.net  # a graph of onnxruntime is fast as it is


def _apart(model: Model, net: nn.Module) -> float:
    """How far a net's predictions lie from those of a model's on made-up samples, of which values
    are missing; as probabilities, or in standard deviations of the target."""
    x = _made_up(model)
    with torch.inference_mode():
        apart = (net(x) - model.net(x)).abs().max()
    return float(apart) / (model.task.target_std if model.task.kind == "regression" else 1.0)


def _made_up(model: Model) -> torch.Tensor:
    """(SAMPLES, *shape) within the range of training, the same with every call."""
    low, high = (np.nan_to_num(each) for each in model.ranges[model.spec.name])
    chance = np.random.default_rng(0)
    x = chance.uniform(low, high, (SAMPLES, *model.spec.shape)).astype(np.float32)
    x[chance.random(x.shape) < 0.1] = np.nan
    return torch.from_numpy(x)


def _key(model: Model, stack: Stack, plan: Sequence[Window], todo: Sequence[Layer]) -> str:
    """Of all that decides the values of a map: what was begun with another one is of no use."""
    with torch.inference_mode():  # a graph of onnxruntime does not show its weights
        predicted = model.net(_made_up(model)).numpy()
    digest = hashlib.sha256(predicted.tobytes())
    for name, value in sorted(model.net.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    files = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in stack.paths]
    words = [files, stack, len(plan), BATCH, [(layer.path.name, layer.names) for layer in todo]]
    about = json.dumps(model.about, sort_keys=True, allow_nan=False)
    words += [about, torch.__version__, file_code(Path(__file__))]
    digest.update(repr(words).encode())
    return digest.hexdigest()


@contextmanager
def _progress(stack: Stack, resumed: int) -> Iterator[Any]:
    from tqdm import tqdm

    total = stack.grid.height * stack.grid.width
    with tqdm(total=total, initial=resumed, unit="px", unit_scale=True, smoothing=0.05) as bar:
        yield bar


def _tags(model: Model) -> dict[str, str]:
    """What the files say of themselves; nothing of when and where, so that bytes are the same."""
    about = model.about
    tags = {name: about[name] for name in SAID if name in about}
    tags["runs"] = [run["id"] for run in about.get("runs", ())]
    if model.task.class_names:
        tags["classes"] = list(model.task.class_names)
    if model.task.unit:
        tags["unit"] = model.task.unit
    return {
        name.upper(): v
        if isinstance(v, str)
        else json.dumps(v, ensure_ascii=False, allow_nan=False)
        for name, v in tags.items()
    }


def _summary(model: Model, stack: Stack, part: Part, resumed: int) -> Mapped:
    found = part.finished.values()
    total = stack.grid.height * stack.grid.width
    empty, unfinite = (sum(each[name] for each in found) for name in ("empty", "unfinite"))
    notices, pixels = [*stack.notices], number_of(total, "pixel")
    if part.restarted:
        notices.append("what had been begun of this map was of another model or input: begun anew")
    if resumed:
        notices.append(f"{resumed:,} of {pixels} were there from before")
    if empty:
        notices.append(f"{empty:,} of {pixels} have no value in the input: nodata")
    if unfinite:
        notices.append(f"{unfinite:,} of {pixels} have predictions that are not finite: nodata")
    beyond, marks, seen = (
        np.sum([each[name] for each in found], axis=0) for name in ("beyond", "marks", "sums")
    )
    notices += unmarked(model.spec, marks, DECLARE)
    notices += outside(model.spec, beyond)
    notices += too_small(model.spec, seen, model.sizes[model.spec.name])
    return Mapped(tuple(layer.path for layer in part.layers), total, empty, tuple(notices))
