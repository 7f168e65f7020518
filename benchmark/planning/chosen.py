"""Values that were chosen by trials, as a file: `tune` writes it, `run --hparams` takes it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from benchmark.errors import UserError, several, unknown
from benchmark.planning.code import codes
from benchmark.planning.protocol import Protocol
from benchmark.planning.settings import Default, Settings, Variant, check, type_of
from benchmark.planning.trials import space
from benchmark.ranges import Range
from benchmark.records import check_types
from benchmark.spec import RunSpec, Tuned, setting_text
from benchmark.terms import EACH, ONCE
from benchmark.writers import atomic
from datasets.common.contract import EODataset
from methods.common.registry import Entry

T = TypeVar("T")


@dataclass(frozen=True)
class Picked:
    """The best trial of a fold: its number, its score on the validation part, and its values in
    place of the defaults. Trial 0, without a score, is a method of which nothing can be tuned."""

    trial: int
    validation: float | None
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Choice:
    """What was chosen for a method on a dataset.

    trials, on: how many there were on each part, and on which (`benchmark.terms`). fingerprint,
    modalities, protocol, setup, version, code: what they were made with (setup: digest of `setup`).
    space: name → ends of its range. folds: what was chosen for each.
    """

    method: str
    dataset: str
    trials: int
    on: str
    fingerprint: str
    modalities: list[str]
    protocol: str
    setup: str
    version: int
    code: Mapping[str, str]
    space: Mapping[str, list[Any]]
    folds: Mapping[Any, Any]


def setup(spec: RunSpec) -> str:
    """Digest of what a choice depends on beside data and code: protocol, encoders, arithmetic."""
    values = [dict(spec.protocol), dict(spec.encoders), spec.arithmetic]
    text = json.dumps(values, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write(path: Path, choices: Sequence[Choice]) -> None:
    """Write a file of choices, all or nothing."""
    document = {"chosen": [asdict(choice) for choice in choices]}
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    with atomic(path) as file:
        file.write(f"{text}\n".encode())


def read(path: Path, registry: Mapping[str, Entry]) -> list[Choice]:
    """The choices of a file, each checked against its method.

    Raises `UserError`, naming the file, for what is no such file, an unknown method or
    hyper-parameter, and a value outside the range that the file itself says; whether that is what
    is declared depends on the data (`Chosen.check`).
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: {NONE_CHOSEN} (not JSON: {error})") from error
    items = document.get("chosen") if isinstance(document, dict) else None
    if not isinstance(items, list):
        raise UserError(f"{path}: {NONE_CHOSEN} (it has no list 'chosen')")
    try:
        choices = [_choice(item) for item in items]
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {NONE_CHOSEN} ({error})") from error
    if not choices:
        raise UserError(f"{path}: no values were chosen there")
    for choice in choices:
        try:
            _check(choice, registry)
        except UserError as error:
            raise UserError(f"{path}: {choice.method} on {choice.dataset}: {error}") from error
    places = [(choice.dataset, choice.method) for choice in choices]
    if twice := next((place for place in places if places.count(place) > 1), None):
        raise UserError(f"{path}: {twice[1]} on {twice[0]} stands there twice")
    if len({(choice.trials, choice.on) for choice in choices}) > 1:
        raise UserError(f"{path}: not all methods have the same number of trials on the same parts")
    return choices


NONE_CHOSEN = "not a file of values that `tune` has chosen"


def _choice(item: Any) -> Choice:
    """A choice as its file has it. Raises TypeError and ValueError for what is none."""
    choice = _made(Choice, item)
    folds = {int(fold): _made(Picked, own) for fold, own in choice.folds.items()}
    return replace(choice, folds=folds)


