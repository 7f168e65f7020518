"""Which channel of a modality is which band of some weights, by name, and in which units.

A band has one name here however it is written: B08 is B8, B8a is B8A (and never B8: 842 and 865
nm), R is red. Bands of Landsat are called like others of Sentinel-2 and are never matched by
themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from benchmark.errors import UserError
from benchmark.problem import ModalitySpec

WAVELENGTHS = {
    **{"B1": 0.443, "B2": 0.490, "B3": 0.560, "B4": 0.665, "B5": 0.705, "B6": 0.740, "B7": 0.783},
    **{"B8": 0.842, "B8A": 0.865, "B9": 0.945, "B10": 1.375, "B11": 1.610, "B12": 2.190},
    **{"red": 0.665, "green": 0.560, "blue": 0.490},
}
"""Centres of the bands of Sentinel-2 and of colours, in micrometres."""

RADAR = ("VV", "VH")

COLOURS = {"r": "red", "g": "green", "b": "blue"}

LINEAR = (
    (re.compile(r"reflectance\s*[×x*]\s*(10⁴|10\^4|1e4|10,?000)"), "reflectance", 1e-4),
    (re.compile(r"reflectance"), "reflectance", 1.0),
    (re.compile(r"dB\b"), "dB", 1.0),
    (re.compile(r"counts, 0 to 255"), "counts, 0 to 255", 1.0),
    (re.compile(r"K\b"), "K", 1.0),
    (re.compile(r"m\b"), "m", 1.0),
    (re.compile(r"mm\b"), "m", 1e-3),
    (re.compile(r"(degrees|°)"), "degrees", 1.0),
)
"""How the units of a modality begin, what they measure, and in how many of its own unit."""


def canonical(name: str) -> str:
    """The one name of a band."""
    if number := re.fullmatch(r"B0*(\d+)(A?)", name, re.IGNORECASE):
        return f"B{number[1]}{number[2].upper()}"
    if name.upper() in RADAR:
        return name.upper()
    return COLOURS.get(name.lower(), name.lower())


def factor(units: str, wanted: str) -> float | None:
    """By what values in ``units`` become ``wanted`` ones; None if no number does it.

    Both are words of a `ModalitySpec`: "reflectance × 10⁴, Sentinel-2", "dB".
    """
    found = []
    for words in (units, wanted):
        known = [(kind, size) for pattern, kind, size in LINEAR if pattern.match(words.strip())]
        if not known:
            return None
        found.append(known[0])
    (kind, size), (wanted_kind, wanted_size) = found
    return size / wanted_size if kind == wanted_kind else None


def factor_among(units: str, wanted: str) -> float | None:
    """`factor` of the first of several units that has one: "K, m", "dB and degrees"."""
    parts = re.split(r",\s*|\s+and\s+", units)
    return next((size for part in parts if (size := factor(part, wanted)) is not None), None)


def match(
    spec: ModalitySpec,
    bands: Sequence[str],
    chosen: Mapping[str, str | None],
    ignored: Sequence[str],
    *,
    by_name: bool = True,
) -> list[int | None]:
    """For each band the number of the modality's channel, or None where none is to be seen.

    bands: as the weights call them, in their order. chosen: band → name of the channel that stands
    for it, or None. ignored: channels that nothing is made of. by_name: whether a channel of the
    same name is the band.

    Raises `UserError` for a band without a channel and a channel without a band, unless they are
    chosen or ignored, and for names that are none.
    """
    if not isinstance(chosen, Mapping) or isinstance(ignored, str):
        raise UserError("bands is a mapping {band: channel or null}, ignore a list of channels")
    numbers: dict[str, int] = {}
    for number, channel in enumerate(spec.channels):
        if canonical(channel) in numbers:
            other = spec.channels[numbers[canonical(channel)]]
            raise UserError(f"channels {other} and {channel} of {spec.name} have one name")
        numbers[canonical(channel)] = number
    wanted = {canonical(band): band for band in bands}
    own = ", ".join(spec.channels)
    for band, channel in chosen.items():
        if canonical(str(band)) not in wanted:
            raise UserError(f"bands: '{band}' is no band of these weights ({', '.join(bands)})")
        if channel is not None and canonical(str(channel)) not in numbers:
            raise UserError(f"bands: '{channel}' is no channel of {spec.name} ({own})")
    for channel in ignored:
        if canonical(str(channel)) not in numbers:
            raise UserError(f"ignore: '{channel}' is no channel of {spec.name} ({own})")
    given = {canonical(str(band)): channel for band, channel in chosen.items()}
    index: list[int | None] = []
    lacking = []
    for name, band in wanted.items():
        if name in given:
            channel = given[name]
            index.append(None if channel is None else numbers[canonical(str(channel))])
        elif by_name and name in numbers:
            index.append(numbers[name])
        else:
            lacking.append(band)
    if lacking:
        raise UserError(
            f"the weights see {', '.join(lacking)}, and {spec.name} has no channel of that name "
            f"({own}); say which one it is, or null to let it be the weights' mean: "
            f"bands: {{{lacking[0]}: null}}"
        )
    left = {canonical(str(channel)) for channel in ignored}
    unseen = [c for i, c in enumerate(spec.channels) if i not in index and canonical(c) not in left]
    if unseen:
        raise UserError(
            f"the weights have no band for {', '.join(unseen)} of {spec.name} (they have "
            f"{', '.join(bands)}); say which one it is (bands: {{{bands[0]}: {unseen[0]}}}), or "
            f"that it is not to be seen: ignore: [{', '.join(unseen)}]"
        )
    return index
