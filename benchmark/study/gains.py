"""From the records of a study to what each method gains at each level of each dial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.report.frame import Group, Head, collect
from benchmark.report.statistics import Comparison, corrected_t_test
from benchmark.study.information import PROTOCOL, REFERENCE, Design, Setting
from benchmark.terms import ALL
from datasets.generated_information import BOTH, DEPLOYED, TEST


@dataclass(frozen=True)
class Level:
    """What was found at one setting, on the deployed sensor alone.

    scores: method → draw → RMSE; a bound sees all sensors. best: RMSE by draw, on the same test
    samples, of who knows how the data were made and sees the deployed sensor, or all; None where
    no closed form is known.
    """

    scores: Mapping[str, Mapping[int, float]]
    best: Mapping[str, Mapping[int, float] | None]

    def gain(self, method: str) -> Comparison | float | None:
        """Over `REFERENCE`: a number of one draw, with its interval of several, None without any.

        Draws share nothing, so that the t-test over them is the plain one.
        """
        return _gain(self.scores.get(REFERENCE, {}), self.scores.get(method, {}))

    def most(self, seen: str = DEPLOYED) -> Comparison | float | None:
        """What the best possible prediction would gain; None where it is not known."""
        best = self.best.get(seen)
        return _gain(self.scores.get(REFERENCE, {}), best) if best is not None else None

    def mean(self, method: str) -> float | None:
        own = self.scores.get(method)
        return math.fsum(own.values()) / len(own) if own else None

    def mean_best(self, seen: str) -> float | None:
        own = self.best.get(seen)
        return math.fsum(own.values()) / len(own) if own else None


def _gain(reference: Mapping[int, float], own: Mapping[int, float]) -> Comparison | float | None:
    differences = [reference[draw] - own[draw] for draw in own if draw in reference]
    if len(differences) > 1:
        return corrected_t_test(differences, 0.0)
    return differences[0] if differences else None


@dataclass(frozen=True)
class Gains:
    """levels: dial → level → what was found. families: method → family, those that are shown, in
    the order of tables. missing: method → number of runs that it lacks, of ``runs``."""

    levels: Mapping[str, Mapping[float, Level]]
    families: Mapping[str, str]
    draws: tuple[int, ...]
    runs: int
    missing: Mapping[str, int]


def gains(results: Path, of: Design, fingerprints: Mapping[str, str]) -> Gains:
    """What the records below a results folder say of a design.

    fingerprints: dataset → that of its arrays: records of other data are not looked at. Shown is
    every method that has a record of one of them, whichever command has made it.
    """
    found: dict[str, Group] = {}

    def keep(head: Head) -> None:
        if fingerprints.get(head.dataset) == head.fingerprint:
            found.setdefault(head.dataset, head.group)

    collect(results, protocol=PROTOCOL.stem, show=keep)
    families: dict[str, str] = {}
    for group in found.values():
        families |= {row: entry["family"] for row, entry in group.entries.items()}
    levels = {setting: _level(setting, of.draws, found) for setting in of.settings}
    runs = len(of.settings) * len(of.draws)
    have = {m: sum(len(level.scores.get(m, ())) for level in levels.values()) for m in families}
    return Gains(
        {
            dial: {value: levels[setting] for value, setting in own.items()}
            for dial, own in of.dials.items()
        },
        families,
        of.draws,
        runs,
        {m: runs - n for m, n in have.items() if n < runs},
    )


def _level(setting: Setting, draws: Sequence[int], found: Mapping[str, Group]) -> Level:
    scores: dict[str, dict[int, float]] = {}
    best: dict[str, dict[int, float] | None] = {DEPLOYED: {}, BOTH: {}}
    for draw in draws:
        drawn = setting.dials.simulate(draw)
        y = drawn.y[:TEST]
        for seen, own in best.items():
            predicted = drawn.best[seen]
            if predicted is None or own is None:
                best[seen] = None
            else:
                own[draw] = float(np.sqrt(np.mean((predicted[:TEST] - y) ** 2)))
        group = found.get(setting.name(draw))
        for record in group.runs if group else ():
            deployment = ALL if ALL in record.metrics else DEPLOYED
            scores.setdefault(record.spec.row, {})[draw] = record.metrics[deployment]["rmse"]
    return Level(scores, best)
