"""The design: one dial of the simulation is turned, the others are held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from benchmark.errors import UserError, unknown
from datasets.generated_information import Dials, GeneratedInformation

PROTOCOL = Path(__file__).with_name("information.yaml")

HELD = Dials()
"""What the dials are that are not turned."""

LEVELS: Mapping[str, tuple[float, ...]] = {
    "redundancy": (0, 0.25, 0.5, 1, 2),
    "unique_deployed": (0, 0.25, 0.5, 1, 2),
    "unique_other": (0, 0.25, 0.5, 1, 2),
    "synergy": (0, 0.25, 0.5, 1, 2),
    "noise": (0, 0.15, 0.3, 0.5, 0.7),
    "labels": (200, 400, 800, 1600, 3200),
    "label_noise": (0, 1, 2, 4, 8),
    "privileged": (0, 0.25, 0.5, 1, 4),
}
"""Dial → what it is turned to; one of them is what is held, so that the dials share those runs."""

TITLES = {
    "redundancy": "Redundancy: variance of the label that both sensors show",
    "unique_deployed": "Unique information of the deployed sensor (variance of the label)",
    "unique_other": "Unique information of the other sensor (variance of the label)",
    "synergy": "Synergy: variance of the label that takes both sensors",
    "noise": "Noise of the deployed sensor (share of its variance)",
    "labels": "Labels: samples that train and validate",
    "label_noise": "Label noise (variance of the label)",
    "privileged": "Privileged channels of the other sensor (signal-to-noise ratio)",
}

METHODS = (
    *("single_ensemble", "kd", "gen_distill", "dml", "discom_kd", "clip_sup"),
    *("mdico", "mdico_main_only", "mdico_no_con", "mdico_no_mod"),
)
"""What is studied where no methods are named; `ALWAYS` is run with any."""

REFERENCE, CEILING = "single", "fusion_concat"
ALWAYS = (REFERENCE, CEILING)
"""What gains are measured against, and the strong model: a net that sees all sensors."""

SEEDS = 5


@dataclass(frozen=True)
class Setting:
    """One setting of the dials, of which each draw is a dataset of its own."""

    dials: Dials

    def name(self, draw: int) -> str:
        """Of its dataset: what is not as it is held, and the draw."""
        turned = {d: getattr(self.dials, d) for d in LEVELS}
        differs = [f"{d}-{v:g}" for d, v in turned.items() if v != getattr(HELD, d)]
        return "-".join(["information", *(differs or ["held"]), str(draw)]).replace(".", "_")

    def adapter(self, draw: int) -> GeneratedInformation:
        return GeneratedInformation(self.name(draw), self.dials, draw)


@dataclass(frozen=True)
class Design:
    """Dial → level → setting, and the draws of each."""

    dials: Mapping[str, Mapping[float, Setting]]
    draws: tuple[int, ...]

    @property
    def settings(self) -> list[Setting]:
        """Each once, though several dials may have it."""
        return list(dict.fromkeys(s for own in self.dials.values() for s in own.values()))


def design(
    dials: Sequence[str] | None = None,
    levels: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
) -> Design:
    """The runs of the study, or of a part of it; levels: their numbers, from 0.

    Raises `UserError` for a dial or a level that it does not have.
    """
    for dial in dials or ():
        if dial not in LEVELS:
            raise unknown("dial", dial, LEVELS)
    most = min(map(len, LEVELS.values()))
    if levels is not None and not set(levels) <= set(range(most)):
        raise UserError(
            f"--levels: dials have levels 0 to {most - 1}; asked for {', '.join(map(str, levels))}"
        )
    kinds = {field.name: type(getattr(HELD, field.name)) for field in fields(Dials)}
    found = {}
    for dial in dials or LEVELS:
        chosen = [LEVELS[dial][i] for i in sorted(set(levels or range(most)))]
        found[dial] = {
            value: Setting(replace(HELD, **{dial: kinds[dial](value)})) for value in chosen
        }
    return Design(found, tuple(seeds if seeds is not None else range(SEEDS)))
