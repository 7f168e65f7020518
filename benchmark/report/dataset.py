"""What is understood of a dataset, in words and numbers: `data describe`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tabulate import tabulate

from benchmark.errors import UserError
from benchmark.planning.protocol import Protocol
from benchmark.planning.split import Fold, divided_groups, few_tested, folds
from datasets.common.contract import PARTS, Adapter, Catalogue, EODataset

CHUNK = 256
"""Samples that are looked at together."""

MOST_CLASSES = 40
"""Classes that are listed, those with the most samples."""


@dataclass(frozen=True)
class Channel:
    """What a channel holds, over all samples: its range, and how many of its values are missing."""

    name: str
    low: float
    high: float
    missing: int
    values: int


def channels(dataset: EODataset, m: str) -> list[Channel]:
    """Each channel of a modality over all samples."""
    array, spec = dataset.x[m], dataset.modalities[m]
    low, high = np.full(spec.shape[-1], np.inf), np.full(spec.shape[-1], -np.inf)
    missing, values = np.zeros(spec.shape[-1], int), 0
    for start in range(0, len(dataset), CHUNK):
        part = array[start : start + CHUNK].reshape(-1, spec.shape[-1])
        values += len(part)
        missing += np.isnan(part).sum(axis=0)
        low = np.fmin(low, np.fmin.reduce(part, axis=0))
        high = np.fmax(high, np.fmax.reduce(part, axis=0))
    return [
        Channel(name, float(low[i]), float(high[i]), int(missing[i]), values)
        for i, name in enumerate(spec.channels)
    ]


def described(
    adapter: Adapter, dataset: EODataset, catalogue: Catalogue, protocol: Protocol
) -> Iterator[str]:
    """Paragraphs on a prepared dataset."""
    facts = [("licence", adapter.licence), ("citation", adapter.citation), ("from", adapter.url)]
    facts += [(m, adapter.notes[m]) for m in dataset.modalities if m in adapter.notes]
    known = [f"{what}: {fact}" for what, fact in facts if fact]
    yield "\n".join([f"{dataset.name}: {adapter.title}", *known])
    split = _split(dataset)
    yield "\n".join([_target(dataset), *split, _groups(dataset), *_places(catalogue)])
    if dataset.task.kind != "regression":
        yield _classes(dataset)
    yield _modalities(dataset, catalogue)
    yield _folds(dataset, protocol)


def _target(dataset: EODataset) -> str:
    task, y = dataset.task, dataset.y
    if task.kind == "regression":
        return (
            f"target: regression{f' in {task.unit}' if task.unit else ''}, {y.min():.6g} to "
            f"{y.max():.6g}, mean {y.mean():.6g}, standard deviation {y.std():.6g}"
        )
    return f"target: {task.kind}, {task.outputs} classes"


def _split(dataset: EODataset) -> Iterator[str]:
    if dataset.split is not None:
        counts = [f"{part} {(dataset.split == part).sum():,}" for part in PARTS]
        yield f"official split: {', '.join(counts)}"


def _groups(dataset: EODataset) -> str:
    if dataset.groups is None:
        return "groups: none; samples of one place may stand on both sides of a split"
    sizes = np.unique(dataset.groups, return_counts=True)[1]
    kind = f" ({dataset.group_kind})" if dataset.group_kind else ""
    if sizes.max() == 1:
        return (
            f"groups{kind}: {len(sizes):,}, of one sample each. WARNING: such groups keep nothing "
            "together; do they name samples (ids), and not places?"
        )
    divided = divided_groups(dataset)
    told = f"; {divided:,} of them in more than one part of the official split" if divided else ""
    return f"groups{kind}: {len(sizes):,}, of {sizes.min():,} to {sizes.max():,} samples{told}"


def _places(catalogue: Catalogue) -> Iterator[str]:
    if catalogue.places is not None:
        (south, west), (north, east) = catalogue.places.min(axis=0), catalogue.places.max(axis=0)
        yield f"places: latitude {south:.4g} to {north:.4g}, longitude {west:.4g} to {east:.4g}"


def class_counts(dataset: EODataset) -> dict[str, int]:
    """Class → its number of samples."""
    task, y = dataset.task, dataset.y
    counts = y.sum(axis=0) if task.kind == "multilabel" else np.bincount(y, minlength=task.outputs)
    names = task.class_names or tuple(map(str, range(task.outputs)))
    return dict(zip(names, counts.astype(int).tolist(), strict=True))


def _classes(dataset: EODataset) -> str:
    counts = class_counts(dataset)
    shown = sorted(counts, key=lambda name: -counts[name])[:MOST_CLASSES]
    rows = [
        (name, f"{counts[name]:,}", f"{counts[name] / len(dataset):.1%}")
        for name in counts
        if name in shown
    ]
    more = f"\n… and {len(counts) - len(shown)} more" if len(counts) > len(shown) else ""
    table = tabulate(rows, headers=("class", "samples", "share"), disable_numparse=True)
    return table + more


def _modalities(dataset: EODataset, catalogue: Catalogue) -> str:
    rows = []
    for m, spec in dataset.modalities.items():
        scaling = catalogue.scaling.get(m)
        for i, channel in enumerate(channels(dataset, m)):
            stored = ""
            if scaling is not None:
                ends = [_stored(v, *(of[i] for of in scaling)) for v in (channel.low, channel.high)]
                stored = _range(*sorted(ends))
            first = ("",) * 4 if i else (m, spec.kind, " × ".join(map(str, spec.shape)), spec.units)
            rows.append(
                (*first, channel.name, _range(channel.low, channel.high), stored, _share(channel))
            )
    headers = ["modality", "kind", "shape", "units", "channel", "range", "as stored", "missing"]
    if not any(row[6] for row in rows):
        headers.remove("as stored")
        rows = [(*row[:6], row[7]) for row in rows]
    return tabulate(rows, headers=headers, disable_numparse=True)


def _stored(value: float, scale: float, offset: float) -> float:
    """What a file stores for a value, as exactly as a float32 tells it."""
    rounding = np.finfo(np.float32).eps * (abs(value) + abs(offset)) / abs(scale)
    digits = -int(np.floor(np.log10(max(rounding, 1e-300))))
    return round((value - offset) / scale, digits) + 0.0


def _range(low: float, high: float) -> str:
    return f"{low:.6g} to {high:.6g}"


def _share(channel: Channel) -> str:
    if not channel.missing:
        return "0"
    return f"{channel.missing:,} ({channel.missing / channel.values:.1%})"


def _folds(dataset: EODataset, protocol: Protocol) -> str:
    try:
        found = folds(dataset, protocol.values_for(dataset.name))
    except UserError as error:
        return (
            f"folds under '{protocol.name}': {error}\n`run` refuses it under this protocol; "
            "--protocol shows the folds of another"
        )
    rows = [_fold(dataset, fold) for fold in found]
    headers = ["fold", "train", "val", "test"]
    if dataset.groups is not None:
        headers.append("groups in test")
    if dataset.task.kind != "regression":
        headers.append("classes in test")
    table = tabulate(rows, headers, disable_numparse=True)
    few = few_tested(found)
    return f"folds under '{protocol.name}':\n{table}" + f"\nWARNING: {few}" * bool(few)


def _fold(dataset: EODataset, fold: Fold) -> list[str]:
    row = [str(fold.number), *(f"{len(part):,}" for part in (fold.train, fold.val, fold.test))]
    if dataset.groups is not None:
        row.append(str(len(np.unique(dataset.groups[fold.test]))))
    y = dataset.y[fold.test]
    if dataset.task.kind == "multilabel":
        row.append(str(int(y.any(axis=0).sum())))
    elif dataset.task.is_classification:
        row.append(str(len(np.unique(y))))
    return row
