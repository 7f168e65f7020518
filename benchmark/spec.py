"""A run is a value: one method on one dataset and fold, serving all its deployments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypedDict

HARNESS_VERSION = 2
"""Raised when the harness itself makes the numbers of the same spec change."""

FULL = "float32"
"""The precision of training by default: no operand is ever rounded to fewer bits."""

PRECISIONS = {"fp32": FULL, "tf32": "tf32", "bf16": "bfloat16"}
"""Values of --precision, and what a run's spec calls them."""


Split = Literal["grouped", "stratified", "shuffled"]
ValidationPiece = Literal["first", "nearest"]
Statistics = Literal["training", "all"]
StopOn = Literal["predictors", "objective"]


class ProtocolValues(TypedDict, total=False):
    """The values of a protocol that decide numbers on one dataset (`Protocol.values_for`)."""

    name: str
    split: Split
    folds: int
    split_seed: int
    target_quantiles: int
    validation: float | Literal["test"]
    validation_piece: ValidationPiece
    statistics: Statistics
    optimiser: str
    learning_rate: float
    epochs: int
    patience: int
    min_delta: float
    stop_on: StopOn
    batch_size: int


@dataclass(frozen=True)
class RunSpec:
    """Everything that decides the numbers of a run, and the names it goes by.

    fingerprint: of the prepared arrays. modalities: in order. version: of the method's entry.
    artefacts: name → what it is, resolved as far down as it goes. encoders, protocol: the values
    in force for this dataset. precision: `FULL`, "tf32" or "bfloat16", of training alone. compiled:
    whether the losses go through torch.compile. stream: names the seed stream of an artefact, ""
    for a run. plugin: hash of a plug-in's code (`benchmark.planning.code`), "" for a method of the
    registry, whose version stands for its code. placebo: the one modality that is paired with the
    labels as it should be, while the others are those of other samples
    (`benchmark.training.data.Part.with_wrong_partners`); "" for a run on the data as they are.
    """

    dataset: str
    source: str
    fingerprint: str
    modalities: tuple[str, ...]
    method: str
    version: int
    hyperparameters: Mapping[str, Any]
    artefacts: Mapping[str, Mapping[str, Any]]
    encoders: Mapping[str, Any]
    precision: str
    protocol: ProtocolValues
    fold: int
    seed: int
    stream: str = ""
    compiled: bool = False
    plugin: str = ""
    placebo: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "modalities", tuple(self.modalities))

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that the id is a hash of.

        The dataset's name and source are not among them: the fingerprint says what the data are.
        Nor is anything about where or how fast it runs: device, workers, folders, git revision.
        """
        return {
            "harness": HARNESS_VERSION,
            "fingerprint": self.fingerprint,
            "modalities": list(self.modalities),
            "method": self.method,
            "version": self.version,
            "hyperparameters": dict(self.hyperparameters),
            "artefacts": {name: dict(a) for name, a in self.artefacts.items()},
            "encoders": dict(self.encoders),
            "precision": self.precision,
            "protocol": dict(self.protocol),
            "fold": self.fold,
            "seed": self.seed,
            "stream": self.stream,
            # Not there by default: ids are older than what follows.
            **({"compiled": True} if self.compiled else {}),
            **({"plugin": self.plugin} if self.plugin else {}),
            **({"placebo": self.placebo} if self.placebo else {}),
        }

    @property
    def arithmetic(self) -> str:
        """How training computes, in words: `FULL`, or "bfloat16, compiled"."""
        return f"{self.precision}, compiled" if self.compiled else self.precision

    @cached_property
    def id(self) -> str:
        """First 16 hexadecimal digits of the sha256 of the identity in canonical JSON."""
        text = json.dumps(self.identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def title(self) -> str:
        """The method's name, and what tells a placebo from its other runs."""
        return f"{self.method} (placebo on {self.placebo})" if self.placebo else self.method

    def __str__(self) -> str:
        return f"{self.dataset} {self.title} fold {self.fold} seed {self.seed}"
