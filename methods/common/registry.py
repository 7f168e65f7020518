"""The registry: one `Entry` per method or variant, put there by the file that defines it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.problem import ModalitySpec, TaskSpec
from benchmark.terms import DefaultsFrom, Family, Role
from methods.common.contract import Method


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

    key: name on the command line and in records.
    summary: one sentence for ``list methods``.
    losses: the loss in the publication's symbols, for ``describe``.
    defaults_from: whether the default hyper-parameters were chosen by the authors on these
        datasets, carried over from elsewhere, or chosen here; ``defaults_note`` says more.
    version: raised when the numbers of the method change.
    overrides: hyper-parameters that differ from the defaults in the method's signature.
    role: how statistics treat it; only "method" competes.
    applicable: (modalities, task) → reason why the method cannot run on them, or None.
    never_trained: parameters that knowingly get no gradient, as names or "name[rows]".
    per_modality: one student per deployed modality is trained (cost class b), not one for all.
    deterministic: another seed gives the same numbers.
    """

    key: str
    method: type[Method]
    family: Family
    summary: str
    losses: str
    publication: Publication | None
    defaults_from: DefaultsFrom
    defaults_note: str = ""
    version: int = 1
    overrides: Mapping[str, Any] = field(default_factory=dict)
    role: Role = "method"
    applicable: Callable[[Mapping[str, ModalitySpec], TaskSpec], str | None] = _always_applicable
    never_trained: tuple[str, ...] = ()
    per_modality: bool = False
    deterministic: bool = False

    def __post_init__(self) -> None:
        foreign = set(self.overrides) - set(self._signature())
        if foreign:
            raise ValueError(f"{self.key}: no such hyper-parameters: {sorted(foreign)}")

    def _signature(self) -> dict[str, Any]:
        parameters = inspect.signature(self.method).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """All hyper-parameters with the values that this entry runs with."""
        return {**self._signature(), **self.overrides}


REGISTRY: dict[str, Entry] = {}


def register(entry: Entry) -> Entry:
    """Put ``entry`` into the registry; a key that is taken is an error."""
    if entry.key in REGISTRY:
        raise ValueError(f"a method named '{entry.key}' is registered already")
    REGISTRY[entry.key] = entry
    return entry