def _made(kind: type[T], values: Any) -> T:
    """The dataclass that an object of a file stands for. Raises TypeError if it stands for none."""
    names = [field.name for field in fields(kind)]
    if not isinstance(values, dict):
        raise TypeError(f"{values!r:.60} stands where an object with {', '.join(names)} should")
    if missing := [name for name in names if name not in values]:
        raise TypeError(f"{', '.join(missing)} is missing")
    if others := sorted(values.keys() - names):
        raise TypeError(f"'{others[0]}' is not known there")
    made = kind(**values)
    check_types(made)
    return made


def _check(choice: Choice, registry: Mapping[str, Entry]) -> None:
    """Raise `UserError` for what `tune` does not choose."""
    if choice.method not in registry:
        raise unknown("method", choice.method, registry)
    entry = registry[choice.method]
    if choice.trials < 1 or choice.on not in (EACH, ONCE):
        raise UserError(f"trials is a number from 1, and on is '{EACH}' or '{ONCE}'")
    if not choice.folds or (choice.on == ONCE and set(choice.folds) != {0}):
        raise UserError("folds has values of each fold, or of fold 0")
    spans = {}
    for name, ends in choice.space.items():
        type_of(entry, name)
        if len(ends) not in (2, 3) or ends[2:] not in ([], ["log"]):
            raise UserError(f'the range of {name} is [low, high] or [low, high, "log"]')
        spans[name] = _range(ends)
    for fold, own in choice.folds.items():
        for name, value in own.values.items():
            check(entry, name, value)
            if name not in spans:
                raise UserError(f"fold {fold}: {name} has no range in its space")
            if value not in spans[name]:
                raise UserError(
                    f"fold {fold}: {name}={setting_text(value)} lies outside {spans[name]}"
                )


@dataclass(frozen=True)
class Chosen:
    """A file of choices, as settings of runs: `benchmark.planning.settings.Variants`.

    protocol: that the runs are of.
    """

    path: Path
    choices: Sequence[Choice]
    protocol: Protocol

    def methods(self, datasets: Sequence[str]) -> dict[str, None]:
        """Methods that have values on all of some datasets, in the order of the file.

        Raises `UserError` if there is none.
        """
        by_method: dict[str, set[str]] = {}
        for choice in self.choices:
            by_method.setdefault(choice.method, set()).add(choice.dataset)
        found = {m: None for m, known in by_method.items() if known >= set(datasets)}
        if not found:
            tuned = dict.fromkeys(choice.dataset for choice in self.choices)
            raise UserError(
                f"{self.path}: no method has values on {' and '.join(datasets)}; values there are "
                f"of {several([*tuned], 'datasets')}: name one of these, or `tune` on the other"
            )
        return found

    def __call__(self, dataset: EODataset, methods: Sequence[Default]) -> list[list[Variant]]:
        """Raises `UserError` as `check` does, and for a fold in which methods were not tuned."""
        self.check(dataset, methods)
        choices = self._of(dataset.name, [entry for entry, _ in methods])

        def settings(entry: Entry, fold: int) -> Settings:
            choice = choices[entry.key]
            own = choice.folds.get(0 if choice.on == ONCE else fold)
            if own is None:
                lacking = [method for method, c in choices.items() if fold not in c.folds]
                raise UserError(
                    f"{self.path}: no values of {several(lacking)} for fold {fold} of "
                    f"{dataset.name}; --folds {','.join(map(str, sorted(choice.folds)))} runs "
                    "where there are"
                )
            values = {name: check(entry, name, value) for name, value in own.values.items()}
            return Settings(values, tuned=_tuned(choice))

        return [[partial(settings, entry)] for entry, _ in methods]

    def final(self, dataset: str, entry: Entry) -> tuple[Settings, str]:
        """The values that a final model has, and in words which they are.

        Where each fold has its own, those of the trial that most folds chose, of several the first:
        trials of the same number have the same values in all folds.
        """
        choice = self._of(dataset, [entry])[entry.key]
        counts = Counter(own.trial for own in choice.folds.values())
        trial = min(counts, key=lambda number: (-counts[number], number))
        picked = next(own for own in choice.folds.values() if own.trial == trial)
        values = {name: check(entry, name, value) for name, value in picked.values.items()}
        said = f"the values of trial {trial}"
        if choice.on != ONCE:
            said += f", which {counts[trial]} of {len(choice.folds)} folds have chosen"
        return Settings(values, tuned=_tuned(choice)), said

    def _of(self, dataset: str, methods: Sequence[Entry]) -> dict[str, Choice]:
        """Method → choice, those first that train a network: the others were often not named and
        came along. Raises `UserError` if some have no values."""
        known = {choice.method: choice for choice in self.choices if choice.dataset == dataset}
        keys = [entry.key for entry in sorted(methods, key=lambda entry: not entry.network)]
        if lacking := [key for key in keys if key not in known]:
            raise UserError(
                f"{self.path}: no values of {several(lacking)} on {dataset}: `tune` them as well, "
                "or leave them out"
            )
        return {key: known[key] for key in keys}

    def check(self, dataset: EODataset, methods: Sequence[Default]) -> None:
        """Raise `UserError` where methods have no values on a dataset, or where their runs are not
        what the trials were: of the first thing that differs, in a sentence for all methods.

        What brings other differences about goes first: another protocol has other samples and
        folds.
        """
        defaults = {entry.key: (entry, spec) for entry, spec in methods}
        differences = []
        for method, choice in self._of(dataset.name, [entry for entry, _ in methods]).items():
            entry, spec = defaults[method]
            declared = space(entry, dataset, self.protocol, spec.encoders)
            differences += [(how, method) for how in _differences(choice, spec, declared)]
        if differences:
            first, _ = min(differences)
            alike = several([method for own, method in differences if own == first])
            _, how = first
            raise UserError(
                f"{self.path}: the values of {alike} on {dataset.name} were chosen {how}"
            )


