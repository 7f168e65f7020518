"""The runs of one results folder against the same runs in another, run by run.

The same id promises the same numbers on one machine and one set of versions. Elsewhere rounding
differs, and training makes of it what another seed would. So there are three answers: bit for bit
the same, equal up to seed noise, and other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmark import records
from benchmark.errors import UserError
from benchmark.metrics import primary
from benchmark.records import Record
from benchmark.report.summary import AGAIN, REFERENCE
from benchmark.report.text import MISSING, number, plain_table

LEVEL = 0.01
"""Of the test by which what is equal up to seed noise is called other."""

SAME, NOISE, OTHER = "bit for bit the same", "equal up to seed noise", "other"
UNKNOWN = "differs; the seed noise is not known"

Place = tuple[str, str, str]
"""Dataset, protocol and source of a comparison."""


@dataclass(frozen=True)
class Compared:
    """A method's runs that both folders have.

    runs, same: their number, and of those whose predictions are the same bytes. predictions: the
    median over samples of how far a prediction moved, by run; empty where files are not there.
    differences: of the primary metric, by deployment and run. noise: by deployment, differences
    that another seed makes. failed: number of runs that are done in one folder and not in the
    other.
    """

    place: Place
    method: str
    metric: str
    runs: int
    same: int
    predictions: tuple[float, ...] = ()
    differences: Mapping[str, Sequence[float]] = field(default_factory=dict)
    noise: Mapping[str, Sequence[float]] = field(default_factory=dict)
    failed: int = 0

    @property
    def verdict(self) -> str:
        """One of `SAME`, `NOISE`, `OTHER` and `UNKNOWN`; the worst of its deployments."""
        if self.failed:
            return OTHER
        if self.same == self.runs:
            return SAME
        found = {_beyond(d, self.noise.get(m, ())) for m, d in self.differences.items()}
        return OTHER if True in found else UNKNOWN if None in found else NOISE


def _beyond(differences: Sequence[float], noise: Sequence[float]) -> bool | None:
    """Whether the mean square of differences exceeds that of noise by an F-test; None: no noise."""
    from scipy import stats

    if not any(differences):
        return False
    if not noise:
        return None
    ratio = _square(differences) / _square(noise) if any(noise) else math.inf
    return bool(stats.f.sf(ratio, len(differences), len(noise)) < LEVEL)


def _square(values: Sequence[float]) -> float:
    return math.fsum(value**2 for value in values) / len(values)


@dataclass(frozen=True)
class Comparison:
    """What `compare` found. only: number of runs that are here alone, and there alone."""

    methods: tuple[Compared, ...]
    only: tuple[int, int]
    unreadable: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether nothing is other."""
        return all(method.verdict != OTHER for method in self.methods)


def compare(results: Path, other: Path) -> Comparison:
    """Compare the records of the same id in two results folders.

    Raises `UserError` if a folder has no records, or they have no run in common.
    """
    (here, broken), (there, broken_there) = (_read(folder) for folder in (results, other))
    shared = [id for id in here if id in there]
    if not shared:
        raise UserError(f"{results} and {other} have no run in common: the same id in both")
    by_method: dict[tuple[Place, str], list[str]] = {}
    for id in shared:
        by_method.setdefault((_place(here[id]), here[id].spec.full_title), []).append(id)
    noise = _Noise(here.values()), _Noise(there.values())
    found = []
    for (place, method), ids in sorted(by_method.items()):
        pairs = [(here[id], there[id]) for id in ids]
        found.append(_compared(place, method, pairs, (results, other), noise))
    only = len(here) - len(shared), len(there) - len(shared)
    return Comparison(tuple(found), only, (*broken, *broken_there))


def _read(folder: Path) -> tuple[dict[str, Record], list[str]]:
    found, unreadable = records.read_all(folder)
    if not found:
        raise UserError(f"{folder}: no records there to compare")
    return {record.id: record for record in found}, unreadable


def _place(record: Record) -> Place:
    spec = record.spec
    protocol = ", ".join(filter(None, [str(spec.protocol["name"]), spec.labels]))
    return spec.dataset, protocol, spec.source


