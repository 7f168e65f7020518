"""Protocols: what all methods of a comparison have in common, read from YAML files.

The shipped ones lie in ``protocols/``; a copy of one, changed, is named by its path.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from benchmark.documents import read_mapping
from benchmark.errors import UserError, unknown
from benchmark.ranges import Range
from benchmark.records import Standing
from benchmark.spec import ProtocolValues, Split, Statistics, StopOn, ValidationPiece
from benchmark.terms import TRAINING

FOLDER = Path(__file__).parent / "protocols"


RANGES = {
    "learning_rate": Range(1e-4, 1e-2, log=True),
    "weight_decay": Range(1e-6, 1e-2, log=True),
    "encoder_dropout": Range(0.0, 0.5),
}
"""What is drawn under a protocol whose file does not say."""


@dataclass(frozen=True)
class Protocol:
    """The values of a protocol file; the comments of ``protocols/quick.yaml`` explain each.

    batch_size, view: dataset → value, with a "default". encoders: sizes D, which datasets have
    LayerNorm, and the options of each kind's backbone (`methods.common.encoders`). What follows a
    file need not have. rope: region of practical equality, in the unit of the primary metric;
    without one the report decides. weight_decay: as torch's Adam has it. labels: the share of the
    groups of a fold's training and validation part that have labels (`split`). tuning: what `tune`
    draws for every method alike, name of `benchmark.terms.TRAINING` → range; it decides no run's
    numbers.
    """

    name: str
    title: str
    purpose: str
    evidence: bool
    flags: tuple[str, ...]
    methods: tuple[str, ...]
    split: Split
    target_quantiles: int
    folds: int
    repetitions: int
    split_seed: int
    validation: float | Literal["test"]
    validation_piece: ValidationPiece
    statistics: Statistics
    optimiser: Literal["adam"]
    learning_rate: float
    batch_size: Mapping[str, int]
    epochs: int
    patience: int
    min_delta: float
    stop_on: StopOn
    encoders: Mapping[str, Any]
    view: Mapping[str, Mapping[str, Any]]
    rope: float | None = None
    weight_decay: float = 0.0
    labels: float = 1.0
    tuning: Mapping[str, Range] = field(default_factory=lambda: dict(RANGES))

    def applies_to(self, method: str) -> bool:
        """Whether the protocol is meant for a method."""
        return any(fnmatch.fnmatchcase(method, pattern) for pattern in self.methods)

    def values_for(self, dataset: str) -> ProtocolValues:
        """The values that decide numbers on a dataset: the protocol's part of a run's id."""
        names = ["name", "split", "folds", "split_seed", "validation", "statistics", "optimiser"]
        names += ["learning_rate", "epochs", "patience", "min_delta", "stop_on"]
        names += [name for name, before in YOUNGER.items() if getattr(self, name) != before]
        values = {name: getattr(self, name) for name in names}
        return {**values, "batch_size": self.batch_size.get(dataset, self.batch_size["default"])}

    def standing_for(self, dataset: str) -> Standing:
        """What records and tables say of the protocol, and is no part of a run's id."""
        return {
            "title": self.title,
            "evidence": self.evidence,
            "flags": list(self.flags),
            "rope": self.rope,
            "view": self.view_for(dataset),
        }

    def view_for(self, dataset: str) -> dict[str, Any]:
        """Keyword arguments of `datasets.common.contract.View` for a dataset."""
        return dict(self.view.get(dataset, self.view["default"]))

    def encoder_of(self, dataset: str, m: str) -> dict[str, Any] | None:
        """The options of a modality of a dataset, None if they are those of its kind."""
        return self.encoders.get(MODALITIES, {}).get(dataset, {}).get(m)

    def encoders_for(self, dataset: str, kinds: set[str]) -> dict[str, Any]:
        """Keyword arguments of `methods.common.encoders.Encoders` for kinds of modalities."""
        return {
            "dim": self.encoders["dim"],
            "layer_norm": dataset in self.encoders["layer_norm"],
            "options": {kind: dict(self.encoders[kind]) for kind in sorted(kinds)},
        }


MODALITIES = "modalities"
"""Of a protocol's encoders: dataset → modality → options, where they are not those of its kind."""

YOUNGER = {
    "target_quantiles": 0,
    "validation_piece": "first",
    "weight_decay": 0.0,
    "labels": 1.0,
}
"""Values that ids are older than: what was in force before protocols had them, and is in no id."""


