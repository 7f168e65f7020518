"""What a run has in place of the defaults of its method and its protocol, and whether it may."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from benchmark.errors import UserError, unknown
from benchmark.planning.encoders import trained
from benchmark.spec import RunSpec, Tuned, setting_text
from benchmark.terms import DROPOUT, TRAINING
from datasets.common.contract import EODataset
from methods.common.registry import Entry

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """Values by name, of the method and of `TRAINING`; trial and tuned: as `RunSpec` has them."""

    values: Mapping[str, Any] = field(default_factory=dict)
    trial: int = 0
    tuned: Tuned = field(default_factory=Tuned)


Variant = Callable[[int], Settings]
"""Fold → what a run of it has in place of the defaults."""

Default = tuple[Entry, RunSpec]
"""A method and its run by default, on fold 0."""

Variants = Callable[[EODataset, Sequence[Default]], Sequence[Sequence[Variant]]]
"""(dataset, methods) → what is run of each method there."""


def by_default(dataset: EODataset, methods: Sequence[Default]) -> list[list[Variant]]:
    """Every method once, as it is."""
    return [[lambda fold: Settings()] for _ in methods]


def by_hand(assigned: Mapping[str, Mapping[str, Any]]) -> Variants:
    """Every method once, with what `parse` gives for it."""

    def of(dataset: EODataset, methods: Sequence[Default]) -> list[list[Variant]]:
        found = []
        for entry, spec in methods:
            settings = Settings(assigned.get(entry.key, {}))
            for name in settings.values:
                if reason := idle(entry, name, dataset, spec.encoders):
                    log.warning("%s: %s.%s %s", dataset.name, entry.key, name, reason)
            found.append([lambda fold, settings=settings: settings])
        return found

    return of


def apply(spec: RunSpec, entry: Entry, settings: Settings, dataset: EODataset) -> RunSpec:
    """A run by default with some settings, its artefacts left as they are.

    A value of the protocol that is what the protocol says is no other value: the run is the same.
    """
    default = {
        **entry.hyperparameters,
        **{name: in_force(spec, name, dataset) for name in TRAINING},
    }
    differs = {name: v for name, v in settings.values.items() if default[name] != v}
    training = {name: value for name, value in differs.items() if name in TRAINING}
    own = {name: value for name, value in differs.items() if name not in TRAINING}
    return replace(
        spec,
        hyperparameters={**spec.hyperparameters, **own},
        training=training,
        trial=settings.trial,
        tuned=settings.tuned,
        differs=differs,
    )


def in_force(spec: RunSpec, name: str, dataset: EODataset) -> Any:
    """A value of `TRAINING` under the protocol of a run; None if encoders differ in dropout."""
    if name != DROPOUT:
        return spec.protocol.get(name, 0.0)
    rates = dropouts(spec.encoders, dataset)
    return rates.pop() if len(rates) == 1 else None


def dropouts(encoders: Mapping[str, Any], dataset: EODataset) -> set[float]:
    """The dropout of those encoders that are trained and have one."""
    found = (
        own.get("dropout", backbone.options.get("dropout"))
        for backbone, own in trained(encoders, dataset)
    )
    return {rate for rate in found if rate is not None}


def names_of(entry: Entry) -> tuple[str, ...]:
    """All that may be set for a method."""
    return (*entry.hyperparameters, *(TRAINING if entry.network else ()))


def idle(entry: Entry, name: str, dataset: EODataset, encoders: Mapping[str, Any]) -> str | None:
    """Why a setting does nothing on a dataset that is encoded so; None if it does something."""
    kind = dataset.task.kind
    if name in entry.tuning and kind in entry.tuning[name].idle_on:
        return f"has no effect on a {kind} task"
    if name == DROPOUT and not dropouts(encoders, dataset):
        return "has no effect: no encoder of this dataset has dropout"
    return None


def parse(assignments: Sequence[str], registry: Mapping[str, Entry]) -> dict[str, dict[str, Any]]:
    """Method → name → value, from texts like ``kd.alpha=0.1``.

    Raises `UserError` for what is malformed, unknown, given twice or of another type.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in assignments:
        match = re.fullmatch(r"\s*([^=\s]+)\.([^.=\s]+)\s*=\s*(.*?)\s*", text)
        if not match:
            raise UserError(f"--set {text}: write METHOD.NAME=VALUE, as in --set kd.alpha=0.1")
        method, name, value = match.groups()
        if method not in registry:
            raise UserError(f"--set {text}: {unknown('method', method, registry)}")
        if name in found.setdefault(method, {}):
            raise UserError(f"--set {text}: {method}.{name} is given twice")
        try:
            found[method][name] = read(registry[method], name, value)
        except UserError as error:
            raise UserError(f"--set {text}: {error}") from error
    return found


def read(entry: Entry, name: str, text: str) -> Any:
    """The value that a user has written for a setting. Raises as `check`."""
    hint, value = type_of(entry, name), text
    if get_origin(hint) is Literal:
        value = next((choice for choice in get_args(hint) if setting_text(choice) == text), text)
    elif hint is bool:
        value = {"true": True, "false": False}.get(text.lower(), text)
    elif hint is int and re.fullmatch(r"[+-]?\d{1,18}", text):
        value = int(text)
    elif hint is float:
        with suppress(ValueError):
            value = float(text)
    return check(entry, name, value)


def check(entry: Entry, name: str, value: Any) -> Any:
    """A value as the signature of a method declares it: 4.0 where 4 stands for a float.

    Raises `UserError` for an unknown name and for a value of another type.
    """
    hint = type_of(entry, name)
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        choices = " or ".join(map(setting_text, get_args(hint)))
        raise UserError(f"{entry.key}.{name} is {choices}, not '{value}'")
    if hint is float and type(value) in (int, float) and -math.inf < value < math.inf:
        value = float(value)
        lowest, highest = LIMITS.get(name, (-math.inf, math.inf))
        if not lowest <= value <= highest:
            raise UserError(
                f"{name} lies between {lowest:g} and {highest:g}, not at {setting_text(value)}"
            )
        return value
    if hint in (int, bool) and type(value) is hint:
        return value
    if hint not in NAMES:
        raise UserError(
            f"{entry.key}.{name} cannot be set: annotate it as bool, int, float or Literal[...]"
        )
    raise UserError(f"{entry.key}.{name} is {NAMES[hint]}, not '{value}'")


LIMITS = {"learning_rate": (1e-9, 10.0), "weight_decay": (0.0, 10.0), DROPOUT: (0.0, 0.95)}
"""What values of `TRAINING` can be at all."""

NAMES = {float: "a finite number", int: "a whole number", bool: "true or false"}


def type_of(entry: Entry, name: str) -> Any:
    """The declared type of a setting, or that of its default. Raises `UserError` if unknown."""
    if name in TRAINING and entry.network:
        return float
    if name in TRAINING:
        raise UserError(f"{entry.key} has no network: {name} has no effect")
    if name not in entry.hyperparameters:
        raise unknown(f"hyper-parameter of {entry.key}", name, names_of(entry))
    hint = get_type_hints(entry.method.__init__).get(name)
    return type(entry.hyperparameters[name]) if hint is None else hint