def _compared(
    place: Place,
    method: str,
    pairs: Sequence[tuple[Record, Record]],
    folders: tuple[Path, Path],
    noise: tuple[_Noise, _Noise],
) -> Compared:
    done = [pair for pair in pairs if {record.status for record in pair} == {"done"}]
    failed = sum(a.status != b.status for a, b in pairs)
    kind = pairs[0][0].data["task"]["kind"]
    metric, same, moved = primary(kind), 0, []
    differences: dict[str, list[float]] = {}
    for a, b in done:
        if a.predictions_sha256:
            same += a.predictions_sha256 == b.predictions_sha256
        else:  # made without predictions: all scores to the last bit
            same += a.metrics == b.metrics
        for deployment, own in a.metrics.items():
            x, y = own.get(metric.name), b.metrics.get(deployment, {}).get(metric.name)
            if x is not None and y is not None:
                differences.setdefault(deployment, []).append(metric.gain(y, x))
        moved += _moved(a, b, folders)
    of_noise = {
        d: noise[0].of(place, method, d) or noise[1].of(place, method, d) for d in differences
    }
    label = metric.label
    return Compared(
        place, method, label, len(done), same, tuple(moved), differences, of_noise, failed
    )


def _moved(a: Record, b: Record, folders: tuple[Path, Path]) -> list[float]:
    """How far predictions of a run moved, a median for each deployment."""
    try:
        (ids, own), (others, other) = (
            records.read_predictions(record, folder)
            for record, folder in zip((a, b), folders, strict=True)
        )
    except UserError:
        return []
    if not np.array_equal(ids, others):
        return []
    both = [m for m in own if m in other and own[m].shape == other[m].shape]
    return [float(np.median(np.abs(own[m] - other[m]))) for m in both]


class _Noise:
    """What another seed does to a score: by the method's own seeds, else by `single_again`."""

    def __init__(self, found: Iterable[Record]) -> None:
        self.scores: dict[tuple[Place, str, str], dict[tuple[int, int], float]] = {}
        for record in found:
            for deployment, values in record.metrics.items() if record.status == "done" else ():
                score = values.get(primary(record.data["task"]["kind"]).name)
                if score is not None:
                    key = _place(record), record.spec.full_title, deployment
                    at = record.spec.fold, record.spec.seed
                    self.scores.setdefault(key, {})[at] = score

    def of(self, place: Place, method: str, deployment: str) -> list[float]:
        """Differences between runs of which nothing but the seed differs; empty if none are there.

        Of several seeds of a fold each is taken against the next.
        """
        own = sorted(self.scores.get((place, method, deployment), {}).items())
        found = [
            after - before
            for ((fold, _), before), ((same, _), after) in zip(own, own[1:], strict=False)
            if fold == same
        ]
        if found:
            return found
        single, again = (
            self.scores.get((place, name, deployment), {}) for name in (REFERENCE, AGAIN)
        )
        return [again[at] - score for at, score in single.items() if at in again]


def compare_text(found: Comparison, results: Path | str, other: Path) -> str:
    """The comparison as a table for the console."""
    rows = []
    for c in found.methods:
        worst = max(c.differences, key=lambda d: _square(c.differences[d]), default=None)
        moved = f"{max(c.predictions):.2g}" if c.predictions else MISSING
        rms, noise = (
            number(math.sqrt(_square(values)), 4) if values else MISSING
            for values in (c.differences.get(worst, ()), c.noise.get(worst, ()))
        )
        runs = f"{c.same} of {c.runs}" + f", {c.failed} failed in one" * bool(c.failed)
        rows.append([*c.place[:2], c.method, runs, moved, f"{c.metric} {rms}", noise, c.verdict])
    header = ["dataset", "protocol", "method", "the same bytes", "prediction moved"]
    header += ["score moved (rms)", "by another seed", "verdict"]
    lines = [
        f"{results} against {other}, run by run (the same id in both)",
        plain_table(header, rows, text_columns=3),
        f"Runs that only one has: {found.only[0]} here, {found.only[1]} there.",
        "Prediction moved: median over the test samples, of the run where it is largest. Score "
        "moved: of the modality that moved most. By another seed: the method's own seeds, else "
        f"{REFERENCE} against {AGAIN}. Other: the score moved more than another seed moves it "
        f"(F-test of the mean squares, {100 * LEVEL:.0f} % level), or a run failed in one only.",
    ]
    return "\n".join([*lines, *found.unreadable])
