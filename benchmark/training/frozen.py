"""Frozen encoders: their features, computed once.

    <cache>/features/<dataset>-<key>/         x.npy (N, F) float32, and meta.json
    <cache>/features/.<dataset>-<key>.part/   the same, still being filled

To methods a modality whose encoder is frozen is a vector of its features: they train on it like on
any other modality, standardised by each fold's training part. The features themselves see the
modality standardised by the statistics that the encoder's weights were trained with, so that they
are the same in every fold. Where there are none (random weights, timm), those of the training part
take their place, and there are features of each training part. No protocol augments images: what
an encoder makes of a sample is always the same. It is in eval mode, without dropout and with its
own statistics of BatchNorm, and in float32, whatever trains.

A key says all that features depend on. Pieces are noted when they are on disk: a process that was
killed is taken up where it stopped, and several that begin together share the work.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmark.errors import NotWritableError, UserError, not_writable
from benchmark.planning.code import code_of
from benchmark.planning.encoders import as_features, weights_are_here
from benchmark.problem import ModalitySpec
from benchmark.seeds import stream
from benchmark.training.data import StandardisedModality, channel_statistics
from benchmark.training.fit import StageLog
from benchmark.training.flops import FlopCounter
from benchmark.writers import sync
from datasets.common.contract import EODataset
from datasets.common.filling import ANOTHER, NOTES, appearing, replace_with
from methods.common.encoders import (
    FROZEN,
    SHA256,
    Encoders,
    Statistics,
    backbone_of,
    build_backbone,
)

FORM = 1
"""Of a folder of features; raised when what stands in it changes."""

PIECE = 32
"""Samples that are encoded, written and noted at once."""

LIBRARIES = ("torch", "timm", "torchgeo", "torchvision")
"""What decides random weights, and what a model of their making is."""


@dataclass(frozen=True)
class Frozen:
    """The features of a modality, on disk.

    width: F. parameters: of the encoder. flops: of one sample. seconds: that all samples took.
    """

    folder: Path
    name: str
    width: int
    parameters: int
    flops: int
    seconds: float

    @property
    def x(self) -> np.ndarray:
        """(N, F) float32, a memory map."""
        return np.load(self.folder / "x.npy", mmap_mode="r", allow_pickle=False)

    def log(self, m: str, samples: int) -> StageLog:
        """For the record, as an artefact that runs share."""
        return StageLog(
            *(f"features of {m}", self.name, [m]),
            artefact=True,
            seconds=self.seconds,
            flops=self.flops * samples,
            stopped="fitted",
        )


def frozen_options(encoders: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Modality → options of its encoder, of those that are frozen."""
    return {m: o for m, o in encoders.get("modalities", {}).items() if o.get(FROZEN)}


def features(
    dataset: EODataset,
    encoders: Mapping[str, Any],
    training: np.ndarray,
    cache: Path,
    device: torch.device,
) -> dict[str, Frozen]:
    """The features of all modalities whose encoder is frozen, computed unless they are there.

    training: numbers of the samples of the training part. Raises `UserError` for weights that are
    not those that the options state, and for features that are not finite.
    """
    found = {}
    for m, options in frozen_options(encoders).items():
        spec = dataset.modalities[m]
        statistics = statistics_of(spec, options, dataset.x[m], training)
        folder = cache / "features" / f"{dataset.name}-{_key(dataset, spec, options, statistics)}"
        one = _load(folder)
        if one is None:
            _make(dataset, spec, options, statistics, folder, device)
            one = _load(folder)
        if one is None:
            raise UserError(f"{folder}: damaged as soon as it was written; look at the disk")
        found[m] = one
    return found


def statistics_of(
    spec: ModalitySpec, options: Mapping[str, Any], values: Any, training: np.ndarray
) -> Statistics:
    """By what a modality is standardised before a frozen encoder sees it."""
    backbone, own = backbone_of(spec.kind, options)
    known = backbone.statistics(spec, own)
    if known is None:
        return channel_statistics(values, training)
    mean, std = known  # NaN: of channels that it does not see
    return np.nan_to_num(mean, nan=0.0), np.nan_to_num(std, nan=1.0)


def known_statistics(
    dataset: EODataset, encoders: Mapping[str, Any], found: Mapping[str, Frozen]
) -> dict[str, Statistics]:
    """Modality → the statistics that the weights of its encoder were trained with, if it is trained
    further here. dataset: as methods see it. found: what is frozen."""
    factory = Encoders(**encoders)
    return {
        m: known
        for m, spec in dataset.modalities.items()
        if m not in found and (known := factory.statistics(spec))
    }


def with_features(dataset: EODataset, found: Mapping[str, Frozen]) -> EODataset:
    """The dataset as methods see it: features in the place of modalities."""
    arrays = {m: f.x for m, f in found.items()}
    specs = {m: as_features(dataset.modalities[m], f.width) for m, f in found.items()}
    return replace(dataset, modalities={**dataset.modalities, **specs}, x={**dataset.x, **arrays})


def encoder(spec: ModalitySpec, options: Mapping[str, Any]) -> nn.Module:
    """The frozen encoder itself: x_m, standardised for it, (B, *shape) → (B, F).

    Random weights are the same in every fold and seed. Raises `UserError` for weights other than
    those that the options state.
    """
    if not weights_are_here(options):
        raise UserError(
            f"the weights of {spec.name} are not those that it was planned with (sha256 "
            f"{options[SHA256][:12]}…): give the command again"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream("frozen", spec.name))
        net = build_backbone(spec, options)
    return net.requires_grad_(False).eval()


