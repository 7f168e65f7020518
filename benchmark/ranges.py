"""Ranges of numbers that `tune` draws from. They decide what is tried, and no number of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from benchmark.errors import UserError

DIGITS = 3
"""Significant digits of a value that is drawn: more say nothing, and files are read by people."""


@dataclass(frozen=True)
class Range:
    """From ``low`` to ``high``, both included; ``log``: every factor is as likely as another.

    default_from: where the default of this hyper-parameter comes from, if it is not what the entry
    says of all. idle_on: kinds of task on which it has no effect. Neither is for protocols.

    Raises `UserError` for ends that are no range.
    """

    low: float
    high: float
    log: bool = False
    default_from: str = ""
    idle_on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ends = (self.low, self.high)
        numbers = all(type(end) in (int, float) and math.isfinite(end) for end in ends)
        if not numbers or self.low >= self.high or (self.log and self.low <= 0):
            lowest = "two numbers above 0" if self.log else "two numbers"
            raise UserError(
                f"{self.low!r:.40} to {self.high!r:.40} is no range: give {lowest}, the lower first"
            )

    def __contains__(self, value: Any) -> bool:
        return type(value) in (int, float) and self.low <= value <= self.high

    def at(self, share: float) -> float:
        """The value at a share of the range in [0, 1], with `DIGITS` significant digits."""
        if self.log:
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + (self.high - self.low) * share
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    @property
    def as_json(self) -> list[Any]:
        """The ends, and "log"."""
        return [self.low, self.high, *(["log"] if self.log else [])]

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', log' if self.log else ''}"
