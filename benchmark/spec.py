"""A run is a value: one method on one dataset and fold, serving all its deployments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    labels: float
    statistics: Statistics
    optimiser: str
    learning_rate: float
    weight_decay: float
    epochs: int
    patience: int
    min_delta: float
    stop_on: StopOn
    batch_size: int


class Tuned(TypedDict, total=False):
    """What was tried: ranges by name, as `benchmark.ranges.Range.as_json` has them.

    Of a run whose values trials have chosen also how many they were on each part, and on which
    (`benchmark.terms`).
    """

    space: Mapping[str, list[Any]]
    trials: int
    on: str


Setting = bool | float | str
"""A value that may be set by hand."""


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
    training: values in place of the protocol's (`benchmark.terms.TRAINING`), in all that the run
    trains, its artefacts included. trial: number of a trial of `tune`, from 1, which is scored on
    the validation part; 0 for a run. tuned: of a trial, and of a run whose values trials have
    chosen. brought: modality → settings of the encoder that the method brings with it, in place of
    the protocol's (`methods.common.registry.Entry.encoder`). differs: in what it is not as its
    method and protocol have it by default; a name, like dataset and source.
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
    training: Mapping[str, float] = field(default_factory=dict)
    trial: int = 0
    tuned: Tuned = field(default_factory=Tuned)
    differs: Mapping[str, Setting] = field(default_factory=dict)
    brought: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

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
            **({"training": dict(self.training)} if self.training else {}),
            **({"trial": self.trial} if self.trial else {}),
            **({"tuned": dict(self.tuned)} if self.tuned else {}),
            **({"brought": dict(self.brought)} if self.brought else {}),
        }

    @property
    def encoders_used(self) -> Mapping[str, Any]:
        """The protocol's encoders, with those that the method brings in their place."""
        return {**self.encoders, "modalities": self.brought} if self.brought else self.encoders

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
    def budget(self) -> str:
        """By what its values were chosen: "20 trials in each fold"; "" if by nobody, or by hand."""
        trials, on = self.tuned.get("trials"), self.tuned.get("on")
        return f"{trials} trial{'s' * (trials != 1)} {on}" if on else ""

    @property
    def labels(self) -> str:
        """The share of the labels that there are: "5 % of the labels"; "" for all."""
        share = self.protocol.get("labels", 1.0)
        return "" if share == 1 else f"{100 * share:g} % of the labels"

    @property
    def row(self) -> str:
        """What its row of a table is called: the method, and what was set by hand."""
        if self.tuned or not self.differs:
            return self.method
        return f"{self.method} ({settings_text(self.differs)})"

    @property
    def title(self) -> str:
        """The row, and what tells a placebo from the other runs of it."""
        return f"{self.row} (placebo on {self.placebo})" if self.placebo else self.row

    @property
    def full_title(self) -> str:
        """The title, and what trial it is, or that trials have chosen its values."""
        if self.trial:
            values = f": {settings_text(self.differs)}" if self.differs else ", as it is by default"
            return f"{self.title} (trial {self.trial}{values})"
        return f"{self.title} (tuned: {self.budget})" if self.budget else self.title

    def __str__(self) -> str:
        data = f"{self.dataset} ({self.labels})" if self.labels else self.dataset
        return f"{data} {self.full_title} fold {self.fold} seed {self.seed}"


def settings_text(values: Mapping[str, Any]) -> str:
    """Settings in words: "w_con=4, merge=gated"; another value is another text."""
    return ", ".join(f"{name}={setting_text(value)}" for name, value in values.items())


def setting_text(value: Any) -> str:
    """A value as a user writes it: "4" for 4.0, "true" for True."""
    if type(value) is float:
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
