"""By what trials are compared: never by a test part."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmark.metrics import primary
from benchmark.records import Record


@dataclass(frozen=True)
class Score:
    """A trial's primary metric on the validation part, the mean over what the method deploys.

    better: the same, higher where the trial is better.
    """

    value: float
    better: float


def validation_score(record: Record) -> Score | None:
    """By what trials are compared; None for one that has no score."""
    if record.status != "done" or not record.metrics:
        return None
    metric = primary(record.data["task"]["kind"])
    values = [scores.get(metric.name) for scores in record.metrics.values()]
    if any(value is None for value in values):
        return None
    mean = math.fsum(values) / len(values)
    return Score(mean, metric.gain(mean, 0.0))