def check_datasets(protocol: Protocol, known: Collection[str]) -> None:
    """Raise `UserError` for a dataset that a protocol has a value for and nobody knows.

    A name that is written wrongly would give that dataset the default value, in silence.
    """
    named = {
        "batch_size": protocol.batch_size.keys() - {"default"},
        "view": protocol.view.keys() - {"default"},
        "encoders.layer_norm": protocol.encoders["layer_norm"],
        "encoders.modalities": protocol.encoders.get(MODALITIES, {}),
    }
    for setting, datasets in named.items():
        for name in sorted(map(str, datasets)):
            if name not in known:
                wrong = unknown("dataset", name, known)
                raise UserError(f"protocol '{protocol.name}', {setting}: {wrong}")


def check_modalities(protocol: Protocol, dataset: str, known: Collection[str]) -> None:
    """Raise `UserError` for a modality of a dataset that a protocol encodes and that it lacks."""
    for m in protocol.encoders.get(MODALITIES, {}).get(dataset, {}):
        if m not in known:
            wrong = unknown(f"modality of {dataset}", m, known)
            raise UserError(f"protocol '{protocol.name}', encoders.modalities: {wrong}")


def names() -> list[str]:
    """Names of the shipped protocols, the default first."""
    return sorted((path.stem for path in FOLDER.glob("*.yaml")), key=lambda n: (n != "quick", n))


def load(name: str) -> Protocol:
    """A shipped protocol by its name, or a user's by the path of its YAML file.

    Raises `UserError` for an unknown name, for a file that is not a complete protocol, and for one
    that bears the name of a shipped protocol and has other values.
    """
    path = FOLDER / f"{name}.yaml"
    if not re.fullmatch(r"[\w-]+", name):
        path = Path(name)
        if not path.is_file():
            raise UserError(f"no protocol file at {name}; shipped protocols: {', '.join(names())}")
    elif not path.is_file():
        raise unknown("protocol", name, names())
    protocol = _parse(path)
    if protocol.name in names() and path.parent != FOLDER:
        shipped = _parse(FOLDER / f"{protocol.name}.yaml")
        settings = (field.name for field in fields(Protocol))
        other = [name for name in settings if getattr(protocol, name) != getattr(shipped, name)]
        if other:
            raise UserError(
                f"{path}: has the name of the shipped protocol '{protocol.name}' and another "
                f"{', '.join(other)}; give the file a name of its own"
            )
    return protocol


def _parse(path: Path) -> Protocol:
    document = read_mapping(path, f"a protocol is a mapping of settings; copy {FOLDER}/quick.yaml")
    known = {field.name for field in fields(Protocol)} - {"name"}
    for name in document:
        if name not in known:
            raise UserError(f"{path}: {unknown('setting', str(name), known)}")
    needed = {f.name for f in fields(Protocol) if {f.default, f.default_factory} == {MISSING}}
    needed -= {"name"}
    if missing := ", ".join(sorted(needed - document.keys())):
        raise UserError(f"{path}: it lacks {missing}; {FOLDER}/quick.yaml says what they are")
    hints = get_type_hints(Protocol)
    values = {key: _value(path, key, value, hints[key]) for key, value in document.items()}
    protocol = Protocol(name=path.stem, **values)
    _check(path, protocol)
    return protocol


def _value(path: Path, key: str, value: Any, hint: Any) -> Any:
    """``value`` as the type that the field declares; YAML reads 1e-3 as text, for one."""
    try:
        if hint is bool:
            if not isinstance(value, bool):
                raise ValueError("true or false")
            return value
        if hint is int:
            if isinstance(value, bool) or int(value) != value:
                raise ValueError("a whole number")
            return int(value)
        if hint is float:
            if not math.isfinite(float(value)):
                raise ValueError("a finite number")
            return float(value)
        if hint is str:
            return str(value)
        if hint == tuple[str, ...]:
            if not isinstance(value, list):
                raise ValueError("a list of words")
            return tuple(str(item) for item in value)
        if key == "validation":
            return value if value == "test" else float(value)
        if key == "rope":
            if value is not None and not (math.isfinite(float(value)) and float(value) > 0):
                raise ValueError("a number above 0, or null")
            return value if value is None else float(value)
        if key == "tuning":
            return _ranges(value)
        if key in ("batch_size", "encoders", "view"):
            if not isinstance(value, dict) or not _is_plain(value):
                raise ValueError("a mapping of words to numbers, words, lists and mappings")
            return value
        if value not in get_args(hint):
            raise ValueError("one of " + ", ".join(get_args(hint)))
        return value
    except (ValueError, TypeError, OverflowError, UserError) as error:
        raise UserError(f"{path}: '{key}: {value}' cannot be read: expected {error}") from error


