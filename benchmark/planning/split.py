"""Folds: which samples train, validate and test."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.errors import UserError
from benchmark.seeds import stream
from datasets.common.contract import EODataset


@dataclass(frozen=True)
class Fold:
    """Sample numbers of one fold's parts; the protocol `paper` validates on the test part."""

    number: int
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def folds(dataset: EODataset, values: Mapping[str, Any]) -> list[Fold]:
    """All folds, the same for every method and every seed of the runs.

    values: ``split``, ``folds``, ``split_seed`` and ``validation`` of a protocol
    (`benchmark.planning.protocol.Protocol.values_for`). An official split is a single fold.
    Raises `UserError` if there are too few samples or groups, or if a training part has fewer than
    two classes or a constant target.
    """
    if dataset.split is not None:
        parts = {part: np.flatnonzero(dataset.split == part) for part in ("train", "val", "test")}
        for part, samples in parts.items():
            if not len(samples):
                raise UserError(f"{dataset.name}: the official split has no {part} samples")
        result = [Fold(0, **parts)]
    else:
        result = [
            _with_validation(dataset, values, number, test)
            for number, test in enumerate(_test_parts(dataset, values))
        ]
    for fold in result:
        _check_training_part(dataset, fold)
    return result


def _test_parts(dataset: EODataset, values: Mapping[str, Any]) -> list[np.ndarray]:
    if values["split"] == "shuffled":
        order = np.random.RandomState(values["split_seed"]).permutation(len(dataset))
        if len(order) < values["folds"]:
            raise UserError(f"{dataset.name}: {len(order)} samples for {values['folds']} folds")
        return np.array_split(order, values["folds"])
    seed = stream("folds", values["split_seed"]) % 2**32
    return _cut(dataset, np.arange(len(dataset)), values["folds"], values["split"], seed)


def _with_validation(
    dataset: EODataset, values: Mapping[str, Any], number: int, test: np.ndarray
) -> Fold:
    rest = np.setdiff1d(np.arange(len(dataset)), test)
    if values["validation"] == "test":
        return Fold(number, rest, test, test)
    seed = stream("validation", values["split_seed"], number) % 2**32
    pieces = max(2, round(1 / values["validation"]))
    if values["split"] == "grouped" and dataset.groups is not None:
        pieces = min(pieces, len(np.unique(dataset.groups[rest])))
    val = _cut(dataset, rest, pieces, values["split"], seed)[0]
    return Fold(number, np.setdiff1d(rest, val), val, test)


def _cut(
    dataset: EODataset, samples: np.ndarray, pieces: int, split: str, seed: int
) -> list[np.ndarray]:
    """``samples`` cut into pieces: by groups if wanted and known, by classes where there are."""
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    y = dataset.y[samples] if dataset.task.is_classification else None
    groups = None
    if split == "grouped" and dataset.groups is not None:
        groups = dataset.groups[samples]
    units = len(samples) if groups is None else len(np.unique(groups))
    if units < pieces or pieces < 2:
        what = "samples" if groups is None else "groups"
        raise UserError(
            f"{dataset.name}: {units} {what} cannot be split into {max(pieces, 2)} parts; "
            "give more data or fewer folds"
        )
    if groups is None:
        splitter = KFold if y is None else StratifiedKFold
    else:
        splitter = GroupKFold if y is None else StratifiedGroupKFold
    cutter = splitter(pieces, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class rarer than the pieces is absent from some of them; tables show the number.
        warnings.filterwarnings("ignore", message="The least populated class", append=False)
        try:
            parts = [part for _, part in cutter.split(samples, y, groups)]
        except ValueError as error:
            raise UserError(f"{dataset.name}: cannot be split ({error})") from error
    if not all(len(part) for part in parts):
        raise UserError(f"{dataset.name}: a part of the split is empty; use fewer folds")
    return [samples[part] for part in parts]


def _check_training_part(dataset: EODataset, fold: Fold) -> None:
    if len(fold.train) < 2:
        raise UserError(f"{dataset.name} fold {fold.number}: fewer than two training samples")
    try:
        dataset.task.fitted(dataset.y[fold.train])
    except ValueError as error:
        raise UserError(f"{dataset.name} fold {fold.number}: {error}") from error
