"""Preparing data at full size: time, memory, growth, and what a kill costs.

The files are generated, in their publishers' layout; making them is not counted.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.planning.split import Fold
from benchmark.training.data import StandardisedModality, channel_statistics, fold_data
from benchmark.training.memory import keep_large_blocks
from datasets.common import prepared
from datasets.common.contract import View
from tests.layouts import ADAPTERS, opened
from tests.perf.preparing import Preparing
from tests.survival import wait_until

pytestmark = pytest.mark.perf

LABELS, POINTS = 95_000, 65_000
"""Of CropHarvest as published; points are labels with a features file."""

TILES = (500, 1_000, 2_000, 4_000)
PUBLISHED_TILES = 50_381


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Gone after the tests: pytest would keep several gigabytes of the last three sessions."""
    with tempfile.TemporaryDirectory(prefix="perf-data-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def points(folder) -> Path:
    """CropHarvest in its full size."""
    native = folder / "cropharvest"
    native.mkdir()
    ADAPTERS["cropharvest_binary"].generate(native, seed=0, samples=LABELS)
    names = sorted((native / "features" / "arrays").iterdir(), key=index)
    for path in names[POINTS:]:
        path.unlink()
    assert len(os.listdir(native / "features" / "arrays")) == POINTS
    return native


def index(path: Path) -> int:
    return int(path.name.split("_")[0])


def test_points_are_prepared_in_time_and_taken_up_after_a_kill(points, folder, row):
    whole = Preparing("cropharvest_binary", points, folder / "whole").watched()
    seconds, again = whole["seconds"], statistics.median(whole["again"])
    name = f"CropHarvest, {POINTS:,} files and {LABELS:,} labels"
    row(f"{name}: prepared", "at most 90 s", f"{seconds:.1f} s")
    row(f"{name}: opened again", "at most 1 s", f"{again:.2f} s")

    killed = Preparing("cropharvest_binary", points, folder / "killed")
    notes = folder / "killed" / "prepared"
    wait_until(lambda: len(list(notes.glob(".*.part/pieces/*.json"))) > 200)
    killed.process.kill()
    killed.process.wait()
    time.sleep(2)  # its workers end by themselves
    (part,) = notes.iterdir()
    kept = 128 * len(os.listdir(part / "pieces")) / whole["samples"]
    resumed = Preparing("cropharvest_binary", points, folder / "killed").watched()
    same = resumed["fingerprint"] == whole["fingerprint"]
    told = f"{kept:.0%} were kept, the rest took {resumed['seconds']:.1f} s"
    row(f"{name}: killed, run again", "goes on, same bytes", f"{told}, {same=}")
    assert seconds <= 90 and again <= 1 and same and 0.3 < kept < 1


def test_labels_are_joined_in_linear_time(points, folder, row):
    import json

    labels = json.loads((points / "labels.geojson").read_bytes())
    natives = {share: folder / f"share{share}" for share in (4, 2, 1)}
    for share, native in natives.items():
        (native / "features" / "arrays").mkdir(parents=True)
        features = labels["features"][: LABELS // share]
        (native / "labels.geojson").write_text(json.dumps({**labels, "features": features}))
        for path in (points / "features" / "arrays").iterdir():
            if index(path) < POINTS // share:
                os.link(path, native / "features" / "arrays" / path.name)
    rounds = [
        [cpu(lambda n=native: opened("cropharvest_binary", n), 1)[0] for native in natives.values()]
        for _ in range(7)
    ]
    for native in natives.values():
        shutil.rmtree(native)
    told = ", ".join(f"{statistics.median(each):.2f} s" for each in zip(*rounds, strict=True))
    row("CropHarvest: labels joined, at 1/4, 1/2 and 1 of the size", "1 / (1/4) below 6", told)
    assert statistics.median(whole / quarter for quarter, _, whole in rounds) < 6  # caches


def cpu(work, times: int) -> list[float]:
    """Process seconds of each of some repetitions."""
    measured = []
    for _ in range(times):
        started = time.process_time()
        work()
        measured.append(time.process_time() - started)
    return measured


@pytest.fixture(scope="module")
def tiles(folder) -> Path:
    """TreeSatAI-TS, as many tiles as the largest size that is measured."""
    native = folder / "tiles"
    native.mkdir()
    ADAPTERS["treesatai_ts"].generate(native, seed=0, samples=TILES[-1])
    return native


def some(tiles: Path, share: float, to: Path) -> Path:
    """A part of the tiles in a folder of their own, by links."""
    for name in ("labels", "split", "aerial", "sentinel-ts"):
        (to / name).mkdir(parents=True)
    (labels,) = (tiles / "labels").iterdir()
    os.link(labels, to / "labels" / labels.name)
    chosen = set()
    for part in (tiles / "split").iterdir():
        names = part.read_text().split()
        names = names[: round(share * len(names))]
        (to / "split" / part.name).write_text("\n".join(names) + "\n")
        chosen |= {name.removesuffix(".tif") for name in names}
    for kind in ("aerial", "sentinel-ts"):
        for path in (tiles / kind).iterdir():
            if path.stem in chosen or path.stem[:-5] in chosen:
                os.link(path, to / kind / path.name)
    return to


def test_tiles_are_prepared_in_flat_memory_and_time_each(tiles, folder, row):
    per_tile, peaks, size = [], [], 0.0
    for count in TILES:
        native = some(tiles, count / TILES[-1], folder / f"tiles{count}")
        for kind in ("aerial", "sentinel-ts"):
            for path in (native / kind).iterdir():
                path.read_bytes()  # a warm page cache
        result = Preparing("treesatai_ts", native, folder / f"cache{count}").watched()
        per_tile.append(result["seconds"] / result["samples"])
        peaks.append(result["peak"] / 2**30)
        size = result["bytes"] / result["samples"]
        shutil.rmtree(native)
        if count != TILES[-1]:
            shutil.rmtree(folder / f"cache{count}")
    sizes = ", ".join(f"{count:,}" for count in TILES)
    times = ", ".join(f"{1e3 * seconds:.1f} ms" for seconds in per_tile)
    row(f"TreeSatAI-TS: prepared, per tile of {sizes}", "flat", times)
    memory = ", ".join(f"{peak:.2f}" for peak in peaks)
    row(f"TreeSatAI-TS: memory of all processes, {sizes} tiles", "at most 2 GiB", f"{memory} GiB")
    minutes, disk = PUBLISHED_TILES * per_tile[-1] / 60, PUBLISHED_TILES * size / 1e9
    told = f"{minutes:.0f} min, {disk:.0f} GB"
    row(f"TreeSatAI-TS: all {PUBLISHED_TILES:,} tiles, worked out", "none", told)
    assert max(peaks) <= 2 and per_tile[-1] <= 1.25 * per_tile[0]


def test_batches_come_faster_from_the_maps_than_from_files(tiles, folder, report):
    adapter, batch = ADAPTERS["treesatai_ts"], 32
    native = some(tiles, 512 / TILES[-1], folder / "read")
    modalities = adapter.default_modalities
    data, _ = prepared.prepare(adapter, native, "real", modalities, View(), folder / "read-cache")
    order = np.random.default_rng(0).permutation(len(data))
    everything = Fold(0, train=order, val=order, test=order)
    keep_large_blocks()  # as every process that runs jobs does
    cpu_device = torch.device("cpu")
    part = fold_data(data, everything, "training", cpu_device).train
    statistics_of = {m: channel_statistics(data.x[m], order) for m in modalities}
    files = opened("treesatai_ts", native)
    mapped, read = [], []
    for start in range(0, len(data) - batch, batch):
        index = torch.arange(start, start + batch)
        mapped += cpu(lambda i=index: part.batch(i), 1)

        def standardised(samples: np.ndarray = order[start : start + batch]) -> None:
            read = [files.read(i) for i in samples]
            for m in modalities:
                values = np.stack([one[m] for one in read])
                StandardisedModality(values, *statistics_of[m], cpu_device)[torch.arange(batch)]

        read += cpu(standardised, 1)
    figure = "TreeSatAI-TS: a batch, standardised, from files / from the maps"
    assert report(figure, "at least 3", read, mapped) >= 3