def _ranges(value: Any) -> dict[str, Range]:
    """Ranges as ``[low, high]`` or ``[low, high, log]``."""
    if not isinstance(value, dict) or not all(isinstance(span, list) for span in value.values()):
        raise ValueError("ranges such as {learning_rate: [0.0001, 0.01, log]}")
    found = {}
    for name, span in value.items():
        if name not in TRAINING:
            raise unknown("range", str(name), TRAINING)
        if len(span) not in (2, 3) or span[2:] not in ([], ["log"]):
            raise ValueError(f"[low, high] or [low, high, log] for {name}")
        found[name] = Range(float(span[0]), float(span[1]), log=len(span) == 3)
        if found[name].low < 0 or (name == "encoder_dropout" and found[name].high >= 1):
            raise ValueError(f"{name} of at least 0, and encoder_dropout below 1")
    return found


def _is_plain(value: Any) -> bool:
    """Whether JSON can tell a value: no dates, no infinite numbers, no keys but text."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, int | float):
        return math.isfinite(value)
    return value is None or isinstance(value, str)


def _check(path: Path, protocol: Protocol) -> None:
    """Ranges, and the entries that every dataset relies on."""

    def need(condition: bool, sentence: str) -> None:
        if not condition:
            raise UserError(f"{path}: {sentence}")

    whole = lambda value: isinstance(value, int) and not isinstance(value, bool)  # noqa: E731
    need(protocol.folds >= 2, "folds must be at least 2")
    need(
        protocol.target_quantiles == 0 or protocol.target_quantiles >= 2,
        "target_quantiles must be 0 (none) or at least 2",
    )
    need(protocol.repetitions >= 1, "repetitions must be at least 1")
    need(protocol.epochs >= 1 and protocol.patience >= 1, "epochs and patience must be at least 1")
    need(protocol.learning_rate > 0, "learning_rate must be above 0")
    need(protocol.weight_decay >= 0, "weight_decay must not be negative")
    need(0 < protocol.labels <= 1, "labels must be a share above 0, and at most 1")
    need(protocol.min_delta >= 0, "min_delta must not be negative")
    need(
        protocol.validation == "test" or 0 < protocol.validation < 1,
        'validation must be a share between 0 and 1, or "test"',
    )
    need(
        "default" in protocol.batch_size
        and all(whole(size) and size >= 2 for size in protocol.batch_size.values()),
        "batch_size needs a default, and whole numbers of at least 2",
    )
    view_keys = {"samples", "dates", "window", "image_px"}
    need(
        "default" in protocol.view and all(isinstance(v, dict) for v in protocol.view.values()),
        f"view needs a default, and mappings of {', '.join(sorted(view_keys))}",
    )
    for name, view in protocol.view.items():
        for key in view:
            need(key in view_keys, f"view.{name}: {unknown('setting', key, view_keys)}")
    for view in protocol.view.values():
        numbers = [view[key] for key in ("samples", "dates", "image_px") if key in view]
        need(all(whole(n) and n > 0 for n in numbers), "numbers of a view must be above 0")
        need(view.get("window") in (None, "mean"), "the window of a view can only be 'mean'")
    encoders = protocol.encoders
    kinds = ("series", "image", "vector")
    for key in encoders:
        known = {"dim", "layer_norm", MODALITIES, *kinds}
        need(key in known, f"encoders: {unknown('kind or setting', key, known)}")
    need(
        encoders.keys() - {MODALITIES} == {"dim", "layer_norm", *kinds}
        and all(isinstance(encoders[kind], dict) for kind in kinds)
        and isinstance(encoders["layer_norm"], list),
        "encoders needs dim, layer_norm (a list of datasets), series, image and vector",
    )
    need(
        whole(encoders["dim"]) and encoders["dim"] >= 2 and encoders["dim"] % 2 == 0,
        "encoders.dim must be an even number",
    )
    by_modality = encoders.get(MODALITIES, {})
    need(
        isinstance(by_modality, dict)
        and all(isinstance(own, dict) for own in by_modality.values())
        and all(isinstance(o, dict) for own in by_modality.values() for o in own.values()),
        "encoders.modalities is a mapping of datasets to modalities to settings",
    )
    settings = {f"encoders.{kind}": encoders[kind] for kind in kinds}
    for dataset, own in by_modality.items():
        settings |= {f"encoders.modalities.{dataset}.{m}": o for m, o in own.items()}
    for where, options in settings.items():
        for name in ("pretrained", "frozen"):
            value = options.get(name, False)
            need(isinstance(value, bool), f"{where}.{name} must be true or false")