def _key(
    dataset: EODataset, spec: ModalitySpec, options: Mapping[str, Any], statistics: Statistics
) -> str:
    """Of all that features depend on: the data, the modality, the encoder and what made it."""
    backbone, _ = backbone_of(spec.kind, options)
    versions = {name: _version(name) for name in LIBRARIES}
    facts = [FORM, dataset.fingerprint, spec.name, spec.kind, spec.shape, spec.channels, spec.units]
    facts += [dict(options), code_of(backbone), versions]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, allow_nan=False).encode())
    for values in statistics:
        digest.update(np.asarray(values, dtype=np.float64).tobytes())
    return digest.hexdigest()[:16]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _load(folder: Path) -> Frozen | None:
    """What lies in a folder; one that is damaged is moved aside."""
    if not folder.is_dir():
        return None
    try:
        meta = json.loads((folder / "meta.json").read_bytes())
        if (folder / "x.npy").stat().st_size != meta.pop("size"):
            raise ValueError("x.npy has not its size")
        shutil.rmtree(folder / NOTES, ignore_errors=True)  # of a process killed at the end
        return Frozen(folder, **meta)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        with suppress(FileNotFoundError):  # another process was quicker
            folder.rename(folder.with_name(f"{folder.name}.damaged-{uuid.uuid4().hex[:8]}"))
        return None


def _make(
    dataset: EODataset,
    spec: ModalitySpec,
    options: Mapping[str, Any],
    statistics: Statistics,
    folder: Path,
    device: torch.device,
) -> None:
    """Fill a partial folder and give it its name; other processes may do the same meanwhile."""
    net = encoder(spec, options).to(device)
    x = StandardisedModality(dataset.x[spec.name], *statistics, device)
    with torch.no_grad(), FlopCounter() as counter:
        width = net(x[torch.zeros(1, dtype=torch.long)]).shape[1]
    part = folder.with_name(f".{folder.name}.part")  # the same for all who fill it
    starts = list(range(0, len(dataset), PIECE))
    random.Random(os.getpid()).shuffle(starts)  # whoever comes second begins elsewhere
    try:
        while not folder.is_dir():
            try:
                _begin(part, len(dataset), width)
                for start in starts:
                    _fill(net, x, part, start, len(dataset), spec.name)
                notes = [json.loads(_note(part, start).read_bytes()) for start in starts]
                meta = {
                    "name": str(options.get("model", "")),
                    "width": width,
                    "parameters": sum(p.numel() for p in net.parameters()),
                    "flops": counter.total,
                    "seconds": sum(note["seconds"] for note in notes),
                    "size": (part / "x.npy").stat().st_size,
                }
                replace_with(part / "meta.json", json.dumps(meta, allow_nan=False), part / NOTES)
                sync(part / "meta.json")
                part.rename(folder)
                sync(folder.parent)
            except FileNotFoundError:  # another process has finished the folder and renamed it
                continue
    except OSError as error:
        if not folder.is_dir():  # else another process was quicker: the name is taken
            raise not_writable(folder.parent, error, ANOTHER) from error
    shutil.rmtree(folder / NOTES, ignore_errors=True)
    shutil.rmtree(part, ignore_errors=True)


def _begin(part: Path, samples: int, width: int) -> None:
    """The partial folder with an array of full size, unless there is a sound one."""
    if part.is_dir():
        with suppress(OSError, ValueError):
            array = np.load(part / "x.npy", mmap_mode="r", allow_pickle=False)
            if array.shape == (samples, width) and (part / NOTES).is_dir():
                return
        shutil.rmtree(part, ignore_errors=True)
    with appearing(part) as own:
        need, free = 4e-9 * samples * width, shutil.disk_usage(own).free / 1e9
        if need > free:
            raise NotWritableError(
                f"{part.parent}: {need:.1f} GB are needed and {free:.1f} GB are free; {ANOTHER}"
            )
        (own / NOTES).mkdir()
        np.lib.format.open_memmap(
            own / "x.npy", mode="w+", dtype=np.float32, shape=(samples, width)
        )


def _note(part: Path, start: int) -> Path:
    return part / NOTES / f"{start}.json"


def _fill(
    net: nn.Module, x: StandardisedModality, part: Path, start: int, samples: int, m: str
) -> None:
    """Encode a piece, write it, note it; nothing to do if another process has."""
    if _note(part, start).is_file():
        return
    started = time.perf_counter()
    stop = min(start + PIECE, samples)
    with torch.inference_mode():
        z = net(x[torch.arange(start, stop)]).float().cpu().numpy()
    bad = int((~np.isfinite(z).all(axis=1)).sum())
    if bad:
        raise UserError(f"the frozen encoder of {m} gives no finite features for {bad} samples")
    with open(part / "x.npy", "r+b") as file:
        header = os.fstat(file.fileno()).st_size - samples * z.itemsize * z.shape[1]
        file.seek(header + start * z.itemsize * z.shape[1])
        file.write(np.ascontiguousarray(z).data.cast("B"))
        file.flush()
        os.fsync(file.fileno())  # before the note: it must not outlive its piece
    note = json.dumps({"seconds": time.perf_counter() - started}, allow_nan=False)
    replace_with(_note(part, start), note, part / NOTES)
