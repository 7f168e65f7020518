"""Folds: which samples train, validate and test."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.errors import UserError, number_of
from benchmark.seeds import stream
from datasets.common.contract import EODataset

WHOLE = -1
"""Number of the "fold" of a final model, which tests on nothing."""


FEW = 2
"""Samples of a test part that tell next to nothing."""


@dataclass(frozen=True)
class Fold:
    """Sample numbers of one fold's parts; the protocol `paper` validates on the test part."""

    number: int
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray

    @property
    def title(self) -> str:
        """What sentences call it: "fold 3"."""
        return "all samples" if self.number == WHOLE else f"fold {self.number}"


def folds(dataset: EODataset, values: Mapping[str, Any]) -> list[Fold]:
    """All folds, the same for every method and every seed of the runs.

    values: ``split``, ``folds``, ``split_seed``, ``validation`` and, where they are not those of
    protocols that knew no others, ``validation_piece``, ``target_quantiles`` and ``labels``
    (`benchmark.planning.protocol.Protocol.values_for`). An official split is a single fold; if it
    has no val part, ``validation`` says how much of its train part becomes one. Fewer groups than
    folds are one fold each.
    Raises `UserError` if there are too few samples or groups, or if a training part has fewer than
    two classes or a constant target.
    """
    if dataset.split is not None:
        parts = {part: np.flatnonzero(dataset.split == part) for part in ("train", "val", "test")}
        for part in ("train", "test"):
            if not len(parts[part]):
                raise UserError(
                    f"{dataset.name}: the official split has no {part} samples; name some so, or "
                    "leave that split out"
                )
        if len(parts["val"]):
            result = [Fold(0, **parts)]
        else:
            result = [_with_validation(dataset, values, 0, parts["test"])]
    else:
        result = [
            _with_validation(dataset, values, number, test)
            for number, test in enumerate(_test_parts(dataset, values))
        ]
    result = [_with_fewer_labels(dataset, values, fold) for fold in result]
    for fold in result:
        _check_training_part(dataset, fold)
    return result


def divided_groups(dataset: EODataset) -> int:
    """How many groups stand in more than one part of an official split; 0 where there is none."""
    if dataset.split is None or dataset.groups is None:
        return 0
    places = set(zip(dataset.groups.tolist(), dataset.split.tolist(), strict=True))
    return sum(n > 1 for n in Counter(group for group, _ in places).values())


def few_tested(parts: Sequence[Fold]) -> str:
    """A warning of folds whose test part is too small to tell anything, or ""."""
    few = [str(fold.number) for fold in parts if len(fold.test) <= FEW]
    if not few:
        return ""
    return (
        f"fold{'s' * (len(few) > 1)} {', '.join(few)}: tested on {FEW} samples at most, whose "
        "scores say next to nothing; give more data, fewer folds or smaller groups"
    )


def whole(dataset: EODataset, values: Mapping[str, Any]) -> Fold:
    """The "fold" of a final model: all samples train but a validation part, and none tests.

    The validation part is the official one, or cut as the protocol cuts that of a fold. Raises
    `UserError` as `folds`, and for a protocol that validates on the test part.
    """
    none = np.arange(0)
    if dataset.split is not None and (dataset.split == "val").any():
        val = np.flatnonzero(dataset.split == "val")
        fold = Fold(WHOLE, np.setdiff1d(np.arange(len(dataset)), val), val, none)
    elif values["validation"] == "test":
        raise UserError(
            f"protocol '{values['name']}' validates on the test part, and a final model has none; "
            "choose another protocol"
        )
    else:
        fold = _with_validation(dataset, values, WHOLE, none)
    fold = _with_fewer_labels(dataset, values, fold)
    _check_training_part(dataset, fold)
    return fold


def _test_parts(dataset: EODataset, values: Mapping[str, Any]) -> list[np.ndarray]:
    n = values["folds"]
    if values["split"] == "shuffled":
        order = np.random.RandomState(values["split_seed"]).permutation(len(dataset))
        if len(order) < n:
            raise UserError(
                f"{dataset.name}: {len(order)} samples for {n} folds; give more data or fewer folds"
            )
        return np.array_split(order, n)
    groups = _groups(dataset, values)
    names = [] if groups is None else np.unique(groups)
    if len(names) == 1:
        raise UserError(
            f"{dataset.name}: one group cannot be trained and tested on; make groups smaller "
            "(blocks, fields), or name none"
        )
    one_each = [np.flatnonzero(groups == name) for name in names]
    if one_each and len(one_each) < n:
        return one_each
    seed = stream("folds", values["split_seed"]) % 2**32
    parts = _cut(dataset, np.arange(len(dataset)), n, values, seed)
    if all(len(part) for part in parts):
        return parts
    if len(one_each) == n:
        return one_each
    raise UserError(
        f"{dataset.name}: its classes cannot be spread over {n} folds of whole groups; use fewer"
    )


