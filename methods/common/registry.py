"""The registry: one `Entry` per method or variant, put there by the file that defines it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from benchmark.errors import UserError, unknown
from benchmark.plugins import Registry, file_at_hand
from benchmark.problem import ModalitySpec, TaskKind, TaskSpec
from benchmark.ranges import Range as Range
from benchmark.terms import TRAINING, DefaultsFrom, Family, Role
from methods.common.contract import Method

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")
KEY_RULE = (
    "it names a folder, so use 1 to 100 letters, digits and _.+-, the first of them a letter or a "
    "digit"
)

CHOICES: dict[str, tuple[str, ...]] = {
    "family": get_args(Family),
    "role": get_args(Role),
    "defaults_from": get_args(DefaultsFrom),
}
"""What an entry may say of itself."""


@dataclass(frozen=True)
class Publication:
    """Where a method comes from; ``reference`` is a DOI or an arXiv number."""

    authors: str
    year: int
    title: str
    reference: str

    def __str__(self) -> str:
        return f"{self.authors} ({self.year}). {self.title}. {self.reference}"


def _always_applicable(modalities: Mapping[str, ModalitySpec], task: TaskSpec) -> str | None:
    return None


@dataclass(frozen=True)
class Entry:
    """What the benchmark knows of a method before it is built.

    key: name on the command line, in records and of their folder: letters, digits and "_.+-".
    summary: one sentence for ``list methods``.
    losses: the loss in the publication's symbols, for ``describe``.
    defaults_from: whether the default hyper-parameters are taken from configurations that the
        authors published for these datasets, carried over from elsewhere, or chosen here;
        ``defaults_note`` says more.
    configured: the datasets of those configurations, by entry key: a variant that is made from
        this entry has another key, and does not claim what its authors never configured.
    version: raised when the numbers of the method change.
    overrides: hyper-parameters that differ from the defaults in the method's signature.
    role: how statistics treat it; only "method" competes.
    applicable: (modalities, task) → reason why the method cannot run on them, or None.
    never_trained: parameters that knowingly get no gradient, as names or "name[rows]".
    per_modality: one student per deployed modality is trained (cost class b), not one for all.
    deterministic: another seed gives the same numbers.
    tuning: hyper-parameter → the `Range` that `tune` draws it from. What has none is never tuned:
        a choice between words, or what would make another method of it.
    network: whether gradients train it, so that the protocol's learning rate has an effect.
    encoder: settings of an encoder, with its name ("model"), whose frozen features are what the
        method is given of each modality, whatever the protocol's encoders are.
    pretrained: what that encoder has seen: data, years, and whether a benchmark's may be among it.
    plugin: the plug-in file that registered it; `register` says so, not the entry.
    """

    key: str
    method: type[Method]
    family: Family
    summary: str
    losses: str
    publication: Publication | None
    defaults_from: DefaultsFrom
    defaults_note: str = ""
    configured: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    version: int = 1
    overrides: Mapping[str, Any] = field(default_factory=dict)
    role: Role = "method"
    applicable: Callable[[Mapping[str, ModalitySpec], TaskSpec], str | None] = _always_applicable
    never_trained: tuple[str, ...] = ()
    per_modality: bool = False
    deterministic: bool = False
    tuning: Mapping[str, Range] = field(default_factory=dict)
    network: bool = True
    encoder: Mapping[str, Any] = field(default_factory=dict)
    pretrained: str = ""
    plugin: Path | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.key, str) and KEY.fullmatch(self.key)):
            raise UserError(f"a method cannot have the key {self.key!r:.120}: {KEY_RULE}")
        for name, values in CHOICES.items():
            if (value := getattr(self, name)) not in values:
                raise UserError(
                    f"method '{self.key}': {name} cannot be {value!r:.80}; choose one of "
                    f"{', '.join(map(repr, values))}"
                )
        foreign = set(self.overrides) - set(self._signature())
        if foreign:
            raise UserError(
                f"method '{self.key}': no such hyper-parameters: {', '.join(sorted(foreign))}; "
                f"{self.method.__name__} has {', '.join(self._signature()) or 'none'}"
            )
        for name in TRAINING:
            if name in self._signature():
                raise UserError(
                    f"method '{self.key}': '{name}' is a value of the protocol, the same for all "
                    "methods; a hyper-parameter of a method needs another name"
                )
        for name, span in self.tuning.items():
            self._check_range(name, span)

    def _check_range(self, name: str, span: Range) -> None:
        where = f"method '{self.key}', tuning"
        if name not in self._signature():
            raise UserError(f"{where}: {unknown('hyper-parameter', name, self._signature())}")
        if not isinstance(span, Range):
            raise UserError(f"{where}: {name} needs a Range(low, high), not {span!r:.60}")
        if self.hyperparameters[name] not in span:
            raise UserError(
                f"{where}: the default of {name}, {self.hyperparameters[name]!r:.60}, lies outside "
                f"{span}; widen the range, or leave it out where the value is what the method is"
            )
        for what, known in (
            (span.default_from, CHOICES["defaults_from"]),
            *((kind, get_args(TaskKind)) for kind in span.idle_on),
        ):
            if what and what not in known:
                raise UserError(f"{where}: {name}: {unknown('word', str(what), known)}")

    def _signature(self) -> dict[str, Any]:
        parameters = inspect.signature(self.method).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    @property
    def defaults_for(self) -> tuple[str, ...]:
        """Names of the datasets for which the authors published the values of this entry."""
        return tuple(self.configured.get(self.key, ()))

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """All hyper-parameters with the values that this entry runs with."""
        return {**self._signature(), **self.overrides}


REGISTRY: Registry[Entry] = Registry("method")


def register(entry: Entry) -> Entry:
    """Put ``entry`` into the registry. Raises `UserError` for a key that is taken."""
    return REGISTRY.add(entry.key, replace(entry, plugin=file_at_hand()))
