"""Scores against the share of the labels, where the records have several shares of one setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.report.outline import Outline, OutlineRow
from benchmark.report.summary import REFERENCE
from benchmark.report.text import MISSING, decimals_for, listed, number

FEWEST = 2
"""Shares that make a curve."""


@dataclass(frozen=True)
class LabelCurve:
    """Methods at one modality, by the share of the labels; all else is the same.

    protocols: as the titles of its groups have them, the smallest share first. protocol: what they
    have in common. methods: method → share → its row; methods with a score at two shares at least.
    """

    dataset: str
    source: str
    protocol: str
    protocols: tuple[str, ...]
    modalities: tuple[str, ...]
    modality: str
    heading: str
    no_evidence: str
    shares: tuple[float, ...]
    methods: dict[str, dict[float, OutlineRow]]

    @property
    def title(self) -> str:
        data = "real data" if self.source == "real" else f"{self.source.upper()} data"
        trained = " + ".join(self.modalities)
        return (
            f"Share of the labels: {self.dataset}, {data}, trained on {trained}, {self.modality} "
            f"alone, protocol {self.protocol}"
        )


def label_curves(outlines: Sequence[Outline]) -> list[LabelCurve]:
    """One for each setting and modality that was run with several shares."""
    settings: dict[tuple[str, ...], dict[float, Outline]] = {}
    for outline in outlines:
        settings.setdefault((outline.source, *outline.curve), {})[outline.labels] = outline
    curves = []
    for same in settings.values():
        shares = sorted(same)
        first = same[shares[-1]]
        for modality in first.modalities if len(shares) >= FEWEST else ():
            methods: dict[str, dict[float, OutlineRow]] = {}
            for share in shares:
                for row in same[share].rows:
                    if row.deployment == modality and row.mean is not None and not row.hidden:
                        methods.setdefault(row.method, {})[share] = row
            methods = {name: own for name, own in methods.items() if len(own) >= FEWEST}
            if methods:
                protocols = tuple(same[share].protocol for share in shares)
                curves.append(
                    LabelCurve(
                        first.dataset,
                        first.source,
                        first.curve[0],
                        protocols,
                        tuple(first.modalities),
                        modality,
                        first.heading,
                        first.no_evidence,
                        tuple(shares),
                        methods,
                    )
                )
    return curves


def per_cent(share: float) -> str:
    return f"{100 * share:g} %"


def label_table(curve: LabelCurve) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the mean, and the gain with its interval, a column for each share."""
    every = [row.mean for own in curve.methods.values() for row in own.values()]
    decimals = decimals_for(every)
    rows = []
    for method, own in curve.methods.items():
        cells = [method]
        for share in curve.shares:
            row = own.get(share)
            cells.append(_cell(row, decimals) if row else MISSING)
        rows.append(cells)
    return ["method", *map(per_cent, curve.shares)], rows


def _cell(row: OutlineRow, decimals: int) -> str:
    text = number(row.mean, decimals)
    if row.gain is not None:
        text += f" ({number(row.gain, decimals, signed=True)}"
        if row.of_gain:
            text += ": " + " to ".join(number(v, decimals, signed=True) for v in row.of_gain)
        text += ")"
    return text if row.complete else f"{text} (incomplete)"


def label_notes(curve: LabelCurve) -> list[str]:
    """How the table and the figure are to be read."""
    lines = [
        f"{curve.heading}, and the gain over {REFERENCE} with the same labels (in a table in "
        "brackets); 95 % intervals, not adjusted. A share is one of the groups that train and of "
        "those that validate, one at least of each; a smaller share lies within a larger one; test "
        "parts are the same."
    ]
    if curve.no_evidence:
        lines.append(f"No intervals: {curve.no_evidence}.")
    missing = [
        f"{method} at {listed([per_cent(s) for s in curve.shares if s not in own])}"
        for method, own in curve.methods.items()
        if len(own) < len(curve.shares)
    ]
    if missing:
        lines.append(f"Without runs: {', '.join(missing)}.")
    return lines