def _tuned(choice: Choice) -> Tuned:
    return {"trials": choice.trials, "on": choice.on, "space": choice.space}


def _differences(
    choice: Choice, spec: RunSpec, declared: Mapping[str, Range]
) -> list[tuple[int, str]]:
    """How a method was tuned otherwise than it would run, and what to do, with its place among all
    that may differ. declared: the ranges of method and protocol."""
    protocol, modalities = spec.protocol["name"], ",".join(spec.modalities)
    before, old = choice.protocol, ",".join(choice.modalities)
    ours, now = choice.fingerprint[:12], spec.fingerprint[:12]
    differs = {
        f"under protocol '{before}', not '{protocol}': --protocol {before} runs them so, or "
        f"`tune` under '{protocol}'": before != protocol,
        f"with the modalities {old}, not {modalities}: --modalities {old} runs them so, or `tune` "
        f"with {modalities}": old != modalities,
        f"on other data (fingerprint {ours}, now {now}): `tune` on these": (
            choice.fingerprint != spec.fingerprint
        ),
        "with other values of protocol, encoders or precision: run them with those, or `tune` "
        "with these": choice.setup != setup(spec),
        "by other code: `tune` again": (
            choice.version != spec.version or choice.code != codes(spec)
        ),
        f"in other ranges than method and protocol declare ({_changed(choice.space, declared)}): "
        "the file or the protocol was edited; `tune` again": (
            choice.space != {name: span.as_json for name, span in declared.items()}
        ),
    }
    return [(place, how) for place, (how, other) in enumerate(differs.items()) if other]


def _changed(told: Mapping[str, list[Any]], declared: Mapping[str, Range]) -> str:
    """Which ranges of a file are not those that are declared."""
    found = {name: _range(ends) for name, ends in told.items()}
    parts = []
    for name in dict.fromkeys((*found, *declared)):
        before, now = (str(spans.get(name, "none")) for spans in (found, declared))
        if before != now:
            parts.append(f"{name}: {before} in place of {now}")
    return "; ".join(parts)


def _range(ends: list[Any]) -> Range:
    """The range that [low, high] or [low, high, "log"] stands for."""
    return Range(*ends[:2], log=len(ends) == 3)