def _groups(dataset: EODataset, values: Mapping[str, Any]) -> np.ndarray | None:
    """What stays whole; None where nothing is known to, or the protocol does not ask."""
    return dataset.groups if values["split"] == "grouped" else None


def _with_validation(
    dataset: EODataset, values: Mapping[str, Any], number: int, test: np.ndarray
) -> Fold:
    rest = np.setdiff1d(np.arange(len(dataset)), test)
    if values["validation"] == "test":
        return Fold(number, rest, test, test)
    seed = stream("validation", values["split_seed"], number) % 2**32
    pieces = max(2, round(1 / values["validation"]))
    groups = _groups(dataset, values)
    if groups is not None:
        pieces = min(pieces, len(np.unique(groups[rest])))
        if pieces < 2:
            raise UserError(
                f"{dataset.name}: fold {number} trains on one group alone, so that there is none "
                "for validation; make groups smaller (blocks, fields), or name none"
            )
    parts = _cut(dataset, rest, pieces, values, seed)
    val = parts[0]
    if values.get("validation_piece") == "nearest":  # groups are of all sizes
        wanted = values["validation"] * len(rest)
        val = min(filter(len, parts), key=lambda part: abs(len(part) - wanted))
    elif not len(val):
        empty = Fold(number, rest, val, test)
        raise UserError(f"{dataset.name} {empty.title}: the validation part is empty")
    return Fold(number, np.setdiff1d(rest, val), val, test)


def _with_fewer_labels(dataset: EODataset, values: Mapping[str, Any], fold: Fold) -> Fold:
    """The fold of somebody who has labels for a share of the groups alone; the test part stays.

    Labels train, and they choose the epoch: both parts keep that share of their groups (of their
    samples, where none are kept whole), one at least. Else a twentieth of the labels would be
    judged by twice as many. Which ones, `split_seed` and the fold decide alone. Those of a smaller
    share are among those of a larger one, and none changes its part.
    """
    share = values.get("labels", 1.0)
    if share == 1:
        return fold

    def fewer(part: str, samples: np.ndarray) -> np.ndarray:
        groups = _groups(dataset, values)
        units = samples if groups is None else groups[samples]
        names = np.unique(units)
        rng = np.random.default_rng(stream("labels", part, values["split_seed"], fold.number))
        chosen = rng.permutation(len(names))[: max(1, round(share * len(names)))]
        return samples[np.isin(units, names[chosen])]

    val = fold.val if values["validation"] == "test" else fewer("val", fold.val)
    return Fold(fold.number, fewer("train", fold.train), val, fold.test)


def _cut(
    dataset: EODataset, samples: np.ndarray, pieces: int, values: Mapping[str, Any], seed: int
) -> list[np.ndarray]:
    """``samples`` cut into pieces, some of which may be empty where there are few groups.

    By groups if wanted and known; by classes, or quantiles of a regression's target where the
    protocol has a number of them.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    strata = dataset.y[samples] if dataset.task.is_classification else None
    groups = _groups(dataset, values)
    if groups is not None:
        groups = groups[samples]
    elif dataset.task.kind == "regression" and values.get("target_quantiles"):
        # Each has a sample for every piece, or there are fewer of them.
        quantiles = max(1, min(values["target_quantiles"], len(samples) // pieces))
        strata = _quantile(dataset.y[samples], quantiles)
    units = len(samples) if groups is None else len(np.unique(groups))
    if units < pieces or pieces < 2:
        what = number_of(units, "sample" if groups is None else "group")
        raise UserError(
            f"{dataset.name}: {what} cannot be split into {max(pieces, 2)} parts; "
            "give more data or another number of folds"
        )
    if groups is None:
        splitter = KFold if strata is None else StratifiedKFold
    else:
        splitter = GroupKFold if strata is None else StratifiedGroupKFold
    cutter = splitter(pieces, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class rarer than the pieces is absent from some of them; tables show the number.
        warnings.filterwarnings("ignore", message="The least populated class", append=False)
        try:
            parts = [part for _, part in cutter.split(samples, strata, groups)]
        except ValueError as error:
            raise UserError(f"{dataset.name}: cannot be split ({error})") from error
    return [samples[part] for part in parts]


def _quantile(y: np.ndarray, quantiles: int) -> np.ndarray:
    """The number of the quantile that each target lies in, from 0."""
    inner = np.arange(1, quantiles) / quantiles
    return np.searchsorted(np.quantile(y, inner), y, side="right")


def _check_training_part(dataset: EODataset, fold: Fold) -> None:
    if len(fold.train) < 2:
        raise UserError(
            f"{dataset.name} {fold.title}: fewer than two training samples; give more data"
        )
    try:
        dataset.task.fitted(dataset.y[fold.train])
    except ValueError as error:
        raise UserError(
            f"{dataset.name} {fold.title}: {error}; give more data, other groups or another split"
        ) from error
