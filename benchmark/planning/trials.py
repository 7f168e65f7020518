"""What trials of `tune` there are: points that depend on method, dataset and number alone.

Neither the fold, nor how many trials are asked for, nor which of them are done already decides what
a trial tries: a study can be stopped, go on and be made larger, in parallel, and the same number is
the same trial. The first has the defaults, so that what is chosen is never worse than they are on
the samples by which it is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from benchmark.planning.protocol import Protocol
from benchmark.planning.settings import Settings, Variant, Variants, idle
from benchmark.ranges import Range
from benchmark.seeds import stream
from benchmark.spec import RunSpec
from datasets.common.contract import EODataset
from methods.common.registry import Entry


def space(
    entry: Entry, dataset: EODataset, protocol: Protocol, encoders: Mapping[str, Any]
) -> dict[str, Range]:
    """What is tuned of a method on a dataset: its own ranges, then the protocol's."""
    found = {**entry.tuning, **(protocol.tuning if entry.network else {})}
    return {n: span for n, span in found.items() if not idle(entry, n, dataset, encoders)}


def point(entry: Entry, dataset: str, spans: Mapping[str, Range], trial: int) -> dict[str, Any]:
    """Name → value of a trial from 1, the first of which changes nothing.

    A scrambled Halton sequence over the unit cube, whose beginning is the same however far it goes.
    """
    if trial == 1 or not spans:
        return {}
    shares = _sequence(stream("tune", entry.key, dataset), len(spans), trial - 1)[-1]
    values = {n: span.at(u) for (n, span), u in zip(spans.items(), shares.tolist(), strict=True)}
    whole = {n for n in values if isinstance(entry.hyperparameters.get(n), int)}
    return {n: round(v) if n in whole else v for n, v in values.items()}


@lru_cache(maxsize=256)
def _sequence(seed: int, dimensions: int, length: int) -> np.ndarray:
    """The first points (length, dimensions) of the sequence of a seed."""
    from scipy.stats.qmc import Halton

    return Halton(dimensions, rng=np.random.default_rng(seed)).random(length)


def variants(trials: int, protocol: Protocol) -> Variants:
    """The trials of each method on each dataset.

    Where there is nothing to tune, the method as it is, which is no trial.
    """

    def of_one(dataset: EODataset, entry: Entry, spec: RunSpec) -> list[Variant]:
        spans = space(entry, dataset, protocol, spec.encoders)
        tuned = {"space": {name: span.as_json for name, span in spans.items()}}
        every = [Settings(tuned=tuned)]
        if spans:
            numbers = range(1, trials + 1)
            every = [Settings(point(entry, dataset.name, spans, n), n, tuned) for n in numbers]
        return [lambda fold, settings=settings: settings for settings in every]

    return lambda dataset, methods: [of_one(dataset, *default) for default in methods]
