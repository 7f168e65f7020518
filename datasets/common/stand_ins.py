"""Numbers that programs write where a value is not known, found among values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

FILL = 15 * 2.0**119  # netCDF's of floating-point numbers
STAND_INS = (-999.0, -9999.0, -99999.0, -32768.0, 1e20, FILL, -float(np.finfo(np.float32).max))
"""What programs write where a value is not known, and hardly a sensor measures."""

WRITTEN = np.unique([*STAND_INS, *np.float32(STAND_INS).astype(np.float64)])
"""The same as files have them, in float32, too."""

_BELOW, _ABOVE = WRITTEN[WRITTEN < 0].max(), WRITTEN[WRITTEN > 0].min()


def may_be_in(values: np.ndarray) -> bool:
    """Whether values are so large, or so small, that one of `WRITTEN` may be among them; quick."""
    least, most = (f.reduce(values, axis=None, initial=0) for f in (np.fmin, np.fmax))
    return bool(least <= _BELOW or most >= _ABOVE)


def are(values: np.ndarray) -> np.ndarray:
    """Which values are `WRITTEN`: bool, of the same shape."""
    return np.isin(values, WRITTEN)


def count(values: np.ndarray) -> np.ndarray:
    """How often each of `WRITTEN` is among values: (len(WRITTEN),) int64."""
    found = values[are(values)] if may_be_in(values) else values[:0]
    return (found.reshape(-1, 1) == WRITTEN).sum(axis=0, dtype=np.int64)


def named(counts: np.ndarray) -> Iterator[tuple[str, int]]:
    """Each number that was found, by what `count` gives, and how often.

    So written that it is read as the same; 1e20 as a float32 has it is 1e20.
    """
    meant = {float(np.float32(number)): number for number in STAND_INS}
    for value, n in zip(WRITTEN.tolist(), counts, strict=True):
        if n:
            number = meant.get(value, value)
            short = f"{number:g}"
            yield short if float(short) == number else repr(number), int(n)
