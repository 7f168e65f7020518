"""Values that were chosen by trials, as a file: `tune` writes it, `run --hparams` takes it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import UserError, unknown
from benchmark.planning.settings import Settings, Variant, check, type_of
from benchmark.ranges import Range
from benchmark.records import check_types
from benchmark.spec import RunSpec, setting_text
from benchmark.terms import EACH, ONCE
from benchmark.writers import atomic
from datasets.common.contract import EODataset
from methods.common.registry import Entry


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
    hyper-parameter, and a value outside its range.
    """
    try:
        document = json.loads(path.read_bytes())
        choices = [_choice(item) for item in document["chosen"]]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path}: not a file of values that `tune` has chosen ({_told(error)})"
        ) from error
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


def _told(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)


def _choice(item: dict[str, Any]) -> Choice:
    """A choice as its file has it. Raises what Python does for what is none."""
    folds = {int(fold): Picked(**own) for fold, own in item["folds"].items()}
    choice = Choice(**{**item, "folds": folds})
    check_types(choice)
    for own in folds.values():
        check_types(own)
    return choice


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
        spans[name] = Range(*ends[:2], log=len(ends) == 3)
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
    """A file of choices, as settings of runs: `benchmark.planning.settings.Variants`."""

    path: Path
    choices: Sequence[Choice]

    def methods(self, datasets: Sequence[str]) -> dict[str, None]:
        """Methods that have values on all of some datasets, in the order of the file."""
        by_method: dict[str, set[str]] = {}
        for choice in self.choices:
            by_method.setdefault(choice.method, set()).add(choice.dataset)
        return {m: None for m, known in by_method.items() if known >= set(datasets)}

    def __call__(
        self, dataset: EODataset, entry: Entry, encoders: Mapping[str, Any]
    ) -> list[Variant]:
        """Raises `UserError` if the file has no values of the method there."""
        choice = self._of(dataset.name, entry.key)
        tuned = {"trials": choice.trials, "on": choice.on, "space": choice.space}

        def settings(fold: int) -> Settings:
            own = choice.folds.get(0 if choice.on == ONCE else fold)
            if own is None:
                folds = ",".join(map(str, sorted(choice.folds)))
                raise UserError(
                    f"{self.path}: {entry.key} was not tuned in fold {fold} of {dataset.name}; "
                    f"--folds {folds} runs where it was"
                )
            values = {name: check(entry, name, value) for name, value in own.values.items()}
            return Settings(values, tuned=tuned)

        return [settings]

    def final(self, dataset: str, entry: Entry) -> tuple[Settings, str]:
        """The values that a final model has, and in words which they are.

        Where each fold has its own, those of the trial that most folds chose, of several the first:
        trials of the same number have the same values in all folds.
        """
        choice = self._of(dataset, entry.key)
        counts = Counter(own.trial for own in choice.folds.values())
        trial = min(counts, key=lambda number: (-counts[number], number))
        picked = next(own for own in choice.folds.values() if own.trial == trial)
        values = {name: check(entry, name, value) for name, value in picked.values.items()}
        tuned = {"trials": choice.trials, "on": choice.on, "space": choice.space}
        said = f"the values of trial {trial}"
        if choice.on != ONCE:
            said += f", which {counts[trial]} of {len(choice.folds)} folds have chosen"
        return Settings(values, tuned=tuned), said

    def _of(self, dataset: str, method: str) -> Choice:
        for choice in self.choices:
            if (choice.dataset, choice.method) == (dataset, method):
                return choice
        raise UserError(
            f"{self.path}: no values of {method} on {dataset}: `tune` it as well, or leave it out"
        )

    def check(self, spec: RunSpec, code: Mapping[str, str]) -> None:
        """Raise `UserError` where a run is of other data, code or values than its trials were.

        code: of the run's method, as `benchmark.planning.code.codes` gives it.
        """
        choice = self._of(spec.dataset, spec.method)
        ours, now = choice.fingerprint[:12], spec.fingerprint[:12]
        modalities = ", ".join(choice.modalities)
        differences = {
            f"on other data of {spec.dataset} (fingerprint {ours}, now {now})": (
                choice.fingerprint != spec.fingerprint
            ),
            f"with the modalities {modalities}": choice.modalities != list(spec.modalities),
            f"under protocol '{choice.protocol}'": choice.protocol != spec.protocol["name"],
            "with other values of protocol, encoders or precision": choice.setup != setup(spec),
            "by other code": choice.version != spec.version or choice.code != dict(code),
        }
        for how in (how for how, differs in differences.items() if differs):
            raise UserError(
                f"{self.path}: {spec.method} was tuned {how}; run it so, or `tune` it again"
            )
