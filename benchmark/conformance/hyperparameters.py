"""The check that every hyper-parameter does something: one for a method, not for a combination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from benchmark.conformance.case import SHORT, Case, difference
from benchmark.conformance.problem import protocol_values
from benchmark.training.fit import Trained
from methods.common.registry import REGISTRY, Entry

LENGTHS = (SHORT, protocol_values(epochs=8))
"""Tried in turn: most hyper-parameters act from the first step on, the others after a warm-up."""


def without_effect(cases: Sequence[Case]) -> Iterator[tuple[str, str | None]]:
    """Each hyper-parameter, and a sentence if no other value of it changes anything.

    cases: of one method. A hyper-parameter need only matter on one of them, and only beside some
    values of the others: this entry's, the defaults, or those of another entry of the same class
    (a temperature does nothing where the weight of its term is 0). Without effect is what leaves
    every bit as it was: after some steps of Adam rounding alone may move an output by a hundredth,
    as little as some hyper-parameters do. Nothing is said of a method that cannot be trained.
    """
    trainings = _Trainings({})
    for name in cases[0].entry.hyperparameters if cases else ():
        choices = list(variants(cases[0].entry, name))
        tried = ", ".join(map(repr, choices))
        if not choices:
            yield (
                name,
                (
                    f"no other value of '{name}' can be thought of: annotate it as bool, int, "
                    "float or Literal[...] in __init__"
                ),
            )
        elif trainings.any_differ(cases, name, choices):
            yield name, None
        elif trainings.any_work(cases):
            yield (
                name,
                (
                    f"'{name}' changes neither a loss term nor a prediction (tried {tried}): use "
                    "it or delete it"
                ),
            )


def variants(entry: Entry, name: str) -> Iterator[Any]:
    """Other values of a hyper-parameter; some may be invalid."""
    value = entry.hyperparameters[name]
    hint = get_type_hints(entry.method.__init__).get(name)
    if get_origin(hint) is Literal:
        candidates = get_args(hint)
    elif isinstance(value, bool):
        candidates = (not value,)
    elif isinstance(value, int):
        candidates = (value + 1, value - 1, value // 2, 2, 1)
    elif isinstance(value, float):
        candidates = (value / 2, 2 * value) if value else (0.5, 0.1, 1.0)
    else:
        candidates = ()
    yield from dict.fromkeys(c for c in candidates if c != value)


def settings_beside(entry: Entry, name: str) -> Iterator[dict[str, Any]]:
    """Values of all hyper-parameters beside which to try ``name``, each once."""
    siblings = [e.hyperparameters for e in REGISTRY.values() if e.method is entry.method]
    # Ranges are for the entry's own values.
    defaults = replace(entry, overrides={}, tuning={}).hyperparameters
    seen = []
    for values in (entry.hyperparameters, defaults, *siblings):
        beside = {**values, name: entry.hyperparameters[name]}
        if beside not in seen:
            seen.append(beside)
            yield beside


Values = Mapping[str, Any]


@dataclass(frozen=True)
class _Trainings:
    """Trainings by combination, length and hyper-parameters, each once; None for invalid ones."""

    done: dict[str, Trained | None]

    def any_differ(self, cases: Sequence[Case], name: str, choices: Sequence[Any]) -> bool:
        """Whether another value changes anything; the quickest trainings are tried first."""
        return any(
            self._differ(case, length, values, {**values, name: other})
            for length in LENGTHS
            for case in cases
            for values in settings_beside(case.entry, name)
            for other in choices
        )

    def any_work(self, cases: Sequence[Case]) -> bool:
        """Whether the method can be trained as it is."""
        return any(self._of(case, SHORT, case.entry.hyperparameters) for case in cases)

    def _differ(self, case: Case, length: Values, first: Values, second: Values) -> bool:
        one, other = self._of(case, length, first), self._of(case, length, second)
        return one is not None and other is not None and difference(one, other) is not None

    def _of(self, case: Case, length: Values, values: Values) -> Trained | None:
        key = f"{case.combination} {length['epochs']} {values}"
        if key not in self.done:
            try:
                spec = case.spec(length, **values)
                self.done[key] = case.train(spec, obtain=case.store).trained
            except (Exception, SystemExit):  # whatever it does with a value that it does not take
                self.done[key] = None
        return self.done[key]
